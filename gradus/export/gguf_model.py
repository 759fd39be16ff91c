"""`ModelConfig` -> GGUF's metadata, and the tensors that stand beside a model's own.

Source: the keys of the GGUF specification, and what llama.cpp reads of them.
"""

import numpy as np
from numpy.typing import NDArray

from gradus.errors import UnsupportedModelError
from gradus.export.gguf_file import MetadataValue
from gradus.models.config import ModelConfig
from gradus.models.generation_config import GenerationDefaults
from gradus.models.rope import LinearScaling, Llama3Scaling, Rope, YarnScaling, inverse_frequencies

_GGUF_ARCHITECTURES = {
    "Qwen3ForCausalLM": "qwen3",
    "Qwen2ForCausalLM": "qwen2",
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
}


def gguf_architecture(config: ModelConfig) -> str:
    """Raises:
    UnsupportedModelError: names the architecture and those that can be written.
    """
    if config.architecture not in _GGUF_ARCHITECTURES:
        raise UnsupportedModelError(
            f"architecture {config.architecture} is not written to GGUF; {', '.join(_GGUF_ARCHITECTURES)} are"
        )
    return _GGUF_ARCHITECTURES[config.architecture]


def model_metadata(config: ModelConfig, name: str, file_type: int) -> dict[str, MetadataValue]:
    """Everything but the tokenizer.

    Raises:
        UnsupportedModelError: GGUF has no key for something that changes the result.
    """
    architecture = gguf_architecture(config)
    values: dict[str, MetadataValue] = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": config.rope.theta,
        **_window(config, architecture),
        **_scaling(config.rope),
    }
    return {
        "general.architecture": architecture,
        "general.type": "model",
        "general.name": name,
        "general.file_type": file_type,
        "general.quantization_version": 2,
        **{f"{architecture}.{key}": value for key, value in values.items()},
    }


def sampling_metadata(defaults: GenerationDefaults) -> dict[str, MetadataValue]:
    """The recommended sampling, under llama.cpp's names."""
    names = {"temperature": "temp", "repetition_penalty": "penalty_repeat"}
    return {f"general.sampling.{names.get(key, key)}": value for key, value in defaults.sampling.items()}


def rope_factors(rope: Rope) -> NDArray[np.float32] | None:
    """What each pair's frequency is divided by, [head_dim / 2], for scalings that metadata cannot tell."""
    if not isinstance(rope.scaling, Llama3Scaling):
        return None
    plain = Rope(head_dim=rope.head_dim, theta=rope.theta)
    return inverse_frequencies(plain) / inverse_frequencies(rope)


def _window(config: ModelConfig, architecture: str) -> dict[str, MetadataValue]:
    if not config.windows:
        return {}
    window = config.windows[0]
    if architecture != "llama" or window is None or set(config.windows) != {window}:
        raise UnsupportedModelError(
            f"{config.architecture} has sliding windows in some layers, which GGUF has no key for"
        )
    return {"attention.sliding_window": window}


def _scaling(rope: Rope) -> dict[str, MetadataValue]:
    scaling = rope.scaling
    if scaling is None or isinstance(scaling, Llama3Scaling):
        return {}
    if isinstance(scaling, LinearScaling):
        return {"rope.scaling.type": "linear", "rope.scaling.factor": scaling.factor}
    usual = YarnScaling.magnitude(getattr(scaling, "factor", 1.0))
    if not isinstance(scaling, YarnScaling) or not scaling.truncate or rope.magnitude != usual:
        raise UnsupportedModelError(f"the rotary embedding's {scaling} cannot be told in GGUF's metadata")
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": scaling.factor,
        "rope.scaling.original_context_length": scaling.original_max_position_embeddings,
        "rope.scaling.yarn_beta_fast": scaling.beta_fast,
        "rope.scaling.yarn_beta_slow": scaling.beta_slow,
    }
