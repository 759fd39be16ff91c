"""The sampling specification: distributions, cuts, logprobs and ranks, each from its definition."""

import numpy as np
import pytest

from gradus.backends.sampling import (
    edited,
    kept_tokens,
    likeliest,
    log_softmax,
    rank,
    sample,
    sample_row,
    uniform,
)
from gradus.batch import DRAW, NOTHING, LogitEdits, SamplingBatch


def sampling(n, **changes):
    values = {
        "temperature": np.ones(n, np.float32),
        "top_p": np.ones(n, np.float32),
        "top_k": np.zeros(n, np.int32),
        "min_p": np.zeros(n, np.float32),
        "seed": np.zeros(n, np.int64),
        "choice_index": np.zeros(n, np.int32),
        "position": np.arange(1, n + 1, dtype=np.int32),
        "num_logprobs": np.full(n, -1, np.int32),
    }
    return SamplingBatch(**(values | changes))


def test_philox_agrees_with_the_published_algorithm():
    """Ten rounds written out in plain integers, against NumPy's generator behind `uniform`."""

    def philox(counter, key):
        mask = 2**64 - 1
        c, k = list(counter), list(key)
        for _ in range(10):
            low, high = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
            c = [high >> 64 ^ c[1] ^ k[0], high & mask, low >> 64 ^ c[3] ^ k[1], low & mask]
            k = [k[0] + 0x9E3779B97F4A7C15 & mask, k[1] + 0xBB67AE8584CAA73B & mask]
        return c

    for seed, choice, position in [(0, 0, 0), (0, 0, 1), (1, 2, 3), (2**63 - 1, 7, 2**31 - 1), (-5, 0, 9)]:
        bits = philox((position, 0, 0, 0), (seed % 2**64, choice))[0]
        assert uniform(seed, choice, position) == (bits >> 11) / 2**53


def test_frequencies_follow_the_softmax():
    logits = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))
    n = 20_000
    found = sample(np.tile(logits, (n, 1)), sampling(n)).token_ids[:, 0]
    np.testing.assert_allclose(np.bincount(found) / n, [0.5, 0.25, 0.15, 0.1], atol=0.015)


def test_temperature_sharpens_and_zero_is_greedy():
    logits = np.array([0, 1, 3, 3], np.float32)
    n = 5000
    rows = np.tile(logits, (n, 1))
    found = sample(rows, sampling(n, temperature=np.full(n, 0.5, np.float32))).token_ids[:, 0]
    weights = np.exp(logits / 0.5)
    np.testing.assert_allclose(np.bincount(found, minlength=4) / n, weights / weights.sum(), atol=0.03)
    assert (
        sample(rows, sampling(n, temperature=np.zeros(n, np.float32))).token_ids == 2
    ).all()  # the lower of the ties


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (0, 1.0, {0, 1, 2, 3, 4}),
        (2, 1.0, {1, 2}),  # of the tied 2 and 3 the lower
        (3, 1.0, {1, 2, 3}),
        (9, 1.0, {0, 1, 2, 3, 4}),
        (0, 0.4, {1}),
        (0, 0.41, {1, 2}),
        (0, 0.0, {1}),
        (3, 0.6, {1, 2}),  # 0.4 + 0.2 of 0.8 is 0.75
        (3, 0.5, {1}),
    ],
)
def test_cuts(top_k, top_p, expected):
    weights = np.array([0.125, 0.4, 0.2, 0.2, 0.075])
    row = np.log(weights).astype(np.float32)
    row[3] = row[2]
    assert set(np.flatnonzero(kept_tokens(row, weights, top_k, top_p))) == expected


@pytest.mark.parametrize(
    ("min_p", "top_k", "top_p", "expected"),
    [
        (0.5, 0, 1.0, {1, 2, 3}),  # 0.2 is half of 0.4
        (0.51, 0, 1.0, {1}),
        (1.0, 0, 1.0, {1}),
        (0.3, 0, 1.0, {0, 1, 2, 3}),
        (0.3, 2, 1.0, {1, 2}),
        (0.5, 0, 0.7, {1, 2}),  # of 0.8: 0.6 is 0.75
        (0.0, 0, 0.7, {1, 2, 3}),  # of 1: 0.6 is not enough
        (0.3, 3, 0.5, {1}),
    ],
)
def test_min_p_cuts_before_top_k_and_top_p(min_p, top_k, top_p, expected):
    weights = np.array([0.125, 0.4, 0.2, 0.2, 0.075]) / 0.4
    row = np.log(weights).astype(np.float32)
    assert set(np.flatnonzero(kept_tokens(row, weights, top_k, top_p, min_p))) == expected


def one_edit(**changes):
    """A `LogitEdits` of one row that does nothing but the changes."""
    values = {
        "rows": np.zeros(1, np.int32),
        "mask_index": np.full(1, -1, np.int32),
        "masks": np.empty((0, 1), np.uint32),
        "bias_ids": np.empty(0, np.int32),
        "biases": np.empty(0, np.float32),
        "seen_ids": np.empty(0, np.int32),
        "seen_counts": np.empty(0, np.int32),
        "repetition_penalty": np.ones(1, np.float32),
        "frequency_penalty": np.zeros(1, np.float32),
        "presence_penalty": np.zeros(1, np.float32),
    } | {name: np.asarray(*value) for name, value in changes.items()}
    for kind, ids in (("bias_start", "bias_ids"), ("seen_start", "seen_ids")):
        values[kind] = np.array([0, len(values[ids])], np.int32)
    return LogitEdits(**values)


