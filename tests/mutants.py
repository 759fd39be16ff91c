"""Deliberate mistakes in a configuration, a batch or a model: would a test that matters notice them?"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from gradus.batch import Batch
from gradus.models.checkpoint.base import Checkpoint, RawTensor
from gradus.models.config import ModelConfig
from gradus.models.ops import Handle, Ops
from gradus.models.qwen3 import qwen3
from gradus.models.registry import model_function


def scale_rope_theta(factor: float) -> Callable[[ModelConfig], ModelConfig]:
    def mutate(config: ModelConfig) -> ModelConfig:
        return replace(config, rope=replace(config.rope, theta=config.rope.theta * factor))

    return mutate


def usual_epsilon(config: ModelConfig) -> ModelConfig:
    return replace(config, rms_norm_eps=1e-6)


def shift_later_positions(batch: Batch) -> None:
    """All chunks but the first: shifting a whole sequence would not show, since angles are relative."""
    for start, end in zip(batch.query_start, batch.query_start[1:], strict=False):
        if batch.positions[start] > 0:
            batch.positions[start:end] += 1


class SwapBlocksOnce:
    """Two sequences exchange their first blocks for one step; within one sequence order does not matter."""

    def __init__(self) -> None:
        self._done = False

    def __call__(self, batch: Batch) -> None:
        if not self._done and batch.num_seqs >= 2 and batch.num_outputs and batch.context_lens.min() > 16:
            batch.block_tables[[0, 1], 0] = batch.block_tables[[1, 0], 0]
            self._done = True


class MisplaceOneSlot:
    """The first token of one decode step is written one slot further."""

    def __init__(self) -> None:
        self._done = False

    def __call__(self, batch: Batch) -> None:
        # Never into the next block, which may be another sequence's and be noticed there only.
        if not self._done and batch.num_tokens == batch.num_seqs and (batch.slot_mapping[0] + 1) % 16:
            batch.slot_mapping[0] += 1
            self._done = True


class _Wrapped:
    """Passes every op on; mutants override one."""

    def __init__(self, ops: Ops) -> None:
        self._ops = ops

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ops, name)


def without_head_norms(ops: Ops, cfg: ModelConfig) -> None:
    class Mutant(_Wrapped):
        def rms_norm(self, x: Handle, name: str, eps: float, head_dim: int | None = None) -> Handle:
            return x if head_dim else self._ops.rms_norm(x, name, eps)

    qwen3(Mutant(ops), cfg)


def without_scaling(ops: Ops, cfg: ModelConfig) -> None:
    class Mutant(_Wrapped):
        def attention(self, q: Handle, k: Handle, v: Handle, layer: int, scale: float, **rest: Any) -> Handle:
            return self._ops.attention(q, k, v, layer, 1.0, **rest)

    qwen3(Mutant(ops), cfg)


def with_swapped_mlp_inputs(ops: Ops, cfg: ModelConfig) -> None:
    class Mutant(_Wrapped):
        def column_linear(self, x: Handle, names: Sequence[str], bias: bool = False) -> list[Handle]:
            return self._ops.column_linear(x, names[::-1] if len(names) == 2 else names, bias)

    qwen3(Mutant(ops), cfg)


class SwappedExperts:
    """A checkpoint in which experts 0 and 1 answer for each other; the router is right."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def names(self) -> Collection[str]:
        return self._checkpoint.names()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._checkpoint.shape(name)

    def read(self, name: str) -> RawTensor:
        for there, here in (("experts.0", "experts.1"), ("experts.1", "experts.0")):
            if f".{there}." in name:
                return self._checkpoint.read(name.replace(f".{there}.", f".{here}."))
        return self._checkpoint.read(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checkpoint, name)


def with_silu_in_place_of_gelu(ops: Ops, cfg: ModelConfig) -> None:
    class Mutant(_Wrapped):
        def gelu_mul(self, gate: Handle, up: Handle) -> Handle:
            return self._ops.silu_mul(gate, up)

    model_function("Gemma2ForCausalLM")(Mutant(ops), cfg)


def without_norm_offset(ops: Ops, cfg: ModelConfig) -> None:
    class Mutant(_Wrapped):
        def rms_norm(self, x: Handle, name: str, eps: float, **rest: Any) -> Handle:
            return self._ops.rms_norm(x, name, eps, **(rest | {"offset": 0.0}))

    model_function("Gemma2ForCausalLM")(Mutant(ops), cfg)
