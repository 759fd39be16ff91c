"""The API's own description. Bodies are read by this server's own parser, so their schemas are added here."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from gradus.server.http.answers import ANTHROPIC_ERROR, ERROR
from gradus.server.http.errors import is_anthropic
from gradus.server.http.protocol import UNSUPPORTED, Neutral

_MODELS: dict[str, tuple[type[BaseModel], Mapping[str, Neutral]]] = {}

_ANYWHERE = (400, 401, 403, 404, 429, 500, 503)
_WITH_A_BODY = (408, 413, 415, 504)


def body_of(
    model: type[BaseModel],
    neutral: Mapping[str, Neutral] | None = None,
    answer: dict[str, Any] | None = None,
    *,
    streams: bool = False,
) -> dict[str, Any]:
    """A route's `openapi_extra`: what its body is, and which fields besides have one value; and its answer.

    streams: the answer can also come as server-sent events.
    """
    _MODELS[model.__name__] = (model, neutral or {})
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"requestBody": body, **answers_with(answer or {}, streams=streams)}


def answers_with(schema: dict[str, Any], *content_types: str, streams: bool = False) -> dict[str, Any]:
    """A route's `openapi_extra` that says what it answers, JSON by default, where nothing goes wrong."""
    names = content_types or ("application/json",)
    content: dict[str, Any] = {name: {"schema": schema} for name in names}
    if streams:
        content["text/event-stream"] = {}  # OpenAPI 3.1 has no schema for a stream's events
    return {"responses": {"200": {"description": "OK", "content": content}}}


def described_body(name: str) -> Mapping[str, Neutral]:
    """The fields of a body that have one value each, by the name of its model."""
    return _MODELS[name][1]


def install(app: FastAPI) -> None:
    """Describe bodies and errors, at the first request for the description."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schema["components"] = {"schemas": _schemas()}
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    _describe_errors(path, operation)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schemas() -> dict[str, Any]:
    """The bodies, and the two shapes of errors."""
    schemas: dict[str, Any] = {"Error": ERROR, "AnthropicError": ANTHROPIC_ERROR}
    for name, (model, neutral) in _MODELS.items():
        described = model.model_json_schema(ref_template="#/components/schemas/{model}")
        described["description"] += _words_about(neutral)
        schemas |= described.pop("$defs", {})
        schemas[name] = described
    return schemas


def _describe_errors(path: str, operation: dict[str, Any]) -> None:
    """Which refusals to expect; FastAPI's own, 422, is not among them."""
    operation["responses"].pop("422", None)
    statuses: Iterable[int] = _ANYWHERE
    if "requestBody" in operation:
        statuses = sorted(_ANYWHERE + _WITH_A_BODY)
    name = "AnthropicError" if is_anthropic(path) else "Error"
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    for status in statuses:
        described = {"description": HTTPStatus(status).phrase, "content": content}
        operation["responses"].setdefault(str(status), described)


def _words_about(neutral: Mapping[str, Neutral]) -> str:
    """The published fields that have no effect here."""
    if not neutral:
        return ""
    fields = [f"{name}: {field.works}" for name, field in sorted(neutral.items()) if field is not UNSUPPORTED]
    unsupported = [name for name, field in sorted(neutral.items()) if field is UNSUPPORTED]
    return (
        " Fields that are published elsewhere and have no effect here are refused at any other value: "
        f"{'; '.join(fields)}. Not supported: {', '.join(unsupported)}."
    )
