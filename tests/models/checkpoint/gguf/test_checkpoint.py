"""`GgufCheckpoint` and the files under it: names, types, row order, parts of split files."""

import hashlib

import gguf
import numpy as np
import pytest

from gradus.errors import CheckpointError
from gradus.models.checkpoint.gguf.checkpoint import GgufCheckpoint
from gradus.models.checkpoint.gguf.file import GgufFile, open_parts
from gradus.models.checkpoint.gguf.names import gguf_name, half_split_rows
from tests.gguf_files import file_bytes, tensor, write_model

TYPES = {
    "token_embd.weight": "F16",
    "blk.0.attn_q.weight": "Q4_0",
    "blk.0.attn_k.weight": "Q8_0",
    "blk.0.attn_v.weight": "BF16",
    "blk.0.ffn_down.weight": "Q5_1",
}
Q, K = "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight"


def open_one(path, head_dim=None):
    return GgufCheckpoint(open_parts(path), head_dim)


def oracle(path, name):
    """A tensor's values by the `gguf` package."""
    found = next(tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name == name)
    return gguf.quants.dequantize(found.data, found.tensor_type)


def values(raw):
    return raw.rows_as_float32(slice(None))


def test_reads_what_the_gguf_package_reads(tmp_path):
    path = write_model(tmp_path / "m.gguf", types=TYPES)
    checkpoint = open_one(path)
    for found in gguf.GGUFReader(path).tensors:
        name = checkpoint_name(checkpoint, found.name)
        expected = gguf.quants.dequantize(found.data, found.tensor_type)
        np.testing.assert_array_equal(values(checkpoint.read(name)), expected)
        assert checkpoint.shape(name) == checkpoint.read(name).shape == expected.shape
        assert checkpoint.dtype(name) == checkpoint.read(name).dtype
        matrix = checkpoint.quantized(name)
        if found.tensor_type.name in ("Q4_0", "Q8_0", "Q5_1"):
            width = "int4_symmetric" if found.tensor_type.name == "Q4_0" else "int8"
            assert checkpoint.width(name) == width
            assert np.abs(matrix.dequantize() - expected).max() < 0.01 * expected.std() * 3
        else:
            assert checkpoint.width(name) is matrix is None


def checkpoint_name(checkpoint, name):
    return next(known for known in checkpoint.names() if (gguf_name(known) or known) == name)


def test_rows_of_rotated_heads_come_in_hugging_face_order(tmp_path):
    path = write_model(tmp_path / "m.gguf", "llama", TYPES)
    plain, reordered = open_one(path), open_one(path, head_dim=32)
    for name in plain.names():
        expected = values(plain.read(name))
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            expected = expected[half_split_rows(len(expected), 32)]
        np.testing.assert_array_equal(values(reordered.read(name)), expected)
        if reordered.width(name) is not None and "down" not in name:
            np.testing.assert_array_equal(reordered.quantized(name).dequantize(), expected)


def test_rows_that_are_no_whole_heads_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"attn_q\.weight has 128 rows, no multiple of 48"):
        open_one(write_model(tmp_path / "m.gguf", "llama"), head_dim=48)


def test_missing_tensors_are_named(tmp_path):
    checkpoint = open_one(write_model(tmp_path / "m.gguf"))
    for use in (checkpoint.read, checkpoint.shape, checkpoint.width, checkpoint.dtype, checkpoint.quantized):
        with pytest.raises(CheckpointError, match="no tensor named x"):
            use("x")


def test_tensors_at_odd_places_are_read(tmp_path):
    """Old files have alignments of less than a number's size."""
    entries = [b"\x11\0\0\0\0\0\0\0general.alignment\x04\0\0\0\x01\0\0\0"]
    data = file_bytes(
        entries, [tensor("a", [2], offset=1)], b"?" + np.float32([1.5, -2]).tobytes(), alignment=1
    )
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    assert open_one(path).read("a").array.tolist() == [1.5, -2]


def test_a_file_says_what_it_was(tmp_path):
    path = write_model(tmp_path / "m.gguf")
    (stored,) = open_one(path).files()
    header = path.read_bytes()[: gguf.GGUFReader(path).data_offset]
    assert (stored.path, stored.size) == (str(path.resolve()), path.stat().st_size)
    assert stored.mtime_ns == path.stat().st_mtime_ns
    assert stored.header_sha256 == hashlib.sha256(header).hexdigest()


def test_what_cannot_be_opened(tmp_path):
    empty = tmp_path / "empty.gguf"
    empty.touch()
    with pytest.raises(CheckpointError, match="is empty"):
        GgufFile(empty)
    with pytest.raises(CheckpointError, match="cannot be read"):
        GgufFile(tmp_path / "none.gguf")


def split(tmp_path, name="m"):
    write_model(tmp_path / f"{name}.gguf", types=TYPES, split_max_tensors=8)
    return sorted(tmp_path.glob(f"{name}-*.gguf"))


def test_a_split_file_is_opened_by_any_of_its_parts(tmp_path):
    parts = split(tmp_path)
    whole = open_one(write_model(tmp_path / "whole.gguf", types=TYPES))
    assert len(parts) == 3
    for part in parts:
        checkpoint = open_one(part)
        assert [stored.path for stored in checkpoint.files()] == [str(path.resolve()) for path in parts]
        assert set(checkpoint.names()) == set(whole.names())
        for name in whole.names():
            np.testing.assert_array_equal(checkpoint.read(name).array, whole.read(name).array)


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    parts = split(tmp_path)
    renamed = tmp_path / "other.gguf"
    renamed.write_bytes(parts[0].read_bytes())
    with pytest.raises(CheckpointError, match=r"one of 3 parts .* must be called NAME-00001-of-00003\.gguf"):
        open_parts(renamed)
    parts[2].write_bytes(parts[1].read_bytes())
    with pytest.raises(CheckpointError, match="says that it is part 2 of 3; by its name it is part 3 of 3"):
        open_parts(parts[0])
    parts[1].unlink()
    parts[2].unlink()
    with pytest.raises(CheckpointError, match=r"lacks 2 of the 3 parts of m; the first is m-00002-of-00003"):
        open_parts(parts[0])
