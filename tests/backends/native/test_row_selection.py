"""Only the rows that are sampled go through what follows the last layer's keys and values."""

import numpy as np
import pytest

from gradus.backends.native.operations import Operation, Value
from gradus.backends.native.row_selection import select_rows_early
from tests.backends.native.harness import make_batch
from tests.tiny_models import (
    tiny_backend,
    tiny_config,
    tiny_gemma2_config,
    tiny_gemma3_config,
    tiny_moe_config,
    tiny_phi3_config,
)


def value(rows="tokens"):
    return Value(16, rows)


def kinds(operations):
    return [operation.kind for operation in operations]


@pytest.mark.parametrize("quantization", ["none", "int4"])
@pytest.mark.parametrize(
    "config",
    [
        tiny_config(),
        tiny_config(attention_bias=True),
        tiny_moe_config(),
        tiny_gemma2_config(),
        tiny_gemma3_config(),
        tiny_phi3_config(),
    ],
    ids=lambda config: config.architecture,
)
def test_the_last_layers_attention_is_of_the_sampled_rows(config, quantization):
    backend = tiny_backend(config=config, quantization=quantization)
    attentions = [op for op in backend.operations if op.kind == "attention"]
    assert [op.outputs[0].rows for op in attentions] == ["tokens"] * (config.num_layers - 1) + ["outputs"]
    after = backend.operations[backend.operations.index(attentions[-1]) :]
    assert all(result.rows == "outputs" for op in after for result in op.outputs if op.kind != "select_rows")
    assert all(source.rows == "outputs" for op in after for source in op.inputs if op.kind != "select_rows")
    backend.close()


def test_logits_do_not_depend_on_which_rows_are_asked_for():
    tokens = np.random.default_rng(1).integers(0, 97, 60)
    backend = tiny_backend(quantization="int4", activations="int8")

    def logits(rows):
        batch = make_batch([40, 20], [40, 20], output_rows=rows, token_ids=tokens, return_logits=True)
        return backend.execute(batch).logits

    everything = logits(range(60))
    for rows in ([], [39], [39, 59], [0, 1, 2, 38, 39, 40, 41, 59]):
        assert np.array_equal(logits(rows), everything[list(rows)])
    backend.close()


def test_a_selection_moves_before_what_treats_rows_one_by_one():
    x, y, both, normed, chosen = value(), value(), value(), value(), value("outputs")
    sources = [Operation("embed", (), (x,)), Operation("embed", (), (y,))]
    found = select_rows_early(
        [
            *sources,
            Operation("add", (x, y), (both,)),
            Operation("rms_norm", (both,), (normed,)),
            Operation("select_rows", (normed,), (chosen,)),
        ]
    )
    assert kinds(found) == ["embed", "embed", "select_rows", "select_rows", "add", "rms_norm"]
    assert {op.inputs[0] for op in found[2:4]} == {x, y}
    assert set(found[4].inputs) == {op.outputs[0] for op in found[2:4]}
    assert found[-1].outputs == (chosen,)


def test_a_result_that_is_read_again_is_computed_for_all_rows():
    x, normed, chosen = value(), value(), value("outputs")
    operations = [
        Operation("embed", (), (x,)),
        Operation("rms_norm", (x,), (normed,)),
        Operation("kv_write", (normed, normed), ()),
        Operation("select_rows", (normed,), (chosen,)),
    ]
    assert kinds(select_rows_early(operations)) == kinds(operations)
