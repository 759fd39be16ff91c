"""Beam search: which continuations of a prompt survive, given each one's likeliest next tokens.

Parameters, results and the bookkeeping of one search, without a model: who runs it asks `live` for the
sequences to extend and gives each one's candidates to `advance`. Names and rules follow vLLM's beam search.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gradus.outputs import FinishReason
from gradus.parameter_checks import Check, boolean, integer, invalid, number
from gradus.sampling_params import SamplingParams

MAX_BEAM_WIDTH = 64

Candidates = Sequence[tuple[int, float]]
"""Token ids and log probabilities, likeliest first."""


@dataclass(slots=True, kw_only=True)
class BeamSearchParams:
    """How to search. Every assignment is checked.

    Attributes:
        beam_width: sequences kept at each step and returned at the end, 1 to 64.
        max_tokens: tokens generated at most.
        ignore_eos: end-of-sequence tokens are tokens like others.
        temperature: only 0, since beams are ranked by the model's own probabilities.
        structured_outputs: only None: a search has no grammar.
        length_penalty: a sequence's score is its cumulative log probability over its length to this power.

    Raises:
        InvalidRequestError: names the field, its value and the range.
    """

    beam_width: int
    max_tokens: int
    ignore_eos: bool = False
    temperature: float = 0.0
    length_penalty: float = 1.0
    structured_outputs: None = None

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, _CHECKS[name](name, value) if name in _CHECKS else value)


def _only_zero(name: str, value: Any) -> float:
    if isinstance(value, bool) or value != 0:
        raise invalid(name, value, "must be 0: beams are ranked by the model's own probabilities")
    return 0.0


def _only_none(name: str, value: Any) -> None:
    if value is not None:
        raise invalid(name, value, "must be None: beam search does not work with structured outputs")


_CHECKS: dict[str, Check] = {
    "beam_width": integer(1, MAX_BEAM_WIDTH),
    "max_tokens": integer(1, 2**31 - 1),
    "ignore_eos": boolean,
    "temperature": _only_zero,
    "length_penalty": number(-10.0, 10.0),
    "structured_outputs": _only_none,
}


@dataclass(frozen=True, slots=True)
class BeamSearchSequence:
    """One continuation.

    Attributes:
        tokens: the prompt's, then the generated ones.
        logprobs: of the generated tokens.
        text: of all tokens, once the search is over.
    """

    tokens: list[int]
    logprobs: list[float] = field(default_factory=list)
    cum_logprob: float = 0.0
    text: str | None = None
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class BeamSearchOutput:
    """The best sequences, best first, `beam_width` at most."""

    sequences: list[BeamSearchSequence]


def step_params(params: BeamSearchParams, vocab_size: int) -> SamplingParams:
    """What the engine is asked for one step of one sequence: twice the beam's width of candidates.

    That is more than a request of a user may ask for, hence the way around the checks.
    """
    step = SamplingParams(temperature=0, max_tokens=1)
    object.__setattr__(step, "logprobs", min(2 * params.beam_width, vocab_size))
    return step


class BeamSearch:
    """The search for one prompt. `live` are the sequences that still grow; none when it is over."""

    def __init__(self, prompt: list[int], params: BeamSearchParams, eos_token_ids: Collection[int]) -> None:
        self.live = [BeamSearchSequence(prompt)]
        self._params = params
        self._ends = frozenset() if params.ignore_eos else frozenset(eos_token_ids)
        self._completed: list[BeamSearchSequence] = []
        self._num_steps = 0

    def advance(self, candidates: Sequence[Candidates]) -> None:
        """One step: the candidates of each live sequence, in their order. Ties keep that order."""
        extended: list[BeamSearchSequence] = []
        for beam, tops in zip(self.live, candidates, strict=True):
            for token, logprob in tops:
                longer = _extended(beam, token, logprob)
                if token in self._ends:
                    self._completed.append(replace(longer, finish_reason="stop"))
                else:
                    extended.append(longer)
        self.live = self._best(extended)
        self._num_steps += 1
        if self._num_steps == self._params.max_tokens:
            self._completed += [replace(beam, finish_reason="length") for beam in self.live]
            self.live = []

    def result(self) -> list[BeamSearchSequence]:
        """The best of all sequences that ended."""
        return self._best(self._completed)

    def score(self, beam: BeamSearchSequence) -> float:
        """vLLM's: the prompt counts as length, an end-of-sequence token does not."""
        length = len(beam.tokens) - (beam.tokens[-1] in self._ends)
        return float(beam.cum_logprob / max(length, 1) ** self._params.length_penalty)

    def _best(self, beams: list[BeamSearchSequence]) -> list[BeamSearchSequence]:
        return sorted(beams, key=self.score, reverse=True)[: self._params.beam_width]


def _extended(beam: BeamSearchSequence, token: int, logprob: float) -> BeamSearchSequence:
    return BeamSearchSequence([*beam.tokens, token], [*beam.logprobs, logprob], beam.cum_logprob + logprob)
