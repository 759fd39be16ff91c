"""Matrix products against float64, and their independence of the number of rows and threads."""

import numpy as np
import pytest

from gradus.backends.native import _native
from tests.backends.native.harness import Tensor, make_executor, pack, rows_step, run
from tests.backends.native.rounding import to_bf16

EPSILON = 2.0**-24


def rounded(matrix, weight_format):
    if weight_format == "f16":
        return matrix.astype(np.float16).astype(np.float32)
    return to_bf16(matrix) if weight_format == "bf16" else matrix


def product(executor, x, weight, num_outputs):
    y = Tensor(len(x), num_outputs)
    run(executor, rows_step(len(x)), _native.linear(Tensor.of(x).view, weight, 0, 1, y.view))
    return y.array.copy()


@pytest.mark.parametrize("weight_format", ["f32", "bf16", "f16"])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (17, 3), (16, 64), (50, 37), (130, 257), (200, 700)])
def test_agrees_with_float64(cpu_variant, weight_format, n, k):
    executor = make_executor(cpu_variant)
    random = np.random.default_rng(n * k)
    matrix = random.normal(size=(n, k)).astype(np.float32)
    bias = random.normal(size=n).astype(np.float32)
    weight = pack(executor, matrix, weight_format, bias)
    exact = rounded(matrix, weight_format).astype(np.float64)
    for m in (1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 24, 25, 31, 64, 70):
        x = random.normal(size=(m, k)).astype(np.float32)
        expected = x.astype(np.float64) @ exact.T + bias
        bound = (k + 1) * EPSILON * (np.abs(x).astype(np.float64) @ np.abs(exact).T + np.abs(bias))
        assert (np.abs(product(executor, x, weight, n) - expected) <= bound).all(), m


@pytest.mark.parametrize("weight_format", ["f32", "bf16", "f16"])
def test_a_row_is_the_same_alone_and_among_others(cpu_variant, weight_format):
    random = np.random.default_rng(0)
    matrix = random.normal(size=(150, 600)).astype(np.float32)
    x = random.normal(size=(70, 600)).astype(np.float32)
    executors = [make_executor(cpu_variant, num_threads=threads) for threads in (1, 2, 3)]
    weight = pack(executors[0], matrix, weight_format)
    alone = np.concatenate([product(executors[0], x[i : i + 1], weight, 150) for i in range(len(x))])
    for executor in executors:
        for m in (2, 3, 4, 5, 6, 7, 8, 13, 25, 70):
            assert np.array_equal(product(executor, x[:m], weight, 150), alone[:m]), m


def test_several_matrices_side_by_side_give_what_each_gives(cpu_variant):
    executor = make_executor(cpu_variant)
    random = np.random.default_rng(1)
    outputs, k, m = [24, 9, 40], 48, 9
    matrices = [random.normal(size=(n, k)).astype(np.float32) for n in outputs]
    together = _native.Weight("f32", outputs, k)
    for i, matrix in enumerate(matrices):
        together.pack(i, matrix, "f32", executor)
    x = random.normal(size=(m, k)).astype(np.float32)
    y = Tensor(m, 32 + 16 + 48)
    run(executor, rows_step(m), _native.linear(Tensor.of(x).view, together, 0, 3, y.view))
    for matrix, begin in zip(matrices, (0, 32, 48), strict=True):
        single = product(executor, x, pack(executor, matrix, "f32"), len(matrix))
        assert np.array_equal(y.array[:, begin : begin + len(matrix)], single)


def test_a_view_that_is_too_narrow_is_refused(cpu_variant):
    executor = make_executor(cpu_variant)
    weight = pack(executor, np.zeros((40, 8), np.float32), "f32")
    with pytest.raises(_native.SetupError, match="as wide"):
        _native.linear(Tensor(1, 8).view, weight, 0, 1, Tensor(1, 16).view)
    with pytest.raises(_native.SetupError, match="9 wide, expected 8"):
        _native.linear(Tensor(1, 9).view, weight, 0, 1, Tensor(1, 40).view)
    instruction = _native.linear(Tensor(2, 8).view, weight, 0, 1, Tensor(3, 40).view)
    with pytest.raises(_native.StepError, match="2 rows, the step needs 3"):
        run(executor, rows_step(3), instruction)
