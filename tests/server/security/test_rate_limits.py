"""Rate limits under a clock of the test's own: what is let in, and that `retry_after` is the truth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.errors import RateLimitError
from gradus.server.security import rate_limits
from gradus.server.security.keys import Client, ClientLimits
from gradus.server.security.rate_limits import RateLimits


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def client(name="alice", **limits):
    return Client(name=name, limits=ClientLimits(**limits))


def admit(limits, who):
    """The ticket, or the error."""
    try:
        return limits.admit(who)
    except RateLimitError as refused:
        return refused


def refusal(limits, who, tenant=""):
    with pytest.raises(RateLimitError) as refused:
        limits.admit(who, tenant)
    return refused.value


@given(st.integers(1, 30), st.lists(st.floats(0, 30), min_size=1, max_size=120))
def test_requests_keep_to_their_rate_over_every_stretch_of_time(per_minute, pauses):
    clock = Clock()
    limits, who = RateLimits(clock), client(requests_per_minute=per_minute)
    admitted = []
    for pause in pauses:
        clock.now += pause
        refused = admit(limits, who)
        if isinstance(refused, RateLimitError):
            assert refused.reason == "requests_limit"
            assert 0 < refused.retry_after <= 60 / per_minute
        else:
            admitted.append(clock.now)
    for i, first in enumerate(admitted):
        for count, last in enumerate(admitted[i:], 1):
            assert count <= per_minute * (1 + (last - first) / 60) + 1e-6


@given(st.integers(10, 1000), st.lists(st.tuples(st.floats(0, 90), st.integers(0, 3000)), max_size=60))
def test_tokens_keep_to_their_rate_but_for_the_last_request(per_minute, steps):
    """What was used before the last request let in is within one minute's worth and the time's refill."""
    clock = Clock()
    limits, who = RateLimits(clock), client(tokens_per_minute=per_minute)
    start, used = clock.now, 0
    for pause, num_tokens in steps:
        clock.now += pause
        ticket = admit(limits, who)
        if isinstance(ticket, RateLimitError):
            assert ticket.reason == "tokens_limit"
            clock.now += ticket.retry_after + 1e-3
            ticket = limits.admit(who)  # as it was told
        assert used <= per_minute * (1 + (clock.now - start) / 60) + 1e-3
        ticket.charge(num_tokens)
        used += num_tokens
        ticket.release()


def test_the_time_to_wait_is_neither_too_long_nor_too_short():
    clock = Clock()
    limits, who = RateLimits(clock), client(requests_per_minute=2)
    limits.admit(who)
    limits.admit(who)
    assert refusal(limits, who).retry_after == pytest.approx(30)
    clock.now += 29.9
    assert refusal(limits, who).retry_after == pytest.approx(0.1)
    clock.now += 0.2
    limits.admit(who)


def test_requests_at_once_are_counted_until_released():
    limits, who = RateLimits(Clock()), client(max_concurrent_requests=2)
    first, _ = limits.admit(who), limits.admit(who)
    assert refusal(limits, who).reason == "concurrency_limit"
    first.release()
    first.release()  # once only
    limits.admit(who)
    refusal(limits, who)
    limits.admit(client("bob", max_concurrent_requests=1))  # is another


def test_a_request_that_did_not_come_about_counts_as_none():
    limits, who = RateLimits(Clock()), client(requests_per_minute=1, max_concurrent_requests=1)
    for _ in range(3):
        ticket = limits.admit(who)
        ticket.cancel()
        ticket.cancel()
    limits.admit(who).release()
    refusal(limits, who)


def test_a_tenant_counts_apart_only_where_there_are_no_keys():
    limits = RateLimits(Clock())
    nobody = client("anonymous", max_concurrent_requests=1)
    limits.admit(nobody, "a")
    limits.admit(nobody, "b")
    refusal(limits, nobody, "a")
    somebody = client("alice", max_concurrent_requests=1)
    limits.admit(somebody, "a")
    refusal(limits, somebody, "b")


def test_names_that_are_done_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(rate_limits, "_MOST_ACCOUNTS", 8)
    clock = Clock()
    limits, nobody = RateLimits(clock), client("anonymous", requests_per_minute=60)
    held = limits.admit(nobody, "held")
    for i in range(1000):
        clock.now += 1.0
        limits.admit(nobody, f"tenant {i}").release()
    assert len(limits._accounts) <= 16
    assert "anonymous/held" in limits._accounts
    held.release()
