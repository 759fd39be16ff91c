"""The outside reference: llama.cpp's raw `llama_decode` loop in a process of its own, beside the rungs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradus.bench.ladder.requests import LadderRequest
from gradus.bench.peers.endpoint import RunnerEndpoint
from gradus.bench.peers.rows import LLAMA
from gradus.bench.peers.sides import CANDIDATES, RUNNERS
from gradus.bench.rounds import Figures
from gradus.cache_plan import weight_dtype
from gradus.config import EngineConfig
from gradus.errors import ConfigError

NAME = "llama.cpp llama_decode"
_FILE_TYPES = {"int8": "q8_0", "int4": "q4_0", "int4-all": "q4_0"}


@dataclass(frozen=True, slots=True)
class PeerChoice:
    """The interpreter that has llama-cpp-python, and the weights; None: the ladder's model as a GGUF file."""

    python: str
    weights: Path | None = None

    def find_weights(self, config: EngineConfig, folder: Path) -> Path:
        """The GGUF file: the one given, the model itself, or the model written into `folder`.

        Raises:
            ConfigError: there is no such file.
            UnsupportedModelError, CheckpointError: the model cannot be told in GGUF.
        """
        weights = self.weights or (
            Path(config.model).expanduser() if config.model.endswith(".gguf") else None
        )
        if weights is None:
            return _write_gguf(config, folder / "weights.gguf")
        if not weights.is_file():
            raise ConfigError(f"the peer's weights are {weights}, and there is no such file")
        return weights


def _write_gguf(config: EngineConfig, path: Path) -> Path:
    from gradus.export.gguf import export_gguf
    from gradus.models.sources import resolve_model

    source = resolve_model(config.model, seed=config.seed or 0)
    export_gguf(source, path, _FILE_TYPES.get(config.quantization, weight_dtype(config, source.config)))
    return path


class LlamaCpp:
    """Runs a ladder's rounds."""

    name = NAME

    def __init__(
        self, python: str, weights: Path, num_threads: int, num_sequences: int, context: int
    ) -> None:
        """Raises:
        PeerError: it does not start, or cannot load the weights.
        """
        load = {
            "model": str(weights),
            "num_threads": num_threads,
            "num_sequences": num_sequences,
            "context": context,
        }
        self._endpoint = RunnerEndpoint([python, str(RUNNERS / "raw_llama_cpp.py")], load)
        self._options: Mapping[str, Any] | None = None

    @property
    def software(self) -> Mapping[str, Any]:
        return self._endpoint.software

    def run(self, requests: Sequence[LadderRequest], concurrency: int) -> Figures:
        """The first time with each of its options: the fastest is kept."""
        if self._options is not None:
            return self._run(requests, concurrency, self._options)
        scores = []
        for options in CANDIDATES[LLAMA]:
            self._run(requests, concurrency, options)
            scores.append(self._run(requests, concurrency, options)["tokens_per_second"])
        self._options = CANDIDATES[LLAMA][scores.index(max(scores))]
        return self._run(requests, concurrency, self._options)

    def close(self) -> None:
        self._endpoint.close()

    def _run(
        self, requests: Sequence[LadderRequest], concurrency: int, options: Mapping[str, Any]
    ) -> Figures:
        lengths = {request.output_len for request in requests}
        if len(lengths) > 1:
            raise ConfigError("the peer's requests must all have the same output length; leave --peer out")
        prompts = [request.engine_request.prompt_token_ids for request in requests]
        run = self._endpoint.run(prompts, lengths.pop(), concurrency, options)
        return {"tokens_per_second": run.num_output_tokens / run.seconds}
