"""The names: what ``dir`` and ``from funcnn import *`` offer is what users call, and nothing else."""

import builtins
import keyword
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest

import funcnn as fn

ROOT = Path(fn.__file__).parents[1]
AREAS = {name: thing for name in fn.__all__ if isinstance(thing := getattr(fn, name), types.ModuleType)}
ROOMS = [fn.layers, fn.combinators, fn.losses, fn.inspect, fn.interchange, fn.training]


def test_the_areas_are_these() -> None:
    assert set(AREAS) >= {"callbacks", "datasets", "initializers", "metrics", "optim", "plot", "rng", "testing", "tree"}
    assert not set(AREAS) & {"checks", "contract", "cores", "engine", "kernels", "layers", "protocol", "shapes"}


def test_dir_of_the_library_is_what_it_exports() -> None:
    assert dir(fn) == sorted(fn.__all__)
    assert len(set(fn.__all__)) == len(fn.__all__)
    assert {"dense", "fit", "adam", "relu", "Layer", "metrics"} <= set(dir(fn))
    assert not [name for name in dir(fn) if name.startswith("_")]


@pytest.mark.parametrize("module", [*AREAS.values(), *ROOMS], ids=lambda module: module.__name__)
def test_dir_of_a_module_is_what_it_exports(module: Any) -> None:
    assert dir(module) == sorted(module.__all__)
    things = {name: getattr(module, name) for name in dir(module)}
    assert not [name for name, thing in things.items() if thing is None or isinstance(thing, types.ModuleType)]


def test_nothing_public_is_none_or_hides_a_builtin() -> None:
    assert not [name for name in fn.__all__ if getattr(fn, name) is None]
    assert not set(fn.__all__) & {*dir(builtins), *keyword.kwlist, *keyword.softkwlist}


def test_a_star_import_binds_what_is_exported_and_the_guide_advises_against_it() -> None:
    names: dict[str, Any] = {}
    exec("from funcnn import *", names)
    assert {name for name in names if name != "__builtins__"} == set(fn.__all__)
    page = (ROOT / "docs" / "guide" / "install.md").read_text(encoding="utf-8")
    (advice,) = [line for line in page.split("\n\n") if "from funcnn import *" in line]
    assert "import funcnn as fn" in advice


def test_completion_in_a_prompt_offers_no_imports() -> None:
    code = "from funcnn import callbacks, plot; print(dir(callbacks), 'images' in dir(plot))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == f"{sorted(fn.callbacks.__all__)} False"


def test_the_changes_and_the_citation_are_of_this_version() -> None:
    newest = re.search(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert cited is not None
    assert (newest[1], cited[1]) == (fn.__version__, fn.__version__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "funcnn/__init__.py"


def test_the_estimators_are_imported_on_first_use_and_without_scikit_learn_the_error_says_what_to_install() -> None:
    code = """
import sys, funcnn as fn
assert "sklearn" not in sys.modules and "funcnn.sklearn" not in sys.modules
sys.modules["sklearn"] = None  # as if it were not installed
for use in ("fn.sklearn", "from funcnn import sklearn", "import funcnn.sklearn", "fn.sklearn"):
    try:
        exec(use)
    except ModuleNotFoundError as error:
        print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    expected = 'fn.sklearn needs scikit-learn 1.6 or newer: pip install "funcnn[sklearn]"'
    assert found.stdout.splitlines() == [expected] * 4
