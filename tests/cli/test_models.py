"""`gradus models`: what is supported, and what a cache in the hub's layout holds."""

import json
import os

import pytest

from gradus.models.registry import supported_architectures
from gradus.models.sources import DUMMY_SHAPES
from tests.cli.harness import gradus


def add_to_cache(cache, name, architectures, num_bytes):
    """A model as the hub's client lays it out: blobs, and a snapshot that links to them."""
    repo = cache / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / ("a" * 40)
    for directory in (repo / "blobs", repo / "refs", snapshot):
        directory.mkdir(parents=True)
    (repo / "refs" / "main").write_text("a" * 40)
    files = {"config.json": json.dumps({"architectures": architectures}).encode()}
    files["model.safetensors"] = bytes(num_bytes)
    for i, (file, content) in enumerate(files.items()):
        (repo / "blobs" / str(i)).write_bytes(content)
        (snapshot / file).symlink_to(repo / "blobs" / str(i))


@pytest.fixture
def environment(tmp_path):
    cache = tmp_path / "hub"
    cache.mkdir()
    add_to_cache(cache, "org/known", ["Qwen3ForCausalLM"], 5_000_000)
    add_to_cache(cache, "org/unknown", ["NobodysModel"], 100)
    return os.environ | {"HF_HUB_CACHE": str(cache)}


def test_what_is_supported_and_what_is_cached(environment):
    printed = gradus("models", env=environment)
    assert printed.returncode == 0, printed.stderr
    for name in (*supported_architectures(), "safetensors", "dummy:qwen3-0.6b"):
        assert name in printed.stdout
    known, unknown = sorted(line for line in printed.stdout.splitlines() if " org/" in line)
    assert "0.01 GB" in known
    assert "not supported" not in known
    assert "not supported" in unknown


def test_the_same_as_json(environment):
    report = json.loads(gradus("models", "--json", env=environment).stdout)
    assert report["architectures"] == supported_architectures()
    assert report["dummies"] == [f"dummy:{name}" for name in DUMMY_SHAPES]
    found = {model["name"]: model for model in report["cached"]}
    assert set(found) == {"org/known", "org/unknown"}
    assert found["org/known"]["bytes"] > 5_000_000
    assert found["org/known"]["architecture"] == "Qwen3ForCausalLM"


def test_no_cache_is_no_error(tmp_path):
    missing = os.environ | {"HF_HUB_CACHE": str(tmp_path / "missing")}
    printed = gradus("models", env=missing)
    assert printed.returncode == 0
    assert "nothing yet" in printed.stdout
