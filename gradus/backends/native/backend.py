"""`NativeBackend`: a model on the CPU, traced into a program, whose steps run in C++ without the GIL.

Knows no kernels and no arrays beyond handing them over; C++ checks every step before it touches memory.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from threading import Lock
from typing import Any

import gradus.backends.native._native as _native
from gradus.backends.native.eager import BufferPool, EagerOps
from gradus.backends.native.fusion import fuse
from gradus.backends.native.huge_pages import HugePageMover
from gradus.backends.native.operations import Operation
from gradus.backends.native.row_selection import select_rows_early
from gradus.backends.native.step import make_step
from gradus.backends.native.tracer import Tracer, compile_program
from gradus.backends.native.weights import Weights
from gradus.backends.options import BackendOptions, kv_bytes_per_token
from gradus.batch import Batch, Int32, StepResult
from gradus.disk_cache.store import DiskCache
from gradus.errors import BackendError, ConfigError
from gradus.models.checkpoint.base import Checkpoint
from gradus.models.config import ModelConfig
from gradus.models.ops import Ops
from gradus.models.registry import model_function


class NativeBackend:
    """Implements `gradus.batch.Backend`.

    The environment variable GRADUS_CPU picks a kernel variant by name; default is the best one that runs.

    Raises:
        ConfigError: options that cannot work on this machine.
        CheckpointError: a weight is missing or has another shape than the config's.
    """

    def __init__(self, config: ModelConfig, checkpoint: Checkpoint, options: BackendOptions) -> None:
        self._config = config
        self._options = options
        self._lock = Lock()
        self._model: Callable[[Ops, ModelConfig], None] = model_function(config.architecture)
        self._buffers = BufferPool(options.max_num_batched_tokens)
        self._program: Any = None
        arena_bytes = 0
        try:
            self._executor: Any = _make_executor(config, options)
            self._weights: Any = Weights(
                checkpoint,
                config,
                options.weight_dtype,
                self._executor,
                options.quantization,
            )
            self.operations = self._trace()  # as a step runs them
            if not options.enforce_eager:
                self.operations = fuse(select_rows_early(self.operations))
                num_rows = options.max_num_batched_tokens
                self._program, arena_bytes = compile_program(self.operations, self._executor, num_rows)
        except _native.SetupError as error:
            raise ConfigError(str(error)) from error
        self.cpu_variant: str = self._executor.cpu_variant
        self.weight_bytes: int = self._weights.num_bytes  # packed
        mapped = self._weights.mapped
        self.weights_are_mapped: bool = mapped is not None  # from the disk cache
        self._mover = HugePageMover(mapped) if mapped is not None and options.huge_pages else None
        # Activations (of a program; eager ones come and go), the tile of logits, the threads' scratch memory.
        self.program_bytes: int = arena_bytes + self._executor.scratch_bytes

    @property
    def block_size(self) -> int:
        return self._options.block_size

    @property
    def num_blocks(self) -> int:
        return self._options.num_blocks

    @property
    def vocab_size(self) -> int:
        return self._config.vocab_size

    @property
    def num_threads(self) -> int:
        return self._options.num_threads

    @property
    def kv_bytes_per_token(self) -> int:
        """K and V of one token in all layers."""
        return kv_bytes_per_token(self._config, self._options.kv_cache_dtype)

    @property
    def kv_bytes(self) -> int:
        """Reserved for the KV cache; a page of it is taken when a token first comes to lie there."""
        return int(self._executor.kv_bytes)

    def execute(self, batch: Batch) -> StepResult:
        """Run one step; see `gradus.batch.Backend`.

        Raises:
            BackendError: the batch contradicts itself or the backend's limits; nothing has run.
        """
        with self._lock:
            if self._executor is None:
                raise BackendError("the backend is closed")
            step = make_step(batch)
            try:
                return StepResult(**dict(zip(_RESULT_FIELDS, self._run(step), strict=True)))
            except (_native.StepError, _native.SetupError, MemoryError) as error:
                raise BackendError(str(error)) from error

    def replay_of(self, batch: Batch) -> Callable[[], Int32]:
        """A function that runs the step's kernels and nothing else, as often as it is called.

        It gives the chosen tokens, [num_outputs, k], or raises what C++ raises.

        Raises:
            BackendError: the batch contradicts itself.
        """
        step = make_step(batch)

        def replay() -> Int32:
            return self._run(step)[0]

        return replay

    def time_operations(self, batch: Batch) -> list[float]:
        """Run one step for its times: the seconds of each of `operations`.

        Raises:
            BackendError: as `execute` does, or there is no program because the backend is eager.
        """
        with self._lock:
            if self._program is None:
                raise BackendError("the backend is closed, or runs op by op (enforce_eager)")
            try:
                return list(self._executor.run_timed(self._program, make_step(batch)))
            except (_native.StepError, MemoryError) as error:
                raise BackendError(str(error)) from error

    def close(self) -> None:
        """Free threads and memory."""
        if self._mover is not None:
            self._mover.stop()
        with self._lock:
            self._executor = self._program = self._weights = None
            self.operations = []

    def _trace(self) -> list[Operation]:
        """The model's operations. Loads its weights on the way, which is all that eager execution needs."""
        options = self._options
        tracer = Tracer(self._config, self._weights, options.attention, options.activations)
        size = options.packed_cache_size
        with nullcontext() if size is None else self._weights.loading(DiskCache(max_bytes=size)):
            self._model(tracer, self._config)
        return tracer.operations

    def _run(self, step: Any) -> tuple[Any, ...]:
        if self._program is not None:
            return self._executor.run(self._program, step)
        self._executor.begin(step)
        ops = EagerOps(
            self._config,
            self._weights,
            self._options.attention,
            self._options.activations,
            executor=self._executor,
            buffers=self._buffers,
        )
        self._model(ops, self._config)
        return self._executor.end()


_RESULT_FIELDS = (
    "token_ids",
    "num_sampled",
    "logprobs",
    "ranks",
    "top_token_ids",
    "top_logprobs",
    "logits",
    "hidden",
)


def _make_executor(config: ModelConfig, options: BackendOptions) -> Any:
    return _native.Executor(
        cpu_variant=os.environ.get("GRADUS_CPU", ""),
        num_threads=options.num_threads,
        kv_format=options.kv_cache_dtype,
        num_layers=config.num_layers,
        num_blocks=options.num_blocks,
        block_size=options.block_size,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        vocab_size=config.vocab_size,
        max_rows=options.max_num_batched_tokens,
        max_model_len=options.max_model_len,
    )
