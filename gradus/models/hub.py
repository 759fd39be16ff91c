"""Models by their Hugging Face hub name: downloaded once, then found in the hub's own cache.

Only configuration, tokenizer and safetensors files are fetched: never code, never pickles. The small files
come first, so that an unsupported model is refused before its weights are downloaded. huggingface_hub is
imported on use, to keep start-up fast for everything else.
"""

import re
from pathlib import Path

from gradus.errors import ModelNotFoundError
from gradus.models.hf_config import load_model_config

SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
WEIGHT_FILES = ("model.safetensors", "model-*.safetensors")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_ELSEWHERE = (
    "Or download it on a machine that can (hf download {name} --local-dir DIRECTORY) and give the "
    "directory as the model"
)


def is_hub_name(name: str) -> bool:
    """Whether `name` has the form ORGANISATION/MODEL."""
    return _NAME.fullmatch(name) is not None and ".." not in name and "--" not in name


def download_model(name: str) -> Path:
    """The local directory of the hub model `name`, downloaded with a progress bar where it is not cached.

    Raises:
        ModelNotFoundError: not on the hub, not public, or not reachable and not cached; says what to do.
        CheckpointError, UnsupportedModelError: its config.json is broken or not supported.
    """
    directory = download_configuration(name)
    config = directory / "config.json"
    if not config.exists():
        raise ModelNotFoundError(
            f"{name} has no config.json on the hub, so it is not a model that Gradus can load"
        )
    load_model_config(config)
    return _snapshot(name, SMALL_FILES + WEIGHT_FILES)


def download_configuration(name: str) -> Path:
    """The same, but without the weights if they are not there yet.

    Raises:
        ModelNotFoundError: as `download_model`.
    """
    return _snapshot(name, SMALL_FILES)


def _snapshot(name: str, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    elsewhere = _ELSEWHERE.format(name=name)
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except GatedRepoError as error:  # before its base class, RepositoryNotFoundError
        raise ModelNotFoundError(
            f"{name} is gated: accept its terms on its hub page, then set HF_TOKEN to a token of that "
            f"account. {elsewhere}"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFoundError(
            f"the hub has no public model {name}, and there is no such directory. Check the spelling; for a "
            "private model set HF_TOKEN"
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelNotFoundError(
            f"{name} is not in the local cache, and {_why_offline()}. Connect to the network. {elsewhere}"
        ) from error
    except Exception as error:  # the HTTP client's own types differ between versions of huggingface_hub
        raise ModelNotFoundError(
            f"{name} could not be downloaded: {type(error).__name__}: {error}. Try again. {elsewhere}"
        ) from error


def _why_offline() -> str:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, which forbids downloads"
    return "the hub cannot be reached"
