"""The tokenizer alone of what a user names as a model; no weights are read, nor downloaded."""

from pathlib import Path

from gradus.models.hub import download_configuration, is_hub_name
from gradus.models.sources import resolve_model
from gradus.text.hf_tokenizer import load_tokenizer
from gradus.text.tokenizer import Tokenizer


def find_tokenizer(name: str) -> Tokenizer:
    """Of a directory with `tokenizer.json`, or of any model that Gradus could load.

    Raises:
        ModelNotFoundError, CheckpointError: there is none, or it cannot be read.
    """
    if (Path(name) / "tokenizer.json").is_file():
        return load_tokenizer(name)
    if is_hub_name(name) and not Path(name).is_dir():
        return load_tokenizer(download_configuration(name))
    source = resolve_model(name)
    if source.metadata is None:
        return load_tokenizer(source.tokenizer_path)
    from gradus.text.gguf_tokenizer import gguf_tokenizer

    return gguf_tokenizer(source.metadata, source.tokenizer_path)