ROW = np.array([2.0, -1.0, 0.5, -4.0, 3.0], np.float32)
SEEN = {"seen_ids": ([4, 1, 0], np.int32), "seen_counts": ([0, 1, 3], np.int32)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [2, -1, 0.5, -4, 3]),
        ({"mask_index": ([0], np.int32), "masks": ([[0b01101]], np.uint32)}, [2, -np.inf, 0.5, -4, -np.inf]),
        (
            {"bias_ids": ([1, 3, 1], np.int32), "biases": ([1.5, -np.inf, 2], np.float32)},
            [2, 2.5, 0.5, -np.inf, 3],
        ),
        ({**SEEN, "repetition_penalty": ([2], np.float32)}, [1, -2, 0.5, -4, 1.5]),
        ({**SEEN, "frequency_penalty": ([0.5], np.float32)}, [0.5, -1.5, 0.5, -4, 3]),
        ({**SEEN, "presence_penalty": ([0.5], np.float32)}, [1.5, -1.5, 0.5, -4, 3]),
        (
            {
                **SEEN,
                "bias_ids": ([1], np.int32),
                "biases": ([3], np.float32),
                "repetition_penalty": ([2], np.float32),
                "frequency_penalty": ([0.25], np.float32),
                "presence_penalty": ([-1], np.float32),
            },
            [1 - 0.75 + 1, 1 - 0.25 + 1, 0.5, -4, 1.5],
        ),
    ],
)
def test_edits_by_hand(changes, expected):
    assert edited(ROW, one_edit(**changes), 0).tolist() == expected
    assert ROW.tolist() == [2, -1, 0.5, -4, 3]


def test_edits_change_the_choice_and_not_the_logprobs():
    plain = sampling(1, temperature=np.zeros(1, np.float32), num_logprobs=np.array([2], np.int32))
    plain.edits = one_edit(bias_ids=([4], np.int32), biases=([-np.inf], np.float32))
    result = sample(ROW[None], plain)
    assert result.token_ids.tolist() == [[0]]
    assert result.ranks.tolist() == [[2]]
    assert result.top_token_ids.tolist() == [[4, 0]]
    assert result.logprobs[0, 0] == np.float32(log_softmax(ROW)[0])


def test_a_target_is_scored_and_nothing_drawn():
    both = sampling(3, num_logprobs=np.array([1, 0, 1], np.int32))
    both.targets = np.array([3, NOTHING, DRAW], np.int32)
    both.top_k = np.ones(3, np.int32)
    result = sample(np.tile(ROW, (3, 1)), both)
    assert result.token_ids[:, 0].tolist() == [3, -1, 4]
    assert result.num_sampled.tolist() == [1, 0, 1]
    assert result.ranks[:, 0].tolist() == [5, 0, 1]
    assert result.logprobs[0, 0] == np.float32(log_softmax(ROW)[3])


def test_cumulative_weights_are_inverted_in_token_order():
    row = np.log(np.array([0.25, 0.5, 0.25], np.float32))
    chosen = [
        sample_row(row, temperature=1.0, top_k=0, top_p=1.0, uniform=u)
        for u in (0, 0.24, 0.26, 0.74, 0.76, 1 - 2**-53)
    ]
    assert chosen == [0, 0, 1, 1, 2, 2]


def test_impossible_tokens_are_never_drawn():
    row = np.array([-np.inf, 0, -np.inf, 0, -np.inf], np.float32)
    for u in (0.0, 0.5, 1 - 2**-53):
        assert sample_row(row, temperature=1.0, top_k=0, top_p=1.0, uniform=u) in (1, 3)


def test_logprobs_and_ranks():
    row = np.array([1, 5, 5, -np.inf, 3], np.float32)
    total = np.exp([1.0, 5, 5, 3]).sum()
    np.testing.assert_allclose(np.exp(log_softmax(row))[[0, 1, 2, 4]], np.exp([1.0, 5, 5, 3]) / total)
    assert [rank(row, i) for i in range(5)] == [4, 1, 2, 5, 3]
    assert likeliest(row).tolist() == [1, 2, 4, 0, 3]
    result = sample(
        row[None], sampling(1, temperature=np.zeros(1, np.float32), num_logprobs=np.array([3], np.int32))
    )
    assert result.token_ids.tolist() == [[1]]
    assert result.ranks.tolist() == [[1]]
    assert result.top_token_ids.tolist() == [[1, 2, 4]]
    np.testing.assert_allclose(result.top_logprobs[0], log_softmax(row)[[1, 2, 4]], rtol=1e-6)
    assert result.logprobs[0, 0] == result.top_logprobs[0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_without_finite_logits_yield_nothing(bad):
    logits = np.zeros((3, 4), np.float32)
    logits[0, 2] = bad
    logits[1] = -np.inf
    result = sample(logits, sampling(3, num_logprobs=np.full(3, 2, np.int32)))
    assert result.num_sampled.tolist() == [0, 0, 1]
    assert result.token_ids[:2].tolist() == [[-1], [-1]]
    assert result.top_token_ids[:2].tolist() == [[-1, -1], [-1, -1]]
