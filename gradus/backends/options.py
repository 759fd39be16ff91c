"""`BackendOptions`: what every backend is constructed with, besides a model config and its checkpoint."""

from dataclasses import dataclass


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
    attention: str  # blocked | naive
    enforce_eager: bool
