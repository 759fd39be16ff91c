"""Holds one engine for a bench, in a process of its own: `python -m gradus.bench.engine_worker`.

Answers lines of JSON, as `gradus.bench.workers` sends them. Imports nothing heavy before it is told to load,
so that what loading takes can be told apart.
"""

import os
import time
from typing import TYPE_CHECKING, Any

from gradus.bench.peers.runners.peer_protocol import answer_commands
from gradus.bench.process_memory import resident_memory
from gradus.disk_cache.folder import cache_folder

if TYPE_CHECKING:
    from gradus.bench.engine_driver import EngineDriver
    from gradus.runtime import Runtime


class EngineWorker:
    """The commands; `load` comes first."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._driver: EngineDriver | None = None

    def load(self, command: dict[str, Any]) -> dict[str, Any]:
        """`config`: fields of `EngineConfig`; `cpus`: those that it may run on, None for all."""
        running = time.perf_counter()
        if command["cpus"] is not None:
            os.sched_setaffinity(0, command["cpus"])
        from gradus.bench.engine_driver import EngineDriver
        from gradus.config import EngineConfig
        from gradus.runtime import load_runtime

        imported, before = time.perf_counter(), memory()
        runtime = self._runtime = load_runtime(EngineConfig(**command["config"]))
        self._driver = EngineDriver(runtime)
        return {
            "running": running,
            "imported": imported,
            "loaded": time.perf_counter(),
            "load_seconds": dict(runtime.load_seconds),
            "weights_are_mapped": getattr(runtime.backend, "weights_are_mapped", None),
            "kernels": getattr(runtime.backend, "cpu_variant", None),
            "vocab_size": runtime.source.config.vocab_size,
            "accounts": accounts(runtime),
            "memory": {"imported": before, "loaded": memory()},
        }

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """`prompts`, `output_len` tokens each, `concurrency` at a time. `began` is by `time.perf_counter`."""
        from gradus.bench.workloads.base import WorkloadRequest

        runtime, driver = self._loaded()
        requests = [WorkloadRequest(prompt, command["output_len"]) for prompt in command["prompts"]]
        began = time.perf_counter()
        driven = driver.run(requests, command["concurrency"])
        return {
            "began": began,
            "requests": [request.as_dict() for request in driven.run.requests],
            "token_ids": driven.token_ids,
            "num_generated_tokens": driven.num_generated_tokens,
            "num_computed_prompt_tokens": driven.num_computed_prompt_tokens,
            "peak_used_blocks": runtime.core.pool.peak_used,
            "num_used_blocks": runtime.core.pool.num_used,
            "memory": memory(),
        }

    def _loaded(self) -> "tuple[Runtime, EngineDriver]":
        if self._runtime is None or self._driver is None:
            raise RuntimeError("nothing is loaded")
        return self._runtime, self._driver


def memory() -> dict[str, int]:
    """What the system says; see `resident_memory`."""
    return resident_memory(cache_folder())


def accounts(runtime: "Runtime") -> dict[str, int]:
    """What the engine's own books say of memory, in bytes; what a backend does not count is absent."""
    cache, backend = runtime.cache, runtime.backend
    counted = {
        "weight_bytes": getattr(backend, "weight_bytes", None),
        "kv_reserved_bytes": getattr(backend, "kv_bytes", None),
        "activation_bytes": getattr(backend, "program_bytes", None),
    }
    return {
        **{name: size for name, size in counted.items() if size is not None},
        "weight_formula_bytes": runtime.weight_bytes,
        "num_blocks": cache.num_blocks,
        "block_size": cache.block_size,
        "kv_token_bytes": cache.token_bytes,
    }


if __name__ == "__main__":
    worker = EngineWorker()
    answer_commands({"load": worker.load, "run": worker.run})
