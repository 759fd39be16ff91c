"""The workloads by name. Adding one: its file, and a line here."""

from gradus.bench.workloads.base import Workload
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.errors import ConfigError


def _fixed(name: str, num_requests: int, concurrency: int, input_len: int, output_len: int) -> FixedWorkload:
    return FixedWorkload(
        name=name,
        num_requests=num_requests,
        concurrency=concurrency,
        input_len=input_len,
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
    )
}

WORKLOADS: dict[str, Workload] = {**FIXED_WORKLOADS}


def find_workload(name: str) -> Workload:
    """Raises:
    ConfigError: names those that exist.
    """
    if name not in WORKLOADS:
        raise ConfigError(f"there is no workload {name!r}; there are {', '.join(WORKLOADS)}")
    return WORKLOADS[name]


def changed_workload(name: str, **numbers: int | None) -> Workload:
    """A workload by name; with numbers, those of a fixed one, changed.

    Raises:
        ConfigError: there is none of that name, it has no such numbers, or one is below 1.
    """
    workload = find_workload(name)
    given = {field: value for field, value in numbers.items() if value is not None}
    if not given:
        return workload
    if not isinstance(workload, FixedWorkload):
        raise ConfigError(
            f"{next(iter(given))} was given, but the requests of {name} have lengths of their own; "
            f"it can be changed in {', '.join(FIXED_WORKLOADS)}"
        )
    return workload.changed(**given)
