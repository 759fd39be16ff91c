"""How many CPUs and bytes the machine grants, and how the KV cache is sized."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus import machine
from gradus.cache_plan import plan_cache
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.memory_plan import packed_sizes, working_bytes
from tests.tiny_models import tiny_backend, tiny_config, tiny_moe_config

MODEL = tiny_config(max_position_embeddings=1000, dtype="bf16")
TOKEN_BYTES = 2 * 2 * 2 * 16 * 2  # K and V, layers, heads, head_dim, f16


@given(
    memory=st.integers(0, 10**9),
    num_seqs=st.integers(1, 64),
    layout=st.sampled_from(["paged", "contiguous"]),
    block_size=st.sampled_from([16, 128]),
    weight_bytes=st.integers(0, 10**9),
)
def test_a_plan_fits_what_the_weights_leave_and_holds_a_whole_context(
    memory, num_seqs, layout, block_size, weight_bytes
):
    left = max(0, memory - weight_bytes - working_bytes(MODEL, 512))
    config = EngineConfig(max_num_seqs=num_seqs, kv_layout=layout, block_size=block_size)
    try:
        plan = plan_cache(config, MODEL, memory, weight_bytes)
    except ConfigError:
        assert left * 0.5 < 2 * max(block_size, 16) * TOKEN_BYTES
        return
    assert plan.num_bytes == plan.num_blocks * plan.block_size * TOKEN_BYTES <= left * 0.5
    assert 1 <= plan.max_model_len <= 1000
    assert plan.num_blocks * plan.block_size >= plan.max_model_len
    if layout == "contiguous":
        assert plan.block_size >= plan.max_model_len
        assert 1 <= plan.num_blocks <= num_seqs


def test_enough_memory_gives_every_sequence_its_whole_context():
    plan = plan_cache(EngineConfig(max_num_seqs=4), MODEL, 10**12, 0)
    assert plan.max_model_len == 1000
    assert plan.num_blocks * plan.block_size == 4 * 1008


def test_a_context_that_was_asked_for_and_does_not_fit_is_refused_with_the_numbers():
    with pytest.raises(ConfigError, match=r"640 tokens.*1,000"):
        plan_cache(EngineConfig(max_model_len=1000, num_kv_blocks=40), MODEL, 10**12, 0)
    with pytest.raises(ConfigError, match=r"2,000.*1,000"):
        plan_cache(EngineConfig(max_model_len=2000), MODEL, 10**12, 0)


def test_what_was_asked_for_is_what_one_gets():
    assert plan_cache(EngineConfig(num_kv_blocks=70), MODEL, 10**12, 0).num_blocks == 70
    plan = plan_cache(EngineConfig(kv_cache_memory_bytes=TOKEN_BYTES * 16 * 100), MODEL, 0, 0)
    assert plan.num_blocks == 100


def test_keys_and_values_are_as_precise_as_f32_weights_need():
    assert plan_cache(EngineConfig(), MODEL, 10**12, 0).dtype == "f16"
    assert plan_cache(EngineConfig(dtype="float32"), MODEL, 10**12, 0).dtype == "f32"
    assert plan_cache(EngineConfig(dtype="float32", kv_cache_dtype="f16"), MODEL, 10**12, 0).dtype == "f16"
    assert plan_cache(EngineConfig(dtype="float32"), MODEL, 10**12, 0).token_bytes == 2 * TOKEN_BYTES


def test_the_machine_grants_at_least_one_cpu_and_some_memory():
    assert 1 <= machine.available_cpus() <= 4096
    assert machine.available_memory() > 1 << 20


def test_a_cgroup_quota_cuts_the_cpus(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.available_cpus() == 1
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert machine.available_memory() == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.available_memory() > 600_000


@pytest.mark.parametrize("quantization", ["none", "int8", "int4", "int4-all"])
@pytest.mark.parametrize("config", [tiny_config(), tiny_moe_config()], ids=["dense", "mixture"])
def test_the_native_backend_holds_the_weights_that_were_planned_with(config, quantization):
    backend = tiny_backend(config=config, weight_dtype="bf16", quantization=quantization)
    planned = sum(packed_sizes(config, "bf16", quantization).values())
    assert backend.weight_bytes == planned
    backend.close()


def test_stored_widths_go_before_the_recipe():
    def width(name):
        return "int4" if "down_proj" in name else None

    stored, plain = packed_sizes(MODEL, "bf16", "none", width), packed_sizes(MODEL, "bf16")
    for name, size in plain.items():
        if "down_proj" in name:  # 48 outputs, 80 inputs in 3 groups of 20 bytes
            assert (stored[name], size) == (48 * 3 * 20, 48 * 80 * 2)
        else:
            assert stored[name] == size
