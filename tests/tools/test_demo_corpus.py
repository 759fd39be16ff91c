"""The demo model's corpus: held-out content stays out of training, and the shipped files fit its code."""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from demo_corpus import CATEGORIES, held_out_row, held_out_samples, is_held_out, training_stream  # noqa: E402
from demo_corpus.template import CHAT_TEMPLATE, render_prompt  # noqa: E402

from gradus.bench.accuracy.held_out import is_right  # noqa: E402

MODEL = ROOT / "gradus" / "demo_model"
NUM_TRAINING_SAMPLES = 20_000
SUM = re.compile(r"(\d+) ?(?:\+|plus|加) ?(\d+)|(?:Add|add) (\d+) and (\d+)")


@pytest.fixture(scope="module")
def held_out():
    return held_out_samples()


@pytest.fixture(scope="module")
def training():
    streams = (
        training_stream(seed=0),
        training_stream(seed=1, stage=1),
        training_stream(seed=0, stage=2, long=True),
    )
    return [s for stream in streams for s in itertools.islice(stream, NUM_TRAINING_SAMPLES // len(streams))]


def text_of(messages) -> str:
    return json.dumps(messages, ensure_ascii=False)


def test_every_category_has_enough_held_out_questions(held_out):
    for category in CATEGORIES:
        assert sum(sample.category == category for sample in held_out) >= 50
    assert (
        len({text_of(s.messages[:-1] + s.tools) + str(s.thinking) for s in held_out}) == len(held_out) >= 600
    )


def test_asked_contents_are_held_out_and_never_trained(held_out, training):
    trained = {content for sample in training for content in sample.contents}
    for sample in held_out:
        assert is_held_out(sample.contents[0])
        assert sample.contents[0] not in trained


def test_held_out_sums_occur_nowhere_in_training_text(held_out, training):
    """By the text itself, not by what the generators say about it: sums in any category and wording."""
    asked = {s.contents[0] for s in held_out if s.contents[0].startswith("add:")}
    assert len(asked) > 50
    for sample in training:
        for message in sample.messages:
            for groups in SUM.findall(str(message["content"])):
                low, high = sorted(int(number) for number in groups if number)
                # The columns of a written-out sum are sums of digits, which everyone must know.
                assert sample.thinking or f"add:{low},{high}" not in asked


@pytest.mark.parametrize("category", ["translation", "case", "facts", "greetings", "refusal"])
def test_held_out_questions_occur_nowhere_in_training_text(held_out, training, category):
    seen = {
        message["content"].lower() for s in training for message in s.messages if message["role"] == "user"
    }
    for sample in held_out:
        if sample.category == category:
            assert sample.messages[-2]["content"].lower() not in seen


@pytest.mark.parametrize("kind", ["word:", "phrase:", "sentence:"])
def test_held_out_words_occur_nowhere_in_training_text(held_out, training, kind):
    everything = "\n".join(text_of(sample.messages) for sample in training).lower()
    words = {s.contents[0].removeprefix(kind).lower() for s in held_out if s.contents[0].startswith(kind)}
    assert words
    assert [word for word in words if re.search(rf"\b{re.escape(word)}\b", everything)] == []


def test_the_streams_are_functions_of_their_seed(held_out):
    first, second = (list(itertools.islice(training_stream(seed=3), 50)) for _ in range(2))
    assert first == second != list(itertools.islice(training_stream(seed=4), 50))
    assert held_out == held_out_samples()


def test_right_answers_pass_their_own_check_and_others_do_not(held_out):
    for sample in held_out:
        row = held_out_row(sample)
        assert is_right(row, sample.answer)
        assert not is_right(row, "no")


def test_thinking_off_is_an_empty_thought_and_tools_take_one_line_each():
    tool = {"type": "function", "function": {"name": "add", "description": "Add", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}}  # fmt: skip
    prompt = render_prompt([{"role": "user", "content": "Hi"}], [tool], thinking=False)
    assert prompt == (
        "<|im_start|>system\nTools:\n- add(a: integer, b: integer): Add<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    thinking = render_prompt([{"role": "user", "content": "Hi"}], None, thinking=True)
    assert thinking.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("arguments", [{"a": 1, "b": 2}, '{"a": 1, "b": 2}'])
def test_tool_calls_render_alike_from_text_and_from_objects(arguments):
    messages = [
        {"role": "user", "content": "Add 1 and 2."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "add", "arguments": arguments}}],
        },
        {"role": "tool", "content": [{"type": "text", "text": "3"}]},
    ]
    prompt = render_prompt(messages, None, thinking=False)
    assert '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call><|im_end|>' in prompt
    assert "<|im_start|>user\n<tool_response>\n3\n</tool_response><|im_end|>" in prompt


def test_thoughts_of_earlier_turns_are_left_out():
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nHello!"},
        {"role": "user", "content": "Bye"},
    ]
    assert "<|im_start|>assistant\nHello!<|im_end|>" in render_prompt(messages, None, thinking=True)


@pytest.fixture(scope="module")
def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_file(str(MODEL / "tokenizer.json"))


def test_shipped_markers_are_single_ids(tokenizer):
    for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>",
                 "</tool_call>", "<tool_response>", "</tool_response>"):  # fmt: skip
        assert len(tokenizer.encode(text).ids) == 1
    assert len(tokenizer.encode("1234").ids) == 4


def test_text_survives_the_tokenizer(tokenizer, held_out):
    for sample in held_out:
        text = render_prompt(sample.messages[:-1], sample.tools, sample.thinking) + sample.answer
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_shipped_files_are_what_the_generators_give(held_out):
    rows = [json.loads(line) for line in (MODEL / "held_out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == [held_out_row(sample) for sample in held_out]
    config = json.loads((MODEL / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["chat_template"] == CHAT_TEMPLATE


def test_transformers_renders_the_same_prompts(held_out):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    for sample in held_out:
        theirs = tokenizer.apply_chat_template(
            sample.messages[:-1],
            tools=sample.tools or None,
            enable_thinking=sample.thinking,
            add_generation_prompt=True,
            tokenize=False,
        )
        assert theirs == render_prompt(sample.messages[:-1], sample.tools, sample.thinking)
