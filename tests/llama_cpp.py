"""llama.cpp as an oracle, by the prebuilt wheel `xllamacpp`: a server in this process, and its quantizer."""

import ctypes
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy as np
import xllamacpp

QUANTIZER = ctypes.CDLL(xllamacpp.xllamacpp.__file__).ggml_quantize_chunk
QUANTIZER.restype = ctypes.c_size_t
QUANTIZER.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]


def quantize(matrix: np.ndarray, type_name: str) -> np.ndarray:
    """A matrix, [rows, inputs], in llama.cpp's own blocks: [rows, bytes of a row]."""
    kind = gguf.GGMLQuantizationType[type_name]
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rows, inputs = matrix.shape
    source = np.ascontiguousarray(matrix, np.float32)
    blocks = np.empty((rows, inputs // block_size * block_bytes), np.uint8)
    written = QUANTIZER(kind, source.ctypes.data, blocks.ctypes.data, 0, rows, inputs, None)
    assert written == blocks.nbytes
    return blocks


class LlamaCpp:
    """A model in llama.cpp's server, with f32 keys and values."""

    def __init__(self, path: Path, context: int = 512) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.port = context, 1, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # two would spin
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.warmup, params.verbosity = False, 0
        self._server = xllamacpp.Server(params)
        self._text_token = self.tokenize("a")[0]

    def tokenize(self, text: str) -> list[int]:
        """Names of special tokens in the text become those tokens; nothing is added."""
        body = {"content": text, "add_special": False, "parse_special": True}
        return self._post("/tokenize", body)["tokens"]

    def generate(self, prompt: str | Sequence[int], max_tokens: int) -> str:
        """Greedily, to the end of the sequence."""
        body = {"prompt": prompt, "n_predict": max_tokens, "temperature": 0.0, "cache_prompt": False}
        return self._post("/completion", body)["content"]

    def generate_ids(self, prompt: Sequence[int], max_tokens: int) -> list[int]:
        """As `generate`, as tokens."""
        body = {"prompt": list(prompt), "n_predict": max_tokens, "temperature": 0.0}
        return self._post("/completion", body | {"cache_prompt": False, "return_tokens": True})["tokens"]

    def chat(self, text: str, max_tokens: int) -> str:
        """The greedy answer to a user's message, by the model's own chat template."""
        messages = [{"role": "user", "content": text}]
        body = {"messages": messages, "chat_template_kwargs": {"enable_thinking": False}}
        body |= {"max_tokens": max_tokens, "temperature": 0.0}
        return self._post("/v1/chat/completions", body)["choices"][0]["message"]["content"]

    def logprobs(self, prompt: Sequence[int], count: int) -> dict[int, float]:
        """The `count` likeliest next tokens, with the logarithms of their probabilities."""
        body = {"prompt": list(prompt), "n_predict": 1, "temperature": 0.0, "n_probs": count}
        body["logit_bias"] = [[self._text_token, 1e4]]  # after an end or half a character none are told
        (step,) = self._post("/completion", body | {"cache_prompt": False})["completion_probabilities"]
        return {choice["id"]: choice["logprob"] for choice in step["top_logprobs"]}

    def _post(self, path: str, body: Any) -> Any:
        response = httpx.post(self._server.listening_address + path, content=json.dumps(body), timeout=60)
        response.raise_for_status()
        return response.json()


@contextmanager
def llama_cpp(path: Path, context: int = 512) -> Iterator[LlamaCpp]:
    """A server that is gone afterwards."""
    server = LlamaCpp(path, context)
    try:
        yield server
    finally:
        del server._server
