"""mypy and pyright accept the pages, the examples and a typed script, and report each wrong call."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import funcnn as fn

ROOT = Path(fn.__file__).parents[1]
HERE = Path(__file__).parent
RIGHT, WRONG = HERE / "right.py", HERE / "wrong.py"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
EXPERIMENTS = sorted((ROOT / "examples" / "reference").glob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
Found = list[tuple[Path, int, str]]


def mypy(files: Sequence[Path], folder: Path, option: str = "--check-untyped-defs") -> Found:
    """The errors of mypy in these files, each with its line and the message; also in functions without annotations."""
    run = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--config-file=", "--show-absolute-path", option,
            "--disable-error-code=import-untyped", *files,  # other packages have no types
        ],
        cwd=folder, env=os.environ | {"MYPYPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stderr == ""
    lines = re.findall(r"^(.+?):(\d+): error: (.*)$", run.stdout, re.MULTILINE)
    assert bool(lines) == bool(run.returncode), run.stdout
    return [(Path(path), int(line), text) for path, line, text in lines if Path(path) in files]


def pyright(files: Sequence[Path], folder: Path) -> Found:
    """Those of pyright."""
    run = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *files],
        cwd=ROOT, env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] == len(files)
    return [
        (Path(found["file"]), found["range"]["start"]["line"] + 1, found["message"])
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    ]


CHECKERS = {"mypy": mypy, "pyright": pyright}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code of each page as a script, whose lines have the numbers that they have in the page."""
    found = tmp_path_factory.mktemp("types")
    for page in PAGES:
        inside, lines = False, []
        for line in page.read_text(encoding="utf-8").splitlines():
            inside = line == "```python" or (inside and line != "```")
            lines.append(line if inside and line != "```python" else "")
        (found / f"page_{page.stem}.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return found


@pytest.fixture(scope="module", params=CHECKERS)
def found(request: pytest.FixtureRequest, folder: Path) -> Found:
    """What a checker reports in all scripts."""
    return CHECKERS[request.param]([*sorted(folder.glob("page_*.py")), *EXAMPLES, *EXPERIMENTS, RIGHT, WRONG], folder)


def test_a_checker_accepts_the_pages_the_examples_and_the_typed_script(found: Found) -> None:
    assert [error for error in found if error[0] != WRONG] == []


def test_a_checker_reports_each_wrong_line_and_no_other(found: Found) -> None:
    lines = WRONG.read_text(encoding="utf-8").splitlines()
    expected = {number for number, line in enumerate(lines, start=1) if line.endswith("  # error")}
    assert len(expected) > 200
    reported = {line: text for path, line, text in found if path == WRONG}
    assert [lines[number - 1] for number in sorted(expected - reported.keys())] == []
    assert {number: reported[number] for number in reported.keys() - expected} == {}


def test_strict_mypy_accepts_the_typed_script(folder: Path) -> None:
    assert mypy([RIGHT], folder, "--strict") == []
