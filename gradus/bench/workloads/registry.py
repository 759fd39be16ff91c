"""The workloads by name. Adding one: its file if it is of a new kind, and a line here."""

from gradus.bench.workloads.base import Workload
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.bench.workloads.multi_turn import MultiTurnWorkload
from gradus.bench.workloads.open_loop import OpenLoop
from gradus.bench.workloads.shared_prefix import SharedPrefixWorkload
from gradus.bench.workloads.sharegpt import ShareGptFile, ShareGptLengths
from gradus.bench.workloads.standard_prompts import StandardPrompts
from gradus.bench.workloads.uniform import UniformWorkload
from gradus.errors import ConfigError


def _fixed(name: str, num_requests: int, concurrency: int, input_len: int, output_len: int) -> FixedWorkload:
    return FixedWorkload(
        name=name,
        num_requests=num_requests,
        concurrency=concurrency,
        input_len=input_len,
        output_len=output_len,
    )


def _uniform(
    name: str, num_requests: int, input_lens: tuple[int, int], output_lens: tuple[int, int]
) -> UniformWorkload:
    return UniformWorkload(
        name=name,
        concurrency=None,
        num_requests=num_requests,
        min_input_len=input_lens[0],
        max_input_len=input_lens[1],
        min_output_len=output_lens[0],
        max_output_len=output_lens[1],
    )


def _shared_prefix(name: str, input_len: int, output_len: int) -> SharedPrefixWorkload:
    return SharedPrefixWorkload(
        name=name, num_requests=100, concurrency=8, input_len=input_len, output_len=output_len
    )


def _multi_turn(
    name: str, num_conversations: int, num_turns: int, input_len: int, turn_len: int, output_len: int
) -> MultiTurnWorkload:
    return MultiTurnWorkload(
        name=name,
        concurrency=8,
        num_conversations=num_conversations,
        num_turns=num_turns,
        input_len=input_len,
        turn_len=turn_len,
        output_len=output_len,
    )


FIXED_WORKLOADS = {
    workload.name: workload
    for workload in (
        _fixed("reference", 40, 8, 32, 50),
        _fixed("wide", 16, 16, 128, 128),
        _fixed("decode", 1, 1, 32, 128),
        _fixed("ttft", 3, 1, 32, 1),
        _fixed("prefill-512", 1, 1, 512, 1),
        _fixed("prefill-2048", 1, 1, 2048, 1),
        _fixed("long-context", 1, 1, 4096, 64),
        _fixed("streams-1024", 8, 8, 960, 64),
        _fixed("uniform-512", 256, 256, 512, 512),
        _fixed("uniform-512-cpu", 32, 32, 128, 128),
    )
}

_OTHERS: tuple[Workload, ...] = (
    _uniform("nano", 256, (100, 1024), (100, 1024)),
    _uniform("nano-cpu", 32, (25, 256), (25, 256)),
    OpenLoop(
        name="poisson",
        concurrency=None,
        source=_uniform("poisson", 40, (32, 256), (16, 128)),
        request_rate=1.0,
    ),
    _shared_prefix("shared-prefix", 512, 64),
    _shared_prefix("shared-prefix-cpu", 128, 16),
    _multi_turn("multi-turn", 32, 5, 256, 64, 128),
    _multi_turn("multi-turn-cpu", 16, 4, 64, 16, 16),
    ShareGptLengths(name="sharegpt-generated", concurrency=None, num_requests=40),
    StandardPrompts(name="standard-prompts", concurrency=1),
)

WORKLOADS: dict[str, Workload] = {**FIXED_WORKLOADS, **{workload.name: workload for workload in _OTHERS}}

NAMES = (*WORKLOADS, "sharegpt")


def find_workload(name: str, path: str | None = None) -> Workload:
    """A workload by name. `sharegpt` is that of the file at `path`, or `sharegpt-generated` without one.

    Raises:
        ConfigError: names those that exist.
    """
    if path is not None:
        if name != "sharegpt":
            raise ConfigError(f"a file was given, but {name} has none; only sharegpt has")
        return ShareGptFile(name=name, concurrency=None, path=path, num_requests=40)
    if name not in NAMES:
        raise ConfigError(f"there is no workload {name!r}; there are {', '.join(NAMES)}")
    return WORKLOADS["sharegpt-generated" if name == "sharegpt" else name]


def changed_workload(name: str, path: str | None = None, /, **numbers: float | None) -> Workload:
    """A workload by name with other numbers; `request_rate` and `burstiness` make any an open loop.

    Raises:
        ConfigError: there is none of that name, it has no such numbers, or one cannot work.
    """
    workload = find_workload(name, path)
    if isinstance(workload, OpenLoop):
        return workload.changed(**numbers)
    rate, burstiness = numbers.pop("request_rate", None), numbers.pop("burstiness", None)
    if rate is None:
        if burstiness is not None:
            raise ConfigError(
                f"burstiness is {burstiness:g}, but {name} has no arrivals; give a request rate"
            )
        return workload.changed(**numbers)
    concurrency = numbers.pop("concurrency", None)
    source = workload.changed(**numbers)
    return OpenLoop(
        name=source.name,
        source=source,
        concurrency=None if concurrency is None else int(concurrency),
        request_rate=rate,
        burstiness=1.0 if burstiness is None else burstiness,
    )
