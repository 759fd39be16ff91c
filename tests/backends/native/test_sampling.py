"""The native sampler against the NumPy specification, and Philox against NumPy's."""

from dataclasses import replace

import numpy as np
import pytest

from gradus.backends import sampling as specification
from gradus.backends.native import _native
from gradus.batch import DRAW, NOTHING, LogitEdits, SamplingBatch
from gradus.errors import BackendError
from tests.backends.native.harness import OUTPUTS, Tensor, make_executor, make_sampling, pack, rows_step, run

BOUNDARY = 1e-9  # draws this close to a boundary of the cumulative distribution may fall on either side


def sample_native(cpu_variant, logits, sampling, num_threads=2):
    """Samples from given logits: lm_head is the identity's worth of columns, so they come out exactly."""
    n, vocab_size = logits.shape
    executor = make_executor(cpu_variant, num_threads=num_threads, vocab_size=vocab_size, max_rows=max(n, 1))
    weight = pack(executor, np.eye(vocab_size, dtype=np.float32), "f32")
    x = Tensor.of(np.where(np.isfinite(logits), logits, 0), OUTPUTS)
    step = rows_step(n, output_rows=range(n), sampling=as_arrays(sampling), return_logits=True)
    return run(executor, step, executor.lm_head_sample(x.view, weight))


def as_arrays(sampling):
    return {name: getattr(sampling, name) for name in SamplingBatch.__dataclass_fields__}


def draw_parameters(random, n):
    return SamplingBatch(
        temperature=random.choice([0, 0.1, 0.7, 1, 1, 1.5, 20], n).astype(np.float32),
        top_p=random.choice([1, 1, 0.95, 0.5, 0.1, 0.999, 0], n).astype(np.float32),
        top_k=random.choice([0, 0, 1, 5, 40, 300, 10**6], n).astype(np.int32),
        min_p=random.choice([0, 0, 0, 0.01, 0.2, 1], n).astype(np.float32),
        seed=random.integers(-(2**63), 2**63 - 1, n),
        choice_index=random.integers(0, 5, n).astype(np.int32),
        position=random.integers(1, 5000, n).astype(np.int32),
        num_logprobs=random.choice([-1, 0, 1, 5, 20], n).astype(np.int32),
    )


def is_at_a_boundary(row, sampling, i):
    """Whether the draw is so close to the edge of a token's interval that rounding may decide."""
    weights = np.exp((row.astype(np.float64) - float(row.max())) / float(sampling.temperature[i]))
    kept = specification.kept_tokens(
        row, weights, int(sampling.top_k[i]), float(sampling.top_p[i]), float(sampling.min_p[i])
    )
    cumulative = weights[kept].cumsum() / weights[kept].sum()
    draw = specification.uniform(
        int(sampling.seed[i]), int(sampling.choice_index[i]), int(sampling.position[i])
    )
    return np.abs(cumulative - draw).min() < BOUNDARY


@pytest.mark.parametrize("vocab_size", [1, 15, 97, 1000, 1500])
def test_agrees_with_the_specification(cpu_variant, vocab_size):
    random = np.random.default_rng(vocab_size)
    n = 150
    logits = (random.normal(size=(n, vocab_size)) * random.choice([0.01, 1, 5, 30], (n, 1))).astype(
        np.float32
    )
    logits[::5] = np.round(logits[::5])  # ties
    sampling = draw_parameters(random, n)
    sampling.num_logprobs = np.minimum(sampling.num_logprobs, vocab_size)
    token_ids, num_sampled, logprobs, ranks, top_ids, top_logprobs, same, _ = sample_native(
        cpu_variant, logits, sampling
    )
    assert np.array_equal(same, logits)
    expected = specification.sample(logits, sampling)
    assert (num_sampled == 1).all()
    for i in np.flatnonzero(token_ids[:, 0] != expected.token_ids[:, 0]):
        assert is_at_a_boundary(logits[i], sampling, i), i
    same = token_ids[:, 0] == expected.token_ids[:, 0]
    assert same.mean() > 0.98
    assert np.array_equal(ranks[same], expected.ranks[same])
    np.testing.assert_allclose(logprobs[same], expected.logprobs[same], rtol=1e-6, atol=1e-7)
    assert np.array_equal(top_ids, expected.top_token_ids)
    np.testing.assert_allclose(top_logprobs, expected.top_logprobs, rtol=1e-6, atol=1e-7)


