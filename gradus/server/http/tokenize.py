"""`POST /tokenize` and `/detokenize`: what the model's tokenizer makes of a text."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, WithJsonSchema
from starlette.requests import Request

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show
from gradus.server.chat_turn import ChatTurn, open_turn
from gradus.server.http.answers import TEXT, TOKENS
from gradus.server.http.chat_messages import read_messages
from gradus.server.http.chat_tools import read_tools
from gradus.server.http.context import context_of
from gradus.server.http.openapi import body_of
from gradus.server.http.protocol import STRICT, parse
from gradus.server.service import Service

router = APIRouter(tags=["tokenizer"])


class TokenizeRequest(BaseModel):
    """A text, or messages as a chat completion would get them."""

    model_config = STRICT

    model: str | None = None
    prompt: str | None = Field(None, examples=["Hello, world!"])
    messages: Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "object"}})] = None
    add_special_tokens: bool | None = Field(None, description="default: true for a text, false for messages")
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] = Field({})
    tools: list[Any] = Field([], description="with messages: functions that the model may call")
    return_token_strs: bool = Field(False, description="also name each token")

    def token_ids(self, service: Service) -> list[int]:
        if (self.prompt is None) == (self.messages is None):
            raise InvalidRequestError("give either prompt or messages", "prompt")
        add_special_tokens = self.add_special_tokens
        text = self.prompt
        if text is None:
            turn = ChatTurn(
                messages=read_messages(self.messages),
                tools=read_tools(self.tools),
                add_generation_prompt=self.add_generation_prompt,
                continue_final_message=self.continue_final_message,
                template_kwargs=self.chat_template_kwargs,
            )
            text = open_turn(service, turn).prompt
            add_special_tokens = bool(add_special_tokens)
        return service.tokenizer.encode(text, add_special_tokens is not False)


class DetokenizeRequest(BaseModel):
    """Token ids."""

    model_config = STRICT

    model: str | None = None
    tokens: Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "integer"}})]


@router.post("/tokenize", openapi_extra=body_of(TokenizeRequest, answer=TOKENS))
async def tokenize(request: Request) -> dict[str, Any]:
    """Token ids of a text or of a conversation; nothing is generated."""
    context = context_of(request)
    body, size = await context.read_body(request)
    asked = parse(TokenizeRequest, body, {})
    context.check_model(asked.model)
    inputs = context.service.inputs
    token_ids = await context.service.compute(size, lambda: asked.token_ids(context.service))
    name = inputs.tokenizer.token_text
    return {
        "tokens": token_ids,
        "count": len(token_ids),
        "max_model_len": inputs.max_model_len,
        "token_strs": [name(token_id) for token_id in token_ids] if asked.return_token_strs else None,
    }


@router.post("/detokenize", openapi_extra=body_of(DetokenizeRequest, answer=TEXT))
async def detokenize(request: Request) -> dict[str, Any]:
    """The text of token ids, special tokens included."""
    context = context_of(request)
    body, size = await context.read_body(request)
    asked = parse(DetokenizeRequest, body, {})
    context.check_model(asked.model)
    tokens, vocab_size = asked.tokens, context.service.inputs.vocab_size
    if not isinstance(tokens, list):
        raise InvalidRequestError(f"tokens is {show(tokens)}; it must be a list of token ids", "tokens")
    for token_id in tokens:
        if type(token_id) is not int or not 0 <= token_id < vocab_size:
            raise InvalidRequestError(
                f"tokens has {show(token_id)}; ids of this model are integers from 0 to {vocab_size - 1}",
                "tokens",
            )
    tokenizer = context.service.tokenizer
    text = await context.service.compute(size, lambda: tokenizer.decode(tokens, skip_special_tokens=False))
    return {"prompt": text}
