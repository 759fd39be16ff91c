"""The comparison's rows as data: which workload, which figure, which weights on either side.

An engine is named as the command line names it (`--peer openvino=PYTHON`); its weights are the name of a file
or directory that `benchmarks/make_peer_weights.py` writes, or for Gradus also a number of bits.
"""

from dataclasses import dataclass
from typing import Literal

from gradus.bench.workloads.fixed import FixedWorkload
from gradus.bench.workloads.registry import FIXED_WORKLOADS
from gradus.errors import ConfigError

Measure = Literal["speed", "startup", "memory"]
STARTUP = FixedWorkload(name="startup", num_requests=1, concurrency=1, input_len=8, output_len=1)


@dataclass(frozen=True, slots=True)
class Side:
    """An engine and the weights that it runs."""

    engine: str
    weights: str

    @property
    def label(self) -> str:
        return f"{self.engine} {self.weights}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        measure: "speed": processes stay, rounds take turns; "startup", "memory": a fresh process each time.
        figure: a name in `Run.figures`, or "startup_seconds", or "peak_memory_bytes".
        goal: how many times better ours should be.
    """

    name: str
    workload: FixedWorkload
    figure: str
    ours: Side
    peers: tuple[Side, ...]
    goal: float
    measure: Measure = "speed"

    @property
    def lower_is_better(self) -> bool:
        return self.figure in ("ttft_seconds", "startup_seconds", "peak_memory_bytes")

    def num_rounds(self, asked: int) -> int:
        """How often each side is measured; a high-water mark once, since it has no noise to speak of."""
        return 1 if self.measure == "memory" else asked

    @property
    def sides(self) -> tuple[Side, ...]:
        return (self.ours, *self.peers)


GRADUS, SERVER = "gradus", "gradus-server"
LLAMA, LLAMA_SERVER, OPENVINO = "llama.cpp", "llama.cpp-server", "openvino"
TRANSFORMERS, VLLM = "transformers", "vllm"
PEER_ENGINES = (LLAMA, LLAMA_SERVER, OPENVINO, VLLM, TRANSFORMERS)

_OURS = Side(GRADUS, "4-bit")
_Q4 = Side(LLAMA, "q4_0.gguf")
_OPENVINO = Side(OPENVINO, "openvino-int8")
_K_MIX = "q4_k_m.gguf"
_16_BIT = Side(GRADUS, "16-bit")
_CHECKPOINT = (Side(VLLM, "hf"), Side(TRANSFORMERS, "hf"))


def _speed(
    name: str, workload: str, figure: str, goal: float, peers: tuple[Side, ...], ours: Side = _OURS
) -> Row:
    return Row(
        name=name, workload=FIXED_WORKLOADS[workload], figure=figure, ours=ours, peers=peers, goal=goal
    )


def _startup(name: str, ours: str, peer: str) -> Row:
    return Row(
        name=name,
        workload=STARTUP,
        figure="startup_seconds",
        ours=Side(ours, "4-bit"),
        peers=(Side(peer, "q4_0.gguf"),),
        goal=1.0,
        measure="startup",
    )


ROWS = {
    row.name: row
    for row in (
        _speed("decode-4bit", "decode", "decode_tokens_per_second", 1.3, (_Q4,)),
        _speed(
            "decode-8bit",
            "decode",
            "decode_tokens_per_second",
            1.2,
            (Side(LLAMA, "q8_0.gguf"),),
            Side(GRADUS, "8-bit"),
        ),
        _speed("ttft", "ttft", "ttft_seconds", 1.6, (_Q4,)),
        _speed("reference", "reference", "output_tokens_per_second", 2.0, (_OPENVINO, _Q4)),
        _speed(
            "reference-http",
            "reference",
            "output_tokens_per_second",
            3.0,
            (Side(LLAMA_SERVER, "q4_0.gguf"), Side(LLAMA_SERVER, "q8_0.gguf")),
            Side(SERVER, "4-bit"),
        ),
        _speed("prefill-512", "prefill-512", "ttft_seconds", 1.6, (_OPENVINO, _Q4)),
        _speed("prefill-2048", "prefill-2048", "ttft_seconds", 1.6, (_OPENVINO, _Q4)),
        _speed("wide", "wide", "output_tokens_per_second", 2.0, (_OPENVINO, _Q4)),
        _speed("long-context-decode", "long-context", "decode_tokens_per_second", 1.0, (_Q4, _OPENVINO)),
        _speed("long-context-ttft", "long-context", "ttft_seconds", 1.0, (_Q4, _OPENVINO)),
        _speed(
            "reference-q4_k_m",
            "reference",
            "output_tokens_per_second",
            2.0,
            (Side(LLAMA, _K_MIX),),
            Side(GRADUS, _K_MIX),
        ),
        _speed(
            "reference-q4_k_m-http",
            "reference",
            "output_tokens_per_second",
            2.0,
            (Side(LLAMA_SERVER, _K_MIX),),
            Side(SERVER, _K_MIX),
        ),
        _speed("decode-16bit", "decode", "decode_tokens_per_second", 1.0, _CHECKPOINT, _16_BIT),
        _speed("reference-16bit", "reference", "output_tokens_per_second", 1.0, _CHECKPOINT, _16_BIT),
        _startup("startup-http", SERVER, LLAMA_SERVER),
        _startup("startup", GRADUS, LLAMA),
        Row(
            name="memory",
            workload=FIXED_WORKLOADS["streams-1024"],
            figure="peak_memory_bytes",
            ours=_OURS,
            peers=(_Q4,),
            goal=1.0,
            measure="memory",
        ),
    )
}


def find_rows(names: str) -> list[Row]:
    """Rows by a comma-separated list of names; `all` of them.

    Raises:
        ConfigError: names those that exist.
    """
    wanted = list(ROWS) if names == "all" else [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in ROWS:
            raise ConfigError(f"there is no row {name!r}; there are {', '.join(ROWS)}, or all")
    return [ROWS[name] for name in wanted]
