"""How fast this machine is at what decoding needs, in a few seconds and without a model's weights.

Two measurements: how fast memory is read, which no kernel can beat, and how fast the engine decodes with a
model of the same widths, but with made-up weights and only as many layers as are needed to be sure that they
come from memory. What is true of those layers is true of the rest.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

import gradus.backends.native._native as _native
from gradus.backends.attention import choose_attention
from gradus.backends.options import BackendOptions
from gradus.backends.registry import backend_class
from gradus.bench.estimate import ModelBytes, model_bytes
from gradus.config import EngineConfig
from gradus.engine.core import EngineCore
from gradus.errors import CheckpointError, ConfigError
from gradus.messages import EngineRequest
from gradus.models.checkpoint.base import RawTensor, StoredFile, StoredWidth, WeightDtype
from gradus.models.config import ModelConfig
from gradus.models.weights import expected_weights
from gradus.quantization.recipe import Width
from gradus.quantization.rtn import GROUP_SIZES, QuantizedMatrix
from gradus.sampling_params import SamplingParams

READ_BYTES = 1_500_000_000
READ_PASSES = 7
CUT_BYTES = 256 << 20  # of weights: several times a processor's caches
CUT_VOCAB = 16384
_BF16_HUNDREDTH = 0x3C24
_BLOCK = 16
_WARM_UP = 3  # steps


def memory_bandwidth(num_threads: int, free_memory: int) -> list[float]:
    """Bytes per second that `num_threads` threads read, in each of several passes.

    Reads 1.5 GB, or a quarter of `free_memory` where that is less.
    """
    num_bytes = max(1 << 20, min(READ_BYTES, free_memory // 4))
    return [num_bytes / seconds for seconds in _native.time_memory_reads(num_threads, num_bytes, READ_PASSES)]


def kernel_variants() -> list[str]:
    """The kernel variants that this CPU can run, best first."""
    return list(_native.available_variants())


def chosen_variant() -> str:
    """The kernel variant that the native backend uses; GRADUS_CPU in the environment names another.

    Raises:
        ConfigError: one that this CPU cannot run.
    """
    variants = kernel_variants()
    named = os.environ.get("GRADUS_CPU") or variants[0]
    if named not in variants:
        raise ConfigError(f"GRADUS_CPU is {named!r}; this CPU can run {', '.join(variants)}")
    return named


def cut_model(
    config: ModelConfig, weight_bytes: Callable[[ModelConfig], int], max_bytes: int = CUT_BYTES
) -> ModelConfig:
    """The same widths with fewer layers and a smaller vocabulary, if the model is larger than `max_bytes`."""
    if weight_bytes(config) <= max_bytes:
        return config
    smaller = replace(config, vocab_size=min(config.vocab_size, CUT_VOCAB))
    one, two = (weight_bytes(replace(smaller, num_layers=n)) for n in (1, 2))
    num_layers = 1 + max(0, max_bytes - one) // (two - one)
    return replace(smaller, num_layers=min(config.num_layers, num_layers))


@dataclass(frozen=True, slots=True)
class Prediction:
    """One stream's decode speed, from the rate at which a cut of the model got through its bytes."""

    cut: ModelBytes
    cut_layers: int
    bytes_per_token: int  # of the whole model
    rate: float  # bytes per second

    @property
    def tokens_per_second(self) -> float:
        return self.rate / self.bytes_per_token


