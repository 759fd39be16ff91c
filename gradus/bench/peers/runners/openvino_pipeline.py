"""Runner: OpenVINO GenAI's `ContinuousBatchingPipeline` on the CPU, f16 keys and values, no prefix cache.

Options: fields of its `SchedulerConfig`. ONEDNN_MAX_CPU_ISA=AVX2 in the environment holds it to AVX2.
"""

import os
from typing import Any

import numpy as np
import openvino
import openvino_genai
from peer_protocol import closed_loop, serve

BLOCK = 32  # tokens of one of its KV blocks on the CPU
MAX_ISA = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
# What it chooses itself where the CPU has no more; else it would ask oneDNN for kernels that are forbidden.
AVX2_PROPERTIES = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}


class OpenVinoPipeline:
    """Implements `Runner`."""

    def __init__(self) -> None:
        self._pipeline: Any = None

    def load(self, command: dict[str, Any]) -> dict[str, Any]:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = command["num_sequences"] * (-(-command["context"] // BLOCK) + 1)
        scheduler.max_num_seqs = command["num_sequences"]
        scheduler.enable_prefix_caching = False
        for name, value in command["options"].items():
            setattr(scheduler, name, value)
        properties = {"INFERENCE_NUM_THREADS": command["num_threads"], "KV_CACHE_PRECISION": "f16"}
        properties |= AVX2_PROPERTIES if MAX_ISA == "AVX2" else {}
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            command["model"], scheduler, "CPU", properties
        )
        return {"openvino_genai": openvino_genai.__version__, **({"max_isa": MAX_ISA} if MAX_ISA else {})}

    def run(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        loop = StepLoop(self._pipeline, command["output_len"])
        return closed_loop(loop, command["prompts"], command["output_len"], command["concurrency"])


class StepLoop:
    """Implements `Loop`."""

    def __init__(self, pipeline: Any, output_len: int) -> None:
        self._pipeline = pipeline
        self._handles: dict[int, Any] = {}
        self._config = openvino_genai.GenerationConfig(
            max_new_tokens=output_len, ignore_eos=True, do_sample=False
        )

    def start(self, index: int, prompt: list[int]) -> None:
        tensor = openvino.Tensor(np.array([prompt], np.int64))
        self._handles[index] = self._pipeline.add_request(index, tensor, self._config)

    def step(self) -> dict[int, int]:
        self._pipeline.step()
        return {index: _num_new(handle) for index, handle in self._handles.items()}

    def finish(self, index: int) -> None:
        del self._handles[index]


def _num_new(handle: Any) -> int:
    count = 0
    while handle.can_read():
        count += sum(len(output.generated_ids) for output in handle.read().values())
    return count


if __name__ == "__main__":
    serve(OpenVinoPipeline())
