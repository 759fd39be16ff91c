"""`gradus bench roofline`: where the time of a step goes, operation by operation, against the ceilings.

Steps are run on the backend alone, with a clock between the instructions of the program. What the engine, the
tokenizer and the server add is not in it.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from gradus.backends.native.backend import NativeBackend
from gradus.bench.ceilings import Ceilings, measure_ceilings
from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.op_costs import OpCost, op_cost
from gradus.bench.statistics import repeats, spread
from gradus.bench.step_batches import StepShape, make_batch
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.models.config import ModelConfig
from gradus.runtime import Runtime, load_runtime

METHOD = (
    "Ceilings: the best of several passes of the multiply-add instructions that the kernels use, on "
    "registers only, and of reading 1.5 GB of memory. Steps: random tokens on the backend, with a clock "
    "between instructions; two repetitions are left out, and an instruction's time is the median of the "
    "others. The bound of an operation is the larger of its multiply-adds and its bytes (weights, keys and "
    "values, read once) over their ceilings; of_bound is the bound over the time. More than 1 says that data "
    "came from the processor's caches."
)
WARM_UPS = 2


@dataclass(frozen=True, slots=True)
class OpTime:
    """All operations of one name in a step, together."""

    cost: OpCost  # of one
    count: int
    seconds: float
    share: float  # of the step
    bound: tuple[float, str] | None  # seconds of all, and what sets them

    def as_dict(self) -> dict[str, Any]:
        """Rates and bounds that are not known are None."""
        cost, seconds = self.cost, self.seconds
        return {
            "name": cost.name,
            "count": self.count,
            "seconds": seconds,
            "share": self.share,
            "macs_per_second": None if cost.num_macs is None else self.count * cost.num_macs / seconds,
            "bytes_per_second": None if cost.num_bytes is None else self.count * cost.num_bytes / seconds,
            "bound": None if self.bound is None else self.bound[1],
            "of_bound": None if self.bound is None else self.bound[0] / seconds,
        }


@dataclass(frozen=True, slots=True)
class StepTime:
    """A step: seconds of each repetition, and its operations, the longest first."""

    shape: StepShape
    seconds: list[float]
    operations: list[OpTime]

    def as_dict(self) -> dict[str, Any]:
        return {
            "step": asdict(self.shape),
            "seconds": spread(self.seconds),
            "tokens_per_second": self.shape.num_tokens / median(self.seconds),
            "operations": [operation.as_dict() for operation in self.operations],
        }


def bench_roofline(
    config: EngineConfig,
    shapes: Sequence[StepShape],
    num_repetitions: int,
    on_ceilings: Callable[[Ceilings], None],
    on_step: Callable[[StepTime], None],
) -> dict[str, Any]:
    """Measure; the callbacks get results as they come. Returns the evidence.

    Raises:
        ModelError, ConfigError: the model cannot be loaded, or runs on another backend or op by op.
    """
    if config.backend != "native" or config.enforce_eager:
        raise ConfigError(
            "the roofline is of the native backend's program: no --backend torch, no --enforce-eager"
        )
    if num_repetitions < 1:
        raise ConfigError(f"repetitions is {num_repetitions}; it must be 1 or more")
    runtime = load_runtime(_room_for(config, shapes))
    try:
        backend = runtime.backend
        assert isinstance(backend, NativeBackend)
        ceilings = measure_ceilings(backend.cpu_variant, 1, backend.num_threads)
        on_ceilings(ceilings)
        steps = []
        for shape in shapes:
            steps.append(time_step(backend, runtime.source.config, shape, num_repetitions, ceilings))
            on_step(steps[-1])
    finally:
        runtime.close()
    return _evidence(config, runtime, backend, num_repetitions, ceilings, steps)


def time_step(
    backend: NativeBackend, model: ModelConfig, shape: StepShape, num_repetitions: int, ceilings: Ceilings
) -> StepTime:
    """Time one step's operations, several times over."""
    batch = make_batch(shape, backend.block_size, backend.vocab_size)
    rounds = [backend.time_operations(batch) for _ in range(WARM_UPS + num_repetitions)][WARM_UPS:]
    times: dict[OpCost, list[float]] = defaultdict(list)
    for index, operation in enumerate(backend.operations):
        cost = op_cost(operation, shape, model, backend.kv_bytes_per_token)
        times[cost].append(median(seconds[index] for seconds in rounds))
    total = sum(sum(seconds) for seconds in times.values())
    found = []
    for cost, seconds in times.items():
        bound = ceilings.bound(cost, backend.num_threads)
        of_all = None if bound is None else (bound[0] * len(seconds), bound[1])
        found.append(OpTime(cost, len(seconds), sum(seconds), sum(seconds) / total, of_all))
    found.sort(key=lambda operation: -operation.seconds)
    return StepTime(shape, [sum(seconds) for seconds in rounds], found)


def _room_for(config: EngineConfig, shapes: Sequence[StepShape]) -> EngineConfig:
    """The configuration with a cache and a step as large as the shapes need."""
    return replace(
        config,
        max_model_len=max(shape.length for shape in shapes),
        max_num_seqs=max(shape.num_seqs for shape in shapes),
        max_num_batched_tokens=max(shape.num_tokens for shape in shapes),
        num_kv_blocks=max(shape.num_blocks(config.block_size) for shape in shapes),
        kv_cache_memory_bytes=None,
        kv_layout="paged",
    )


def _evidence(
    config: EngineConfig,
    runtime: Runtime,
    backend: NativeBackend,
    num_repetitions: int,
    ceilings: Ceilings,
    steps: Sequence[StepTime],
) -> dict[str, Any]:
    return evidence(
        "roofline",
        software={"backend": "native", "kernels": backend.cpu_variant},
        model={
            "name": runtime.source.name,
            "architecture": runtime.source.config.architecture,
            "weight_bytes": backend.weight_bytes,
            "kv_cache_dtype": runtime.cache.dtype,
        },
        parameters={
            **engine_parameters(config),
            "num_threads": backend.num_threads,
            "num_repetitions": num_repetitions,
        },
        method=METHOD,
        results={"ceilings": ceilings.as_dict(), "steps": [step.as_dict() for step in steps]},
        runs=[{"step": step.shape.name, "seconds": step.seconds} for step in steps],
        verification={
            "every_operation_is_in_one_row": all(
                abs(sum(operation.share for operation in step.operations) - 1) < 1e-9 for step in steps
            ),
            "repeats": repeats({step.shape.name: step.seconds for step in steps}),
        },
    )
