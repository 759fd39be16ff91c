"""Control and Health: what a client can ask and tell the server beside generating.

A command is a method here; others are refused by name, and so are payload entries that a command does not
know. Values are text in both directions.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import grpc

import gradus
from gradus.errors import InvalidRequestError
from gradus.server.grpc.predict import InFlight
from gradus.server.grpc.statuses import RpcError
from gradus.server.security.keys import Client
from gradus.server.service import Service

Payload = Mapping[str, str]
Command = Callable[[Payload, Client], dict[str, Any]]
_STREAMING_FIELDS: Mapping[str, Callable[[str], float]] = {
    "stream_chunk_size": int,
    "grpc_buffer_size": int,
    "grpc_flush_interval_ms": float,
}


class Control:
    """The commands of one server."""

    def __init__(self, service: Service, in_flight: InFlight) -> None:
        self._service = service
        self._in_flight = in_flight
        self._commands: Mapping[str, tuple[Command, frozenset[str]]] = {
            "ping": (self._ping, frozenset()),
            "list_models": (self._list_models, frozenset()),
            "stats": (lambda *_: stats(self._service), frozenset()),
            "get_streaming": (self._get_streaming, frozenset()),
            "set_streaming": (self._set_streaming, frozenset(_STREAMING_FIELDS)),
            "abort": (self._abort, frozenset(("trace_id",))),
        }

    def run(self, command: str, payload: Payload, client: Client) -> dict[str, str]:
        """Do it for this client; the answer's payload.

        Raises:
            RpcError: there is no such command, or nothing for it to act on.
            InvalidRequestError: the payload is not the command's.
            PermissionDeniedError: the command is for admins.
        """
        if command not in self._commands:
            raise RpcError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"command is {command[:100]!r}; these work: {', '.join(sorted(self._commands))}",
                reason="unknown_command",
                param="command",
            )
        do, fields = self._commands[command]
        for name in payload:
            if name not in fields:
                what_works = ", ".join(sorted(fields)) or "none"
                raise InvalidRequestError(
                    f"payload has {name[:100]!r}; entries of {command} are: {what_works}", "payload"
                )
        return {name: as_text(value) for name, value in do(payload, client).items()}

    def _ping(self, _: Payload, client: Client) -> dict[str, Any]:
        return {"status": "ok", "version": gradus.__version__}

    def _list_models(self, _: Payload, client: Client) -> dict[str, Any]:
        service = self._service
        return {"models": ",".join(service.model_names), "max_model_len": service.inputs.max_model_len}

    def _get_streaming(self, _: Payload, client: Client) -> dict[str, Any]:
        settings = asdict(self._service.streaming)
        return {name: "default" if value is None else value for name, value in settings.items()}

    def _set_streaming(self, payload: Payload, client: Client) -> dict[str, Any]:
        """It concerns everybody, so it is for admins on a server that knows who is who."""
        keys = self._service.keys
        if keys.has_admin or not keys.is_open:
            client.check_admin()
        changes: dict[str, Any] = {}
        for name, text in payload.items():
            try:
                changes[name] = None if text == "default" else _STREAMING_FIELDS[name](text)
            except ValueError:
                raise InvalidRequestError(f"{name} is {text[:100]!r}; it must be a number", name) from None
        self._service.streaming = replace(self._service.streaming, **changes)
        return self._get_streaming(payload, client)

    def _abort(self, payload: Payload, client: Client) -> dict[str, Any]:
        trace_id = payload.get("trace_id", "")
        if not trace_id:
            raise InvalidRequestError("payload has no trace_id; say which request to abort", "payload")
        num_aborted = self._in_flight.abort(client, trace_id)
        if num_aborted == 0:
            raise RpcError(
                grpc.StatusCode.NOT_FOUND,
                f"no request of yours with the trace id {trace_id[:200]!r} is in flight",
                reason="not_in_flight",
                param="payload",
            )
        return {"num_aborted": num_aborted}


def stats(service: Service) -> dict[str, Any]:
    """What the engine holds and has counted."""
    found = service.engine.stats()
    counters = {name: value for name, value in asdict(found).items() if isinstance(value, int)}
    for name in ("num_running", "num_waiting"):
        counters[f"num_requests_{name.removeprefix('num_')}"] = counters.pop(name)
    finished = {f"num_finished_{reason}": count for reason, count in found.num_finished.items()}
    return {"kv_cache_usage_perc": found.num_used_blocks / found.num_blocks, **counters, **finished}


def as_text(value: Any) -> str:
    """A value as payloads carry it."""
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
