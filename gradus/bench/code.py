"""`gradus bench code`: how large and how tangled the sources are.

Lines, functions, classes and cyclomatic complexity by radon; imports between packages by the syntax tree.
Neither runs the code.
"""

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradus
from gradus.bench.evidence import evidence
from gradus.bench.statistics import spread

METHOD = (
    "radon counts lines (raw), functions with methods, classes, and McCabe's cyclomatic complexity of each "
    "function; imports are those of the syntax trees, lazy ones included, type-checking ones not, between "
    "the parts of the package: its folders, and its files at the root. C++ is counted in lines only."
)
ROOT = Path(gradus.__file__).parent


@dataclass(frozen=True, slots=True)
class SourceFile:
    """What was counted in one file; complexity is per function."""

    path: Path
    lines: int
    source_lines: int
    num_classes: int
    complexity: dict[str, int]
    imports: frozenset[str]  # parts of the package


def bench_code(root: Path = ROOT) -> dict[str, Any]:
    """Count; returns the evidence."""
    files = [read_source(path, root) for path in sorted(root.rglob("*.py"))]
    return evidence(
        "code",
        software={"radon": _radon_version()},
        model={},
        parameters={"package": root.name},
        method=METHOD,
        results={
            "files": len(files),
            "lines": sum(file.lines for file in files),
            "source_lines": sum(file.source_lines for file in files),
            "classes": sum(file.num_classes for file in files),
            "functions": sum(len(file.complexity) for file in files),
            "lines_per_file": spread([file.lines for file in files]),
            "complexity": spread([value for file in files for value in file.complexity.values()]),
            "most_complex": [
                {"function": name, "complexity": value} for name, value in most_complex(files, root)
            ],
            "cpp_lines": _cpp_lines(root.parent / "csrc"),
            "import_graph": import_graph(files, root),
        },
        runs=[{"file": _name(file.path, root), "lines": file.lines} for file in files],
        verification={"no_circles_between_parts": not circles(import_graph(files, root))},
    )


def read_source(path: Path, root: Path) -> SourceFile:
    """Count one file."""
    from radon.complexity import cc_visit
    from radon.raw import analyze

    text = path.read_text(encoding="utf-8")
    raw, tree = analyze(text), ast.parse(text)
    blocks = cc_visit(text)
    functions = {block.fullname: block.complexity for block in blocks if block.letter in "FM"}
    classes = sum(isinstance(node, ast.ClassDef) for node in ast.walk(tree))
    return SourceFile(path, raw.loc, raw.sloc, classes, functions, frozenset(_imports(tree, root.name)))


def most_complex(files: Iterable[SourceFile], root: Path, count: int = 10) -> list[tuple[str, int]]:
    """The functions with the most paths through them."""
    found = [
        (f"{_name(file.path, root)}: {name}", value)
        for file in files
        for name, value in file.complexity.items()
    ]
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))[:count]


def import_graph(files: Iterable[SourceFile], root: Path) -> dict[str, dict[str, int]]:
    """part -> part -> how many of its files import it."""
    files = list(files)
    parts = {file.path.relative_to(root).with_suffix("").parts[0] for file in files}
    graph: dict[str, Counter[str]] = {}
    for file in files:
        part = file.path.relative_to(root).with_suffix("").parts[0]
        graph.setdefault(part, Counter()).update((file.imports & parts) - {part})
    return {part: dict(sorted(counts.items())) for part, counts in sorted(graph.items())}


def circles(graph: dict[str, dict[str, int]]) -> list[list[str]]:
    """Parts that import each other, directly or through others: strongly connected ones."""
    reachable = {part: _reachable(graph, part) for part in graph}
    found = {
        tuple(sorted({part, *(p for p in reachable[part] if part in reachable.get(p, set()))}))
        for part in graph
        if part in reachable[part]
    }
    return sorted(list(group) for group in found)


def _reachable(graph: dict[str, dict[str, int]], part: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph.get(part, ()))
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting.extend(graph.get(one, ()))
    return seen


def _imports(tree: ast.Module, package: str) -> Iterable[str]:
    """Parts of the package that a module imports when it runs."""
    for node in _running(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == package and rest:
                yield rest[0]


def _running(tree: ast.AST) -> Iterable[ast.AST]:
    """All nodes but those below `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _running(node)


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root.parent))


def _cpp_lines(folder: Path) -> int | None:
    """None where the package is installed without its C++ sources."""
    files = [path for pattern in ("*.cpp", "*.h") for path in folder.rglob(pattern)]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) or None


def _radon_version() -> str:
    import radon

    return str(radon.__version__)
