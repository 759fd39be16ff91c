"""A hundred clients of all kinds against one small server: nothing is lost, nothing leaks, nothing lies.

`GRADUS_CHAOS_ROUNDS` and `GRADUS_CHAOS_SEED` make it longer and other.
"""

import asyncio
import gc
import json
import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from gradus.config import EngineConfig
from gradus.engine.async_engine import AsyncEngine
from gradus.errors import GradusError
from gradus.runtime import load_runtime
from gradus.server.service import Service
from gradus.server.settings import ServerSettings
from tests.server.harness import hosting
from tests.server.hostile_grpc import GrpcClient
from tests.server.hostile_http import COMPLETIONS, client, get, post, talk

ROUNDS = int(os.environ.get("GRADUS_CHAOS_ROUNDS", "2"))
SEED = os.environ.get("GRADUS_CHAOS_SEED", "1")
NUM_HTTP_CLIENTS, NUM_GRPC_CLIENTS = 84, 16
REQUESTS_OF_A_CLIENT = 3
MAX_GROWTH_MIB = 48  # from the end of the first round, clients included
SETTINGS = ServerSettings(
    port=0,
    grpc_port=0,
    shutdown_timeout=0.0,
    head_timeout=4.0,  # more than a busy machine keeps a client from writing
    body_timeout=4.0,
    max_body_bytes=100_000,
)
# Greedy and drawn; with log probabilities, so that not even a bit may differ.
REFERENCES = [
    {"prompt": text, "max_tokens": 24, "logprobs": 2, "temperature": temperature, "seed": 5}
    for text in ("What is 17 plus 25?", "The day after Monday is")
    for temperature in (0, 1.0)
]


class CountingService(Service):
    """Knows how many choices were asked for, and how many of them were let in."""

    num_asked = num_started = num_refused = 0

    def generate(self, requests, *args, **options):
        num_choices = sum(request.params.n for request in requests)
        self.num_asked += num_choices
        try:
            generation = super().generate(requests, *args, **options)
        except GradusError:
            self.num_refused += num_choices
            raise
        self.num_started += generation.num_choices
        return generation


class CountingEngine(AsyncEngine):
    """Knows how many choices it took."""

    num_taken = 0

    def add_request(self, request):
        stream = super().add_request(request)
        self.num_taken += request.params.n
        return stream


@pytest.fixture(scope="module")
def running():
    """The embedded model with room for few requests; the engine's core is `running.core`."""
    config = EngineConfig(
        model="demo", seed=0, max_model_len=256, max_num_seqs=6, kv_cache_memory_bytes=900 * 1024
    )
    runtime = load_runtime(config)
    engine = CountingEngine(runtime.core, max_queued_requests=24)
    service = CountingService(engine, runtime.inputs, "demo", SETTINGS)
    service.backend = runtime.core.backend
    with hosting(service) as running:
        running.core, running.service, running.num_watched = runtime.core, service, 0
        yield running
    runtime.close()


async def watch_health(port, unhealthy):
    """Ask again and again; nothing that clients do makes the engine unhealthy."""
    while True:
        answer = await asyncio.wait_for(talk(port, get("/health")), 20)
        if (answer.status, answer.body) != (200, b'{"status":"ok"}'):
            unhealthy.append(answer)
        await asyncio.sleep(0.05)


async def watch_tokens(running, port, expected, differences):
    """Ask the same again and again; what else runs, waits or is preempted does not show in the answers."""
    while True:
        for body, choices in zip(REFERENCES, expected, strict=True):
            running.num_watched += 1
            answer = await talk(port, post(COMPLETIONS, json.dumps(body).encode()))
            if answer.status == 200 and json.loads(answer.body)["choices"] != choices:
                differences.append(answer)
            await asyncio.sleep(0.05)


