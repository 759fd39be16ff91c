"""A second start maps what the first one packed: the same bits, nothing read, never from another model."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradus import LLM, SamplingParams
from gradus.backends.options import BackendOptions
from gradus.backends.registry import backend_class
from gradus.errors import CheckpointError
from gradus.models.checkpoint.base import RawTensor
from tests.backends.native.harness import make_batch
from tests.tiny_models import (
    LoudCheckpoint,
    tiny_config,
    tiny_gemma2_config,
    tiny_moe_config,
    tiny_phi3_config,
)

UNEVEN = tiny_config(
    hidden_size=56, intermediate_size=83, tie_word_embeddings=False, attention_bias=True, vocab_size=101
)
CONFIGS = {
    "tied": tiny_config(),
    "uneven, biases": UNEVEN,
    "fused": tiny_phi3_config(),
    "norms with an offset": tiny_gemma2_config(),
    "experts": tiny_moe_config(),
}
FORMATS = {
    "f32": {},
    "bf16": {"weight_dtype": "bf16"},
    "int8": {"quantization": "int8", "activations": "int8"},
    "int4": {"quantization": "int4", "activations": "int8"},
    "int4-all": {"quantization": "int4-all", "activations": "int8"},
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_backend(config, checkpoint=None, name="native", **changes):
    values = {
        "weight_dtype": "f32",
        "num_threads": 2,
        "max_num_batched_tokens": 64,
        "max_num_seqs": 4,
        "max_model_len": 128,
        "block_size": 16,
        "num_blocks": 16,
        "kv_cache_dtype": "f32",
        "attention": "blocked",
        "enforce_eager": False,
        "packed_cache_size": 1 << 30,
    }
    options = BackendOptions(**(values | changes))
    return backend_class(name)(config, checkpoint or LoudCheckpoint(config), options)


def logits(backend):
    vocab_size = backend.vocab_size
    batch = make_batch(
        [40], [40], token_ids=np.arange(40) * 7 % vocab_size, output_rows=range(40), return_logits=True
    )
    found = backend.execute(batch).logits
    backend.close()
    return found


@pytest.mark.parametrize("weight_format", FORMATS)
@pytest.mark.parametrize("name", CONFIGS)
def test_mapped_weights_give_the_bits_that_packed_ones_give(cpu_variant, name, weight_format):
    config, options = CONFIGS[name], FORMATS[weight_format]
    without = make_backend(config, packed_cache_size=None, **options)
    first = make_backend(config, **options)
    checkpoint = LoudCheckpoint(config)
    checkpoint.read = None  # whoever reads fails
    second = make_backend(config, checkpoint, **options)
    eager = make_backend(config, checkpoint, enforce_eager=True, **options)
    assert [b.weights_are_mapped for b in (without, first, second, eager)] == [False, False, True, True]
    assert without.weight_bytes == first.weight_bytes == second.weight_bytes
    expected = logits(without)
    for backend in (first, second, eager):
        assert np.array_equal(logits(backend), expected)


def test_recipes_and_types_lie_beside_each_other(folder):
    for options in FORMATS.values():
        make_backend(UNEVEN, **options).close()
    assert len(list(folder.glob("packed/*.gradus"))) == len(FORMATS)
    for options in FORMATS.values():
        backend = make_backend(UNEVEN, **options)
        assert backend.weights_are_mapped
        backend.close()


def test_without_a_cache_nothing_is_written(folder):
    make_backend(UNEVEN, packed_cache_size=None).close()
    assert not folder.exists()


def test_a_cache_that_is_too_small_changes_nothing(folder, caplog):
    expected = logits(make_backend(UNEVEN, packed_cache_size=None))
    assert np.array_equal(logits(make_backend(UNEVEN, packed_cache_size=10_000)), expected)
    assert "larger than the cache" in caplog.text
    assert list(folder.glob("packed/*")) == []


def test_weights_in_use_survive_eviction_and_clearing(folder):
    make_backend(UNEVEN).close()
    expected = logits(make_backend(UNEVEN))
    backend = make_backend(UNEVEN)
    shutil.rmtree(folder)
    assert np.array_equal(logits(backend), expected)


def damage_truncated(content):
    return content[: len(content) // 2]


def damage_preamble(content):
    return content[:9] + bytes([content[9] ^ 1]) + content[10:]


def damage_index(content):
    return content[:-20] + b"0" + content[-19:]


def damage_emptied(content):
    return b""


@pytest.mark.parametrize("damage", [damage_truncated, damage_preamble, damage_index, damage_emptied])
def test_a_damaged_file_is_packed_anew(folder, caplog, damage):
    expected = logits(make_backend(UNEVEN))
    (path,) = folder.glob("packed/*.gradus")
    path.write_bytes(damage(path.read_bytes()))
    again = make_backend(UNEVEN)
    assert not again.weights_are_mapped
    assert "made anew" in caplog.text
    assert np.array_equal(logits(again), expected)
    third = make_backend(UNEVEN)
    assert third.weights_are_mapped
    assert np.array_equal(logits(third), expected)


class TwoHeads(LoudCheckpoint):
    """Tied embeddings, and a head of its own beside them."""

    def names(self):
        return [*super().names(), "lm_head.weight"]

    def read(self, name):
        if name != "lm_head.weight":
            return super().read(name)
        embeddings = super().read("model.embed_tokens.weight")
        return RawTensor(embeddings.dtype, embeddings.array + np.float32(1))


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_a_second_head_that_differs_is_refused_whether_cached_or_not(folder, backend):
    config = CONFIGS["tied"]
    for options in ({"packed_cache_size": None}, {}, {}):
        with pytest.raises(CheckpointError, match="tie_word_embeddings"):
            make_backend(config, TwoHeads(config), name=backend, **options)
    assert list(folder.glob("packed/*")) == []


def test_a_model_that_fails_to_load_leaves_no_file(folder):
    class Broken(LoudCheckpoint):
        def read(self, name):
            if "layers.1" in name:
                raise CheckpointError(name)
            return super().read(name)

    with pytest.raises(CheckpointError):
        make_backend(UNEVEN, Broken(UNEVEN))
    assert list(folder.glob("packed/*")) == []


PROMPT = {"prompt_token_ids": list(range(3, 30))}


def generated(path, **options):
    """A whole greedy sequence, and whether its weights were mapped."""
    llm = LLM(str(path), kv_cache_memory_bytes=1 << 24, **options)
    (output,) = llm.generate([PROMPT], SamplingParams(temperature=0, max_tokens=60, ignore_eos=True))
    mapped = llm._runtime.backend.weights_are_mapped
    llm.close()
    return list(output.outputs[0].token_ids), mapped


@pytest.mark.parametrize("quantization", ["none", "int4"])
def test_the_same_text_with_and_without(tiny_model_path, quantization):
    packed, mapped = generated(tiny_model_path, quantization=quantization, packed_cache=False)
    assert not mapped
    assert generated(tiny_model_path, quantization=quantization) == (packed, False)
    assert generated(tiny_model_path, quantization=quantization) == (packed, True)


@pytest.fixture
def model(tiny_model_path, tmp_path):
    path = tmp_path / "model"
    shutil.copytree(tiny_model_path, path)
    return path


def flip_weights(path):
    """Other weights in a file of the same size, with the same header."""
    content = bytearray(path.read_bytes())
    begin = 8 + struct.unpack("<Q", content[:8])[0]
    values = np.frombuffer(content, np.float32, offset=begin).copy()
    content[begin:] = values[::-1].tobytes()
    path.write_bytes(content)


def test_a_checkpoint_that_was_written_again_is_packed_again(model):
    weights = model / "model.safetensors"
    before = generated(model)[0]
    status = weights.stat()
    flip_weights(weights)
    assert weights.stat().st_size == status.st_size
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    after, mapped = generated(model)
    assert not mapped
    assert after != before
    assert generated(model) == (after, True)


def test_a_checkpoint_with_another_header_and_the_same_time_is_packed_again(model):
    """Two tensors of one shape change places."""
    weights = model / "model.safetensors"
    before = generated(model)[0]
    status, content = weights.stat(), weights.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    a, b = (header[f"model.layers.{i}.mlp.up_proj.weight"] for i in (0, 1))
    a["data_offsets"], b["data_offsets"] = b["data_offsets"], a["data_offsets"]
    changed = json.dumps(header, separators=(",", ":")).encode().ljust(length)
    assert len(changed) == length
    weights.write_bytes(content[:8] + changed + content[8 + length :])
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    after, mapped = generated(model)
    assert not mapped
    assert after != before


def test_another_configuration_over_the_same_weights_is_packed_again(model):
    before = generated(model)[0]
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"rope_theta": 123.0}))
    after, mapped = generated(model)
    assert not mapped
    assert after != before


def test_a_model_that_moved_is_packed_again_and_a_link_to_it_is_not(model, tmp_path):
    generated(model)
    (tmp_path / "link").symlink_to(model)
    assert generated(tmp_path / "link")[1]
    model.rename(tmp_path / "elsewhere")
    assert not generated(tmp_path / "elsewhere")[1]


def test_two_processes_that_start_at_once(model, folder):
    code = """
