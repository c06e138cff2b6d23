"""The README's code runs as a reader would run it: from top to bottom, each block after the one before."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_code_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) == text.count("```python")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        # Empty lines in front give errors the line numbers of the README.
        lines_before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_before + block[1], str(README), "exec"), namespace)


def test_the_readme_has_one_command_that_tests_and_one_that_runs_the_main_job() -> None:
    set_up = "python3 -m venv .venv && .venv/bin/pip install -q -e "
    commands = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("python3 -m venv")]
    assert commands == [
        f"{set_up}. && .venv/bin/python examples/mnist_cnn.py",
        f'{set_up}".[test]" && .venv/bin/python -m pytest',
    ]


def test_the_pictures_of_the_readme_exist() -> None:
    pictures = re.findall(r"!\[[^]]*]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert pictures
    assert [name for name in pictures if not (README.parent / name).is_file()] == []
