"""Goodput: how many requests per second are answered within all service level objectives.

Source of the term and of the flag's form: Zhong et al. 2024 (DistServe), and `vllm bench serve --goodput`.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf

from gradus.bench.timings import RequestTiming, Run
from gradus.errors import ConfigError

Objectives = Mapping[str, float]
"""The most that a request may take, in seconds, by the metric's name."""

_METRICS: dict[str, Callable[[RequestTiming], float | None]] = {
    "ttft": lambda request: request.ttft,
    "tpot": lambda request: request.tpot,
    "e2el": lambda request: request.e2e,
}


def objectives(texts: Sequence[str]) -> Objectives:
    """Of texts such as `ttft:200`, in milliseconds.

    Raises:
        ConfigError: another metric, no number, one that is not positive, or a metric given twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition(":")
        if name not in _METRICS:
            raise ConfigError(f"goodput has no {name!r}; it knows {', '.join(_METRICS)}, as in ttft:200")
        if name in found:
            raise ConfigError(f"goodput has {name} twice; give it once")
        try:
            milliseconds = float(number)
        except ValueError:
            milliseconds = -1.0
        if not 0 < milliseconds < inf:
            raise ConfigError(f"goodput is {text!r}; it must be {name}:MILLISECONDS, above 0")
        found[name] = milliseconds / 1000
    return found


def is_good(request: RequestTiming, limits: Objectives) -> bool:
    """Whether it kept every objective; a request of one output token has no TPOT to miss."""
    values = {name: _METRICS[name](request) for name in limits}
    return all(value is None or value <= limits[name] for name, value in values.items())


def goodput(run: Run, limits: Objectives) -> float:
    """Good requests per second of the run."""
    return sum(is_good(request, limits) for request in run.requests) / run.seconds
