"""Puts the layers together: an `EngineConfig` becomes a model, a backend, an engine and its text processors.

The only place that knows all of them. `LLM` and `gradus serve` start here.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gradus.backends.attention import choose_attention
from gradus.backends.options import BackendOptions
from gradus.backends.registry import backend_class
from gradus.batch import Backend
from gradus.cache_plan import CachePlan, plan_cache, weight_dtype
from gradus.config import EngineConfig, SchedulerConfig
from gradus.disk_cache.folder import cache_size
from gradus.disk_cache.store import DiskCache
from gradus.engine.core import EngineCore
from gradus.errors import ConfigError
from gradus.machine import available_cpus, available_memory
from gradus.memory_plan import packed_sizes
from gradus.models.generation_config import choose_generation_defaults
from gradus.models.outline import ModelOutline
from gradus.models.sources import ModelSource, resolve_model
from gradus.structured.compiler import LlguidanceCompiler
from gradus.text.hf_tokenizer import load_tokenizer
from gradus.text.input_processor import InputProcessor
from gradus.text.stand_in import StandInEncoder
from gradus.text.tokenizer import Tokenizer

logger = logging.getLogger("gradus")


@dataclass(frozen=True, slots=True)
class Runtime:
    """A model that is ready to run."""

    source: ModelSource
    backend: Backend
    core: EngineCore
    tokenizer: Tokenizer
    inputs: InputProcessor
    cache: CachePlan
    weight_bytes: int  # in memory
    load_seconds: Mapping[str, float]  # by phase, in their order

    @property
    def summary(self) -> str:
        """One line for people: what was loaded and how much it can hold."""
        cache = self.cache
        return (
            f"{self.source.name}: {self.source.config.architecture}, context {cache.max_model_len:,} tokens, "
            f"weights {self.weight_bytes / 2**20:,.0f} MiB, "
            f"KV cache {cache.num_tokens:,} tokens ({cache.dtype}, {cache.num_bytes / 2**20:,.0f} MiB)"
        )

    def close(self) -> None:
        self.backend.close()


def load_runtime(config: EngineConfig) -> Runtime:
    """Load a model and make it ready.

    Raises:
        ModelError: the model cannot be found, read or supported.
        ConfigError: the configuration cannot work with this model on this machine.
    """
    clock = _PhaseClock()
    chat_template = _chat_template(config.chat_template)
    source = resolve_model(config.model, seed=config.seed or 0)
    check_quantization(config, source)
    weight_bytes = _weight_bytes(config, source)
    cache = plan_cache(config, source.config, available_memory(), weight_bytes)
    if config.max_model_len is None and cache.max_model_len < source.config.max_position_embeddings:
        logger.warning(
            "the KV cache holds %s tokens, so the context is that and not the model's %s; more memory or "
            "blocks for the cache would lift it",
            f"{cache.max_model_len:,}",
            f"{source.config.max_position_embeddings:,}",
        )
    scheduler = config.scheduler(cache.max_model_len)
    generation = choose_generation_defaults(config.generation_config, source.generation)
    clock.end("source")
    tokenizer = _tokenizer(config, source)
    tokenizer.start_loading()  # beside the weights
    options = _backend_options(config, source, scheduler, cache)
    backend = backend_class(config.backend)(source.config, source.checkpoint, options)
    clock.end("weights")
    tokenizer.load()  # waits, and raises what is wrong with it
    clock.end("rest_of_tokenizer")
    eos_token_ids, vocab_size = frozenset(generation.eos_token_ids), source.config.vocab_size
    inputs = InputProcessor(
        tokenizer,
        eos_token_ids=eos_token_ids,
        max_model_len=cache.max_model_len,
        vocab_size=vocab_size,
        seed=config.seed,
        sampling_defaults=generation.sampling,
        max_new_tokens=generation.max_new_tokens,
        grammars=LlguidanceCompiler(tokenizer, vocab_size=vocab_size, end_token_ids=eos_token_ids),
        chat_template=chat_template,
    )
    core = EngineCore(backend, scheduler)
    clock.end("engine")
    return Runtime(source, backend, core, tokenizer, inputs, cache, weight_bytes, clock.seconds)


class _PhaseClock:
    """Seconds of each phase, from the end of the one before it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = now - self._last
        self._last = now


def _chat_template(path: str | None) -> str | None:
    """The text of the operator's own template."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"chat_template is {path!r}, which cannot be read: {error}; give a file with a Jinja template"
        ) from error


def _weight_bytes(config: EngineConfig, source: ModelSource) -> int:
    """What the weights will take; the torch backend holds all of them in f32."""
    if config.backend == "torch":
        return sum(packed_sizes(source.config, "f32").values())
    dtype, width = weight_dtype(config, source.config), source.checkpoint.width
    return sum(packed_sizes(source.config, dtype, config.quantization, width).values())


def check_quantization(config: EngineConfig, source: ModelSource | ModelOutline) -> None:
    """Weights are quantized once: by whoever made the file, or now.

    Raises:
        ConfigError: quantization or 8-bit activations were asked for where they have no place.
    """
    if config.quantization != "none" and source.is_quantized:
        raise ConfigError(
            f"quantization is {config.quantization}, but the weights of {source.name} are stored quantized; "
            "leave it at none, or use a file with weights in F32, F16 or BF16"
        )
    if config.activations == "int8" and config.quantization == "none" and not source.is_quantized:
        raise ConfigError(
            "activations is int8, but the weights are not quantized; set quantization to int8 or int4, or "
            "activations to f32"
        )


def _tokenizer(config: EngineConfig, source: ModelSource) -> Tokenizer:
    size = _packed_cache_size(config)
    cache = None if size is None else DiskCache(max_bytes=size)
    if source.kind == "dummy":
        return load_tokenizer(source.tokenizer_path).over(StandInEncoder)
    if source.metadata is None:
        return load_tokenizer(source.tokenizer_path, cache)
    from gradus.text.gguf_tokenizer import gguf_tokenizer

    return gguf_tokenizer(source.metadata, source.tokenizer_path, cache)


def _backend_options(
    config: EngineConfig, source: ModelSource, scheduler: SchedulerConfig, cache: CachePlan
) -> BackendOptions:
    return BackendOptions(
        weight_dtype=weight_dtype(config, source.config),
        num_threads=config.num_threads or available_cpus(),
        max_num_batched_tokens=scheduler.max_num_batched_tokens,
        max_num_seqs=scheduler.max_num_seqs,
        max_model_len=cache.max_model_len,
        block_size=cache.block_size,
        num_blocks=cache.num_blocks,
        kv_cache_dtype=cache.dtype,
        attention=choose_attention(config, cache.dtype, source.is_quantized),
        enforce_eager=config.enforce_eager,
        quantization=config.quantization,
        activations=config.activation_dtype,
        huge_pages=config.huge_pages,
        packed_cache_size=_packed_cache_size(config),
    )


def _packed_cache_size(config: EngineConfig) -> int | None:
    if not config.packed_cache:
        return None
    return cache_size() if config.packed_cache_size is None else config.packed_cache_size
