"""How each engine is started: the command, what it is told to load, and which of its options are tried."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradus.bench.child_process import own_command
from gradus.bench.peers.endpoint import Endpoint, RunnerEndpoint, ServerEndpoint
from gradus.bench.peers.rows import (
    GRADUS,
    LLAMA,
    LLAMA_SERVER,
    OPENVINO,
    PEER_ENGINES,
    SERVER,
    TRANSFORMERS,
    VLLM,
    Side,
)
from gradus.bench.peers.runners.gradus_engine import engine_options
from gradus.errors import ConfigError

RUNNERS = Path(__file__).with_name("runners")
_SCRIPTS = {
    LLAMA: "raw_llama_cpp.py",
    OPENVINO: "openvino_pipeline.py",
    TRANSFORMERS: "transformers_generate.py",
    VLLM: "vllm_engine.py",
}
_BITS = {"4-bit": "int4-all", "8-bit": "int8", "16-bit": "none"}
_DTYPES: tuple[Mapping[str, Any], ...] = ({}, {"dtype": "float32"})  # first the checkpoint's own

# What is tried before the rounds, because no engine should lose by a default: the fastest is kept.
CANDIDATES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    LLAMA: ({"flash_attention": True}, {"flash_attention": False}),
    OPENVINO: ({}, {"max_num_batched_tokens": 2048}),
    TRANSFORMERS: _DTYPES,
    VLLM: _DTYPES,
}
_NO_OPTIONS: tuple[Mapping[str, Any], ...] = ({},)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where the sides' weights and interpreters are.

    Attributes:
        model: ours, as `EngineConfig.model`.
        weights: directory of the peers' files.
        interpreters: engine -> Python of its own environment.
    """

    model: str
    weights: Path
    interpreters: Mapping[str, str]
    num_threads: int = 2

    def __post_init__(self) -> None:
        unknown = sorted(set(self.interpreters) - set(PEER_ENGINES))
        if unknown:
            raise ConfigError(f"there is no peer {unknown[0]!r}; there are {', '.join(PEER_ENGINES)}")

    def why_absent(self, side: Side) -> str | None:
        """Why a side cannot be measured here; None if it can."""
        if side.engine not in (GRADUS, SERVER) and side.engine not in self.interpreters:
            return f"no --peer {side.engine}=PYTHON was given"
        path = self.weights / side.weights
        if side.weights not in _BITS and not path.exists():
            return f"there is no {path}"
        return None

    def candidates(self, side: Side) -> tuple[Mapping[str, Any], ...]:
        return CANDIDATES.get(side.engine, _NO_OPTIONS)

    def open(self, side: Side, num_sequences: int, context: int) -> Endpoint:
        """Start a side with room for `num_sequences` at a time of `context` tokens each.

        Raises:
            PeerError: it does not start.
        """
        if side.engine == SERVER:
            return ServerEndpoint(self._serve_command(side, num_sequences, context), {})
        if side.engine == LLAMA_SERVER:
            return ServerEndpoint(
                self._llama_server_command(side, num_sequences, context), {"cache_prompt": False}
            )
        load = {
            "model": self._model(side),
            "num_threads": self.num_threads,
            "num_sequences": num_sequences,
            "context": context,
        }
        if side.engine == GRADUS:
            module = "gradus.bench.peers.runners.gradus_engine"
            return RunnerEndpoint(own_command(module), {**load, "options": self._options(side)})
        command = [self.interpreters[side.engine], str(RUNNERS / _SCRIPTS[side.engine])]
        return RunnerEndpoint([*command, str(self.num_threads)] if side.engine == VLLM else command, load)

    def _model(self, side: Side) -> str:
        return self.model if side.weights in _BITS else str(self.weights / side.weights)

    def _options(self, side: Side) -> dict[str, Any]:
        return {"quantization": _BITS[side.weights]} if side.weights in _BITS else {}

    def _serve_command(self, side: Side, num_sequences: int, context: int) -> list[str]:
        options = engine_options(num_sequences, context)
        command = own_command("gradus", "serve", self._model(side))
        command += ["--threads", str(self.num_threads), "--no-prefix-caching"]
        for name in ("kv_cache_dtype", "max_model_len", "max_num_seqs", "num_kv_blocks", "block_size"):
            command += [f"--{name.replace('_', '-')}", str(options[name])]
        for name, value in self._options(side).items():
            command += [f"--{name}", str(value)]
        return command

    def _llama_server_command(self, side: Side, num_sequences: int, context: int) -> list[str]:
        command = [self.interpreters[side.engine], str(RUNNERS / "llama_cpp_server.py")]
        command += ["--model", self._model(side), "--num-threads", str(self.num_threads)]
        return [*command, "--num-sequences", str(num_sequences), "--context", str(context)]
