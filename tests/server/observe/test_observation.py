"""Timelines and timings under a clock that the test turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.messages import EngineRequest, RequestUpdate
from gradus.outputs import RequestMetrics
from gradus.sampling_params import SamplingParams
from gradus.server.metrics import Metrics
from gradus.server.observe.context import RequestContext
from gradus.server.observe.observation import Observation
from gradus.server.observe.timeline import PARTS

PROMPT = [1, 2, 3, 4, 5]


class Clock:
    def __init__(self, now=100.0):
        self.now = now

    def __call__(self):
        return self.now


class Played:
    """A request, or several, whose every station is at a time of the test's choosing."""

    def __init__(self, num_requests=1, n=1, received=99.0, started=100.0):
        self.clock = Clock(started)
        self.metrics = Metrics()
        params = SamplingParams(n=n)
        requests = [
            EngineRequest(request_id=f"r{i}", prompt_token_ids=PROMPT, params=params, max_tokens=9)
            for i in range(num_requests)
        ]
        context = RequestContext(request_id="abc", route="POST /x", received=received)
        self.observation = Observation(requests, self.metrics, context, clock=self.clock)
        self.records = [RequestMetrics(queued_time=started) for _ in range(num_requests * n)]
        self.n = n

    def give(self, now, num_tokens, choice=0, reason=None, *, computed=None):
        """An update arrives now; the engine ended the choice at `computed`, or a stop string did."""
        self.clock.now = now
        record = self.records[choice]
        record.finished_time = computed
        update = RequestUpdate(
            request_id=f"r{choice // self.n}",
            choice_index=choice % self.n,
            finish_reason=reason if computed is not None else None,
            metrics=record,
        )
        self.observation.add(choice, update, num_tokens, reason)

    def end(self, now):
        self.clock.now = now
        self.observation.end()


def test_each_part_is_the_time_between_its_stations():
    played = Played(received=99.0, started=100.0)
    record = played.records[0]
    record.first_scheduled_time, record.first_token_time = 103.0, 107.0
    record.num_computed_prompt_tokens, record.num_cached_prompt_tokens = 2, 3
    record.num_steps, record.num_co_batched, record.num_preemptions = 4, 10, 1
    record.add_grammar_time(0.25)
    played.give(108.0, 1)
    played.give(116.0, 2, reason="stop", computed=115.0)
    played.observation.detokenize_seconds, played.observation.flush_seconds = 0.5, 0.125
    played.end(117.0)
    assert played.observation.timings() == {
        "prepare_ms": 1000.0,
        "queue_ms": 3000.0,
        "prefill_ms": 4000.0,
        "decode_ms": 8000.0,
        "deliver_ms": 2000.0,
        "total_ms": 18000.0,
        "computed_prompt_tokens": 2,
        "cached_prompt_tokens": 3,
        "completion_tokens": 3,
        "steps": 4,
        "mean_co_batch": 2.5,
        "preemptions": 1,
        "detokenize_ms": 500.0,
        "flush_ms": 125.0,
        "grammar_ms": 250.0,
    }
    metrics = played.metrics
    assert metrics.queue_time.sum == 3.0
    assert metrics.prefill_time.sum == 4.0
    assert metrics.decode_time.sum == 8.0
    assert metrics.e2e_latency.sum == 17.0  # until its last text was known, not until the answer was closed
    assert metrics.time_to_first_token.sum == 9.0
    assert metrics.inter_token_latency.sum == 8.0
    assert sum(metrics.inter_token_latency.counts) == 2
    assert metrics.time_per_output_token.sum == 4.0
    assert (metrics.num_prompt_tokens, metrics.num_cached_prompt_tokens) == (5, 3)
    assert metrics.num_generated_tokens == 3


def test_there_is_no_grammar_time_without_a_grammar():
    assert "grammar_ms" not in Played().observation.timings()


STATIONS = st.lists(st.floats(0, 50, allow_nan=False), min_size=6, max_size=6).map(sorted)


