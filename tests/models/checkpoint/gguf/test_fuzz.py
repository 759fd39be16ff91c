"""Whatever a file holds, it is read or refused: never another error, never much memory."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradus.errors import ModelError
from gradus.models.checkpoint.gguf.header import read_header
from gradus.models.sources import resolve_model
from tests.gguf_files import write_model

TYPES = {"token_embd.weight": "Q8_0", "blk.0.attn_q.weight": "Q4_0", "blk.1.ffn_down.weight": "Q5_1"}
MOST_BYTES = 8 << 20  # a hundred times the file

FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> bytes:
    extra = {
        "tokenizer.ggml.eos_token_id": 3,
        "general.sampling.temp": 0.7,
        "llama.rope.scaling.type": "none",
    }
    return write_model(tmp_path_factory.mktemp("m") / "m.gguf", "llama", TYPES, extra=extra).read_bytes()


def read_or_refuse(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    tracemalloc.start()
    refusal = ""
    try:
        source = resolve_model(str(path))
        for name in source.checkpoint.names():
            source.checkpoint.read(name)
            source.checkpoint.quantized(name)
        for value in source.metadata.values():
            list(value) if hasattr(value, "raw") else value
    except ModelError as error:
        refusal = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(refusal) < 2000
    assert peak < MOST_BYTES


@settings(FUZZ, max_examples=200)
@given(edits=st.data())
def test_changed_files(valid, tmp_path, edits):
    """A few bytes or numbers of the header are others."""
    data = bytearray(valid)
    header = read_header(memoryview(valid), "").num_bytes
    for _ in range(edits.draw(st.integers(1, 3))):
        position = edits.draw(st.integers(4, header - 8))
        number = edits.draw(st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1), st.just(2**63)))
        width = edits.draw(st.sampled_from([1, 4, 8]))
        data[position : position + width] = (number % 256**width).to_bytes(width, "little")
    read_or_refuse(tmp_path / "m.gguf", bytes(data))


@settings(FUZZ, max_examples=60)
@given(edits=st.data())
def test_files_with_parts_missing_doubled_or_cut_off(valid, tmp_path, edits):
    begin = edits.draw(st.integers(0, 6000))
    end = edits.draw(st.integers(begin, 6000))
    cut = edits.draw(st.integers(0, len(valid)))
    changed = edits.draw(
        st.sampled_from([valid[:begin] + valid[end:], valid[:end] + valid[begin:], valid[:cut]])
    )
    read_or_refuse(tmp_path / "m.gguf", changed)


@settings(FUZZ, max_examples=60)
@given(rest=st.binary(max_size=300), counts=st.binary(min_size=16, max_size=16))
def test_random_bytes(tmp_path, rest, counts):
    read_or_refuse(tmp_path / "m.gguf", b"GGUF\x03\0\0\0" + counts + rest)
    read_or_refuse(tmp_path / "m.gguf", rest)
    read_or_refuse(tmp_path / "m.gguf", b"GGUF\x03\0\0\0" + b"\1" + bytes(7) + b"\3" + bytes(7) + rest)
