"""`BackendOptions`: what every backend is constructed with, besides a model config and its checkpoint."""

from dataclasses import dataclass

from gradus.models.config import ModelConfig

KV_DTYPE_BYTES = {"f16": 2, "f32": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """All resolved: nothing here means "choose for me".

    Every backend is constructed as `Backend(config: ModelConfig, checkpoint: Checkpoint, options)`.
    """

    weight_dtype: str  # f32 | bf16 | f16
    num_threads: int
    max_num_batched_tokens: int  # rows of a step at most; buffers are sized for it
    max_num_seqs: int
    max_model_len: int
    block_size: int  # tokens per KV block; the contiguous layout is one block per sequence
    num_blocks: int
    kv_cache_dtype: str  # f16 | f32
    attention: str  # int8 | bf16 | blocked | naive; native only
    enforce_eager: bool
    quantization: str = "none"  # none | int8 | int4: of the weights, by gradus/quantization/recipe.py
    activations: str = "f32"  # int8 | f32: what quantized weights are multiplied by; native only
    huge_pages: bool = True  # move mapped weights into huge pages where the file's are small
    packed_cache_size: int | None = None  # bytes of the disk cache; None: packed weights are not cached


def kv_bytes_per_token(config: ModelConfig, kv_cache_dtype: str) -> int:
    """Bytes that one token's keys and values take in the cache, all layers together."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * KV_DTYPE_BYTES[kv_cache_dtype]
