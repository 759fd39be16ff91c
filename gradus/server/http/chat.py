"""`POST /v1/chat/completions`."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gradus.errors import InvalidRequestError
from gradus.messages import EngineRequest
from gradus.sampling_params import SamplingParams
from gradus.server.http.chat_messages import read_messages
from gradus.server.http.context import (
    AppContext,
    Prepared,
    accounts,
    answer,
    closing_accounts,
    context_of,
    new_id,
)
from gradus.server.http.logprobs import chat_logprobs, prompt_logprobs
from gradus.server.http.openapi import body_of
from gradus.server.http.protocol import parse
from gradus.server.http.protocol_chat import NEUTRAL, ChatRequest
from gradus.server.http.sse import DONE, event
from gradus.server.service import Generation, Service
from gradus.text.output_processor import ChoiceDelta

router = APIRouter(tags=["completions"])


@router.post("/v1/chat/completions", openapi_extra=body_of(ChatRequest, NEUTRAL))
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
    params = chat.params(context.service.inputs.sampling_defaults)
    await context.service.compile_grammar(params)
    reply = _Reply(context.service, chat, params, new_id("chatcmpl"))
    return Prepared(
        engine_requests=[await context.service.compute(size, reply.engine_request)],
        is_stream=chat.stream,
        events=reply.events,
        whole=reply.whole,
        granularity=context.service.streaming.for_events(chat.stream_chunk_size),
        timeout=chat.timeout,
    )


class _Reply:
    """One chat request on its way to the engine and back."""

    def __init__(
        self, service: Service, chat: ChatRequest, params: SamplingParams, completion_id: str
    ) -> None:
        self._service = service
        self._chat = chat
        self._params = params
        self._id = completion_id
        self._created = int(time.time())

    def engine_request(self) -> EngineRequest:
        """The conversation as the engine's request. Raises InvalidRequestError."""
        chat, inputs = self._chat, self._service.inputs
        chat.check_stream_options()
        chat.check_tools()
        try:
            prompt = inputs.render_chat(
                read_messages(chat.messages),
                add_generation_prompt=chat.add_generation_prompt,
                template_kwargs=chat.chat_template_kwargs,
            )
            return inputs.process(
                self._id,
                prompt,
                self._params,
                priority=chat.priority,
                cache_salt=chat.cache_salt,
                add_special_tokens=chat.add_special_tokens,
            )
        except InvalidRequestError as error:
            raise chat.renamed(error) from None

    def whole(self, generation: Generation) -> dict[str, Any]:
        """The answer in one piece."""
        choices = [
            {
                "index": choice.index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": choice.finish_reason,
                "stop_reason": choice.stop_reason,
            }
            for choice in generation.states[0].output().outputs
        ]
        head = {"id": self._id, "object": "chat.completion", "created": self._created}
        whole = {**head, "model": self._service.model_name, "choices": choices}
        whole |= accounts(generation, self._chat)
        return whole | prompt_logprobs(generation.states[0].prompt_logprobs)

    async def events(self, generation: Generation) -> AsyncGenerator[bytes]:
        """The answer piece by piece: each choice's role, its text, its finish reason; then the counts."""
        has_role = [False] * generation.num_choices
        async with aclosing(generation.deltas()) as batches:
            async for batch in batches:
                parts: list[bytes] = []
                for delta in batch:
                    if not has_role[delta.index]:
                        has_role[delta.index] = True
                        parts.append(self._chunk(delta.index, {"role": "assistant", "content": ""}))
                    if delta.text or delta.logprobs or delta.finish_reason is not None:
                        parts.append(self._delta_chunk(delta))
                if parts:
                    yield b"".join(parts)
        last = closing_accounts(generation, self._chat)
        yield event(self._envelope([]) | last) + DONE if last else DONE

    def _delta_chunk(self, delta: ChoiceDelta) -> bytes:
        return self._chunk(
            delta.index,
            {"content": delta.text} if delta.text else {},
            self._logprobs(delta.logprobs),
            delta.finish_reason,
            delta.stop_reason,
        )

    def _chunk(
        self,
        index: int,
        delta: dict[str, str],
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
        stop_reason: str | int | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        if finish_reason is not None:
            choice["stop_reason"] = stop_reason
        chunk = self._envelope([choice])
        if self._chat.include_usage:
            chunk["usage"] = None
        return event(chunk)

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._service.model_name,
            "choices": choices,
        }

    def _logprobs(self, positions: Any) -> dict[str, Any] | None:
        return chat_logprobs(positions, self._chat.top_logprobs or 0, self._service.tokenizer)
