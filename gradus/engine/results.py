"""Reading a row of a `StepResult`: where the new tokens end their choice, and their logprobs as messages."""

from gradus.batch import StepResult
from gradus.messages import EngineRequest, TokenLogprobs
from gradus.outputs import FinishReason


def up_to_end(
    request: EngineRequest, new: list[int], num_left: int
) -> tuple[list[int], FinishReason | None, int | None]:
    """New tokens up to the one that ends the choice, included, if any does; then finish and stop reason."""
    for index, token in enumerate(new):
        if token in request.eos_token_ids:
            return new[: index + 1], "stop", None
        if token in (request.params.stop_token_ids or ()):
            return new[: index + 1], "stop", token
        if index + 1 == num_left:
            return new[: index + 1], "length", None
    return new, None, None


def token_logprobs(result: StepResult, row: int, num_tokens: int, num_top: int) -> list[TokenLogprobs]:
    """One entry per new token. Alternatives are known for a step's first token only."""
    top: list[tuple[int, float]] = []
    if num_top:
        ids: list[int] = result.top_token_ids[row, :num_top].tolist()
        values: list[float] = result.top_logprobs[row, :num_top].tolist()
        top = [(token, value) for token, value in zip(ids, values, strict=True) if token >= 0]
    logprobs: list[float] = result.logprobs[row].tolist()
    ranks: list[int] = result.ranks[row].tolist()
    return [TokenLogprobs(logprobs[i], ranks[i], top if i == 0 else []) for i in range(num_tokens)]
