"""llama.cpp's opinion of a text: minus the log-probability of each token, by the package `xllamacpp`.

llama.cpp's server in this process reports the likeliest next tokens of a prompt, so a text is read one prompt
longer at a time; what it has read already stays in its cache. Knows GGUF files and token ids; no text.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CONTEXT = 2048
SAMPLED = 0  # a token that is text
FEW = 40  # candidates to look for the token among, before all are asked for


class LlamaCppOracle:
    """A model in llama.cpp, with an f32 KV cache, no flash attention, and one thread."""

    def __init__(self, model: Path, vocab_size: int) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_ctx, params.n_parallel = CONTEXT, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.warmup = False
        params.verbosity = -1
        self._server = xllamacpp.Server(params)
        self._vocab_size = vocab_size

    def losses(self, ids: Sequence[int]) -> np.ndarray:
        """Minus the log-probability of every token but the first, given those before it."""
        return np.array([self._loss(list(ids[:i]), ids[i]) for i in range(1, len(ids))])

    def _loss(self, prompt: list[int], token: int) -> float:
        for num_candidates in (FEW, self._vocab_size):
            found = self._likeliest(prompt, num_candidates)
            if token in found:
                return -found[token]
        raise RuntimeError(f"llama.cpp reports no probability of token {token}")

    def _likeliest(self, prompt: list[int], num_candidates: int) -> dict[int, float]:
        """Log-probabilities from the plain softmax, whatever is sampled.

        That is always the same token, since after an end of the sequence or half a character none are told.
        """
        request = {
            "prompt": prompt,
            "n_predict": 1,
            "n_probs": num_candidates,
            "logit_bias": [[SAMPLED, 1e4]],
        }
        answer: Any = self._server.handle_completions(request)
        answer = json.loads(answer) if isinstance(answer, str) else answer
        (first,) = answer["choices"][0]["logprobs"]["content"]
        return {entry["id"]: entry["logprob"] for entry in first["top_logprobs"]}
