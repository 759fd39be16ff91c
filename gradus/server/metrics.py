"""What a server counts, behind HTTP and gRPC alike: plain numbers, exported by `observe/exposition.py`.

What the engine counts itself (steps, preemptions, the prefix cache) is not counted again here. Everything is
added in the event loop's thread. Knows no exporter and no protocol.
"""

from dataclasses import dataclass, field
from typing import Literal

from gradus.errors import GradusError
from gradus.outputs import FinishReason
from gradus.server.observe.histogram import SECONDS, TOKENS, Histogram

GrpcDirection = Literal["received", "sent"]


def seconds() -> Histogram:
    return Histogram(SECONDS)


def tokens() -> Histogram:
    return Histogram(TOKENS)


@dataclass(slots=True)
class Metrics:
    """Cumulative since the server began. docs/observability.md defines each; times are in seconds."""

    num_prompt_tokens: int = 0
    num_cached_prompt_tokens: int = 0
    num_generated_tokens: int = 0
    num_finished: dict[FinishReason, int] = field(
        default_factory=lambda: {"stop": 0, "length": 0, "abort": 0, "error": 0}
    )
    num_rejections: dict[str, int] = field(default_factory=dict)
    num_grpc_messages: dict[GrpcDirection, int] = field(default_factory=lambda: {"received": 0, "sent": 0})
    time_to_first_token: Histogram = field(default_factory=seconds)
    inter_token_latency: Histogram = field(default_factory=seconds)
    time_per_output_token: Histogram = field(default_factory=seconds)
    e2e_latency: Histogram = field(default_factory=seconds)
    queue_time: Histogram = field(default_factory=seconds)
    prefill_time: Histogram = field(default_factory=seconds)
    decode_time: Histogram = field(default_factory=seconds)
    prompt_tokens: Histogram = field(default_factory=tokens)
    generation_tokens: Histogram = field(default_factory=tokens)

    def reject(self, error: GradusError) -> None:
        """Count a request that was not admitted, if the error is of a kind that has a `reason` for that."""
        if error.reason is not None:
            self.num_rejections[error.reason] = self.num_rejections.get(error.reason, 0) + 1

    def grpc_messages(self, direction: GrpcDirection, count: int = 1) -> None:
        """Count messages of gRPC streams and calls as they are read or written."""
        self.num_grpc_messages[direction] += count


def rejection_reasons() -> list[str]:
    """Every reason that an error of this program can have, in alphabetical order."""
    found: set[str] = set()
    kinds = [GradusError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.reason is not None:
            found.add(kind.reason)
    return sorted(found)
