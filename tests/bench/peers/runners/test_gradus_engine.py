"""Our own runner, as a process behind its pipe: the same figures as any peer's."""

import sys

import pytest

from gradus.bench.peers.endpoint import PeerError, RunnerEndpoint

COMMAND = [sys.executable, "-m", "gradus.bench.peers.runners.gradus_engine"]
LOAD = {"model": "demo", "num_threads": 2, "num_sequences": 2, "context": 24, "options": {}}


def test_it_runs_prompts_in_a_process_of_its_own():
    endpoint = RunnerEndpoint(COMMAND, {**LOAD, "options": {"quantization": "int8"}})
    try:
        assert endpoint.software["kernels"]
        run = endpoint.run([[5, 6, 7], [8, 9], [10]], 4, 2)
        assert [(r.num_prompt_tokens, r.num_output_tokens) for r in run.requests] == [(3, 4), (2, 4), (1, 4)]
        assert endpoint.peak_memory() > 20e6
        with pytest.raises(PeerError, match="Context"):
            endpoint.run([[1] * 24], 4, 1)
        assert endpoint.run([[1]], 2, 1).num_output_tokens == 2  # it goes on after an error
    finally:
        endpoint.close()


def test_a_model_that_cannot_be_loaded_is_an_error_of_the_peer():
    with pytest.raises(PeerError, match="no such"):
        RunnerEndpoint(COMMAND, {**LOAD, "model": "./no-such-model"})
