"""Starts: real ones of the demo model, and packed files that are not as they must be are seen."""

import json
from pathlib import Path

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.startup import Started, bench_startup, measure
from gradus.config import EngineConfig
from gradus.errors import ConfigError


def test_first_and_cached_starts_of_both_kinds():
    config = EngineConfig(max_model_len=64, num_kv_blocks=16, num_threads=1)
    reports = []
    document = json.loads(to_line(bench_startup(config, 1, reports.append)))
    assert len(reports) == 8  # a warm-up and a run of four sides
    starts = document["results"]["starts"]
    kinds = ("in process", "served")
    assert list(starts) == [f"{kind}, {start} start" for kind in kinds for start in ("first", "cached")]
    for name, figures in starts.items():
        ready = figures.pop("ready_seconds")["median"]
        assert figures.pop("first_token_seconds")["median"] > ready
        phases = [value["median"] for value in figures.values()]
        assert bool(phases) == name.startswith("in process")  # a server's are not known, and absent
        if phases:
            assert sum(phases) == pytest.approx(ready)
    verification = document["verification"]
    del verification["repeats"]
    assert set(verification.values()) == {True}


def fake(*, writes_again=False, writes=True, delay=0.0, says_mapped=None):
    """A start that packs where nothing is packed, in no time."""

    def start(environment, request):
        file = Path(environment["GRADUS_CACHE"]) / "packed" / "model.gradus"
        is_first = not file.exists()
        if writes and (is_first or writes_again):
            file.parent.mkdir(parents=True, exist_ok=True)
            other = file.with_suffix(".new")
            other.write_text("x")
            other.replace(file)
        seconds = 4.0 if is_first else 2.0 + delay
        return Started(seconds, seconds + 1, 1, {"all": seconds, "other": 0.0}, says_mapped)

    return start


def checks_of(**changes):
    return measure({"fake": fake(**changes)}, 100, 2, lambda name: None)


def test_a_delay_shows_where_it_is_and_nowhere_else():
    checks, rounds = checks_of(delay=0.01)
    assert rounds.values("fake, first start", "ready_seconds") == [4.0, 4.0]
    assert rounds.values("fake, cached start", "ready_seconds") == [2.01, 2.01]
    assert (checks.first_starts_packed, checks.cached_starts_packed_nothing) == (True, True)


def test_a_cached_start_that_packs_again_and_a_first_one_that_does_not_are_seen():
    assert checks_of(writes_again=True)[0].cached_starts_packed_nothing is False
    assert checks_of(writes=False)[0].first_starts_packed is False
    assert checks_of(says_mapped=True)[0].first_starts_packed is False
    assert checks_of(says_mapped=False)[0].cached_starts_packed_nothing is False


def test_without_the_cache_there_is_nothing_to_compare():
    with pytest.raises(ConfigError, match="packed_cache is off"):
        bench_startup(EngineConfig(packed_cache=False), 1, lambda name: None)
