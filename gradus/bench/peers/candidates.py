"""Which settings of an engine are tried, because none should lose by a default, and which are kept."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradus.bench.child_process import PeerError
from gradus.bench.peers.deadline import FOREVER, Deadline, Pace
from gradus.bench.peers.endpoint import Endpoint
from gradus.bench.peers.rows import LLAMA, LLAMA_SERVER, OPENVINO, TRANSFORMERS, VLLM

TRIAL_OUTPUT = 16  # tokens of each request of a trial

Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The engine's defaults, and changes that are tried one after another: each stays if it helps."""

    defaults: Options
    changes: Sequence[Options] = ()


@dataclass(frozen=True, slots=True)
class Fastest:
    """An engine, open with the settings that were kept. `untried`: changes that no time was left for."""

    endpoint: Endpoint
    options: Options
    untried: Sequence[Options]


_LLAMA = {"flash_attention": True, "kv_unified": False, "n_ubatch": 512}
_DTYPES = Candidates({"dtype": "bfloat16"}, ({"dtype": "float32"},))
_CANDIDATES: Mapping[str, Candidates] = {
    OPENVINO: Candidates({"max_num_batched_tokens": 256}, ({"max_num_batched_tokens": 2048},)),
    TRANSFORMERS: _DTYPES,
    VLLM: _DTYPES,
}


def candidates(engine: str, num_sequences: int) -> Candidates:
    """What to try where so many sequences run at a time."""
    if engine in (LLAMA, LLAMA_SERVER):
        layouts = ({"kv_unified": True},) if num_sequences > 1 else ()  # a single one has all cells anyway
        return Candidates(_LLAMA, (*layouts, {"n_ubatch": 256}, {"flash_attention": False}))
    return _CANDIDATES.get(engine, Candidates({}))


def open_fastest(
    tried: Candidates,
    open_with: Callable[[Options], Endpoint],
    score: Callable[[Endpoint], float],
    deadline: Deadline = FOREVER,
) -> Fastest:
    """An engine opened with the options of the highest score.

    Options with which it does not work are passed over: not every CPU computes in every type. The defaults
    come first; once something works, no trial begins that would not fit by the longest so far.

    Raises:
        PeerError: it works with none of them.
    """
    best, best_score = tried.defaults, -math.inf
    failure: PeerError | None = None
    untried: list[Options] = [{}, *tried.changes] if tried.changes else []
    pace = Pace(deadline)
    while untried and (best_score == -math.inf or pace.fits_another):
        options = {**best, **untried.pop(0)}
        try:
            with pace.lap():
                found = _score(open_with(options), score)
        except PeerError as error:
            failure = error
            continue
        if found > best_score:
            best, best_score = options, found
    if failure is not None and best_score == -math.inf:
        raise failure
    return Fastest(open_with(best), best, untried)


def _score(endpoint: Endpoint, score: Callable[[Endpoint], float]) -> float:
    try:
        return score(endpoint)
    finally:
        endpoint.close()
