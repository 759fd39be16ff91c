"""`NativeBackend` as a whole: what it reports, what it refuses, and its independence of batch shapes."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.backends.native import _native
from gradus.errors import BackendError, ConfigError
from tests.backends.native.harness import make_batch
from tests.tiny_models import (
    tiny_backend,
    tiny_config,
    tiny_gemma2_config,
    tiny_gemma3_config,
    tiny_moe_config,
    tiny_phi3_config,
)

VOCAB_SIZE = 97


def test_it_reports_its_sizes(cpu_variant):
    backend = tiny_backend(kv_cache_dtype="f16", num_threads=2, block_size=32, num_blocks=7)
    assert backend.cpu_variant == cpu_variant
    assert (backend.num_threads, backend.block_size, backend.num_blocks, backend.vocab_size) == (
        2,
        32,
        7,
        VOCAB_SIZE,
    )
    assert backend.kv_bytes_per_token == 2 * 2 * 2 * 16 * 2  # layers, K and V, kv heads, head_dim, bytes
    per_layer = 48 * (64 + 32 + 32) + 64 * 48 + 48 * 80 * 2 + 80 * 48
    assert backend.weight_bytes == 4 * (112 * 48 + 2 * (per_layer + 48 * 2 + 16 * 2) + 48)
    assert backend.program_bytes > 0


def test_an_unknown_variant_is_refused_with_those_that_work(monkeypatch):
    monkeypatch.setenv("GRADUS_CPU", "mmx")
    with pytest.raises(ConfigError, match=r'"mmx".*' + _native.available_variants()[-1]):
        tiny_backend()


def test_a_block_that_is_no_multiple_of_16_is_refused():
    with pytest.raises(ConfigError, match="24; it must be a multiple of 16"):
        tiny_backend(block_size=24)


def valid_batch():
    return make_batch([20, 33], [20, 3], output_rows=[19, 22], token_ids=np.arange(23))


def set_element(name, index, value):
    def change(batch):
        getattr(batch, name)[index] = value

    return change


def set_field(name, value):
    return lambda batch: setattr(batch, name, value)


def set_sampling(name, value):
    return lambda batch: setattr(batch.sampling, name, value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (set_element("token_ids", 5, VOCAB_SIZE), r"token_ids\[5\] is 97, not in 0 to 96"),
        (set_element("token_ids", 0, -1), r"token_ids\[0\] is -1"),
        (set_element("positions", 3, 4), r"positions\[3\] is 4, expected 3"),
        (set_element("slot_mapping", 2, 3), r"slot_mapping\[2\] is 3, expected 2"),
        (set_element("query_start", 0, 1), "query_start runs from 1 to 23"),
        (set_element("query_start", 1, 0), r"query_start\[0\] is 0 and the next is 0"),
        (set_element("query_start", 1, 21), r"context_lens\[0\] is 20, with 21 rows"),
        (set_element("query_start", 1, 2**31 - 1), r"query_start\[0\] is 0 and the next is 2147483647"),
        (set_element("context_lens", 0, 19), r"context_lens\[0\] is 19, with 20 rows"),
        (set_element("context_lens", 1, 2**31 - 1), r"context_lens\[1\] is 2147483647.*max_model_len 512"),
        (set_element("context_lens", 1, 49), "needs 4 blocks, its table has 3"),
        (set_element("block_tables", (1, 1), 128), r"block_tables\[1, 1\] is 128, not in 0 to 127"),
        (set_element("block_tables", (1, 0), -1), r"block_tables\[1, 0\] is -1"),
        (set_element("output_rows", 1, 23), r"output_rows\[1\] is 23, not in 0 to 22"),
        (set_element("output_rows", 1, 19), "not ascending"),
        (set_field("block_copies", np.array([[0, 128]], np.int32)), r"block_copies\[1\] is 128"),
        (set_field("block_copies", np.zeros((1, 3), np.int32)), "pairs"),
        (set_field("token_ids", np.zeros(22, np.int32)), "positions has 23 entries, expected 22"),
        (
            set_field("token_ids", np.zeros(23, np.int64)),
            "token_ids is 1-D int64; it must be a 1-D array of int32",
        ),
        (set_field("block_tables", np.zeros(3, np.int32)), "block_tables is 1-D int32; it must be a 2-D"),
        (set_field("block_tables", np.zeros((1, 3), np.int32)), "differ in sequences"),
        (set_field("context_lens", [20, 33]), "context_lens is list"),
        (set_sampling("temperature", np.array([1, np.nan], np.float32)), r"temperature\[1\] is -?nan"),
        (set_sampling("temperature", np.array([-1, 0], np.float32)), r"temperature\[0\] is -1"),
        (set_sampling("top_p", np.array([2, 1], np.float32)), r"top_p\[0\] is 2"),
        (set_sampling("top_k", np.array([0, -3], np.int32)), r"top_k\[1\] is -3"),
        (
            set_sampling("num_logprobs", np.array([0, 2**31 - 1], np.int32)),
            r"num_logprobs\[1\] is 2147483647",
        ),
        (set_sampling("seed", np.zeros(3, np.int64)), "3 entries, expected 2"),
    ],
)
def test_a_batch_that_cannot_be_right_is_refused_with_the_numbers(shared_backend, spoil, message):
    shared_backend.execute(valid_batch())
    batch = valid_batch()
    spoil(batch)
    with pytest.raises(BackendError, match=message):
        shared_backend.execute(batch)


def test_arrays_may_be_strided(shared_backend):
    def strided(array):
        return np.repeat(array, 2, axis=-1)[..., ::2]

    as_it_is = shared_backend.execute(valid_batch())
    batch = valid_batch()
    for holder, names in (
        (batch, ("token_ids", "positions", "slot_mapping", "block_tables")),
        (batch.sampling, ("temperature", "seed", "num_logprobs")),
    ):
        for name in names:
            array = strided(getattr(holder, name))
            assert not array.flags.c_contiguous
            setattr(holder, name, array)
    np.testing.assert_array_equal(shared_backend.execute(batch).token_ids, as_it_is.token_ids)


@pytest.fixture(scope="module")
def shared_backend():
    backend = tiny_backend()
    yield backend
    backend.close()


def test_too_many_rows_are_refused(shared_backend):
    with pytest.raises(BackendError, match="300 tokens, max_num_batched_tokens is 256"):
        shared_backend.execute(make_batch([300], [300]))


def test_an_empty_step_only_copies_blocks(shared_backend):
    result = shared_backend.execute(make_batch([20], [20], output_rows=[19], return_logits=True))
    empty = make_batch([20], [20], block_copies=[(0, 90), (1, 91)])
    for name in ("token_ids", "positions", "slot_mapping", "context_lens"):
        setattr(empty, name, getattr(empty, name)[:0])
    empty.query_start = np.zeros(1, np.int32)
    empty.block_tables = empty.block_tables[:0]
    assert shared_backend.execute(empty).token_ids.shape == (0, 1)
    moved = make_batch([20], [1], tables=np.array([[90, 91]]), output_rows=[0], return_logits=True)
    assert np.array_equal(shared_backend.execute(moved).logits, result.logits)


def test_a_step_without_outputs_samples_nothing(shared_backend):
    result = shared_backend.execute(make_batch([5], [5]))
    assert result.token_ids.shape == (0, 1)
    assert result.top_token_ids.shape == (0, 0)


def test_more_outputs_than_a_tile_of_logits(shared_backend):
    tokens = np.arange(150) % VOCAB_SIZE
    logprobs = {"num_logprobs": np.full(150, 2, np.int32)}
    everything = make_batch(
        [150], [150], token_ids=tokens, output_rows=range(150), sampling=logprobs, return_logits=True
    )
    result = shared_backend.execute(everything)
    assert result.logits.shape == (150, VOCAB_SIZE)
    assert np.array_equal(result.token_ids[:, 0], result.logits.argmax(axis=1))
    assert (result.ranks == 1).all()
    for row in (0, 63, 64, 149):
        one = shared_backend.execute(
            make_batch([150], [150], token_ids=tokens, output_rows=[row], return_logits=True)
        )
        assert np.array_equal(one.logits[0], result.logits[row])


def test_a_closed_backend_says_so():
    backend = tiny_backend()
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.execute(valid_batch())


def test_steps_from_several_threads_take_turns():
    backend = tiny_backend(num_blocks=256)
    expected = backend.execute(valid_batch()).token_ids
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(backend.execute(valid_batch()).token_ids))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(np.array_equal(tokens, expected) for tokens in found)


def test_weight_formats_change_little(cpu_variant):
    tokens = np.arange(60) % VOCAB_SIZE
    batch = make_batch([60], [60], token_ids=tokens, output_rows=range(60), return_logits=True)
    exact = tiny_backend(weight_dtype="f32").execute(batch).logits
    for weight_dtype, bound in [("f16", 0.02), ("bf16", 0.15)]:
        backend = tiny_backend(weight_dtype=weight_dtype)
        assert np.abs(backend.execute(batch).logits - exact).max() < bound * exact.std()


def pieces_of(lengths, random):
    """Steps of (sequence, number of tokens) that compute all sequences, in random order and chunks."""
    left = dict(enumerate(lengths))
    while left:
        chosen = [i for i in left if random.random() < 0.6] or [next(iter(left))]
        step = [(i, int(random.integers(1, left[i] + 1))) for i in random.permutation(chosen)]
        for i, n in step:
            left[i] -= n
            if left[i] == 0:
                del left[i]
        yield step


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kv_cache_dtype": "f32", "weight_dtype": "bf16", "block_size": 32},
        {"config": tiny_config(windows=(5, 20))},
        {"config": tiny_moe_config()},
        {"config": tiny_gemma2_config()},
        {"config": tiny_gemma3_config()},
        {"config": tiny_phi3_config()},
    ],
)
def test_logits_do_not_depend_on_company_chunks_threads_or_blocks(cpu_variant, changes):
    alone = tiny_backend(num_threads=1, **changes)
    together = tiny_backend(num_threads=3, **changes)

    def whole(tokens):
        n = len(tokens)
        batch = make_batch(
            [n], [n], block_size=alone.block_size, token_ids=tokens, output_rows=range(n), return_logits=True
        )
        return alone.execute(batch).logits

    @settings(max_examples=25)
    @given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
    def check(lengths, seed):
        random = np.random.default_rng(seed)
        tokens = [random.integers(0, VOCAB_SIZE, n) for n in lengths]
        expected = [whole(t) for t in tokens]
        tables = random.permutation(together.num_blocks)[: 4 * len(lengths)].reshape(len(lengths), 4)
        done = [0] * len(lengths)
        for step in pieces_of(lengths, random):
            pieces = [slice(done[i], done[i] + n) for i, n in step]
            for i, n in step:
                done[i] += n
            batch = make_batch(
                [done[i] for i, _ in step],
                [n for _, n in step],
                tables=tables[[i for i, _ in step]],
                block_size=together.block_size,
                token_ids=np.concatenate(
                    [tokens[i][piece] for (i, _), piece in zip(step, pieces, strict=True)]
                ),
                output_rows=range(sum(n for _, n in step)),
                return_logits=True,
            )
            wanted = np.concatenate([expected[i][piece] for (i, _), piece in zip(step, pieces, strict=True)])
            assert np.array_equal(together.execute(batch).logits, wanted)

    check()
