"""What a server's operator can set, apart from the engine. Knows nothing of HTTP frameworks.

A field more is a setting more: its flag, its variable and its key in a file follow (`gradus.options`).
"""

from dataclasses import dataclass

from gradus.options import check_settings, option
from gradus.sampling_params import MAX_LOGIT_BIASES, MAX_N, MAX_STOP_STRINGS
from gradus.server.streaming import MAX_BUFFER_SIZE, MAX_CHUNK_SIZE, MAX_FLUSH_INTERVAL_MS, StreamingSettings
from gradus.structured_outputs import MAX_SCHEMA_CHARS
from gradus.text.chat_template import MAX_MESSAGES
from gradus.text.reply.reply_format import REASONING_PARSERS, TOOL_CALL_PARSERS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server listens, whom it lets in, and what it accepts. Times are in seconds."""

    host: str = option("127.0.0.1", "address to listen on; the default is this machine only", group="server")
    port: int = option(8000, "0: any that is free", least=0, most=65535, group="server")
    uds: str | None = option(
        None, "listen on this Unix socket and on no port", metavar="PATH", group="server"
    )
    served_model_name: tuple[str, ...] = option(
        (),
        "what clients call the model; of several names answers have the first",
        metavar="NAME",
        group="server",
        takes_several=True,
    )
    allowed_origins: tuple[str, ...] = option(
        (), "web origins whose pages may call the server (CORS)", metavar="URL", group="server"
    )
    health_stall_seconds: float = option(
        60.0, "/health fails when work waits and no step has ended for so long", least=0, group="server"
    )
    shutdown_timeout: float = option(
        5.0, "what requests in flight get once the server is told to stop", least=0, group="server"
    )

    tool_call_parser: str = option(
        "auto",
        "how the model writes calls; auto: as its chat template shows",
        choices=TOOL_CALL_PARSERS,
        group="tool calls and reasoning",
    )
    reasoning_parser: str = option(
        "auto",
        "how it marks its reasoning; auto: as its chat template shows",
        choices=REASONING_PARSERS,
        group="tool calls and reasoning",
    )
    enable_auto_tool_choice: bool = option(
        True, "let the model decide whether to call a tool", group="tool calls and reasoning"
    )

    grpc_port: int | None = option(
        None, "serve gRPC on this port, too; 0: any that is free", least=0, most=65535, group="gRPC"
    )
    grpc_uds: str | None = option(None, "serve gRPC on a Unix socket", metavar="PATH", group="gRPC")
    stream_chunk_size: int | None = option(
        None,
        "tokens per chunk of a stream (default: 1 in server-sent events, 4 over gRPC)",
        least=1,
        most=MAX_CHUNK_SIZE,
        group="gRPC",
    )
    grpc_buffer_size: int = option(
        8, "chunks per message over gRPC", least=1, most=MAX_BUFFER_SIZE, group="gRPC"
    )
    grpc_flush_interval_ms: float = option(
        50.0,
        "milliseconds that a token waits for others at most; 0: not at all",
        least=0,
        most=MAX_FLUSH_INTERVAL_MS,
        metavar="MS",
        group="gRPC",
    )

    metrics: bool = option(True, "count what the server does, for /metrics", group="observability")
    trace_requests: int = option(
        256, "/debug/trace shows so many of the last requests; 0: off", least=0, group="observability"
    )
    log_level: str = option(
        "info", "what is logged", choices=("debug", "info", "warning", "error"), group="observability"
    )
    log_format: str = option("text", "how", choices=("text", "json"), group="observability")
    log_prompts: bool = option(False, "write prompts into the log", group="observability")

    api_key: tuple[str, ...] = option(
        (), "every route but /health needs one of these", metavar="KEY", group="security", is_secret=True
    )
    api_key_file: str | None = option(
        None, "keys with names and limits (docs/security.md)", metavar="FILE", group="security"
    )
    admin_api_key: tuple[str, ...] = option(
        (), "for everything, /debug/ included", metavar="KEY", group="security", is_secret=True
    )
    ssl_certfile: str | None = option(None, "serve TLS with it (PEM)", metavar="FILE", group="security")
    ssl_keyfile: str | None = option(None, "the certificate's key", metavar="FILE", group="security")
    ssl_ca_certs: str | None = option(
        None, "clients must show a certificate that one of these signed", metavar="FILE", group="security"
    )
    isolate_prefix_cache: bool = option(
        False, "clients do not find what others have put into the prefix cache", group="security"
    )
    key_max_concurrent_requests: int | None = option(None, "of each key", least=1, group="security")
    key_requests_per_minute: int | None = option(None, "of each key", least=1, group="security")
    key_tokens_per_minute: int | None = option(
        None, "of each key, prompt and output", least=1, group="security"
    )

    max_num_queued_reqs: int = option(1024, "choices that may wait", least=1, group="limits")
    max_num_queued_tokens: int | None = option(
        None, "prompt tokens that may wait (default: any number)", least=1, group="limits"
    )
    request_timeout: float | None = option(
        None, "seconds that a request may take, and the most it may ask for", least=0.001, group="limits"
    )
    head_timeout: float = option(
        10.0, "seconds in which a request's headers must have come", least=0.1, group="limits"
    )
    body_timeout: float = option(60.0, "seconds in which its body must have come", least=0.1, group="limits")
    max_body_bytes: int = option(8 * 2**20, "longest request body", least=1, metavar="SIZE", group="limits")
    max_prompts: int = option(256, "prompts in one completions request", least=1, group="limits")
    max_choices: int = option(1024, "prompts times n in one request", least=1, group="limits")

    max_n: int = option(MAX_N, "choices per prompt", least=1, most=MAX_N, group="limits")
    max_messages: int = option(
        MAX_MESSAGES, "messages in one conversation", least=1, most=MAX_MESSAGES, group="limits"
    )
    max_tools: int = option(128, "tools in one request", least=1, group="limits")
    max_schema_chars: int = option(
        MAX_SCHEMA_CHARS,
        "JSON of response_format, structured_outputs, and each of the tools",
        least=1,
        most=MAX_SCHEMA_CHARS,
        group="limits",
    )
    max_stop_strings: int = option(
        MAX_STOP_STRINGS, "stop strings", least=1, most=MAX_STOP_STRINGS, group="limits"
    )
    max_logit_bias: int = option(
        MAX_LOGIT_BIASES, "entries of logit_bias", least=1, most=MAX_LOGIT_BIASES, group="limits"
    )

    def __post_init__(self) -> None:
        check_settings(self)

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
