"""What an operation of a native program has to do, by its shapes: multiply-adds, and bytes from memory.

Counts weights, and keys and values; activations stay in the caches. What an operation's shapes do not tell,
such as which experts a step needs, is None.
"""

from dataclasses import dataclass
from typing import Protocol

from gradus.backends.native.operations import Operation, Value
from gradus.models.config import ModelConfig


class StepSize(Protocol):
    """How large a step is."""

    @property
    def num_tokens(self) -> int:
        """Rows that are computed."""

    @property
    def num_seqs(self) -> int:
        """Rows that are sampled from."""

    @property
    def num_attended(self) -> int:
        """Pairs of a token of the step and a token that it attends to."""

    @property
    def num_sampled_attended(self) -> int:
        """Those pairs of the rows that are sampled from."""

    @property
    def num_context(self) -> int:
        """Tokens of all sequences after the step."""

    @property
    def length(self) -> int:
        """Tokens of the longest sequence after the step."""


@dataclass(frozen=True, slots=True)
class OpCost:
    """One operation of one step.

    Attributes:
        name: for people; operations of one name have one shape.
        macs: multiply-adds by the ceiling of the machine that they run against: f32, bf16, int8 or int4.
    """

    name: str
    macs: tuple[tuple[str, int], ...] = ()
    num_bytes: int | None = None

    @property
    def num_macs(self) -> int | None:
        """Of all kinds; None if it is not known."""
        return sum(number for _, number in self.macs) if self.macs else None


def op_cost(operation: Operation, shape: StepSize, model: ModelConfig, kv_bytes_per_token: int) -> OpCost:
    """kv_bytes_per_token: keys and values of all layers."""
    if operation.kind == "linear":
        return _product(operation, sum(value.width for value in operation.outputs), shape)
    if operation.kind == "lm_head_sample":
        return _product(operation, model.vocab_size, shape)
    if operation.kind == "attention":
        return _attention(operation, shape, model, kv_bytes_per_token)
    return OpCost(operation.kind)


# Of queries and keys, and of weights and values.
_ATTENTION_PRODUCTS = {
    "int8": ("int8", "bf16"),
    "bf16": ("bf16", "bf16"),
    "blocked": ("f32", "f32"),
    "naive": ("f32", "f32"),
}


def _product(operation: Operation, num_outputs: int, shape: StepSize) -> OpCost:
    weight, is_quantized = operation.arguments["weight"], operation.arguments.get("quantized_x", False)
    num_rows = _rows(operation.inputs[0], shape)
    multiply_add = weight.format.split("_")[0] if is_quantized else "f32"
    return OpCost(
        f"{operation.kind} {weight.inputs} -> {num_outputs} {weight.format}",
        ((multiply_add, num_rows * weight.inputs * num_outputs),),
        weight.bytes * num_outputs // sum(weight.outputs) if num_rows else 0,
    )


def _attention(operation: Operation, shape: StepSize, model: ModelConfig, kv_bytes: int) -> OpCost:
    window = operation.arguments["window"]
    if window and window < shape.length:
        return OpCost(f"attention, window {window}")
    is_whole = operation.inputs[0].rows == "tokens"
    num_attended = shape.num_attended if is_whole else shape.num_sampled_attended
    num_read = min(num_attended, shape.num_context)  # a sequence without a sampled row is not read
    return OpCost(
        "attention" if is_whole else "attention of sampled rows",
        tuple(
            (kind, num_attended * model.num_heads * model.head_dim)
            for kind in _ATTENTION_PRODUCTS[operation.arguments["kernel"]]
        ),
        num_read * kv_bytes // model.num_layers,
    )


def _rows(value: Value, shape: StepSize) -> int:
    return shape.num_tokens if value.rows == "tokens" else shape.num_seqs
