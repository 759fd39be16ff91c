"""`gradus convert`: what it writes and what it refuses."""

import json
import shutil

import gguf
import pytest
from safetensors.numpy import load_file, save_file

from gradus import LLM, SamplingParams
from gradus.cli.convert import TYPES
from gradus.cli.main import main
from gradus.export.gguf_recipe import FILE_TYPES
from gradus.models.dummy_shapes import DUMMY_SHAPES
from gradus.models.sources import resolve_model
from tests.text.toy_tokenizers import converted_sentencepiece_json
from tests.tiny_models import tiny_config


def test_every_type_can_be_chosen():
    assert set(TYPES) == set(FILE_TYPES)


def test_a_model_becomes_a_file(tiny_model_path, tmp_path, capsys):
    path = tmp_path / "tiny.gguf"
    assert main(["convert", str(tiny_model_path), str(path), "--type", "f32"]) == 0
    assert capsys.readouterr().out == f"{path}: {path.stat().st_size / 1e6:,.1f} MB\n"
    assert resolve_model(str(path)).config == resolve_model(str(tiny_model_path)).config
    assert gguf.GGUFReader(path).fields["general.name"].contents() == tiny_model_path.name


@pytest.fixture
def mistral_path(tiny_model_path, tmp_path):
    """The tiny model without what Mistral has not, and with a tokenizer as converted from SentencePiece."""
    path = tmp_path / "mistral"
    shutil.copytree(tiny_model_path, path)
    config = json.loads((path / "config.json").read_text())
    config |= {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": None}
    (path / "config.json").write_text(json.dumps(config))
    weights = load_file(path / "model.safetensors")
    save_file(
        {name: array for name, array in weights.items() if "self_attn" not in name or "proj" in name},
        path / "model.safetensors",
    )
    (path / "tokenizer.json").write_text(converted_sentencepiece_json())
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (path / "tokenizer_config.json").write_text(json.dumps(names))
    return path


def test_a_mistral_with_sentencepiece_is_the_same_from_both(mistral_path, tmp_path):
    path = tmp_path / "mistral.gguf"
    assert main(["convert", str(mistral_path), str(path), "--type", "f32"]) == 0
    params = SamplingParams(temperature=0, max_tokens=20)
    found = []
    for model in (mistral_path, path):
        with LLM(str(model), kv_cache_memory_bytes=1 << 24, num_threads=1) as llm:
            (output,) = llm.generate(["Hello  wörld 你好 👍"], params)
            found.append((output.prompt_token_ids, output.outputs[0].token_ids))
    assert found[0] == found[1]


def test_dummies_have_a_token_for_every_id_and_the_seed_counts(tmp_path, monkeypatch):
    monkeypatch.setitem(DUMMY_SHAPES, "tiny", tiny_config(vocab_size=3000))

    def convert(seed):
        path = tmp_path / f"{seed}.gguf"
        model = "dummy:tiny?layers=1"
        assert main(["convert", model, str(path), "--type", "q8_0", "--seed", str(seed)]) == 0
        return resolve_model(str(path))

    first, second = convert(1), convert(2)
    assert len(first.metadata["tokenizer.ggml.tokens"]) == first.config.vocab_size == 3000
    name = "model.layers.0.mlp.up_proj.weight"
    assert (first.checkpoint.read(name).array != second.checkpoint.read(name).array).any()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("model.bin", "its name must end in .gguf"),
        ("there.gguf", "exists; give another name, or --force"),
        ("nowhere/model.gguf", "there is no directory"),
    ],
)
def test_outputs_that_are_refused(output, words, tmp_path, capsys):
    (tmp_path / "there.gguf").write_text("mine")
    assert main(["convert", "demo", str(tmp_path / output)]) == 2
    assert words in capsys.readouterr().err
    assert (tmp_path / "there.gguf").read_text() == "mine"


def test_force_replaces(tiny_model_path, tmp_path):
    path = tmp_path / "there.gguf"
    path.write_text("old")
    assert main(["convert", str(tiny_model_path), str(path), "--force"]) == 0
    assert path.read_bytes()[:4] == b"GGUF"


def test_architectures_that_gguf_lacks_here_are_refused(tmp_path, capsys):
    assert main(["convert", "dummy:qwen3-30b-a3b?layers=1", str(tmp_path / "m.gguf")]) == 1
    assert "Qwen3MoeForCausalLM is not written to GGUF; Qwen3ForCausalLM" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
