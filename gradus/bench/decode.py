"""`gradus bench decode`: one stream's speed, measured, beside what was predicted without the model's weights.

Prediction and measurement take turns, so that a machine whose speed drifts drifts under both.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradus.bench.estimate import ModelBytes, model_bytes
from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.probe import DecodeProbe, Prediction, chosen_variant
from gradus.bench.statistics import repeats, spread
from gradus.cache_plan import weight_dtype
from gradus.config import EngineConfig
from gradus.errors import ConfigError, RequestFailedError
from gradus.machine import available_cpus
from gradus.runtime import Runtime, load_runtime
from gradus.sampling_params import SamplingParams
from gradus.text.output_processor import RequestState

METHOD = (
    "One greedy stream at a time; prompts are random token ids, another in every run, so that nothing is "
    "cached; end of sequence is ignored. tokens_per_second counts the tokens after the first over the time "
    "from the first to the last. Each run first decodes as many tokens with a cut of the model (same widths, "
    "made-up weights), which gives the prediction, then with the model. A first round is left out."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSettings:
    """Tokens per request, and how often."""

    prompt_tokens: int = 32
    output_tokens: int = 128
    num_runs: int = 5

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1:
            raise ConfigError(f"prompt_tokens is {self.prompt_tokens}; it must be 1 or more")
        if not 2 <= self.output_tokens <= 2048:
            raise ConfigError(f"output_tokens is {self.output_tokens}; it must be 2 to 2,048")
        if self.num_runs < 1:
            raise ConfigError(f"runs is {self.num_runs}; it must be 1 or more")

    @property
    def mean_context(self) -> int:
        return self.prompt_tokens + self.output_tokens // 2


@dataclass(frozen=True, slots=True)
class DecodeRun:
    """One prediction and the measurement after it."""

    predicted: Prediction
    first_token_seconds: float
    tokens_per_second: float
    num_tokens: int

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.tokens_per_second / self.predicted.tokens_per_second

    def as_dict(self) -> dict[str, Any]:
        return {
            "tokens_per_second": self.tokens_per_second,
            "predicted_tokens_per_second": self.predicted.tokens_per_second,
            "first_token_seconds": self.first_token_seconds,
            "num_tokens": self.num_tokens,
        }


def bench_decode(
    config: EngineConfig, settings: DecodeSettings, on_run: Callable[[DecodeRun], None]
) -> dict[str, Any]:
    """Measure; `on_run` gets each run. Returns the evidence.

    Raises:
        ModelError, ConfigError: the model cannot be loaded.
        InvalidRequestError: prompt and output do not fit into the context.
    """
    runtime = load_runtime(config)
    model = runtime.source.config
    sizes = model_bytes(
        model,
        weight_dtype(config, model),
        runtime.cache.dtype,
        config.quantization,
        runtime.source.checkpoint.width,
    )
    runs: list[DecodeRun] = []
    try:
        probe = DecodeProbe(
            config, model, sizes, config.num_threads or available_cpus(), settings.mean_context
        )
        try:
            first_tokens = _stream(runtime, settings, 0)[0]  # warms up; its times are left out
            probe.measure(settings.output_tokens)
            for i in range(1, settings.num_runs + 1):
                predicted = probe.measure(settings.output_tokens)
                tokens, first, rest = _stream(runtime, settings, i)
                runs.append(DecodeRun(predicted, first, (len(tokens) - 1) / rest, len(tokens)))
                on_run(runs[-1])
            is_repeatable = _stream(runtime, settings, 0)[0] == first_tokens
        finally:
            probe.close()
    finally:
        runtime.close()
    return _evidence(config, settings, runtime, sizes, runs, is_repeatable)


def _stream(runtime: Runtime, settings: DecodeSettings, index: int) -> tuple[list[int], float, float]:
    """Token ids, seconds to the first, seconds from the first to the last, for prompt number `index`."""
    draw = random.Random(index)
    vocab_size = runtime.source.config.vocab_size
    prompt = [draw.randrange(vocab_size) for _ in range(settings.prompt_tokens)]
    params = SamplingParams(temperature=0.0, max_tokens=settings.output_tokens, ignore_eos=True)
    start = time.perf_counter()
    request = runtime.inputs.process(f"{index}-{start}", prompt, params)
    runtime.core.add_request(request)
    state = RequestState(request.request_id, None, prompt, params, runtime.tokenizer)
    first = 0.0
    while not state.finished:
        for update in runtime.core.step():
            delta = state.apply(update)
            if delta.error is not None:
                raise RequestFailedError(delta.error)
            if delta.token_ids and not first:
                first = time.perf_counter()
    return state.output().outputs[0].token_ids, first - start, time.perf_counter() - first


def _evidence(
    config: EngineConfig,
    settings: DecodeSettings,
    runtime: Runtime,
    sizes: ModelBytes,
    runs: list[DecodeRun],
    is_repeatable: bool,
) -> dict[str, Any]:
    is_native = config.backend == "native"
    return evidence(
        "decode",
        software={"backend": config.backend, "kernels": chosen_variant() if is_native else None},
        model={
            "name": runtime.source.name,
            "architecture": runtime.source.config.architecture,
            "weight_dtype": sizes.weight_dtype,
            "quantization": sizes.quantization,
            "stored_widths": sizes.stored_widths,
            "kv_cache_dtype": sizes.kv_dtype,
            "weight_bytes": sizes.weights,
            "bytes_read_per_token": sizes.read_at(settings.mean_context),
        },
        parameters={
            **engine_parameters(config),
            "num_threads": config.num_threads or available_cpus(),
            "prompt_tokens": settings.prompt_tokens,
            "output_tokens": settings.output_tokens,
            "num_runs": settings.num_runs,
        },
        method=METHOD,
        results={
            "tokens_per_second": spread([run.tokens_per_second for run in runs]),
            "first_token_seconds": spread([run.first_token_seconds for run in runs]),
            "predicted_tokens_per_second": spread([run.predicted.tokens_per_second for run in runs]),
            "measured_over_predicted": spread([run.ratio for run in runs]),
        },
        runs=[run.as_dict() for run in runs],
        verification={
            "every_run_gave_all_tokens": all(run.num_tokens == settings.output_tokens for run in runs),
            "the_same_prompt_gave_the_same_tokens": is_repeatable,
            "repeats": repeats(
                {
                    "tokens_per_second": [run.tokens_per_second for run in runs],
                    "first_token_seconds": [run.first_token_seconds for run in runs],
                }
            ),
        },
    )
