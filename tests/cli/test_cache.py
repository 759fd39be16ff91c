"""`gradus cache` as a user runs it."""

import json
import os

import pytest

from gradus.config import EngineConfig
from tests.cli.harness import gradus


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "GRADUS_CACHE": str(tmp_path / "cache"), "GRADUS_CACHE_SIZE": "64M"}


def generate(model, environment, *flags):
    done = gradus("generate", str(model), "--prompt", "Hello", "--max-tokens", "3", *flags, env=environment)
    assert done.returncode == 0, done.stderr


def listed(environment, action="list"):
    return json.loads(gradus("cache", action, "--json", env=environment).stdout)


def test_what_is_packed_is_listed_verified_and_cleared(tiny_model_path, environment):
    assert "nothing yet" in gradus("cache", "list", env=environment).stdout
    generate(tiny_model_path, environment)
    generate(tiny_model_path, environment, "--quantization", "int8")
    report = listed(environment)
    assert report["folder"] == environment["GRADUS_CACHE"]
    assert report["max_bytes"] == 64 << 20
    assert {file["name"].split()[-1] for file in report["files"]} == {"f32", "int8"}
    assert {file["kind"] for file in report["files"]} == {"packed"}
    assert all(os.path.getsize(file["path"]) == file["bytes"] for file in report["files"])
    verified = gradus("cache", "verify", env=environment)
    assert (verified.returncode, "damaged" in verified.stdout) == (0, False)
    assert "2 files deleted" in gradus("cache", "clear", env=environment).stdout
    assert listed(environment)["files"] == []


def test_verify_finds_and_deletes_what_is_damaged(tiny_model_path, environment):
    generate(tiny_model_path, environment)
    (file,) = listed(environment)["files"]
    with open(file["path"], "r+b") as opened:
        opened.seek(5000)
        byte = opened.read(1)[0]
        opened.seek(5000)
        opened.write(bytes([byte ^ 1]))
    assert "damage" not in listed(environment)["files"][0]  # a payload is read by `verify` alone
    verified = gradus("cache", "verify", env=environment)
    assert verified.returncode == 1
    assert "checksum" in verified.stdout
    assert "deleted" in verified.stdout
    assert listed(environment)["files"] == []
    generate(tiny_model_path, environment)
    assert listed(environment, "verify")["files"][0].keys() == {"path", "kind", "bytes", "last_used", "name"}


def test_the_flags(tiny_model_path, environment):
    generate(tiny_model_path, environment, "--no-packed-cache")
    assert listed(environment)["files"] == []
    generate(tiny_model_path, environment, "--packed-cache-size", "1k")
    assert listed(environment)["files"] == []
    generate(tiny_model_path, environment)
    room_for_one = listed(environment)["files"][0]["bytes"] + 100
    generate(tiny_model_path, environment, "--quantization", "int8", "--packed-cache-size", room_for_one)
    assert [file["name"].split()[-1] for file in listed(environment)["files"]] == ["int8"]  # f32 was evicted


def test_a_size_that_is_none_is_refused(environment, tiny_model_path):
    refused = gradus("generate", "--packed-cache-size", "much", "--prompt", "x", env=environment)
    assert refused.returncode == 2
    environment["GRADUS_CACHE_SIZE"] = "much"
    for command in (["cache", "list"], ["generate", str(tiny_model_path), "--prompt", "x"]):
        refused = gradus(*command, env=environment)
        assert refused.returncode == 2
        assert "GRADUS_CACHE_SIZE" in refused.stderr
    with pytest.raises(ValueError, match="packed_cache_size"):
        EngineConfig(packed_cache_size=0)
