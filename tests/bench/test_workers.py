"""Workers: a real process, and several at the same time."""

import threading
from pathlib import Path

import pytest

from gradus.bench.child_process import PeerError
from gradus.bench.engine_driver import EngineDriver
from gradus.bench.timings import RequestTiming, Run
from gradus.bench.workers import WorkerProcess, WorkerRun, run_together, wall_seconds
from gradus.bench.workloads.base import WorkloadRequest
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.runtime import load_runtime

REQUESTS = [WorkloadRequest([5, 6, 7], 4), WorkloadRequest([8, 9], 4)]
CONFIG = EngineConfig(num_threads=1, max_model_len=64, num_kv_blocks=16, enable_prefix_caching=False)


def test_a_process_gives_the_tokens_of_an_engine_here_and_runs_on_its_cpus_only():
    worker = WorkerProcess(CONFIG, cpus=[0])
    try:
        found = worker.run(REQUESTS, 2)
        allowed = Path(f"/proc/{worker._process.popen.pid}/status").read_text()
        with pytest.raises(ConfigError, match=r"\[4, 5\] output tokens"):
            worker.run([*REQUESTS, WorkloadRequest([1], 5)], 2)
    finally:
        worker.close()
    assert "Cpus_allowed_list:\t0\n" in allowed
    runtime = load_runtime(CONFIG)
    here = EngineDriver(runtime).run(REQUESTS, 2)
    runtime.close()
    assert found.token_ids == here.token_ids
    assert found.num_generated_tokens == 8
    assert [r.num_prompt_tokens for r in found.run.requests] == [3, 2]
    phases = worker.loaded["load_seconds"]
    assert list(phases) == ["source", "weights", "rest_of_tokenizer", "engine"]
    assert worker.started < worker.loaded["running"] < worker.loaded["imported"] < worker.loaded["loaded"]
    assert sum(phases.values()) <= worker.loaded["loaded"] - worker.loaded["imported"]


def test_a_model_that_cannot_be_loaded_is_told():
    with pytest.raises(PeerError, match="no-such-model"):
        WorkerProcess(EngineConfig(model="dummy:no-such-model"))


class Waiting:
    """A worker that ends only when as many others run too."""

    def __init__(self, barrier, began):
        self.barrier, self.began = barrier, began

    def run(self, requests, concurrency):
        if self.began is None:
            raise PeerError("it broke")
        self.barrier.wait(timeout=30)
        timings = Run(tuple(RequestTiming(0.5, 1.0, 2.0, len(r.prompt), 4) for r in requests))
        return WorkerRun(self.began, timings, [[concurrency]], 4, {})

    def close(self):
        pass


def test_workers_run_at_the_same_time_and_their_clocks_are_one():
    barrier = threading.Barrier(2)
    workers = [Waiting(barrier, 100.0), Waiting(barrier, 103.0)]
    runs = run_together(workers, [REQUESTS[:1], REQUESTS[1:]], [1, 2])
    assert [run.token_ids for run in runs] == [[[1]], [[2]]]
    assert wall_seconds(runs) == 105.0 - 100.5


def test_a_worker_that_fails_fails_the_run():
    with pytest.raises(PeerError, match="it broke"):
        run_together([Waiting(threading.Barrier(1), None)], [REQUESTS], [1])
