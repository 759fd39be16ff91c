"""`POST /v1/responses`: OpenAI's newer way to ask, without its storage.

Source of the shapes and of the order of events: OpenAI's API reference, "Responses" and "Streaming events".
"""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gradus.errors import InvalidRequestError
from gradus.outputs import FinishReason
from gradus.sampling_params import SamplingParams
from gradus.server.chat_turn import ChatTurn, ReplyReader
from gradus.server.generation import Generation
from gradus.server.http.answers import RESPONSE
from gradus.server.http.context import AppContext, Prepared, accounts, answer, context_of, new_id
from gradus.server.http.errors import describe
from gradus.server.http.logprobs import chat_logprobs
from gradus.server.http.openapi import body_of
from gradus.server.http.protocol import parse
from gradus.server.http.protocol_responses import NEUTRAL, ResponsesRequest
from gradus.server.http.responses_items import Event, OutputItems
from gradus.server.http.sse import named_event
from gradus.server.service import Service
from gradus.server.turn_request import turn_request
from gradus.text.output_processor import ChoiceDelta

router = APIRouter(tags=["responses"])


@router.post("/v1/responses", openapi_extra=body_of(ResponsesRequest, NEUTRAL, RESPONSE, streams=True))
async def create_response(request: Request) -> Response:
    """Answer a conversation; nothing is stored."""
    context = context_of(request)
    body, size = await context.read_body(request)
    return await answer(request, context.service, await prepare(context, body, size))


async def prepare(context: AppContext, body: dict[str, Any], size: int) -> Prepared:
    """Read and validate a body of `size` bytes.

    Raises:
        ApiError, InvalidRequestError: what is wrong with it.
    """
    asked = parse(ResponsesRequest, body, NEUTRAL)
    context.check_model(asked.model)
    service = context.service
    reply = _Reply(service, asked)
    try:
        turn, request = await turn_request(
            service,
            reply.turn,
            asked.params(service.inputs.sampling_defaults),
            request_id=reply.id,
            size=size,
            priority=asked.priority,
            cache_salt=asked.cache_salt,
        )
    except InvalidRequestError as error:
        raise asked.renamed(error) from None
    reply.begin(turn.reader(1), request.params)
    return Prepared(
        engine_requests=[request],
        is_stream=asked.stream,
        events=reply.events,
        whole=reply.whole,
        failure=reply.failure,
        shown_special_ids=turn.shown_special_ids,
        granularity=service.streaming.for_events(asked.stream_chunk_size),
        timeout=asked.timeout,
    )


class _Reply:
    """One response on its way back; `begin` before anything is read."""

    _reader: ReplyReader
    _params: SamplingParams

    def __init__(self, service: Service, asked: ResponsesRequest) -> None:
        self.id = new_id("resp").replace("-", "_")
        self._service = service
        self._asked = asked
        self._created = int(time.time())
        self._items = OutputItems()
        self._num_events = 0
        self._unsaid: list[dict[str, Any]] = []  # logprobs of tokens whose text is held back
        self._finish_reason: FinishReason | None = None

    def turn(self) -> ChatTurn:
        return self._asked.turn(self._service.inputs.chat_template)

    def begin(self, reader: ReplyReader, params: SamplingParams) -> None:
        self._reader, self._params = reader, params

    def whole(self, generation: Generation) -> dict[str, Any]:
        """The answer in one piece."""
        [choice] = generation.states[0].output().outputs
        for _ in self._read(ChoiceDelta.whole(choice)):
            pass
        return self._response(
            self._status, accounts(generation, self._asked, self._reader.num_reasoning_tokens)
        )

    async def events(self, generation: Generation) -> AsyncGenerator[bytes]:
        """The answer piece by piece."""
        async with aclosing(generation.deltas()) as batches:
            async for batch in batches:
                parts = (
                    [] if self._num_events else [self._lifecycle("created"), self._lifecycle("in_progress")]
                )
                parts += [self._encode(event) for delta in batch for event in self._read(delta)]
                if parts:
                    yield b"".join(parts)
        yield self._lifecycle(self._status, self._response(self._status, self._costs(generation)))

    def _costs(self, generation: Generation) -> dict[str, Any]:
        return accounts(generation, self._asked, self._reader.num_reasoning_tokens)

    def failure(self, error: Exception) -> bytes:
        """The end of a stream that cannot go on."""
        cause = {"code": "server_error", "message": describe(error)[1]["error"]["message"]}
        return self._lifecycle("failed", self._response("failed") | {"error": cause})

    def _read(self, delta: ChoiceDelta) -> Iterator[Event]:
        """What happens to the output items; `_finish_reason` is known after the last delta."""
        logprobs = chat_logprobs(delta.logprobs, self._asked.top_logprobs or 0, self._service.tokenizer)
        self._unsaid += logprobs["content"] if logprobs else []
        for part in self._reader.read(delta):
            for event in self._items.add(part, self._unsaid):
                if event["type"] == "response.output_text.delta":
                    self._unsaid = []
                yield event
        if delta.finish_reason is not None:
            self._finish_reason = delta.finish_reason
            yield from self._items.end(self._status, self._unsaid)

    @property
    def _status(self) -> str:
        return "incomplete" if self._finish_reason == "length" else "completed"

    def _lifecycle(self, status: str, response: dict[str, Any] | None = None) -> bytes:
        return self._encode(
            {"type": f"response.{status}", "response": response or self._response("in_progress")}
        )

    def _encode(self, event: Event) -> bytes:
        numbered = {**event, "sequence_number": self._num_events}
        self._num_events += 1
        return named_event(event["type"], numbered)

    def _response(self, status: str, costs: dict[str, Any] | None = None) -> dict[str, Any]:
        incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "error": None,
            "incomplete_details": incomplete,
            "output": list(self._items.output),
            **self._about_request(),
            **({"usage": None} if costs is None else costs | {"usage": _usage(costs["usage"])}),
        }

    def _about_request(self) -> dict[str, Any]:
        """What was asked, and the defaults of what was not."""
        asked = self._asked
        text = asked.text
        return {
            "model": self._service.model_name,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "temperature": self._params.temperature,
            "top_p": self._params.top_p,
            "top_logprobs": asked.top_logprobs or 0,
            "tools": [
                {"description": None, "parameters": {}, "strict": False, **tool} for tool in asked.tools
            ],
            "tool_choice": "auto" if asked.tool_choice is None else asked.tool_choice,
            "parallel_tool_calls": asked.parallel_tool_calls,
            "text": {"format": (text and text.format) or {"type": "text"}, "verbosity": "medium"},
            "reasoning": {"effort": asked.reasoning and asked.reasoning.effort, "summary": None},
            "metadata": asked.metadata,
            "truncation": "disabled",
            "store": False,
            "previous_response_id": None,
            "background": False,
            "service_tier": "default",
            "user": None,
        }


def _usage(counts: dict[str, Any]) -> dict[str, Any]:
    """Token counts under their names here. What the prefix cache keeps is not counted apart."""
    details = counts.get("completion_tokens_details", {"reasoning_tokens": 0})
    return {
        "input_tokens": counts["prompt_tokens"],
        "input_tokens_details": {**counts["prompt_tokens_details"], "cache_write_tokens": 0},
        "output_tokens": counts["completion_tokens"],
        "output_tokens_details": details,
        "total_tokens": counts["total_tokens"],
    }
