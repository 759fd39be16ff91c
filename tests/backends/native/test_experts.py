"""The mixture of experts as one instruction: against float64, and row by row whatever the other rows are."""

import numpy as np
import pytest

from gradus.backends.native import _native
from gradus.quantization.rtn import quantize
from tests.backends.native.harness import Tensor, make_executor, rows_step, run
from tests.backends.native.test_quantized_gemm import pack_quantized

WIDTH, INNER = 40, 24


class Mixture:
    """Random experts: router [n, width], gate and up [n, inner, width], down [n, width, inner]."""

    def __init__(self, num_experts, top_k, renormalize, seed=0):
        random = np.random.default_rng(seed)
        self.router, self.gate, self.up, self.down = (
            random.normal(size=shape).astype(np.float32)
            for shape in [
                (num_experts, WIDTH),
                (num_experts, INNER, WIDTH),
                (num_experts, INNER, WIDTH),
                (num_experts, WIDTH, INNER),
            ]
        )
        self.top_k, self.renormalize = top_k, renormalize

    def run(self, x, cpu_variant, num_threads=2, width=None, quantize_x=False):
        executor = make_executor(cpu_variant, num_threads=num_threads)
        router = packed(executor, [self.router])
        gate_up = packed(executor, [m for pair in zip(self.gate, self.up, strict=True) for m in pair], width)
        down = packed(executor, list(self.down), width)
        tensor, y = Tensor.of(x), Tensor(len(x), WIDTH)
        instruction = executor.experts(
            tensor.view, router, gate_up, down, self.top_k, self.renormalize, quantize_x, y.view
        )
        run(executor, rows_step(len(x)), instruction)
        return y.array.copy()

    def formula(self, x):
        x = x.astype(np.float64)
        logits = x @ self.router.T
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        out = np.zeros_like(x)
        for i, row in enumerate(x):
            chosen = np.argsort(-p[i], kind="stable")[: self.top_k]
            total = p[i, chosen].sum() if self.renormalize else 1.0
            for e in chosen:
                gate, up = self.gate[e] @ row, self.up[e] @ row
                out[i] += p[i, e] / total * (self.down[e] @ (gate / (1 + np.exp(-gate)) * up))
        return out


def packed(executor, matrices, width=None):
    if width is not None:
        return pack_quantized(executor, width, *(quantize(matrix, width) for matrix in matrices))
    weight = _native.Weight("f32", [len(m) for m in matrices], matrices[0].shape[1])
    for i, matrix in enumerate(matrices):
        weight.pack(i, np.ascontiguousarray(matrix), "f32", executor)
    return weight


def rows(n, seed=5):
    return np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("renormalize", [True, False])
@pytest.mark.parametrize(("num_experts", "top_k"), [(1, 1), (2, 2), (8, 1), (8, 3), (50, 8)])
def test_agrees_with_the_formula(cpu_variant, num_experts, top_k, renormalize):
    mixture = Mixture(num_experts, top_k, renormalize)
    x = rows(37)
    found, expected = mixture.run(x, cpu_variant), mixture.formula(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)  # values reach 200


@pytest.mark.parametrize("num_experts", [3, 30])
def test_a_row_does_not_depend_on_the_others_or_on_threads(cpu_variant, num_experts):
    """Nor on how many there are: 700 rows are more than are routed at a time."""
    mixture = Mixture(num_experts, 2, renormalize=True)
    x = rows(700)
    whole = mixture.run(x, cpu_variant)
    assert np.array_equal(mixture.run(x, cpu_variant, num_threads=3), whole)
    for begin, end in [(0, 1), (3, 4), (100, 107), (500, 530), (511, 513)]:
        assert np.array_equal(mixture.run(x[begin:end], cpu_variant, num_threads=1), whole[begin:end])


@pytest.mark.parametrize("width", ["int8", "int4"])
def test_quantized_experts(cpu_variant, width):
    """With f32 rows the formula on the dequantized weights; 8-bit rows near it, and each on its own."""
    mixture = Mixture(8, 3, renormalize=True)
    x = rows(37)
    exact = mixture.run(x, cpu_variant, width=width)
    found = mixture.run(x, cpu_variant, width=width, quantize_x=True)
    for row in (0, 17, 36):
        alone = mixture.run(x[row : row + 1], cpu_variant, width=width, quantize_x=True, num_threads=1)
        assert np.array_equal(alone[0], found[row])
    for matrices in (mixture.gate, mixture.up, mixture.down):
        matrices[:] = [quantize(matrix, width).dequantize() for matrix in matrices]
    expected = mixture.formula(x)
    np.testing.assert_allclose(exact, expected, rtol=1e-4, atol=1e-3)
    assert 0 < np.abs(found - expected).std() <= 0.03 * expected.std()


def test_equally_likely_experts_go_to_the_lower_index(cpu_variant):
    mixture = Mixture(6, 2, renormalize=False)
    mixture.router[:] = 0
    x = rows(3)
    np.testing.assert_allclose(mixture.run(x, cpu_variant), mixture.formula(x), rtol=1e-4, atol=1e-3)


def test_a_row_of_nan_stays_alone(cpu_variant):
    mixture = Mixture(6, 2, renormalize=True)
    x = rows(9)
    expected = mixture.run(x, cpu_variant)
    x[4] = np.nan
    found = mixture.run(x, cpu_variant)
    assert np.isnan(found[4]).all()
    assert np.array_equal(np.delete(found, 4, axis=0), np.delete(expected, 4, axis=0))


def test_experts_that_do_not_fit_are_refused(cpu_variant):
    executor = make_executor(cpu_variant)
    x, y = Tensor(3, WIDTH), Tensor(3, WIDTH)
    square = packed(executor, [np.zeros((WIDTH, WIDTH), np.float32)] * 2)
    router = packed(executor, [np.zeros((2, WIDTH), np.float32)])
    four = packed(executor, [np.zeros((WIDTH, WIDTH), np.float32)] * 4)
    narrow = packed(executor, [np.zeros((INNER, WIDTH), np.float32)] * 4)
    executor.experts(x.view, router, four, square, 2, True, False, y.view)
    for arguments, message in [
        ((router, square, square, 1), "another number of experts"),
        ((router, four, square, 3), "cannot choose"),
        ((router, narrow, square, 1), "do not fit"),
    ]:
        with pytest.raises(_native.SetupError, match=message):
            executor.experts(x.view, *arguments, True, False, y.view)
    with pytest.raises(_native.SetupError, match="quantized experts"):
        executor.experts(x.view, router, four, square, 2, True, True, y.view)
