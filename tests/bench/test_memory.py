"""The memory bench: the books against arithmetic of the test's own, and books that are wrong are seen."""

import copy
import json
import struct
from dataclasses import replace

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.memory import MemorySettings, bench_memory, measure
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.models.sources import DEMO_DIRECTORY

SETTINGS = MemorySettings(streams=(2,), lengths=(40,), output_len=8, num_runs=1)
CONFIG = EngineConfig(enable_prefix_caching=False, num_kv_blocks=300)
TOKEN = 2 * 4 * 4 * 32 * 2  # bytes: keys and values, 4 layers, 4 heads of 32, f16


@pytest.fixture(scope="module")
def account():
    return measure(CONFIG, SETTINGS.workloads()[0], 1)


def demo_weights():
    """Bytes of matrices in bf16 and vectors in f32, by the checkpoint's header; 16 divides all outputs."""
    file = (DEMO_DIRECTORY / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", file[:8])
    header = json.loads(file[8 : 8 + length])
    shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    return sum(4 * shape[0] if len(shape) == 1 else 2 * shape[0] * shape[1] for shape in shapes)


def test_the_books_are_what_shapes_and_lengths_say(account):
    figures = account.figures()
    assert figures["weights_bytes"] == demo_weights()
    assert figures["kv_used_bytes"] == 2 * 3 * 16 * TOKEN  # 39 tokens with keys and values: 3 blocks of 16
    assert 0 <= figures["kv_reserved_bytes"] - 300 * 16 * TOKEN <= 4096
    assert figures["explained_bytes"] == (
        figures["interpreter_bytes"] + demo_weights() + 6 * 16 * TOKEN + figures["activations_reserved_bytes"]
    )
    assert figures["unexplained_bytes"] == figures["system_peak_bytes"] - figures["explained_bytes"]
    assert set(account.checks().values()) == {True}


def wrong(account, part, name, change):
    """The same account with one number changed."""
    parts = {"loaded": copy.deepcopy(dict(account.loaded)), "ran": copy.deepcopy(dict(account.ran))}
    place = parts[part]
    *way, last = name.split(".")
    for step in way:
        place = place[step]
    place[last] = change(place[last])
    return replace(account, **parts)


@pytest.mark.parametrize(
    ("part", "name", "change", "seen_by"),
    [
        ("loaded", "accounts.weight_bytes", lambda n: n - 4096, "weights_are_what_their_shapes_say"),
        (
            "loaded",
            "accounts.kv_token_bytes",
            lambda n: n // 2,
            "reserved_kv_is_blocks_times_tokens_times_bytes",
        ),
        ("ran", "peak_used_blocks", lambda n: n + 1, "used_kv_is_what_the_lengths_need"),
        ("ran", "num_used_blocks", lambda n: n + 1, "no_block_is_held_afterwards"),
        (
            "ran",
            "memory.weights_bytes",
            lambda n: n + (16 << 20),
            "system_saw_no_more_weights_than_there_are",
        ),
        (
            "ran",
            "memory.kv_and_activations_bytes",
            lambda n: n + (16 << 20),
            "system_saw_keys_values_and_activations",
        ),
        ("ran", "memory.peak_bytes", lambda n: n + (48 << 20), "accounts_add_up_to_the_peak"),
        ("ran", "memory.peak_bytes", lambda n: n // 2, "accounts_add_up_to_the_peak"),
    ],
)
def test_a_wrong_account_is_seen(account, part, name, change, seen_by):
    assert wrong(account, part, name, change).checks()[seen_by] is False


def test_the_document_has_every_setting_and_what_was_verified():
    document = json.loads(to_line(bench_memory(CONFIG, SETTINGS, lambda name: None)))
    assert document["test_name"] == "memory"
    assert document["results"]["2 x 40"]["kv_used_bytes"]["median"] == 6 * 16 * TOKEN
    assert [run["side"] for run in document["runs"]] == ["2 x 40"]
    verification = document["verification"]
    del verification["repeats"], verification["tolerance"]
    assert set(verification.values()) == {True}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"streams": ()}, "streams are"),
        ({"streams": (0,)}, "1 or more"),
        ({"lengths": (8,), "output_len": 8}, "9 or more"),
    ],
)
def test_settings_that_cannot_be_measured_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        MemorySettings(**changes)


def test_a_backend_without_books_is_refused():
    with pytest.raises(ConfigError, match="backend is torch"):
        bench_memory(EngineConfig(backend="torch"), SETTINGS, lambda name: None)
