"""What a user can set: frozen, checked at construction, with errors that say which values work.

`EngineConfig` is the flat set behind `LLM(...)` and the command line (`gradus.options` says how); it hands
the scheduler its own part. Knows nothing of the model; what depends on it is resolved where that is loaded.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from gradus.errors import ConfigError
from gradus.options import check_settings, option

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
        kv_cache_memory_bytes: bytes for the KV cache.
        num_kv_blocks: the same in blocks; excludes `kv_cache_memory_bytes`.
        kv_layout: "paged", or "contiguous" (a slab of max_model_len tokens per sequence, no prefix caching).
        quantization: "none", or weights of 8 or 4 bits: "int8", "int4" (its head has 8), "int4-all"
            (docs/quantization.md).
        activations: what quantized weights are multiplied by: "int8", "f32" (slower, more precise), or
            "auto": int8.
        packed_cache: keep packed weights on disk, and map them at the next start (docs/start-up.md).
        huge_pages: move mapped weights into huge pages where the file system keeps them in small ones.
        packed_cache_size: bytes that all cached files may take; default: $GRADUS_CACHE_SIZE, else 32 GiB.
        attention: what it multiplies in: "int8" (queries and keys in 8 bits, weights and values in bf16),
            "bf16" (both for f16 KV caches and CPUs with AVX512-BF16), "blocked" (f32), "naive" (scores in
            full, one head at a time), or "auto": where they run and products of quantized weights round
            activations to 8 bits anyway, int8 with "int4" and "int4-all", else bf16; elsewhere blocked.
        enforce_eager: run op by op instead of replaying the traced program.
        generation_config: where sampling defaults come from: "auto" (the model's generation_config.json),
            "vllm" (none: the neutral ones, as vLLM calls it), or a directory with such a file.
        chat_template: a file with a Jinja template, to use in place of the model's own.
        seed: of the stream of seeds for requests that bring none, and of dummy weights; None: drawn by
            the operating system, and 0 for dummy weights.
    """

    model: str = option("demo", "demo (embedded), dummy:NAME, a directory, a .gguf file, or a hub name")
    dtype: str = option("auto", "auto, float32, bfloat16 or float16", group="model")
    backend: Literal["native", "torch"] = option("native", "torch: the reference", group="model")
    num_threads: int | None = option(
        None, "compute threads (default: the CPUs it may use)", least=1, alias="threads", group="model"
    )
    max_model_len: int | None = option(None, "tokens (default: the model's context)", least=1, group="model")
    max_num_batched_tokens: int | None = option(
        None, "tokens in one step at most (default: 512)", least=1, group="scheduler"
    )
    max_num_seqs: int = option(64, "sequences at once at most", least=1, group="scheduler")
    enable_chunked_prefill: bool = option(
        True, "a prompt may be spread over several steps", alias="chunked-prefill", group="scheduler"
    )
    enable_prefix_caching: bool = option(
        True, "prompts that begin alike share their beginning", alias="prefix-caching", group="scheduler"
    )
    enable_jump_forward: bool = option(
        True,
        "tokens that a structured output leaves no choice about are not sampled",
        alias="jump-forward",
        group="scheduler",
    )
    batching: Literal["continuous", "static"] = option(
        "continuous", "static: admit only when nothing runs", group="scheduler"
    )
    scheduling: Literal["mixed", "separated"] = option(
        "mixed", "separated: prompts and outputs never share a step", group="scheduler"
    )
    scheduling_policy: Literal["fcfs", "priority"] = option("fcfs", "who is served first", group="scheduler")
    block_size: int = option(16, "tokens per KV block", choices=BLOCK_SIZES, group="KV cache")
    kv_cache_dtype: Literal["auto", "f16", "f32"] = option(
        "auto", "auto: f32 with f32 weights, else f16", group="KV cache"
    )
    kv_cache_memory_bytes: int | None = option(
        None, "of the KV cache, for example 2G or 512M", least=1, metavar="SIZE", group="KV cache"
    )
    num_kv_blocks: int | None = option(None, "the same in blocks", least=1, group="KV cache")
    kv_layout: Literal["paged", "contiguous"] = option(
        "paged", "contiguous: one slab per sequence", group="KV cache"
    )
    quantization: Literal["none", "int8", "int4", "int4-all"] = option(
        "none", "bits of the weights; int4 leaves the head 8", group="model"
    )
    activations: Literal["auto", "int8", "f32"] = option(
        "auto", "what quantized weights are multiplied by; auto is int8", group="model"
    )
    packed_cache: bool = option(True, "keep packed weights on disk for the next start", group="model")
    packed_cache_size: int | None = option(
        None,
        "of all that is kept on disk (default: $GRADUS_CACHE_SIZE, else 32G)",
        least=1,
        metavar="SIZE",
        group="model",
    )
    huge_pages: bool = option(True, "move mapped weights into huge pages", group="model")
    attention: Literal["auto", "int8", "bf16", "blocked", "naive"] = option(
        "auto", "what it multiplies in; blocked: f32; naive: the off path", group="model"
    )
    enforce_eager: bool = option(False, "run op by op, do not replay a program", group="model")
    generation_config: str = option(
        "auto",
        "of sampling defaults: auto (the model's file), vllm (none), or a directory with such a file",
        metavar="SOURCE",
        group="model",
    )
    chat_template: str | None = option(
        None, "a Jinja file to use in place of the model's", metavar="FILE", group="model"
    )
    seed: int | None = option(None, "of the seeds that requests without their own draw", group="model")

    def __post_init__(self) -> None:
        check_settings(self)
        if self.dtype not in DTYPE_ALIASES:
            raise ConfigError(f"dtype is {self.dtype!r}; it must be auto, float32, bfloat16 or float16")
        if self.activations == "int8" and self.backend == "torch":
            raise ConfigError("activations is int8, which the torch backend lacks; set it to f32 or auto")
        if self.attention in ("int8", "bf16") and self.backend == "torch":
            raise ConfigError(f"attention is {self.attention}, which the torch backend lacks; set it to auto")
        if self.kv_cache_memory_bytes is not None and self.num_kv_blocks is not None:
            raise ConfigError("kv_cache_memory_bytes and num_kv_blocks are both set; give one of them")

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
