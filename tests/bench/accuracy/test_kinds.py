"""Kinds: what is loaded is what the name says."""

import pytest

from gradus.bench.accuracy.kinds import KINDS, find_kinds
from gradus.errors import ConfigError
from gradus.runtime import load_runtime


@pytest.mark.parametrize("name", ["f16", "kv-f16", "int8-f32", "int4-kv-f16", "q4_0"])
def test_a_kind_loads_as_it_says(name, tmp_path):
    kind = KINDS[name]
    config = kind.config("demo", 1, tmp_path)
    assert config.activation_dtype == kind.activations or kind.weights in ("f16", "f32")
    runtime = load_runtime(config)
    runtime.close()
    assert runtime.cache.dtype == kind.kv_cache
    widths = {runtime.source.checkpoint.width(name) for name in runtime.source.checkpoint.names()}
    assert ("int4_symmetric" in widths) == (name == "q4_0")


def test_kinds_come_with_those_that_they_are_held_against():
    assert [kind.name for kind in find_kinds("int4")] == ["f32", "q4_0", "int4"]
    assert [kind.name for kind in find_kinds(None)] == list(KINDS)
    with pytest.raises(ConfigError, match="there are f32, bf16"):
        find_kinds("int3")
