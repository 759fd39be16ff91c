"""A server process of our own: the flags that make a configuration, its beginning and its end."""

import argparse
from dataclasses import replace

import httpx
import pytest

from gradus.bench.clients.own_server import OwnServer, ServerStartError, to_flags
from gradus.cli.engine_args import add_engine_arguments, engine_config
from gradus.config import EngineConfig


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": "dummy:qwen3-0.6b", "quantization": "int4", "num_threads": 2},
        {"enable_prefix_caching": False, "kv_cache_memory_bytes": 2**25, "enforce_eager": True},
        {"seed": 0, "max_model_len": 512, "packed_cache": False, "kv_layout": "contiguous"},
    ],
)
def test_the_flags_make_the_configuration_again(changes):
    config = replace(EngineConfig(), **changes)
    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    assert engine_config(parser.parse_args(to_flags(config))) == config


def test_a_server_answers_says_what_it_takes_and_ends_in_order(tiny_model_path):
    with OwnServer(EngineConfig(model=str(tiny_model_path))) as server:
        assert httpx.get(f"{server.url}/health", timeout=30).status_code == 200
        usage = server.usage()
        assert usage["resident_bytes"] > 2**20
        assert usage["threads"] >= 1
        assert usage["open_files"] >= 3
        assert server.close() == 0
    assert server.usage() == {}


def test_a_server_that_cannot_start_says_why():
    with pytest.raises(ServerStartError, match=r"ended with \d.*no-such-model"):
        OwnServer(EngineConfig(model="./no-such-model"))
