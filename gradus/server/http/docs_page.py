"""`GET /docs`: the API's description as one page without scripts, so that it also works without a network.

Rendered from the same OpenAPI description that `/openapi.json` gives to programs.
"""

from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

router = APIRouter()

_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ font: 600 1.1rem ui-monospace, monospace; margin-top: 2.5rem }}
code {{ font-family: ui-monospace, monospace }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-top: 1px solid #8886 }}
</style></head><body>
<h1>{title}</h1><p>{description}</p>
<p>The same for programs: <a href="openapi.json">openapi.json</a></p>
{body}
</body></html>
"""


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """What the server can be asked for."""
    return HTMLResponse(render(request.app.openapi()), headers=_HEADERS)


def render(schema: dict[str, Any]) -> str:
    """The page for an OpenAPI description."""
    sections = [
        _section(method, path, operation, schema)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]
    title = f"{schema['info']['title']} {schema['info']['version']}"
    description = schema["info"].get("description", "")
    return _PAGE.format(title=escape(title), description=escape(description), body="\n".join(sections))


def _section(method: str, path: str, operation: dict[str, Any], schema: dict[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary", "")
    section = f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(text)}</p>"
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    if not name:
        return section
    model = schema["components"]["schemas"][name]
    required = model.get("required", [])
    rows = [_row(field, model["properties"][field], field in required) for field in model["properties"]]
    table = f"<table><tr><th>field<th>type<th>default<th>meaning</tr>{''.join(rows)}</table>"
    return f"{section}{table}<p>{escape(model['description'])}</p>"


def _row(field: str, schema: dict[str, Any], is_required: bool) -> str:
    default = "required" if is_required else _default_of(schema)
    meaning = escape(schema.get("description", ""))
    return (
        f"<tr><td><code>{escape(field)}</code><td>{escape(_type_of(schema))}<td>{default}<td>{meaning}</tr>"
    )


def _default_of(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    return "" if value is None or value in ((), [], {}) else escape(str(value).lower())


def _type_of(schema: dict[str, Any]) -> str:
    """A JSON schema's type in words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        kinds = [_type_of(option) for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        items = _type_of(schema.get("items", {}))
        return f"list of {items}" if items else "list"
    return schema.get("type", "")
