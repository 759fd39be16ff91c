"""`GET /`: what this server is, for somebody who opened its address in a browser. No scripts."""

from html import escape

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import gradus
from gradus.server.http.context import context_of
from gradus.server.http.openapi import answers_with

router = APIRouter(tags=["server"])

_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Gradus: {model}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem }}
pre {{ overflow-x: auto; padding: .8rem; border: 1px solid #8886 }}
</style></head><body>
<h1>Gradus {version}</h1>
<p>This server answers with the model <b>{model}</b>, whose context is {max_model_len:,} tokens, to clients of
OpenAI's and of Anthropic's APIs.</p>
<pre>curl {url}v1/chat/completions -H 'Content-Type: application/json' \\
  -d '{{"messages": [{{"role": "user", "content": "Hello!"}}], "max_tokens": 64}}'</pre>
<p><a href="docs">What can be asked</a>, <a href="openapi.json">the same for programs</a>,
<a href="v1/models">the model</a>, <a href="health">health</a></p>
</body></html>
"""


@router.get("/", openapi_extra=answers_with({"type": "string"}, "text/html"), response_class=HTMLResponse)
async def landing_page(request: Request) -> Response:
    """The model's name, links, and a line to try it."""
    service = context_of(request).service
    page = _PAGE.format(
        version=escape(gradus.__version__),
        model=escape(service.model_name),
        max_model_len=service.inputs.max_model_len,
        url=escape(str(request.base_url)),
    )
    return HTMLResponse(page, headers=_HEADERS)
