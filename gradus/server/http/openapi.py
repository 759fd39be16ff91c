"""The API's own description. Bodies are read by this server's own parser, so their schemas are added here."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from gradus.server.http.protocol import UNSUPPORTED, Neutral

_MODELS: dict[str, tuple[type[BaseModel], Mapping[str, Neutral]]] = {}


def body_of(model: type[BaseModel], neutral: Mapping[str, Neutral] | None = None) -> dict[str, Any]:
    """A route's `openapi_extra` that says what its body is, and which fields besides have one value."""
    _MODELS[model.__name__] = (model, neutral or {})
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def described_body(name: str) -> Mapping[str, Neutral]:
    """The fields of a body that have one value each, by the name of its model."""
    return _MODELS[name][1]


def install(app: FastAPI) -> None:
    """Describe the bodies, at the first request for the description."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for name, (model, neutral) in _MODELS.items():
                described = model.model_json_schema(ref_template="#/components/schemas/{model}")
                described["description"] += _words_about(neutral)
                schemas |= described.pop("$defs", {})
                schemas[name] = described
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


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
