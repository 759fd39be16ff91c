"""Selects rows as early as rows allow it: what only the sampled rows need is computed for these alone.

A model says after which operation only the rows that are sampled matter. The operations before it, up to the
last attention and its queries, treat rows one by one, so the selection moves before them; results stay what
they were, bit for bit.
"""

from collections import Counter
from collections.abc import Sequence

from gradus.backends.native.operations import Operation, Value

# Attention is among them for its queries; keys and values come from the cache.
_ROW_BY_ROW = {"add", "attention", "gelu_mul", "linear", "quantize", "rms_norm", "silu_mul"}


def select_rows_early(operations: Sequence[Operation]) -> list[Operation]:
    """The same computation on fewer rows; every operation has one output."""
    producers = {value: operation for operation in operations for value in operation.outputs}
    uses = Counter(value for operation in operations for value in operation.inputs)
    moved: dict[Value, Value] = {}  # results that are only selected from, and what is left of them
    backwards: list[Operation] = []

    def select(value: Value, chosen: Value) -> None:
        if uses[value] == 1 and producers[value].kind in _ROW_BY_ROW:
            moved[value] = chosen
        else:
            backwards.append(Operation("select_rows", (value,), (chosen,)))

    for operation in reversed(operations):
        if operation.kind == "select_rows":
            select(operation.inputs[0], operation.outputs[0])
        elif operation.outputs and operation.outputs[0] in moved:
            inputs = [Value(value.width, "outputs") for value in operation.inputs]
            outputs = (moved[operation.outputs[0]],)
            backwards.append(Operation(operation.kind, tuple(inputs), outputs, operation.arguments))
            for value, chosen in zip(operation.inputs, inputs, strict=True):
                select(value, chosen)
        else:
            backwards.append(operation)
    return backwards[::-1]
