"""Which architectures exist: `architectures[0]` of `config.json` -> a function over `Ops`, imported late."""

from collections.abc import Callable
from importlib import import_module

from gradus.errors import UnsupportedModelError
from gradus.models.config import ModelConfig
from gradus.models.ops import Ops

ModelFunction = Callable[[Ops, ModelConfig], None]

_ARCHITECTURES: dict[str, str] = {
    "Qwen3ForCausalLM": "gradus.models.qwen3:qwen3",
}


def supported_architectures() -> list[str]:
    return sorted(_ARCHITECTURES)


def model_function(architecture: str) -> ModelFunction:
    """Raises:
    UnsupportedModelError: names the architecture and those that are supported.
    """
    if architecture not in _ARCHITECTURES:
        raise UnsupportedModelError(
            f"architecture {architecture!r} is not supported; "
            f"Gradus has {', '.join(supported_architectures())}"
        )
    module, _, name = _ARCHITECTURES[architecture].partition(":")
    return getattr(import_module(module), name)
