"""The layering of the package: arrows point one way, no circles, and no tensors in the engine."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gradus

PACKAGE = Path(gradus.__file__).parent
TENSOR_AND_WEB = {
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "fastapi",
    "starlette",
    "uvicorn",
    "pydantic",
    "llguidance",
}

# folder -> the folders it may import from; "" is the root's value types
ALLOWED = {
    "engine": {"", "engine"},
    "structured": {"", "structured", "text"},
    "text": {"", "disk_cache", "text"},
    "models": {"", "models", "quantization"},
    "backends": {"", "backends", "disk_cache", "models", "quantization"},
    "disk_cache": {"", "disk_cache"},
    "quantization": {"", "quantization"},
    "export": {"", "export", "models", "quantization", "text"},
    "server": {"", "server", "engine", "structured", "text"},
}
ABOVE_ALL = {"gradus.llm", "gradus.offline", "gradus.runtime", "gradus.cache_plan", "gradus.memory_plan"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path: Path, *, at_import_time: bool) -> set[str]:
    """Absolute names that a module imports; with `at_import_time`, only what runs when it is imported."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if at_import_time and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if at_import_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layering"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def folder_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def test_the_import_graph_has_no_circle():
    graph = {
        name: {used for used in imports_of(path, at_import_time=True) if used in MODULES and used != name}
        for name, path in MODULES.items()
    }
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "circle: " + " -> ".join((*trail, module))
        if module not in done:
            for used in graph[module]:
                walk(used, (*trail, module))
            done.add(module)

    for module in graph:
        walk(module, ())


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_a_folder_imports_only_what_lies_below_it(folder):
    for name, path in MODULES.items():
        if folder_of(name) != folder:
            continue
        for used in imports_of(path, at_import_time=False):
            if used in MODULES and used != "gradus":
                assert folder_of(used) in ALLOWED[folder], f"{name} imports {used}"
                assert used not in ABOVE_ALL, f"{name} imports {used}"


def test_root_value_types_import_no_folder():
    for name, path in MODULES.items():
        is_value_type = folder_of(name) == "" and name not in {"gradus", "gradus.__main__", *ABOVE_ALL}
        if is_value_type:
            for used in imports_of(path, at_import_time=False):
                assert not (used in MODULES and folder_of(used)), f"{name} imports {used}"


def test_the_engine_knows_no_tensor_library_and_no_web_framework():
    for name, path in MODULES.items():
        if folder_of(name) == "engine":
            used = {module.split(".")[0] for module in imports_of(path, at_import_time=False)}
            assert not used & TENSOR_AND_WEB, f"{name} imports {used & TENSOR_AND_WEB}"


def test_torch_and_transformers_are_imported_by_the_torch_backend_alone():
    a_peer = "gradus.bench.peers.runners.transformers_generate"  # a script for another environment's Python
    for name, path in MODULES.items():
        if not name.startswith("gradus.backends.torch") and name != a_peer:
            used = {module.split(".")[0] for module in imports_of(path, at_import_time=False)}
            assert not used & {"torch", "transformers"}, name


@pytest.mark.parametrize(
    "statement",
    ["import gradus", "from gradus.cli.main import *; build_parser(*COMMANDS)"],
)
def test_light_modules_import_nothing_heavy(statement):
    heavy = sorted(TENSOR_AND_WEB | {"numpy", "rich", "jinja2", "huggingface_hub", "prometheus_client"})
    code = f"import sys; {statement}; print([m for m in {heavy} if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