class DecodeProbe:
    """A cut of a model, ready to decode one stream of `context` tokens through the engine."""

    def __init__(
        self, config: EngineConfig, model: ModelConfig, sizes: ModelBytes, num_threads: int, context: int
    ) -> None:
        self._context = context
        self._whole = sizes.read_at(context)

        def alike(other: ModelConfig) -> ModelBytes:
            formats = sizes.weight_dtype, sizes.kv_dtype, sizes.quantization, sizes.stored_width
            return model_bytes(other, *formats)

        self._model = cut_model(model, lambda cut: alike(cut).weights)
        self._sizes = alike(self._model)
        max_model_len = -(-(context + 4096) // _BLOCK) * _BLOCK
        scheduler = replace(config, max_num_batched_tokens=64, enable_chunked_prefill=True).scheduler(
            max_model_len
        )
        options = BackendOptions(
            weight_dtype=sizes.weight_dtype,
            num_threads=num_threads,
            max_num_batched_tokens=scheduler.max_num_batched_tokens,
            max_num_seqs=scheduler.max_num_seqs,
            max_model_len=max_model_len,
            block_size=_BLOCK,
            num_blocks=max_model_len // _BLOCK,
            kv_cache_dtype=sizes.kv_dtype,
            attention=choose_attention(config, sizes.kv_dtype, bool(sizes.stored_widths)),
            enforce_eager=config.enforce_eager,
            quantization=sizes.quantization,
            activations=config.activation_dtype,
        )
        self._backend = backend_class(config.backend)(
            self._model, _MadeUp(self._model, sizes.stored_width), options
        )
        self._core = EngineCore(self._backend, scheduler)
        self._num_requests = 0

    def measure(self, num_steps: int) -> Prediction:
        """Decode `num_steps` tokens, at most 2,048, around the context."""
        params = SamplingParams(temperature=0.0, max_tokens=num_steps + _WARM_UP, ignore_eos=True)
        self._num_requests += 1
        name = str(self._num_requests)
        prompt = [0] * max(1, self._context - num_steps // 2)
        self._core.add_request(
            EngineRequest(
                request_id=name, prompt_token_ids=prompt, params=params, max_tokens=num_steps + _WARM_UP
            )
        )
        num_tokens, start = 0, 0.0
        while num_tokens < num_steps + _WARM_UP:
            num_tokens += sum(len(update.new_token_ids) for update in self._core.step())
            if num_tokens == _WARM_UP and not start:
                start = time.perf_counter()
        seconds = (time.perf_counter() - start) / num_steps
        rate = self._sizes.read_at(self._context) / seconds
        return Prediction(self._sizes, self._model.num_layers, self._whole, rate)

    def close(self) -> None:
        self._backend.close()


class _MadeUp:
    """Implements `Checkpoint`: every weight is 0.01. The time that a product takes does not depend on it."""

    def __init__(self, config: ModelConfig, stored_width: StoredWidth) -> None:
        self._shapes = expected_weights(config)
        self._stored_width = stored_width

    def names(self) -> Any:
        return self._shapes.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self._shapes:
            raise CheckpointError(f"the checkpoint has no tensor named {name}")
        return self._shapes[name]

    def read(self, name: str) -> RawTensor:
        return RawTensor("bf16", _constant(self.shape(name)))

    def files(self) -> list[StoredFile]:
        return []

    def dtype(self, name: str) -> WeightDtype:
        return "bf16"

    def width(self, name: str) -> Width | None:
        return self._stored_width(name)

    def quantized(self, name: str, num_threads: int = 1) -> QuantizedMatrix | None:
        width = self.width(name)
        return None if width is None else _quantized_constant(self.shape(name), width)


@cache
def _constant(shape: tuple[int, ...]) -> Any:
    return np.full(shape, _BF16_HUNDREDTH, dtype=np.uint16)


@cache
def _quantized_constant(shape: tuple[int, ...], width: Width) -> QuantizedMatrix:
    outputs, inputs = shape
    size = GROUP_SIZES[width]
    num_groups = -(-inputs // size)
    hundredths = np.full((outputs, num_groups), 0.01, np.float16)
    if width == "int8":
        return QuantizedMatrix(np.ones((outputs, num_groups * size), np.int8), hundredths, None, inputs)
    codes = np.full((outputs, num_groups * size), 8, np.uint8)
    centres = hundredths if width == "int4" else None
    return QuantizedMatrix(codes, hundredths, centres, inputs)
