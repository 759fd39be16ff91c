"""Anthropic's `POST /v1/messages` and `/v1/messages/count_tokens`.

Source of the shapes and of the order of events: Anthropic's API reference, "Messages", "Streaming".
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gradus.errors import InvalidRequestError
from gradus.server.chat_turn import ChatTurn, ReplyReader, open_turn
from gradus.server.generation import Generation
from gradus.server.http.answers import MESSAGE, MESSAGE_TOKENS
from gradus.server.http.context import AppContext, Prepared, accounts, answer, context_of, new_id
from gradus.server.http.errors import anthropic_error, describe
from gradus.server.http.messages_blocks import ContentBlocks, Event
from gradus.server.http.openapi import body_of
from gradus.server.http.protocol import parse
from gradus.server.http.protocol_messages import NEUTRAL, CountTokensRequest, MessagesRequest
from gradus.server.http.sse import named_event
from gradus.server.service import Service
from gradus.server.turn_request import turn_request
from gradus.text.output_processor import ChoiceDelta

router = APIRouter(tags=["messages"])

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


@router.post("/v1/messages", openapi_extra=body_of(MessagesRequest, NEUTRAL, MESSAGE, streams=True))
async def create_message(request: Request) -> Response:
    """Answer a conversation, in Anthropic's form."""
    context = context_of(request)
    body, size = await context.read_body(request)
    return await answer(request, context.service, await prepare(context, body, size))


@router.post("/v1/messages/count_tokens", openapi_extra=body_of(CountTokensRequest, NEUTRAL, MESSAGE_TOKENS))
async def count_tokens(request: Request) -> dict[str, Any]:
    """How many tokens a conversation is; nothing is generated."""
    context = context_of(request)
    body, size = await context.read_body(request)
    asked = parse(CountTokensRequest, body, NEUTRAL)
    context.check_model(asked.model)
    service = context.service

    def count() -> int:
        prompt = open_turn(service, _turn(service, asked)).prompt
        return len(service.tokenizer.encode(prompt, add_special_tokens=False))

    return {"input_tokens": await service.compute(size, count)}


async def prepare(context: AppContext, body: dict[str, Any], size: int) -> Prepared:
    """Read and validate a body of `size` bytes.

    Raises:
        ApiError, InvalidRequestError: what is wrong with it.
    """
    asked = parse(MessagesRequest, body, NEUTRAL)
    context.check_model(asked.model)
    service = context.service
    message_id = new_id("msg").replace("-", "_")
    try:
        turn, request = await turn_request(
            service,
            lambda: _turn(service, asked),
            asked.params(service.inputs.sampling_defaults),
            request_id=message_id,
            size=size,
            priority=asked.priority,
            cache_salt=asked.cache_salt,
        )
    except InvalidRequestError as error:
        raise asked.renamed(error) from None
    reply = _Reply(service, asked, message_id, turn.reader(1))
    return Prepared(
        engine_requests=[request],
        is_stream=asked.stream,
        events=reply.events,
        whole=reply.whole,
        failure=_failure,
        shown_special_ids=turn.shown_special_ids,
        granularity=service.streaming.for_events(asked.stream_chunk_size),
        timeout=asked.timeout,
    )


def _turn(service: Service, asked: MessagesRequest) -> ChatTurn:
    asked.check_chunk_size()
    return asked.turn(service.inputs.chat_template, service.reply_format.reasoning)


def _failure(error: Exception) -> bytes:
    status, body, _ = describe(error)
    return named_event("error", anthropic_error(status, body["error"]["message"]))


class _Reply:
    """One message on its way back."""

    def __init__(
        self, service: Service, asked: MessagesRequest, message_id: str, reader: ReplyReader
    ) -> None:
        self._service = service
        self._id = message_id
        self._reader = reader
        self._asked = asked
        self._splits_usage = asked.sets_cache_control
        self._blocks = ContentBlocks(shows_thinking=asked.shows_thinking)
        self._stop: dict[str, Any] = {"stop_reason": None, "stop_sequence": None}

    def whole(self, generation: Generation) -> dict[str, Any]:
        """The answer in one piece."""
        [choice] = generation.states[0].output().outputs
        for _ in self._read(ChoiceDelta.whole(choice)):
            pass
        return self._message(self._blocks.content, self._costs(generation))

    async def events(self, generation: Generation) -> AsyncGenerator[bytes]:
        """The answer piece by piece."""
        has_begun = False
        async with aclosing(generation.deltas()) as batches:
            async for batch in batches:
                events: list[Event] = []
                if not has_begun:
                    has_begun = True
                    start = self._message([], {"usage": self._costs(generation)["usage"]})
                    events.append({"type": "message_start", "message": start})
                for delta in batch:
                    events += self._read(delta)
                if events:
                    yield b"".join(named_event(event["type"], event) for event in events)
        end: Event = {"type": "message_delta", "delta": self._stop, **self._costs(generation)}
        yield named_event(end["type"], end) + named_event("message_stop", {"type": "message_stop"})

    def _read(self, delta: ChoiceDelta) -> Iterator[Event]:
        """What happens to the blocks; `_stop` is known after the last delta."""
        for part in self._reader.read(delta):
            yield from self._blocks.add(part)
        if delta.finish_reason is None:
            return
        yield from self._blocks.close()
        reason = self._reader.finish_reason(0, delta.finish_reason) or ""
        if reason == "stop" and isinstance(delta.stop_reason, str):
            self._stop = {"stop_reason": "stop_sequence", "stop_sequence": delta.stop_reason}
        else:
            self._stop = {"stop_reason": _STOP_REASONS[reason], "stop_sequence": None}

    def _message(self, content: list[dict[str, Any]], costs: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._service.model_name,
            "content": content,
            **self._stop,
            **costs,
        }

    def _costs(self, generation: Generation) -> dict[str, Any]:
        """Token counts so far and, where asked for, timings."""
        costs = accounts(generation, self._asked, self._reader.num_reasoning_tokens)
        return costs | {"usage": self._usage(costs["usage"])}

    def _usage(self, counts: dict[str, Any]) -> dict[str, Any]:
        """Counts under their names here. Cached tokens are apart where the client thinks of a cache."""
        cached = counts["prompt_tokens_details"]["cached_tokens"] if self._splits_usage else 0
        shown = {
            "input_tokens": counts["prompt_tokens"] - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": counts["completion_tokens"],
        }
        details = counts.get("completion_tokens_details")
        return shown if details is None else shown | {"output_tokens_details": _thinking_tokens(details)}


def _thinking_tokens(details: dict[str, int]) -> dict[str, int]:
    return {"thinking_tokens": details["reasoning_tokens"]}
