"""GGUF's constants: magic and alignment, types of metadata values, types of tensors.

Source of the format: the GGUF specification in ggml's documentation, and ggml's table of types.
"""

from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"GGUF"
VERSION = 3
DEFAULT_ALIGNMENT = 32  # bytes; tensors begin at multiples of it
MAX_DIMENSIONS = 4


class ValueType(IntEnum):
    """Types of metadata values."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


@dataclass(frozen=True, slots=True)
class TensorType:
    """How a tensor's values are stored: in blocks of `block_size` elements along a row."""

    id: int
    name: str
    block_size: int
    block_bytes: int

    def num_bytes(self, num_elements: int) -> int:
        """Of `num_elements`, a multiple of the block size."""
        return num_elements // self.block_size * self.block_bytes


TENSOR_TYPES = (
    TensorType(0, "F32", 1, 4),
    TensorType(1, "F16", 1, 2),
    TensorType(2, "Q4_0", 32, 18),
    TensorType(3, "Q4_1", 32, 20),
    TensorType(6, "Q5_0", 32, 22),
    TensorType(7, "Q5_1", 32, 24),
    TensorType(8, "Q8_0", 32, 34),
    TensorType(10, "Q2_K", 256, 84),
    TensorType(11, "Q3_K", 256, 110),
    TensorType(12, "Q4_K", 256, 144),
    TensorType(13, "Q5_K", 256, 176),
    TensorType(14, "Q6_K", 256, 210),
    TensorType(30, "BF16", 1, 2),
)
"""Those that Gradus reads."""

TYPE_BY_ID = {tensor_type.id: tensor_type for tensor_type in TENSOR_TYPES}
TYPE_BY_NAME = {tensor_type.name: tensor_type for tensor_type in TENSOR_TYPES}

UNREADABLE_TYPES = {
    9: "Q8_1",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
}
"""Number -> name of those that it does not."""
