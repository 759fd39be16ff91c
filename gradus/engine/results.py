"""Reading a `StepResult`: its shape, where new tokens end their choice, and logprobs as messages."""

from gradus.batch import StepResult
from gradus.engine.logit_edits import EditState
from gradus.messages import EngineRequest, TokenLogprobs
from gradus.outputs import FinishReason


def check_shape(result: StepResult, num_outputs: int) -> None:
    """Raises:
    ValueError: the result is not one row for each output row.
    """
    num_given = len(result.num_sampled)
    if num_given != num_outputs or len(result.token_ids) != num_outputs:
        raise ValueError(f"the backend gave {num_given} outputs; {num_outputs} were asked for")


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


def with_forced(
    request: EngineRequest, edits: EditState, new: list[int], num_left: int
) -> tuple[list[int], FinishReason | None, int | None]:
    """New tokens and those that must follow them, up to the end; then finish and stop reason.

    num_left: how many more there may be after `new`.
    """
    forced = edits.forced_tokens()
    if not forced:
        return new, None, None
    forced, finish_reason, stop_reason = up_to_end(request, forced, num_left)
    edits.accept(forced)
    return new + forced, finish_reason, stop_reason


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
