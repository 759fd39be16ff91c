"""From what a user types to a model."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from gradus.errors import CheckpointError, ModelNotFoundError, UnsupportedModelError
from gradus.models import hub, sources
from gradus.models.hf_config import parse_model_config
from gradus.models.sources import resolve_model
from gradus.models.weights import check_tied, expected_weights
from tests.models.published_configs import LLAMA, QWEN2, QWEN3_MOE
from tests.models.test_hf_config import PUBLISHED as QWEN3

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "eos_token_id": 3,
}


def write_model(directory: Path, weights: dict[str, Any] | None = None, **fields: Any) -> Path:
    config = {**CONFIG, **fields}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    shapes = expected_weights(parse_model_config(CONFIG))
    tensors = {name: np.ones(shape, np.float16) for name, shape in shapes.items()}
    save_file({**tensors, **(weights or {})}, directory / "model.safetensors")
    return directory


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An embedded model in miniature."""
    directory = write_model(tmp_path / "demo_model")
    monkeypatch.setattr(sources, "DEMO_DIRECTORY", directory)
    return directory


def test_local_directory(tmp_path: Path) -> None:
    directory = write_model(tmp_path / "my-model")
    source = resolve_model(str(directory))
    assert (source.kind, source.name, source.tokenizer_path) == ("local", "my-model", directory)
    assert source.config.vocab_size == 64
    assert source.config.dtype == "f16"  # config.json names none, so what is stored
    assert source.generation.eos_token_ids == (3,)
    assert source.checkpoint.read("model.norm.weight").shape == (16,)


def test_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "m")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_model("~/m").kind == "local"


def test_demo(demo: Path) -> None:
    source = resolve_model("demo")
    assert (source.kind, source.name, source.tokenizer_path) == ("demo", "demo", demo)


def test_demo_that_was_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DEMO_DIRECTORY", tmp_path / "absent")
    with pytest.raises(ModelNotFoundError, match="lacks the embedded demo model"):
        resolve_model("demo")


def test_dummy(demo: Path) -> None:
    source = resolve_model("dummy:qwen3-0.6b", seed=5)
    config = source.config
    assert (source.kind, source.name, source.tokenizer_path) == ("dummy", "dummy:qwen3-0.6b", demo)
    assert (config.num_layers, config.hidden_size, config.vocab_size) == (28, 1024, 151936)
    assert source.generation.eos_token_ids == (3,)
    name = "model.layers.0.self_attn.k_proj.weight"
    other = resolve_model("dummy:qwen3-0.6b", seed=6)
    assert not np.array_equal(source.checkpoint.read(name).array, other.checkpoint.read(name).array)


def test_dummy_with_fewer_layers(demo: Path) -> None:
    source = resolve_model("dummy:qwen3-8b?layers=4")
    assert source.config.num_layers == 4
    assert "model.layers.4.mlp.up_proj.weight" not in source.checkpoint.names()


@pytest.mark.parametrize(
    "query", ["layers=0", "layers=29", "layers=x", "layers=", "", "heads=2", "layers=-1"]
)
def test_other_queries_are_refused(demo: Path, query: str) -> None:
    with pytest.raises(ModelNotFoundError, match="layers=1 to layers=28"):
        resolve_model(f"dummy:qwen3-0.6b?{query}")


def test_unknown_dummy_names_are_refused_with_the_list(demo: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"dummy:qwen3-0\.6b, dummy:qwen3-1\.7b"):
        resolve_model("dummy:gpt-5")


@pytest.mark.parametrize("model", ["./no", "/no/such/dir", "~/no-such", "a/b/c", "..\\no", "../no"])
def test_missing_paths_say_what_is_accepted(model: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no such directory.*demo.*dummy:.*hub name"):
        resolve_model(model)


@pytest.mark.parametrize("model", ["", "gpt2", "a b/c", "org/", "org/na..me"])
def test_what_is_no_name_at_all(model: str) -> None:
    with pytest.raises(ModelNotFoundError, match="neither a directory nor a hub name"):
        resolve_model(model)


@pytest.mark.parametrize("model", ["x" * 5000, "~nobody-of-this-name/model"])
def test_what_the_file_system_refuses(model: str) -> None:
    with pytest.raises(ModelNotFoundError, match="a model is"):
        resolve_model(model)


def test_files_are_refused_with_advice(tmp_path: Path) -> None:
    for name, advice in (("m.gguf", "GGUF"), ("model.safetensors", "the directory that holds")):
        (tmp_path / name).touch()
        with pytest.raises(CheckpointError, match=advice):
            resolve_model(str(tmp_path / name))


def test_incomplete_directories(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        resolve_model(str(tmp_path))
    write_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        resolve_model(str(tmp_path))


def test_unsupported_models_are_refused_before_their_weights_are_missed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "architectures": ["Other"]}))
    with pytest.raises(UnsupportedModelError):
        resolve_model(str(tmp_path))


def test_weights_must_fit_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gate_proj.*has shape"):
        resolve_model(str(write_model(tmp_path, intermediate_size=33)))


def test_second_head_beside_tied_embeddings_must_be_the_same(tmp_path: Path) -> None:
    def check(weights: dict[str, np.ndarray], **changes: object) -> None:
        source = resolve_model(str(write_model(tmp_path, weights, **changes)))
        check_tied(source.config, source.checkpoint)

    other = {"lm_head.weight": np.zeros((64, 16), np.float16)}
    check({"lm_head.weight": np.ones((64, 16), np.float16)})
    with pytest.raises(CheckpointError, match="tie_word_embeddings"):
        check(other)
    check(other, tie_word_embeddings=False)


