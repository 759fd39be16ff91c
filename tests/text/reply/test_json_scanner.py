"""The scanner against Python's `json` module: what is a value, and what can still become one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.text.reply.json_scanner import MAX_DEPTH, JsonScanner

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ALMOST = st.text(alphabet='{}[]",:\\ue1.-0 \ntrfalsn', max_size=14)


def is_json(text):
    try:
        json.loads(text, strict=False, parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return False
    return True


@given(VALUES, st.sampled_from([None, 2]), st.booleans(), st.sampled_from(["", "x", ",", "}"]))
def test_a_value_ends_where_it_ends(value, indent, ascii, rest):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    scanner = JsonScanner()
    end, well_formed = scanner.read(text + rest)
    assert end == len(text)
    if rest or text[0] in '{["tfn':
        assert scanner.complete
        assert well_formed
    assert scanner.may_end


@given(VALUES, st.data())
def test_it_does_not_matter_how_the_text_is_cut(value, data):
    text = json.dumps(value)
    scanner = JsonScanner()
    start = 0
    while start < len(text):
        stop = data.draw(st.integers(start + 1, len(text)))
        end, well_formed = scanner.read(text[start:stop])
        assert well_formed
        assert end == stop - start
        start = stop
    assert scanner.may_end


@given(ALMOST)
def test_what_it_takes_to_the_end_is_json_and_the_other_way_round(text):
    scanner = JsonScanner()
    stripped = text.strip(" \n")
    end, well_formed = scanner.read(stripped)
    taken = well_formed and end == len(stripped) and scanner.may_end
    assert taken == is_json(text)


@given(ALMOST)
def test_what_it_refuses_cannot_be_continued(text):
    """A prefix that is refused is refused at the same character by `json`, whatever is put behind it."""
    scanner = JsonScanner()
    end, well_formed = scanner.read(text)
    if not well_formed:
        for ending in ("", '"', "}", "]", '"}', "1", "0]", "null", 'a":1}', "00000000"):
            assert not is_json(text[: end + 1] + ending)


@pytest.mark.parametrize(
    "text",
    [
        "01",
        "1.e",
        "- 1",
        "+1",
        "tru ",
        "nul]",
        '"\\x',
        '"\\u12g',
        "{1",
        "[,",
        "[1 2",
        "{]",
        "[1}",
        '{"a":1]',
        '"\\u123"',
    ],
)
def test_it_stops_at_the_first_character_that_cannot_follow(text):
    end, well_formed = JsonScanner().read(text)
    assert not well_formed or end < len(text)


def test_depth_is_limited():
    assert JsonScanner().read("[" * MAX_DEPTH) == (MAX_DEPTH, True)
    assert JsonScanner().read("[" * (MAX_DEPTH + 1)) == (MAX_DEPTH, False)