def test_a_large_vocabulary_with_a_wide_nucleus(cpu_variant):
    """Nuclei of thousands of tokens, found among ever more candidates."""
    random = np.random.default_rng(5)
    n, vocab_size = 12, 1800
    logits = random.normal(size=(n, vocab_size)).astype(np.float32) * 0.3
    sampling = draw_parameters(random, n)
    sampling.temperature = np.full(n, 1.0, np.float32)
    sampling.top_k = np.zeros(n, np.int32)
    sampling.top_p = np.linspace(0.02, 0.9999, n).astype(np.float32)
    found = sample_native(cpu_variant, logits, sampling)[0]
    assert np.array_equal(found, specification.sample(logits, sampling).token_ids)


def test_philox_agrees_with_numpy():
    for seed, choice, position in [(0, 0, 0), (0, 0, 1), (1, 2, 3), (2**63 - 1, 7, 2**31 - 1), (-5, 0, 9)]:
        assert _native.uniform_draw(seed, choice, position) == specification.uniform(seed, choice, position)


def test_threads_do_not_change_what_is_sampled(cpu_variant):
    random = np.random.default_rng(8)
    logits = random.normal(size=(130, 200)).astype(np.float32) * 3
    sampling = draw_parameters(random, 130)
    one, three = (sample_native(cpu_variant, logits, sampling, num_threads=threads) for threads in (1, 3))
    for a, b in zip(one, three, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rows_with_broken_logits_yield_nothing_and_harm_no_others(cpu_variant, bad, temperature):
    """NaN in the hidden state or the weights reaches the logits; the other rows are sampled as ever."""
    n, vocab_size = 5, 40
    executor = make_executor(cpu_variant, vocab_size=vocab_size)
    matrix = np.random.default_rng(0).normal(size=(vocab_size, 8)).astype(np.float32)
    weight = pack(executor, matrix, "f32")
    x = np.random.default_rng(1).normal(size=(n, 8)).astype(np.float32)
    parameters = {
        "temperature": np.full(n, temperature, np.float32),
        "num_logprobs": np.full(n, 3, np.int32),
        "top_p": np.full(n, 0.9, np.float32),
    }
    step = rows_step(n, output_rows=range(n), sampling=parameters)
    healthy = run(executor, step, executor.lm_head_sample(Tensor.of(x, OUTPUTS).view, weight))
    x[2] = bad
    broken = run(executor, step, executor.lm_head_sample(Tensor.of(x, OUTPUTS).view, weight))
    assert broken[1].tolist() == [1, 1, 0, 1, 1]
    assert broken[0][2, 0] == -1
    assert (broken[4][2] == -1).all()
    others = [0, 1, 3, 4]
    for a, b in zip(healthy[:6], broken[:6], strict=True):
        assert np.array_equal(a[others], b[others])


def draw_edits(random, n, vocab_size):
    """Edits of about half the rows: masks, biases, forbidden tokens and penalties in any combination."""
    rows = np.flatnonzero(random.random(n) < 0.5).astype(np.int32)
    num = len(rows)
    masks = random.integers(0, 2**32, (4, -(-vocab_size // 32)), dtype=np.uint32)
    masks[1, 1:-1], masks[2] = 0, 2**32 - 1  # words that leave no token, and all
    masks[:, 0] |= 1  # one token stays
    num_biases = random.integers(0, 6, num)
    seen = [random.permutation(vocab_size)[: random.integers(0, vocab_size)] for _ in range(num)]
    biases = random.normal(size=num_biases.sum()) * 5
    biases[random.random(len(biases)) < 0.3] = -np.inf
    return LogitEdits(
        rows=rows,
        mask_index=random.integers(-1, 4, num).astype(np.int32),
        masks=masks,
        bias_start=np.concatenate([[0], num_biases.cumsum()]).astype(np.int32),
        bias_ids=random.integers(min(1, vocab_size - 1), vocab_size, num_biases.sum()).astype(np.int32),
        biases=biases.astype(np.float32),
        seen_start=np.concatenate([[0], np.cumsum([len(ids) for ids in seen])]).astype(np.int32),
        seen_ids=np.concatenate([np.empty(0), *seen]).astype(np.int32),
        seen_counts=random.integers(0, 4, sum(map(len, seen))).astype(np.int32),
        repetition_penalty=random.choice([1, 1.3, 0.7, 100], num).astype(np.float32),
        frequency_penalty=random.choice([0, 0.5, -2], num).astype(np.float32),
        presence_penalty=random.choice([0, 1.5, -2], num).astype(np.float32),
    )


@pytest.mark.parametrize("vocab_size", [1, 31, 32, 97, 1000])
def test_edits_agree_with_the_specification(cpu_variant, vocab_size):
    random = np.random.default_rng(vocab_size)
    n = 120
    logits = (random.normal(size=(n, vocab_size)) * 4).astype(np.float32)
    sampling = draw_parameters(random, n)
    sampling.num_logprobs = np.minimum(sampling.num_logprobs, vocab_size)
    sampling.targets = random.choice([DRAW, DRAW, DRAW, NOTHING, vocab_size - 1], n).astype(np.int32)
    sampling.edits = draw_edits(random, n, vocab_size)
    found = sample_native(cpu_variant, logits, sampling)
    expected = specification.sample(logits, sampling)
    assert np.array_equal(found[1], expected.num_sampled)
    if vocab_size > 1:
        edited = sampling.edits.rows
        plain = specification.sample(logits, replace(sampling, edits=None)).token_ids
        assert (plain[edited] != expected.token_ids[edited]).mean() > 0.2  # they do something
    same = found[0][:, 0] == expected.token_ids[:, 0]
    assert same.mean() > 0.98
    assert np.array_equal(found[3][same], expected.ranks[same])
    np.testing.assert_allclose(found[2][same], expected.logprobs[same], rtol=1e-6, atol=1e-7)
    assert np.array_equal(found[4], expected.top_token_ids)


def test_a_mask_that_leaves_nothing_yields_nothing(cpu_variant):
    logits = np.zeros((2, 40), np.float32)
    edits = draw_edits(np.random.default_rng(0), 0, 40)
    edits.rows, edits.mask_index = np.array([1], np.int32), np.array([0], np.int32)
    edits.masks = np.zeros((1, 2), np.uint32)
    edits.bias_start = edits.seen_start = np.zeros(2, np.int32)
    for name in ("repetition_penalty", "frequency_penalty", "presence_penalty"):
        setattr(edits, name, np.ones(1, np.float32))
    found = sample_native(cpu_variant, logits, make_sampling(2, edits=edits))
    assert found[1].tolist() == [1, 0]
    assert found[0].tolist() == [[0], [-1]]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("rows", [5], "output rows"),
        ("rows", [1, 1], "ascending"),
        ("bias_ids", [0, 40], "bias_ids has 40"),
        ("bias_start", [0, 1, 3], "does not run"),
        ("bias_start", [1, 1, 2], "does not run"),
        ("seen_ids", [-1], "seen_ids has -1"),
        ("mask_index", [0, 1], "masks"),
        ("presence_penalty", [0.0], "expected 2"),
        ("masks", [[1]], "1 words each"),
    ],
)
def test_edits_out_of_range_are_refused(cpu_variant, field, value, says):
    edits = LogitEdits(
        rows=np.array([0, 1], np.int32),
        mask_index=np.array([0, -1], np.int32),
        masks=np.ones((1, 2), np.uint32),
        bias_start=np.array([0, 1, 2], np.int32),
        bias_ids=np.array([0, 39], np.int32),
        biases=np.zeros(2, np.float32),
        seen_start=np.array([0, 0, 1], np.int32),
        seen_ids=np.array([3], np.int32),
        seen_counts=np.array([1], np.int32),
        repetition_penalty=np.ones(2, np.float32),
        frequency_penalty=np.zeros(2, np.float32),
        presence_penalty=np.zeros(2, np.float32),
    )
    sample_native(cpu_variant, np.zeros((2, 40), np.float32), make_sampling(2, edits=edits))
    setattr(edits, field, np.array(value, getattr(edits, field).dtype))
    with pytest.raises((_native.StepError, BackendError), match=says):
        sample_native(cpu_variant, np.zeros((2, 40), np.float32), make_sampling(2, edits=edits))
