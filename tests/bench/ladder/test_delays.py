"""A delay put into one layer is found by the ladder, in that layer's rung and in no other.

The delay computes instead of sleeping, and the rungs' CPU time is compared: it is the same on a busy machine.
Ten milliseconds are many times what any rung of so small a model takes per step.
"""

import gc
import time

import pytest

from gradus.backends.native.backend import NativeBackend
from gradus.bench.ladder.ladder import measure
from gradus.bench.ladder.rungs import RUNGS
from gradus.engine.batch_builder import BatchBuilder
from gradus.engine.block_pool import BlockPool
from gradus.engine.scheduler import Scheduler
from gradus.engine.stream import RequestStream
from gradus.server.grpc.reply import Reply
from gradus.server.http import completions
from gradus.text.detokenizer import Detokenizer
from tests.bench.ladder.conftest import WORKLOAD

DELAY = 0.01  # seconds
NUM_TOKENS = WORKLOAD.num_requests * WORKLOAD.output_len

# What runs in every step is compared by the step, since requests that come over a network take more steps.
LAYERS = [
    (0, NativeBackend, "_run", True),
    (1, NativeBackend, "execute", True),
    (2, BatchBuilder, "build", True),
    (3, BlockPool, "allocate", False),
    (4, Scheduler, "schedule", True),
    (5, RequestStream, "push", False),
    (6, Detokenizer, "push", False),
    (7, completions, "parse", False),
    (8, completions, "event", False),
    (9, Reply, "message", False),
]


@pytest.fixture(scope="module", autouse=True)
def no_collection():
    """A collection of all that the tests have imported takes longer than the delays."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module")
def undisturbed(ladder):
    return measured(ladder)


def measured(ladder):
    """The figures of each rung's two rounds, from the bottom to the top."""
    document = measure(ladder, 2, lambda name: None)
    facts = {name: holds for name, holds in document["verification"].items() if name != "repeats"}
    assert all(holds is True for holds in facts.values()), facts
    return [[run for run in document["runs"] if run["side"] == entry.label] for entry in RUNGS]


def added(rungs, is_per_step):
    """The CPU seconds that each rung adds to those of the rung below, in a step or in a round.

    Of a rung's rounds the one that took least: what the process did besides is in none or one of them.
    """
    costs = [
        min(run["cpu_seconds_per_step"] * (1 if is_per_step else run["num_steps"]) for run in runs)
        for runs in rungs
    ]
    return [above - below for below, above in zip([0, *costs], costs, strict=False)]


def delay():
    end = time.thread_time() + DELAY
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize(("number", "owner", "name", "is_per_step"), LAYERS)
def test_a_delay_shows_in_its_own_rung(ladder, undisturbed, monkeypatch, number, owner, name, is_per_step):
    original = getattr(owner, name)

    def late(*args, **kwargs):
        delay()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, late)
    rungs = measured(ladder)
    costs = zip(added(rungs, is_per_step), added(undisturbed, is_per_step), strict=True)
    extra = [after - before for after, before in costs]
    assert extra[number] > (1 if is_per_step else WORKLOAD.num_requests) * 0.8 * DELAY
    assert max(others := extra[:number] + extra[number + 1 :]) < extra[number] / 2, others
    fastest = max(run["tokens_per_second"] for run in rungs[number])
    assert NUM_TOKENS / fastest > extra[number]  # seconds of a round
