"""The application: routes, error shapes, and the engine's start and end with the server's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import gradus
from gradus.errors import GradusError
from gradus.server.http import chat, completions, docs_page, health, models, openapi, tokenize
from gradus.server.http.context import AppContext, new_id, plain_request_id
from gradus.server.http.errors import ApiError, handle_error
from gradus.server.service import Service
from gradus.server.settings import ServerSettings

_DESCRIPTION = (
    "An OpenAI-compatible API. Fields that would change the result and are not supported are refused; "
    "nothing is ignored silently."
)


def create_app(service: Service, settings: ServerSettings | None = None) -> FastAPI:
    """An ASGI application that serves one model.

    Its start starts the engine's thread, its end stops it.
    """
    settings = settings or ServerSettings()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.engine.start()
        yield
        await service.engine.shutdown()

    app = FastAPI(
        title="Gradus",
        version=gradus.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.context = AppContext(service, settings)
    for module in (chat, completions, models, tokenize, health, docs_page):
        app.include_router(module.router)
    for kind in (GradusError, ApiError, HTTPException, RecursionError, Exception):
        app.add_exception_handler(kind, handle_error)
    openapi.install(app)
    app.add_middleware(RequestIds)
    if settings.cors_origins:
        _allow_origins(app, settings.cors_origins)
    return app


def _allow_origins(app: FastAPI, origins: tuple[str, ...]) -> None:
    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(
        CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"]
    )


class RequestIds:
    """Gives every response an `X-Request-Id`: the client's own where that is short and plain."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = plain_request_id(Headers(scope=scope).get("x-request-id")) or new_id("req")

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"])["x-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)
