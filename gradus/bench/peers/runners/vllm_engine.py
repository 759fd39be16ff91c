"""Runner: vLLM's engine on the CPU, in this process, without a prefix cache.

Its argument is the number of threads. Options: `dtype`; on CPUs without AVX-512 only float32 is usable.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")  # GiB
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from peer_protocol import closed_loop, serve


class VllmEngine:
    """Implements `Runner`."""

    def __init__(self) -> None:
        self._engine: Any = None

    def load(self, command: dict[str, Any]) -> dict[str, Any]:
        import vllm

        self._engine = vllm.LLM(
            model=command["model"],
            dtype=command["options"]["dtype"],
            max_model_len=command["context"],
            max_num_seqs=command["num_sequences"],
            enable_prefix_caching=False,
        ).llm_engine
        return {"vllm": vllm.__version__}

    def run(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        loop = StepLoop(self._engine, command["output_len"])
        return closed_loop(loop, command["prompts"], command["output_len"], command["concurrency"])


class StepLoop:
    """Implements `Loop`."""

    def __init__(self, engine: Any, output_len: int) -> None:
        from vllm import SamplingParams

        self._engine = engine
        self._counts: dict[int, int] = {}
        self._params = SamplingParams(
            temperature=0.0, max_tokens=output_len, ignore_eos=True, detokenize=False
        )

    def start(self, index: int, prompt: list[int]) -> None:
        self._counts[index] = 0
        self._engine.add_request(str(index), {"prompt_token_ids": prompt}, self._params)

    def step(self) -> dict[int, int]:
        """Outputs carry all tokens so far; what is new is the difference."""
        given = dict.fromkeys(self._counts, 0)
        for output in self._engine.step():
            index, count = int(output.request_id), len(output.outputs[0].token_ids)
            given[index] = count - self._counts[index]
            self._counts[index] = count
        return given

    def finish(self, index: int) -> None:
        del self._counts[index]


def with_openmp(num_threads: str) -> None:
    """Start this process again with so many threads and Intel's OpenMP before any other.

    vLLM's CPU kernels are built against it and fall far behind with another one loaded first.
    """
    library = Path(sys.prefix) / "lib" / "libiomp5.so"
    if "LD_PRELOAD" in os.environ:
        return
    if not library.exists():
        raise RuntimeError(f"there is no {library}; install intel-openmp beside vLLM")
    environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": num_threads}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


if __name__ == "__main__":
    with_openmp(sys.argv[1])
    serve(VllmEngine())
