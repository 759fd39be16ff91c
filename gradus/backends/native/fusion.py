"""Peephole fusion: neighbouring operations become one where that saves a pass over memory.

A fused instruction does exactly its parts' arithmetic, so a program's results are bit for bit those of eager
execution; tests hold it to that.
"""

from collections import Counter
from collections.abc import Sequence

from gradus.backends.native.operations import Operation, Value

Uses = Counter[Value]


def fuse(operations: Sequence[Operation]) -> list[Operation]:
    """The same computation in fewer operations."""
    uses: Uses = Counter(value for operation in operations for value in operation.inputs)
    fused: list[Operation] = []
    for operation in operations:
        fused.append(operation)
        _fuse_linears(fused)
        _fuse_add_norm(fused)
        _fuse_rope_kv_write(fused, uses)
        _fuse_quantize(fused, uses)
    return fused


def _fuse_linears(tail: list[Operation]) -> None:
    """Matrices of one packed weight that read the same input: one product, results side by side."""
    if len(tail) < 2:
        return
    a, b = tail[-2:]
    if (
        a.kind == b.kind == "linear"
        and a.inputs == b.inputs
        and a.arguments["weight"] is b.arguments["weight"]
        and a.arguments["first"] + len(a.outputs) == b.arguments["first"]
    ):
        tail[-2:] = [Operation("linear", a.inputs, a.outputs + b.outputs, a.arguments)]


def _fuse_add_norm(tail: list[Operation]) -> None:
    """A residual sum and the norm that reads it: the row is still in the cache."""
    if len(tail) < 2:
        return
    add, norm = tail[-2:]
    if add.kind == "add" and norm.kind == "rms_norm" and norm.inputs == add.outputs and _is_whole_row(norm):
        tail[-2:] = [Operation("add_rms_norm", add.inputs, add.outputs + norm.outputs, norm.arguments)]


def _is_whole_row(norm: Operation) -> bool:
    return len(norm.arguments["weight"]) == norm.inputs[0].width


def _fuse_rope_kv_write(tail: list[Operation], uses: Uses) -> None:
    """Head norms (if any), rotary embedding of q and k, and the write of k and v: one pass over the rows."""
    if [operation.kind for operation in tail[-3:]] != ["rope", "rope", "kv_write"]:
        return
    rope_q, rope_k, write = tail[-3:]
    if write.inputs[0] is not rope_k.outputs[0] or rope_q.inputs[1] is not rope_k.inputs[1]:
        return
    q, k, length = rope_q.inputs[0], rope_k.inputs[0], 3
    q_weight = k_weight = None
    eps = 0.0
    if [operation.kind for operation in tail[-5:-3]] == ["rms_norm", "rms_norm"]:
        norm_q, norm_k = tail[-5:-3]
        if (
            norm_q.outputs[0] is q
            and norm_k.outputs[0] is k
            and norm_q.arguments["eps"] == norm_k.arguments["eps"]
        ):
            if uses[q] > 1 or uses[k] > 1 or _is_whole_row(norm_q) or _is_whole_row(norm_k):
                return
            q, k, length = norm_q.inputs[0], norm_k.inputs[0], 5
            q_weight, k_weight = norm_q.arguments["weight"], norm_k.arguments["weight"]
            eps = norm_q.arguments["eps"]
    if uses[q] > 1 or uses[k] > 1 or uses[rope_k.outputs[0]] > 1:
        return  # q and k are overwritten, the rotated k only goes to the cache
    tail[-length:] = [
        Operation(
            "rope_kv_write",
            (q, k, write.inputs[1], rope_q.inputs[1]),
            rope_q.outputs,
            {"q_weight": q_weight, "k_weight": k_weight, "eps": eps, "layer": write.arguments["layer"]},
            in_place=True,
        )
    ]


_QUANTIZABLE = {"rms_norm", "add_rms_norm", "silu_mul", "gelu_mul"}


def _fuse_quantize(tail: list[Operation], uses: Uses) -> None:
    """A result that is only quantized: each of its rows exists just as long as that takes."""
    if len(tail) < 2:
        return
    source, quantize = tail[-2:]
    if source.kind not in _QUANTIZABLE or quantize.kind != "quantize":
        return
    if quantize.inputs[0] is source.outputs[-1] and uses[source.outputs[-1]] == 1:
        outputs = source.outputs[:-1] + quantize.outputs
        arguments = {**source.arguments, **quantize.arguments}
        tail[-2:] = [Operation(f"{source.kind}_quantize", source.inputs, outputs, arguments)]
