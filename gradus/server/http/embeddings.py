"""`POST /v1/embeddings`: the model's hidden states of a text, as one vector."""

import base64
import struct
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from gradus.errors import InvalidRequestError
from gradus.messages import EngineRequest, Pooling
from gradus.server.generation import Generation
from gradus.server.http.answers import EMBEDDINGS
from gradus.server.http.context import AppContext, Prepared, answer, context_of, new_id, usage
from gradus.server.http.openapi import body_of
from gradus.server.http.protocol import STRICT, Neutral, parse
from gradus.server.http.protocol_completions import PROMPT_SCHEMA, read_prompts
from gradus.server.service import Service
from gradus.vectors import normalized

router = APIRouter(tags=["embeddings"])

NEUTRAL: Mapping[str, Neutral] = {
    "dimensions": Neutral(
        lambda _: False, "vectors have the model's hidden size and cannot be cut; leave it out"
    ),
    "truncate_prompt_tokens": Neutral(lambda _: False, "a text is never cut; leave it out"),
    "user": Neutral.anything(str, "a string"),
}


class EmbeddingRequest(BaseModel):
    """Embed one text or several."""

    model_config = STRICT

    model: str | None = Field(None, description="the served model's name; may be left out")
    input: Annotated[Any, WithJsonSchema(PROMPT_SCHEMA)] = Field(description="text or token ids, one or many")
    encoding_format: Literal["float", "base64"] = Field("float", description="base64: little-endian float32")
    pooling: Pooling = Field("last", description="the last token's hidden state, or the mean of all")
    normalize: bool = Field(True, description="make the Euclidean length 1")
    add_special_tokens: bool = Field(True, description="add the tokenizer's own to a text")
    priority: int = Field(0, description="lower runs earlier under the priority policy")
    cache_salt: str = Field("", description="only requests with the same one share cached prompts")
    timeout: float | None = Field(
        None, description="seconds until the request ends with an error", gt=0, allow_inf_nan=False
    )

    def engine_requests(self, service: Service, prompts: list[str | list[int]]) -> list[EngineRequest]:
        """One per text. InvalidRequestError names the text if there are many."""
        batch_id = new_id("embd")
        requests = []
        for i, prompt in enumerate(prompts):
            try:
                request = service.inputs.process_pooling(
                    f"{batch_id}-{i}",
                    prompt,
                    self.pooling,
                    priority=self.priority,
                    cache_salt=self.cache_salt,
                    add_special_tokens=self.add_special_tokens,
                )
            except InvalidRequestError as error:
                where = f"input[{i}]: " if len(prompts) > 1 else ""
                name = "input" if error.param == "prompt" else error.param
                raise type(error)(f"{where}{error}", name) from None
            requests.append(request)
        return requests

    def encoded(self, vector: list[float]) -> list[float] | str:
        vector = normalized(vector) if self.normalize else vector
        if self.encoding_format == "float":
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


@router.post("/v1/embeddings", openapi_extra=body_of(EmbeddingRequest, NEUTRAL, EMBEDDINGS))
async def create_embeddings(request: Request) -> Response:
    """Vectors of one text or of several."""
    context = context_of(request)
    body, size = await context.read_body(request)
    return await answer(request, context.service, await prepare(context, body, size))


async def prepare(context: AppContext, body: dict[str, Any], size: int) -> Prepared:
    """Read and validate a body of `size` bytes.

    Raises:
        ApiError, InvalidRequestError: what is wrong with it.
    """
    asked = parse(EmbeddingRequest, body, NEUTRAL)
    context.check_model(asked.model)
    prompts = read_prompts(asked.input, context.settings.max_prompts, "input")
    service = context.service

    def whole(generation: Generation) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": i, "embedding": asked.encoded(state.embedding or [])}
            for i, state in enumerate(generation.states)
        ]
        counts = usage(generation)
        shown = {name: counts[name] for name in ("prompt_tokens", "total_tokens")}
        return {"object": "list", "data": data, "model": service.model_name, "usage": shown}

    return Prepared(
        engine_requests=await service.compute(size, lambda: asked.engine_requests(service, prompts)),
        whole=whole,
        timeout=asked.timeout,
    )
