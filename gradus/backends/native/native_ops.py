"""`NativeOps`: the `Ops` vocabulary in terms of operations on values.

`Tracer` records them, `EagerOps` runs each at once. Both see the same operations, so both compute the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradus.backends.native._native as _native
from gradus.backends.native.operations import Operation, RowSet, Value
from gradus.backends.native.weights import Weights
from gradus.errors import UnsupportedModelError
from gradus.models.config import ModelConfig
from gradus.models.ops import ExpertShape
from gradus.models.rope import Rope


@dataclass(eq=False, slots=True)
class Logits:
    """Logits not computed yet: they exist only in tiles, inside the instruction that samples from them."""

    x: Value
    weight: Any
    soft_cap: float | None


class NativeOps(ABC):
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

    @abstractmethod
    def _emit(self, operation: Operation) -> None:
        """Take the model's next operation."""

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def embed(self, name: str, scale: float = 1.0) -> Value:
        weight = self._one([self._full(name)])
        return self._result("embed", (), self._config.hidden_size, "tokens", weight=weight, scale=scale)

    def rms_norm(
        self, x: Value, name: str, eps: float, head_dim: int | None = None, offset: float = 0.0
    ) -> Value:
        weight = self._weights.vector(self._full(name), offset)
        return self._result("rms_norm", (x,), x.width, x.rows, weight=weight, eps=eps)

    def column_linear(self, x: Value, names: Sequence[str], bias: bool = False) -> list[Value]:
        full_names = [self._full(name) for name in names]
        return self._products(x, self._weights.linear(full_names, bias))

    def fused_linear(self, x: Value, name: str, widths: Sequence[int]) -> list[Value]:
        return self._products(x, [self._weights.fused(self._full(name), widths)])

    def _products(self, x: Value, weights: Sequence[Any]) -> list[Value]:
        """Products with the packed matrices of the weights, one by one; fusion joins those of each weight."""
        quantized: dict[bool, Value] = {}  # by how it is read
        products = []
        for weight in weights:
            source, arguments = x, {}
            if self._is_read_in_8_bits(weight):
                if weight.takes_quads not in quantized:
                    quantized[weight.takes_quads] = self._quantized(x, weight)
                source, arguments = quantized[weight.takes_quads], {"quantized_x": True}
            products += [
                self._result("linear", (source,), width, x.rows, weight=weight, first=i, **arguments)
                for i, width in enumerate(weight.outputs)
            ]
        return products

    def row_linear(self, x: Value, name: str, bias: bool = False) -> Value:
        return self.column_linear(x, [name], bias)[0]

    def rope(self, q: Value, k: Value, rope: Rope) -> tuple[Value, Value]:
        table = self._rope_table(rope)
        rotated_q, rotated_k = (
            self._result("rope", (x, table), x.width, x.rows, head_dim=rope.head_dim) for x in (q, k)
        )
        return rotated_q, rotated_k

    def attention(
        self,
        q: Value,
        k: Value,
        v: Value,
        layer: int,
        scale: float,
        window: int | None = None,
        soft_cap: float | None = None,
    ) -> Value:
        self._emit(Operation("kv_write", (k, v), (), {"layer": layer}))
        arguments = {
            "layer": layer,
            "scale": scale,
            "kernel": self._attention,
            "window": window or 0,  # the instruction's word for none
            "soft_cap": soft_cap or 0.0,
        }
        return self._result("attention", (q,), q.width, q.rows, **arguments)

    def silu_mul(self, gate: Value, up: Value) -> Value:
        return self._result("silu_mul", (gate, up), gate.width, gate.rows)

    def gelu_mul(self, gate: Value, up: Value) -> Value:
        return self._result("gelu_mul", (gate, up), gate.width, gate.rows)

    def experts(self, x: Value, name: str, shape: ExpertShape) -> Value:
        expert = [f"{self._full(name)}.experts.{i}" for i in range(shape.num_experts)]
        weights = {
            "router": self._one([f"{self._full(name)}.gate"]),
            "gate_up": self._one([f"{e}.{part}" for e in expert for part in ("gate_proj", "up_proj")]),
            "down": self._one([f"{e}.down_proj" for e in expert]),
        }
        return self._result(
            "experts",
            (x,),
            x.width,
            x.rows,
            **weights,
            top_k=shape.top_k,
            renormalize=shape.renormalize,
            quantize_x=self._is_read_in_8_bits(weights["gate_up"]),
        )

    def add(self, a: Value, b: Value) -> Value:
        return self._result("add", (a, b), a.width, a.rows)

    def select_rows(self, x: Value) -> Value:
        return x if x.rows == "outputs" else self._result("select_rows", (x,), x.width, "outputs")

    def lm_head(self, x: Value, name: str, soft_cap: float | None = None) -> Logits:
        return Logits(x, self._one([self._full(name)]), soft_cap)

    def output(self, name: str, x: Value | Logits) -> None:
        if name == "hidden":
            return  # nothing outside a step reads it yet
        if name != "logits" or not isinstance(x, Logits):
            raise UnsupportedModelError(f"the native backend has no output {name!r} of this kind")
        rows, arguments = self.select_rows(x.x), {"weight": x.weight, "soft_cap": x.soft_cap or 0.0}
        if self._is_read_in_8_bits(x.weight):
            rows, arguments = self._quantized(rows, x.weight), {**arguments, "quantized_x": True}
        self._emit(Operation("lm_head_sample", (rows,), (), arguments))

    def _one(self, names: Sequence[str]) -> Any:
        """Matrices that one instruction reads."""
        weights = self._weights.linear(names)
        if len(weights) > 1:
            raise UnsupportedModelError(f"{names[0]} and what goes with it are stored in different formats")
        return weights[0]

    def _is_read_in_8_bits(self, weight: Any) -> bool:
        """Whether the weight is multiplied by 8-bit rows."""
        return self._activations == "int8" and bool(weight.is_quantized)

    def _quantized(self, x: Value, reader: Any) -> Value:
        """Rows in 8 bits, as products with the weight read them."""
        in_quads = reader.takes_quads
        return self._result(
            "quantize", (x,), _native.quantized_width(x.width, in_quads), x.rows, in_quads=in_quads
        )

    def _rope_table(self, rope: Rope) -> Value:
        """Cosines and sines of the step's positions, computed once and shared by all layers."""
        if rope not in self._rope_tables:
            frequencies = self._weights.rope_frequencies(rope)
            arguments = {"frequencies": frequencies, "magnitude": rope.magnitude}
            self._rope_tables[rope] = self._result("rope_table", (), rope.num_rotated, "tokens", **arguments)
        return self._rope_tables[rope]

    def _result(
        self, kind: str, inputs: tuple[Value, ...], width: int, rows: RowSet, **arguments: Any
    ) -> Value:
        value = Value(width, rows)
        self._emit(Operation(kind, inputs, (value,), arguments))
        return value

    def _full(self, name: str) -> str:
        return ".".join([*self._scopes, name])
