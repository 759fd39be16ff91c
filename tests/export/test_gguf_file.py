"""The GGUF writer: the `gguf` package reads what it wrote."""

import gguf
import numpy as np
import pytest

from gradus.export.gguf_file import OutputTensor, write_gguf
from gradus.models.checkpoint.gguf.types import TYPE_BY_NAME

METADATA = {
    "general.architecture": "llama",
    "a.bool": True,
    "a.count": 7,
    "a.number": 0.25,
    "a.text": "zwölf",
    "a.texts": ["a", "", "ß"],
    "a.kinds": np.array([3, -1], np.int32),
    "a.scores": np.array([0.5, -2], np.float32),
}


def output(name, array, type_name="F32", pieces=1):
    chunks = np.array_split(array, pieces)
    return OutputTensor(name, array.shape, TYPE_BY_NAME[type_name], lambda: iter(chunks))


def test_the_gguf_package_reads_it(tmp_path):
    arrays = {
        "odd": np.arange(5, dtype=np.float32),
        "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
    }
    tensors = [output("odd", arrays["odd"]), output("matrix", arrays["matrix"], pieces=3)]
    write_gguf(tmp_path / "m.gguf", METADATA, [*tensors, output("half", arrays["half"], "F16")])
    found = gguf.GGUFReader(tmp_path / "m.gguf")
    for key, value in METADATA.items():
        plain = value.tolist() if isinstance(value, np.ndarray) else value
        assert found.fields[key].contents() == plain
    assert {tensor.name: tensor.data.tolist() for tensor in found.tensors} == {
        name: array.tolist() for name, array in arrays.items()
    }
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_text("old")

    def fail():
        raise RuntimeError("no more")
        yield

    tensor = OutputTensor("a", (2,), TYPE_BY_NAME["F32"], fail)
    with pytest.raises(RuntimeError):
        write_gguf(path, METADATA, [tensor])
    assert [found.name for found in tmp_path.iterdir()] == ["m.gguf"]
    assert path.read_text() == "old"
