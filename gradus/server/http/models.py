"""`GET /v1/models`: the one model that is served."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from gradus.server.http.context import AppContext, context_of

router = APIRouter(tags=["models"])


@router.get("/v1/models")
async def list_models(request: Request) -> dict[str, Any]:
    """The served model, as a list."""
    return {"object": "list", "data": [_card(context_of(request))]}


@router.get("/v1/models/{name:path}")
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
    }
