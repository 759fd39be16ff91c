"""`gradus bench pair` as a user runs it: a table of the sides, then one line of evidence."""

import json

import pytest

from gradus.bench.pairs.switches import SWITCHES
from gradus.cli.bench_pair import bound_line, label, show, show_ratio
from tests.cli.harness import gradus


def test_sides_ratios_and_the_bound_are_shown():
    ran = gradus("bench", "pair", "kv-layout", "demo", "--runs", "1")
    assert ran.returncode == 0, ran.stderr
    *table, last = ran.stdout.splitlines()
    for word in ("contiguous", "paged", "bound", "reached", "100.0% of the output tokens"):
        assert any(word in line for line in table)
    assert json.loads(last)["parameters"]["sides"]["paged"]["kv_layout"] == "paged"


def test_the_switches_are_listed():
    ran = gradus("bench", "pair", "list")
    assert ran.returncode == 0
    assert all(name in ran.stdout for name in SWITCHES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none-such", "demo"], "prefix-caching"),
        (["prefix-caching", "demo", "--no-prefix-caching"], "--enable-prefix-caching"),
        (["batching", "demo", "--max-num-seqs", "3"], "max_num_seqs"),
        (["graphs", "demo", "--runs", "0"], "1 or more"),
    ],
)
def test_what_the_switch_sets_itself_cannot_be_given(arguments, said):
    ran = gradus("bench", "pair", *arguments)
    assert ran.returncode == 2
    assert said in ran.stderr


def test_figures_have_their_units():
    assert (label("ttft_seconds"), show("ttft_seconds", 0.0125)) == ("ttft ms", "12.5")
    assert (label("kv_held_bytes"), show("kv_held_bytes", 3 * 2**20)) == ("kv held (MiB)", "3.0")
    assert (label("output_tokens_per_second"), show("output_tokens_per_second", 1234.5)) == (
        "output tok/s",
        "1,234.5",
    )
    assert (label("num_steps"), show("num_steps", 1000)) == ("steps", "1,000")
    assert show("prefix_cache_hit_rate", 0.6) == "60%"
    assert show_ratio({"median": 2.0, "interval_95": [1.5, 2.5]}) == "2.00x 1.50-2.50"


def test_a_bound_that_is_missed_is_said_loudly():
    bound = {"what": "it", "measured": {"median": 2.0}, "bound": 4.0, "share_of_bound": 0.5, "least": 3.6}
    assert "50% of it" in bound_line({**bound, "is_reached": False})
    assert "NOT REACHED" in bound_line({**bound, "is_reached": False})
    assert "NOT" not in bound_line({**bound, "is_reached": True})
