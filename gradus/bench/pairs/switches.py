"""The switches as data: what each side sets, on which workload, which figures matter, the gain's bound."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradus.bench.pairs.bounds import Bound, longest_gap, occupancy, resident_sequences, skipped_prefill
from gradus.bench.workloads.base import Workload
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.bench.workloads.long_prompt import LongPromptWorkload
from gradus.bench.workloads.shared_prefix import SharedPrefixWorkload
from gradus.bench.workloads.uniform import UniformWorkload
from gradus.errors import ConfigError

Settings = Mapping[str, Any]
"""Fields of `EngineConfig` and their values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One comparison.

    Attributes:
        sides: what each side sets; the first is the one that the others are compared with.
        common: what all sides set.
        headlines: the figures that it is about.
        same_tokens: all sides must generate the same tokens, bit for bit; else it is counted how many agree.
        bound: what the gain is held against, where there is an arithmetic for it.
    """

    name: str
    question: str
    sides: Mapping[str, Settings]
    common: Settings = field(default_factory=dict)
    workload: Workload
    headlines: tuple[str, ...]
    same_tokens: bool
    bound: Bound | None = None

    @property
    def settings(self) -> set[str]:
        """Fields of `EngineConfig` that it sets, and that nobody else may."""
        return set(self.common).union(*self.sides.values())


_STREAMS = FixedWorkload(name="streams", num_requests=16, concurrency=8, input_len=32, output_len=32)
_SPEED = ("output_tokens_per_second", "ttft_seconds", "tpot_seconds")


def _alone(num_seats: int) -> Settings:
    """For a switch other than prefix caching, with seats for what its workload has in flight."""
    return {"enable_prefix_caching": False, "max_num_seqs": num_seats}


_KV_TOKENS, _SLAB = 1536, 384  # what the KV cache holds, and the longest sequence


def _chunks(size: int) -> Settings:
    return {"enable_chunked_prefill": True, "max_num_batched_tokens": size}


_ALL = (
    Switch(
        name="batching",
        question="requests join and leave at every step, or as whole batches?",
        sides={"static": {"batching": "static"}, "continuous": {"batching": "continuous"}},
        common=_alone(8),
        workload=UniformWorkload(
            name="mixed-lengths-cpu",
            concurrency=None,
            num_requests=48,
            min_input_len=4,
            max_input_len=8,
            min_output_len=2,
            max_output_len=64,
        ),
        headlines=("output_tokens_per_second", "ttft_seconds", "e2e_p99_seconds", "num_steps"),
        same_tokens=True,
        bound=occupancy,
    ),
    Switch(
        name="kv-layout",
        question="KV memory in blocks, or a slab per sequence?",
        sides={
            "contiguous": {"kv_layout": "contiguous", "num_kv_blocks": _KV_TOKENS // _SLAB},
            "paged": {"kv_layout": "paged", "block_size": 16, "num_kv_blocks": _KV_TOKENS // 16},
        },
        # A step may take all prompts that fit into the memory, so that memory alone decides.
        common={**_alone(64), "max_model_len": _SLAB, "max_num_batched_tokens": _KV_TOKENS},
        workload=UniformWorkload(
            name="memory-bound-cpu",
            concurrency=None,
            num_requests=18,
            min_input_len=32,
            max_input_len=160,
            min_output_len=8,
            max_output_len=8,
        ),
        headlines=("num_resident_at_most", "kv_bytes_per_resident", "output_tokens_per_second"),
        same_tokens=True,
        bound=resident_sequences,
    ),
    Switch(
        name="attention",
        question="attention in blocks, or all scores at once?",
        sides={"naive": {"attention": "naive"}, "blocked": {"attention": "blocked"}},
        common=_alone(1),
        workload=FixedWorkload(
            name="long-prompts", num_requests=2, concurrency=1, input_len=768, output_len=8
        ),
        headlines=_SPEED,
        same_tokens=False,
    ),
    Switch(
        name="attention-products",
        question="attention multiplies in f32, or in 8 bits and bf16 where this CPU can?",
        sides={"f32": {"attention": "blocked"}, "auto": {"attention": "auto"}},
        common={**_alone(1), "quantization": "int4", "kv_cache_dtype": "f16"},
        workload=FixedWorkload(
            name="long-prompts", num_requests=2, concurrency=1, input_len=1536, output_len=8
        ),
        headlines=_SPEED,
        same_tokens=False,
    ),
    Switch(
        name="chunked-prefill",
        question="long prompts in chunks, or whole, while other requests are written?",
        sides={
            "whole": {"enable_chunked_prefill": False, "max_num_batched_tokens": 2064},  # with the streams
            "512": _chunks(512),
            "256": _chunks(256),
            "128": _chunks(128),
        },
        common=_alone(8),
        workload=LongPromptWorkload(
            name="long-prompt-among-streams",
            concurrency=None,
            num_streams=4,
            input_len=8,
            output_len=36,
            long_input_len=2000,
        ),
        headlines=("longest_gap_seconds", "itl_p99_seconds", "ttft_p99_seconds", "total_tokens_per_second"),
        same_tokens=True,
        bound=longest_gap,
    ),
    Switch(
        name="prefix-caching",
        question="prompts that begin alike share their beginning, or compute it each?",
        sides={"off": {"enable_prefix_caching": False}, "on": {"enable_prefix_caching": True}},
        common={"max_num_seqs": 4},
        workload=SharedPrefixWorkload(
            name="one-prefix-cpu",
            concurrency=1,
            num_requests=3,
            input_len=800,
            output_len=4,
            share_of_requests=1.0,
            share_of_prompt=0.8,
        ),
        headlines=(
            "ttft_seconds",
            "total_tokens_per_second",
            "num_computed_prompt_tokens",
            "prefix_cache_hit_rate",
        ),
        same_tokens=True,
        bound=skipped_prefill,
    ),
    Switch(
        name="quantization",
        question="weights in 8 or 4 bits, or as they are?",
        sides={
            "none": {"quantization": "none"},
            "int8": {"quantization": "int8"},
            "int4": {"quantization": "int4"},
        },
        common=_alone(8),
        workload=_STREAMS,
        headlines=(*_SPEED, "weight_bytes"),
        same_tokens=False,
    ),
    Switch(
        name="kv-dtype",
        question="keys and values in 16 bits, or in 32?",
        sides={"f32": {"kv_cache_dtype": "f32"}, "f16": {"kv_cache_dtype": "f16"}},
        common=_alone(8),
        workload=FixedWorkload(
            name="long-contexts", num_requests=4, concurrency=4, input_len=384, output_len=24
        ),
        headlines=(*_SPEED, "kv_held_bytes"),
        same_tokens=False,
    ),
    Switch(
        name="scheduling",
        question="prompts and running requests share steps, or never do?",
        sides={"separated": {"scheduling": "separated"}, "mixed": {"scheduling": "mixed"}},
        common=_alone(8),
        workload=UniformWorkload(
            name="coming-and-going",
            concurrency=8,
            num_requests=24,
            min_input_len=16,
            max_input_len=48,
            min_output_len=4,
            max_output_len=40,
        ),
        headlines=(*_SPEED, "longest_gap_seconds", "num_steps"),
        same_tokens=True,
    ),
    Switch(
        name="graphs",
        question="replay a traced and fused program, or run op by op?",
        sides={"eager": {"enforce_eager": True}, "program": {"enforce_eager": False}},
        common=_alone(8),
        workload=_STREAMS,
        headlines=_SPEED,
        same_tokens=True,
    ),
    Switch(
        name="block-size",
        question="how many tokens per KV block?",
        sides={str(size): {"block_size": size} for size in (16, 32, 64, 128)},
        common=_alone(8),
        workload=_STREAMS,
        headlines=(*_SPEED, "kv_held_bytes"),
        same_tokens=True,
    ),
    Switch(
        name="threads",
        question="all CPUs, or one?",
        sides={"one": {"num_threads": 1}, "all": {"num_threads": None}},
        common=_alone(8),
        workload=_STREAMS,
        headlines=_SPEED,
        same_tokens=True,
    ),
)

SWITCHES = {switch.name: switch for switch in _ALL}


def find_switch(name: str) -> Switch:
    """Raises:
    ConfigError: names those that exist.
    """
    if name not in SWITCHES:
        raise ConfigError(f"there is no switch {name!r}; there are {', '.join(SWITCHES)}")
    return SWITCHES[name]
