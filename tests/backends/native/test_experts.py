"""The mixture of experts as one instruction: against float64, and row by row whatever the other rows are."""

import numpy as np
import pytest

from gradus.backends.native import _native
from tests.backends.native.harness import Tensor, make_executor, rows_step, run

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

    def run(self, x, cpu_variant, num_threads=2):
        executor = make_executor(cpu_variant, num_threads=num_threads)
        router = packed(executor, [self.router])
        gate_up = packed(executor, [m for pair in zip(self.gate, self.up, strict=True) for m in pair])
        down = packed(executor, list(self.down))
        tensor, y = Tensor.of(x), Tensor(len(x), WIDTH)
        instruction = executor.experts(
            tensor.view, router, gate_up, down, self.top_k, self.renormalize, y.view
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


def packed(executor, matrices):
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
    executor.experts(x.view, router, four, square, 2, True, y.view)
    for arguments, message in [
        ((router, square, square, 1), "another number of experts"),
        ((router, four, square, 3), "cannot choose"),
        ((router, narrow, square, 1), "do not fit"),
    ]:
        with pytest.raises(_native.SetupError, match=message):
            executor.experts(x.view, *arguments, True, y.view)
