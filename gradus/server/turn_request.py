"""From a turn of a conversation to the engine's request: the way that all protocols share."""

from collections.abc import Callable

from gradus.messages import EngineRequest
from gradus.sampling_params import SamplingParams
from gradus.server.chat_turn import ChatTurn, OpenTurn, open_turn
from gradus.server.service import Service


async def turn_request(
    service: Service,
    read_turn: Callable[[], ChatTurn],
    params: SamplingParams,
    *,
    request_id: str,
    size: int,
    priority: int = 0,
    cache_salt: str = "",
    add_special_tokens: bool = False,
) -> tuple[OpenTurn, EngineRequest]:
    """Read and render a turn, have its grammar compiled, tokenize and validate.

    size: of the body in bytes; where it is large, the event loop is left free meanwhile.

    Raises:
        InvalidRequestError: what is wrong with it, in the names of `SamplingParams` and chats.
    """
    turn = await service.compute(size, lambda: open_turn(service, read_turn()))
    params = turn.constrained(params)
    await service.compile_grammar(params)

    def process() -> EngineRequest:
        return service.inputs.process(
            request_id,
            turn.prompt,
            params,
            priority=priority,
            cache_salt=cache_salt,
            add_special_tokens=add_special_tokens,
        )

    return turn, await service.compute(size, process)
