"""A model -> one GGUF file, tensor by tensor."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradus.errors import CheckpointError
from gradus.export.gguf_blocks import encode
from gradus.export.gguf_file import OutputTensor, write_gguf
from gradus.export.gguf_model import gguf_architecture, model_metadata, rope_factors, sampling_metadata
from gradus.export.gguf_recipe import FILE_TYPES, FileType, tensor_type_of
from gradus.export.gguf_tokenizer import tokenizer_metadata
from gradus.machine import available_cpus
from gradus.models.checkpoint.base import Checkpoint
from gradus.models.checkpoint.gguf.names import ROPE_FACTORS, gguf_name, interleaved_rows, is_rotated
from gradus.models.checkpoint.gguf.types import TYPE_BY_NAME
from gradus.models.config import ModelConfig
from gradus.models.sources import ModelSource
from gradus.models.weights import expected_weights

_CHUNK = 1 << 18  # elements encoded at a time
_LARGEST_F16 = 65504.0


def export_gguf(source: ModelSource, path: Path, file_type: str) -> None:
    """Write the model to `path`.

    file_type: a key of `gradus.export.gguf_recipe.FILE_TYPES`.

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
    tensor_type = tensor_type_of(name, shape, config, file_type)
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

        def encoded(start: int) -> NDArray[Any]:
            rows = raw.rows_as_float32(order[start : start + step])
            _check_finite(rows, name)
            return encode(rows, tensor_type.name)

        step = max(1, _CHUNK // shape[1])
        with ThreadPoolExecutor(available_cpus()) as threads:
            yield from threads.map(encoded, range(0, shape[0], step))

    return OutputTensor(written_name, shape, tensor_type, chunks)


def _check_finite(rows: NDArray[np.float32], name: str) -> None:
    """No type but F32 and BF16 holds more than F16 does, and blocks have scales in it."""
    largest = np.abs(rows).max(initial=0.0)
    if not largest <= _LARGEST_F16:
        raise CheckpointError(f"tensor {name} has the value {largest}; GGUF's types end at {_LARGEST_F16:,}")
