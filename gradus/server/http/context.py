"""What the routes of one application share, and the steps that all generating routes have in common."""

import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gradus.errors import InvalidRequestError, counted
from gradus.messages import EngineRequest
from gradus.server.generation import Generation
from gradus.server.http.body import read_json
from gradus.server.http.caps import check_caps
from gradus.server.http.errors import ApiError
from gradus.server.http.guard import client_of
from gradus.server.http.protocol import GenerationRequest, SamplingRequest
from gradus.server.http.sse import EventStream, error_event, to_json, until_disconnect
from gradus.server.observe.exposition import Exposition
from gradus.server.service import Service
from gradus.server.settings import ServerSettings
from gradus.server.streaming import EVERY_TOKEN, Granularity

CLIENT_CLOSED_REQUEST = 499  # nobody is there to read it; it is for logs


class AppContext:
    """Lives in `app.state.context`."""

    def __init__(self, service: Service, settings: ServerSettings) -> None:
        self.service = service
        self.settings = settings
        metrics = service.observer.metrics
        self.exposition = None if metrics is None else Exposition(metrics, service.engine.stats)

    async def read_body(self, request: Request) -> tuple[dict[str, Any], int]:
        body, size = await read_json(request, self.settings.max_body_bytes)
        check_caps(body, self.settings)
        return body, size

    def check_model(self, name: str | None) -> None:
        refusal = None if name is None else self.service.refusal_of_model(name)
        if refusal is not None:
            raise ApiError(refusal, status=404, param="model", code="model_not_found")

    def check_num_choices(self, num_prompts: int, n: int) -> None:
        most = self.settings.max_choices
        if num_prompts * n > most:
            raise InvalidRequestError(
                f"{counted(num_prompts, 'prompt')} with n = {n} make {num_prompts * n:,} choices; "
                f"at most {most:,} work",
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
    granularity: Granularity = EVERY_TOKEN
    timeout: float | None = None  # seconds


async def answer(request: Request, service: Service, prepared: Prepared) -> Response:
    """Run a prepared request and answer with the stream of its events, or with the whole at the end."""
    generation = service.generate(
        prepared.engine_requests,
        client_of(request),
        timeout=prepared.timeout,
        granularity=prepared.granularity,
        shown_special_ids=prepared.shown_special_ids,
    )
    if prepared.is_stream:
        return EventStream(prepared.events(generation), prepared.failure, generation.close)
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


def accounts(
    generation: Generation, fields: SamplingRequest, num_reasoning_tokens: int | None = None
) -> dict[str, Any]:
    """What a whole answer says of its cost: token counts and, where asked for, timings."""
    counts = {"usage": usage(generation, num_reasoning_tokens)}
    return counts | {"timings": generation.observation.timings()} if fields.timings else counts


def closing_accounts(
    generation: Generation, fields: GenerationRequest, num_reasoning_tokens: int | None = None
) -> dict[str, Any]:
    """The same for a stream's last chunk, which exists only if something is in it."""
    asked = accounts(generation, fields, num_reasoning_tokens)
    return asked if fields.include_usage else {name: asked[name] for name in asked if name != "usage"}


def usage_so_far(generation: Generation, fields: GenerationRequest) -> dict[str, Any] | None:
    """What a stream's chunk says of the cost: token counts where they are asked for in each, else nothing."""
    return usage(generation) if fields.counts_continuously else None


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
