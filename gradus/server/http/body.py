"""Reading a request's JSON body, however hostile: size, encoding, nesting and numbers are checked here."""

import json
import re
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from gradus.server.http.errors import ApiError

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


async def read_json(request: Request, max_bytes: int) -> tuple[dict[str, Any], int]:
    """The body's object and its size in bytes.

    Raises:
        ApiError: it is too large (413), not declared as JSON (415), or not a JSON object (400).
    """
    _check_content_type(request.headers.get("content-type"))
    body = await _read(request, max_bytes)
    return parse_object(body), len(body)


def parse_object(body: bytes, name: str = "the body") -> dict[str, Any]:
    """The JSON object in `body`, strictly by RFC 8259; errors call it by its `name`.

    Raises:
        ApiError: anything else.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant)
        if _SURROGATE_ESCAPE.search(text):
            # Pairs are characters; a half alone cannot be encoded and would fail later.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ApiError(f"{name} is nested too deeply", code="invalid_json") from None
    except UnicodeDecodeError as error:
        raise ApiError(f"{name} is not UTF-8: {error.reason}", code="invalid_json") from None
    except UnicodeEncodeError:
        raise ApiError(f"{name} has an unpaired surrogate", code="invalid_json") from None
    except ValueError as error:
        raise ApiError(f"{name} is not JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise ApiError(f"{name} is JSON, but not an object", code="invalid_json")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _check_content_type(header: str | None) -> None:
    """Only JSON: a web page can make a browser post other types to this machine without asking first."""
    kind = (header or "").split(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        shown = repr(kind[:80]) if kind else "missing"
        raise ApiError(f"the Content-Type header is {shown}; it must be application/json", status=415)


async def _read(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
            chunks.append(chunk)
    except ClientDisconnect:
        raise ApiError("the body is incomplete") from None
    return b"".join(chunks)


def _too_large(max_bytes: int) -> ApiError:
    # The rest of the body is not read, so the connection cannot carry another request.
    return ApiError(
        f"the body is longer than {max_bytes:,} bytes",
        status=413,
        code="request_too_large",
        headers={"Connection": "close"},
    )
