"""Quantized weights in every family: fused and biased matrices, mixtures of experts, scaled embeddings, caps.

The oracle is the torch backend on the same weights, quantized and dequantized.
"""

from dataclasses import replace

import numpy as np
import pytest

from gradus.backends.options import BackendOptions
from gradus.backends.registry import backend_class
from gradus.models.sources import resolve_model
from tests.backends.native.harness import make_batch
from tests.family_shapes import MODELS
from tests.gate import make_model

LENGTH = 60
OPTIONS = BackendOptions(
    weight_dtype="f32",
    num_threads=2,
    max_num_batched_tokens=64,
    max_num_seqs=1,
    max_model_len=64,
    block_size=16,
    num_blocks=4,
    kv_cache_dtype="f32",
    attention="blocked",
    enforce_eager=False,
)


@pytest.fixture(scope="module", params=sorted(MODELS))
def source(request, tmp_path_factory):
    family, shape = MODELS[request.param]
    directory = tmp_path_factory.mktemp(request.param)
    make_model(directory, family=family, **shape)
    return resolve_model(str(directory))


def logits(source, name="native", **changes):
    tokens = np.arange(LENGTH) * 7 % 97
    batch = make_batch([LENGTH], [LENGTH], token_ids=tokens, output_rows=range(LENGTH), return_logits=True)
    backend = backend_class(name)(source.config, source.checkpoint, replace(OPTIONS, **changes))
    try:
        return backend.execute(batch).logits
    finally:
        backend.close()


@pytest.mark.parametrize("width", ["int8", "int4", "int4-all"])
def test_native_agrees_with_the_reference(source, width):
    reference = logits(source, "torch", quantization=width)
    found = logits(source, quantization=width)
    assert np.abs(found - reference).max() <= 1e-4 * reference.std()


def test_quantization_and_8_bit_activations_reach_the_family(source):
    """Each of them changes the logits, and eager execution gives the program's bits."""
    plain, wide = logits(source), logits(source, quantization="int4")
    narrow = logits(source, quantization="int4", activations="int8")
    assert not np.array_equal(plain, wide)
    assert not np.array_equal(wide, narrow)
    eager = logits(source, quantization="int4", activations="int8", enforce_eager=True)
    assert np.array_equal(eager, narrow)
