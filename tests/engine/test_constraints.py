"""Constrained choices in the engine, over a backend that obeys masks and a grammar that is plain arithmetic.

The oracle walks one choice alone, token by token, and knows nothing of steps, blocks or batches.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.batch import Batch, StepResult
from gradus.engine.core import NO_TOKEN
from gradus.engine.logit_edits import EditState, token_mask
from gradus.errors import ConstraintError
from tests.engine.fake_backend import FakeBackend, next_token
from tests.engine.harness import BLOCK_SIZE, MAX_MODEL_LEN, VOCAB_SIZE, configs, make_core, make_request, run

EOS = 0


def allowed_after(output: list[int], length: int) -> list[int]:
    """Every third token, which third depends on all tokens before, or only one; then nothing but the end."""
    if len(output) >= length:
        return [EOS]
    allowed = [token for token in range(1, VOCAB_SIZE) if (token + sum(output)) % 3 == 0]
    return allowed[:1] if sum(output) % 4 == 1 else allowed


@dataclass
class Arithmetic:
    """A constraint; says no to what it does not allow."""

    length: int
    output: list[int] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        return len(self.output) >= self.length

    def forced_tokens(self) -> list[int]:
        """Every fourth state is one of no choice, and so may be the next."""
        forced: list[int] = []
        while len(allowed := allowed_after(self.output + forced, self.length)) == 1 and allowed != [EOS]:
            forced += allowed
        return forced

    def accept(self, token_id: int) -> None:
        if token_id not in allowed_after(self.output, self.length):
            raise ConstraintError(f"{token_id} may not follow {self.output}")
        self.output.append(token_id)


@dataclass(frozen=True)
class ArithmeticGrammar:
    length: int
    end_token_ids: tuple[int, ...] = (EOS,)

    def new_constraint(self, max_tokens: int | None) -> Arithmetic:
        return Arithmetic(self.length)

    def fill_masks(self, places, masks) -> None:
        for constraint, row in places:
            masks[row] = token_mask(allowed_after(constraint.output, constraint.length), VOCAB_SIZE)


class MaskedBackend(FakeBackend):
    """Takes the token that the context's hash names among those that the row's mask leaves."""

    def _sample(self, batch: Batch, contexts: list[np.ndarray]) -> StepResult:
        result = super()._sample(batch, contexts)
        edits = batch.sampling.edits
        if edits is not None:
            for index, row in enumerate(edits.rows.tolist()):
                if edits.mask_index[index] >= 0:
                    bits = np.unpackbits(
                        edits.masks[edits.mask_index[index]].view(np.uint8), bitorder="little"
                    )
                    biases = slice(edits.bias_start[index], edits.bias_start[index + 1])
                    bits[edits.bias_ids[biases][np.isneginf(edits.biases[biases])]] = 0
                    self._draw(result, row, np.flatnonzero(bits).tolist())
        return result

    @staticmethod
    def _draw(result: StepResult, row: int, allowed: list[int]) -> None:
        if allowed:
            result.token_ids[row, 0] = allowed[result.token_ids[row, 0] % len(allowed)]
        result.num_sampled[row] = bool(allowed)


def expected(request, choice: int) -> tuple[list[int], str]:
    """The choice alone."""
    output: list[int] = []
    params, grammar = request.params, request.grammar
    while True:
        context = np.array(request.prompt_token_ids + output)
        token = next_token(context, params.temperature, request.seed, choice, VOCAB_SIZE)
        if grammar is not None:
            allowed = allowed_after(output, grammar.length)
            if not request.eos_token_ids:
                allowed = [token for token in allowed if token != EOS]
            token = allowed[token % len(allowed)]
        output.append(token)
        if token in request.eos_token_ids:
            return output, "stop"
        if grammar is not None and not request.eos_token_ids and len(output) == grammar.length:
            return output, "stop"
        if len(output) == request.max_tokens:
            return output, "length"


def backend(num_blocks: int = 64) -> MaskedBackend:
    return MaskedBackend(num_blocks, BLOCK_SIZE, VOCAB_SIZE, record=True)


def constrained(request, length: int):
    return replace(request, grammar=ArithmeticGrammar(length))


@st.composite
def mixed_requests(draw: st.DrawFn) -> list:
    """Some constrained, some not; with several choices, with and without ends of sequence."""
    found = []
    for index in range(draw(st.integers(1, 5))):
        prompt = draw(st.lists(st.integers(1, VOCAB_SIZE - 1), min_size=1, max_size=10))
        request = make_request(
            f"r{index}",
            prompt,
            draw(st.integers(1, MAX_MODEL_LEN - len(prompt))),
            n=draw(st.integers(1, 3)),
            temperature=draw(st.sampled_from([0.0, 1.0])),
            seed=draw(st.integers(0, 100)),
            eos_token_ids=draw(st.sampled_from([frozenset(), frozenset({EOS})])),
        )
        found.append(constrained(request, draw(st.integers(1, 12))) if draw(st.booleans()) else request)
    return found


@settings(max_examples=60)
@given(mixed_requests(), configs(), st.sampled_from([6, 7, 9, 40]))
def test_a_constraint_follows_its_output_whatever_the_scheduler_does(requests, config, num_blocks):
    recorder = run(make_core(backend=backend(num_blocks), **config), requests)
    for request in requests:
        for choice in range(request.params.n):
            key = (request.request_id, choice)
            found = recorder.token_ids[key], recorder.last[key].finish_reason
            assert found == expected(request, choice), recorder.last[key].error


def test_preempted_constrained_choices_go_on_where_they_were():
    requests = [constrained(make_request(f"r{i}", [1, 2, 3, i + 4], 16), 14) for i in range(3)]
    core = make_core(backend=backend(7))
    recorder = run(core, requests)
    assert core.stats().num_preemptions > 0
    for request in requests:
        assert recorder.token_ids[request.request_id, 0] == expected(request, 0)[0]


def test_tokens_without_a_choice_take_no_steps_of_their_own():
    request = constrained(make_request("r", [1, 2, 3], 16), 14)
    num_steps = {}
    for jumps in (False, True):
        core = make_core(backend=backend(), enable_jump_forward=jumps)
        assert run(core, [request]).token_ids["r", 0] == expected(request, 0)[0]
        num_steps[jumps] = core.stats().num_steps
    assert num_steps[False] == 14
    assert num_steps[True] < 14
    scored = constrained(make_request("r", [1, 2, 3], 16, logprobs=1), 14)
    core = make_core(backend=backend())
    recorder = run(core, [scored])
    assert core.stats().num_steps == 14  # each token's logprob is wanted
    assert recorder.token_ids["r", 0] == expected(scored, 0)[0]


def test_who_is_not_constrained_has_no_edits_beside_who_is():
    core = make_core(backend=backend())
    run(core, [make_request("free", [5]), constrained(make_request("bound", [6]), 3)])
    for batch in core.backend.batches:
        assert batch.sampling.edits is None or len(batch.sampling.edits.rows) == 1
    core = make_core(backend=backend())
    run(core, [make_request("free", [5])])
    assert all(batch.sampling.edits is None for batch in core.backend.batches)


def test_a_complete_output_ends_by_an_end_of_sequence_and_by_itself_where_there_is_none():
    for ends, output_length in ((frozenset({EOS}), 4), (frozenset(), 3)):
        request = constrained(make_request(max_tokens=10, eos_token_ids=ends), 3)
        recorder = run(make_core(backend=backend()), [request])
        last = recorder.last["r", 0]
        assert (len(recorder.token_ids["r", 0]), last.finish_reason) == (output_length, "stop")
        assert last.has_end_token == bool(ends)


def test_masks_of_grammar_and_request_both_hold():
    possible = allowed_after([], 3)
    request = constrained(make_request(max_tokens=1, allowed_token_ids=[possible[2], possible[2] + 1]), 3)
    recorder = run(make_core(backend=backend()), [request])
    assert recorder.token_ids["r", 0] == [possible[2]]
    request = constrained(make_request(max_tokens=1, allowed_token_ids=[possible[2] + 1]), 3)
    last = run(make_core(backend=backend()), [request]).last["r", 0]
    assert (last.finish_reason, last.error) == ("error", NO_TOKEN)


def test_a_minimum_length_that_the_grammar_cannot_reach_is_that_requests_error_alone():
    request = make_request("short", max_tokens=9, min_tokens=6, eos_token_ids=frozenset({EOS}))
    request = replace(constrained(request, 3), delayed_token_ids=(EOS,))
    recorder = run(make_core(backend=backend()), [request, make_request("free", [5])])
    assert recorder.last["short", 0].error == NO_TOKEN
    assert recorder.last["free", 0].error is None


def test_a_token_that_the_constraint_refuses_ends_the_choice_with_its_words():
    core = make_core(backend=FakeBackend(64, BLOCK_SIZE, VOCAB_SIZE))  # it does not obey masks
    recorder = run(core, [constrained(make_request("bound", [1, 2, 3], 10), 8), make_request("free", [5])])
    last = recorder.last["bound", 0]
    assert last.finish_reason == "error"
    assert "may not follow" in last.error
    assert recorder.last["free", 0].error is None


def forget_tokens(self, token_ids) -> None:
    """The constraint stays where it began."""


def share_one_state(self, request, vocab_size) -> None:
    """All choices of a request walk through the grammar together."""
    original_init(self, request, vocab_size)
    if request.grammar is not None:
        self.constraint = shared.setdefault(id(request), self.constraint)


original_init, shared = EditState.__init__, {}


@pytest.mark.parametrize(("name", "defect"), [("accept", forget_tokens), ("__init__", share_one_state)])
def test_these_tests_would_notice(monkeypatch, name, defect):
    monkeypatch.setattr(EditState, name, defect)
    request = constrained(make_request(max_tokens=9, n=2, temperature=1.0, eos_token_ids=frozenset({EOS})), 5)
    recorder = run(make_core(backend=backend()), [request])
    assert any(recorder.token_ids["r", choice] != expected(request, choice)[0] for choice in range(2))
