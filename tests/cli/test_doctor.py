"""`gradus doctor` and `gradus bench decode` as a user runs them. Numbers vary; their sums do not."""

import json
import os

import pytest

from gradus.backends.attention import cpu_has_bf16
from tests.cli.harness import gradus
from tests.tiny_models import write_wide_model


def test_doctor_says_what_the_machine_is_and_what_would_run():
    ran = gradus("doctor")
    assert ran.returncode == 0, ran.stderr
    for word in ("Machine", "cores may be used", "GB/s", "kernels", "qwen3-0.6b", "tokens/s"):
        assert word in ran.stdout


def test_doctor_says_whether_a_model_fits_and_how_fast_it_should_be(tiny_model_path):
    ran = gradus("doctor", tiny_model_path)
    assert ran.returncode == 0, ran.stderr
    for word in ("fits", "weights", "KV cache", "512 bytes per token", "expected", "2 of its 2 layers"):
        assert word in ran.stdout


def test_doctors_json_adds_up(tiny_model_path):
    ran = gradus("doctor", tiny_model_path, "--json", "--dtype", "bfloat16", "--max-num-seqs", "4")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    memory, decode = report["model"]["memory"], report["model"]["decode"]
    assert memory["weight_dtype"] == "bf16"
    assert memory["kv_bytes_per_token"] == 2 * 2 * 2 * 16 * 2  # K and V, layers, heads, width, bytes
    assert memory["kv_cache_bytes"] == memory["kv_cache_tokens"] * memory["kv_bytes_per_token"]
    parts = ("weight_bytes", "working_bytes", "kv_cache_bytes")
    assert memory["needed_bytes"] == sum(memory[part] for part in parts)
    assert memory["fits"] == (memory["needed_bytes"] <= report["hardware"]["free_memory_bytes"])
    assert memory["requests_of_1024_tokens"] == 4
    assert decode["bytes_per_token"] == memory["weight_bytes"] + 96 * memory["kv_bytes_per_token"]
    read = report["memory_read"]["bytes_per_second"]
    assert decode["tokens_per_second_at_memory_speed"] == pytest.approx(
        read["median"] / decode["bytes_per_token"]
    )
    rate = decode["bytes_per_second"]["median"]
    assert decode["tokens_per_second"]["median"] == pytest.approx(rate / decode["bytes_per_token"])
    assert report["kernels"]["by_weight_type"]["bf16"] == report["kernels"]["variant"]


def test_doctor_judges_the_quantized_model(tiny_model_path):
    """Its weights are smaller than the plain model's, and the cut that is measured has them too."""
    plain, quantized = (
        json.loads(gradus("doctor", tiny_model_path, "--json", *flags).stdout)["model"]
        for flags in ([], ["--quantization", "int4"])
    )
    assert (quantized["memory"]["quantization"], quantized["memory"]["activations"]) == ("int4", "int8")
    assert plain["memory"]["attention"] == "blocked"
    assert quantized["memory"]["attention"] == ("int8" if cpu_has_bf16() else "blocked")
    assert quantized["memory"]["weight_bytes"] < plain["memory"]["weight_bytes"] / 2
    assert quantized["decode"]["measured_on"]["weight_bytes"] == quantized["memory"]["weight_bytes"]
    assert (
        "int4 with activations in int8" in gradus("doctor", tiny_model_path, "--quantization", "int4").stdout
    )


def test_doctor_judges_a_gguf_file_as_it_is_stored(tmp_path):
    path = write_wide_model(tmp_path, "q4_0", tie_word_embeddings=False)
    report = json.loads(gradus("doctor", path, "--json").stdout)["model"]
    assert report["memory"]["stored_widths"] == ["int4_symmetric", "int8"]
    assert report["decode"]["measured_on"]["weight_bytes"] == report["memory"]["weight_bytes"]
    assert "int4_symmetric and int8 with activations in int8" in gradus("doctor", path).stdout
    refused = gradus("doctor", path, "--quantization", "int4")
    assert refused.returncode == 2
    assert "are stored quantized" in refused.stderr


def test_a_model_that_does_not_fit_is_said_and_exits_with_1(tiny_model_path):
    ran = gradus("doctor", tiny_model_path, "--kv-cache-memory-bytes", "900G")
    assert ran.returncode == 1
    assert "DOES NOT FIT" in ran.stdout
    assert "--kv-cache-memory-bytes" in ran.stdout


def test_a_hub_model_is_judged_by_its_configuration_before_its_weights_are_there(tmp_path, tiny_model_path):
    repo = tmp_path / "models--org--tiny"
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    (snapshot / "config.json").write_text((tiny_model_path / "config.json").read_text())
    offline = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    ran = gradus("doctor", "org/tiny", env=offline)
    assert ran.returncode == 0, ran.stderr
    assert "not downloaded yet" in ran.stdout
    assert "512 bytes per token" in ran.stdout


def test_bench_decode_ends_with_one_line_of_evidence(tiny_model_path):
    flags = ["--runs", "2", "--output-tokens", "16", "--prompt-tokens", "8"]
    ran = gradus("bench", "decode", tiny_model_path, *flags)
    assert ran.returncode == 0, ran.stderr
    *table, last = ran.stdout.splitlines()
    found = json.loads(last)
    assert found["test_name"] == "decode"
    assert len(found["runs"]) == 2
    assert all(run["num_tokens"] == 16 for run in found["runs"])
    assert all(found["verification"].values())
    rates = [run["tokens_per_second"] for run in found["runs"]]
    assert found["results"]["tokens_per_second"]["median"] == pytest.approx(sum(rates) / 2)
    assert any("measured / predicted" in line for line in table)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["bench"], "NAME"),
        (["bench", "decode", "x", "--output-tokens", "1"], "output_tokens is 1"),
        (["bench", "decode", "x", "--runs", "0"], "runs is 0"),
        (["bench", "decode", "x", "--prompt-tokens", "0"], "prompt_tokens is 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, word):
    ran = gradus(*arguments)
    assert ran.returncode == 2
    assert word in ran.stderr
