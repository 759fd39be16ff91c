"""`POST /v1/chat/completions`."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gradus.errors import InvalidRequestError
from gradus.outputs import CompletionOutput
from gradus.server.chat_turn import ChatTurn, ReplyReader
from gradus.server.generation import Generation
from gradus.server.http.answers import CHAT_COMPLETION
from gradus.server.http.chat_parts import part_delta, whole_message
from gradus.server.http.context import (
    AppContext,
    Prepared,
    accounts,
    answer,
    closing_accounts,
    context_of,
    new_id,
    usage_so_far,
)
from gradus.server.http.logprobs import chat_logprobs, prompt_logprobs
from gradus.server.http.openapi import body_of
from gradus.server.http.protocol import parse
from gradus.server.http.protocol_chat import NEUTRAL, ChatRequest
from gradus.server.http.sse import DONE, event
from gradus.server.service import Service
from gradus.server.turn_request import turn_request
from gradus.text.output_processor import ChoiceDelta
from gradus.text.reply.parts import Part, ReasoningText

router = APIRouter(tags=["completions"])


_ABOUT = body_of(ChatRequest, NEUTRAL, CHAT_COMPLETION, streams=True)


@router.post("/v1/chat/completions", openapi_extra=_ABOUT)
async def create_chat_completion(request: Request) -> Response:
    """Continue a conversation."""
    context = context_of(request)
    body, size = await context.read_body(request)
    return await answer(request, context.service, await prepare(context, body, size))


async def prepare(context: AppContext, body: dict[str, Any], size: int) -> Prepared:
    """Read and validate a body of `size` bytes.

    Raises:
        ApiError, InvalidRequestError: what is wrong with it.
    """
    chat = parse(ChatRequest, body, NEUTRAL)
    context.check_model(chat.model)
    context.check_num_choices(1, chat.n)
    reply = _Reply(context.service, chat, new_id("chatcmpl"))
    try:
        turn, request = await turn_request(
            context.service,
            reply.turn,
            chat.params(context.service.inputs.sampling_defaults),
            request_id=reply.id,
            size=size,
            priority=chat.priority,
            cache_salt=chat.cache_salt,
            add_special_tokens=chat.add_special_tokens,
        )
    except InvalidRequestError as error:
        raise chat.renamed(error) from None
    return Prepared(
        engine_requests=[request],
        is_stream=chat.stream,
        events=lambda generation: reply.events(generation, turn.reader(chat.n)),
        whole=lambda generation: reply.whole(generation, turn.reader(chat.n)),
        shown_special_ids=turn.shown_special_ids,
        granularity=context.service.streaming.for_events(chat.stream_chunk_size),
        timeout=chat.timeout,
    )


class _Reply:
    """One chat request on its way to the engine and back."""

    def __init__(self, service: Service, chat: ChatRequest, completion_id: str) -> None:
        self._service = service
        self._chat = chat
        self.id = completion_id
        self._created = int(time.time())
        self._usage: dict[str, Any] | None = None  # of a stream, so far

    def turn(self) -> ChatTurn:
        """What the model is asked. Raises InvalidRequestError."""
        self._chat.check_stream_options()
        return self._chat.turn(self._service.inputs.chat_template)

    def whole(self, generation: Generation, reader: ReplyReader) -> dict[str, Any]:
        """The answer in one piece."""
        outputs = generation.states[0].output().outputs
        choices = [self._choice(choice, reader) for choice in outputs]
        head = {"id": self.id, "object": "chat.completion", "created": self._created}
        whole = {**head, "model": self._service.model_name, "choices": choices}
        whole |= accounts(generation, self._chat, reader.num_reasoning_tokens)
        return whole | prompt_logprobs(generation.states[0].prompt_logprobs)

    def _choice(self, choice: CompletionOutput, reader: ReplyReader) -> dict[str, Any]:
        reader.read_whole(choice)
        return {
            "index": choice.index,
            "message": whole_message(reader.messages[choice.index], shows_reasoning=self._shows_reasoning),
            "logprobs": self._logprobs(choice.logprobs),
            "finish_reason": reader.finish_reason(choice.index, choice.finish_reason),
            "stop_reason": choice.stop_reason,
        }

    @property
    def _shows_reasoning(self) -> bool:
        return self._chat.include_reasoning and self._service.reply_format.reasoning != "none"

    async def events(self, generation: Generation, reader: ReplyReader) -> AsyncGenerator[bytes]:
        """The answer piece by piece: each choice's role, its parts, its finish reason; then the counts."""
        has_role = [False] * generation.num_choices
        async with aclosing(generation.deltas()) as batches:
            async for batch in batches:
                parts: list[bytes] = []
                self._usage = usage_so_far(generation, self._chat)
                for delta in batch:
                    if not has_role[delta.index]:
                        has_role[delta.index] = True
                        parts.append(self._chunk(delta.index, {"role": "assistant", "content": ""}))
                    parts += self._chunks(delta, reader)
                if parts:
                    yield b"".join(parts)
        last = closing_accounts(generation, self._chat, reader.num_reasoning_tokens)
        yield event(self._envelope([]) | last) + DONE if last else DONE

    def _chunks(self, delta: ChoiceDelta, reader: ReplyReader) -> list[bytes]:
        """One chunk per part; logprobs go with the first, the finish reason with the last."""
        shown = [part_delta(part) for part in reader.read(delta) if self._shows(part)]
        logprobs = self._logprobs(delta.logprobs)
        counts = self._chat.counts_continuously and delta.token_ids
        if not shown and (logprobs or counts or delta.finish_reason is not None):
            shown = [{}]
        chunks = [
            self._chunk(delta.index, part, logprobs if i == 0 else None) for i, part in enumerate(shown[:-1])
        ]
        for part in shown[-1:]:
            reason = reader.finish_reason(delta.index, delta.finish_reason)
            logprobs = None if chunks else logprobs
            chunks.append(self._chunk(delta.index, part, logprobs, reason, delta.stop_reason))
        return chunks

    def _shows(self, part: Part) -> bool:
        return self._chat.include_reasoning or not isinstance(part, ReasoningText)

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
        stop_reason: str | int | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        if finish_reason is not None:
            choice["stop_reason"] = stop_reason
        chunk = self._envelope([choice])
        if self._chat.include_usage:
            chunk["usage"] = self._usage
        return event(chunk)

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._service.model_name,
            "choices": choices,
        }

    def _logprobs(self, positions: Any) -> dict[str, Any] | None:
        return chat_logprobs(positions, self._chat.top_logprobs or 0, self._service.tokenizer)
