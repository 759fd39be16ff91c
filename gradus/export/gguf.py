"""A model -> one GGUF file, tensor by tensor: who gets which type, and in which order its rows go."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradus.errors import CheckpointError
from gradus.export.gguf_blocks import encode
from gradus.export.gguf_file import OutputTensor, write_gguf
from gradus.export.gguf_model import gguf_architecture, model_metadata, rope_factors, sampling_metadata
from gradus.export.gguf_tokenizer import tokenizer_metadata
from gradus.models.checkpoint.base import Checkpoint
from gradus.models.checkpoint.gguf.names import ROPE_FACTORS, gguf_name, interleaved_rows, is_rotated
from gradus.models.checkpoint.gguf.types import TYPE_BY_NAME, TensorType
from gradus.models.config import ModelConfig
from gradus.models.sources import ModelSource
from gradus.models.weights import expected_weights

_CHUNK = 1 << 20  # elements encoded at a time
_LARGEST_F16 = 65504.0


@dataclass(frozen=True, slots=True)
class FileType:
    """A file's `--type`: its number in the metadata, the type of most matrices, and that of the head."""

    id: int
    matrices: str
    head: str


FILE_TYPES = {
    "f32": FileType(0, "F32", "F32"),
    "f16": FileType(1, "F16", "F16"),
    "bf16": FileType(32, "BF16", "BF16"),
    "q8_0": FileType(7, "Q8_0", "Q8_0"),
    "q4_0": FileType(2, "Q4_0", "Q8_0"),
}


def export_gguf(source: ModelSource, path: Path, file_type: str) -> None:
    """Write the model to `path`.

    file_type: a key of `FILE_TYPES`.

    Raises:
        UnsupportedModelError, CheckpointError: the model cannot be told in GGUF; nothing is written.
    """
    config = source.config
    metadata = model_metadata(config, source.name, FILE_TYPES[file_type].id)
    metadata |= sampling_metadata(source.generation)
    metadata |= tokenizer_metadata(source.tokenizer_path, config.vocab_size, source.generation.eos_token_ids)
    tensors = [
        _tensor(name, shape, source.checkpoint, config, FILE_TYPES[file_type])
        for name, shape in expected_weights(config).items()
    ]
    factors = rope_factors(config.rope)
    if factors is not None:
        tensors.append(OutputTensor(ROPE_FACTORS, factors.shape, TYPE_BY_NAME["F32"], lambda: [factors]))
    write_gguf(path, metadata, tensors)


def _tensor(
    name: str, shape: tuple[int, ...], checkpoint: Checkpoint, config: ModelConfig, file_type: FileType
) -> OutputTensor:
    tensor_type = _type_of(name, shape, config, file_type)
    order = np.arange(shape[0])
    if gguf_architecture(config) == "llama" and is_rotated(name):
        order = interleaved_rows(shape[0], config.head_dim)
    written_name = gguf_name(name)
    assert written_name is not None, f"GGUF has no name for {name}"

    def chunks() -> Iterator[NDArray[Any]]:
        raw = checkpoint.read(name)
        if len(shape) == 1:
            yield raw.rows_as_float32(order)
            return
        step = max(1, _CHUNK // shape[1])
        for start in range(0, shape[0], step):
            rows = raw.rows_as_float32(order[start : start + step])
            _check_finite(rows, name)
            yield encode(rows, tensor_type.name)

    return OutputTensor(written_name, shape, tensor_type, chunks)


def _type_of(name: str, shape: tuple[int, ...], config: ModelConfig, file_type: FileType) -> TensorType:
    """Vectors are f32; a matrix whose rows are no whole number of blocks is f16."""
    if len(shape) == 1:
        return TYPE_BY_NAME["F32"]
    head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
    tensor_type = TYPE_BY_NAME[file_type.head if name == head else file_type.matrices]
    return tensor_type if shape[1] % tensor_type.block_size == 0 else TYPE_BY_NAME["F16"]


def _check_finite(rows: NDArray[np.float32], name: str) -> None:
    """No type but F32 and BF16 holds more than F16 does, and blocks have scales in it."""
    largest = np.abs(rows).max(initial=0.0)
    if not largest <= _LARGEST_F16:
        raise CheckpointError(f"tensor {name} has the value {largest}; GGUF's types end at {_LARGEST_F16:,}")
