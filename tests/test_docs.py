"""The pages that compare names with those of other libraries: every line of funcnn on them runs."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import funcnn as fn

PAGES = sorted((Path(fn.__file__).parents[1] / "docs" / "coming_from").glob("*.md"))
EXPRESSIONS = [
    pytest.param(expression, id=f"{page.stem}: {expression}")
    for page in PAGES
    for line in page.read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
    for expression in re.findall(r"`([^`]+)`", line.rsplit(" | ", 1)[-1])
]


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the expressions use."""
    model = fn.serial(fn.dense(8, activation="relu"), fn.dense(3))
    params = model.init((8,), rng=0)
    x, labels = np.ones((6, 8), np.float32), np.array([0, 1, 2, 0, 1, 2])
    logits = fn.predict(model, params, x)
    grads = fn.tree.map(np.ones_like, params)
    optimizer = fn.adam(1e-3)
    torch = SimpleNamespace(load=lambda path: fn.params_to_torch(model, params))
    return {
        "fn": fn, "np": np, "model": model, "params": params, "x": x, "labels": labels, "logits": logits,
        "grads": grads, "updates": grads, "step": 0, "optimizer": optimizer, "opt_state": optimizer.init(params),
        "torch": torch, "path": "run.pt",
    }  # fmt: skip


def test_there_are_pages() -> None:
    assert len(PAGES) == 5
    assert len(EXPRESSIONS) > 100


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_line_runs(expression: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fn.save("run.npz", names["params"])
    copied = names | {"params": fn.tree.map(np.copy, names["params"])}
    if re.match(r"[\w, ]+ = ", expression):
        exec(expression, copied)
    else:
        assert eval(expression, copied) is not None


def test_the_script_beside_that_of_pytorch_runs_and_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = next(page for page in PAGES if page.stem == "pytorch").read_text(encoding="utf-8")
    _, script = re.findall(r"^```py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(script, names)
    assert names["accuracy"] > 0.9
    assert fn.load_model("model.npz")[1].keys() == {"dense_0", "dense_1"}
