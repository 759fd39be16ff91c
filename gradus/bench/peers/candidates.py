"""Which settings of an engine are tried, because none should lose by a default, and which is kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradus.bench.child_process import PeerError
from gradus.bench.peers.endpoint import Endpoint
from gradus.bench.peers.rows import LLAMA, LLAMA_SERVER, OPENVINO, TRANSFORMERS, VLLM

Options = Mapping[str, Any]

_DTYPES: Sequence[Options] = ({"dtype": "bfloat16"}, {"dtype": "float32"})
_CANDIDATES: Mapping[str, Sequence[Options]] = {
    OPENVINO: ({"max_num_batched_tokens": 256}, {"max_num_batched_tokens": 2048}),
    TRANSFORMERS: _DTYPES,
    VLLM: _DTYPES,
}


def candidates(engine: str, num_sequences: int) -> Sequence[Options]:
    """What to try where so many sequences run at a time; the first are the engine's own defaults."""
    if engine in (LLAMA, LLAMA_SERVER):
        layouts = (False, True) if num_sequences > 1 else (False,)  # a single one has the whole cache anyway
        return [
            {"flash_attention": attention, "kv_unified": layout}
            for attention in (True, False)
            for layout in layouts
        ]
    return _CANDIDATES.get(engine, ({},))


def open_fastest(
    tried: Sequence[Options], open_with: Callable[[Options], Endpoint], score: Callable[[Endpoint], float]
) -> tuple[Endpoint, Options]:
    """An engine opened with the options of the highest score, and the options.

    Options with which it does not work are passed over: not every CPU computes in every type.

    Raises:
        PeerError: it works with none of them.
    """
    scores: dict[int, float] = {}
    failure: PeerError | None = None
    for index, options in enumerate(tried if len(tried) > 1 else ()):
        try:
            scores[index] = _score(open_with(options), score)
        except PeerError as error:
            failure = error
    if failure is not None and not scores:
        raise failure
    best = tried[max(scores, key=lambda index: scores[index], default=0)]
    return open_with(best), best


def _score(endpoint: Endpoint, score: Callable[[Endpoint], float]) -> float:
    try:
        return score(endpoint)
    finally:
        endpoint.close()
