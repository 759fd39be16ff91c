"""`GET /v1/capabilities`: which routes, fields, limits and features this server has.

Nothing is written down here: routes and fields are those of the API's description, limits are the settings
that are declared as such, and the engine's switches are its configuration.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request

import gradus
from gradus.options import settings_of
from gradus.server.http.answers import CAPABILITIES
from gradus.server.http.context import context_of
from gradus.server.http.guard import client_of
from gradus.server.http.openapi import answers_with, described_body
from gradus.server.settings import ServerSettings
from gradus.structured_outputs import KINDS

router = APIRouter(tags=["server"])


@router.get("/v1/capabilities", openapi_extra=answers_with(CAPABILITIES))
async def capabilities(request: Request) -> dict[str, Any]:
    """What this server can do: routes with their fields, limits, the asking client's own, and features."""
    context = context_of(request)
    service, settings = context.service, context.settings
    client = client_of(request)
    return {
        "object": "capabilities",
        "version": gradus.__version__,
        "model": {"id": service.model_name, "max_model_len": service.inputs.max_model_len},
        "endpoints": _endpoints(request.app),
        "limits": limits(settings),
        "client": {"name": client.name, "is_admin": client.is_admin, **asdict(client.limits)},
        "engine": asdict(service.engine.config),
        "features": {
            "authentication": not service.keys.is_open,
            "isolated_prefix_cache": settings.isolate_prefix_cache,
            "chat": service.inputs.has_chat_template,
            "tool_calls": service.reply_format.tool_calls,
            "reasoning": service.reply_format.reasoning,
            "structured_outputs": KINDS,
            "metrics": settings.metrics,
            "grpc": settings.grpc_port is not None or settings.grpc_uds is not None,
        },
    }


def limits(settings: ServerSettings) -> dict[str, Any]:
    """The settings of the group `limits`; null: as much as there is."""
    return {
        name: getattr(settings, name)
        for name, setting in settings_of(ServerSettings).items()
        if setting.option.group == "limits"
    }


def _endpoints(app: FastAPI) -> dict[str, Any]:
    schema = app.openapi()
    found: dict[str, Any] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            found[f"{method.upper()} {path}"] = _fields(operation, schema["components"]["schemas"])
    return found


def _fields(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """A body's fields, and those that are accepted at some values only; empty for a route without a body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    if not name:
        return {}
    return {
        "fields": schemas[name]["properties"],
        "restricted_fields": {field: rule.works for field, rule in described_body(name).items()},
    }
