"""The outside reference: llama.cpp's raw `llama_decode` loop in a process of its own, beside the rungs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradus.bench.ladder.requests import LadderRequest
from gradus.bench.peers.candidates import TRIAL_OUTPUT, Options, candidates, open_fastest
from gradus.bench.peers.endpoint import Endpoint, RunnerEndpoint
from gradus.bench.peers.rows import LLAMA
from gradus.bench.peers.sides import RUNNERS
from gradus.bench.rounds import Figures
from gradus.cache_plan import weight_dtype
from gradus.config import EngineConfig
from gradus.errors import ConfigError

NAME = "llama.cpp llama_decode"
WAVES = 2  # of requests in a turn, which so takes about as long as a rung's
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
    """Runs the first waves of a ladder's rounds: outputs are of one length, so others would be alike."""

    name = NAME

    def __init__(
        self, python: str, weights: Path, num_threads: int, num_sequences: int, context: int
    ) -> None:
        self._command = [python, str(RUNNERS / "raw_llama_cpp.py")]
        self._load: dict[str, Any] = {
            "model": str(weights),
            "num_threads": num_threads,
            "num_sequences": num_sequences,
            "context": context,
        }
        self._endpoint: Endpoint | None = None

    @property
    def software(self) -> dict[str, Any]:
        """What it says of itself once it has run."""
        return {} if self._endpoint is None else dict(self._endpoint.software)

    def run(self, requests: Sequence[LadderRequest], concurrency: int) -> Figures:
        """The first time, a warm-up, a short wave with each of its settings: the fastest is kept.

        Raises:
            PeerError: it does not start, or cannot load the weights.
            ConfigError: the requests differ in how many tokens they ask for.
        """
        output_len = _output_len(requests)
        if self._endpoint is None:
            self._endpoint = self._open_fastest(requests[:concurrency], min(output_len, TRIAL_OUTPUT))
        turn = requests[: WAVES * concurrency]
        return {"tokens_per_second": _speed(self._endpoint, turn, concurrency, output_len)}

    def close(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()

    def _open_fastest(self, wave: Sequence[LadderRequest], output_len: int) -> Endpoint:
        def score(endpoint: Endpoint) -> float:
            """Of a second run."""
            _speed(endpoint, wave, len(wave), output_len)
            return _speed(endpoint, wave, len(wave), output_len)

        return open_fastest(candidates(LLAMA, self._load["num_sequences"]), self._open, score).endpoint

    def _open(self, options: Options) -> Endpoint:
        return RunnerEndpoint(self._command, {**self._load, "options": options})


def _output_len(requests: Sequence[LadderRequest]) -> int:
    """Of each.

    Raises:
        ConfigError: they differ.
    """
    lengths = {request.output_len for request in requests}
    if len(lengths) > 1:
        raise ConfigError("the peer's requests must all have the same output length; leave --peer out")
    return lengths.pop()


def _speed(endpoint: Endpoint, requests: Sequence[LadderRequest], concurrency: int, output_len: int) -> float:
    """Output tokens per second."""
    prompts = [request.engine_request.prompt_token_ids for request in requests]
    run = endpoint.run(prompts, output_len, concurrency)
    return run.num_output_tokens / run.seconds
