"""The lines of batch files, in OpenAI's format: one request per line in, one result per line out.

Knows what a line holds around a request's body; the body itself is the HTTP API's business.
Source of the format: OpenAI's batch API reference, "request input object" and "request output object".
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gradus.errors import ConfigError
from gradus.parameter_checks import show
from gradus.server.http.body import parse_object
from gradus.server.http.context import new_id
from gradus.server.http.errors import ApiError

URLS = ("/v1/completions", "/v1/chat/completions")
MAX_LINE_BYTES = 8 << 20  # as much as the HTTP API takes
MAX_ID_LENGTH = 512
ID_PREFIX = "batch_req"

_FIELDS = ("custom_id", "method", "url", "body")
# Ends of a line to some readers (Python's splitlines), though not to JSON, which escapes all others.
_LINE_ENDS = str.maketrans({"\x85": r"\u0085", "\u2028": r"\u2028", "\u2029": r"\u2029"})
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """A line that says what it wants; its body is not validated yet."""

    number: int  # of the line, from 1
    custom_id: str
    url: str
    body: dict[str, Any]
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that is no request. Its number is what tells it from others: its id may be missing or taken."""

    number: int
    custom_id: str | None
    code: str
    message: str
    param: str | None = None


def read_lines(path: Path) -> Iterator[BatchRequest | BadLine]:
    """The file's lines in order; blank ones are skipped. Of several with one id only the first is a request.

    Raises:
        ConfigError: the file cannot be read.
    """
    first_with: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(_raw_lines(file), start=1):
                if raw.strip():
                    yield _unique(_read(number, raw), first_with)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}; give --input a file with one JSON "
            "object per line"
        ) from error


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of at most one byte more than are read; the rest of a longer one is dropped."""
    is_first = True
    while raw := file.readline(MAX_LINE_BYTES + 1):
        rest = raw
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(1 << 20)
        yield raw.removeprefix(_BYTE_ORDER_MARK) if is_first else raw
        is_first = False


def _unique(line: BatchRequest | BadLine, first_with: dict[str, int]) -> BatchRequest | BadLine:
    if isinstance(line, BadLine):
        return line
    first = first_with.setdefault(line.custom_id, line.number)
    if first == line.number:
        return line
    message = f"custom_id is {show(line.custom_id)}, which is line {first}'s already; give every line its own"
    return BadLine(
        number=line.number,
        custom_id=line.custom_id,
        code="duplicate_custom_id",
        message=message,
        param="custom_id",
    )


def _read(number: int, raw: bytes) -> BatchRequest | BadLine:
    custom_id: str | None = None
    try:
        if len(raw) > MAX_LINE_BYTES:
            raise ApiError(f"the line is longer than {MAX_LINE_BYTES:,} bytes", code="request_too_large")
        fields = parse_object(raw, "the line")
        given = fields.get("custom_id")
        if not (isinstance(given, str) and 0 < len(given) <= MAX_ID_LENGTH):
            raise _wrong("custom_id", given, f"it must be a string of 1 to {MAX_ID_LENGTH} characters")
        custom_id = given
        return _request(number, fields, len(raw))
    except ApiError as error:
        return BadLine(
            number=number,
            custom_id=custom_id,
            code=error.code or "invalid_value",
            message=str(error),
            param=error.param,
        )


def _request(number: int, fields: dict[str, Any], num_bytes: int) -> BatchRequest:
    unknown = next((name for name in fields if name not in _FIELDS), None)
    if unknown is not None:
        raise ApiError(
            f"{show(unknown)} is no field of a line; it has {', '.join(_FIELDS)}",
            param=unknown[:100],
            code="unknown_parameter",
        )
    if fields.get("method") != "POST":
        raise _wrong("method", fields.get("method"), 'it must be "POST"')
    if fields.get("url") not in URLS:
        raise _wrong("url", fields.get("url"), f"it must be {' or '.join(URLS)}")
    body = fields.get("body")
    if not isinstance(body, dict):
        raise _wrong("body", body, "it must be an object")
    return BatchRequest(
        number=number, custom_id=fields["custom_id"], url=fields["url"], body=body, num_bytes=num_bytes
    )


def _wrong(name: str, value: Any, requirement: str) -> ApiError:
    what = f"{name} is missing" if value is None else f"{name} is {show(value)}"
    return ApiError(f"{what}; {requirement}", param=name, code="invalid_value")


def answer_line(custom_id: str, status: int, body: dict[str, Any]) -> bytes:
    """The result of a request, refused or not."""
    response = {"status_code": status, "request_id": new_id("req"), "body": body}
    return _encode({"custom_id": custom_id, "response": response, "error": None})


def error_line(line: BadLine) -> bytes:
    """The result of a line that is no request."""
    error = {"code": line.code, "message": line.message, "param": line.param, "line": line.number}
    return _encode({"custom_id": line.custom_id, "response": None, "error": error})


def _encode(fields: dict[str, Any]) -> bytes:
    value = {"id": new_id(ID_PREFIX), **fields}
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_LINE_ENDS).encode() + b"\n"
