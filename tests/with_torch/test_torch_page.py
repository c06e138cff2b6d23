"""The script of PyTorch on the page for those who come from it runs, and learns as the one beside it does."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "coming_from" / "pytorch.md"


def test_the_script_of_pytorch_runs_and_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script, _ = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(script, names)
    assert names["accuracy"] > 0.9
    assert (tmp_path / "model.pt").exists()