async def play(running, number, pool, expected):
    """One round of all clients at once; the outcomes."""
    port = httpx.URL(running.url).port
    grpc_port = int(running.server.grpc.addresses[0].rpartition(":")[2])
    loop = asyncio.get_running_loop()
    unhealthy, differences = [], []
    watchers = [
        asyncio.create_task(watch_health(port, unhealthy)),
        asyncio.create_task(watch_tokens(running, port, expected, differences)),
    ]

    def chance(name):
        return random.Random(f"{SEED} {number} {name}")

    http = [client(port, chance(f"http {i}"), REQUESTS_OF_A_CLIENT) for i in range(NUM_HTTP_CLIENTS)]
    grpc = [
        loop.run_in_executor(pool, GrpcClient(grpc_port).run, chance(f"grpc {i}"), REQUESTS_OF_A_CLIENT)
        for i in range(NUM_GRPC_CLIENTS)
    ]
    outcomes = [outcome for each in await asyncio.gather(*http, *grpc) for outcome in each]
    for watcher in watchers:
        assert not watcher.done(), watcher
        watcher.cancel()
    await asyncio.gather(*watchers, return_exceptions=True)
    assert (unhealthy, differences) == ([], [])
    return outcomes


def resident_mib():
    gc.collect()
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def num_open_files():
    return len(os.listdir("/proc/self/fd"))


def reference_answers(running):
    return [running.post(COMPLETIONS, body).json()["choices"] for body in REFERENCES]


def wait_until_forgotten(running):
    """Until nothing of any client is left in the engine and in the servers."""
    running.wait_until_idle(30)
    connections, generations = running.server.server_state.connections, running.server.grpc._in_flight
    deadline = time.monotonic() + 30
    while len(connections) > 1 or generations._generations:  # one connection is this test's own
        assert time.monotonic() < deadline, (connections, generations._generations)
        time.sleep(0.02)


@pytest.fixture(scope="module")
def aftermath(running):
    """Plays all rounds; the outcomes, what was measured after each round, and answers before and after."""
    before = reference_answers(running)
    outcomes, samples = [], []
    with ThreadPoolExecutor(NUM_GRPC_CLIENTS) as pool:
        for number in range(ROUNDS + 1):
            outcomes += asyncio.run(play(running, number, pool, before))
            wait_until_forgotten(running)
            samples.append((resident_mib(), num_open_files()))
    return outcomes, samples, before, reference_answers(running)


def test_every_request_has_exactly_one_ending(running, aftermath):
    """As each client saw it for itself; here the server's books must agree, with each other and with them."""
    outcomes, _, before, after = aftermath
    service, engine = running.service, running.engine
    finished = service.observer.metrics.num_finished
    assert service.num_asked == service.num_started + service.num_refused
    assert sum(finished.values()) == service.num_started
    assert sum(engine.stats().num_finished.values()) == engine.num_taken
    assert (finished["error"], engine.stats().num_finished["error"]) == (0, 0)
    num_served = finished["stop"] + finished["length"] - len(before) - len(after)
    num_seen = sum(outcome.num_served for outcome in outcomes)
    num_unseen = sum(outcome.num_unseen for outcome in outcomes) + running.num_watched
    assert num_seen <= num_served <= num_seen + num_unseen


def test_it_was_chaos(running, aftermath):
    """Otherwise the other tests show nothing."""
    endings = Counter((outcome.kind, outcome.ending) for outcome in aftermath[0])
    assert len(aftermath[0]) >= (NUM_HTTP_CLIENTS + NUM_GRPC_CLIENTS) * REQUESTS_OF_A_CLIENT * (ROUNDS + 1)
    for ending in ("200", "429", "504"):
        assert endings["generation", ending], endings
    for kind in ("leave", "bad JSON", "huge body", "half a request", "bad HTTP", "tokenize", "gRPC leave"):
        assert any(name == kind for name, _ in endings), endings
    assert any(kind == "gRPC generation" and "OK" in ending for kind, ending in endings), endings
    stats = running.engine.stats()
    assert stats.num_preemptions > 0
    assert stats.num_finished["abort"] > 10


def test_no_block_leaks(running, aftermath):
    running.core.check_integrity()
    stats = running.engine.stats()
    assert (stats.num_running, stats.num_waiting, stats.num_used_blocks) == (0, 0, 0)
    assert stats.num_free_blocks == stats.num_blocks
    assert running.core.num_waiting_tokens == 0
    assert not running.engine._in_flight


def test_memory_and_open_files_are_flat(aftermath):
    samples = aftermath[1]
    assert samples[-1][0] - samples[0][0] < MAX_GROWTH_MIB, samples
    assert samples[-1][1] - samples[0][1] < 10, samples


def test_the_same_requests_get_the_same_tokens_as_before(aftermath):
    _, _, before, after = aftermath
    assert after == before
    assert all(choice["logprobs"]["tokens"] for choices in before for choice in choices)
