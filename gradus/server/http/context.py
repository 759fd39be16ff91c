"""What the routes of one application share, and the steps that all generating routes have in common."""

import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gradus.errors import InvalidRequestError
from gradus.messages import EngineRequest
from gradus.server.http.body import read_json
from gradus.server.http.errors import ApiError
from gradus.server.http.sse import EventStream, error_event, to_json, until_disconnect
from gradus.server.service import Generation, Service
from gradus.server.settings import ServerSettings

CLIENT_CLOSED_REQUEST = 499  # nobody is there to read it; it is for logs


class AppContext:
    """Lives in `app.state.context`."""

    def __init__(self, service: Service, settings: ServerSettings) -> None:
        self.service = service
        self.settings = settings

    async def read_body(self, request: Request) -> tuple[dict[str, Any], int]:
        return await read_json(request, self.settings.max_body_bytes)

    def check_model(self, name: str | None) -> None:
        if name is not None and name != self.service.model_name:
            raise ApiError(
                f"there is no model {name[:200]!r} here; this server has {self.service.model_name!r}",
                status=404,
                param="model",
                code="model_not_found",
            )

    def check_num_choices(self, num_prompts: int, n: int) -> None:
        most = self.settings.max_choices
        if num_prompts * n > most:
            raise InvalidRequestError(
                f"{num_prompts} prompts with n = {n} make {num_prompts * n:,} choices; at most {most:,} work",
                "n",
            )


def context_of(request: Request) -> AppContext:
    context: AppContext = request.app.state.context
    return context


def new_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(16)}"


async def _no_events(_: Generation) -> AsyncGenerator[bytes]:
    return
    yield b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A body that was read and validated: what the engine gets, and how its results become an answer.

    `events` are asked for where it `is_stream`.
    """

    engine_requests: Sequence[EngineRequest]
    whole: Callable[[Generation], dict[str, Any]]
    is_stream: bool = False
    events: Callable[[Generation], AsyncGenerator[bytes]] = _no_events
    failure: Callable[[Exception], bytes] = error_event  # the last event of a stream that cannot go on
    shown_special_ids: frozenset[int] = frozenset()  # part of the text even where special tokens are not


async def answer(request: Request, service: Service, prepared: Prepared) -> Response:
    """Run a prepared request and answer with the stream of its events, or with the whole at the end."""
    generation = service.generate(prepared.engine_requests, prepared.shown_special_ids)
    if prepared.is_stream:
        return EventStream(prepared.events(generation), prepared.failure)
    try:
        done = await until_disconnect(request.receive, _run(generation))
    finally:
        generation.close()
    if done is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return Response(to_json(prepared.whole(generation)), media_type="application/json")


async def _run(generation: Generation) -> bool:
    await generation.run()
    return True


def usage(generation: Generation, num_reasoning_tokens: int | None = None) -> dict[str, Any]:
    """Token counts; a prompt counts once, however many choices it has."""
    states = generation.states
    prompt_tokens = sum(len(state.prompt_token_ids) for state in states)
    completion_tokens = sum(state.num_generated_tokens for state in states)
    cached_tokens = sum(state.metrics.num_cached_prompt_tokens for state in states)
    counts: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }
    if num_reasoning_tokens is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": num_reasoning_tokens}
    return counts
