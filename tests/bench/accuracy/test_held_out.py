"""Held-out questions: right answers are right, wrong ones are wrong, and a sample is spread evenly."""

from collections import Counter

import pytest

from gradus.bench.accuracy.held_out import is_right, load_questions, sample, shares
from gradus.errors import ConfigError
from gradus.models.sources import DEMO_DIRECTORY

QUESTIONS = load_questions(DEMO_DIRECTORY)
CALL = '{"name": "f"}'


def test_every_question_accepts_its_answer_and_no_other():
    for question in QUESTIONS:
        assert is_right(question, question["answer"])
        assert not is_right(question, question["answer"] + " not")


@pytest.mark.parametrize(
    ("check", "expected", "answer", "right"),
    [
        ("exact", "4", " 4\n", True),
        ("json", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}', True),
        ("json", '{"a": 1}', "a is 1", False),
        ("tool_call", f"<tool_call>{CALL}</tool_call>", f"<tool_call>\n{CALL}\n</tool_call>", True),
        ("tool_call", '<tool_call>{"name": "f"}</tool_call>', '{"name": "f"}', False),
        ("thought", "7", "<think>3 + 4</think> 7", True),
        ("thought", "7", "7", False),
    ],
)
def test_answers_are_marked_by_their_kind(check, expected, answer, right):
    assert is_right({"check": check, "expected": expected}, answer) is right


def test_a_sample_is_even_over_the_categories_and_always_the_same():
    chosen = sample(QUESTIONS, 26)
    assert set(Counter(question["category"] for question in chosen).values()) == {2}
    assert chosen == sample(QUESTIONS, 26)
    assert sample(QUESTIONS, len(QUESTIONS)) == QUESTIONS
    for count in (0, len(QUESTIONS) + 1):
        with pytest.raises(ConfigError, match=f"1 to {len(QUESTIONS)}"):
            sample(QUESTIONS, count)


def test_shares_are_per_category_and_overall():
    questions = [{"category": "a"}, {"category": "a"}, {"category": "b"}]
    assert shares(questions, [True, False, True]) == {"a": 0.5, "b": 1.0, "overall": 2 / 3}


def test_a_model_without_questions_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no held_out\.jsonl"):
        load_questions(tmp_path)
