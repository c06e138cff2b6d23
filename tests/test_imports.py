"""The house: imports run downward only, each package says what is in it, and ``import funcnn`` stays light."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import funcnn

ROOT = Path(funcnn.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FLOORS = [
    {"aliases", "signals", "spellings", "wording"},
    {"calls", "checks", "notebook", "terminal"},
    {"tree", "rng", "recorded"},
    {"contract", "selection"},
    {"shapes", "cores"},
    {"wrapping"},
    {"protocol"},
    {"engine", "initializers"},
    {"kernels"},
    {"layers"},
    {"losses"},
    {"augment", "optim", "metrics"},
    {"combinators"},
    {"inspect"},
    {"interchange"},
    {"training"},  # its callbacks save checkpoints
    {"derivatives", "distributed"},
    {"datasets", "plot", "testing"},
    {"sklearn"},
    {"__init__"},
]
"""From the ground up, as in DESIGN.md. A room imports from lower floors, and from itself."""

HEAVY = {
    "matplotlib",
    "scipy",
    "pooch",
    "torch",
    "PIL",
    "h5py",
    "onnx",
    "safetensors",
    "keras",
    "mpi4py",
    "sklearn",
    "joblib",
}
ON_DEMAND = {"sklearn"}  # these rooms need an extra, and are themselves imported on use


PACKAGES = sorted(file for file in FILES if file.name == "__init__.py")


def room(module: str) -> str:
    """The room of ``funcnn.layers.conv`` is ``layers``; that of ``funcnn`` itself is ``__init__``."""
    return [*module.split("."), "__init__"][1]


def floor(module: str) -> int:
    """The floor of ``funcnn.layers.conv``; every new room must be given one."""
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


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


def imports_of(file: Path) -> set[str]:
    """The modules of funcnn that a file imports, wherever it does."""
    names = {name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for name in imported(node)}
    return {name for name in names if name.split(".")[0] == "funcnn"}


def is_downward(importer: str, name: str) -> bool:
    return room(importer) == room(name) or floor(name) < floor(importer)


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_run_downward_only(file: Path) -> None:
    here = module_of(file)
    upward = [name for name in imports_of(file) if not is_downward(here, name)]
    assert not upward, f"{here} on floor {floor(here)} imports {upward}, which are not below it"


def test_every_room_has_a_floor_and_every_floor_its_rooms() -> None:
    rooms = [name for names in FLOORS for name in names]
    assert sorted(rooms) == sorted({room(module_of(file)) for file in FILES})


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {module_of(file).removesuffix(".__init__"): imports_of(file) for file in FILES}
    # A package imports its files; what a file of it imports from the package would be a circle.
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("file", PACKAGES, ids=module_of)
def test_every_package_says_in_a_few_sentences_what_is_in_it(file: Path) -> None:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    sentences = [part for part in re.split(r"[.;:](?:\s+|$)", text) if part.strip()]
    assert len(sentences) >= 3, f"{module_of(file)} says only {text!r}"


def test_every_room_that_is_a_folder_is_a_package() -> None:
    folders = {file.parent for file in FILES}
    assert all((folder / "__init__.py").exists() for folder in folders)


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_heavy_packages_are_imported_on_use(file: Path) -> None:
    if room(module_of(file)) in ON_DEMAND:
        return
    for node in at_import_time(ast.parse(file.read_text(encoding="utf-8")).body):
        roots = {name.split(".")[0] for name in imported(node)}
        assert not roots & HEAVY, f"{module_of(file)} imports {roots & HEAVY} when it is imported"


def test_importing_funcnn_loads_nothing_heavy() -> None:
    code = f"import sys, funcnn; print({HEAVY!r} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert found.stdout.strip() == "set()"


def test_importing_funcnn_does_not_load_what_reads_and_writes_onnx() -> None:
    code = "import sys, funcnn; print([name for name in sys.modules if name.startswith('funcnn.interchange.onnx.')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert found.stdout.strip() == "[]"


def test_imports_are_read_correctly() -> None:
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
    assert [room(name) for name in ("funcnn.tree", "funcnn.layers.conv", "funcnn")] == ["tree", "layers", "__init__"]
    assert (
        floor("funcnn.checks")
        == 1
        < floor("funcnn.tree")
        < floor("funcnn.layers.conv")
        < floor("funcnn")
        == len(FLOORS) - 1
    )
    assert is_downward("funcnn.layers.conv", "funcnn.layers.activation")
    assert is_downward("funcnn.layers.conv", "funcnn.kernels.windows")
    assert not is_downward("funcnn.kernels.windows", "funcnn.layers.conv")
    assert not is_downward("funcnn.engine.memory", "funcnn.initializers")
