"""A delay put into one layer is found by the ladder, in that layer's rung and in no other.

The delay computes instead of sleeping, and the rungs' CPU time is compared: it is the same on a busy machine.
Ten milliseconds are many times what any rung of so small a model takes per step.
"""

import gc
import time

import pytest

from gradus.backends.native.backend import NativeBackend
from gradus.bench.ladder.ladder import measure
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

LAYERS = [
    (0, NativeBackend, "_run"),
    (1, NativeBackend, "execute"),
    (2, BatchBuilder, "build"),
    (3, BlockPool, "allocate"),
    (4, Scheduler, "schedule"),
    (5, RequestStream, "push"),
    (6, Detokenizer, "push"),
    (7, completions, "parse"),
    (8, completions, "event"),
    (9, Reply, "message"),
]


@pytest.fixture(scope="module", autouse=True)
def no_collection():
    """A collection of all that the tests have imported takes longer than the delays."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module")
def undisturbed(ladder):
    return measured(ladder)[1]


def measured(ladder):
    """A round's seconds on each rung, and the CPU seconds that each adds to those of the rung below."""
    document = measure(ladder, 1, lambda name: None)
    facts = {name: holds for name, holds in document["verification"].items() if name != "repeats"}
    assert all(holds is True for holds in facts.values()), facts
    rungs = [
        {name: rung[name]["median"] for name in ("tokens_per_second", "cpu_seconds_per_step", "num_steps")}
        for rung in document["results"]["rungs"]
    ]
    cpu_seconds = [rung["cpu_seconds_per_step"] * rung["num_steps"] for rung in rungs]
    added = [above - below for below, above in zip([0, *cpu_seconds], cpu_seconds, strict=False)]
    return [NUM_TOKENS / rung["tokens_per_second"] for rung in rungs], added


def delay():
    end = time.thread_time() + DELAY
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize(("number", "owner", "name"), LAYERS)
def test_a_delay_shows_in_its_own_rung(ladder, undisturbed, monkeypatch, number, owner, name):
    original = getattr(owner, name)

    def late(*args, **kwargs):
        delay()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, late)
    seconds, added = measured(ladder)
    extra = [after - before for after, before in zip(added, undisturbed, strict=True)]
    assert extra[number] > 3 * DELAY  # it came once for each request, or once a step, at least
    assert max(others := extra[:number] + extra[number + 1 :]) < extra[number] / 2, others
    assert seconds[number] > extra[number] / 2
