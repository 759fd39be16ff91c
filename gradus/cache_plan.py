"""How large the KV cache is and how it is cut, for a configuration, a model and the memory that is free.

Arithmetic only; the backend takes the memory.
"""

from dataclasses import dataclass

from gradus.backends.options import kv_bytes_per_token
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.memory_plan import working_bytes
from gradus.models.config import ModelConfig

SHARE_OF_FREE_MEMORY = 0.5  # of what the model leaves
_TILE = 16  # tokens; the attention kernel's unit, of which every block is a multiple


@dataclass(frozen=True, slots=True)
class CachePlan:
    """`num_blocks` blocks of `block_size` tokens, each of `token_bytes` bytes, and the longest sequence."""

    max_model_len: int
    dtype: str  # f16 | f32
    token_bytes: int
    block_size: int
    num_blocks: int

    @property
    def num_tokens(self) -> int:
        return self.num_blocks * self.block_size

    @property
    def num_bytes(self) -> int:
        return self.num_tokens * self.token_bytes


def weight_dtype(config: EngineConfig, model: ModelConfig) -> str:
    """f32, bf16 or f16: what was asked for, or the checkpoint's."""
    return model.dtype if config.weight_dtype == "auto" else config.weight_dtype


def plan_cache(config: EngineConfig, model: ModelConfig, free_memory: int, weight_bytes: int) -> CachePlan:
    """Size the KV cache, before the packed weights, `weight_bytes`, are in memory.

    It holds `max_num_seqs` sequences of full length or takes half of what weights and activations leave of
    `free_memory` (bytes), whichever is less, unless the configuration says how much. Where the model's
    context does not fit and none was asked for, the context shrinks to what does.

    Raises:
        ConfigError: the context that was asked for does not fit; says how many tokens do.
    """
    dtype = _kv_dtype(config, model)
    token_bytes = kv_bytes_per_token(model, dtype)
    is_paged = config.kv_layout == "paged"
    unit = config.block_size if is_paged else _TILE
    wanted = _wanted_context(config, model)
    slab = config.block_size if is_paged else _round_up(wanted, _TILE)
    left = max(0, free_memory - weight_bytes - working_bytes(model, config.num_batched_tokens(wanted)))
    fits = _budget(config, token_bytes, left, slab, _round_up(wanted, unit)) // unit * unit
    if fits < wanted and (config.max_model_len is not None or fits < unit):
        raise ConfigError(
            f"the KV cache holds {fits:,} tokens ({token_bytes:,} bytes each), but max_model_len is "
            f"{wanted:,}; lower max_model_len, or raise kv_cache_memory_bytes to {wanted * token_bytes:,}"
        )
    max_model_len = min(wanted, fits)
    block_size = config.block_size if is_paged else _round_up(max_model_len, _TILE)
    num_blocks = fits // block_size if is_paged else min(fits // block_size, config.max_num_seqs)
    return CachePlan(max_model_len, dtype, token_bytes, block_size, num_blocks)


def _budget(config: EngineConfig, token_bytes: int, left: int, slab: int, longest: int) -> int:
    """Tokens that the cache may hold; `slab` and `longest` are those of one block and of one sequence."""
    if config.num_kv_blocks is not None:
        return config.num_kv_blocks * slab
    if config.kv_cache_memory_bytes is not None:
        return config.kv_cache_memory_bytes // token_bytes
    return min(int(left * SHARE_OF_FREE_MEMORY) // token_bytes, config.max_num_seqs * longest)


def _kv_dtype(config: EngineConfig, model: ModelConfig) -> str:
    if config.kv_cache_dtype != "auto":
        return config.kv_cache_dtype
    is_exact = config.quantization == "none" and weight_dtype(config, model) == "f32"
    return "f32" if is_exact else "f16"


def _wanted_context(config: EngineConfig, model: ModelConfig) -> int:
    if config.max_model_len is None:
        return model.max_position_embeddings
    if config.max_model_len > model.max_position_embeddings:
        raise ConfigError(
            f"max_model_len is {config.max_model_len:,}, but the model's context is "
            f"{model.max_position_embeddings:,}; lower it to that or less"
        )
    return config.max_model_len


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
