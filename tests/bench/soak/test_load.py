"""The load itself, in virtual time: how many begin, how many at once, what is counted."""

import asyncio

import pytest

from gradus.bench.soak import load
from gradus.bench.soak.kinds import UnexpectedAnswerError
from gradus.bench.soak.load import SoakOptions, soak
from gradus.errors import ConfigError
from tests.server import virtual_time


def run(monkeypatch, kinds, **options):
    """The log, and how many requests were in flight at most."""
    now = most = 0

    def counted(kind):
        async def one(server, draw):
            nonlocal now, most
            now += 1
            most = max(most, now)
            try:
                await kind(draw)
            finally:
                now -= 1

        one.__name__ = kind.__name__
        return one

    async def soaked():
        monkeypatch.setattr(load, "stopwatch", lambda: asyncio.get_running_loop().time)
        return await soak(None, SoakOptions(**options), lambda: {"threads": 1}, lambda log: None)

    monkeypatch.setattr(load, "KINDS", {counted(kind): 1 for kind in kinds})
    return virtual_time.run(soaked()), most


async def quick(draw):
    await asyncio.sleep(0.5)


async def slow(draw):
    await asyncio.sleep(5)


async def wrong(draw):
    raise UnexpectedAnswerError("not this")


async def stuck(draw):
    await asyncio.sleep(1e6)


def test_requests_begin_at_the_rate_that_was_asked_for_and_all_end(monkeypatch):
    log, _ = run(monkeypatch, [quick], duration=1000.0, request_rate=5.0)
    assert log.num_sent == len(log.ended)
    assert log.num_sent == pytest.approx(5000, rel=0.1)
    assert [request.seconds for request in log.ended] == pytest.approx([0.5] * log.num_sent)
    gaps = [b.start - a.start for a, b in zip(log.ended, log.ended[1:], strict=False)]
    assert sum(gap > 0.2 for gap in gaps) / len(gaps) == pytest.approx(0.37, abs=0.05)  # e^-1: Poisson


def test_no_more_are_in_flight_than_may_be(monkeypatch):
    log, most = run(monkeypatch, [slow], duration=100.0, request_rate=50.0, max_concurrency=4)
    assert most == 4
    assert log.num_sent == pytest.approx(4 * 100 / 5, abs=5)


def test_failures_are_counted_by_kind_and_do_not_stop_the_load(monkeypatch):
    log, _ = run(monkeypatch, [quick, wrong], duration=100.0)
    assert len(log.ended) + len(log.failures) == log.num_sent
    assert {failure["kind"] for failure in log.failures} == {"wrong"}
    assert log.failures[0]["error"] == "UnexpectedAnswerError: not this"
    assert {request.kind for request in log.ended} == {"quick"}


def test_what_never_ends_is_a_failure(monkeypatch):
    log, _ = run(monkeypatch, [stuck], duration=10.0, request_rate=1.0)
    assert len(log.failures) == log.num_sent
    assert "TimeoutError" in log.failures[0]["error"]


def test_the_process_is_looked_at_all_the_time_and_once_more_in_the_end(monkeypatch):
    log, _ = run(monkeypatch, [slow], duration=60.0)
    assert len(log.samples) >= 120
    assert log.samples[0] == {"seconds": 0.0, "threads": 1}
    assert log.samples[-1]["seconds"] >= 60.0
    assert SoakOptions(duration=3600.0).seconds_between_samples == 5.0


def test_the_same_seed_draws_the_same(monkeypatch):
    def starts(seed):
        log, _ = run(monkeypatch, [quick, slow], duration=50.0, seed=seed)
        return sorted((request.start, request.kind) for request in log.ended)

    assert starts(1) == starts(1) != starts(2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"duration": 0.0}, "duration is 0; it must be above 0"),
        ({"request_rate": -1.0}, "request_rate is -1"),
        ({"max_concurrency": 0}, "max_concurrency is 0"),
    ],
)
def test_no_load_is_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        SoakOptions(**values)
