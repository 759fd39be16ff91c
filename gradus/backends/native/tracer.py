"""Traces a model once into a program: a list of operations, fused, laid out over one arena of reused memory.

The trace is symbolic in rows: nothing in it depends on a step; buffers are as long as the largest step.
"""

from collections.abc import Mapping, Sequence
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
    places, num_floats = lay_out(operations, num_rows)
    arena = _native.Buffer(num_floats)
    views = {
        value: _native.View(arena, offset, stride, value.width, getattr(_native.RowSet, value.rows))
        for value, (offset, stride) in places.items()
    }
    program = _native.Program()
    for operation in operations:
        program.append(lower(operation, views, executor))
    return program, num_floats * 4


def lay_out(operations: Sequence[Operation], num_rows: int) -> tuple[dict[Value, tuple[int, int]], int]:
    """Where each value lies, its first float and the floats from row to row; and the floats of them all."""
    slabs = _slabs(operations)
    offsets, num_floats = _assign_offsets(slabs, num_rows)
    places = {}
    for slab, offset in zip(slabs, offsets, strict=True):
        for value in slab.values:
            for tenant in (value, *slab.successors[value]):
                places[tenant] = offset, slab.stride
            offset += value.padded_width
    return places, num_floats


class _Slab:
    """Memory that lives from one operation to another: the outputs of one operation, side by side."""

    def __init__(self, values: Sequence[Value], born: int) -> None:
        self.values = list(values)
        self.successors: dict[Value, list[Value]] = {value: [] for value in values}  # in a value's place
        self.stride = row_stride(sum(value.padded_width for value in values))
        self.born = born
        self.last_use = born


def _slabs(operations: Sequence[Operation]) -> list[_Slab]:
    last_reader = {value: operation for operation in operations for value in operation.inputs}
    slabs: list[_Slab] = []
    place_of: dict[Value, tuple[_Slab, Value]] = {}  # the value that a slab was made for
    for index, operation in enumerate(operations):
        for value in operation.inputs:
            place_of[value][0].last_use = index
        outputs = operation.outputs
        if operation.in_place or _may_overwrite(operation, last_reader):
            slab, first = place_of[operation.inputs[0]]
            slab.successors[first].append(outputs[0])
            place_of[outputs[0]] = slab, first
            outputs = outputs[1:]
        for group in [outputs] if operation.kind == "linear" else [(value,) for value in outputs]:
            slab = _Slab(group, index)
            slabs.append(slab)
            place_of.update({value: (slab, value) for value in group})
    return slabs


# They read what they need of a row, or of its head, before they write it.
_ROW_BY_ROW = {"add", "add_rms_norm", "add_rms_norm_quantize", "attention", "quantize"}


def _may_overwrite(operation: Operation, last_reader: Mapping[Value, Operation]) -> bool:
    """Whether the first result can lie where the first input was: the CPU's caches hold that memory."""
    if operation.kind not in _ROW_BY_ROW:
        return False
    old, new = operation.inputs[0], operation.outputs[0]
    return last_reader[old] is operation and new.rows == old.rows and new.padded_width <= old.padded_width


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
