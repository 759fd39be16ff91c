"""What a user names as `model` -> everything needed to load it.

Accepts "demo" (embedded), "dummy:NAME" (a published shape with random weights), a local directory, a GGUF
file, and a Hugging Face hub name. Knows where files are; nothing of backends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gradus.errors import CheckpointError, ModelNotFoundError
from gradus.models.checkpoint.base import Checkpoint
from gradus.models.checkpoint.dummy import DummyCheckpoint
from gradus.models.checkpoint.gguf.checkpoint import GgufCheckpoint
from gradus.models.checkpoint.gguf.file import open_parts
from gradus.models.checkpoint.gguf.names import ROPE_FACTORS
from gradus.models.checkpoint.safetensors import open_safetensors
from gradus.models.config import ModelConfig
from gradus.models.dummy_shapes import DUMMY_SHAPES
from gradus.models.generation_config import GenerationDefaults, load_generation_defaults
from gradus.models.gguf_config import gguf_model_config, interleaved_head_dim
from gradus.models.gguf_generation import gguf_generation_defaults
from gradus.models.hf_config import load_model_config
from gradus.models.hub import download_model, is_hub_name
from gradus.models.weights import check_weights, expected_weights

DEMO_DIRECTORY = Path(__file__).parents[1] / "demo_model"
ACCEPTED = (
    'a model is "demo", "dummy:NAME" (such as dummy:qwen3-0.6b), a directory with config.json and '
    "safetensors weights, a .gguf file, or a Hugging Face hub name such as Qwen/Qwen3-0.6B"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model that was found and whose files are sound as far as their headers tell.

    Attributes:
        kind: where it comes from.
        name: what to call it, for people and in the HTTP API.
        tokenizer_path: directory with the tokenizer's files, or the GGUF file that has it in its metadata.
        metadata: a GGUF file's; None of other sources.
    """

    kind: Literal["demo", "dummy", "local", "hub", "gguf"]
    name: str
    config: ModelConfig
    checkpoint: Checkpoint
    tokenizer_path: Path
    generation: GenerationDefaults
    metadata: Mapping[str, Any] | None = None

    @property
    def is_quantized(self) -> bool:
        """Whether some matrix is stored quantized."""
        return any(self.checkpoint.width(name) is not None for name in self.checkpoint.names())


def resolve_model(model: str, seed: int = 0) -> ModelSource:
    """Find `model` and open its files; `seed` is for dummy weights.

    Raises:
        ModelNotFoundError: nothing has this name; the message says what is accepted.
        CheckpointError, UnsupportedModelError: found, but broken or not supported.
    """
    if model == "demo":
        return _from_directory("demo", "demo", _demo_directory())
    if model.startswith("dummy:"):
        return _dummy(model, seed)
    try:
        path = Path(model).expanduser()
        if model and path.is_dir():
            return _from_directory("local", path.resolve().name, path)
        if model and path.suffix == ".gguf" and path.is_file():
            return _from_gguf(path)
        if model and path.exists():
            raise CheckpointError(
                f"{path} is a file; give a .gguf file, or the directory that holds config.json and the "
                "safetensors weights"
            )
    except (OSError, RuntimeError) as error:  # no permission, a name too long, a home directory of nobody's
        raise ModelNotFoundError(f"model {model!r:.200}: {error}; {ACCEPTED}") from error
    if is_hub_name(model):
        return _from_directory("hub", model, download_model(model))
    looks_local = model.startswith((".", "/", "~")) or "\\" in model or model.count("/") > 1
    reason = "there is no such directory or file" if looks_local else "neither a directory nor a hub name"
    raise ModelNotFoundError(f"model {model!r}: {reason}; {ACCEPTED}")


def _from_directory(kind: Literal["demo", "local", "hub"], name: str, directory: Path) -> ModelSource:
    path = directory / "config.json"
    if not path.exists():
        raise CheckpointError(f"{directory} has no config.json; {ACCEPTED}")
    config = load_model_config(path)  # before the weights: an unsupported model is refused as such
    checkpoint = open_safetensors(directory)
    check_weights(config, checkpoint)
    # A configuration that names no type means the type that is stored.
    config = load_model_config(path, stored_dtype=checkpoint.dtype("model.embed_tokens.weight"))
    return ModelSource(
        kind=kind,
        name=name,
        config=config,
        checkpoint=checkpoint,
        tokenizer_path=directory,
        generation=load_generation_defaults(directory),
    )


def _from_gguf(path: Path) -> ModelSource:
    files = open_parts(path)
    first, where = files[0], str(files[0].path)
    checkpoint = GgufCheckpoint(files, interleaved_head_dim(first.metadata, where))
    factors = checkpoint.read(ROPE_FACTORS).array if ROPE_FACTORS in checkpoint.names() else None
    shapes = {name: checkpoint.shape(name) for name in checkpoint.names()}
    config = gguf_model_config(first.metadata, shapes, _plain_dtype(checkpoint), factors, where)
    check_weights(config, checkpoint)
    _check_all_read(config, checkpoint, where)
    return ModelSource(
        kind="gguf",
        name=path.name.removesuffix(".gguf"),
        config=config,
        checkpoint=checkpoint,
        tokenizer_path=first.path,
        generation=gguf_generation_defaults(first.metadata, where),
        metadata=first.metadata,
    )


def _plain_dtype(checkpoint: GgufCheckpoint) -> str:
    """The type that holds all matrices that are not quantized; f16 where all are."""
    names = [name for name in checkpoint.names() if len(checkpoint.shape(name)) == 2]
    found = {checkpoint.dtype(name) for name in names if checkpoint.width(name) is None}
    return found.pop() if len(found) == 1 else "f32" if found else "f16"


def _check_all_read(config: ModelConfig, checkpoint: Checkpoint, where: str) -> None:
    """A GGUF file has what its model reads and nothing else; anything else would change the result."""
    unread = set(checkpoint.names()) - expected_weights(config).keys() - {ROPE_FACTORS}
    if unread:
        raise CheckpointError(
            f"{where} has {len(unread)} tensors that {config.architecture} does not read, such as "
            f"{min(unread)}"
        )


def _demo_directory() -> Path:
    if not (DEMO_DIRECTORY / "config.json").exists():
        raise ModelNotFoundError(
            f"this installation lacks the embedded demo model ({DEMO_DIRECTORY}); reinstall gradus, or "
            "train one with tools/train_demo_model.py"
        )
    return DEMO_DIRECTORY


def _dummy(model: str, seed: int) -> ModelSource:
    """`dummy:NAME` or `dummy:NAME?layers=N`."""
    name, has_query, query = model.removeprefix("dummy:").partition("?")
    if name not in DUMMY_SHAPES:
        raise ModelNotFoundError(
            f"there is no dummy model {name!r}; there are "
            f"{', '.join(f'dummy:{known}' for known in DUMMY_SHAPES)}"
        )
    config = DUMMY_SHAPES[name]
    if has_query:
        config = replace(config, num_layers=_layers(model, query, config.num_layers))
    directory = _demo_directory()
    return ModelSource(
        kind="dummy",
        name=model,
        config=config,
        checkpoint=DummyCheckpoint(config, seed),
        tokenizer_path=directory,
        generation=load_generation_defaults(directory),
    )


def _layers(model: str, query: str, most: int) -> int:
    key, _, value = query.partition("=")
    if key != "layers" or not (
        value.isascii() and value.isdigit() and len(value) < 5 and 1 <= int(value) <= most
    ):
        raise ModelNotFoundError(
            f"model {model!r}: after the question mark, only layers=1 to layers={most} is understood"
        )
    return int(value)
