"""Block formats: the `gguf` package's dequantization is the oracle, on random bytes."""

import gguf
import numpy as np
import pytest

from gradus.models.checkpoint.gguf.repack import dequantize
from gradus.models.checkpoint.gguf.types import TENSOR_TYPES, TYPE_BY_NAME, UNREADABLE_TYPES
from tests.models.checkpoint.gguf.random_blocks import random_blocks

QUANTIZED = [tensor_type for tensor_type in TENSOR_TYPES if tensor_type.block_size > 1]


def test_the_table_of_types_is_that_of_the_gguf_package():
    for tensor_type in TENSOR_TYPES:
        kind = gguf.GGMLQuantizationType[tensor_type.name]
        assert tensor_type.id == kind
        assert gguf.GGML_QUANT_SIZES[kind] == (tensor_type.block_size, tensor_type.block_bytes)
    for number, name in UNREADABLE_TYPES.items():
        assert gguf.GGMLQuantizationType(number).name == name


@pytest.mark.parametrize("tensor_type", QUANTIZED, ids=lambda tensor_type: tensor_type.name)
def test_values_are_those_of_the_gguf_package(tensor_type):
    blocks = random_blocks(tensor_type, rows=64, blocks_per_row=3)
    found = dequantize(blocks, tensor_type, None, "x")
    expected = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[tensor_type.name])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_all_types_of_the_specification_that_are_promised():
    promised = "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K"
    assert sorted(promised.split()) == sorted(TYPE_BY_NAME)
