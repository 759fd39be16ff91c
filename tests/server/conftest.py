import pytest

from tests.server.calling_model import CALLS, THOUGHT
from tests.server.chat_templates import HERMES, THINKING, tokenizer_for
from tests.server.harness import say, serving

ANSWER = "你好，世界! The answer is 42 👩‍👩‍👧‍👦 — naïve 🏳️‍🌈 done."


@pytest.fixture(scope="module")
def answer():
    return ANSWER


@pytest.fixture(scope="module")
def server():
    """A model that answers every prompt with `ANSWER`; choice i leaves out the first i characters."""
    with serving(say(ANSWER)) as running:
        yield running


@pytest.fixture(scope="module")
def endless():
    """A model that never ends, at 5 ms a step."""
    with serving(lambda tokenizer, context, choice: 40 + len(context) % 26, delay=0.005) as running:
        yield running


@pytest.fixture(scope="module")
def calling():
    """Says something, then calls two functions."""
    with serving(say(CALLS), tokenizer=tokenizer_for(HERMES), delay=0.0005) as running:
        yield running


@pytest.fixture(scope="module")
def thinking():
    """Thinks, answers and calls a function."""
    with serving(
        say(f"{THOUGHT}\n</think>\n\n{CALLS}"), tokenizer=tokenizer_for(THINKING, "</think>")
    ) as running:
        yield running


@pytest.fixture
def client(server):
    return server.client()
