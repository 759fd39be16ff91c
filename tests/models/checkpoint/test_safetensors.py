"""The safetensors reader, against the reference implementation and against broken files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gradus.errors import CheckpointError
from gradus.models.checkpoint.safetensors import open_safetensors

TENSORS = {
    "wide": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.arange(7, dtype=np.float16),
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.array(3.5, np.float32),
}


def write(directory: Path, data: bytes, name: str = "model.safetensors") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(data)
    return directory


def file_of(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_reads_what_the_reference_implementation_writes(tmp_path: Path) -> None:
    checkpoint = open_safetensors(write(tmp_path, save(TENSORS, {"format": "pt"})))
    assert set(checkpoint.names()) == set(TENSORS)
    for name, array in TENSORS.items():
        raw = checkpoint.read(name)
        assert checkpoint.shape(name) == raw.shape == array.shape
        assert raw.dtype == {"float32": "f32", "float16": "f16"}[str(array.dtype)]
        np.testing.assert_array_equal(raw.array, array)


def test_bfloat16_comes_as_bits(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC000], np.uint16)  # 1.0, -2.0
    data = file_of({"x": entry("BF16", [2], [0, 4])}, bits.tobytes())
    raw = open_safetensors(write(tmp_path, data)).read("x")
    assert raw.dtype == "bf16"
    np.testing.assert_array_equal(raw.array, bits)


def test_misaligned_data_is_copied_into_place(tmp_path: Path) -> None:
    header = json.dumps({"x": entry()}).encode()
    header += b" " * (3 - len(header) % 4)
    values = np.array([1.5, -2.5], np.float32)
    raw = open_safetensors(write(tmp_path, file_of(header, values.tobytes()))).read("x")
    assert raw.array.flags.aligned
    np.testing.assert_array_equal(raw.array, values)


def test_tensors_outlive_the_checkpoint(tmp_path: Path) -> None:
    array = open_safetensors(write(tmp_path, save(TENSORS))).read("wide").array
    np.testing.assert_array_equal(array, TENSORS["wide"])


@pytest.mark.parametrize("dtype", ["I64", "F64", "U8", "F8_E4M3"])
def test_other_types_are_refused_when_read(tmp_path: Path, dtype: str) -> None:
    size = {"I64": 8, "F64": 8}.get(dtype, 1)
    checkpoint = open_safetensors(write(tmp_path, file_of({"x": entry(dtype, [1], [0, size])}, bytes(size))))
    assert checkpoint.shape("x") == (1,)
    with pytest.raises(CheckpointError, match=f"x has type {dtype}.*F32, F16, BF16"):
        checkpoint.read("x")


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    checkpoint = open_safetensors(write(tmp_path, save(TENSORS)))
    with pytest.raises(CheckpointError, match="lm_head"):
        checkpoint.read("lm_head.weight")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated"),
        (b"\x00" * 7, "truncated"),
        (b"\xff" * 8, "claims"),
        ((10**9).to_bytes(8, "little"), "claims"),
        ((100).to_bytes(8, "little") + b"{}", "truncated"),
        (file_of(b"[]", b""), "object"),
        (file_of(b"{", b""), "JSON"),
        (file_of({"x": 3}, b""), "object"),
        (file_of({"x": entry("F31")}, bytes(8)), "unknown type"),
        (file_of({"x": entry(["F32"])}, bytes(8)), "unknown type"),
        (file_of({"x": entry(shape=[-2])}, bytes(8)), "impossible shape"),
        (file_of({"x": entry(shape=[2.0])}, bytes(8)), "impossible shape"),
        (file_of({"x": entry(shape=[2**40, 2**40])}, bytes(8)), "impossible shape"),
        (file_of({"x": entry(shape=2)}, bytes(8)), "impossible shape"),
        (file_of({"x": entry(offsets=[-8, 0])}, bytes(8)), "impossible data_offsets"),
        (file_of({"x": entry(offsets=[0, 8, 16])}, bytes(8)), "impossible data_offsets"),
        (file_of({"x": entry(offsets=[8, 0])}, bytes(8)), "hold -8"),
        (file_of({"x": entry(offsets=[0, 4])}, bytes(8)), "together 8 bytes"),
        (file_of({"x": entry()}, bytes(7)), "truncated"),
        (file_of({"x": entry()}, bytes(9)), "1 bytes after"),
        (file_of({"x": entry(offsets=[4, 12])}, bytes(12)), "gap"),
        (file_of({"x": entry(), "y": entry(offsets=[4, 12])}, bytes(12)), "overlaps"),
        (file_of({"x": entry(), "y": entry()}, bytes(8)), "overlaps"),
    ],
)
def test_broken_files_say_what_is_wrong(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        open_safetensors(write(tmp_path, data))
    assert "model.safetensors" in str(caught.value)


SOUND = save(TENSORS, {"format": "pt"})


@settings(max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 40)
)
@example([], 1)
def test_damage_gives_an_error_or_what_the_reference_reads(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(SOUND)
    for position, value in flips:
        data[position] = value
    damaged = bytes(data[: len(data) - cut])
    try:
        checkpoint = open_safetensors(write(tmp_path_factory.mktemp("damaged"), damaged))
        ours = {name: checkpoint.read(name).array for name in checkpoint.names()}
    except CheckpointError:
        return
    try:
        expected = load(damaged)
    except (SafetensorError, KeyError):
        # Where the reference is stricter (a metadata value that is not a string), the data must still be all
        # there.
        assert sum(array.nbytes for array in ours.values()) <= len(damaged)
        return
    assert ours.keys() == expected.keys()
    for name, array in expected.items():
        if str(array.dtype) in ("float32", "float16"):
            assert ours[name].tobytes() == array.tobytes()


def is_length(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**64


NUMBERS = st.sampled_from([0, 1, 2, 3, 8, 24, -1, 2**31, 2**63, 2**64, 10**40, 1.5, True, None, "8"])
ANYTHING = NUMBERS | st.text(max_size=4) | st.lists(NUMBERS, max_size=3) | st.dictionaries(st.text(), NUMBERS)
ENTRIES = st.builds(
    entry,
    st.sampled_from(["F32", "F16", "BF16", "I64", "BOOL", "F8_E4M3", "f32", ""]) | ANYTHING,
    st.lists(NUMBERS, max_size=3) | ANYTHING,
    st.lists(NUMBERS, min_size=2, max_size=2) | ANYTHING,
)
HEADERS = st.dictionaries(st.sampled_from(["x", "y", "", "__metadata__"]), ENTRIES | ANYTHING, max_size=3)


@settings(max_examples=500)
@given(HEADERS | st.binary(max_size=30), st.binary(max_size=24), st.none() | NUMBERS.filter(is_length))
@example({"x": entry("F32", [2], [0, 8])}, bytes(8), None)
def test_a_header_of_anything_gives_an_error_or_no_more_than_the_file_has(
    tmp_path_factory: pytest.TempPathFactory, header: Any, data: bytes, length: int | None
) -> None:
    """`length` is what the file says of its header, where that is not true."""
    file = file_of(header, data)
    if length is not None:
        file = length.to_bytes(8, "little") + file[8:]
    try:
        checkpoint = open_safetensors(write(tmp_path_factory.mktemp("drawn"), file))
        arrays = [checkpoint.read(name).array for name in checkpoint.names()]
    except CheckpointError:
        return
    assert sum(array.nbytes for array in arrays) <= len(data)


def sharded(directory: Path, weight_map: Any) -> Path:
    write(directory, save({"a": TENSORS["wide"]}), "model-00001-of-00002.safetensors")
    write(directory, save({"b": TENSORS["half"]}), "model-00002-of-00002.safetensors")
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return directory


GOOD_MAP = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}


def test_shards(tmp_path: Path) -> None:
    checkpoint = open_safetensors(sharded(tmp_path, GOOD_MAP))
    assert set(checkpoint.names()) == {"a", "b"}
    np.testing.assert_array_equal(checkpoint.read("a").array, TENSORS["wide"])
    np.testing.assert_array_equal(checkpoint.read("b").array, TENSORS["half"])


@pytest.mark.parametrize(
    "shard",
    ["../model.safetensors", "/etc/model.safetensors", "sub/model.safetensors", "..", "", "model.bin", 3,
    None,
     "..\\model.safetensors", "C:model.safetensors", "model\x00.safetensors"],
)  # fmt: skip
def test_shards_are_files_of_the_same_directory(tmp_path: Path, shard: Any) -> None:
    with pytest.raises(CheckpointError, match="tensor b"):
        open_safetensors(sharded(tmp_path, {**GOOD_MAP, "b": shard}))


@pytest.mark.parametrize("weight_map", [None, {}, [], "a"])
def test_index_without_a_map(tmp_path: Path, weight_map: Any) -> None:
    with pytest.raises(CheckpointError, match="weight_map"):
        open_safetensors(sharded(tmp_path, weight_map))


def test_missing_shard_and_misplaced_tensor_are_named(tmp_path: Path) -> None:
    sharded(tmp_path, {**GOOD_MAP, "c": "model-00002-of-00002.safetensors"})
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors has no tensor named c"):
        open_safetensors(tmp_path)
    sharded(tmp_path, GOOD_MAP)
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.safetensors cannot be read"):
        open_safetensors(tmp_path)


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("pytorch_model.bin", "safe_serialization=True"),
        ("model.pt", "safe_serialization=True"),
        ("model.gguf", "GGUF"),
        ("weights.safetensors", "rename"),
        ("readme.md", "no model.safetensors"),
    ],
)
def test_other_formats_are_refused_with_advice(tmp_path: Path, file: str, advice: str) -> None:
    (tmp_path / file).touch()
    with pytest.raises(CheckpointError, match=advice):
        open_safetensors(tmp_path)
