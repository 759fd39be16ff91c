"""Ends of sequences and recommended sampling from GGUF's metadata."""

import numpy as np

from gradus.models.generation_config import GenerationDefaults
from gradus.models.sources import resolve_model
from tests.gguf_files import SHAPE, write_model
from tests.models.test_gguf_config import QWEN3, convert


def test_a_converted_model_keeps_its_defaults(tmp_path, tiny_model_path):
    defaults = GenerationDefaults(
        eos_token_ids=(2, 0), temperature=0.6, top_p=0.95, top_k=20, min_p=0.05, repetition_penalty=1.1
    )
    assert convert(QWEN3, tmp_path, tiny_model_path, defaults)[1].generation == defaults


def test_ends_are_known_by_key_and_by_name(tmp_path):
    tokens = [f"token{i}" for i in range(SHAPE["vocab"])]
    tokens[5], tokens[6], tokens[7] = "<|im_end|>", "<|endoftext|>", "<|eot_id|>"
    kinds = np.ones(len(tokens), np.int32)
    kinds[[5, 7]] = 3  # the endoftext here is text like any other
    extra = {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds.tolist(),
        "tokenizer.ggml.eos_token_id": 9,
        "tokenizer.ggml.eom_token_id": 7,
    }
    source = resolve_model(str(write_model(tmp_path / "m.gguf", extra=extra)))
    assert source.generation == GenerationDefaults(eos_token_ids=(9, 7, 5))


def test_a_file_that_says_nothing(tmp_path):
    assert resolve_model(str(write_model(tmp_path / "m.gguf"))).generation == GenerationDefaults()
