"""The command that serves a configuration is read back by the command line's own parser."""

import pytest

from gradus.bench.serve_command import serve_command
from gradus.cli.engine_args import engine_config
from gradus.cli.main import COMMANDS, build_parser
from gradus.config import EngineConfig


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "dummy:qwen3-0.6b", "quantization": "int4", "num_threads": 2},
        {"enable_prefix_caching": False, "kv_cache_memory_bytes": 1 << 24, "enforce_eager": True},
        {"seed": 0, "max_model_len": 512, "packed_cache": False, "kv_layout": "contiguous"},
    ],
)
def test_the_command_line_gives_the_configuration_again(changes):
    config = EngineConfig(**changes)
    _, _, _, *arguments = serve_command(config)
    args = build_parser(*COMMANDS).parse_args(arguments)
    assert engine_config(args) == config


def test_what_is_not_set_is_not_said():
    assert serve_command(EngineConfig())[3:] == ["serve", "demo"]
