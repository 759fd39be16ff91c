"""Attention with products in bf16, and with scores from 8 bits: against the formula on rounded operands, and
however the work is cut.
"""

import numpy as np
import pytest

from gradus.backends.native import _native
from tests.backends.native.attention_cases import (
    CONTEXTS,
    CUTS,
    Sequences,
    attend,
    attend_to_all_and_to_some,
    by_heads,
    by_tokens,
    formula,
    softmax_of_seen,
)
from tests.backends.native.harness import Tensor, make_executor, make_step, run

WEIGHT_ROUNDING = 2.0**-8 + 2e-4  # of a weight: half a unit of bf16's last place, and the rough exponential
SHAPES = [
    (1, 1, 2),
    (2, 2, 8),
    (6, 2, 24),
    (5, 1, 32),
    (3, 3, 80),
    (16, 2, 18),
    (4, 1, 128),
    (2, 1, 160),
    (7, 1, 260),
]

# Variants with the instruction on this CPU: none of them on many CPUs.
VARIANTS = [name for name in _native.available_variants() if _native.has_bf16_attention(name)]
pytestmark = [
    pytest.mark.parametrize("variant", VARIANTS),
    pytest.mark.parametrize("kernel", ["bf16", "int8"]),
]


def bf16(x):
    """The nearest float32 with 8 bits, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)


def f16(x):
    return x.astype(np.float16).astype(np.float32)


def int8(x):
    """x in steps of a 127th of the last axis' largest, which is divided by in f32, as the kernel does."""
    scale = np.maximum(np.abs(x).max(-1, keepdims=True), np.float32(1e-30)) * np.float32(1 / 127)
    return np.rint(x * (1 / scale)).astype(np.float64) * scale


def int8_keys(k):
    """With a step for each 32 dimensions."""
    return np.concatenate([int8(k[..., d : d + 32]) for d in range(0, k.shape[-1], 32)], axis=-1)


def rounded_scores(q, k, kernel):
    """[heads][queries][keys]; q: [heads][queries][head_dim], scaled; k alike."""
    q, k = (int8(q), int8_keys(k)) if kernel == "int8" else (bf16(q), bf16(k))
    return q.astype(np.float64) @ k.swapaxes(1, 2).astype(np.float64)


def formula_and_bounds(sequences, kernel, window=0, soft_cap=0.0):
    """The formula on rounded operands, and how far rounded weights that sum to 1 can move it: each value's
    weighted distance from the result, times the rounding of a weight."""
    head_dim, num_kv_heads = sequences.shape["head_dim"], sequences.shape["num_kv_heads"]
    num_groups = sequences.shape["num_heads"] // num_kv_heads
    found = []
    for q, k, v in zip(sequences.q, sequences.k, sequences.v, strict=True):
        q = by_heads(q * np.float32(head_dim**-0.5), head_dim)
        k, v = (by_heads(f16(x), head_dim).repeat(num_groups, axis=0) for x in (k, v))
        v = bf16(v).astype(np.float64)
        weights = softmax_of_seen(rounded_scores(q, k, kernel), window, soft_cap)
        out = weights @ v
        spread = np.empty_like(out)
        for i in range(len(out[0])):
            spread[:, i] = (weights[:, i, None] @ np.abs(v - out[:, i, None]))[:, 0]
        bound = WEIGHT_ROUNDING * spread + 2e-6 * np.abs(v).max()
        found.append((by_tokens(out), by_tokens(bound)))
    return found


def assert_within(found, expected_and_bounds):
    for f, (expected, bound) in zip(found, expected_and_bounds, strict=True):
        worst = np.max(np.abs(f - expected) / bound)
        assert worst <= 1, worst


@pytest.mark.parametrize(("num_heads", "num_kv_heads", "head_dim"), SHAPES)
def test_agrees_with_the_formula_on_rounded_operands(variant, kernel, num_heads, num_kv_heads, head_dim):
    sequences = Sequences(
        [1, 2, 5, 16, 17, 33, 257, 300], num_heads=num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim
    )
    found = attend(sequences, variant, kv_format="f16", kernel=kernel)
    assert_within(found, formula_and_bounds(sequences, kernel))


def test_operands_are_rounded_as_documented(variant, kernel):
    """Scores so far apart that another rounding shows, with one dimension of the keys much larger."""
    sequences = Sequences([40, 300], num_heads=4, num_kv_heads=2, head_dim=80)
    sequences.q = [q * 8 for q in sequences.q]
    for k in sequences.k:
        k[:, 5::80] *= 20
    found = attend(sequences, variant, kv_format="f16", kernel=kernel)
    assert_within(found, formula_and_bounds(sequences, kernel))
    other = "int8" if kernel == "bf16" else "bf16"
    with pytest.raises(AssertionError):
        assert_within(found, formula_and_bounds(sequences, other))


@pytest.mark.parametrize("what", ["q", "k"])
def test_a_number_that_is_none_is_not_hidden(variant, kernel, what):
    sequences = Sequences([20], num_heads=2, num_kv_heads=1, head_dim=48)
    getattr(sequences, what)[0][7, 3] = np.nan
    found = attend(sequences, variant, kv_format="f16", kernel=kernel)[0]
    poisoned = np.isnan(found)
    if what == "q":
        assert poisoned[7, :48].all()
        assert poisoned.sum() == 48
    else:
        assert poisoned[7:].all()
        assert not poisoned[:7].any()


