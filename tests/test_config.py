"""`EngineConfig` refuses what cannot work and says what would."""

import pytest

from gradus.config import EngineConfig
from gradus.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "int3"}, ["dtype", "int3", "float32"]),
        ({"block_size": 12}, ["block_size", "12", "16"]),
        ({"block_size": 8}, ["block_size", "8", "16"]),
        ({"kv_cache_dtype": "f8"}, ["kv_cache_dtype", "f16"]),
        ({"backend": "tpu"}, ["backend", "native"]),
        ({"num_threads": 0}, ["num_threads", "0", "1"]),
        ({"max_num_seqs": -1}, ["max_num_seqs", "-1"]),
        ({"kv_cache_memory_bytes": 1, "num_kv_blocks": 1}, ["kv_cache_memory_bytes", "num_kv_blocks"]),
    ],
)
def test_bad_values_are_named_with_what_works(options, words):
    with pytest.raises(ConfigError) as refused:
        EngineConfig(**options)
    assert all(word in str(refused.value) for word in words)


def test_bad_scheduler_values_are_refused():
    for options in ({"batching": "x"}, {"scheduling": "x"}, {"scheduling_policy": "x"}):
        with pytest.raises(ConfigError):
            EngineConfig(**options).scheduler(128)


def test_without_chunked_prefill_the_budget_holds_a_whole_context():
    scheduler = EngineConfig(enable_chunked_prefill=False).scheduler(4096)
    assert scheduler.max_num_batched_tokens >= 4096
    with pytest.raises(ConfigError, match="4096"):
        EngineConfig(enable_chunked_prefill=False, max_num_batched_tokens=100).scheduler(4096)


def test_the_contiguous_layout_has_no_prefix_cache():
    assert not EngineConfig(kv_layout="contiguous").scheduler(64).enable_prefix_caching
    assert EngineConfig().scheduler(64).enable_prefix_caching
