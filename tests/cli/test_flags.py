"""Flags made from declared settings: their names, what they leave behind, and how the help shows them."""

import argparse
from dataclasses import dataclass
from typing import Literal

import pytest

from gradus.cli.flags import add_flags, given_flags, with_dashes
from gradus.errors import ConfigError
from gradus.options import option, settings_of


@dataclass(frozen=True)
class Sample:
    num_things: int = option(3, "of things", least=1, alias="things", group="counts")
    enable_x: bool = option(True, "x", alias="x")
    colour: Literal["red", "blue"] = option("red", "a colour")
    share: float | None = option(None, "100% at most", most=1)
    names: tuple[str, ...] = option((), "names")
    token: str | None = option(None, "secret", is_secret=True)


SETTINGS = settings_of(Sample)


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser, SETTINGS.values())
    return parser


def given(parser, *arguments):
    flags = given_flags(parser.parse_args(arguments), SETTINGS)
    return {name: flag.value for name, flag in flags.items()}


def test_only_what_is_given_is_left(parser):
    assert given(parser) == {}
    assert given(parser, "--num-things", "2K", "--colour", "blue") == {"num_things": 2048, "colour": "blue"}
    assert given(parser, "--things=5") == {"num_things": 5}


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--enable-x", True), ("--x", True), ("--no-enable-x", False), ("--no-x", False)],
)
def test_a_switch_has_two_sides(parser, flag, value):
    assert given(parser, flag) == {"enable_x": value}


def test_a_list_is_repeated_or_separated_by_commas(parser):
    assert given(parser, "--names", "a", "--names", "b,c") == {"names": ("a", "b", "c")}


def test_a_wrong_value_is_named_by_its_flag(parser):
    with pytest.raises(ConfigError, match=r"--num-things is '0'; it must be an integer of 1 or more"):
        given(parser, "--num-things", "0")


def test_the_help_says_the_default_and_no_secret(parser):
    text = " ".join(parser.format_help().split())
    assert "of things (default: 3)" in text
    assert "100% at most" in text
    assert "counts:" in text


def test_dashes_and_underscores_are_alike_in_names_only():
    arguments = ["serve", "--a_b=c_d", "--e_f", "g_h", "-i_j", "--", "--k_l"]
    assert with_dashes(arguments) == ["serve", "--a-b=c_d", "--e-f", "g_h", "-i_j", "--", "--k_l"]
