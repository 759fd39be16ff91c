"""Which kernel attends: what a configuration stands for with a model, its KV cache and this CPU."""

import os

from gradus.config import EngineConfig
from gradus.errors import ConfigError

_FOUR_BITS = ("int4", "int4-all")


def choose_attention(config: EngineConfig, kv_cache_dtype: str, is_stored_quantized: bool) -> str:
    """ "int8", "bf16", "blocked" or "naive".

    kv_cache_dtype: "f16" or "f32"; is_stored_quantized: whether the model's file has quantized weights.

    Raises:
        ConfigError: int8 or bf16 was asked for where it cannot run.
    """
    if config.attention in ("blocked", "naive"):
        return config.attention
    if config.attention != "auto":
        _check_cpu_and_cache(config.attention, kv_cache_dtype)
        return config.attention
    rounds_activations = config.activation_dtype == "int8" and (
        config.quantization != "none" or is_stored_quantized
    )
    if config.backend == "native" and rounds_activations and kv_cache_dtype == "f16" and cpu_has_bf16():
        return "int8" if config.quantization in _FOUR_BITS else "bf16"
    return "blocked"


def cpu_has_bf16() -> bool:
    """Whether the native backend's kernels, which GRADUS_CPU may name, have attention in bf16 on this CPU,
    and with it attention in int8.

    Raises:
        ConfigError: GRADUS_CPU names kernels that this CPU cannot run.
    """
    import gradus.backends.native._native as _native

    try:
        return bool(_native.has_bf16_attention(os.environ.get("GRADUS_CPU", "")))
    except _native.SetupError as error:
        raise ConfigError(str(error)) from error


def _check_cpu_and_cache(attention: str, kv_cache_dtype: str) -> None:
    if kv_cache_dtype != "f16":
        raise ConfigError(
            f"attention is {attention}, but the KV cache is {kv_cache_dtype}; set kv_cache_dtype to f16, or "
            "attention to auto"
        )
    if not cpu_has_bf16():
        raise ConfigError(
            f"attention is {attention}, which needs a CPU with AVX512-BF16 and GRADUS_CPU unset or avx512; "
            "set attention to auto"
        )
