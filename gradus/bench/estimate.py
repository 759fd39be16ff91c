"""Whether a model fits into memory and how many bytes it reads per token: arithmetic over its shapes."""

from dataclasses import dataclass

from gradus.backends.options import kv_bytes_per_token
from gradus.cache_plan import CachePlan, plan_cache, weight_dtype
from gradus.config import EngineConfig
from gradus.memory_plan import packed_sizes, working_bytes
from gradus.models.checkpoint.base import StoredWidth, not_quantized
from gradus.models.config import ModelConfig
from gradus.models.weights import expected_weights


@dataclass(frozen=True, slots=True)
class ModelBytes:
    """A model's sizes in bytes.

    Attributes:
        weights: packed, all of them.
        read_per_token: the weights that decoding one token reads; an embedding table that is not also the
            output layer gives only one row.
        kv_per_token: keys and values of one token in all layers.
        stored_width: of each tensor; that of a checkpoint which is quantized goes before `quantization`.
        stored_widths: the widths that the checkpoint has.
    """

    weight_dtype: str
    quantization: str
    kv_dtype: str
    weights: int
    read_per_token: int
    kv_per_token: int
    stored_width: StoredWidth = not_quantized
    stored_widths: tuple[str, ...] = ()

    def read_at(self, context: int) -> int:
        """Bytes that one step of one stream reads when the context has so many tokens."""
        return self.read_per_token + context * self.kv_per_token


def model_bytes(
    config: ModelConfig,
    weight_dtype: str,
    kv_dtype: str,
    quantization: str = "none",
    stored_width: StoredWidth = not_quantized,
) -> ModelBytes:
    """The sizes of a model in a weight format, `f32`, `bf16` or `f16`, with a KV cache of f32 or f16.

    quantization: `none`, or what the recipe's matrices have instead: `int8` or `int4`.
    stored_width: the checkpoint's `width`, where it is known.

    Raises:
        UnsupportedModelError: no such architecture.
    """
    sizes = packed_sizes(config, weight_dtype, quantization, stored_width)
    read = sum(int(size * _share_read(name, config)) for name, size in sizes.items())
    kv_per_token = kv_bytes_per_token(config, kv_dtype)
    stored = {width for name in expected_weights(config) if (width := stored_width(name)) is not None}
    return ModelBytes(
        weight_dtype,
        quantization,
        kv_dtype,
        sum(sizes.values()),
        read,
        kv_per_token,
        stored_width,
        tuple(sorted(stored)),
    )


def _share_read(name: str, config: ModelConfig) -> float:
    """How much of a weight decoding one token reads."""
    if name.endswith("embed_tokens.weight") and not config.tie_word_embeddings:
        return 0.0  # one row
    experts = getattr(config, "experts", None)  # only a mixture of experts has them
    return experts.top_k / experts.num_experts if experts is not None and ".experts." in name else 1.0


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a model fits into the memory that is free; all in bytes or tokens.

    Attributes:
        working: activations and logits of a step, roughly.
        cache: what loading it would do.
        max_kv_tokens: tokens that the cache could hold if it took everything that the rest leaves free.
    """

    free_memory: int
    sizes: ModelBytes
    working: int
    cache: CachePlan
    max_kv_tokens: int

    @property
    def needed(self) -> int:
        return self.sizes.weights + self.working + self.cache.num_bytes

    @property
    def fits(self) -> bool:
        return self.needed <= self.free_memory

    def concurrency(self, num_tokens: int, max_num_seqs: int) -> int:
        """Sequences of so many tokens that the planned cache holds at a time."""
        return min(self.cache.num_tokens // num_tokens, max_num_seqs)


def fit_model(
    config: EngineConfig, model: ModelConfig, free_memory: int, stored_width: StoredWidth = not_quantized
) -> Fit:
    """Plan a model as loading it would, in `free_memory` bytes.

    Raises:
        ConfigError: the context that was asked for does not fit; says how many tokens do.
    """
    dtype = weight_dtype(config, model)
    weights = sum(packed_sizes(model, dtype, config.quantization, stored_width).values())
    cache = plan_cache(config, model, free_memory, weights)
    sizes = model_bytes(model, dtype, cache.dtype, config.quantization, stored_width)
    working = working_bytes(model, config.scheduler(cache.max_model_len).max_num_batched_tokens)
    left = max(0, free_memory - weights - working)
    return Fit(free_memory, sizes, working, cache, left // sizes.kv_per_token)
