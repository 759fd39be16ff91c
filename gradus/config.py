"""What a user can set: frozen, checked at construction, with errors that say which values work.

`EngineConfig` is the flat set behind `LLM(...)` and the command line's flags; it hands the scheduler its own
part. Knows nothing of the model; what depends on it is resolved where the model is loaded.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from gradus.errors import ConfigError

BLOCK_SIZES = (16, 32, 64, 128)
DTYPE_ALIASES = {
    "auto": "auto",
    "float32": "f32",
    "float": "f32",
    "f32": "f32",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "float16": "f16",
    "half": "f16",
    "f16": "f16",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """How steps are filled.

    Attributes:
        max_model_len: longest sequence, prompt and output together, in tokens.
        max_num_batched_tokens: tokens computed in one step at most.
        max_num_seqs: sequences resident (holding KV blocks) at most.
        enable_chunked_prefill: a prompt may be spread over several steps.
        enable_prefix_caching: full KV blocks are found again by content.
        enable_jump_forward: tokens that a structured output leaves no choice about are not sampled.
        batching: "continuous" admits whenever there is room; "static" only when nothing runs.
        scheduling: "mixed" lets prompts and running sequences share a step; "separated" never does.
        policy: "fcfs" or "priority" (lower value first, then arrival).
    """

    max_model_len: int
    max_num_batched_tokens: int = 512
    max_num_seqs: int = 64
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = True
    enable_jump_forward: bool = True
    batching: Literal["continuous", "static"] = "continuous"
    scheduling: Literal["mixed", "separated"] = "mixed"
    policy: Literal["fcfs", "priority"] = "fcfs"

    def __post_init__(self) -> None:
        for name in ("max_model_len", "max_num_batched_tokens", "max_num_seqs"):
            _check_at_least(name, getattr(self, name), 1)
        _check_one_of("batching", self.batching, ("continuous", "static"))
        _check_one_of("scheduling", self.scheduling, ("mixed", "separated"))
        _check_one_of("policy", self.policy, ("fcfs", "priority"))
        if not self.enable_chunked_prefill and self.max_num_batched_tokens < self.max_model_len:
            raise ConfigError(
                "without chunked prefill a whole prompt must fit into one step, but max_num_batched_tokens "
                f"is {self.max_num_batched_tokens} and max_model_len is {self.max_model_len}; raise the "
                f"first to {self.max_model_len} or lower the second"
            )


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Everything that a user can set about one engine; None means "choose for this machine and model".

    Attributes:
        model: "demo" (embedded), "dummy:NAME" (published shape, random weights), a local directory,
            or a Hugging Face hub name.
        dtype: weight format: "auto" (the checkpoint's), "float32", "bfloat16" or "float16".
        backend: "native" (C++), or "torch" (reference; needs the dev or cuda extra).
        num_threads: compute threads; default: the CPUs this process may use.
        max_model_len: default: the model's own context.
        max_num_batched_tokens: default: 512, or max_model_len where chunked prefill is off.
        block_size: tokens per KV block: 16, 32, 64 or 128.
        kv_cache_dtype: "f16", "f32", or "auto": f32 with f32 weights, whose precision it keeps, else f16.
        kv_cache_memory: bytes for the KV cache.
        num_kv_blocks: the same in blocks; excludes `kv_cache_memory`.
        kv_layout: "paged", or "contiguous" (a slab of max_model_len tokens per sequence, no prefix caching).
        quantization: "none", or weights of 8 or 4 bits: "int8", "int4" (its head has 8), "int4-all"
            (docs/quantization.md).
        activations: what quantized weights are multiplied by: "int8", "f32" (slower, more precise), or
            "auto": int8.
        packed_cache: keep packed weights on disk, and map them at the next start (docs/start-up.md).
        huge_pages: move mapped weights into huge pages where the file system keeps them in small ones.
        packed_cache_size: bytes that all cached files may take; default: $GRADUS_CACHE_SIZE, else 32 GiB.
        attention: "blocked", or "naive" (scores in full, one head at a time).
        enforce_eager: run op by op instead of replaying the traced program.
        generation_config: where sampling defaults come from: "auto" (the model's generation_config.json),
            "vllm" (none: the neutral ones, as vLLM calls it), or a directory with such a file.
        seed: of the stream of seeds for requests that bring none, and of dummy weights; None: drawn by
            the operating system, and 0 for dummy weights.
    """

    model: str = "demo"
    dtype: str = "auto"
    backend: str = "native"
    num_threads: int | None = None
    max_model_len: int | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int = 64
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = True
    enable_jump_forward: bool = True
    batching: Literal["continuous", "static"] = "continuous"
    scheduling: Literal["mixed", "separated"] = "mixed"
    scheduling_policy: Literal["fcfs", "priority"] = "fcfs"
    block_size: int = 16
    kv_cache_dtype: Literal["auto", "f16", "f32"] = "auto"
    kv_cache_memory: int | None = None
    num_kv_blocks: int | None = None
    kv_layout: Literal["paged", "contiguous"] = "paged"
    quantization: Literal["none", "int8", "int4", "int4-all"] = "none"
    activations: Literal["auto", "int8", "f32"] = "auto"
    packed_cache: bool = True
    packed_cache_size: int | None = None
    huge_pages: bool = True
    attention: Literal["blocked", "naive"] = "blocked"
    enforce_eager: bool = False
    generation_config: str = "auto"
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_ALIASES:
            raise ConfigError(f"dtype is {self.dtype!r}; it must be auto, float32, bfloat16 or float16")
        _check_one_of("backend", self.backend, ("native", "torch"))
        _check_one_of("block_size", self.block_size, BLOCK_SIZES)
        _check_one_of("kv_cache_dtype", self.kv_cache_dtype, ("auto", "f16", "f32"))
        _check_one_of("kv_layout", self.kv_layout, ("paged", "contiguous"))
        _check_one_of("quantization", self.quantization, ("none", "int8", "int4", "int4-all"))
        _check_one_of("activations", self.activations, ("auto", "int8", "f32"))
        if self.activations == "int8" and self.backend == "torch":
            raise ConfigError("activations is int8, which the torch backend lacks; set it to f32 or auto")
        _check_one_of("attention", self.attention, ("blocked", "naive"))
        for name in (
            "num_threads",
            "max_model_len",
            "max_num_batched_tokens",
            "max_num_seqs",
            "kv_cache_memory",
            "num_kv_blocks",
            "packed_cache_size",
        ):
            if getattr(self, name) is not None:
                _check_at_least(name, getattr(self, name), 1)
        if self.kv_cache_memory is not None and self.num_kv_blocks is not None:
            raise ConfigError("kv_cache_memory and num_kv_blocks are both set; give one of them")

    @cached_property
    def weight_dtype(self) -> str:
        """ "auto", "f32", "bf16" or "f16"."""
        return DTYPE_ALIASES[self.dtype]

    @property
    def activation_dtype(self) -> str:
        """ "int8" or "f32": what weights are multiplied by that are quantized."""
        if self.activations != "auto":
            return self.activations
        return "f32" if self.backend == "torch" else "int8"

    def num_batched_tokens(self, max_model_len: int) -> int:
        """Tokens in one step at most, for a model whose longest sequence is `max_model_len` tokens."""
        if self.max_num_batched_tokens is not None:
            return self.max_num_batched_tokens
        return 512 if self.enable_chunked_prefill else max(512, max_model_len)

    def scheduler(self, max_model_len: int) -> SchedulerConfig:
        """The scheduler's part, for a model whose longest sequence is `max_model_len` tokens."""
        return SchedulerConfig(
            max_model_len=max_model_len,
            max_num_batched_tokens=self.num_batched_tokens(max_model_len),
            max_num_seqs=self.max_num_seqs,
            enable_chunked_prefill=self.enable_chunked_prefill,
            enable_prefix_caching=self.enable_prefix_caching and self.kv_layout == "paged",
            enable_jump_forward=self.enable_jump_forward,
            batching=self.batching,
            scheduling=self.scheduling,
            policy=self.scheduling_policy,
        )


def _check_one_of(name: str, value: Any, allowed: Collection[Any]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")


def _check_at_least(name: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ConfigError(f"{name} is {value!r}; it must be an integer of {low} or more")
