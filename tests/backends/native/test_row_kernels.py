"""Norms, rotary embedding and elementwise kernels against float64."""

import numpy as np
import pytest

from gradus.backends.native import _native
from gradus.models.rope import Rope, inverse_frequencies
from tests.backends.native.harness import OUTPUTS, Tensor, make_executor, make_step, rows_step, run

WIDTHS = [1, 2, 15, 16, 24, 64, 100, 1024]


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def rms_norm_f64(x, weight, eps):
    x = x.astype(np.float64)
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


@pytest.mark.parametrize("width", WIDTHS)
def test_rms_norm(cpu_variant, width):
    executor = make_executor(cpu_variant)
    x, weight = normal(33, width), normal(width, seed=1)
    y = Tensor(33, width)
    run(executor, rows_step(33), _native.rms_norm(Tensor.of(x).view, _native.Floats(weight), 1e-5, y.view))
    np.testing.assert_allclose(y.array, rms_norm_f64(x, weight, 1e-5), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("head_dim", [2, 8, 16, 24, 80, 128])
def test_rms_norm_of_heads(cpu_variant, head_dim):
    executor = make_executor(cpu_variant)
    x, weight = normal(7, 3 * head_dim), normal(head_dim, seed=1)
    y = Tensor(7, 3 * head_dim)
    run(executor, rows_step(7), _native.rms_norm(Tensor.of(x).view, _native.Floats(weight), 1e-6, y.view))
    expected = rms_norm_f64(x.reshape(7, 3, head_dim), weight, 1e-6).reshape(7, -1)
    np.testing.assert_allclose(y.array, expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("head_dim", [2, 8, 24, 64, 80, 128])
def test_rope(cpu_variant, head_dim):
    executor = make_executor(cpu_variant)
    x = normal(300, 2 * head_dim)
    frequencies = inverse_frequencies(Rope(head_dim=head_dim, theta=10_000.0))
    table, y = Tensor(300, head_dim), Tensor(300, 2 * head_dim)
    run(
        executor,
        make_step([1500], [300], tables=np.arange(94, dtype=np.int32)[None] % 64),
        _native.rope_table(_native.Floats(frequencies), table.view),
        _native.rope(Tensor.of(x).view, table.view, y.view, head_dim),
    )
    angles = (np.arange(1200, 1500, dtype=np.float32)[:, None] * frequencies).astype(
        np.float64
    )  # rounded to f32
    cos, sin = np.cos(angles), np.sin(angles)
    np.testing.assert_array_equal(table.array, np.concatenate([cos, sin], axis=1).astype(np.float32))
    heads = x.reshape(300, 2, head_dim).astype(np.float64)
    first, second = heads[..., : head_dim // 2], heads[..., head_dim // 2 :]
    cos, sin = cos[:, None], sin[:, None]
    expected = np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).reshape(
        300, -1
    )
    np.testing.assert_allclose(y.array, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", WIDTHS)
def test_silu_mul(cpu_variant, width):
    executor = make_executor(cpu_variant)
    gate, up = normal(20, width) * 8, normal(20, width, seed=1)
    gate.flat[:10] = [0, -0.0, 100, -100, 88, -88, 1e30, -1e30, 1e-30, -700]
    y = Tensor(20, width)
    run(executor, rows_step(20), _native.silu_mul(Tensor.of(gate).view, Tensor.of(up).view, y.view))
    with np.errstate(over="ignore"):
        expected = gate.astype(np.float64) / (1 + np.exp(-gate.astype(np.float64))) * up
    np.testing.assert_allclose(y.array, expected, rtol=6e-7, atol=1e-30)


@pytest.mark.parametrize("width", WIDTHS)
def test_gelu_mul(cpu_variant, width):
    executor = make_executor(cpu_variant)
    gate, up = normal(20, width) * 4, normal(20, width, seed=1)
    gate.flat[:10] = [0, -0.0, 100, -100, 88, -88, 1e10, -1e10, 1e-30, -6]
    y = Tensor(20, width)
    run(executor, rows_step(20), _native.gelu_mul(Tensor.of(gate).view, Tensor.of(up).view, y.view))
    x = gate.astype(np.float64)
    twice_u = 2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    with np.errstate(over="ignore"):
        expected = x / (1 + np.exp(-twice_u)) * up
    # The exponent's rounding grows with it; far below zero the result is next to nothing.
    np.testing.assert_allclose(y.array, expected, rtol=1e-5, atol=1e-7)


def test_partial_rope_leaves_the_rest_of_a_head_alone(cpu_variant):
    executor = make_executor(cpu_variant)
    x = normal(30, 3 * 24)
    frequencies = _native.Floats(inverse_frequencies(Rope(head_dim=24, theta=1e4, rotary_dim=16)))
    table, y = Tensor(30, 16), Tensor(30, 72)
    part_table, part = Tensor(30, 16), Tensor(30, 3 * 16)
    first = np.ascontiguousarray(x.reshape(30, 3, 24)[..., :16].reshape(30, -1))
    run(
        executor,
        rows_step(30),
        _native.rope_table(frequencies, table.view, 1.5),
        _native.rope(Tensor.of(x).view, table.view, y.view, 24),
        _native.rope_table(frequencies, part_table.view),
        _native.rope(Tensor.of(first).view, part_table.view, part.view, 16),
    )
    np.testing.assert_allclose(table.array, part_table.array * 1.5, rtol=1e-7)
    heads = y.array.reshape(30, 3, 24)
    assert np.array_equal(heads[..., 16:], x.reshape(30, 3, 24)[..., 16:])
    expected = part.array.reshape(30, 3, 16) * 1.5
    np.testing.assert_allclose(heads[..., :16], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", WIDTHS)
def test_add_and_norm_in_one_are_the_two_in_turn(cpu_variant, width):
    executor = make_executor(cpu_variant)
    a, b, weight = normal(40, width), normal(40, width, seed=1), _native.Floats(normal(width, seed=2))
    sums, normed, fused_sums, fused = (Tensor(40, width) for _ in range(4))
    views = Tensor.of(a).view, Tensor.of(b).view
    run(
        executor,
        rows_step(40),
        _native.add(*views, sums.view),
        _native.rms_norm(sums.view, weight, 1e-6, normed.view),
        _native.add_rms_norm(*views, weight, 1e-6, fused_sums.view, fused.view),
    )
    assert np.array_equal(sums.array, a + b)
    assert np.array_equal(fused_sums.array, sums.array)
    assert np.array_equal(fused.array, normed.array)


def test_select_rows(cpu_variant):
    executor = make_executor(cpu_variant)
    x, y = normal(9, 20), Tensor(3, 20, OUTPUTS)
    run(executor, rows_step(9, output_rows=[0, 4, 8]), _native.select_rows(Tensor.of(x).view, y.view))
    assert np.array_equal(y.array, x[[0, 4, 8]])


def test_rows_do_not_depend_on_threads_or_neighbours(cpu_variant):
    gate, up, weight = normal(200, 96), normal(200, 96, seed=1), normal(96, seed=2)
    results = []
    for num_threads, begin, end in [(1, 0, 200), (2, 0, 200), (3, 0, 200), (2, 150, 170)]:
        executor = make_executor(cpu_variant, num_threads=num_threads)
        y, z = Tensor(end - begin, 96), Tensor(end - begin, 96)
        run(
            executor,
            rows_step(end - begin),
            _native.silu_mul(Tensor.of(gate[begin:end]).view, Tensor.of(up[begin:end]).view, y.view),
            _native.rms_norm(y.view, _native.Floats(weight), 1e-6, z.view),
        )
        results.append(z.array.copy())
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    assert np.array_equal(results[0][150:170], results[3])
