"""What `gradus doctor` finds out: the machine, the kernels, whether a model fits, and how fast it should be.

Everything before a weight is loaded; the result is plain values, ready to be shown or written as JSON.
"""

import os
import time
from dataclasses import dataclass
from statistics import median
from typing import Any, get_args

from gradus.backends.attention import choose_attention
from gradus.bench.estimate import Fit, ModelBytes, fit_model, model_bytes
from gradus.bench.hardware import hardware
from gradus.bench.probe import DecodeProbe, Prediction, chosen_variant, kernel_variants, memory_bandwidth
from gradus.bench.statistics import spread
from gradus.config import EngineConfig
from gradus.errors import GradusError
from gradus.machine import available_cpus, available_memory
from gradus.models.checkpoint.base import WeightDtype
from gradus.models.outline import ModelOutline
from gradus.models.sources import DUMMY_SHAPES
from gradus.quantization.recipe import Width
from gradus.runtime import check_quantization

CONTEXT = 96  # tokens; the mean one of a request of 32 tokens in and 128 out
PROBE_TOKENS = 64
PROBE_RUNS = 3  # at least,
PROBE_SECONDS = 2.0  # and for so long
SHORT_REQUEST = 1024  # tokens


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured here: bytes free, threads that would compute, bytes per second of each pass."""

    free_memory: int
    num_threads: int
    bandwidths: list[float]

    @property
    def bandwidth(self) -> float:
        return median(self.bandwidths)


def measure_machine(config: EngineConfig) -> Machine:
    """Measure how fast memory is read by the threads that would compute."""
    free_memory = available_memory()
    num_threads = config.num_threads or available_cpus()
    return Machine(free_memory, num_threads, memory_bandwidth(num_threads, free_memory))


def describe_machine(machine: Machine) -> dict[str, Any]:
    """Machine and kernels."""
    variant = chosen_variant()
    return {
        "hardware": {
            **hardware(),
            "cpus_present": os.cpu_count(),
            "free_memory_bytes": machine.free_memory,
        },
        "memory_read": {
            "num_threads": machine.num_threads,
            "bytes_per_second": spread(machine.bandwidths),
        },
        "kernels": {
            "variant": variant,
            "available": kernel_variants(),
            "by_weight_type": dict.fromkeys([*get_args(WeightDtype), *get_args(Width)], variant),
        },
    }


def describe_sizes(machine: Machine) -> list[dict[str, Any]]:
    """For those who have not chosen a model: published sizes in bf16, and whether they would run here."""
    found = []
    for name, shape in DUMMY_SHAPES.items():
        sizes = model_bytes(shape, "bf16", "f16")
        found.append(
            {
                "name": name,
                "weight_bytes": sizes.weights,
                "fits": sizes.weights < machine.free_memory,
                "tokens_per_second_at_most": machine.bandwidth / sizes.read_at(CONTEXT),
            }
        )
    return found


def describe_model(machine: Machine, config: EngineConfig, outline: ModelOutline) -> dict[str, Any]:
    """Whether a model fits and how fast it should decode.

    Raises:
        ConfigError: the context that was asked for does not fit, or stored weights would be quantized again.
    """
    check_quantization(config, outline)
    fit = fit_model(config, outline.config, machine.free_memory, outline.stored_width)
    return {
        "name": outline.name,
        "kind": outline.kind,
        "architecture": outline.config.architecture,
        "weights_are_here": outline.has_weights,
        "memory": _memory(fit, config),
        "decode": _decode(machine, config, outline, fit),
    }


def _memory(fit: Fit, config: EngineConfig) -> dict[str, Any]:
    sizes, cache = fit.sizes, fit.cache
    return {
        "fits": fit.fits,
        "weight_dtype": sizes.weight_dtype,
        "quantization": sizes.quantization,
        "stored_widths": sizes.stored_widths,
        "activations": config.activation_dtype,
        "attention": choose_attention(config, sizes.kv_dtype, bool(sizes.stored_widths)),
        "weight_bytes": sizes.weights,
        "working_bytes": fit.working,
        "kv_cache_dtype": sizes.kv_dtype,
        "kv_bytes_per_token": sizes.kv_per_token,
        "kv_cache_tokens": cache.num_tokens,
        "kv_cache_bytes": cache.num_bytes,
        "needed_bytes": fit.needed,
        "kv_cache_tokens_at_most": fit.max_kv_tokens,
        "max_model_len": cache.max_model_len,
        "requests_of_full_length": fit.concurrency(cache.max_model_len, config.max_num_seqs),
        "requests_of_1024_tokens": fit.concurrency(SHORT_REQUEST, config.max_num_seqs),
    }


def _decode(machine: Machine, config: EngineConfig, outline: ModelOutline, fit: Fit) -> dict[str, Any]:
    num_bytes = fit.sizes.read_at(CONTEXT)
    found: dict[str, Any] = {
        "context": CONTEXT,
        "bytes_per_token": num_bytes,
        "tokens_per_second_at_memory_speed": machine.bandwidth / num_bytes,
    }
    try:
        predictions = _probe(machine, config, outline, fit.sizes)
    except (GradusError, MemoryError, ValueError) as error:
        return {**found, "no_prediction": str(error)}
    return {
        **found,
        "tokens_per_second": spread([prediction.tokens_per_second for prediction in predictions]),
        "bytes_per_second": spread([prediction.rate for prediction in predictions]),
        "measured_on": {
            "layers": predictions[0].cut_layers,
            "of_layers": outline.config.num_layers,
            "weight_bytes": predictions[0].cut.weights,
        },
    }


def _probe(
    machine: Machine, config: EngineConfig, outline: ModelOutline, sizes: ModelBytes
) -> list[Prediction]:
    probe = DecodeProbe(config, outline.config, sizes, machine.num_threads, CONTEXT)
    try:
        probe.measure(PROBE_TOKENS)  # warms up
        found: list[Prediction] = []
        start = time.monotonic()
        while len(found) < PROBE_RUNS or time.monotonic() - start < PROBE_SECONDS:
            found.append(probe.measure(PROBE_TOKENS))
        return found
    finally:
        probe.close()
