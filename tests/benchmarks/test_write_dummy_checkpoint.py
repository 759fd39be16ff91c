"""What other engines are given: the shape of the dummy model, and a tokenizer that works."""

import importlib.util
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from gradus.models.hf_config import load_model_config
from gradus.models.sources import DEMO_DIRECTORY, DUMMY_SHAPES

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "write_dummy_checkpoint.py"
spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

TEXT = "Hello there, 42 grüße 你好 🙂\n  indented"


@pytest.mark.parametrize("name", [name for name in DUMMY_SHAPES if name != "qwen3-30b-a3b"])
def test_the_configuration_says_what_the_dummy_is(name, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(script.config_fields(DUMMY_SHAPES[name])))
    assert load_model_config(path) == DUMMY_SHAPES[name]


def test_a_full_vocabulary_has_a_token_for_every_row_and_round_trips():
    raw = json.loads((DEMO_DIRECTORY / "tokenizer.json").read_text())
    num_special = len(raw["added_tokens"])
    script.fill_vocabulary(raw, 20_000, seed=1)
    tokenizer = Tokenizer.from_str(json.dumps(raw))
    assert tokenizer.get_vocab_size() == 20_000
    assert sorted(tokenizer.get_vocab().values()) == list(range(20_000))
    assert {token["id"] for token in raw["added_tokens"]} == set(range(20_000 - num_special, 20_000))
    assert tokenizer.decode(tokenizer.encode(TEXT).ids) == TEXT
    assert max(len(token) for token in raw["model"]["vocab"]) <= script.LONGEST_TOKEN
