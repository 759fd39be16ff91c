"""The application: routes, error shapes, and the engine's start and end with the server's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException

import gradus
from gradus.errors import GradusError
from gradus.server.http import (
    admin,
    capabilities,
    chat,
    completions,
    docs_page,
    embeddings,
    health,
    landing_page,
    messages,
    metrics,
    models,
    openapi,
    responses,
    tokenize,
)
from gradus.server.http.context import AppContext
from gradus.server.http.errors import ApiError, handle_error
from gradus.server.http.guard import Guard
from gradus.server.http.middleware import Envelope
from gradus.server.service import Service
from gradus.server.settings import ServerSettings

ROUTES = (
    chat,
    completions,
    responses,
    messages,
    embeddings,
    models,
    capabilities,
    tokenize,
    health,
    metrics,
    admin,
    landing_page,
    docs_page,
)
_DESCRIPTION = (
    "An API compatible with OpenAI's and Anthropic's. Fields that would change the result and are not "
    "supported are refused; nothing is ignored silently."
)


def create_app(service: Service, settings: ServerSettings | None = None) -> FastAPI:
    """An ASGI application that serves one model.

    Its start starts the engine's thread, its end stops it.
    """
    settings = settings or service.settings

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
    for module in ROUTES:
        app.include_router(module.router)
    for kind in (GradusError, ApiError, HTTPException, RecursionError):
        app.add_exception_handler(kind, handle_error)
    openapi.install(app)
    app.add_middleware(Guard, keys=service.keys, observer=service.observer)
    app.add_middleware(Envelope, observer=service.observer)
    if settings.allowed_origins:
        _allow_origins(app, settings.allowed_origins)
    return app


def _allow_origins(app: FastAPI, origins: tuple[str, ...]) -> None:
    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(
        CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"]
    )
