"""Runner: llama.cpp's raw `llama_decode` through llama-cpp-python's low-level interface.

Continuous batching in a loop of its own: a batch has the next token of every running sequence and the prompts
of those that begin; only a sequence's last row gives logits; the token is their argmax. Options:
`flash_attention`, `kv_unified`, `n_ubatch`. Source: llama.h of llama.cpp.
"""

from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np
from peer_protocol import closed_loop, serve

MAX_BATCH = 2048  # rows of one llama_decode
F16 = 1  # ggml's number of the type


@dataclass
class Sequence:
    """A prompt in flight: which of the context's sequences it is, and the tokens not computed yet."""

    id: int
    position: int
    pending: list[int]


class RawLlamaCpp:
    """Implements `Runner`."""

    def __init__(self) -> None:
        self._model: Any = None
        self._context: Any = None
        self._num_sequences = 0

    def load(self, command: dict[str, Any]) -> dict[str, Any]:
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(command["model"].encode(), params)
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {command['model']}")
        self._num_sequences = command["num_sequences"]
        self._make_context(command)
        return {
            "llama_cpp_python": llama_cpp.__version__,
            "system_info": llama_cpp.llama_print_system_info().decode(),
        }

    def run(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        loop = DecodeLoop(self._model, self._context, self._num_sequences)
        return closed_loop(loop, command["prompts"], command["output_len"], command["concurrency"])

    def _make_context(self, settings: dict[str, Any]) -> None:
        options = settings["options"]
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = settings["num_sequences"] * settings["context"]
        params.n_seq_max = settings["num_sequences"]
        params.n_batch = MAX_BATCH
        params.n_ubatch = options["n_ubatch"]
        params.n_threads = params.n_threads_batch = settings["num_threads"]
        params.type_k = params.type_v = F16
        params.flash_attn_type = int(options["flash_attention"])
        params.kv_unified = options["kv_unified"]
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError("llama.cpp cannot make a context")


class DecodeLoop:
    """Implements `Loop`."""

    def __init__(self, model: Any, context: Any, num_sequences: int) -> None:
        self._context = context
        self._memory = llama_cpp.llama_get_memory(context)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self._free = list(range(num_sequences))
        self._running: dict[int, Sequence] = {}
        self._batch = llama_cpp.llama_batch_init(MAX_BATCH, 0, 1)

    def start(self, index: int, prompt: list[int]) -> None:
        self._running[index] = Sequence(self._free.pop(), 0, list(prompt))

    def step(self) -> dict[int, int]:
        rows = self._fill()
        status = llama_cpp.llama_decode(self._context, self._batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")
        for index, row in rows.items():
            logits = llama_cpp.llama_get_logits_ith(self._context, row)
            token = int(np.argmax(np.ctypeslib.as_array(logits, shape=(self._vocab_size,))))
            self._running[index].pending = [token]
        return dict.fromkeys(rows, 1)

    def finish(self, index: int) -> None:
        sequence = self._running.pop(index)
        llama_cpp.llama_memory_seq_rm(self._memory, sequence.id, -1, -1)
        self._free.append(sequence.id)

    def _fill(self) -> dict[int, int]:
        """Fill the batch, running sequences before new prompts; the row of logits of each that ends in it."""
        rows: dict[int, int] = {}
        batch, count = self._batch, 0
        for index, sequence in sorted(self._running.items(), key=lambda item: len(item[1].pending)):
            taken = sequence.pending[: MAX_BATCH - count]
            sequence.pending = sequence.pending[len(taken) :]
            for token in taken:
                batch.token[count] = token
                batch.pos[count] = sequence.position
                batch.n_seq_id[count] = 1
                batch.seq_id[count][0] = sequence.id
                batch.logits[count] = 0
                sequence.position += 1
                count += 1
            if taken and not sequence.pending:
                batch.logits[count - 1] = 1
                rows[index] = count - 1
        batch.n_tokens = count
        return rows

    def __del__(self) -> None:
        llama_cpp.llama_batch_free(self._batch)


if __name__ == "__main__":
    serve(RawLlamaCpp())
