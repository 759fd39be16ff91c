"""How each engine is started: the command, and what it is told to load."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradus.bench.child_process import own_command
from gradus.bench.peers.candidates import Options
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
from gradus.bench.serve_command import serve_command, to_flag
from gradus.config import EngineConfig
from gradus.errors import ConfigError

RUNNERS = Path(__file__).with_name("runners")
_SCRIPTS = {
    LLAMA: "raw_llama_cpp.py",
    OPENVINO: "openvino_pipeline.py",
    TRANSFORMERS: "transformers_generate.py",
    VLLM: "vllm_engine.py",
}
_BITS = {"4-bit": "int4-all", "8-bit": "int8", "16-bit": "none"}
# Greedy and nothing else: its other samplers would sort the vocabulary for nothing.
_LLAMA_SERVER_BODY = {"cache_prompt": False, "samplers": ["top_k"], "top_k": 1}


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

    def open(self, side: Side, num_sequences: int, context: int, options: Options) -> Endpoint:
        """Start a side with room for `num_sequences` at a time of `context` tokens each.

        options: of the engine's own; see `candidates.py`.

        Raises:
            PeerError: it does not start.
        """
        if side.engine == SERVER:
            return ServerEndpoint(serve_command(self._config(side, num_sequences, context)), {})
        if side.engine == LLAMA_SERVER:
            command = self._llama_server_command(side, num_sequences, context, options)
            software = {"xllamacpp": _version(self.interpreters[side.engine], "xllamacpp")}
            return ServerEndpoint(command, _LLAMA_SERVER_BODY, software=software)
        load = {
            "model": self._model(side),
            "num_threads": self.num_threads,
            "num_sequences": num_sequences,
            "context": context,
            "options": {**self._quantization(side), **options},
        }
        if side.engine == GRADUS:
            module = "gradus.bench.peers.runners.gradus_engine"
            return RunnerEndpoint(own_command(module), load)
        command = [self.interpreters[side.engine], str(RUNNERS / _SCRIPTS[side.engine])]
        return RunnerEndpoint([*command, str(self.num_threads)] if side.engine == VLLM else command, load)

    def _model(self, side: Side) -> str:
        return self.model if side.weights in _BITS else str(self.weights / side.weights)

    def _quantization(self, side: Side) -> dict[str, Any]:
        return {"quantization": _BITS[side.weights]} if side.weights in _BITS else {}

    def _config(self, side: Side, num_sequences: int, context: int) -> EngineConfig:
        return EngineConfig(
            model=self._model(side),
            num_threads=self.num_threads,
            **engine_options(num_sequences, context),
            **self._quantization(side),
        )

    def _llama_server_command(
        self, side: Side, num_sequences: int, context: int, options: Options
    ) -> list[str]:
        command = [self.interpreters[side.engine], str(RUNNERS / "llama_cpp_server.py")]
        command += ["--model", self._model(side), "--num-threads", str(self.num_threads)]
        command += ["--num-sequences", str(num_sequences), "--context", str(context)]
        for name, value in options.items():
            command += to_flag(name.replace("_", "-"), value)
        return command


def _version(python: str, package: str) -> str | None:
    """Of a package in an interpreter's environment; None if there is none."""
    program = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    found = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
