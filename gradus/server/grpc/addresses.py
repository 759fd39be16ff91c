"""Whether the gRPC service could listen where it is told to, found out before a model is loaded.

grpcio takes its addresses itself, once there is an event loop, and would take a Unix socket away from a
server that is using it.
"""

import socket
from pathlib import Path

from gradus.errors import ConfigError
from gradus.server.settings import ServerSettings

_MAX_PATH_BYTES = 107  # of sockaddr_un, less the terminating zero


def check_can_listen(settings: ServerSettings) -> None:
    """Raises ConfigError: a port or path is in use or not to be had; says why."""
    if settings.grpc_port is not None:
        _check_port(settings.host, settings.grpc_port)
    if settings.grpc_uds is not None:
        _check_path(Path(settings.grpc_uds))


def _check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen for gRPC on {host} port {port}: {error.strerror or error}; choose another port "
            "with --grpc-port (0 takes any that is free) or another address with --host"
        ) from error


def _check_path(path: Path) -> None:
    reason = None
    if len(bytes(path)) > _MAX_PATH_BYTES:
        reason = f"it has {len(bytes(path))} bytes and a socket's path may have {_MAX_PATH_BYTES}"
    elif not path.parent.is_dir():
        reason = "its folder does not exist"
    elif path.is_socket():
        reason = "another server is using it" if _is_served(path) else None
    elif path.exists():
        reason = "there is a file that is no socket"
    if reason is not None:
        raise ConfigError(f"cannot listen for gRPC on {path}: {reason}; choose another with --grpc-uds")


def _is_served(path: Path) -> bool:
    """Whether somebody listens there; a socket that a server left behind when it died may be replaced."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
