"""`generation_config.json`: which tokens end a sequence, and the sampling that a model's authors recommend.

Falls back to `config.json` for the end-of-sequence tokens. Applies nothing: requests bring their own
parameters, and whether the recommended ones become their defaults is the front end's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradus.errors import ConfigError
from gradus.models.hf_fields import Fields
from gradus.models.json_file import read_json_object

MAX_EOS_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """What the model's own files say about generating with it.

    Attributes:
        eos_token_ids: any of these ends a sequence; empty where the files name none.
        temperature, top_p, top_k, min_p, repetition_penalty: recommended sampling, None where not given;
            temperature is 0 (greedy) where the files say `"do_sample": false`.
        max_new_tokens: how much to generate where a request sets no limit.
    """

    eos_token_ids: tuple[int, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None

    @property
    def sampling(self) -> dict[str, Any]:
        """What is recommended, by the names of `SamplingParams`."""
        values = {name: getattr(self, name) for name in _RECOMMENDED}
        return {name: value for name, value in values.items() if value is not None}

    def without_sampling(self) -> "GenerationDefaults":
        """The ends of sequences alone."""
        return GenerationDefaults(eos_token_ids=self.eos_token_ids)


_RECOMMENDED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def load_generation_defaults(directory: Path) -> GenerationDefaults:
    """From `generation_config.json` and `config.json` in `directory`, of which the first may be absent.

    Raises:
        CheckpointError: a file is broken, or a field of the wrong type.
    """
    path = directory / "generation_config.json"
    generation = read_json_object(path) if path.exists() else {}
    return parse_generation_defaults(generation, read_json_object(directory / "config.json"))


def choose_generation_defaults(choice: str, own: GenerationDefaults) -> GenerationDefaults:
    """What `generation_config` of `EngineConfig` asks for, given the model's own.

    Raises:
        ConfigError: it is neither "auto" nor "vllm" nor a directory with a generation_config.json.
        CheckpointError: that file is broken.
    """
    if choice == "auto":
        return own
    if choice == "vllm":
        return own.without_sampling()
    path = Path(choice).expanduser() / "generation_config.json"
    if not path.is_file():
        raise ConfigError(
            f"generation_config is {choice!r:.200}; it must be auto, vllm, or a directory that has a "
            "generation_config.json"
        )
    given = parse_generation_defaults(read_json_object(path), {})
    return given if given.eos_token_ids else replace(given, eos_token_ids=own.eos_token_ids)


def parse_generation_defaults(
    generation: Mapping[str, Any], config: Mapping[str, Any], where: str = "generation_config.json"
) -> GenerationDefaults:
    """Of the two files' contents; `generation` goes first where both name end-of-sequence tokens.

    `where` names the first in messages.

    Raises:
        CheckpointError: names the field and its value.
    """
    fields = Fields(generation, where)
    eos = _token_ids(fields) or _token_ids(Fields(config, "config.json"))
    sampling: dict[str, Any] = {}
    if fields.raw("top_p") is not None:
        sampling["top_p"] = fields.number("top_p", 0.0, 1.0)
    if fields.raw("top_k") is not None:
        sampling["top_k"] = fields.integer("top_k", 0, 2**31 - 1)
    if fields.raw("min_p") is not None:
        sampling["min_p"] = fields.number("min_p", 0.0, 1.0, low_is_allowed=True)
    if fields.raw("repetition_penalty") is not None:
        sampling["repetition_penalty"] = fields.number("repetition_penalty", 0.0, 100.0)
    if fields.raw("max_new_tokens") is not None:
        sampling["max_new_tokens"] = fields.integer("max_new_tokens", 1, 2**31 - 1)
    if fields.raw("temperature") is not None:
        sampling["temperature"] = fields.number("temperature", 0.0, 100.0, low_is_allowed=True)
    if fields.raw("do_sample") is not None and not fields.flag("do_sample", default=True):
        sampling["temperature"] = 0.0
    return GenerationDefaults(eos_token_ids=eos, **sampling)


def _token_ids(fields: Fields) -> tuple[int, ...]:
    """`eos_token_id` as written: an integer, a list of them, or null."""
    value = fields.raw("eos_token_id")
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if len(ids) > MAX_EOS_TOKENS or not all(type(i) is int and 0 <= i < 2**31 for i in ids):
        raise fields.broken("eos_token_id", f"a token id or a list of at most {MAX_EOS_TOKENS} of them")
    return tuple(dict.fromkeys(ids))
