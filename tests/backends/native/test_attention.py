"""Attention over paged layouts: against the formula in float64, and however the work is cut."""

import numpy as np
import pytest

from gradus.backends.native import _native
from tests.backends.native.attention_cases import (
    CONTEXTS,
    CUTS,
    Sequences,
    attend,
    attend_to_all_and_to_some,
    formula,
)
from tests.backends.native.harness import Tensor, make_executor, make_step, run


def assert_close(found, expected, atol=2e-5):
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("kernel", ["blocked", "naive"])
@pytest.mark.parametrize("kv_format", ["f32", "f16"])
@pytest.mark.parametrize(
    ("num_heads", "num_kv_heads", "head_dim"),
    [
        (1, 1, 2),
        (2, 2, 8),
        (4, 2, 16),
        (6, 2, 24),
        (5, 1, 32),
        (2, 1, 64),
        (3, 3, 80),
        (16, 2, 18),
        (4, 1, 128),
        (2, 1, 160),
        (7, 1, 260),
    ],
)
def test_agrees_with_the_formula(cpu_variant, num_heads, num_kv_heads, head_dim, kv_format, kernel):
    contexts = CONTEXTS if kernel == "blocked" else CONTEXTS[:6]
    sequences = Sequences(contexts, num_heads=num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim)
    found = attend(sequences, cpu_variant, kv_format=kv_format, kernel=kernel)
    assert_close(found, formula(sequences, kv_format))


@pytest.mark.parametrize("kv_format", ["f32", "f16"])
@pytest.mark.parametrize(("num_heads", "num_kv_heads", "head_dim"), [(4, 2, 16), (6, 1, 24), (8, 1, 64)])
def test_a_row_is_the_same_however_the_work_is_cut(cpu_variant, num_heads, num_kv_heads, head_dim, kv_format):
    shape = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
    whole = attend(Sequences(CONTEXTS, **shape), cpu_variant, kv_format=kv_format)
    for block_size, num_threads, chunks in CUTS:
        sequences = Sequences(CONTEXTS, **shape, block_size=block_size)
        pieces = attend(
            sequences,
            cpu_variant,
            kv_format=kv_format,
            num_threads=num_threads,
            chunks=chunks,
            seed=block_size,
        )
        for found, expected in zip(pieces, whole, strict=True):
            assert np.array_equal(found, expected), (block_size, num_threads, chunks)


@pytest.mark.parametrize("kernel", ["blocked", "naive"])
@pytest.mark.parametrize(
    "output_rows",
    [
        [],
        [69],  # a prompt's last row
        [3, 4, 5, 68, 69, 70, 71],  # across the first sequence's end
        [0, 2, 40, 70, 71, 72, 73, 90],
        list(range(91)),
    ],
)
def test_output_rows_alone_get_the_bits_that_all_rows_get(cpu_variant, output_rows, kernel):
    among_all, alone = attend_to_all_and_to_some(cpu_variant, kernel, output_rows)
    assert np.array_equal(alone, among_all)


@pytest.mark.parametrize("soft_cap", [0.0, 2.0])
@pytest.mark.parametrize("window", [1, 2, 15, 16, 17, 100, 255, 256, 257, 300, 529, 1000])
def test_windows_and_soft_caps_agree_with_the_formula(cpu_variant, window, soft_cap):
    sequences = Sequences(CONTEXTS, num_heads=6, num_kv_heads=2, head_dim=24)
    found = attend(sequences, cpu_variant, window=window, soft_cap=soft_cap)
    expected = formula(sequences, "f32", window, soft_cap)
    assert_close(found, expected)
    short = Sequences(CONTEXTS[:6], num_heads=6, num_kv_heads=2, head_dim=24)
    naive = attend(short, cpu_variant, window=window, soft_cap=soft_cap, kernel="naive")
    assert_close(naive, formula(short, "f32", window, soft_cap))


@pytest.mark.parametrize("window", [1, 16, 30, 256, 300])
def test_a_row_in_a_window_is_the_same_however_the_work_is_cut(cpu_variant, window):
    shape = {"num_heads": 6, "num_kv_heads": 1, "head_dim": 24}
    whole = attend(Sequences(CONTEXTS, **shape), cpu_variant, window=window, soft_cap=3.0)
    for block_size, num_threads, chunks in CUTS:
        pieces = attend(
            Sequences(CONTEXTS, **shape, block_size=block_size),
            cpu_variant,
            num_threads=num_threads,
            chunks=chunks,
            seed=block_size,
            window=window,
            soft_cap=3.0,
        )
        for found, expected in zip(pieces, whole, strict=True):
            assert np.array_equal(found, expected), (block_size, num_threads, chunks)


def test_a_window_as_long_as_the_context_changes_no_bit(cpu_variant):
    sequences = Sequences(CONTEXTS, num_heads=4, num_kv_heads=2, head_dim=16)
    for found, expected in zip(
        attend(sequences, cpu_variant, window=max(CONTEXTS)), attend(sequences, cpu_variant), strict=True
    ):
        assert np.array_equal(found, expected)


def test_large_scores_do_not_overflow(cpu_variant):
    sequences = Sequences([40, 600], num_heads=2, num_kv_heads=1, head_dim=16)
    sequences.q = [q * 60 for q in sequences.q]
    assert_close(attend(sequences, cpu_variant), formula(sequences, "f32"), atol=1e-3)  # scores reach 1000


def test_block_copies_come_before_anything_else(cpu_variant):
    """A copy holds what its source held before the step, though the step then writes to the source."""
    executor = make_executor(cpu_variant, num_blocks=4)
    random = np.random.default_rng(3)
    q, k, v = (random.normal(size=(17, 16)).astype(np.float32) for _ in range(3))

    def last_row(step, rows):
        out = Tensor(len(rows), 16)
        write = executor.kv_write(Tensor.of(k[rows]).view, Tensor.of(v[rows]).view, 0)
        run(executor, step, write, executor.attention(Tensor.of(q[rows]).view, 0, 1.0, "blocked", out.view))
        return out.array[-1].copy()

    expected = last_row(make_step([17], [17], tables=np.array([[0, 1]])), list(range(17)))
    k[0] += 1  # goes to block 0, which was copied to block 2 before
    copying = make_step([1, 17], [1, 1], tables=np.array([[0, -1], [2, 3]]), block_copies=[(0, 2)])
    assert np.array_equal(last_row(copying, [0, 16]), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_size": 24}, "multiple of 16"),
        ({"kv_format": "bf16"}, "f16 or f32"),
        ({"head_dim": 7}, "even head_dim"),
        ({"num_heads": 3, "num_kv_heads": 2}, "multiple of num_kv_heads"),
        ({"num_blocks": 2**60}, "address space"),
        ({"num_threads": 0}, "num_threads"),
    ],
)
def test_shapes_that_cannot_work_are_refused(cpu_variant, changes, message):
    with pytest.raises(_native.SetupError, match=message):
        make_executor(cpu_variant, **changes)
