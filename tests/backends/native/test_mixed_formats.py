"""Matrices that read one input, stored in different formats, as GGUF files have them."""

import numpy as np
import pytest

from gradus.backends.native.fusion import fuse
from gradus.backends.native.tracer import Tracer
from gradus.backends.native.weights import Weights
from gradus.errors import UnsupportedModelError
from gradus.models.checkpoint.base import RawTensor
from gradus.models.registry import model_function
from gradus.quantization.rtn import quantize
from tests.backends.native.harness import make_executor
from tests.backends.native.test_packed_cache import logits, make_backend
from tests.tiny_models import LoudCheckpoint, tiny_config, tiny_moe_config, tiny_phi3_config

WIDTHS = {
    "v_proj": "int8",
    "q_proj": "int4",
    "k_proj": "int4_g128",
    "up_proj": "int8",
    "qkv_proj": "int4",
    "lm_head": "int8",
}
UNEVEN = tiny_config(hidden_size=56, intermediate_size=83, tie_word_embeddings=False, attention_bias=True)


class MixedCheckpoint(LoudCheckpoint):
    """Some matrices stored quantized, the others in f32."""

    def width(self, name):
        part = name.split(".")[-2]
        return WIDTHS.get(part) if name.endswith(".weight") else None

    def quantized(self, name, num_threads=1):
        width = self.width(name)
        return None if width is None else quantize(super().read(name).array, width)

    def read(self, name):
        quantized = self.quantized(name)
        return super().read(name) if quantized is None else RawTensor("f32", quantized.dequantize())


class Dequantized(LoudCheckpoint):
    """Their values, in f32."""

    def __init__(self, config):
        super().__init__(config)
        self.read = MixedCheckpoint(config).read


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADUS_CACHE", str(tmp_path))


@pytest.mark.parametrize("config", [UNEVEN, tiny_phi3_config()], ids=["uneven", "fused"])
def test_every_matrix_keeps_the_format_it_is_stored_in(cpu_variant, config):
    expected = logits(make_backend(config, Dequantized(config)))
    found = logits(make_backend(config, MixedCheckpoint(config)))
    assert np.abs(found - expected).max() <= 1e-4 * expected.std()


@pytest.mark.parametrize("activations", ["int8", "f32"])
def test_programs_eager_execution_and_mapped_weights_agree(cpu_variant, activations):
    options = {"activations": activations}
    expected = logits(make_backend(UNEVEN, MixedCheckpoint(UNEVEN), **options))
    mapped = make_backend(UNEVEN, MixedCheckpoint(UNEVEN), **options)
    assert mapped.weights_are_mapped
    assert np.array_equal(logits(mapped), expected)
    eager = make_backend(UNEVEN, MixedCheckpoint(UNEVEN), enforce_eager=True, **options)
    assert np.array_equal(logits(eager), expected)


def test_an_input_is_quantized_once_for_all_that_read_it_alike():
    executor = make_executor("", num_kv_heads=2, num_heads=4, num_layers=2, vocab_size=97)
    tracer = Tracer(UNEVEN, Weights(MixedCheckpoint(UNEVEN), UNEVEN, "f32", executor), "blocked", "int8")
    model_function(UNEVEN.architecture)(tracer, UNEVEN)
    kinds = [operation.kind for operation in fuse(tracer.operations)]
    # A layer: q (int4) and v (int8) share one, k (int4_g128) has another, up (int8) one that gate (f32) does
    # not read.
    assert sum("quantize" in kind for kind in kinds) == 2 * 3 + 1
    assert kinds.count("linear") == 2 * 7


def test_one_instruction_reads_one_format():
    class Contradiction(MixedCheckpoint):
        def width(self, name):
            return "int8" if "gate_proj" in name else None

    config = tiny_moe_config()
    with pytest.raises(UnsupportedModelError, match="different formats"):
        make_backend(config, Contradiction(config))
