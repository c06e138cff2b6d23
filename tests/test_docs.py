"""The pages that compare names with those of other libraries: every expression of funcnn on them can be evaluated."""

import re
from pathlib import Path
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
    return {
        "fn": fn, "np": np, "model": model, "params": params, "x": x, "labels": labels, "logits": logits,
        "grads": grads, "updates": grads,
    }  # fmt: skip


def test_there_are_pages() -> None:
    assert len(PAGES) == 5
    assert len(EXPRESSIONS) > 100


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_can_be_evaluated(expression: str, names: dict[str, Any]) -> None:
    copied = names | {"params": fn.tree.map(np.copy, names["params"])}
    assert eval(expression, copied) is not None
