"""The count of the sources, on a package written for it and on our own."""

import json

import pytest

from gradus.bench.code import bench_code, circles, import_graph, read_source
from gradus.bench.evidence import to_line

MODULE = '''"""One."""

from typing import TYPE_CHECKING

import pack.b
from pack.c import thing

if TYPE_CHECKING:
    from pack.d import Other


class A:
    def method(self, x):
        if x and thing:
            return 1
        return 2


def function():
    from pack.e.deep import lazy

    return lazy
'''


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "pack"
    for name, text in {
        "a.py": MODULE,
        "b.py": "import pack.a\n",
        "c.py": "",
        "d.py": "",
        "e/deep.py": "from pack import c\nfrom pack.nothing import name\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_one_file_is_counted(package):
    found = read_source(package / "a.py", package)
    assert (found.lines, found.num_classes) == (len(MODULE.splitlines()), 1)
    assert found.complexity == {"A.method": 3, "function": 1}  # if, and
    assert found.imports == {"b", "c", "e"}  # lazy ones run, those for types do not


def test_the_graph_is_between_parts_that_exist(package):
    files = [read_source(path, package) for path in sorted(package.rglob("*.py"))]
    graph = import_graph(files, package)
    assert graph == {"a": {"b": 1, "c": 1, "e": 1}, "b": {"a": 1}, "c": {}, "d": {}, "e": {"c": 1}}
    assert circles(graph) == [["a", "b"]]


def test_our_own_parts_have_no_circles():
    found = json.loads(to_line(bench_code()))
    assert found["verification"]["no_circles_between_parts"] is True
    results = found["results"]
    assert results["files"] == len(found["runs"])
    assert results["lines"] == sum(run["lines"] for run in found["runs"])
    assert "server" not in results["import_graph"]["engine"]
    assert results["cpp_lines"] > 1000
