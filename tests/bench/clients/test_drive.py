"""When requests are sent, in virtual time: each takes as long as its prompt's only token says."""

import asyncio

from gradus.bench.clients.answered import Answered
from gradus.bench.clients.drive import drive
from gradus.bench.workloads.base import WorkloadRequest
from tests.server import virtual_time


def starts(requests, concurrency):
    """Of each request, as (start, end)."""

    async def run():
        clock = asyncio.get_running_loop().time

        async def send(request, clock):
            start = clock()
            await asyncio.sleep(request.prompt[0])
            return Answered(start, clock())

        answers = await drive(requests, concurrency, send, clock)
        return [(answer.start, answer.end) for answer in answers]

    return virtual_time.run(run())


def test_a_closed_loop_sends_the_next_as_soon_as_one_has_ended():
    requests = [WorkloadRequest([seconds], 1) for seconds in (3, 1, 1, 5)]
    assert starts(requests, 2) == [(0, 3), (0, 1), (1, 2), (2, 7)]


def test_an_open_loop_sends_when_requests_arrive_whatever_is_in_flight():
    requests = [WorkloadRequest([10], 1, arrival=at) for at in (0.0, 0.5, 4.0)]
    assert [start for start, _ in starts(requests, None)] == [0.0, 0.5, 4.0]


def test_a_limit_holds_back_what_has_arrived():
    requests = [WorkloadRequest([10], 1, arrival=at) for at in (0.0, 0.5, 4.0)]
    assert [start for start, _ in starts(requests, 2)] == [0.0, 0.5, 10.0]


def test_a_turn_waits_for_the_one_before_it_and_for_its_time():
    requests = [
        WorkloadRequest([3], 1),
        WorkloadRequest([1], 1, after=0),
        WorkloadRequest([1], 1, after=0, arrival=8.0),
    ]
    assert starts(requests, None) == [(0, 3), (3, 4), (8, 9)]


def test_answers_are_in_the_order_of_the_requests():
    requests = [WorkloadRequest([seconds], 1) for seconds in (5, 1, 3)]
    assert [end for _, end in starts(requests, None)] == [5, 1, 3]
