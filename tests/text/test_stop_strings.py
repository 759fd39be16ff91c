"""The matcher against `str.find`, for any way of cutting the text."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.text.stop_strings import StopMatcher

small = st.text(alphabet="abé你", max_size=30)
stops = st.lists(st.text(alphabet="abé你", min_size=1, max_size=5), max_size=4)


def oracle(text, stop):
    """The match that is complete first; of those, the longest. (text before it, the string)"""
    found = [(text.find(s) + len(s), -len(s), s) for s in stop if s in text]
    if not found:
        return text, None
    end, _, string = min(found)
    return text[: end - len(string)], string


@settings(max_examples=500)
@given(text=small, stop=stops, cuts=st.lists(st.integers(0, 30), max_size=12))
def test_the_result_is_that_of_find_however_the_text_is_cut(text, stop, cuts):
    edges = [0, *sorted({min(cut, len(text)) for cut in cuts}), len(text)]
    matcher = StopMatcher(stop)
    out = ""
    for a, b in itertools.pairwise(edges):
        out += matcher.push(text[a:b])
        # Nothing that a later match would have to take back is ever out.
        assert oracle(text, stop)[0].startswith(out)
    if matcher.matched is None:
        out += matcher.flush()
    assert (out, matcher.matched) == oracle(text, stop)


@settings(max_examples=200)
@given(text=small, stop=stops)
def test_no_more_is_held_back_than_could_still_match(text, stop):
    matcher = StopMatcher(stop)
    out = matcher.push(text)
    if matcher.matched is None:
        held = text[len(out) :]
        longest = max((k for s in stop for k in range(len(s)) if text.endswith(s[:k])), default=0)
        assert len(held) == longest


def test_nothing_comes_after_a_match():
    matcher = StopMatcher(["END"])
    assert matcher.push("one EN") == "one "
    assert matcher.push("D two") == ""
    assert matcher.matched == "END"
    assert matcher.push("END three") == ""
    assert matcher.flush() == ""


@pytest.mark.parametrize(
    ("stop", "text", "expected", "matched"),
    [
        (["bc", "abcd"], "xabcdy", "xa", "bc"),  # complete first
        (["bc", "abc"], "xabcdy", "x", "abc"),  # complete together: the longer
        (["aab"], "aaab", "a", "aab"),  # needs the fallback table
        (["abab", "b"], "abab", "a", "b"),
        ([], "anything", "anything", None),
    ],
)
def test_which_of_several_strings_wins(stop, text, expected, matched):
    matcher = StopMatcher(stop)
    out = "".join(matcher.push(char) for char in text)
    assert (out + matcher.flush(), matcher.matched) == (expected, matched)


def test_a_thousand_characters_of_stop_string_cost_little_per_character():
    matcher = StopMatcher(["a" * 1000 + "b"] * 1)
    assert matcher.push("a" * 5000) == "a" * 4000
    assert matcher.push("b") == ""
    assert matcher.matched is not None


def test_a_text_that_may_not_end_yet_goes_on():
    """What is complete too early is text, and what straddles the moment still ends it."""
    matcher = StopMatcher(["aba"])
    assert matcher.push("xaba", may_end=False) + matcher.push("b") == "xab"
    assert matcher.matched is None
    assert matcher.push("a") == ""
    assert matcher.matched == "aba"
