"""`NativeOps`: the `Ops` vocabulary in terms of operations on values.

`Tracer` records them, `EagerOps` runs each at once. Both see the same operations, so both compute the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradus.backends.native._native as _native
from gradus.backends.native.operations import Operation, RowSet, Value
from gradus.backends.native.weights import Weights
from gradus.errors import UnsupportedModelError
from gradus.models.config import ModelConfig
from gradus.models.ops import Rope


@dataclass(eq=False, slots=True)
class Logits:
    """Logits not computed yet: they exist only in tiles, inside the instruction that samples from them."""

    x: Value
    weight: Any


class NativeOps:
    """Implements `gradus.models.ops.Ops` except for `_emit`."""

    def __init__(
        self, config: ModelConfig, weights: Weights, attention: str, activations: str = "f32"
    ) -> None:
        self._config = config
        self._weights = weights
        self._attention = attention
        self._activations = activations
        self._scopes: list[str] = []
        self._rope_tables: dict[Rope, Value] = {}

    def _emit(self, operation: Operation) -> None:
        raise NotImplementedError

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def embed(self, name: str) -> Value:
        weight = self._weights.linear([self._full(name)])
        return self._result("embed", (), self._config.hidden_size, "tokens", weight=weight)

    def rms_norm(self, x: Value, name: str, eps: float, head_dim: int | None = None) -> Value:
        weight = self._weights.vector(self._full(name))
        return self._result("rms_norm", (x,), x.width, x.rows, weight=weight, eps=eps)

    def column_linear(self, x: Value, names: Sequence[str], bias: bool = False) -> list[Value]:
        full_names = [self._full(name) for name in names]
        weight = self._weights.linear(full_names, bias)
        widths = [self._weights.num_outputs(name) for name in full_names]
        x, arguments = self._input_of(x, weight)
        return [
            self._result("linear", (x,), width, x.rows, weight=weight, first=i, **arguments)
            for i, width in enumerate(widths)
        ]

    def row_linear(self, x: Value, name: str, bias: bool = False) -> Value:
        return self.column_linear(x, [name], bias)[0]

    def rope(self, q: Value, k: Value, rope: Rope) -> tuple[Value, Value]:
        table = self._rope_table(rope)
        rotated_q = self._result("rope", (q, table), q.width, q.rows)
        return rotated_q, self._result("rope", (k, table), k.width, k.rows)

    def attention(self, q: Value, k: Value, v: Value, layer: int, scale: float) -> Value:
        self._emit(Operation("kv_write", (k, v), (), {"layer": layer}))
        blocked = self._attention == "blocked"
        return self._result("attention", (q,), q.width, q.rows, layer=layer, scale=scale, blocked=blocked)

    def silu_mul(self, gate: Value, up: Value) -> Value:
        return self._result("silu_mul", (gate, up), gate.width, gate.rows)

    def add(self, a: Value, b: Value) -> Value:
        return self._result("add", (a, b), a.width, a.rows)

    def select_rows(self, x: Value) -> Value:
        return x if x.rows == "outputs" else self._result("select_rows", (x,), x.width, "outputs")

    def lm_head(self, x: Value, name: str) -> Logits:
        return Logits(x, self._weights.linear([self._full(name)]))

    def output(self, name: str, x: Value | Logits) -> None:
        if name == "hidden":
            return  # nothing outside a step reads it yet
        if name != "logits" or not isinstance(x, Logits):
            raise UnsupportedModelError(f"the native backend has no output {name!r} of this kind")
        rows, arguments = self._input_of(self.select_rows(x.x), x.weight)
        self._emit(Operation("lm_head_sample", (rows,), (), {"weight": x.weight, **arguments}))

    def _input_of(self, x: Value, weight: Any) -> tuple[Value, dict[str, bool]]:
        """What the weight is multiplied by, x or its 8-bit rows, and what the product has to know of it."""
        if self._activations != "int8" or not weight.is_quantized:
            return x, {}
        width = _native.quantized_width(x.width)
        return self._result("quantize", (x,), width, x.rows), {"quantized_x": True}

    def _rope_table(self, rope: Rope) -> Value:
        """Cosines and sines of the step's positions, computed once and shared by all layers."""
        if rope not in self._rope_tables:
            frequencies = self._weights.rope_frequencies(rope)
            self._rope_tables[rope] = self._result(
                "rope_table", (), rope.head_dim, "tokens", frequencies=frequencies
            )
        return self._rope_tables[rope]

    def _result(
        self, kind: str, inputs: tuple[Value, ...], width: int, rows: RowSet, **arguments: Any
    ) -> Value:
        value = Value(width, rows)
        self._emit(Operation(kind, inputs, (value,), arguments))
        return value

    def _full(self, name: str) -> str:
        return ".".join([*self._scopes, name])
