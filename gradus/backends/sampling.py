"""Sampling from logits in plain NumPy: the specification that every backend's sampler is tested against.

A draw is a pure function of one row's logits and parameters and of (seed, choice index, position): what
else is in the batch cannot change it. Knows nothing of models; backends without an own sampler call it.
"""

import numpy as np
from numpy.typing import NDArray

from gradus.batch import DRAW, NOTHING, Float32, LogitEdits, SamplingBatch, StepResult

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def sample(logits: Float32, sampling: SamplingBatch) -> StepResult:
    """One token for every row of logits, with its logprob, rank and likeliest alternatives where asked for.

    logits: [num_outputs, vocab_size] f32, -inf where a token is impossible. A row that holds NaN or +inf, or
    in which no token is possible, before or after edits, yields `num_sampled` 0 and token id -1.

    The logits are edited as `LogitEdits` says. Temperature 0 then takes the likeliest token. Otherwise the
    weights exp((logit - max) / temperature) are cut to those of at least min_p (the likeliest token's is 1),
    then to the top_k likeliest tokens, then to the fewest likeliest of those whose share of the remaining
    weight reaches top_p, and the token is found by inverting the cumulative weight of what is left, in order
    of token id, at one uniform draw. All of it in f64; ties go to the lower token id.

    A row with a target gives that token, and a row that wants nothing yields `num_sampled` 0.
    """
    result = empty_result(len(logits), max(0, int(sampling.num_logprobs.max(initial=0))))
    edits = sampling.edits
    edit_of = {} if edits is None else {row: index for index, row in enumerate(edits.rows.tolist())}
    for i, row in enumerate(logits):
        target = DRAW if sampling.targets is None else int(sampling.targets[i])
        if target == NOTHING or not is_sampleable(row):
            continue
        token_id = target
        if target == DRAW:
            usable = row if edits is None or i not in edit_of else edited(row, edits, edit_of[i])
            if not is_sampleable(usable):
                continue
            token_id = _draw(usable, sampling, i)
        result.token_ids[i, 0] = token_id
        result.num_sampled[i] = 1
        add_logprobs(result, i, row, token_id, int(sampling.num_logprobs[i]))
    return result


def empty_result(num_outputs: int, num_top: int) -> StepResult:
    """A result in which no row yields anything."""
    return StepResult(
        token_ids=np.full((num_outputs, 1), -1, np.int32),
        num_sampled=np.zeros(num_outputs, np.int32),
        logprobs=np.zeros((num_outputs, 1), np.float32),
        ranks=np.zeros((num_outputs, 1), np.int32),
        top_token_ids=np.full((num_outputs, num_top), -1, np.int32),
        top_logprobs=np.zeros((num_outputs, num_top), np.float32),
    )


def add_logprobs(result: StepResult, i: int, row: Float32, token_id: int, num_logprobs: int) -> None:
    """The token's logprob and rank, and the likeliest tokens', under the raw logits; -1 asks for none."""
    if num_logprobs < 0:
        return
    logprobs = log_softmax(row)
    result.logprobs[i, 0] = logprobs[token_id]
    result.ranks[i, 0] = rank(row, token_id)
    top = likeliest(row)[:num_logprobs]
    result.top_token_ids[i, : len(top)] = top
    result.top_logprobs[i, : len(top)] = logprobs[top]


def edited(row: Float32, edits: LogitEdits, index: int) -> Float32:
    """One row of raw logits after edit `index`, as `LogitEdits` says; a new array.

    Sources: the repetition penalty is that of Keskar et al. 2019 (CTRL), section 4.1, with negative logits
    multiplied; the other two are the formula of OpenAI's API reference.
    """
    row = row.copy()
    if edits.mask_index[index] >= 0:
        bits = np.unpackbits(edits.masks[edits.mask_index[index]].view(np.uint8), bitorder="little")
        row[bits[: len(row)] == 0] = -np.inf
    biased = slice(edits.bias_start[index], edits.bias_start[index + 1])
    np.add.at(row, edits.bias_ids[biased], edits.biases[biased])
    listed = slice(edits.seen_start[index], edits.seen_start[index + 1])
    ids, counts = edits.seen_ids[listed], edits.seen_counts[listed].astype(np.float32)
    repetition = edits.repetition_penalty[index]
    row[ids] = np.where(row[ids] > 0, row[ids] / repetition, row[ids] * repetition)
    row[ids] -= edits.frequency_penalty[index] * counts
    row[ids] -= edits.presence_penalty[index] * (counts > 0).astype(np.float32)
    return row


