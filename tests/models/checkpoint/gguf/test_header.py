"""The header's reader: the `gguf` package is the oracle; whatever does not hang together is refused."""

import struct

import gguf
import numpy as np
import pytest

from gradus.errors import CheckpointError
from gradus.models.checkpoint.gguf.cursor import StringArray
from gradus.models.checkpoint.gguf.header import read_header
from tests.gguf_files import (
    ARRAY,
    FLOAT32,
    STRING,
    UINT32,
    UINT64,
    entry,
    file_bytes,
    string,
    tensor,
    text_entry,
    write_model,
)

HUGE = 2**63


def read(data: bytes):
    return read_header(memoryview(data), "m.gguf")


def array(kind: int, count: int, payload: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + payload


def test_agrees_with_the_gguf_package(tmp_path):
    extra = {
        "a.bool": True,
        "a.float": 0.5,
        "a.text": "grün",
        "a.numbers": [1, -2, 3],
        "a.texts": ["x", "", "ß"],
    }
    path = write_model(tmp_path / "m.gguf", extra=extra)
    header, expected = read(path.read_bytes()), gguf.GGUFReader(path)
    assert header.num_bytes == expected.data_offset
    assert [(t.name, t.begin, t.num_bytes, list(t.shape)) for t in header.tensors.values()] == [
        (t.name, t.data_offset, t.n_bytes, t.shape[::-1].tolist()) for t in expected.tensors
    ]
    for key, value in header.metadata.items():
        contents = expected.fields[key].contents()
        plain = value.tolist() if isinstance(value, np.ndarray) else value
        plain = list(plain) if isinstance(plain, StringArray) else plain
        assert plain == pytest.approx(contents) if isinstance(plain, float) else plain == contents, key
    assert {key for key in expected.fields if not key.startswith("GGUF.")} == set(header.metadata)


@pytest.mark.parametrize(
    ("kind", "layout", "value"),
    [
        (0, "B", 200),
        (1, "b", -3),
        (2, "H", 60000),
        (3, "h", -3),
        (4, "I", 2**32 - 1),
        (5, "i", -3),
        (6, "f", 0.1),
        (7, "?", True),
        (10, "Q", 2**64 - 1),
        (11, "q", -(2**62)),
        (12, "d", 0.1),
    ],
)
def test_every_type_of_value(kind, layout, value):
    single = entry("one", kind, struct.pack(f"<{layout}", value))
    many = entry("many", ARRAY, array(kind, 3, struct.pack(f"<3{layout}", value, 0, 1)))
    metadata = read(file_bytes([single, many])).metadata
    assert metadata["one"] == value  # a float32 as the shortest decimal that it stands for
    assert type(metadata["one"]) is type(value)
    assert metadata["many"].tolist() == pytest.approx([value, 0, 1])


def test_strings_are_decoded_on_access():
    texts = [b"a", b"", "日本".encode(), b"\xff", b"end"]
    strings = entry("t", ARRAY, array(STRING, 5, b"".join(map(string, texts))))
    value = read(file_bytes([strings, text_entry("after", "x")])).metadata["t"]
    assert (len(value), value[2], value[-1], value[0:3]) == (5, "日本", "end", ["a", "", "日本"])
    assert [value.raw(i) for i in range(5)] == texts
    with pytest.raises(IndexError):
        value[5]
    for use in (lambda: value[3], lambda: list(value)):
        with pytest.raises(CheckpointError, match=r"t: string 3 is not UTF-8"):
            use()


def test_tensors_may_have_gaps_and_other_alignments():
    entries = [entry("general.alignment", UINT32, struct.pack("<I", 64))]
    tensors = [tensor("b", [32], 8, offset=128), tensor("a", [2, 3], offset=0)]
    header = read(file_bytes(entries, tensors, bytes(128 + 34), alignment=64))
    assert header.num_bytes % 64 == 0
    assert header.tensors["a"].shape == (3, 2)
    assert header.tensors["b"].begin == header.num_bytes + 128


ONE = [tensor("a", [32])]
REFUSED = {
    "empty file": (b"", "not a GGUF file"),
    "another format": (b"GGML" + bytes(100), r"begins with b'GGML'"),
    "only a magic": (b"GGUF", "truncated at the version: 4 bytes are needed at byte 4, 0 are left"),
    "an old version": (file_bytes(version=1), "version 1; Gradus reads versions 2 and 3"),
    "a big-endian file": (file_bytes(version=3 << 24), "big-endian"),
    "absurdly many tensors": (file_bytes(num_tensors=HUGE), f"number of tensors is {HUGE:,}"),
    "more tensors than bytes": (
        file_bytes(num_tensors=1000),
        "number of tensors is 1,000; .* bytes left hold",
    ),
    "absurdly many entries": (file_bytes(num_entries=HUGE), f"metadata entries is {HUGE:,}"),
    "a huge key": (file_bytes([struct.pack("<Q", HUGE) + bytes(32)]), "length of the key"),
    "a huge string": (file_bytes([entry("k", STRING, struct.pack("<Q", HUGE))]), f"length of k is {HUGE:,}"),
    "a string beyond the end": (file_bytes([entry("k", STRING, struct.pack("<Q", 99))]), "length of k is 99"),
    "a string that is no UTF-8": (file_bytes([entry("k", STRING, string(b"\xff"))]), "k is not UTF-8"),
    "an unknown type of value": (
        file_bytes([entry("k", 13, bytes(8))]),
        "type of k is 13; there are 0 to 12",
    ),
    "a bool of 2": (file_bytes([entry("k", 7, b"\x02")]), "k is a bool of value 2"),
    "a huge array": (file_bytes([entry("k", ARRAY, array(UINT64, HUGE, b""))]), "length of k is"),
    "an array that wraps": (file_bytes([entry("k", ARRAY, array(FLOAT32, 2**62, b""))]), "length of k is"),
    "an array beyond the end": (
        file_bytes([entry("k", ARRAY, array(UINT32, 9, bytes(4)))]),
        "length of k is 9",
    ),
    "strings beyond the end": (
        file_bytes([entry("k", ARRAY, array(STRING, 3, string("x") + struct.pack("<Q", 640) + bytes(99)))]),
        "k ends beyond the file, .*: string 1 of 3",
    ),
    "a string of 2^63 bytes": (
        file_bytes([entry("k", ARRAY, array(STRING, 2, struct.pack("<Q", HUGE) + bytes(99)))]),
        "k ends beyond the file, .*: string 0 of 2",
    ),
    "arrays of arrays": (file_bytes([entry("k", ARRAY, array(ARRAY, 1, bytes(99)))]), "array of arrays"),
    "two equal keys": (file_bytes([text_entry("k", "a"), text_entry("k", "b")]), "two metadata entries k"),
    "an odd alignment": (
        file_bytes([entry("general.alignment", UINT32, struct.pack("<I", 33))]),
        "alignment is 33; it must be a power of two",
    ),
    "no alignment": (file_bytes([entry("general.alignment", UINT32, bytes(4))]), "alignment is 0"),
    "an alignment in words": (file_bytes([text_entry("general.alignment", "32")]), "alignment is '32'"),
    "a tensor of no dimensions": (file_bytes((), [tensor("a", [], num_dims=0)]), "a has 0 dimensions"),
    "a tensor of many dimensions": (file_bytes((), [tensor("a", [1] * 5)]), "a has 5 dimensions"),
    "a tensor of nothing": (file_bytes((), [tensor("a", [0, 32])]), r"impossible shape \[32, 0\]"),
    "a tensor that wraps": (file_bytes((), [tensor("a", [2**32, 2**32])]), "impossible shape"),
    "a huge tensor": (file_bytes((), [tensor("a", [2**40])]), "truncated: tensor a, 4,398,046,511,104 bytes"),
    "an unread type": (file_bytes((), [tensor("a", [256], 23)]), "a has type IQ4_XS; Gradus reads F32, F16"),
    "an unknown type": (file_bytes((), [tensor("a", [256], 99)]), "a has type 99"),
    "part of a block": (file_bytes((), [tensor("a", [100, 2], 8)]), "rows of 100 elements; .* blocks of 32"),
    "an offset between": (file_bytes((), [tensor("a", [8], offset=4)]), "offset 4, no multiple of 32"),
    "an offset beyond the end": (
        file_bytes((), [tensor("a", [8], offset=64)], bytes(32)),
        "ends beyond the file",
    ),
    "an offset that wraps": (file_bytes((), [tensor("a", [8], offset=2**64 - 32)], bytes(32)), "ends beyond"),
    "data cut off": (file_bytes((), ONE, bytes(127)), "tensor a, 128 bytes at byte .* ends beyond the file"),
    "tensors over each other": (
        file_bytes((), [tensor("a", [32]), tensor("b", [8], offset=96)], bytes(128)),
        "tensor b begins at byte .*, inside tensor a",
    ),
    "two equal tensors": (
        file_bytes((), [*ONE, tensor("a", [8], offset=128)], bytes(256)),
        "two tensors named a",
    ),
}


@pytest.mark.parametrize(("data", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(data, words):
    with pytest.raises(CheckpointError, match=words) as refused:
        read(data)
    assert str(refused.value).startswith("m.gguf: ")


def test_a_file_cut_anywhere_in_its_header_is_refused(tmp_path):
    data = write_model(tmp_path / "m.gguf").read_bytes()
    for length in range(0, read(data).num_bytes, 3):
        with pytest.raises(CheckpointError):
            read(data[:length])
