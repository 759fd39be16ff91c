"""Blocks of random bytes whose f16 numbers are of the size that weights have."""

import numpy as np

from gradus.models.checkpoint.gguf.types import TensorType

# Where each type has its f16 numbers.
_HALVES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}


def random_blocks(
    tensor_type: TensorType, rows: int, blocks_per_row: int, seed: int = 0, scale: float = 0.01
) -> np.ndarray:
    """[rows, bytes of a row]; the numbers are normal, of both signs, with the standard deviation `scale`."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (rows * blocks_per_row, tensor_type.block_bytes), dtype=np.uint8)
    for offset in _HALVES[tensor_type.name]:
        numbers = random.normal(0, scale, (len(blocks), 1)).astype(np.float16)
        blocks[:, offset : offset + 2] = numbers.view(np.uint8)
    return blocks.reshape(rows, -1)
