"""First and second starts as the operating system sees them: what is read, held, written, and what fails."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gradus import LLM, SamplingParams
from gradus.backends.native import _native
from gradus.models.checkpoint.gguf.file import GgufFile
from tests.cli.harness import gradus
from tests.tiny_models import write_wide_model

PROMPT = {"prompt_token_ids": list(range(3, 30))}
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def generated(path, **options):
    """Greedy tokens, and whether the weights were mapped."""
    with LLM(str(path), kv_cache_memory_bytes=1 << 24, num_threads=1, **options) as llm:
        (output,) = llm.generate([PROMPT], SamplingParams(temperature=0, max_tokens=40, ignore_eos=True))
        return list(output.outputs[0].token_ids), llm._runtime.backend.weights_are_mapped


@pytest.mark.parametrize("file_type", ["f16", "q4_0", "q4_k_m"])
def test_a_second_start_of_a_gguf_file_reads_no_tensor(file_type, tmp_path, monkeypatch):
    path = write_wide_model(tmp_path, file_type)
    packed, mapped = generated(path, packed_cache=False)
    assert not mapped
    assert generated(path) == (packed, False)
    monkeypatch.setattr(GgufFile, "data", None)  # whoever reads fails
    assert generated(path) == (packed, True)


def test_a_gguf_file_that_was_written_again_is_packed_again(tmp_path):
    path = write_wide_model(tmp_path, "q8_0")
    before, _ = generated(path)
    content = bytearray(path.read_bytes())
    content[-200_000:] = bytes(200_000)
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    after, mapped = generated(path)
    assert not mapped
    assert after != before


@pytest.mark.parametrize("quantization", ["none", "int4"])
def test_what_one_cpu_packed_another_maps(quantization, tiny_model_path, monkeypatch, folder):
    """Every variant computes from another's file what it computes from its own packing."""
    found = {}
    for variant in _native.available_variants():
        monkeypatch.setenv("GRADUS_CPU", variant)
        found[variant] = generated(tiny_model_path, quantization=quantization, packed_cache=False)[0]
    assert not folder.exists()
    first, *others = found
    monkeypatch.setenv("GRADUS_CPU", first)
    generated(tiny_model_path, quantization=quantization)
    for variant in others:
        monkeypatch.setenv("GRADUS_CPU", variant)
        assert generated(tiny_model_path, quantization=quantization) == (found[variant], True)


WRITE_AND_WAIT = """
import sys
from gradus.disk_cache.entry import SectionWriter
from gradus.cli.main import main
add, count = SectionWriter.add, 0
def slow(self, *arguments):
    global count
    count += 1
    add(self, *arguments)
    if count == 5:
        print("half", flush=True)
        sys.stdin.read()
SectionWriter.add = slow
main(["generate", sys.argv[1], "--prompt", "x", "--max-tokens", "2"])
"""


def test_a_start_that_is_killed_while_it_writes_leaves_no_entry(tiny_model_path, folder):
    command = [sys.executable, "-c", WRITE_AND_WAIT, tiny_model_path]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert writer.stdout.readline() == b"half\n"
    (half,) = folder.glob("packed/*.unfinished")
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    expected, _ = generated(tiny_model_path, packed_cache=False)
    assert generated(tiny_model_path) == (expected, False)
    assert generated(tiny_model_path) == (expected, True)
    an_hour_ago = time.time() - 3600
    os.utime(half, (an_hour_ago, an_hour_ago))
    generated(tiny_model_path, quantization="int8")  # the next one that writes sweeps
    assert not half.exists()


SMALL_DISK = """
import resource, sys
from gradus.cli.main import main

# As on a disk with room for 16 KiB: the system refuses to write more.
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))
sys.exit(main())
"""


def test_a_disk_without_room_is_a_warning(tiny_model_path, folder):
    command = ("generate", tiny_model_path, "--prompt", "Hello", "--max-tokens", "5")
    expected = gradus(*command, "--no-packed-cache")
    small = [sys.executable, "-c", SMALL_DISK, *map(str, command)]
    refused = subprocess.run(small, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert (refused.returncode, refused.stdout) == (0, expected.stdout)
    assert "is not cached in" in refused.stderr
    assert list(folder.glob("*/*")) == []


def test_a_folder_that_cannot_be_made_is_a_warning(tiny_model_path):
    command = ("generate", tiny_model_path, "--prompt", "Hello", "--max-tokens", "5")
    expected = gradus(*command, "--no-packed-cache")
    refused = gradus(*command, env={**os.environ, "GRADUS_CACHE": "/proc/no/cache"})
    assert (refused.returncode, refused.stdout) == (0, expected.stdout)
    assert "is not cached in /proc/no/cache" in refused.stderr


MEASURE_LOADING = """
import resource, sys
from pathlib import Path
from gradus.backends.native.packer import Formats, Packer
from gradus.models.sources import resolve_model
from tests.backends.native.harness import make_executor

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

source = resolve_model(sys.argv[1])
formats = Formats(source.checkpoint, "f16", "none")
packer = Packer(source.checkpoint, source.config, formats, make_executor(""))
packer.linear(["model.layers.0.mlp.up_proj"], False)
before, held, most = resident(), [], 0
for i in range(1, source.config.num_layers):
    held.append(packer.linear([f"model.layers.{i}.mlp.up_proj"], False))
    most = max(most, resident() - before - sum(weight.bytes for weight in held))
print(most)
"""


@pytest.mark.parametrize("file_type", ["f16", "q8_0", "q4_0"])
def test_loading_a_gguf_file_holds_one_tensor_beyond_the_packed_model(file_type, tmp_path):
    """Pages of the file count as long as they are mapped; a process of its own."""
    shape = {"hidden_size": 1024, "intermediate_size": 2048, "num_layers": 10}
    path = write_wide_model(tmp_path, file_type, **shape)
    command = [sys.executable, "-c", MEASURE_LOADING, path]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert int(printed) < 1.5 * np.prod((2048, 1024)) * 4
