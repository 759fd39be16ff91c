"""Edits as the engine builds them, step by step, against a slow reading of each request's tokens."""

from collections import Counter

import numpy as np
import pytest

from gradus.batch import LogitEdits
from gradus.engine.logit_edits import is_edited
from tests.engine.harness import VOCAB_SIZE, batches, make_core, make_request, run_and_check


def edit_of(edits: LogitEdits, index: int) -> dict:
    """One edited row's part."""
    bias = slice(edits.bias_start[index], edits.bias_start[index + 1])
    seen = slice(edits.seen_start[index], edits.seen_start[index + 1])
    mask = edits.mask_index[index]
    bits = [] if mask < 0 else np.unpackbits(edits.masks[mask].view(np.uint8), bitorder="little")
    return {
        "biases": sorted(zip(edits.bias_ids[bias].tolist(), edits.biases[bias].tolist(), strict=True)),
        "seen": dict(zip(edits.seen_ids[seen].tolist(), edits.seen_counts[seen].tolist(), strict=True)),
        "allowed": np.flatnonzero(bits).tolist(),
    }


def edits_by_step(request, **config):
    """What each step did to the request's logits, and the tokens known before it."""
    core = make_core(**config)
    recorder = run_and_check(core, [request])
    output = recorder.token_ids[request.request_id, 0]
    found = []
    for batch in batches(core):
        if batch.num_outputs:
            known = request.prompt_token_ids + output[: len(found)]
            assert batch.sampling.position.tolist() == [len(known)]
            edits = batch.sampling.edits
            found.append((known, None if edits is None else edit_of(edits, 0)))
    assert len(found) == len(output)
    return found


def with_ids(request, **fields):
    from dataclasses import replace

    return replace(request, **fields)


def test_who_edits_nothing_costs_nothing():
    request = make_request(max_tokens=3, temperature=1.0, top_p=0.5, min_p=0.1, top_k=3)
    assert not is_edited(request)
    for _, edit in edits_by_step(request):
        assert edit is None


@pytest.mark.parametrize("config", [{}, {"max_num_batched_tokens": 2}])
def test_seen_tokens_are_those_of_prompt_and_output_with_the_outputs_counts(config):
    request = make_request(prompt=[3, 5, 3, 7], max_tokens=20, repetition_penalty=1.3, temperature=1.0)
    for known, edit in edits_by_step(request, **config):
        counts = Counter(known[4:])
        assert edit["seen"] == {token: counts[token] for token in known}


def test_without_a_repetition_penalty_the_prompt_is_left_out():
    request = make_request(prompt=[3, 5, 3, 7], max_tokens=20, presence_penalty=0.5)
    for known, edit in edits_by_step(request):
        assert edit["seen"] == Counter(known[4:])


def test_biases_and_the_mask_stay():
    request = make_request(max_tokens=3, logit_bias={4: 1.5, 9: -100}, allowed_token_ids=[1, 9, 29])
    for _, edit in edits_by_step(request):
        assert edit["biases"] == [(4, 1.5), (9, -100)]
        assert edit["allowed"] == [1, 9, 29]


def test_ends_are_forbidden_until_min_tokens():
    # The backend does not read edits, so ends that no token of the output has.
    request = with_ids(make_request(max_tokens=6, min_tokens=4), delayed_token_ids=(2, 11))
    for known, edit in edits_by_step(request):
        num_generated = len(known) - 3
        expected = [(2, -np.inf), (11, -np.inf)] if num_generated < 4 else []
        assert edit["biases"] == expected


def test_a_bad_words_last_token_is_forbidden_where_the_output_ends_with_the_rest():
    plain = make_request(max_tokens=8)
    output = run_and_check(make_core(), [plain]).token_ids["r", 0]
    words = ((17,), (output[2], 19), (*output[1:4], 23), (3, 21))  # the last would begin in the prompt
    request = with_ids(plain, bad_words=words)
    for known, edit in edits_by_step(request):
        generated = known[3:]
        expected = {17}
        for word in words[1:]:
            if generated[-len(word) + 1 :] == list(word[:-1]):
                expected.add(word[-1])
        assert {token for token, _ in edit["biases"]} == expected
        assert (3 in generated) or 21 not in expected
    assert 21 not in {token for token, _ in edits_by_step(request)[0][1]["biases"]}


def test_edits_follow_their_rows_in_a_mixed_batch():
    core = make_core()
    requests = [
        make_request("plain", [1, 2], 4),
        make_request("biased", [1, 3], 4, logit_bias={5: 1.0}),
        make_request("masked", [1, 4], 4, n=2, allowed_token_ids=list(range(VOCAB_SIZE))),
    ]
    run_and_check(core, requests)
    together = [batch for batch in batches(core) if batch.num_outputs == 4]
    assert together
    for batch in together:
        assert batch.sampling.edits.rows.tolist() == [1, 2, 3]
        assert batch.sampling.edits.mask_index.tolist() == [-1, 0, 1]
        assert edit_of(batch.sampling.edits, 0)["biases"] == [(5, 1.0)]


def test_a_preempted_request_counts_its_tokens_once():
    requests = [make_request(f"r{i}", [i + 1, 2, 3, 4], 16, repetition_penalty=1.2) for i in range(3)]
    core = make_core(num_blocks=8)
    recorder = run_and_check(core, requests)
    assert core.stats().num_preemptions
    by_prompt = {request.prompt_token_ids[0]: request for request in requests}
    for batch in batches(core):
        edits = batch.sampling.edits
        if edits is None:
            continue
        for index, row in enumerate(edits.rows.tolist()):
            edit = edit_of(edits, index)
            prompts = [p for p in by_prompt if p in edit["seen"] and edit["seen"].keys() >= {p, 2, 3, 4}]
            num_generated = int(batch.sampling.position[row]) - 4
            expected = [
                dict.fromkeys(by_prompt[p].prompt_token_ids, 0)
                | Counter(recorder.token_ids[f"r{p - 1}", 0][:num_generated])
                for p in prompts
            ]
            assert edit["seen"] in expected
