"""Runner: Hugging Face transformers' `generate` on the CPU, in static batches of the checkpoint's own type.

It has no continuous batching, so prompts run in batches of `concurrency`, and the next batch begins when
all of one have ended. Prompts of a batch must be of one length: padded ones are more work than others have.
Options: `dtype`, a name in torch.
"""

from typing import Any

import torch
import transformers
from peer_protocol import Clock, serve


class TransformersGenerate:
    """Implements `Runner`."""

    def __init__(self) -> None:
        self._model: Any = None

    def load(self, command: dict[str, Any]) -> dict[str, Any]:
        torch.set_num_threads(command["num_threads"])
        dtype = getattr(torch, command["options"]["dtype"])
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            command["model"],
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        ).eval()
        self._model.generation_config.eos_token_id = None  # to go on past the end of the sequence
        return {"transformers": transformers.__version__, "torch": torch.__version__}

    def run(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        prompts, size = command["prompts"], command["concurrency"]
        clock, timings = Clock(), []
        for first in range(0, len(prompts), size):
            timings += self._run_batch(clock, prompts[first : first + size], command["output_len"])
        return timings

    def _run_batch(self, clock: Clock, prompts: list[list[int]], output_len: int) -> list[dict[str, Any]]:
        if len({len(prompt) for prompt in prompts}) > 1:
            raise ValueError("prompts of a batch differ in length")
        ids, times, start = torch.tensor(prompts), Times(clock), clock.now()
        with torch.inference_mode():
            output = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=output_len,
                do_sample=False,
                pad_token_id=0,
                stopping_criteria=transformers.StoppingCriteriaList([times]),
            )
        count = output.shape[1] - ids.shape[1]
        return [Clock.timing(start, times.seen[0], times.seen[-1], prompt, count) for prompt in prompts]


class Times(transformers.StoppingCriteria):
    """Never stops; notes when every token came."""

    def __init__(self, clock: Clock) -> None:
        self.seen: list[float] = []
        self._clock = clock

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.seen.append(self._clock.now())
        return torch.zeros(len(input_ids), dtype=torch.bool)


if __name__ == "__main__":
    serve(TransformersGenerate())
