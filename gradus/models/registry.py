"""Which architectures exist: `architectures[0]` of `config.json` -> the functions that make one.

They are imported when asked for.

An architecture is one file: a function over `Ops`, and beside it, named like it with `_config` at the end,
the function that reads its `config.json`.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from gradus.errors import UnsupportedModelError
from gradus.models.config import ModelConfig
from gradus.models.hf_fields import Fields
from gradus.models.ops import Ops

ModelFunction = Callable[[Ops, ModelConfig], None]
ConfigFunction = Callable[[Fields, str], ModelConfig]

_ARCHITECTURES: dict[str, str] = {
    "Gemma2ForCausalLM": "gradus.models.gemma2:gemma2",
    "Gemma3ForCausalLM": "gradus.models.gemma3:gemma3",
    "LlamaForCausalLM": "gradus.models.llama:llama",
    "MistralForCausalLM": "gradus.models.mistral:mistral",
    "Phi3ForCausalLM": "gradus.models.phi3:phi3",
    "Qwen2ForCausalLM": "gradus.models.qwen2:qwen2",
    "Qwen3ForCausalLM": "gradus.models.qwen3:qwen3",
    "Qwen3MoeForCausalLM": "gradus.models.qwen3_moe:qwen3_moe",
}


def supported_architectures() -> list[str]:
    return sorted(_ARCHITECTURES)


def model_function(architecture: str) -> ModelFunction:
    """Raises:
    UnsupportedModelError: names the architecture and those that are supported.
    """
    return _load(architecture, "")


def config_function(architecture: str) -> ConfigFunction:
    """What turns a `config.json` and the type of the stored weights into a `ModelConfig`.

    Raises:
        UnsupportedModelError: names the architecture and those that are supported.
    """
    return _load(architecture, "_config")


def _load(architecture: str, suffix: str) -> Any:
    if architecture not in _ARCHITECTURES:
        raise UnsupportedModelError(
            f"architecture {architecture!r} is not supported; "
            f"Gradus has {', '.join(supported_architectures())}"
        )
    module, _, name = _ARCHITECTURES[architecture].partition(":")
    return getattr(import_module(module), name + suffix)
