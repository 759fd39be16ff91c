"""`POST /v1/completions`."""

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
from gradus.server.http.context import (
    AppContext,
    Prepared,
    accounts,
    answer,
    closing_accounts,
    context_of,
    new_id,
)
from gradus.server.http.logprobs import CompletionLogprobs, prompt_logprobs
from gradus.server.http.openapi import body_of
from gradus.server.http.protocol import parse
from gradus.server.http.protocol_completions import NEUTRAL, CompletionRequest, read_prompts, without_best_of
from gradus.server.http.sse import DONE, event
from gradus.server.service import Generation, Service

router = APIRouter(tags=["completions"])


@router.post("/v1/completions", openapi_extra=body_of(CompletionRequest, NEUTRAL))
async def create_completion(request: Request) -> Response:
    """Complete one prompt or many; choice i * n + j is choice j of prompt i."""
    context = context_of(request)
    body, size = await context.read_body(request)
    return await answer(request, context.service, await prepare(context, body, size))


async def prepare(context: AppContext, body: dict[str, Any], size: int) -> Prepared:
    """Read and validate a body of `size` bytes.

    Raises:
        ApiError, InvalidRequestError: what is wrong with it.
    """
    completion = parse(CompletionRequest, without_best_of(body), NEUTRAL)
    context.check_model(completion.model)
    prompts = read_prompts(completion.prompt, context.settings.max_prompts)
    context.check_num_choices(len(prompts), completion.n)
    params = completion.params(context.service.inputs.sampling_defaults)
    await context.service.compile_grammar(params)
    reply = _Reply(context.service, completion, params, new_id("cmpl"))
    return Prepared(
        engine_requests=await context.service.compute(size, lambda: reply.engine_requests(prompts)),
        is_stream=completion.stream,
        events=reply.events,
        whole=reply.whole,
        granularity=context.service.streaming.for_events(completion.stream_chunk_size),
        timeout=completion.timeout,
    )


class _Reply:
    """One completions request on its way to the engine and back."""

    def __init__(
        self, service: Service, completion: CompletionRequest, params: SamplingParams, completion_id: str
    ) -> None:
        self._service = service
        self._completion = completion
        self._params = params
        self._id = completion_id
        self._created = int(time.time())

    def engine_requests(self, prompts: list[str | list[int]]) -> list[EngineRequest]:
        """One engine request per prompt. InvalidRequestError names the prompt if there are many."""
        completion = self._completion
        completion.check_stream_options()
        requests = []
        for i, prompt in enumerate(prompts):
            try:
                request = self._service.inputs.process(
                    f"{self._id}-{i}",
                    prompt,
                    self._params,
                    priority=completion.priority,
                    cache_salt=completion.cache_salt,
                    add_special_tokens=completion.add_special_tokens,
                )
            except InvalidRequestError as error:
                if len(prompts) == 1 or error.param not in ("prompt", "max_tokens"):
                    raise
                raise type(error)(f"prompt[{i}]: {error}", error.param) from None
            requests.append(request)
        return requests

    def whole(self, generation: Generation) -> dict[str, Any]:
        """The answer in one piece."""
        choices: list[dict[str, Any]] = []
        for state in generation.states:
            for choice in state.output().outputs:
                logprobs = self._logprobs().take(choice.token_ids, choice.logprobs)
                shown = _choice(len(choices), choice.text, logprobs, choice.finish_reason, choice.stop_reason)
                choices.append(shown | prompt_logprobs(state.prompt_logprobs))
        return self._envelope(choices) | accounts(generation, self._completion)

    async def events(self, generation: Generation) -> AsyncGenerator[bytes]:
        """The answer piece by piece."""
        logprobs = [self._logprobs() for _ in range(generation.num_choices)]
        async with aclosing(generation.deltas()) as batches:
            async for batch in batches:
                parts: list[bytes] = []
                for delta in batch:
                    if not (delta.text or delta.logprobs or delta.finish_reason is not None):
                        continue
                    shown = logprobs[delta.index].take(delta.token_ids, delta.logprobs)
                    choice = _choice(delta.index, delta.text, shown, delta.finish_reason, delta.stop_reason)
                    chunk = self._envelope([choice])
                    if self._completion.include_usage:
                        chunk["usage"] = None
                    parts.append(event(chunk))
                if parts:
                    yield b"".join(parts)
        last = closing_accounts(generation, self._completion)
        yield event(self._envelope([]) | last) + DONE if last else DONE

    def _logprobs(self) -> CompletionLogprobs:
        return CompletionLogprobs(self._service.tokenizer, self._completion.skip_special_tokens)

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._service.model_name,
            "choices": choices,
        }


def _choice(
    index: int,
    text: str,
    logprobs: dict[str, Any] | None,
    finish_reason: str | None,
    stop_reason: str | int | None,
) -> dict[str, Any]:
    choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
    if finish_reason is not None:
        choice["stop_reason"] = stop_reason
    return choice
