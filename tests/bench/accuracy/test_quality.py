"""Losses and perplexities against transformers' logits on the same tokens."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gradus import LLM
from gradus.bench.accuracy.quality import Text, greedy_answers, losses, perplexities
from gradus.models.sources import DEMO_DIRECTORY

TEXTS = [Text([5, 17, 300, 41], [9, 12, 2553]), Text([700, 80], [3, 2553])]


@pytest.fixture(scope="module")
def llm():
    with LLM("demo", dtype="float32", kv_cache_dtype="f32", max_model_len=64) as model:
        yield model


@pytest.fixture(scope="module")
def expected():
    network = AutoModelForCausalLM.from_pretrained(DEMO_DIRECTORY, dtype=torch.float32).eval()
    found = []
    for text in TEXTS:
        ids = torch.tensor([text.prompt + text.answer])
        with torch.no_grad():
            logits = network(ids).logits[0, :-1]
        found.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").numpy())
    return found


def test_losses_are_those_of_transformers(llm, expected):
    for ours, theirs in zip(losses(llm, TEXTS), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_perplexity_counts_the_answers_tokens_and_all_but_the_first(llm, expected):
    found = perplexities(TEXTS, losses(llm, TEXTS))
    answers = np.concatenate([expected[0][-3:], expected[1][-2:]])
    assert found["answers"] == pytest.approx(np.exp(answers.mean()), rel=1e-3)
    assert found["all_text"] == pytest.approx(np.exp(np.concatenate(expected).mean()), rel=1e-3)


def test_answers_are_greedy_and_of_so_many_tokens_at_most(llm):
    first, second = greedy_answers(llm, TEXTS, 3)
    assert 1 <= len(first) <= 3
    assert [first, second] == greedy_answers(llm, TEXTS, 3)
