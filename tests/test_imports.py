"""Imports run downward only, and ``import funcnn`` stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import funcnn

ROOT = Path(funcnn.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FLOORS = [
    {"aliases", "tree", "rng", "threads", "memory"},
    {"layer", "pieces", "kernels", "initializers", "losses", "metrics", "schedules", "targets"},
    {"layers", "optim"},
    {"combinators", "walk", "attribution"},
    {"batching", "train", "architecture", "checkpoint", "summary", "plot", "datasets", "testing", "callbacks"},
    {"__init__"},
]
HEAVY = {"matplotlib", "scipy", "pooch", "torch", "PIL"}


def floor(module: str) -> int:
    """The floor of ``funcnn.layers.conv``; every new file must be given one."""
    first = [*module.split("."), "__init__"][1]
    return next(number for number, names in enumerate(FLOORS) if first in names)


def module_of(file: Path) -> str:
    return ".".join(["funcnn", *file.relative_to(ROOT).with_suffix("").parts])


def imported(node: ast.AST) -> Iterator[str]:
    """What one statement imports; ``from funcnn import tree`` is the module ``funcnn.tree``."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        assert node.module is not None
        for alias in node.names:
            inner = ROOT / alias.name
            is_module = node.module == "funcnn" and (inner.is_dir() or inner.with_suffix(".py").exists())
            yield f"{node.module}.{alias.name}" if is_module else node.module


def at_import_time(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that run when a module is imported: not those of functions, nor those for type checkers."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        for inner in ("body", "orelse", "finalbody"):
            yield from at_import_time(getattr(node, inner, []))
        for handler in getattr(node, "handlers", []):
            yield from at_import_time(handler.body)


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_run_downward_only(file: Path) -> None:
    here = floor(module_of(file))
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        for name in imported(node):
            if name.split(".")[0] == "funcnn":
                assert floor(name) <= here, f"{module_of(file)} on floor {here} imports {name} on floor {floor(name)}"


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_heavy_packages_are_imported_on_use(file: Path) -> None:
    for node in at_import_time(ast.parse(file.read_text(encoding="utf-8")).body):
        roots = {name.split(".")[0] for name in imported(node)}
        assert not roots & HEAVY, f"{module_of(file)} imports {roots & HEAVY} when it is imported"


def test_importing_funcnn_loads_nothing_heavy() -> None:
    code = f"import sys, funcnn; print({HEAVY!r} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert found.stdout.strip() == "set()"


def test_the_reader_of_imports_sees_what_it_should() -> None:
    source = """
import numpy.linalg, funcnn.layers.conv
from funcnn import tree, Layer
try:
    import scipy
except ImportError:
    import torch
if TYPE_CHECKING:
    import matplotlib
def f():
    import pooch
"""
    parsed = ast.parse(source)
    at_import = [name for node in at_import_time(parsed.body) for name in imported(node)]
    assert at_import == ["numpy.linalg", "funcnn.layers.conv", "funcnn.tree", "funcnn", "scipy", "torch"]
    assert {name for node in ast.walk(parsed) for name in imported(node)} - set(at_import) == {"matplotlib", "pooch"}
    assert [floor(name) for name in ("funcnn.tree", "funcnn.layers.conv", "funcnn")] == [0, 2, 5]
