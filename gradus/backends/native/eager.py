"""Runs every operation as the model calls it, unfused: the off path of tracing (`enforce_eager`).

The instructions are the program's, so are their results.
"""

from collections import defaultdict
from typing import Any

import gradus.backends.native._native as _native
from gradus.backends.native.native_ops import NativeOps
from gradus.backends.native.operations import Operation, Value, lower, row_stride


class BufferPool:
    """Buffers that come back when their value is gone, by size."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._free: dict[int, list[Any]] = defaultdict(list)

    def allocate(self, value: Value) -> Any:
        """A view for the value, which gets the memory's owner as its storage."""
        stride = row_stride(value.padded_width)
        free = self._free[stride]
        buffer = free.pop() if free else _native.Buffer(stride * self._num_rows)
        value.storage = _Loan(buffer, free)
        return _native.View(buffer, 0, stride, value.width, getattr(_native.RowSet, value.rows))


class _Loan:
    __slots__ = ("_buffer", "_free")

    def __init__(self, buffer: Any, free: list[Any]) -> None:
        self._buffer = buffer
        self._free = free

    def __del__(self) -> None:
        self._free.append(self._buffer)


class EagerOps(NativeOps):
    """Executes operations on the step that the executor holds; one object per step."""

    def __init__(self, *args: Any, executor: Any, buffers: BufferPool) -> None:
        super().__init__(*args)
        self._executor = executor
        self._buffers = buffers

    def _emit(self, operation: Operation) -> None:
        views = {value: value.view for value in operation.inputs}
        for value in operation.outputs:
            value.view = views[value] = self._buffers.allocate(value)
        self._executor.execute(lower(operation, views, self._executor))
