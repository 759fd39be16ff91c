"""`generation_config.json`, and its fallback to `config.json`."""

import json
from pathlib import Path
from typing import Any

import pytest

from gradus.errors import CheckpointError, ConfigError
from gradus.models.generation_config import (
    GenerationDefaults,
    choose_generation_defaults,
    load_generation_defaults,
    parse_generation_defaults,
)


def test_published_file() -> None:
    published = {
        "bos_token_id": 151643,
        "do_sample": True,
        "eos_token_id": [151645, 151643],
        "pad_token_id": 151643,
        "temperature": 0.6,
        "top_k": 20,
        "top_p": 0.95,
        "transformers_version": "4.51.0",
    }
    expected = GenerationDefaults(eos_token_ids=(151645, 151643), temperature=0.6, top_p=0.95, top_k=20)
    assert parse_generation_defaults(published, {}) == expected


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        (7, 8, (7,)),
        ([7, 9, 7], 8, (7, 9)),
        (None, 8, (8,)),
        (None, [8, 9], (8, 9)),
        ([], 8, (8,)),
        (0, None, (0,)),
        (None, None, ()),
    ],
)
def test_end_of_sequence_tokens(generation: Any, config: Any, expected: tuple[int, ...]) -> None:
    defaults = parse_generation_defaults({"eos_token_id": generation}, {"eos_token_id": config})
    assert defaults.eos_token_ids == expected


def test_greedy_by_default_is_temperature_zero() -> None:
    assert parse_generation_defaults({"do_sample": False, "temperature": 0.7}, {}).temperature == 0.0
    assert parse_generation_defaults({"temperature": 0}, {}).temperature == 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eos_token_id", "</s>"),
        ("eos_token_id", [1, True]),
        ("eos_token_id", -1),
        ("eos_token_id", 2**31),
        ("eos_token_id", list(range(65))),
        ("temperature", -1),
        ("temperature", "hot"),
        ("top_p", 0),
        ("top_k", 2.5),
        ("do_sample", "no"),
        ("min_p", 1.5),
        ("repetition_penalty", 0),
        ("max_new_tokens", 0),
    ],
)
def test_wrong_types_are_named(field: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=field):
        parse_generation_defaults({field: value}, {})


def test_the_file_may_be_absent(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 3}))
    assert load_generation_defaults(tmp_path).eos_token_ids == (3,)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [4, 5]}))
    assert load_generation_defaults(tmp_path).eos_token_ids == (4, 5)


def test_recommendations_go_by_the_names_of_sampling_parameters() -> None:
    written = {"temperature": 0.7, "min_p": 0, "repetition_penalty": 1.05, "max_new_tokens": 300, "top_k": 20}
    defaults = parse_generation_defaults(written, {})
    assert defaults.sampling == {"temperature": 0.7, "top_k": 20, "min_p": 0.0, "repetition_penalty": 1.05}
    assert defaults.max_new_tokens == 300
    assert GenerationDefaults().sampling == {}


def test_the_users_choice_of_defaults(tmp_path: Path) -> None:
    own = GenerationDefaults(eos_token_ids=(3,), temperature=0.6, max_new_tokens=9)
    assert choose_generation_defaults("auto", own) is own
    assert choose_generation_defaults("vllm", own) == GenerationDefaults(eos_token_ids=(3,))
    with pytest.raises(ConfigError, match="auto, vllm, or a directory"):
        choose_generation_defaults(str(tmp_path), own)
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({"top_p": 0.5}))
    assert choose_generation_defaults(str(tmp_path), own) == GenerationDefaults(eos_token_ids=(3,), top_p=0.5)
    file.write_text(json.dumps({"eos_token_id": 8}))
    assert choose_generation_defaults(str(tmp_path), own).eos_token_ids == (8,)
