"""`GET /v1/models`: the one model that is served, by all its names, in OpenAI's words and in Anthropic's."""

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
    """The served model, once for each of its names."""
    context = context_of(request)
    names = context.service.model_names
    page = {"first_id": names[0], "last_id": names[-1], "has_more": False}  # what Anthropic's clients read
    return {"object": "list", "data": [_card(context, name) for name in names], **page}


@router.get("/v1/models/{name:path}", openapi_extra=answers_with(MODEL))
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """The served model, by its name."""
    context = context_of(request)
    context.check_model(name)
    return _card(context, name)


def _card(context: AppContext, name: str) -> dict[str, Any]:
    service = context.service
    return {
        "id": name,
        "object": "model",
        "created": service.created,
        "owned_by": "gradus",
        "max_model_len": service.inputs.max_model_len,
        # Anthropic's names of the same.
        "type": "model",
        "display_name": name,
        "created_at": datetime.fromtimestamp(service.created, UTC).isoformat(),
        "max_input_tokens": service.inputs.max_model_len,
    }
