"""What others have published for the steps from static batches to 4-bit weights, to stand beside our figures.

Source: the targets of github.com/ASCII-S/folovllm (README.md and docs/technical_comparison.md), which takes
the same seven steps, for Qwen3-0.6B on an A100. They are its goals and nobody's measurements.
"""

from dataclasses import asdict, dataclass
from typing import Any

SOURCE = "github.com/ASCII-S/folovllm: README.md, docs/technical_comparison.md; Qwen3-0.6B on an A100; goals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A gain over the step before, as a ratio above 1.

    Attributes:
        figure: what gains: one of the path's figures, or of a switch the gain that its bound is about.
        switch: the switch on whose workload it is measured; None: on the path's.
        least, most: the published range; alike where one number was published.
        differs: why it may not be seen here.
    """

    figure: str
    least: float
    most: float
    differs: str
    switch: str | None = None

    def beside(self, measured: float) -> dict[str, Any]:
        """The target and what was measured; why it is not met, only where it is not."""
        is_met = measured >= self.least
        found = {**asdict(self), "measured": measured, "is_met": is_met}
        return {name: value for name, value in found.items() if name != "differs" or not is_met}


_ANOTHER_BASE = (
    "published against one request at a time, while the first step here is a static batch already; and on a "
    "CPU a step costs more with every sequence in it"
)
_SCORES = (
    "published for a GPU, whose memory the scores of naive attention have to pass; on a CPU they stay in its "
    "caches, and in short contexts attention is a small part of a step"
)

TARGETS = {
    "M2": (Target(figure="output_tokens_per_second", least=3.0, most=5.0, differs=_ANOTHER_BASE),),
    "M3": (
        Target(
            figure="kv_bytes_per_resident",
            least=2.0,
            most=2.0,
            differs="what paging saves is the longest sequence over the sequences' mean: here that is less",
        ),
    ),
    "M4": (
        Target(figure="output_tokens_per_second", least=1.5, most=2.0, differs=_SCORES),
        Target(figure="ttft_seconds", least=1.25, most=1.43, differs=_SCORES),
    ),
    "M5": (
        Target(
            figure="longest_gap_seconds",
            switch="chunked-prefill",
            least=2.0,
            most=2.0,
            differs="a chunk reads all weights again, which is most of a step's time where chunks are small",
        ),
    ),
    "M6": (
        Target(
            figure="ttft_seconds",
            switch="prefix-caching",
            least=3.0,
            most=10.0,
            differs="the gain is bounded by the work that is skipped, and steps have costs beside it",
        ),
    ),
    "M7": (
        Target(
            figure="output_tokens_per_second",
            least=1.2,
            most=1.5,
            differs="the model is so small that its weights are not what a step waits for",
        ),
        Target(
            figure="weight_bytes",
            least=4.0,
            most=4.0,
            differs="every group of 4-bit weights has a scale and a centre, and the head keeps 8 bits",
        ),
    ),
}
