"""The arithmetic behind `gradus doctor`: by hand, and against what the native backend really holds."""

from dataclasses import replace

import pytest

from gradus.bench.estimate import fit_model, model_bytes
from gradus.bench.probe import CUT_BYTES, cut_model
from gradus.config import EngineConfig
from gradus.models.outline import outline_model
from gradus.models.sources import DUMMY_SHAPES
from gradus.runtime import load_runtime
from tests.tiny_models import tiny_backend, tiny_config, tiny_moe_config, write_wide_model

KIB = 1024


def by_hand(**changes):
    """Two layers that are easy to add up; every width is a multiple of 16."""
    values = {
        "vocab_size": 1000,  # 1,008 when packed
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 32,
        "rope": replace(tiny_config().rope, head_dim=32),
        "tie_word_embeddings": False,
    }
    return tiny_config(**(values | changes))


# Of one layer: q 64 x 128, k and v 64 x 64, o 128 x 64, gate, up and down 64 x 160.
LAYER_MATRICES = 64 * 128 + 2 * 64 * 64 + 128 * 64 + 3 * 64 * 160
LAYER_VECTORS = 64 + 64 + 32 + 32  # two norms of the width, one of a head for q and k each
EMBEDDING = 1008 * 64


@pytest.mark.parametrize(("dtype", "size"), [("f32", 4), ("bf16", 2), ("f16", 2)])
def test_sizes_are_those_of_a_hand_calculation(dtype, size):
    sizes = model_bytes(by_hand(), dtype, "f16")
    vectors = 4 * (2 * LAYER_VECTORS + 64)
    assert sizes.weights == size * (2 * LAYER_MATRICES + 2 * EMBEDDING) + vectors
    assert sizes.read_per_token == size * (2 * LAYER_MATRICES + EMBEDDING) + vectors
    assert sizes.kv_per_token == 2 * 2 * 2 * 32 * 2  # K and V, layers, heads, width, bytes
    assert sizes.read_at(100) == sizes.read_per_token + 100 * 512


def test_a_tied_embedding_is_held_once_and_read_whole():
    sizes = model_bytes(by_hand(tie_word_embeddings=True), "bf16", "f32")
    assert sizes.weights == sizes.read_per_token
    assert sizes.weights == 2 * (2 * LAYER_MATRICES + EMBEDDING) + 4 * (2 * LAYER_VECTORS + 64)
    assert sizes.kv_per_token == 1024


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
def test_the_backend_holds_what_was_calculated(tied, dtype):
    config = tiny_config(tie_word_embeddings=tied)
    backend = tiny_backend(config=config, weight_dtype=dtype)
    try:
        sizes = model_bytes(config, dtype, "f16")
        rope_table = 4 * config.rope.head_dim // 2
        assert backend.weight_bytes in (sizes.weights, sizes.weights + rope_table)
        assert backend.kv_bytes_per_token == sizes.kv_per_token
    finally:
        backend.close()


@pytest.mark.parametrize("quantization", ["int8", "int4", "int4-all"])
@pytest.mark.parametrize("make", [tiny_config, by_hand, tiny_moe_config])
def test_the_backend_holds_what_was_calculated_of_quantized_weights(make, quantization):
    config = make()
    backend = tiny_backend(config=config, quantization=quantization)
    try:
        sizes = model_bytes(config, "f32", "f16", quantization)
        rope_table = 4 * config.rope.head_dim // 2
        assert backend.weight_bytes in (sizes.weights, sizes.weights + rope_table)
        assert sizes.weights < model_bytes(config, "f32", "f16").weights
    finally:
        backend.close()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("file_type", ["q4_0", "q8_0", "q4_k_m", "f16"])
def test_the_backend_holds_what_was_calculated_of_a_gguf_file(tied, file_type, tmp_path):
    path = write_wide_model(tmp_path, file_type, tie_word_embeddings=tied)
    outline = outline_model(str(path))
    fit = fit_model(EngineConfig(), outline.config, 1 << 30, outline.stored_width)
    runtime = load_runtime(EngineConfig(model=str(path), kv_cache_memory_bytes=1 << 20, packed_cache=False))
    try:
        assert fit.sizes.weights == runtime.backend.weight_bytes == runtime.weight_bytes
    finally:
        runtime.close()
    stored = {"q4_0": ("int4_symmetric", "int8"), "q8_0": ("int8",), "q4_k_m": ("int4", "int8"), "f16": ()}
    assert fit.sizes.stored_widths == stored[file_type]


def test_what_a_published_model_takes():
    """Qwen3-0.6B: 440.4 M weights in layers, 155.6 M in the tied embedding, 112 KiB of cache per token."""
    sizes = model_bytes(DUMMY_SHAPES["qwen3-0.6b"], "bf16", "f16")
    assert sizes.weights == pytest.approx(2 * (440.4e6 + 155.6e6), rel=1e-3)
    assert sizes.kv_per_token == 112 * KIB
    int4 = model_bytes(DUMMY_SHAPES["qwen3-0.6b"], "bf16", "f16", "int4")
    assert int4.weights == pytest.approx(440.4e6 * 20 / 32 + 155.6e6 * 34 / 32, rel=1e-3)  # an 8-bit head
    int4_all = model_bytes(DUMMY_SHAPES["qwen3-0.6b"], "bf16", "f16", "int4-all")
    assert int4_all.weights == pytest.approx((440.4e6 + 155.6e6) * 4.125 / 8, rel=1e-3)


def test_a_fit_counts_weights_work_and_cache_against_what_is_free():
    config = EngineConfig(dtype="float32", max_model_len=512, kv_cache_memory_bytes=1 << 20, max_num_seqs=8)
    model = by_hand()
    fit = fit_model(config, model, 100 << 20)
    assert fit.fits
    assert fit.cache.num_tokens == (1 << 20) // 1024
    assert fit.needed == fit.sizes.weights + fit.working + fit.cache.num_bytes
    assert fit.max_kv_tokens == ((100 << 20) - fit.sizes.weights - fit.working) // 1024
    assert fit.concurrency(512, 8) == 2  # 1,024 tokens of cache
    assert fit.concurrency(16, 8) == 8  # not more than run at a time
    assert not fit_model(config, model, fit.needed - 1).fits
    assert fit_model(config, model, 1).max_kv_tokens == 0


def test_a_cut_has_the_models_widths_and_is_as_large_as_it_may_be():
    for shape in DUMMY_SHAPES.values():
        cut = cut_model(shape, lambda config: model_bytes(config, "bf16", "f16").weights)
        size = model_bytes(cut, "bf16", "f16").weights
        assert (cut.hidden_size, cut.intermediate_size) == (shape.hidden_size, shape.intermediate_size)
        assert 1 <= cut.num_layers < shape.num_layers
        assert size <= CUT_BYTES or cut.num_layers == 1
    assert cut_model(by_hand(), lambda config: CUT_BYTES) == by_hand()  # small enough as it is
