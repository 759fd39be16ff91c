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
from gradus.outputs import CompletionOutput
from gradus.sampling_params import SamplingParams
from gradus.server.generation import Generation
from gradus.server.http.answers import COMPLETION
from gradus.server.http.completion_choice import ShownChoice
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
from gradus.server.http.logprobs import prompt_logprobs
from gradus.server.http.openapi import body_of
from gradus.server.http.protocol import parse
from gradus.server.http.protocol_completions import NEUTRAL, CompletionRequest, read_prompts
from gradus.server.http.sse import DONE, event
from gradus.server.service import Service

router = APIRouter(tags=["completions"])


@router.post("/v1/completions", openapi_extra=body_of(CompletionRequest, NEUTRAL, COMPLETION, streams=True))
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
    completion = parse(CompletionRequest, body, NEUTRAL)
    context.check_model(completion.model)
    prompts = read_prompts(completion.prompt, context.settings.max_prompts)
    context.check_num_choices(len(prompts), completion.num_generated)
    params = completion.params(context.service.inputs.sampling_defaults)
    await context.service.compile_grammar(params)
    reply = _Reply(context.service, completion, prompts, new_id("cmpl"))
    return Prepared(
        engine_requests=await context.service.compute(size, lambda: reply.engine_requests(params)),
        is_stream=completion.stream,
        events=reply.events,
        whole=reply.whole,
        granularity=context.service.streaming.for_events(completion.stream_chunk_size),
        timeout=completion.timeout,
    )


class _Reply:
    """One completions request on its way to the engine and back."""

    def __init__(
        self,
        service: Service,
        completion: CompletionRequest,
        prompts: list[str | list[int]],
        completion_id: str,
    ) -> None:
        self._service = service
        self._completion = completion
        self._prompts = prompts
        self._id = completion_id
        self._created = int(time.time())
        self._usage: dict[str, Any] | None = None  # of a stream, so far

    def engine_requests(self, params: SamplingParams) -> list[EngineRequest]:
        """One engine request per prompt. InvalidRequestError names the prompt if there are many."""
        completion = self._completion
        completion.check_stream_options()
        requests = []
        for i, prompt in enumerate(self._prompts):
            try:
                request = self._service.inputs.process(
                    f"{self._id}-{i}",
                    prompt,
                    params,
                    priority=completion.priority,
                    cache_salt=completion.cache_salt,
                    add_special_tokens=completion.add_special_tokens,
                )
            except InvalidRequestError as error:
                if len(self._prompts) == 1 or error.param not in ("prompt", "max_tokens"):
                    raise
                raise type(error)(f"prompt[{i}]: {error}", error.param) from None
            requests.append(request)
        return requests

    def whole(self, generation: Generation) -> dict[str, Any]:
        """The answer in one piece."""
        choices: list[dict[str, Any]] = []
        for i, state in enumerate(generation.states):
            for output in self._best(state.output().outputs):
                choice = self._shown(generation, i, len(choices)).take(output) or {}
                shows_prompt = self._completion.prompt_logprobs is not None
                choices.append(choice | prompt_logprobs(state.prompt_logprobs if shows_prompt else None))
        return self._envelope(choices) | self._counted(accounts(generation, self._completion))

    def _best(self, outputs: list[CompletionOutput]) -> list[CompletionOutput]:
        """The `n` choices with the highest mean log probability of a token, likeliest first."""
        if len(outputs) == self._completion.n:
            return outputs
        ranked = sorted(outputs, key=lambda each: -(each.cumulative_logprob or 0.0) / len(each.token_ids))
        return ranked[: self._completion.n]

    async def events(self, generation: Generation) -> AsyncGenerator[bytes]:
        """The answer piece by piece."""
        n = self._completion.n
        shown = [self._shown(generation, index // n, index) for index in range(generation.num_choices)]
        async with aclosing(generation.deltas()) as batches:
            async for batch in batches:
                so_far = usage_so_far(generation, self._completion)
                self._usage = so_far and self._counted({"usage": so_far})["usage"]
                taken = [shown[delta.index].take(delta) for delta in batch]
                parts = [self._chunk(choice) for choice in taken if choice is not None]
                if parts:
                    yield b"".join(parts)
        last = self._counted(closing_accounts(generation, self._completion))
        yield event(self._envelope([]) | last) + DONE if last else DONE

    def _shown(self, generation: Generation, i: int, index: int) -> ShownChoice:
        """Choice `index`, of prompt `i`."""
        tokenizer = self._service.tokenizer
        return ShownChoice(self._completion, index, self._prompts[i], generation.states[i], tokenizer)

    def _counted(self, accounts: dict[str, Any]) -> dict[str, Any]:
        """The accounts without the token that the engine had to generate where only an echo was wanted."""
        if self._completion.only_echoes and "usage" in accounts:
            counts = accounts["usage"]
            counts |= {"completion_tokens": 0, "total_tokens": counts["prompt_tokens"]}
        return accounts

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        chunk = self._envelope([choice])
        return event(chunk | {"usage": self._usage} if self._completion.include_usage else chunk)

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._service.model_name,
            "choices": choices,
        }
