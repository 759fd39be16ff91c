"""The native sampler against the NumPy specification, and Philox against NumPy's."""

import numpy as np
import pytest

from gradus.backends import sampling as specification
from gradus.backends.native import _native
from gradus.batch import SamplingBatch
from tests.backends.native.harness import OUTPUTS, Tensor, make_executor, pack, rows_step, run

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
        seed=random.integers(-(2**63), 2**63 - 1, n),
        choice_index=random.integers(0, 5, n).astype(np.int32),
        position=random.integers(1, 5000, n).astype(np.int32),
        num_logprobs=random.choice([-1, 0, 1, 5, 20], n).astype(np.int32),
    )


def is_at_a_boundary(row, sampling, i):
    """Whether the draw is so close to the edge of a token's interval that rounding may decide."""
    weights = np.exp((row.astype(np.float64) - float(row.max())) / float(sampling.temperature[i]))
    kept = specification.kept_tokens(row, weights, int(sampling.top_k[i]), float(sampling.top_p[i]))
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
    token_ids, num_sampled, logprobs, ranks, top_ids, top_logprobs, same = sample_native(
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
