"""`GET /v1/models`: the one model that is served, in OpenAI's words and in Anthropic's."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from gradus.server.http.answers import MODEL, MODELS
from gradus.server.http.context import AppContext, context_of
from gradus.server.http.openapi import answers_with

router = APIRouter(tags=["models"])


@router.get("/v1/models", openapi_extra=answers_with(MODELS))
async def list_models(request: Request) -> dict[str, Any]:
    """The served model, as a list."""
    card = _card(context_of(request))
    page = {"first_id": card["id"], "last_id": card["id"], "has_more": False}  # what Anthropic's clients read
    return {"object": "list", "data": [card], **page}


@router.get("/v1/models/{name:path}", openapi_extra=answers_with(MODEL))
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """The served model, by its name."""
    context = context_of(request)
    context.check_model(name)
    return _card(context)


def _card(context: AppContext) -> dict[str, Any]:
    service = context.service
    return {
        "id": service.model_name,
        "object": "model",
        "created": service.created,
        "owned_by": "gradus",
        "max_model_len": service.inputs.max_model_len,
        # Anthropic's names of the same.
        "type": "model",
        "display_name": service.model_name,
        "created_at": datetime.fromtimestamp(service.created, UTC).isoformat(),
        "max_input_tokens": service.inputs.max_model_len,
    }
