"""What an operation of a native program has to do, by its shapes: multiply-adds, and bytes from memory.

Counts weights, and keys and values; activations stay in the caches. What an operation's shapes do not tell,
such as which experts a step needs, is None.
"""

from dataclasses import dataclass

from gradus.backends.native.operations import Operation, Value
from gradus.bench.step_batches import StepShape
from gradus.models.config import ModelConfig


@dataclass(frozen=True, slots=True)
class OpCost:
    """One operation of one step.

    Attributes:
        name: for people; operations of one name have one shape.
        multiply_add: which of the machine's ceilings it runs against: f32, int8 or int4.
    """

    name: str
    multiply_add: str | None = None
    num_macs: int | None = None
    num_bytes: int | None = None


def op_cost(operation: Operation, shape: StepShape, model: ModelConfig, kv_bytes_per_token: int) -> OpCost:
    """kv_bytes_per_token: keys and values of all layers."""
    if operation.kind == "linear":
        return _product(operation, sum(value.width for value in operation.outputs), shape)
    if operation.kind == "lm_head_sample":
        return _product(operation, model.vocab_size, shape)
    if operation.kind == "attention":
        return _attention(operation, shape, model, kv_bytes_per_token)
    return OpCost(operation.kind)


def _product(operation: Operation, num_outputs: int, shape: StepShape) -> OpCost:
    weight, is_quantized = operation.arguments["weight"], operation.arguments.get("quantized_x", False)
    num_rows = _rows(operation.inputs[0], shape)
    return OpCost(
        f"{operation.kind} {weight.inputs} -> {num_outputs} {weight.format}",
        weight.format.removesuffix("_symmetric") if is_quantized else "f32",
        num_rows * weight.inputs * num_outputs,
        weight.bytes * num_outputs // sum(weight.outputs),
    )


def _attention(operation: Operation, shape: StepShape, model: ModelConfig, kv_bytes: int) -> OpCost:
    window = operation.arguments["window"]
    if window and window < shape.length:
        return OpCost(f"attention, window {window}")
    is_whole = operation.inputs[0].rows == "tokens"
    return OpCost(
        "attention" if is_whole else "attention of sampled rows",
        "f32",
        2
        * (shape.num_attended if is_whole else shape.num_sampled_attended)
        * model.num_heads
        * model.head_dim,
        shape.num_seqs * shape.length * kv_bytes // model.num_layers,
    )


def _rows(value: Value, shape: StepShape) -> int:
    return shape.num_tokens if value.rows == "tokens" else shape.num_seqs
