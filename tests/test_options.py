"""Declared settings: what a text stands for, which values work, and that a secret stays one."""

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.errors import ConfigError
from gradus.options import check_settings, option, parse_count, settings_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    count: int | None = option(None, "a count", least=1, most=9)
    share: float = option(0.5, "a share", least=0)
    kind: Literal["a", "b"] = option("a", "a kind")
    is_on: bool = option(True, "a switch")
    names: tuple[str, ...] = option((), "names")
    secret: str | None = option(None, "a secret", is_secret=True)
    inner: int = 0

    def __post_init__(self) -> None:
        check_settings(self)


def test_kinds_follow_from_types():
    settings = settings_of(Sample)
    assert list(settings) == ["count", "share", "kind", "is_on", "names", "secret"]
    assert [setting.kind for setting in settings.values()] == [int, float, str, bool, tuple, str]
    assert settings["kind"].choices == ("a", "b")
    assert [name for name, setting in settings.items() if setting.is_optional] == ["count", "secret"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 0}, ["count is 0", "1 to 9"]),
        ({"count": 10}, ["count is 10", "1 to 9"]),
        ({"count": True}, ["count is True", "integer"]),
        ({"count": "3"}, ["count is '3'", "integer"]),
        ({"share": None}, ["share is None", "number"]),
        ({"share": float("inf")}, ["share is inf", "0 or more"]),
        ({"kind": "c"}, ["kind is 'c'", "a, b"]),
        ({"is_on": 1}, ["is_on is 1", "true or false"]),
        ({"names": "ab"}, ["names is 'ab'", "list"]),
        ({"names": ["a", ""]}, ["names is", "list"]),
        ({"secret": 5}, ["secret is ***", "text"]),
    ],
)
def test_a_wrong_value_is_refused_when_the_configuration_is_made(values, words):
    with pytest.raises(ConfigError) as refused:
        Sample(**values)
    assert all(word in str(refused.value) for word in words)


def test_values_take_their_fields_type():
    sample = Sample(share=1, names=["a", "b"])
    assert (type(sample.share), sample.names) == (float, ("a", "b"))


def test_a_secret_is_not_in_the_representation():
    assert "hush" not in repr(Sample(secret="hush"))
    with pytest.raises(ValueError) as refused:
        settings_of(Sample)["secret"].check(("hush",))
    assert "hush" not in str(refused.value)


@given(st.integers(0, 10**6), st.sampled_from(["", *"kmgtKMGT"]))
def test_a_suffix_multiplies(number, suffix):
    power = "kmgt".find(suffix.lower()) + 1 if suffix else 0
    assert parse_count(f"{number}{suffix}") == number * (1000 if suffix.islower() else 1024) ** power


@pytest.mark.parametrize(
    "text", ["", "k", "1kk", "1 k", "1e3", "0x10", "1_000", "1.5", "1.0001k", "nan", "9T9", "٣"]
)
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(ValueError):
        parse_count(text)
