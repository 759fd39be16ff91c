"""What a model is, from its configuration and its checkpoint's headers: enough to plan, nothing is loaded.

Of a hub model that is not in the cache only the small files are fetched.
"""

from dataclasses import dataclass
from pathlib import Path

from gradus.errors import ModelNotFoundError
from gradus.models.checkpoint.base import StoredWidth, not_quantized
from gradus.models.config import ModelConfig
from gradus.models.hf_config import load_model_config
from gradus.models.hub import download_configuration, is_hub_name
from gradus.models.sources import resolve_model


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutline:
    """A model's name and shape.

    `has_weights` is False for a hub model whose weights have not been downloaded; then its configuration is
    all that is known, and where that names no type, f32 is assumed. `stored_width` is the checkpoint's
    `width`.
    """

    name: str
    kind: str  # demo, dummy, local, gguf or hub
    config: ModelConfig
    has_weights: bool
    is_quantized: bool = False
    stored_width: StoredWidth = not_quantized


def outline_model(model: str) -> ModelOutline:
    """Find out what `model` is.

    Raises:
        ModelNotFoundError, CheckpointError, UnsupportedModelError: as when it is loaded.
    """
    if is_hub_name(model) and not Path(model).is_dir():
        directory = download_configuration(model)
        if not (directory / "config.json").exists():
            raise ModelNotFoundError(f"{model} has no config.json on the hub, so Gradus cannot load it")
        if not any(directory.glob("model*.safetensors")):
            config = load_model_config(directory / "config.json")
            return ModelOutline(name=model, kind="hub", config=config, has_weights=False)
    source = resolve_model(model)
    return ModelOutline(
        name=source.name,
        kind=source.kind,
        config=source.config,
        has_weights=True,
        is_quantized=source.is_quantized,
        stored_width=source.checkpoint.width,
    )