import sys
from gradus import LLM, SamplingParams
llm = LLM(sys.argv[1], kv_cache_memory_bytes=1 << 24, quantization="int4", num_threads=1)
params = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True)
print(list(llm.generate([{"prompt_token_ids": list(range(3, 30))}], params)[0].outputs[0].token_ids))
"""
    starts = [
        subprocess.Popen([sys.executable, "-c", code, model], stdout=subprocess.PIPE, text=True) for _ in "ab"
    ]
    texts = {start.communicate(timeout=120)[0] for start in starts}
    assert len(texts) == 1
    assert all(start.returncode == 0 for start in starts)
    assert len(list(folder.glob("packed/*"))) == 1


def test_loading_holds_one_tensor_beyond_the_packed_model(tmp_path):
    """Resident memory while a model of 96 MiB loads, in a process of its own."""
    code = f"""
import numpy as np, resource, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from safetensors.numpy import save_file
from gradus.backends.native.packer import Formats, Packer
from tests.tiny_models import tiny_config
from gradus.backends.native import _native
from gradus.models.checkpoint.safetensors import open_safetensors
from pathlib import Path

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

folder, quantization = Path(sys.argv[1]), sys.argv[2]
if not (folder / "model.safetensors").exists():
    matrix = np.random.default_rng(0).normal(size=(1024, 2048)).astype(np.float32)
    save_file({{f"layers.{{i:02}}.up_proj.weight": matrix for i in range(12)}}, folder / "model.safetensors")
    sys.exit()
from tests.backends.native.harness import make_executor
checkpoint = open_safetensors(folder)
config = tiny_config(tie_word_embeddings=False)
packer = Packer(checkpoint, config, Formats(checkpoint, "f16", quantization), make_executor(""))
packer.linear(["layers.00.up_proj"], False)
before, held, most = resident(), [], 0
for i in range(12):
    held.append(packer.linear([f"layers.{{i:02}}.up_proj"], False))
    packed = sum(weight.bytes for weight in held)
    most = max(most, resident() - before - packed)
print(most)
"""
    run = [sys.executable, "-c", code, tmp_path]
    subprocess.run([*run, "none"], check=True)
    for quantization in ("none", "int8", "int4"):
        printed = subprocess.run([*run, quantization], check=True, capture_output=True, text=True).stdout
        tensor = 1024 * 2048 * 4
        assert int(printed) < 1.5 * tensor  # packed memory comes in huge pages, hence the half
