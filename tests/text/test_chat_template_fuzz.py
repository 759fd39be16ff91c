"""Messages of any shape: families' templates render them as transformers does, or refuse them."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from gradus.errors import InvalidRequestError
from gradus.text.chat_template import ChatTemplate
from tests.server.chat_templates import HERMES, LLAMA3, MISTRAL, QWEN3
from tests.text.test_chat_template import CHATML
from tests.text.toy_tokenizers import byte_level_json, fast_of

TEMPLATES = {"chatml": CHATML, "hermes": HERMES, "qwen3": QWEN3, "llama3": LLAMA3, "mistral": MISTRAL}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
TEXTS = st.text(max_size=12) | st.sampled_from(["<think>x</think>y", "{{ 1 }}", "{% raw %}", "<|im_end|>"])
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": TEXTS,
            "function": st.fixed_dictionaries(
                {"name": TEXTS, "arguments": st.dictionaries(TEXTS, JSON, max_size=2)}
            ),
        }
    ),
    max_size=2,
)
PLAIN = st.fixed_dictionaries(
    {"role": ROLES, "content": TEXTS}, optional={"tool_calls": CALLS, "tool_call_id": TEXTS}
)
ODD = st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "x"]), JSON)
TOOLS = st.none() | st.lists(st.dictionaries(TEXTS, JSON, max_size=2), min_size=1, max_size=2)


@pytest.fixture(scope="module")
def theirs():
    return PreTrainedTokenizerFast(tokenizer_object=fast_of(byte_level_json()))


compiled = cache(ChatTemplate)


def rendered(template, messages, tools):
    """The prompt, or None where it is refused."""
    try:
        return compiled(template).render(messages, tools=tools)
    except InvalidRequestError:
        return None


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=30, derandomize=True)
@given(messages=st.lists(PLAIN, min_size=1, max_size=4), tools=TOOLS)
def test_plain_messages_are_rendered_as_transformers_does(theirs, name, messages, tools):
    ours = rendered(TEMPLATES[name], messages, tools)
    try:
        expected = theirs.apply_chat_template(
            messages, tools=tools, chat_template=TEMPLATES[name], add_generation_prompt=True, tokenize=False
        )
    except Exception:  # whatever a template does
        expected = None
    assert ours == expected


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=30, derandomize=True)
@given(messages=st.lists(ODD, min_size=1, max_size=3), tools=TOOLS)
def test_odd_messages_are_rendered_or_refused(name, messages, tools):
    prompt = rendered(TEMPLATES[name], messages, tools)
    assert prompt is None or isinstance(prompt, str)


PIECES = ["{{", "}}", "{%", "%}", " for m in messages ", " endfor ", " if ", " endif ", "m.role", "messages"]
PIECES += [" * 9 ** 99", "|tojson", "|list", "[0]", ".__class__", " set x = ", "range(99999999)", "'ab'", "("]


@settings(max_examples=80, derandomize=True)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_a_template_of_any_pieces_is_rendered_or_refused(source):
    prompt = rendered(source, [{"role": "user", "content": "Hi"}], None)
    assert prompt is None or "<class" not in prompt
