"""The project's own prompts, in tokens of a real tokenizer."""

import re

import pytest

from gradus.bench.workloads.registry import find_workload
from gradus.bench.workloads.standard_prompts import PROMPTS
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.models.sources import resolve_model
from gradus.text.hf_tokenizer import load_tokenizer


def test_prompts_are_three_and_in_chinese():
    assert len(set(PROMPTS)) == 3
    for prompt in PROMPTS:
        assert len(re.findall(r"[\u4e00-\u9fff]", prompt)) > 0.7 * len(prompt)


def test_the_tokenizer_counts_their_tokens():
    tokenizer = load_tokenizer(resolve_model(EngineConfig().model, seed=0).tokenizer_path, None)
    requests = find_workload("standard-prompts").with_tokenizer(tokenizer.encode).requests(0, 0)
    assert [tokenizer.decode(request.prompt) for request in requests] == list(PROMPTS)
    assert {request.output_len for request in requests} == {256}


def test_without_a_tokenizer_there_are_no_requests():
    workload = find_workload("standard-prompts")
    with pytest.raises(ConfigError, match="no tokenizer"):
        workload.requests(1000, 0)
    with pytest.raises(ConfigError, match="no tokenizer"):
        _ = workload.max_context
