"""`TorchBackend`: the reference. Slow and plain, so that it can be trusted.

Computes in f32 with weights rounded to the asked-for type, or quantized and dequantized again. The switches
`attention` and `enforce_eager` change nothing here, since there is one way of doing things; `num_threads`
does nothing either, since torch's threads are the whole process's. Unlike the native backend it does not
promise the same bits whatever shares a step.
"""

import numpy as np
import torch
from torch import Tensor

from gradus.backends.options import BackendOptions
from gradus.backends.sampling import sample
from gradus.backends.torch.ops import EagerOps
from gradus.batch import Batch, StepResult
from gradus.errors import BackendError
from gradus.models.checkpoint.base import Checkpoint
from gradus.models.config import ModelConfig
from gradus.models.registry import model_function
from gradus.models.weights import check_tied, expected_weights
from gradus.quantization.recipe import weight_width
from gradus.quantization.rtn import quantize

_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class TorchBackend:
    """Implements `Backend` on the CPU."""

    def __init__(self, config: ModelConfig, checkpoint: Checkpoint, options: BackendOptions) -> None:
        """Raises:
        CheckpointError, UnsupportedModelError: from reading the weights.
        """
        self._config = config
        self._options = options
        self._model = model_function(config.architecture)
        check_tied(config, checkpoint)
        self._weights = {name: _load(name, checkpoint, options) for name in expected_weights(config)}
        self._kv_cache = torch.zeros(
            (
                config.num_layers,
                2,
                options.num_blocks,
                options.block_size,
                config.num_kv_heads,
                config.head_dim,
            ),
            dtype=_DTYPES[options.kv_cache_dtype],
        )

    @property
    def block_size(self) -> int:
        return self._options.block_size

    @property
    def num_blocks(self) -> int:
        return self._options.num_blocks

    @property
    def vocab_size(self) -> int:
        return self._config.vocab_size

    @torch.inference_mode()
    def execute(self, batch: Batch) -> StepResult:
        """One step, op by op."""
        try:
            outputs = self._forward(batch)
        except (RuntimeError, IndexError) as error:
            raise BackendError(f"the torch backend failed in a step: {error}") from error
        result = sample(outputs["logits"], batch.sampling)
        result.logits = outputs["logits"] if batch.return_logits else None
        result.hidden = outputs["hidden"] if batch.return_hidden else None
        return result

    def close(self) -> None:
        self._weights = {}
        self._kv_cache = torch.empty(0)

    def _forward(self, batch: Batch) -> dict[str, np.ndarray]:
        """Returns the model's outputs, one row per output row, in f32."""
        source, destination = torch.from_numpy(batch.block_copies).long().unbind(-1)
        self._kv_cache[:, :, destination] = self._kv_cache[:, :, source]
        ops = EagerOps(self._weights, self._kv_cache, batch)
        self._model(ops, self._config)
        return {name: value.numpy() for name, value in ops.outputs.items()}


def _load(name: str, checkpoint: Checkpoint, options: BackendOptions) -> Tensor:
    """A weight in f32: rounded to the options' type, or quantized (now, or as stored) and dequantized."""
    stored_quantized = checkpoint.quantized(name)
    if stored_quantized is not None:
        return torch.from_numpy(stored_quantized.dequantize())
    raw = checkpoint.read(name)
    array = raw.array.view(np.int16) if raw.dtype == "bf16" else raw.array
    stored = torch.from_numpy(array.copy())  # a copy, since torch takes no read-only memory
    if raw.dtype == "bf16":
        stored = stored.view(torch.bfloat16)
    width = weight_width(name.removesuffix(".weight"), options.quantization) if stored.ndim == 2 else None
    if width is not None:
        return torch.from_numpy(quantize(stored.float().numpy(), width).dequantize())
    return stored.to(_DTYPES[options.weight_dtype]).float()
