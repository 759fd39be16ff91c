"""What a traced model consists of, values and operations, and how an operation becomes a C++ instruction.

Knows nothing of memory: a value is a width and a set of rows, and gets its view from whoever runs it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import gradus.backends.native._native as _native

PANEL_WIDTH = 16  # kernels read and write whole vectors of this many floats

RowSet = Literal["tokens", "outputs"]


@dataclass(eq=False, slots=True)
class Value:
    """A result inside a step: `width` floats for each of its tokens, or each row that it samples from."""

    width: int
    rows: RowSet = "tokens"
    view: Any = None  # eager only: where the value lies,
    storage: Any = None  # and what gives the memory back when the value is gone

    @property
    def padded_width(self) -> int:
        return -(-self.width // PANEL_WIDTH) * PANEL_WIDTH


@dataclass(eq=False, slots=True)
class Operation:
    """`kind` names an instruction of the executor; `arguments` are its constants: weights, layer, eps."""

    kind: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    in_place: bool = False  # the first output lies where the first input was


Views = Mapping[Value, Any]


def row_stride(width: int) -> int:
    """Floats from row to row. Rows of a power of two of bytes would all fall into the same few cache sets."""
    return width + PANEL_WIDTH if width % 256 == 0 else width


def lower(operation: Operation, views: Views, executor: Any) -> Any:
    """The C++ instruction for an operation whose values lie at `views`.

    Several outputs of a `linear` lie side by side in one buffer, in order.
    """
    inputs = [views[value] for value in operation.inputs]
    outputs = [views[value] for value in operation.outputs]
    return _LOWERINGS[operation.kind](inputs, outputs, executor, **operation.arguments)


def _embed(i: list[Any], o: list[Any], executor: Any, weight: Any, scale: float) -> Any:
    return _native.embed(weight, o[0], scale)


def _quantize(i: list[Any], o: list[Any], executor: Any, in_quads: bool) -> Any:
    return _native.quantize(i[0], in_quads, o[0])


def _linear(
    i: list[Any], o: list[Any], executor: Any, weight: Any, first: int, quantized_x: bool = False
) -> Any:
    side_by_side = o[0] if len(o) == 1 else o[0].joined(o[-1])
    return _native.linear(i[0], weight, first, first + len(o), side_by_side, quantized_x)


def _rms_norm(i: list[Any], o: list[Any], executor: Any, weight: Any, eps: float) -> Any:
    return _native.rms_norm(i[0], weight, eps, o[0])


def _rope_table(i: list[Any], o: list[Any], executor: Any, frequencies: Any, magnitude: float) -> Any:
    return _native.rope_table(frequencies, o[0], magnitude)


def _rope(i: list[Any], o: list[Any], executor: Any, head_dim: int) -> Any:
    return _native.rope(i[0], i[1], o[0], head_dim)


def _kv_write(i: list[Any], o: list[Any], executor: Any, layer: int) -> Any:
    return executor.kv_write(i[0], i[1], layer)


def _attention(
    i: list[Any],
    o: list[Any],
    executor: Any,
    layer: int,
    scale: float,
    kernel: str,
    window: int,
    soft_cap: float,
) -> Any:
    return executor.attention(i[0], layer, scale, kernel, o[0], window, soft_cap)


def _silu_mul(i: list[Any], o: list[Any], executor: Any) -> Any:
    return _native.silu_mul(i[0], i[1], o[0])


def _gelu_mul(i: list[Any], o: list[Any], executor: Any) -> Any:
    return _native.gelu_mul(i[0], i[1], o[0])


def _experts(
    i: list[Any],
    o: list[Any],
    executor: Any,
    router: Any,
    gate_up: Any,
    down: Any,
    top_k: int,
    renormalize: bool,
    quantize_x: bool,
) -> Any:
    return executor.experts(i[0], router, gate_up, down, top_k, renormalize, quantize_x, o[0])


def _add(i: list[Any], o: list[Any], executor: Any) -> Any:
    return _native.add(i[0], i[1], o[0])


def _select_rows(i: list[Any], o: list[Any], executor: Any) -> Any:
    return _native.select_rows(i[0], o[0])


def _lm_head_sample(
    i: list[Any], o: list[Any], executor: Any, weight: Any, soft_cap: float, quantized_x: bool = False
) -> Any:
    return executor.lm_head_sample(i[0], weight, soft_cap, quantized_x)


def _add_rms_norm(i: list[Any], o: list[Any], executor: Any, weight: Any, eps: float) -> Any:
    return _native.add_rms_norm(i[0], i[1], weight, eps, o[0], o[1])


def _rope_kv_write(
    i: list[Any], o: list[Any], executor: Any, q_weight: Any, k_weight: Any, eps: float, layer: int
) -> Any:
    q, k, v, table = i
    return executor.rope_kv_write(q, k, v, table, q_weight, k_weight, eps, layer)


def _rms_norm_quantize(
    i: list[Any], o: list[Any], executor: Any, weight: Any, eps: float, in_quads: bool
) -> Any:
    return executor.rms_norm_quantize(i[0], weight, eps, in_quads, o[0])


def _add_rms_norm_quantize(
    i: list[Any], o: list[Any], executor: Any, weight: Any, eps: float, in_quads: bool
) -> Any:
    return executor.add_rms_norm_quantize(i[0], i[1], weight, eps, in_quads, o[0], o[1])


def _silu_mul_quantize(i: list[Any], o: list[Any], executor: Any, in_quads: bool) -> Any:
    return executor.silu_mul_quantize(i[0], i[1], in_quads, o[0])


def _gelu_mul_quantize(i: list[Any], o: list[Any], executor: Any, in_quads: bool) -> Any:
    return executor.gelu_mul_quantize(i[0], i[1], in_quads, o[0])


_LOWERINGS: dict[str, Callable[..., Any]] = {
    "embed": _embed,
    "linear": _linear,
    "quantize": _quantize,
    "rms_norm": _rms_norm,
    "rope_table": _rope_table,
    "rope": _rope,
    "kv_write": _kv_write,
    "attention": _attention,
    "silu_mul": _silu_mul,
    "gelu_mul": _gelu_mul,
    "experts": _experts,
    "add": _add,
    "select_rows": _select_rows,
    "lm_head_sample": _lm_head_sample,
    "add_rms_norm": _add_rms_norm,
    "rope_kv_write": _rope_kv_write,
    "rms_norm_quantize": _rms_norm_quantize,
    "add_rms_norm_quantize": _add_rms_norm_quantize,
    "silu_mul_quantize": _silu_mul_quantize,
    "gelu_mul_quantize": _gelu_mul_quantize,
}
