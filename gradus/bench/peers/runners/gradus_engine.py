"""Runner: this installation's engine, in process."""

from typing import Any

from gradus.bench.engine_driver import EngineDriver
from gradus.bench.peers.runners.peer_protocol import Runner, serve
from gradus.bench.workloads.base import WorkloadRequest
from gradus.config import EngineConfig
from gradus.runtime import Runtime, load_runtime


class GradusEngine:
    """Implements `Runner`. `load` takes the fields of `EngineConfig` as `options`."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._driver: EngineDriver | None = None

    def load(self, command: dict[str, Any]) -> dict[str, Any]:
        config = EngineConfig(
            model=command["model"],
            num_threads=command["num_threads"],
            **engine_options(command["num_sequences"], command["context"]),
            **command["options"],
        )
        self._runtime = load_runtime(config)
        self._driver = EngineDriver(self._runtime)
        return {"kernels": getattr(self._runtime.backend, "cpu_variant", None)}

    def run(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        if self._driver is None:
            raise RuntimeError("nothing is loaded")
        requests = [WorkloadRequest(prompt, command["output_len"]) for prompt in command["prompts"]]
        driven = self._driver.run(requests, command["concurrency"])
        return [request.as_dict() for request in driven.run.requests]


def engine_options(num_sequences: int, context: int) -> dict[str, Any]:
    """Room for exactly this many sequences, f16 keys and values, and nothing found in a cache."""
    block = 16
    return {
        "kv_cache_dtype": "f16",
        "enable_prefix_caching": False,
        "max_model_len": context,
        "max_num_seqs": num_sequences,
        "num_kv_blocks": num_sequences * -(-context // block),
        "block_size": block,
    }


if __name__ == "__main__":
    runner: Runner = GradusEngine()
    serve(runner)
