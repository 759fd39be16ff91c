"""A streaming client of OpenAI's completions and chat completions, whoever serves them.

Counts come from the server's usage, never from chunks: a chunk may carry the text of several tokens, or of
none. Servers that can are asked to count in every chunk, which tells when tokens without text came. A stream
that breaks off, ends without usage or says an error is a failed request, not an exception.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from gradus.bench.clients.answered import Answered
from gradus.errors import RequestFailedError

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
TIMEOUT = 600.0  # seconds without a byte
SHOWN = 300  # characters of a refusal in an error

Clock = Callable[[], float]
"""Seconds from the run's beginning."""


def open_http(url: str, api_key: str | None = None) -> httpx.AsyncClient:
    """A connection for each request; a proxy of the environment is not asked.

    Connections are not used again, since some servers (llama.cpp's, after a stream) close them without having
    said so, and a request that is sent meanwhile is lost.
    """
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    timeout = httpx.Timeout(TIMEOUT, connect=30.0)
    return httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=timeout, trust_env=False)


class CompletionsClient:
    """One endpoint of one server.

    `endpoint` ends with `/completions`; one that ends with `/chat/completions` gets a text prompt as the
    user's message. `fields` are what every body has beside the prompt and its length.
    """

    def __init__(self, http: httpx.AsyncClient, endpoint: str, fields: Mapping[str, Any]) -> None:
        self._http = http
        self._endpoint = endpoint
        self._fields = fields
        self._is_chat = endpoint.endswith("/chat/completions")

    async def ask(self, prompt: str | list[int], max_tokens: int, clock: Clock) -> Answered:
        """Send one request and read its stream to the end."""
        content = json.dumps(self._body(prompt, max_tokens)).encode()
        answered = Answered(clock())
        try:
            await self._read(content, answered, clock)
        except (httpx.HTTPError, RequestFailedError, ValueError, KeyError, TypeError) as error:
            answered.error = f"{type(error).__name__}: {error}"
        answered.end = clock()
        return answered

    def _body(self, prompt: str | list[int], max_tokens: int) -> dict[str, Any]:
        asked = {"messages": [{"role": "user", "content": prompt}]} if self._is_chat else {"prompt": prompt}
        return {
            **asked,
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            **self._fields,
        }

    async def _read(self, content: bytes, answered: Answered, clock: Clock) -> None:
        headers = {"content-type": "application/json"}
        async with self._http.stream("POST", self._endpoint, content=content, headers=headers) as response:
            if response.status_code != 200:
                text = (await response.aread()).decode(errors="replace")
                raise RequestFailedError(f"status {response.status_code}: {text[:SHOWN]}")
            rest, is_done = b"", False
            async for piece in response.aiter_bytes():
                now = clock()
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    is_done = _take(line.strip(), answered, now) or is_done
        if not is_done:
            raise RequestFailedError("the stream broke off: it had no [DONE]")
        if answered.num_output_tokens is None:
            raise RequestFailedError("the stream ended without usage, so its tokens are not known")


def _take(line: bytes, answered: Answered, now: float) -> bool:
    """Note what a line says; whether it is the stream's end."""
    if not line.startswith(b"data:"):
        return False
    data = line.removeprefix(b"data:").strip()
    if data == b"[DONE]":
        return True
    event = json.loads(data)
    if "error" in event:
        raise RequestFailedError(f"the stream said: {json.dumps(event['error'])[:SHOWN]}")
    usage, before = event.get("usage"), answered.num_output_tokens
    # of a server that counts at the end only, the first count comes after text
    is_counted = bool(usage) and (before is not None or not answered.arrivals)
    if usage:
        answered.num_prompt_tokens = int(usage["prompt_tokens"])
        answered.num_output_tokens = int(usage["completion_tokens"])
    for choice in event.get("choices") or ():
        text = _text(choice)
        answered.text += text
        answered.finish_reason = choice.get("finish_reason") or answered.finish_reason
        brings_tokens = (answered.num_output_tokens or 0) > (before or 0) if is_counted else bool(text)
        if brings_tokens or (answered.finish_reason and not answered.arrivals):  # none of it may have text
            answered.arrivals.append(now)
    return False


def _text(choice: Mapping[str, Any]) -> str:
    """A chat's first chunk may name the role alone; what a model thinks is text, too."""
    if "text" in choice:
        return choice["text"] or ""
    delta = choice.get("delta") or {}
    return "".join(delta.get(name) or "" for name in ("reasoning_content", "reasoning", "content"))


def stopwatch() -> Clock:
    """A clock that begins now."""
    begin = time.perf_counter()
    return lambda: time.perf_counter() - begin