class FakeHub:
    """Stands in for `huggingface_hub.snapshot_download`."""

    def __init__(self, directory: Path, error: Exception | None = None) -> None:
        self.directory = directory
        self.error = error
        self.patterns: list[list[str]] = []

    def __call__(self, repo_id: str, allow_patterns: list[str]) -> str:
        self.patterns.append(allow_patterns)
        if self.error is not None:
            raise self.error
        return str(self.directory)


def fake_hub(monkeypatch: pytest.MonkeyPatch, directory: Path, error: Exception | None = None) -> FakeHub:
    import huggingface_hub

    fake = FakeHub(directory, error)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    return fake


def test_hub_model_is_downloaded_small_files_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_hub(monkeypatch, write_model(tmp_path))
    source = resolve_model("Qwen/Qwen3-0.6B")
    assert (source.kind, source.name) == ("hub", "Qwen/Qwen3-0.6B")
    small, everything = fake.patterns
    assert not any("safetensors" in pattern for pattern in small if not pattern.endswith(".json"))
    assert "model.safetensors" in everything
    assert not any(pattern.endswith((".py", ".bin", ".pt", "*")) for pattern in everything)


def test_unsupported_hub_model_is_refused_before_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_hub(monkeypatch, write_model(tmp_path, architectures=["Other"]))
    with pytest.raises(UnsupportedModelError):
        resolve_model("org/other")
    assert len(fake.patterns) == 1


def test_a_local_directory_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_hub(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "Qwen" / "Qwen3-0.6B")
    assert resolve_model("Qwen/Qwen3-0.6B").kind == "local"
    assert fake.patterns == []


def hub_error(name: str) -> Exception:
    """An error of huggingface_hub without its web response."""
    import huggingface_hub.errors

    kind = getattr(huggingface_hub.errors, name)
    error = kind.__new__(kind)
    error.args = ("what the hub said",)
    return error


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("GatedRepoError", "gated.*HF_TOKEN.*hf download org/name --local-dir"),
        ("RepositoryNotFoundError", "no public model org/name.*HF_TOKEN"),
        ("HFValidationError", "no public model org/name"),
        ("LocalEntryNotFoundError", "not in the local cache.*hub cannot be reached.*hf download"),
    ],
)
def test_hub_errors_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, advice: str
) -> None:
    fake_hub(monkeypatch, tmp_path, hub_error(error))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(ModelNotFoundError, match=advice):
        resolve_model("org/name")


@pytest.mark.parametrize("error", [OSError("disk full"), ConnectionError("reset"), ValueError("odd")])
def test_other_failures_are_reported_with_their_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fake_hub(monkeypatch, tmp_path, error)
    with pytest.raises(ModelNotFoundError, match=f"could not be downloaded.*{error}"):
        resolve_model("org/name")


def test_offline_is_said_to_be_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, tmp_path, hub_error("LocalEntryNotFoundError"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE is set"):
        resolve_model("org/name")


OFFLINE = """
from gradus.errors import ModelNotFoundError
from gradus.models.weights import check_tied
from gradus.models.sources import resolve_model
print(resolve_model("org/cached").name)
try:
    resolve_model("org/absent")
except ModelNotFoundError as error:
    print(error)
"""


def test_offline_with_the_real_hub_library(tmp_path: Path) -> None:
    """A model in the cache is found, one that is not gets the advice, and nothing waits for the network."""
    snapshot = tmp_path / "models--org--cached" / "snapshots" / "abc"
    write_model(snapshot)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc")
    result = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        env={"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    cached, absent = result.stdout.strip().splitlines()
    assert cached == "org/cached"
    assert "org/absent is not in the local cache, and HF_HUB_OFFLINE is set" in absent


def test_the_hub_library_is_imported_only_for_hub_names() -> None:
    code = "import sys, gradus.models.sources; assert 'huggingface_hub' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=True)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Qwen/Qwen3-0.6B", True),
        ("a/b", True),
        ("a", False),
        ("a/b/c", False),
        ("../b", False),
        ("a/..", False),
    ],
)
def test_hub_names(name: str, is_one: bool) -> None:
    assert hub.is_hub_name(name) is is_one


@pytest.mark.parametrize(
    ("name", "published"),
    [("qwen2.5-0.5b", QWEN2), ("llama-3.2-1b", LLAMA), ("qwen3-30b-a3b", QWEN3_MOE), ("qwen3-0.6b", QWEN3)],
)
def test_dummy_shapes_are_the_published_ones(name: str, published: dict[str, Any]) -> None:
    assert sources.DUMMY_SHAPES[name] == parse_model_config(published)


def test_the_dense_qwen3_models_differ_in_size_only() -> None:
    dense = [
        config for name, config in sources.DUMMY_SHAPES.items() if config.architecture == "Qwen3ForCausalLM"
    ]
    assert {config.head_dim for config in dense} == {128}
    assert [config.tie_word_embeddings for config in dense] == [True] * 3 + [False] * 3


def test_a_mixture_of_experts_has_weights_for_each() -> None:
    shapes = expected_weights(replace(sources.DUMMY_SHAPES["qwen3-30b-a3b"], num_layers=1))
    assert len(shapes) == 3 + 8 + 1 + 3 * 128
    assert shapes["model.layers.0.mlp.experts.127.down_proj.weight"] == (2048, 768)
