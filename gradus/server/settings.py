"""What a server's operator can set, apart from the engine. Knows nothing of HTTP frameworks."""

from dataclasses import dataclass

from gradus.errors import ConfigError, InvalidRequestError
from gradus.server.streaming import StreamingSettings

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server listens and what it accepts.

    Attributes:
        host: address to listen on; the default is reachable from this machine only.
        port: 0 lets the system choose one.
        max_body_bytes: longest request body.
        max_prompts: prompts in one completions request.
        max_choices: prompts times `n` in one request.
        health_stall_seconds: `/health` fails when the engine has work and no step has ended for so long.
        shutdown_seconds: how long requests in flight may go on once the server is told to stop.
        metrics: count what the server does, for `/metrics`.
        trace_requests: how many of the last requests `/debug/trace` shows; 0: none.
        log_level: debug, info, warning or error.
        log_format: text or json.
        log_prompts: write prompts, decoded, into the log.
        cors_origins: web origins whose pages may call the server; none by default.
        grpc_port: TCP port of the gRPC service on `host`; 0 lets the system choose one; None: no such port.
        grpc_uds: path of a Unix socket for the gRPC service; None: no such socket.
        stream_chunk_size, grpc_buffer_size, grpc_flush_interval_ms: `StreamingSettings`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_body_bytes: int = 8 * 2**20
    max_prompts: int = 256
    max_choices: int = 1024
    health_stall_seconds: float = 60.0
    shutdown_seconds: float = 5.0
    metrics: bool = True
    trace_requests: int = 256
    log_level: str = "info"
    log_format: str = "text"
    log_prompts: bool = False
    cors_origins: tuple[str, ...] = ()
    grpc_port: int | None = None
    grpc_uds: str | None = None
    stream_chunk_size: int | None = None
    grpc_buffer_size: int = 8
    grpc_flush_interval_ms: float = 50.0

    def __post_init__(self) -> None:
        for name in ("port", "grpc_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65535:
                raise ConfigError(f"{name} is {port}; it must be from 0 to 65535")
        if self.trace_requests < 0:
            raise ConfigError(f"trace_requests is {self.trace_requests}; it must be 0 or more")
        for name, known in (("log_level", LOG_LEVELS), ("log_format", LOG_FORMATS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be {' or '.join(known)}")
        for name in ("max_body_bytes", "max_prompts", "max_choices"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        for name in ("health_stall_seconds", "shutdown_seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or more seconds")
        try:
            _ = self.streaming
        except InvalidRequestError as error:
            raise ConfigError(str(error)) from None

    @property
    def streaming(self) -> StreamingSettings:
        return StreamingSettings(
            stream_chunk_size=self.stream_chunk_size,
            grpc_buffer_size=self.grpc_buffer_size,
            grpc_flush_interval_ms=self.grpc_flush_interval_ms,
        )

    @property
    def has_grpc(self) -> bool:
        return self.grpc_port is not None or self.grpc_uds is not None