@given(
    stations=STATIONS,
    reached=st.integers(0, 3),
    reason=st.sampled_from(["stop", "length", "abort", "error", None]),
    late=st.lists(st.floats(0, 5), max_size=3),
)
def test_the_parts_add_up_however_far_a_request_came(stations, reached, reason, late):
    received, started, scheduled, first, computed, ended = stations
    played = Played(received=received, started=started)
    record = played.records[0]
    if reached > 0:
        record.first_scheduled_time = scheduled
    if reached > 1:
        record.first_token_time = first
        played.give(first, 1)
    if reached > 2:
        played.give(computed, 1, reason=reason, computed=computed if reason in ("stop", "length") else None)
    played.end(ended)
    for extra in late:
        played.end(ended + extra)  # only the first end counts
    line = played.observation.timeline()
    assert list(line.parts) == list(PARTS)
    assert all(seconds >= 0 for seconds in line.parts.values())
    assert sum(line.parts.values()) == pytest.approx(ended - received)
    assert sum(played.metrics.num_finished.values()) == 1
    num_served = played.metrics.num_finished["stop"] + played.metrics.num_finished["length"]
    assert sum(played.metrics.e2e_latency.counts) == num_served


@given(
    arrivals=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 4)), min_size=1, max_size=8),
)
def test_intervals_between_tokens_add_up_to_the_time_between_first_and_last(arrivals):
    played = Played()
    now, times = 100.0, []
    for gap, num_tokens in arrivals:
        now += gap
        times.append(now)
        played.give(now, num_tokens)
    intervals = played.metrics.inter_token_latency
    assert intervals.sum == pytest.approx(times[-1] - times[0], abs=1e-9)
    num_tokens = sum(number for _, number in arrivals)
    assert sum(intervals.counts) == num_tokens - 1
    assert played.metrics.num_generated_tokens == num_tokens
    assert played.observation.num_generated_tokens == num_tokens


def test_choices_are_counted_one_by_one_and_prompts_once():
    played = Played(num_requests=2, n=2)
    for record in played.records:
        record.first_scheduled_time = record.first_token_time = 101.0
        record.num_cached_prompt_tokens, record.num_steps, record.num_co_batched = 4, 3, 6
    for choice in range(3):
        played.give(102.0 + choice, 2, choice, "length", computed=102.0 + choice)
    played.end(110.0)
    metrics = played.metrics
    assert metrics.num_finished == {"stop": 0, "length": 3, "abort": 1, "error": 0}
    assert metrics.num_prompt_tokens == 2 * len(PROMPT)
    assert metrics.num_cached_prompt_tokens == 8
    assert metrics.num_generated_tokens == 6
    assert sum(metrics.e2e_latency.counts) == sum(metrics.prompt_tokens.counts) == 3
    assert played.observation.finish_reasons == ["length", "abort"]
    timings = played.observation.timings()
    assert timings["cached_prompt_tokens"] == 8
    assert timings["steps"] == 9  # the aborted choice had told nothing yet
    assert timings["mean_co_batch"] == 2.0


def test_what_the_engine_does_after_the_end_moves_no_station():
    played = Played(received=99.0, started=100.0)
    played.end(103.0)
    played.records[0].first_scheduled_time, played.records[0].first_token_time = 104.0, 105.0
    played.observation.choices[0].metrics = played.records[0]
    line = played.observation.timeline()
    assert list(line.parts.values()) == [1.0, 3.0, 0.0, 0.0, 0.0]


def test_what_comes_after_an_end_adds_nothing():
    played = Played()
    played.give(101.0, 1, reason="stop")
    played.give(102.0, 0, reason="abort", computed=102.0)
    played.end(103.0)
    assert played.metrics.num_finished == {"stop": 1, "length": 0, "abort": 0, "error": 0}


def test_without_metrics_timings_are_still_there():
    clock = Clock()
    request = EngineRequest(request_id="r", prompt_token_ids=PROMPT, params=SamplingParams(), max_tokens=9)
    observation = Observation([request], clock=clock)
    clock.now += 2
    observation.end()
    assert observation.timings()["total_ms"] == 2000.0
    assert observation.timings()["queue_ms"] == 2000.0
