"""Every reference experiment runs, and its table says what was reported and what came out here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import funcnn as fn

FOLDER = Path(__file__).parents[1] / "examples" / "reference"
SCRIPTS = sorted(path.name for path in FOLDER.glob("s[0-9]*.py"))
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(fn.__file__).parents[1]), "MPLBACKEND": "agg"}


def run(script: str, *options: Any, cwd: Path) -> str:
    """What a script prints; it must end well and write nothing to stderr."""
    command = [sys.executable, str(FOLDER / script), *map(str, options)]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the quick runs of all scripts keep their tables, for table.py to read."""
    return tmp_path_factory.mktemp("reference")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_quick_run_prints_its_table(script: str, kept: Path) -> None:
    file = kept / f"{Path(script).stem}-quick.json"
    lines = run(script, "--quick", "--json", file, cwd=kept).splitlines()
    (head,) = [i for i, line in enumerate(lines) if line.startswith("experiment ")]
    assert ": reported / ours, quick: the scores mean little; " in lines[head - 1]
    assert [word for word in ("reported", "ours", "parameters", "s/epoch", "speed-up") if word not in lines[head]] == []
    rows = json.loads(file.read_text())["rows"]
    assert all(line.startswith(row["experiment"]) for line, row in zip(lines[head + 2 :], rows, strict=True))
    assert rows
    for row in rows:
        theirs, ours = row["reported"], row["ours"]
        assert theirs["score"] is None or isinstance(ours["score"], float), row["experiment"]
        assert theirs["seconds_per_epoch"] is None or row["speed_up"] > 0, row["experiment"]
        assert theirs["parameters"] in (None, ours["parameters"]), row["experiment"]
        # A few steps on a few examples tell nothing about who is better.
        assert row["better"] is None, row["experiment"]


def test_the_layer_table_of_test_3_is_his(tmp_path: Path) -> None:
    lines = run("s1_qviper.py", "--quick", "--only", "Test 3", cwd=tmp_path).splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[:2] == ["Layer", "Name"])
    assert lines[first].split() == ["Layer", "Name", "Input", "Output", "Shape", "Activation", "Bias", "Parameters"]
    assert [line.split()[-1] for line in lines[first + 1 : first + 8]] == [
        "40",
        "0",
        "296",
        "0",
        "0",
        "9,690",
        "10,026",
    ]
    assert lines[first + 1].split()[-3:-1] == ["relu", "True"]
    assert lines[first + 7].split()[0] == "Total"


def test_the_disc_command_has_the_options_of_the_original(tmp_path: Path) -> None:
    options = ["--only", "disc", "-e", "3", "-b", "20", "-s", "8", "-l", "0.01", "-n", "60", "-t", "40"]
    text = run("s0_apiquet.py", *options, cwd=tmp_path)
    assert "  -e 3 -b 20 -s 8 -l 0.01 -n 60 -t 40\n" in text
    # 2-8-8-2: 24 + 72 + 18 parameters, three epochs; errors come in steps of one point of 60 and of 40.
    (row,) = [line for line in text.splitlines() if line.startswith("disc  ")]
    assert "- / 114  " in row
    assert "- / 3  " in row
    (after,) = [line for line in text.splitlines() if line.startswith("  after training: ")]
    train, test = (float(word.rstrip("%,")) / 100 for word in after.split() if word.endswith("%,"))
    assert train * 60 == pytest.approx(round(train * 60), abs=0.01)
    assert test * 40 == pytest.approx(round(test * 40), abs=0.01)


def test_one_command_makes_the_table_of_all_systems_and_puts_it_into_a_page(kept: Path) -> None:
    page = kept / "page.md"
    page.write_text("before\n<!-- reference systems -->\nold\n<!-- end of reference systems -->\nafter\n")
    table = run("table.py", "--quick", "--out", kept, "--write", page, cwd=kept)
    for script in SCRIPTS:
        found = json.loads((kept / f"{Path(script).stem}-quick.json").read_text())
        for row in found["rows"]:
            assert f"| {found['system']} | {row['experiment']} | " in table
    text = page.read_text()
    assert text.startswith("before\n<!-- reference systems -->\n\n| system | experiment | ")
    assert text.endswith("\n<!-- end of reference systems -->\nafter\n")
    assert "old" not in text


def test_a_page_without_marks_is_refused(kept: Path) -> None:
    page = kept / "plain.md"
    page.write_text("nothing")
    with pytest.raises(AssertionError, match="has no place for the table"):
        run("table.py", "--quick", "--out", kept, "--write", page, cwd=kept)
    assert page.read_text() == "nothing"
