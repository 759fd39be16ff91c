"""How much memory a model takes: its packed weights, and what a step computes in. Arithmetic on its shapes.

Knows the native backend's packing: matrices padded to whole panels, quantized ones to whole groups, vectors
in f32. Measures nothing.
"""

import math

from gradus.models.checkpoint.base import StoredWidth, not_quantized
from gradus.models.config import ModelConfig
from gradus.models.weights import Shape, expected_weights
from gradus.quantization.recipe import weight_width
from gradus.quantization.rtn import GROUP_SIZES

PANEL = 16  # outputs side by side in a packed matrix; as in csrc/kernels/kernels.h
GROUP = 32  # inputs of quantized weights that are stored together
LOGITS_ROWS = 64  # rows whose logits exist at a time
ELEMENT_BYTES = {"f32": 4, "bf16": 2, "f16": 2}
CODE_BYTES = {"int8": GROUP, "int4": GROUP // 2, "int4_symmetric": GROUP // 2, "int4_g128": GROUP // 2}
FACTOR_BYTES = {"int8": 2, "int4": 4, "int4_symmetric": 2, "int4_g128": 2}  # of the inputs that share a scale


def packed_sizes(
    config: ModelConfig, dtype: str, quantization: str = "none", stored_width: StoredWidth = not_quantized
) -> dict[str, int]:
    """Bytes of every packed weight by its tensor's name; `stored_width` is a checkpoint's `width`.

    Raises:
        UnsupportedModelError: no such architecture.
    """
    return {
        name: _packed_bytes(
            shape, stored_width(name) or weight_width(name.removesuffix(".weight"), quantization) or dtype
        )
        for name, shape in expected_weights(config).items()
    }


def working_bytes(config: ModelConfig, rows: int) -> int:
    """Roughly what a step of so many rows needs: residual, norm, projections, MLP, and a tile of logits."""
    heads = (2 * config.num_heads + 2 * config.num_kv_heads) * config.head_dim
    widths = 3 * config.hidden_size + heads + 3 * config.intermediate_size
    return 4 * (rows * widths + min(LOGITS_ROWS, rows) * config.vocab_size)


def _packed_bytes(shape: Shape, weight_format: str) -> int:
    if len(shape) == 1:
        return 4 * shape[0]
    outputs = math.ceil(shape[0] / PANEL) * PANEL
    inputs = math.prod(shape[1:])
    if weight_format in ELEMENT_BYTES:
        return outputs * inputs * ELEMENT_BYTES[weight_format]
    codes = math.ceil(inputs / GROUP) * CODE_BYTES[weight_format]
    factors = math.ceil(inputs / GROUP_SIZES[weight_format]) * FACTOR_BYTES[weight_format]
    return outputs * (codes + factors)
