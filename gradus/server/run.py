"""Running a server process: the port first, then the event loop, then a stop that lets requests finish.

Knows uvicorn and signals; the application it runs is made elsewhere. The port is taken before a model is
loaded, so that a port in use is known at once; who connects meanwhile waits to be served.
"""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from gradus.errors import ConfigError
from gradus.server.grpc.addresses import check_can_listen
from gradus.server.settings import ServerSettings

if TYPE_CHECKING:
    from gradus.server.service import Service

_BACKLOG = 2048
SWITCH_INTERVAL = 0.0005  # seconds; the engine's steps may be shorter than the interpreter's 5 ms


def bind(settings: ServerSettings) -> socket.socket:
    """Take the port, and see whether gRPC can have its own.

    Raises:
        ConfigError: an address, a port or a socket's path is not to be had.
    """
    check_can_listen(settings)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; choose "
            "another port with --port (0 takes any that is free) or another address with --host"
        ) from error
    listener.setblocking(False)
    return listener


def preload(settings: ServerSettings) -> None:
    """Import the web framework, and gRPC where it is served, in a thread, while the caller loads a model."""
    modules = ["gradus.server.http.server"]
    if settings.has_grpc:
        modules.append("gradus.server.grpc.server")
    threading.Thread(target=lambda: [import_module(name) for name in modules], daemon=True).start()


def base_url(listener: socket.socket) -> str:
    """How to reach the server from this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    service: "Service",
    settings: ServerSettings,
    listener: socket.socket,
    on_ready: Callable[[list[str]], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; in the main thread.

    `on_ready` is called with gRPC's addresses, if there are any, once requests are accepted.

    On a signal new requests are refused and those in flight get `settings.shutdown_timeout`.
    """
    from gradus.server.http.server import HttpServer

    sys.setswitchinterval(SWITCH_INTERVAL)
    # Once it has stopped, uvicorn raises the signal again; by then it has been obeyed.
    before = {name: signal.signal(name, lambda *_: None) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        HttpServer(service, settings, on_ready).run(sockets=[listener])
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def how_to_try(url: str, model_name: str) -> str:
    """What to print once the server is ready."""
    return f"""\
{model_name} is served at {url}/v1, the API's description at {url}/docs. Stop with Ctrl-C. Try it:

  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"messages": [{{"role": "user", "content": "Hello!"}}], "max_tokens": 64}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="none")
  for chunk in client.chat.completions.create(
      model="{model_name}", messages=[{{"role": "user", "content": "Hello!"}}], stream=True
  ):
      print(chunk.choices[0].delta.content or "", end="")
"""
