"""Traces a model once into a program: a list of operations, fused, laid out over one arena of reused memory.

The trace is symbolic in rows: nothing in it depends on a step; buffers are as long as the largest step.
"""

from collections.abc import Sequence
from typing import Any

import gradus.backends.native._native as _native
from gradus.backends.native.native_ops import NativeOps
from gradus.backends.native.operations import Operation, Value, lower, row_stride


class Tracer(NativeOps):
    """Records the operations of one pass through a model."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.operations: list[Operation] = []

    def _emit(self, operation: Operation) -> None:
        if operation.kind == "rope_table":
            self.operations.insert(
                0, operation
            )  # it reads only positions; operations that fuse stay neighbours
        else:
            self.operations.append(operation)


def compile_program(operations: Sequence[Operation], executor: Any, num_rows: int) -> tuple[Any, int]:
    """A replayable `_native.Program` and the bytes of its arena, for steps of at most `num_rows` rows."""
    slabs = _slabs(operations)
    offsets, num_floats = _assign_offsets(slabs, num_rows)
    arena = _native.Buffer(num_floats)
    views = {}
    for slab, offset in zip(slabs, offsets, strict=True):
        column = 0
        for value in slab.values:
            views[value] = _view(arena, offset + column, slab.stride, value)
            column += value.padded_width
        for alias, value in slab.aliases.items():
            views[alias] = views[value]
    program = _native.Program()
    for operation in operations:
        program.append(lower(operation, views, executor))
    return program, num_floats * 4


def _view(buffer: Any, offset: int, stride: int, value: Value) -> Any:
    return _native.View(buffer, offset, stride, value.width, getattr(_native.RowSet, value.rows))


class _Slab:
    """Memory that lives from one operation to another: the outputs of one operation, side by side."""

    def __init__(self, values: Sequence[Value], born: int) -> None:
        self.values = list(values)
        self.aliases: dict[Value, Value] = {}  # results that were computed in place, and where
        self.stride = row_stride(sum(value.padded_width for value in values))
        self.born = born
        self.last_use = born


def _slabs(operations: Sequence[Operation]) -> list[_Slab]:
    slabs: list[_Slab] = []
    slab_of: dict[Value, _Slab] = {}
    for index, operation in enumerate(operations):
        for value in operation.inputs:
            slab_of[value].last_use = index
        if operation.in_place:
            slab = slab_of[operation.inputs[0]]
            source = operation.inputs[0]
            slab.aliases[operation.outputs[0]] = slab.aliases.get(source, source)
            slab_of[operation.outputs[0]] = slab
            continue
        groups = (
            [operation.outputs] if operation.kind == "linear" else [(value,) for value in operation.outputs]
        )
        for group in groups:
            slab = _Slab(group, index)
            slabs.append(slab)
            slab_of.update(dict.fromkeys(group, slab))
    return slabs


def _assign_offsets(slabs: Sequence[_Slab], num_rows: int) -> tuple[list[int], int]:
    """Each slab's first float, first fit in order of birth, and the floats needed in all.

    A slab's memory is free for others after the operation that last reads it.
    """
    offsets: list[int] = []
    taken: list[tuple[int, int, int]] = []  # (begin, end, last use)
    total = 1
    for slab in slabs:
        taken = sorted(entry for entry in taken if entry[2] >= slab.born)
        size = slab.stride * num_rows
        begin = 0
        for other_begin, other_end, _ in taken:
            if begin + size <= other_begin:
                break
            begin = max(begin, other_end)
        offsets.append(begin)
        taken.append((begin, begin + size, slab.last_use))
        total = max(total, begin + size)
    return offsets, total
