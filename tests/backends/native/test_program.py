"""Tracing, fusion and memory: a program does what eager execution does, in fewer instructions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.backends.native.fusion import fuse
from gradus.backends.native.operations import Operation, Value
from gradus.backends.native.tracer import lay_out
from gradus.models.rope import Rope
from tests.backends.native.harness import make_batch
from tests.tiny_models import (
    tiny_backend,
    tiny_config,
    tiny_gemma2_config,
    tiny_gemma3_config,
    tiny_moe_config,
    tiny_phi3_config,
)

TOKENS = np.random.default_rng(0).integers(0, 97, 300)


def logits_of_some_steps(backend):
    """Two prompts in a step, then one decodes beside a chunk of the other, then both decode."""
    tables = np.array([[3, 5, 1, 9], [20, 21, 22, 23]])
    steps = [([30, 17], [30, 17], [29, 46]), ([31, 40], [1, 23], [0]), ([32, 41], [1, 1], [0, 1])]
    results = []
    for contexts, rows, outputs in steps:
        tokens = TOKENS[: sum(rows)]
        batch = make_batch(
            contexts, rows, tables=tables, output_rows=outputs, token_ids=tokens, return_logits=True
        )
        results.append(backend.execute(batch).logits)
    return np.concatenate(results)


@pytest.mark.parametrize("attention", ["blocked", "naive"])
@pytest.mark.parametrize(
    "config",
    [
        tiny_config(),
        tiny_config(
            num_layers=1,
            head_dim=24,
            rope=Rope(24, 1e4, rotary_dim=20, magnitude=1.5),
            num_heads=3,
            num_kv_heads=1,
            hidden_size=40,
        ),
        tiny_config(attention_bias=True, tie_word_embeddings=False),
        tiny_config(windows=(9, None)),
        tiny_moe_config(),
        tiny_gemma2_config(),
        tiny_gemma3_config(),
        tiny_phi3_config(),
    ],
)
def test_a_program_gives_the_bits_that_eager_execution_gives(cpu_variant, config, attention):
    program = tiny_backend(config=config, attention=attention)
    eager = tiny_backend(config=config, attention=attention, enforce_eager=True)
    assert np.array_equal(logits_of_some_steps(program), logits_of_some_steps(eager))


def test_naive_and_blocked_attention_agree(cpu_variant):
    blocked, naive = (logits_of_some_steps(tiny_backend(attention=kind)) for kind in ("blocked", "naive"))
    assert np.abs(blocked - naive).max() <= 1e-4 * blocked.std()


def test_fusion_leaves_nine_instructions_a_layer():
    """Four linears, two sums with norms, rope with KV write, attention, SiLU; and six more for the whole.

    Those are the rope table, embedding, first norm, lm_head, and two selections of rows in the last layer: of
    its queries and of what its attention is added to.
    """
    assert len(tiny_backend(config=tiny_config(num_layers=5))._program) == 5 * 9 + 6


def value(rows="tokens", width=16):
    return Value(width, rows)


class Weight:
    """Stands for a packed weight; only its length and identity matter to fusion."""

    def __init__(self, length=16):
        self._length = length

    def __len__(self):
        return self._length


def test_linears_of_different_weights_or_inputs_stay_apart():
    x, other, weight = value(), value(), Weight()
    a = Operation("linear", (x,), (value(),), {"weight": weight, "first": 0})
    for b in [
        Operation("linear", (other,), (value(),), {"weight": weight, "first": 1}),
        Operation("linear", (x,), (value(),), {"weight": Weight(), "first": 1}),
        Operation("linear", (x,), (value(),), {"weight": weight, "first": 2}),
    ]:
        assert len(fuse([a, b])) == 2
    b = Operation("linear", (x,), (value(),), {"weight": weight, "first": 1})
    (fused,) = fuse([a, b])
    assert fused.outputs == a.outputs + b.outputs


def test_a_query_that_is_read_again_is_not_overwritten():
    q, k, v, table, rotated_q, rotated_k = (value() for _ in range(6))
    rope_and_write = [
        Operation("rope", (q, table), (rotated_q,)),
        Operation("rope", (k, table), (rotated_k,)),
        Operation("kv_write", (rotated_k, v), (), {"layer": 0}),
    ]
    (fused,) = fuse(rope_and_write)
    assert fused.in_place
    assert len(fuse([*rope_and_write, Operation("add", (q, rotated_q), (value(),))])) == 4
    assert len(fuse([*rope_and_write, Operation("add", (rotated_k, rotated_q), (value(),))])) == 4
    assert len(fuse([*rope_and_write, Operation("add", (k, rotated_q), (value(),))])) == 4


@pytest.mark.parametrize("kind", ["rms_norm", "silu_mul", "gelu_mul"])
def test_a_result_that_is_only_quantized_is_never_stored(kind):
    x, result, codes = (value() for _ in range(3))
    operations = [
        Operation(kind, (x,), (result,), {"weight": Weight()}),
        Operation("quantize", (result,), (codes,)),
    ]
    (fused,) = fuse(operations)
    assert (fused.kind, fused.inputs, fused.outputs) == (f"{kind}_quantize", (x,), (codes,))
    assert len(fuse([*operations, Operation("add", (result, codes), (value(),))])) == 3
    other = Operation("quantize", (value(),), (value(),))
    assert len(fuse([operations[0], other])) == 2


def test_a_sum_its_norm_and_quantization_are_one():
    a, b, total, normed, codes = (value() for _ in range(5))
    (fused,) = fuse(
        [
            Operation("add", (a, b), (total,)),
            Operation("rms_norm", (total,), (normed,), {"weight": Weight(), "eps": 1e-6}),
            Operation("quantize", (normed,), (codes,)),
        ]
    )
    assert (fused.kind, fused.outputs) == ("add_rms_norm_quantize", (total, codes))


KINDS = ("linear", "add", "add_rms_norm", "quantize", "attention")


@given(st.randoms(use_true_random=False))
def test_memory_is_reused_but_a_value_stays_until_it_was_read(random):
    """A random chain of operations, each of which reads what was written for it."""
    values = [value(width=random.randint(1, 200)) for _ in range(3)]
    operations = [Operation("embed", (), (v,)) for v in values]
    for _ in range(100):
        inputs = tuple(random.sample(values[-6:], 2))
        widths = [
            random.choice([inputs[0].width, random.randint(1, 200)]) for _ in range(random.randint(1, 3))
        ]
        operations.append(Operation(random.choice(KINDS), inputs, tuple(value(width=w) for w in widths)))
        values.extend(operations[-1].outputs)
    num_rows = 3
    places, num_floats = lay_out(operations, num_rows)
    arena = np.zeros(num_floats, int)

    def cells(v):
        offset, stride = places[v]
        rows = offset + stride * np.arange(num_rows)[:, None]
        return rows + np.arange(v.padded_width)

    for operation in operations:
        for v in operation.inputs:
            assert (arena[cells(v)] == values.index(v)).all()
        for v in operation.outputs:
            arena[cells(v)] = values.index(v)
        for v in operation.outputs:  # beside each other
            assert (arena[cells(v)] == values.index(v)).all()
    assert num_floats < sum(cells(v).size for v in values) / 4


def test_a_residual_sum_takes_the_place_of_what_it_is_added_to():
    x, y, total, normed, branch, again = (value() for _ in range(6))
    operations = [
        Operation("embed", (), (x,)),
        Operation("linear", (x,), (y,)),
        Operation("add_rms_norm", (x, y), (total, normed)),
        Operation("linear", (normed,), (branch,)),
        Operation("add", (total, branch), (again,)),
    ]
    places, _ = lay_out(operations, num_rows=4)
    assert places[x] == places[total] == places[again]
    assert places[normed] != places[total]


def test_a_value_that_is_read_again_is_not_overwritten():
    x, y, total, again = (value() for _ in range(4))
    operations = [
        Operation("embed", (), (x,)),
        Operation("embed", (), (y,)),
        Operation("add", (x, y), (total,)),
        Operation("add", (x, total), (again,)),
    ]
    places, _ = lay_out(operations, num_rows=4)
    assert len({places[v] for v in (x, y, total)}) == 3


def test_a_deeper_model_needs_no_larger_arena():
    two, eight = (tiny_backend(config=tiny_config(num_layers=n)).program_bytes for n in (2, 8))
    assert two == eight