def _draw(row: Float32, sampling: SamplingBatch, i: int) -> int:
    return sample_row(
        row,
        temperature=float(sampling.temperature[i]),
        top_k=int(sampling.top_k[i]),
        top_p=float(sampling.top_p[i]),
        min_p=float(sampling.min_p[i]),
        uniform=uniform(int(sampling.seed[i]), int(sampling.choice_index[i]), int(sampling.position[i])),
    )


def is_sampleable(row: Float32) -> bool:
    """Whether a row of logits holds neither NaN nor +inf, and at least one possible token."""
    largest = row.max()  # NaN if any is NaN
    return bool(np.isfinite(largest))


def sample_row(
    row: Float32, *, temperature: float, top_k: int, top_p: float, uniform: float, min_p: float = 0.0
) -> int:
    """The token that one uniform draw from [0, 1) selects; see `sample`."""
    if temperature == 0:
        return int(row.argmax())
    weights = np.exp((row.astype(np.float64) - float(row.max())) / temperature)
    kept = np.flatnonzero(kept_tokens(row, weights, top_k, top_p, min_p))
    cumulative = weights[kept].cumsum()
    index = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
    if index == len(kept):  # the product was rounded up to the whole sum
        index = np.flatnonzero(weights[kept])[-1]
    return int(kept[index])


def kept_tokens(
    row: Float32, weights: Float64, top_k: int, top_p: float, min_p: float = 0.0
) -> NDArray[np.bool_]:
    """Which tokens survive min_p, then top_k, then top_p.

    row, weights: [vocab_size], the largest weight being 1; returns a mask of that shape. Source of min_p:
    Nguyen et al. 2024, section 3.
    """
    kept = weights >= min_p
    if not 0 < top_k < len(row) and not top_p < 1:
        return kept
    order = likeliest(row)[: kept.sum()]
    if 0 < top_k < len(row):
        kept[order[top_k:]] = False
        order = order[:top_k]
    if top_p < 1:
        cumulative = weights[order].cumsum()
        num_kept = int(np.searchsorted(cumulative, top_p * cumulative[-1], side="left")) + 1
        kept[order[num_kept:]] = False
    return kept


def likeliest(row: Float32) -> Int64:
    """Token ids by falling logit, ties by rising id."""
    return np.argsort(-row, kind="stable")


def log_softmax(row: Float32) -> Float64:
    """Natural logs of the softmax of one row of raw logits, in f64."""
    shifted = row.astype(np.float64) - float(row.max())
    return shifted - np.log(np.exp(shifted).cumsum()[-1])


def rank(row: Float32, token_id: int) -> int:
    """1 for the likeliest token; of equally likely ones the lower id comes first."""
    logit = row[token_id]
    return 1 + int((row > logit).sum()) + int((row[:token_id] == logit).sum())


def uniform(seed: int, choice_index: int, position: int) -> float:
    """The draw for one sampled token: 53 bits in [0, 1) from one block of Philox4x64-10.

    The key is (seed, choice_index), the counter (position, 0, 0, 0). NumPy steps the counter before it
    generates, hence the minus one. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    mask = 2**64 - 1
    key = (seed & mask) | (choice_index & mask) << 64
    counter = (position - 1) % 2**256
    bits = int(np.random.Philox(key=key, counter=counter).random_raw())
    return (bits >> 11) * 2.0**-53
