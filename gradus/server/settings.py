"""What a server's operator can set, apart from the engine. Knows nothing of HTTP frameworks.

A field more is a setting more: its flag, its variable and its key in a file follow (`gradus.options`).
"""

from dataclasses import dataclass

from gradus.options import check_settings, option
from gradus.sampling_params import MAX_LOGIT_BIASES, MAX_N, MAX_STOP_STRINGS
from gradus.text.chat_template import MAX_MESSAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server listens, whom it lets in, and what it accepts. Times are in seconds."""

    host: str = option("127.0.0.1", "address to listen on; the default is this machine only", group="server")
    port: int = option(8000, "0: any that is free", least=0, most=65535, group="server")
    uds: str | None = option(
        None, "listen on this Unix socket and on no port", metavar="PATH", group="server"
    )
    served_model_name: str | None = option(
        None, "what clients call the model", metavar="NAME", group="server"
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
    max_stop_strings: int = option(
        MAX_STOP_STRINGS, "stop strings", least=1, most=MAX_STOP_STRINGS, group="limits"
    )
    max_logit_bias: int = option(
        MAX_LOGIT_BIASES, "entries of logit_bias", least=1, most=MAX_LOGIT_BIASES, group="limits"
    )

    def __post_init__(self) -> None:
        check_settings(self)
