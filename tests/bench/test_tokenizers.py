"""Finding a tokenizer by what users call a model."""

import pytest
from transformers import AutoTokenizer

from gradus.bench.tokenizers import find_tokenizer
from gradus.errors import ModelNotFoundError
from gradus.models.sources import DEMO_DIRECTORY


def test_a_directory_and_a_model_have_the_tokenizer_that_transformers_reads(tmp_path):
    theirs = AutoTokenizer.from_pretrained(DEMO_DIRECTORY)
    only = tmp_path / "only-a-tokenizer"
    only.mkdir()
    (only / "tokenizer.json").write_bytes((DEMO_DIRECTORY / "tokenizer.json").read_bytes())
    for name in ("demo", str(only)):
        assert find_tokenizer(name).encode("What is 17 plus 25?") == theirs.encode("What is 17 plus 25?")


def test_what_is_not_there_is_said():
    with pytest.raises(ModelNotFoundError, match="no-such"):
        find_tokenizer("./no-such-model")