def test_is_within_a_hundredth_of_products_in_f32(variant, kernel):
    """Of the values' standard deviation, in the root mean square."""
    sequences = Sequences([300, 530], num_heads=4, num_kv_heads=2, head_dim=64)
    found = attend(sequences, variant, kv_format="f16", kernel=kernel)
    for f, exact, v in zip(found, formula(sequences, "f16"), sequences.v, strict=True):
        assert np.sqrt(np.mean((f - exact) ** 2)) < 0.01 * v.std()


@pytest.mark.parametrize(
    ("largest_dim", "at_most"), [(1, {"bf16": 0.006, "int8": 0.02}), (20, {"bf16": 0.012, "int8": 0.07})]
)
def test_how_far_rounding_moves_results(variant, kernel, largest_dim, at_most):
    """Of the results' standard deviation, in the root mean square, with one dimension of the keys larger."""
    sequences = Sequences([300, 530], num_heads=4, num_kv_heads=2, head_dim=128)
    for k in sequences.k:
        k[:, 5::128] *= largest_dim
    found = np.concatenate(attend(sequences, variant, kv_format="f16", kernel=kernel))
    exact = np.concatenate(formula(sequences, "f16"))
    assert np.sqrt(np.mean((found - exact) ** 2)) < at_most[kernel] * exact.std()


@pytest.mark.parametrize("soft_cap", [0.0, 2.0])
@pytest.mark.parametrize("window", [1, 2, 15, 16, 17, 100, 255, 256, 257, 300])
def test_windows_and_soft_caps_agree_with_the_formula(variant, kernel, window, soft_cap):
    sequences = Sequences([1, 17, 40, 257, 530], num_heads=6, num_kv_heads=2, head_dim=24)
    found = attend(
        sequences, variant, kv_format="f16", kernel=kernel, window=window, soft_cap=soft_cap, chunks=(200, 31)
    )
    assert_within(found, formula_and_bounds(sequences, kernel, window, soft_cap))


@pytest.mark.parametrize("window", [0, 1, 30, 256, 300])
@pytest.mark.parametrize(
    "shape", [(4, 2, 16), (6, 1, 24), (8, 1, 64), (14, 2, 64)], ids=lambda shape: "{}-{}-{}".format(*shape)
)
def test_a_row_is_the_same_however_the_work_is_cut(variant, kernel, shape, window):
    """Decoded alone, in chunks of any size, or with the whole prompt."""
    shape = dict(zip(("num_heads", "num_kv_heads", "head_dim"), shape, strict=True))
    options = {"kv_format": "f16", "kernel": kernel, "window": window, "soft_cap": 3.0 if window else 0.0}
    whole = attend(Sequences(CONTEXTS, **shape), variant, **options)
    for block_size, num_threads, chunks in [*CUTS, (16, 1, (1,)), (16, 2, (192, 8, 9))]:
        sequences = Sequences(CONTEXTS, **shape, block_size=block_size)
        pieces = attend(
            sequences, variant, **options, num_threads=num_threads, chunks=chunks, seed=block_size
        )
        for found, expected in zip(pieces, whole, strict=True):
            assert np.array_equal(found, expected), (block_size, num_threads, chunks)


def test_what_lies_behind_a_context_does_not_matter(variant, kernel):
    """The cache holds NaN and infinity where a sequence before this one was longer, in V's pairs too."""
    sequences = Sequences([37], num_heads=2, num_kv_heads=1, head_dim=16)
    executor = make_executor(variant, kv_format="f16", num_blocks=4, max_rows=64, **sequences.shape)
    out = Tensor(37, 32)
    attention = executor.attention(Tensor.of(sequences.q[0]).view, 0, 0.25, kernel, out.view)
    k, v = (Tensor.of(x[0]) for x in (sequences.k, sequences.v))
    step = make_step([37], [37])
    results = []
    for rubbish in (0.0, np.nan, np.inf):
        other = Tensor.of(np.full((64, 16), rubbish, np.float32))
        run(executor, make_step([64], [64]), executor.kv_write(other.view, other.view, 0))
        run(executor, step, executor.kv_write(k.view, v.view, 0), attention)
        results.append(out.array.copy())
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_output_rows_alone_get_the_bits_that_all_rows_get(variant, kernel):
    among_all, alone = attend_to_all_and_to_some(variant, kernel, [3, 4, 69, 70, 71, 90])
    assert np.array_equal(alone, among_all)


def test_large_scores_do_not_overflow(variant, kernel):
    sequences = Sequences([40, 600], num_heads=2, num_kv_heads=1, head_dim=16)
    sequences.q = [q * 60 for q in sequences.q]  # scores reach 1000
    found = attend(sequences, variant, kv_format="f16", kernel=kernel)
    for f, (expected, _) in zip(found, formula_and_bounds(sequences, kernel), strict=True):
        np.testing.assert_allclose(f, expected, atol=0.02)


def test_an_f32_cache_is_refused(variant, kernel):
    executor = make_executor(variant, kv_format="f32")
    x = Tensor(1, 16)
    with pytest.raises(_native.SetupError, match="reads an f16 cache"):
        executor.attention(x.view, 0, 1.0, kernel, x.view)
