"""Which weights a model reads, in which shapes: found by running its function over `Ops` that take notes.

So there is no second list of names beside the model's own thirty lines. Knows names and shapes, and of the
data only whether two tensors are equal.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from gradus.errors import CheckpointError
from gradus.models.checkpoint.base import Checkpoint
from gradus.models.config import ModelConfig
from gradus.models.ops import ExpertShape, Handle
from gradus.models.registry import model_function
from gradus.models.rope import Rope

Shape = tuple[int, ...]

# Outputs of linear weights, by the last part of their name.
_LINEAR_WIDTHS: dict[str, Callable[[ModelConfig], int]] = {
    "q_proj": lambda c: c.num_heads * c.head_dim,
    "k_proj": lambda c: c.num_kv_heads * c.head_dim,
    "v_proj": lambda c: c.num_kv_heads * c.head_dim,
    "o_proj": lambda c: c.hidden_size,
    "gate_proj": lambda c: c.intermediate_size,
    "up_proj": lambda c: c.intermediate_size,
    "down_proj": lambda c: c.hidden_size,
}


def expected_weights(config: ModelConfig) -> dict[str, Shape]:
    """Name and shape of every weight that the model reads, in the order of first use.

    Raises:
        UnsupportedModelError: no such architecture.
    """
    ops = _NotingOps(config)
    model_function(config.architecture)(ops, config)
    return ops.shapes


def check_weights(config: ModelConfig, checkpoint: Checkpoint) -> None:
    """Every weight that the model reads is there in its shape; tensors that it does not read are ignored.

    Raises:
        CheckpointError: names the first weight that is missing or of another shape, and how many there are.
    """
    expected = expected_weights(config)
    names = checkpoint.names()
    missing = [name for name in expected if name not in names]
    if missing:
        raise CheckpointError(
            f"the checkpoint has no tensor named {missing[0]}; {len(missing)} of the {len(expected)} that "
            f"{config.architecture} reads are missing"
        )
    for name, shape in expected.items():
        if checkpoint.shape(name) != shape:
            raise CheckpointError(
                f"tensor {name} has shape {list(checkpoint.shape(name))}, "
                f"but config.json makes it {list(shape)}"
            )


def check_tied(config: ModelConfig, checkpoint: Checkpoint) -> None:
    """A second lm_head beside tied embeddings must equal them: transformers 4 and 5 differ on which wins.

    Reads both, so only who reads the weights anyway asks.

    Raises:
        CheckpointError: they differ.
    """
    if not config.tie_word_embeddings or "lm_head.weight" not in checkpoint.names():
        return
    embeddings = checkpoint.read("model.embed_tokens.weight").array
    if not np.array_equal(embeddings, checkpoint.read("lm_head.weight").array):
        raise CheckpointError(
            "config.json has tie_word_embeddings true, but the checkpoint has an lm_head.weight that "
            "differs from model.embed_tokens.weight; set tie_word_embeddings to false to use it, or delete "
            "the tensor"
        )


class _NotingOps:
    """Implements `Ops`; every handle is its width."""

    def __init__(self, config: ModelConfig) -> None:
        self.shapes: dict[str, Shape] = {}
        self._config = config
        self._prefix = ""

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        outer, self._prefix = self._prefix, f"{self._prefix}{name}."
        try:
            yield
        finally:
            self._prefix = outer

    def embed(self, name: str, scale: float = 1.0) -> Handle:
        self._note(name, "weight", (self._config.vocab_size, self._config.hidden_size))
        return self._config.hidden_size

    def rms_norm(
        self, x: Handle, name: str, eps: float, head_dim: int | None = None, offset: float = 0.0
    ) -> Handle:
        self._note(name, "weight", (head_dim or x,))
        return x

    def column_linear(self, x: Handle, names: Sequence[str], bias: bool = False) -> list[Handle]:
        return [self.row_linear(x, name, bias) for name in names]

    def fused_linear(self, x: Handle, name: str, widths: Sequence[int]) -> list[Handle]:
        self._note(name, "weight", (sum(widths), x))
        return list(widths)

    def row_linear(self, x: Handle, name: str, bias: bool = False) -> Handle:
        width = _LINEAR_WIDTHS[name.rpartition(".")[2]](self._config)
        self._note(name, "weight", (width, x))
        if bias:
            self._note(name, "bias", (width,))
        return width

    def rope(self, q: Handle, k: Handle, rope: Rope) -> tuple[Handle, Handle]:
        return q, k

    def attention(self, q: Handle, *args: object, **parameters: object) -> Handle:
        return q

    def silu_mul(self, gate: Handle, up: Handle) -> Handle:
        return gate

    def gelu_mul(self, gate: Handle, up: Handle) -> Handle:
        return gate

    def experts(self, x: Handle, name: str, shape: ExpertShape) -> Handle:
        self._note(f"{name}.gate", "weight", (shape.num_experts, x))
        for expert in range(shape.num_experts):
            for part in ("gate_proj", "up_proj"):
                self._note(f"{name}.experts.{expert}.{part}", "weight", (shape.intermediate_size, x))
            self._note(f"{name}.experts.{expert}.down_proj", "weight", (x, shape.intermediate_size))
        return x

    def add(self, a: Handle, b: Handle) -> Handle:
        return a

    def select_rows(self, x: Handle) -> Handle:
        return x

    def lm_head(self, x: Handle, name: str, soft_cap: float | None = None) -> Handle:
        self._note(name, "weight", (self._config.vocab_size, x))

    def output(self, name: str, x: Handle) -> None:
        pass

    def _note(self, name: str, kind: str, shape: Shape) -> None:
        self.shapes[f"{self._prefix}{name}.{kind}"] = shape
