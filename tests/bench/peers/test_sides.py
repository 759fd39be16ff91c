"""How sides are started."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy
import pytest

from gradus.bench.peers import sides
from gradus.bench.peers.rows import LLAMA, LLAMA_SERVER, OPENVINO, SERVER, Side
from gradus.bench.peers.sides import Environment
from gradus.cli.engine_args import engine_config
from gradus.cli.main import COMMANDS, build_parser
from gradus.errors import ConfigError


@pytest.fixture
def started(monkeypatch):
    """Every command that would have been started, and what it would have been told."""
    found = []
    monkeypatch.setattr(sides, "RunnerEndpoint", lambda *given: found.append(given))
    monkeypatch.setattr(
        sides, "ServerEndpoint", lambda *given, software=None: found.append((*given, software))
    )
    monkeypatch.setattr(sides, "_version", lambda python, package: f"{package} of {python}")
    return found


def test_both_sides_get_the_same_threads_sequences_and_context(started, tmp_path):
    where = Environment(
        model="demo", weights=tmp_path, interpreters=dict.fromkeys((LLAMA, OPENVINO), "py"), num_threads=3
    )
    for side in (Side("gradus", "4-bit"), Side(LLAMA, "q4_0.gguf"), Side(OPENVINO, "openvino-int8")):
        where.open(side, 8, 82, {"an": "option"} if side.engine == LLAMA else {})
    loads = [load for _, load in started]
    for load in loads:
        assert (load["num_threads"], load["num_sequences"], load["context"]) == (3, 8, 82)
    assert [Path(load["model"]).name for load in loads] == ["demo", "q4_0.gguf", "openvino-int8"]
    assert [load["options"] for load in loads] == [{"quantization": "int4-all"}, {"an": "option"}, {}]
    assert [command[0] for command, _ in started[1:]] == ["py", "py"]


def test_servers_are_told_the_same_and_neither_keeps_prefixes(started, tmp_path):
    where = Environment(model="demo", weights=tmp_path, interpreters={LLAMA_SERVER: "py"}, num_threads=3)
    where.open(Side(SERVER, "8-bit"), 8, 82, {})
    options = {"flash_attention": True, "kv_unified": False}
    where.open(Side(LLAMA_SERVER, "q4_0.gguf"), 8, 82, options)
    (ours, our_extra, _), (theirs, their_extra, software) = started
    config = engine_config(build_parser(*COMMANDS).parse_args(ours[3:]))
    assert (config.num_threads, config.max_num_seqs, config.max_model_len) == (3, 8, 82)
    assert (config.quantization, config.kv_cache_dtype) == ("int8", "f16")
    assert config.enable_prefix_caching is False
    assert our_extra == {}
    flags = dict(pairwise(theirs))
    assert (flags["--num-threads"], flags["--num-sequences"], flags["--context"]) == ("3", "8", "82")
    assert {"--flash-attention", "--no-kv-unified"} < set(theirs)
    assert their_extra["cache_prompt"] is False
    assert software == {"xllamacpp": "xllamacpp of py"}


def test_a_packages_version_is_that_of_the_interpreters_environment():
    assert sides._version(sys.executable, "numpy") == numpy.__version__
    assert sides._version(sys.executable, "no-such-package") is None


def test_what_is_missing_is_named(tmp_path):
    where = Environment(model="demo", weights=tmp_path, interpreters={LLAMA: "py"})
    assert where.why_absent(Side("gradus", "4-bit")) is None
    assert "openvino" in where.why_absent(Side(OPENVINO, "openvino-int8"))
    assert "q4_0.gguf" in where.why_absent(Side(LLAMA, "q4_0.gguf"))
    assert "q4_k_m.gguf" in where.why_absent(Side("gradus", "q4_k_m.gguf"))
    (tmp_path / "q4_0.gguf").touch()
    assert where.why_absent(Side(LLAMA, "q4_0.gguf")) is None


def test_an_unknown_peer_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"ollama.*openvino"):
        Environment(model="demo", weights=tmp_path, interpreters={"ollama": "py"})
