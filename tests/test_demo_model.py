"""The embedded model, through Gradus's own engine: it answers what it was never shown, and it is small."""

import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from gradus import LLM, SamplingParams
from gradus.bench.accuracy.held_out import load_questions

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "gradus" / "demo_model"
sys.path.insert(0, str(ROOT / "tools"))

from score_demo_model import score  # noqa: E402


@pytest.fixture(scope="module")
def llm():
    with LLM(model="demo") as model:
        yield model


@pytest.fixture(scope="module")
def accuracy(llm):
    def generate(prompts, max_tokens):
        params = SamplingParams(temperature=0, max_tokens=max_tokens)
        outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], params)
        return [output.outputs[0].token_ids for output in outputs]

    return score(load_questions(MODEL), AutoTokenizer.from_pretrained(MODEL), generate)


def test_enough_questions_are_held_out():
    assert len(load_questions(MODEL)) >= 500


def test_overall_accuracy_on_held_out_questions(accuracy):
    assert accuracy["overall"] >= 0.85


def test_accuracy_in_every_category(accuracy):
    assert {category: share for category, share in accuracy.items() if share < 0.70} == {}


def test_the_model_is_small_and_has_its_size(llm):
    assert sum(path.stat().st_size for path in MODEL.iterdir() if path.is_file()) < 16 * 2**20
    num_parameters = (MODEL / "model.safetensors").stat().st_size / 2  # bf16
    assert 3e6 < num_parameters < 8e6


def test_answers_in_chinese_and_emoji_stream_as_whole_characters(llm):
    prompt = llm.chat_prompt([{"role": "user", "content": "Draw 3 cats."}])
    params = SamplingParams(temperature=0, max_tokens=64)
    deltas = [delta.text for delta in llm.stream(prompt, params)]
    assert "".join(deltas) == llm.generate(prompt, params)[0].outputs[0].text
    assert "🐱" in "".join(deltas)
    assert not any("�" in delta for delta in deltas)
