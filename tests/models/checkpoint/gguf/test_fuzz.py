"""Whatever a file holds, it is read or refused: never another error, never much memory."""

import resource
import shutil
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradus.config import EngineConfig
from gradus.errors import ConfigError, ModelError
from gradus.models.checkpoint.gguf.header import read_header
from gradus.models.sources import resolve_model
from gradus.runtime import load_runtime
from gradus.text.gguf_tokenizer import gguf_tokenizer
from tests.gguf_files import write_model
from tests.text import gguf_files as vocabularies

TYPES = {"token_embd.weight": "Q8_0", "blk.0.attn_q.weight": "Q4_0", "blk.1.ffn_down.weight": "Q5_1"}
MOST_BYTES = 8 << 20  # of Python's, a hundred times the file
MOST_RESIDENT = 128 << 20  # more than before, whoever takes it
NUMBERS = st.one_of(
    st.integers(0, 300), st.integers(0, 2**64 - 1), st.sampled_from([2**31, 2**32 - 1, 2**63])
)

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> bytes:
    extra = {
        "tokenizer.ggml.eos_token_id": 3,
        "general.sampling.temp": 0.7,
        "llama.rope.scaling.type": "none",
    }
    return write_model(tmp_path_factory.mktemp("m") / "m.gguf", "llama", TYPES, extra=extra).read_bytes()


@pytest.fixture(scope="module", params=["llama-bpe", "sentencepiece"])
def runnable(request, tmp_path_factory) -> bytes:
    """With a tokenizer and a chat template; all that a start reads is there."""
    make = vocabularies.sentencepiece_metadata
    metadata = make() if request.param == "sentencepiece" else vocabularies.byte_level_metadata("llama-bpe")
    metadata |= {"tokenizer.chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"}
    return vocabularies.write_model(tmp_path_factory.mktemp("m") / "m.gguf", metadata).read_bytes()


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> dict[str, bytes]:
    """A model in three parts or so, by their names."""
    folder = tmp_path_factory.mktemp("parts")
    write_model(folder / "m.gguf", "llama", split_max_tensors=8)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def little_memory():
    """Also what is not Python's own."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_RESIDENT >> 10


def start_or_refuse(path: Path) -> None:
    """As `gradus serve` does."""
    config = EngineConfig(model=str(path), packed_cache=False, num_threads=1, kv_cache_memory_bytes=1 << 20)
    try:
        runtime = load_runtime(config)
    except (ModelError, ConfigError) as error:
        refusal = str(error)
    else:
        refusal = ""
        runtime.tokenizer.decode(runtime.tokenizer.encode("Hello wörld </s>"))
        runtime.close()
    assert len(refusal) < 2000


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
        gguf_tokenizer(source.metadata, path).load()
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
        number = edits.draw(NUMBERS)
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


@settings(FUZZ, max_examples=80)
@given(edits=st.data())
def test_changed_files_are_started(runnable, tmp_path, edits):
    """Anywhere: header, vocabulary or weights."""
    data = bytearray(runnable)
    header = read_header(memoryview(runnable), "").num_bytes
    for _ in range(edits.draw(st.integers(1, 8))):
        position = edits.draw(
            st.one_of(st.integers(4, 600), st.integers(4, header), st.integers(4, len(data) - 8))
        )
        width = edits.draw(st.sampled_from([1, 4, 8]))
        data[position : position + width] = (edits.draw(NUMBERS) % 256**width).to_bytes(width, "little")
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    start_or_refuse(path)


@settings(FUZZ, max_examples=40)
@given(cut=st.integers(0, 1 << 20))
def test_files_that_end_too_early_are_refused(runnable, tmp_path, cut):
    path = tmp_path / "m.gguf"
    path.write_bytes(runnable[: cut % len(runnable)])
    with pytest.raises(ModelError):
        load_runtime(EngineConfig(model=str(path), packed_cache=False))


@settings(FUZZ, max_examples=60)
@given(edits=st.data())
def test_parts_that_say_other_things_of_themselves(split, tmp_path, edits):
    """Numbers of the split, and anything in any of the parts' headers."""
    parts = {name: bytearray(data) for name, data in split.items()}
    for _ in range(edits.draw(st.integers(1, 3))):
        data = parts[edits.draw(st.sampled_from(sorted(parts)))]
        key = edits.draw(st.sampled_from([b"split.no", b"split.count", b"split.tensors.count"]))
        at = data.index(key) + len(key)  # of the value's type, then of the value
        kind = edits.draw(st.one_of(st.just(struct.unpack_from("<I", data, at)[0]), st.integers(0, 13)))
        struct.pack_into("<IH", data, at, kind, edits.draw(st.integers(0, 2**16 - 1)))
    gone = edits.draw(st.sampled_from([None, None, *sorted(parts)]))
    folder = tmp_path / "parts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in parts.items():
        if name != gone:
            (folder / name).write_bytes(data)
    for name in parts:
        if name != gone:
            start_or_refuse(folder / name)


@settings(FUZZ, max_examples=60)
@given(rest=st.binary(max_size=300), counts=st.binary(min_size=16, max_size=16))
def test_random_bytes(tmp_path, rest, counts):
    read_or_refuse(tmp_path / "m.gguf", b"GGUF\x03\0\0\0" + counts + rest)
    read_or_refuse(tmp_path / "m.gguf", rest)
    read_or_refuse(tmp_path / "m.gguf", b"GGUF\x03\0\0\0" + b"\1" + bytes(7) + b"\3" + bytes(7) + rest)
