"""Puts the layers together: an `EngineConfig` becomes a model, a backend, an engine and its text processors.

The only place that knows all of them. `LLM` and `gradus serve` start here.
"""

from dataclasses import dataclass

from gradus.backends.options import BackendOptions, kv_bytes_per_token
from gradus.backends.registry import backend_class
from gradus.batch import Backend
from gradus.config import EngineConfig, SchedulerConfig
from gradus.engine.core import EngineCore
from gradus.errors import ConfigError
from gradus.machine import available_cpus, available_memory
from gradus.models.config import ModelConfig
from gradus.models.sources import ModelSource, resolve_model
from gradus.text.input_processor import InputProcessor
from gradus.text.tokenizer import Tokenizer

KV_SHARE_OF_FREE_MEMORY = 0.4
_TILE = 16  # tokens; the attention kernel's unit, of which every block is a multiple


@dataclass(frozen=True, slots=True)
class CachePlan:
    """How the KV cache is cut: `num_blocks` blocks of `block_size` tokens, `bytes` in all."""

    max_model_len: int
    block_size: int
    num_blocks: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Runtime:
    """A model that is ready to run."""

    source: ModelSource
    backend: Backend
    core: EngineCore
    tokenizer: Tokenizer
    inputs: InputProcessor
    cache: CachePlan

    @property
    def summary(self) -> str:
        """One line for people: what was loaded and how much it can hold."""
        cache = self.cache
        return (
            f"{self.source.name}: {self.source.config.architecture}, context {cache.max_model_len:,} tokens, "
            f"KV cache {cache.num_blocks * cache.block_size:,} tokens ({cache.bytes / 2**20:,.0f} MiB)"
        )

    def close(self) -> None:
        self.backend.close()


def load_runtime(config: EngineConfig) -> Runtime:
    """Load a model and make it ready.

    Raises:
        ModelError: the model cannot be found, read or supported.
        ConfigError: the configuration cannot work with this model on this machine.
    """
    source = resolve_model(config.model, seed=config.seed or 0)
    cache = plan_cache(config, source.config, available_memory())
    scheduler = config.scheduler(cache.max_model_len)
    tokenizer = Tokenizer.from_directory(source.tokenizer_path)
    options = _backend_options(config, source.config, scheduler, cache)
    backend = backend_class(config.backend)(source.config, source.checkpoint, options)
    inputs = InputProcessor(
        tokenizer,
        eos_token_ids=frozenset(source.generation.eos_token_ids),
        max_model_len=cache.max_model_len,
        vocab_size=source.config.vocab_size,
        seed=config.seed,
    )
    return Runtime(source, backend, EngineCore(backend, scheduler), tokenizer, inputs, cache)


def plan_cache(config: EngineConfig, model: ModelConfig, free_memory: int) -> CachePlan:
    """Size the KV cache.

    It holds `max_num_seqs` sequences of full length or takes 40 % of `free_memory` (bytes), whichever is
    less, unless the configuration says how much. Where the model's context does not fit and none was asked
    for, the context shrinks to what does.

    Raises:
        ConfigError: the context that was asked for does not fit; says how many tokens do.
    """
    token_bytes = kv_bytes_per_token(model, config.kv_cache_dtype)
    wanted_len = _wanted_context(config, model)
    if config.num_kv_blocks is not None and config.kv_layout == "paged":
        budget = config.num_kv_blocks * config.block_size
    elif config.num_kv_blocks is not None:
        budget = config.num_kv_blocks * _round_up(wanted_len, _TILE)
    else:
        memory = config.kv_cache_memory or int(free_memory * KV_SHARE_OF_FREE_MEMORY)
        budget = memory // token_bytes  # tokens
        if config.kv_cache_memory is None:
            budget = min(budget, config.max_num_seqs * _round_up(wanted_len, max(config.block_size, _TILE)))
    unit = config.block_size if config.kv_layout == "paged" else _TILE
    fits = budget // unit * unit
    if fits < wanted_len and (config.max_model_len is not None or fits < unit):
        raise ConfigError(
            f"the KV cache holds {fits:,} tokens ({token_bytes:,} bytes each), but max_model_len is "
            f"{wanted_len:,}; lower max_model_len, or raise kv_cache_memory to "
            f"{wanted_len * token_bytes:,} bytes"
        )
    max_model_len = min(wanted_len, fits)
    block_size = config.block_size if config.kv_layout == "paged" else _round_up(max_model_len, _TILE)
    num_blocks = budget // block_size
    if config.kv_layout == "contiguous":
        num_blocks = min(num_blocks, config.max_num_seqs)
    return CachePlan(max_model_len, block_size, num_blocks, num_blocks * block_size * token_bytes)


def _wanted_context(config: EngineConfig, model: ModelConfig) -> int:
    if config.max_model_len is None:
        return model.max_position_embeddings
    if config.max_model_len > model.max_position_embeddings:
        raise ConfigError(
            f"max_model_len is {config.max_model_len:,}, but the model's context is "
            f"{model.max_position_embeddings:,}; lower it to that or less"
        )
    return config.max_model_len


def _backend_options(
    config: EngineConfig, model: ModelConfig, scheduler: SchedulerConfig, cache: CachePlan
) -> BackendOptions:
    return BackendOptions(
        weight_dtype=model.dtype if config.weight_dtype == "auto" else config.weight_dtype,
        num_threads=config.num_threads or available_cpus(),
        max_num_batched_tokens=scheduler.max_num_batched_tokens,
        max_num_seqs=scheduler.max_num_seqs,
        max_model_len=cache.max_model_len,
        block_size=cache.block_size,
        num_blocks=cache.num_blocks,
        kv_cache_dtype=config.kv_cache_dtype,
        attention=config.attention,
        enforce_eager=config.enforce_eager,
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
