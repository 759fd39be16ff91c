"""Running a server process: the port first, then the event loop, then a stop that lets requests finish.

Knows uvicorn and signals; the application it runs is made elsewhere. The port is taken before a model is
loaded, so that a port in use is known at once; who connects meanwhile waits to be served.
"""

import errno
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
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
    """Take the port, or the Unix socket, and see whether gRPC can have its own.

    Raises:
        ConfigError: an address is not to be had.
    """
    check_can_listen(settings)
    listener = _bind_path(settings.uds) if settings.uds is not None else _bind_port(settings)
    listener.setblocking(False)
    return listener


def _bind_port(settings: ServerSettings) -> socket.socket:
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
    return listener


def _bind_path(path: str) -> socket.socket:
    """A socket of this name, for its owner and group. One that a server left behind is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_abandoned(path):
            os.unlink(path)
        listener.bind(path)
        os.chmod(path, 0o660)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on the Unix socket {path}: {error.strerror or error}; choose another with --uds"
        ) from error
    return listener


def _is_abandoned(path: str) -> bool:
    """Whether it is a socket on which nobody listens any more."""
    if not (os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def preload(settings: ServerSettings) -> None:
    """Import the web framework, and gRPC where it is served, in a thread, while the caller loads a model."""
    modules = ["gradus.server.http.server"]
    if settings.has_grpc:
        modules.append("gradus.server.grpc.server")
    threading.Thread(target=lambda: [import_module(name) for name in modules], daemon=True).start()


def base_url(listener: socket.socket, scheme: str = "http") -> str:
    """How to reach the server from this machine; of a Unix socket the host has no meaning."""
    if listener.family == socket.AF_UNIX:
        return f"{scheme}://localhost"
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def run(
    service: "Service",
    settings: ServerSettings,
    listener: socket.socket,
    on_ready: Callable[[list[str]], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; in the main thread.

    `on_ready` is called with gRPC's addresses, if there are any, once requests are accepted.

    On a signal new requests are refused and those in flight get `settings.shutdown_timeout` seconds.
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
        if settings.uds is not None:
            with suppress(OSError):
                os.unlink(settings.uds)


def how_to_try(url: str, model_name: str, settings: ServerSettings | None = None) -> str:
    """What to print once the server is ready."""
    settings = settings or ServerSettings()
    needs_key = bool(settings.api_key or settings.api_key_file)
    key = " -H 'Authorization: Bearer KEY'" if needs_key else ""
    where = "" if settings.uds is None else f" --unix-socket {settings.uds}"
    example = f"""\
{model_name} is served at {url}/v1{" on " + settings.uds if settings.uds else ""}, the API's description at \
{url}/docs. Stop with Ctrl-C. Try it:

  curl{where} {url}/v1/chat/completions -H 'Content-Type: application/json'{key} \\
    -d '{{"messages": [{{"role": "user", "content": "Hello!"}}], "max_tokens": 64}}'
"""
    if settings.uds is not None:
        return example
    return f"""\
{example}
  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{"KEY" if needs_key else "none"}")
  for chunk in client.chat.completions.create(
      model="{model_name}", messages=[{{"role": "user", "content": "Hello!"}}], stream=True
  ):
      print(chunk.choices[0].delta.content or "", end="")
"""
