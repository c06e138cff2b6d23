"""The README's code runs from top to bottom, as a reader would run it, and prints what the README says."""

import re
from pathlib import Path

import pytest

import funcnn as fn

README = Path(__file__).parents[1] / "README.md"


def test_the_code_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) == text.count("```python")
    namespace: dict[str, object] = {"__name__": "__main__"}
    with fn.use_threads(1):  # on all cores, it takes four times as long beside the tests of another worker
        for block in blocks:
            # Empty lines in front give errors the line numbers of the README.
            lines_before = text.count("\n", 0, block.start(1))
            exec(compile("\n" * lines_before + block[1], str(README), "exec"), namespace)
    printed = capsys.readouterr().out
    (architecture,) = re.findall(r"^```\n(\{.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert architecture in printed
    # The comment beside a call of print is what it prints, up to "..." and but for measured decimals.
    for call, comment in re.findall(r"^print\((.*)\) +# (.*)$", text, re.MULTILINE):
        assert without_decimals(comment.partition("...")[0]) in without_decimals(printed), call


def without_decimals(text: str) -> str:
    """The text without the digits after a decimal point."""
    return re.sub(r"\.\d+", ".", text)


def test_the_readme_has_one_command_that_tests_and_one_that_runs_the_main_job() -> None:
    set_up = "python3 -m venv .venv && .venv/bin/pip install -q -e "
    commands = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("python3 -m venv")]
    assert commands == [
        f"{set_up}. && .venv/bin/python examples/mnist_cnn.py",
        f'{set_up}".[test]" && .venv/bin/python -m pytest',
    ]


def test_the_files_that_the_readme_shows_and_links_exist() -> None:
    files = re.findall(r"\[[^]]*]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert any(name.endswith(".png") for name in files)
    assert [name for name in files if not (README.parent / name).is_file()] == []


def test_the_files_to_which_the_readme_adds_exist_and_the_new_ones_do_not() -> None:
    section = README.read_text(encoding="utf-8").partition("## Where to add what")[2].partition("\n## ")[0]
    paths = re.findall(r"(new )?`([a-z_/]+/(?:[a-z_0-9]+\.py)?)`", section[section.index("| To add") :])
    assert len(paths) > 10
    for new, path in paths:
        root = README.parent if path.startswith("tests/") else README.parent / "funcnn"
        assert (root / path).exists() != bool(new), path
