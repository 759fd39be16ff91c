"""What operations cost, against sums over the model's weights."""

import math

import pytest

from gradus.backends.attention import cpu_has_bf16
from gradus.bench.op_costs import op_cost
from gradus.bench.step_batches import decode_shape, prefill_shape
from gradus.models.weights import expected_weights
from tests.tiny_models import tiny_backend, tiny_config


def costs(shape, **options):
    config = tiny_config()
    backend = tiny_backend(config=config, **options)
    try:
        kv_bytes = backend.kv_bytes_per_token
        return [op_cost(operation, shape, config, kv_bytes) for operation in backend.operations]
    finally:
        backend.close()


def products(found):
    return [cost for cost in found if cost.name.startswith(("linear", "lm_head"))]


def num_matrix_weights():
    return sum(math.prod(shape) for shape in expected_weights(tiny_config()).values() if len(shape) == 2)


@pytest.mark.parametrize("streams", [1, 8])
def test_decoding_multiplies_every_matrix_weight_once_per_stream(streams):
    found = products(costs(decode_shape(streams, 40)))
    assert sum(cost.num_macs for cost in found) == streams * num_matrix_weights()  # the head is the embedding
    assert sum(cost.num_bytes for cost in found) >= 4 * num_matrix_weights()  # panels are padded


def test_a_prompts_last_layer_and_head_are_computed_for_sampled_rows_only():
    one = sum(cost.num_macs for cost in products(costs(decode_shape(1, 40))))
    prompt = sum(cost.num_macs for cost in products(costs(prefill_shape(32))))
    head = 97 * 48
    last_mlp = 3 * 48 * 80
    last_rows = head + last_mlp + 48 * 64  # with the output projection
    assert prompt == 32 * (one - last_rows) + last_rows


def test_attention_counts_pairs_and_reads_the_context_once():
    found = [cost for cost in costs(prefill_shape(32)) if cost.name.startswith("attention")]
    whole, sampled = found  # layers; 4 heads of 16, 2 of keys and values, in f16
    assert whole.num_macs == 2 * (32 * 33 // 2) * 4 * 16  # scores and values of all pairs
    assert sampled.num_macs == 2 * 32 * 4 * 16  # of the last token's
    assert whole.num_bytes == sampled.num_bytes == 32 * 2 * 2 * 16 * 2
    found = [cost for cost in costs(decode_shape(3, 40)) if cost.name.startswith("attention")]
    assert [cost.num_macs for cost in found] == [2 * 3 * 41 * 4 * 16] * 2  # all rows are sampled
    assert [cost.num_bytes for cost in found] == [3 * 41 * 2 * 2 * 16 * 2] * 2


def test_quantized_products_run_against_the_integer_ceiling_and_others_do_not():
    def kinds(**options):
        return {kind for cost in products(costs(decode_shape(1, 8), **options)) for kind, _ in cost.macs}

    assert kinds(quantization="int8", activations="int8") == {"int8"}
    assert kinds(quantization="int4-all", activations="int8") == {"int4"}
    assert kinds(quantization="int8") == {"f32"}


def test_attention_runs_against_the_ceiling_of_what_it_multiplies():
    kernels = {"blocked": ("f32", "f32"), "naive": ("f32", "f32")}
    if cpu_has_bf16():
        kernels |= {"bf16": ("bf16", "bf16"), "int8": ("int8", "bf16")}
    for kernel, kinds in kernels.items():
        found = [cost for cost in costs(decode_shape(1, 8), attention=kernel) if cost.name == "attention"]
        assert {tuple(kind for kind, _ in cost.macs) for cost in found} == {kinds}
        assert {cost.num_macs for cost in found} == {2 * 9 * 4 * 16}


def test_what_is_no_product_has_a_name_and_no_numbers():
    (embed,) = [cost for cost in costs(decode_shape(1, 8)) if cost.name == "embed"]
    assert (embed.macs, embed.num_macs, embed.num_bytes) == ((), None, None)
