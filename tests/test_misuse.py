"""What users get wrong, and what they are told: a row of a table is a call and its error, or its right value.

The tables are ``misuse/*.txt``, one for each area. A row is ``call  !!  ErrorType: words of the message`` or, where the
call only looks wrong, ``call  ==  value``; two spaces stand around the sign. Lines that begin with ``#`` are headings.
"""

import re
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from tests.misuse.frame import Frame

LIBRARY = Path(fn.__file__).parent
KINDS = {"TypeError": TypeError, "ValueError": ValueError, "AttributeError": AttributeError}
PRINTED = re.compile(r"\b(array|tensor|matrix)\(|\n")
"""What a message contains that prints an array or a tensor."""
ROWS = [
    (file.stem, row)
    for file in sorted((Path(__file__).parent / "misuse").glob("*.txt"))
    for row in file.read_text(encoding="utf-8").splitlines()
    if row and not row.startswith("#")
]


def names() -> dict[str, Any]:
    """What the calls may use; every array is read-only, so that no row changes it for another."""
    x, image = np.ones((4, 3), np.float32), np.ones((2, 6, 6, 1), np.float32)
    dense, conv, norm = fn.dense(2), fn.conv2d(2, 3), fn.batch_norm()
    model = fn.serial(fn.dense(4), fn.relu, fn.dense(2))
    w, grads = {"w": np.ones((2, 2), np.float32)}, {"w": np.full((2, 2), 0.5, np.float32)}
    adam = fn.adam(0.1)
    found = {
        "np": np, "fn": fn, "tree": fn.tree, "rng": fn.rng, "schedules": fn.schedules, "initializers": fn.initializers,
        "nan": float("nan"), "inf": float("inf"), "x": x, "image": image, "masked": np.ma.array(x, mask=x > 0),
        "matrix": np.asmatrix(x), "dense": dense, "params": dense.init((3,), 0), "conv": conv,
        "conv_params": conv.init((6, 6, 1), 0), "norm": norm, "norm_params": norm.init((3,), 0), "model": model,
        "model_params": model.init((3,), 0), "w": w, "grads": grads, "adam": adam, "state": adam.init(w),
    }  # fmt: skip
    history = [{"epoch": 0, "train_loss": 2.0}, {"epoch": 1, "train_loss": 1.0}]
    found |= {
        "frame": Frame(), "labels": np.array([0, 1, 0, 1]), "table": np.ones((4, 3), np.int64), "metrics": fn.metrics,
        "result": fn.Fit(found["model_params"], {}, history), "history": history, "loss": fn.mean_squared_error,
        "logits": np.array([[0.5, 1.5], [1.0, 0.0], [2.0, 0.5], [0.0, 3.0]], np.float32), "callbacks": fn.callbacks,
        "p": np.array([0.25, 0.75, 0.5, 1.0]), "data": (x, np.zeros((4, 2), np.float32)), "plot": fn.plot,
    }  # fmt: skip
    mha, series = fn.multi_head_attention(2), np.ones((2, 5, 6), np.float32)
    found |= {
        "series": series, "heads": np.ones((2, 5, 3, 4), np.float32), "mha": mha, "mha_params": mha.init((5, 6), 0),
        "cached_k": np.ones((2, 3, 2, 3), np.float32),
    }  # fmt: skip
    found["y"], found["vjp"] = dense.apply(found["params"], x)
    for value in found.values():
        for leaf in fn.tree.leaves(value) if isinstance(value, dict) else [value]:
            if isinstance(leaf, np.ndarray):
                leaf.flags.writeable = False
    return found


with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)  # np.matrix
    NAMES = names()


@pytest.mark.parametrize(("area", "row"), ROWS, ids=[f"{area}: {row[:90]}" for area, row in ROWS])
def test_a_wrong_call_raises_what_the_table_says(area: str, row: str) -> None:
    call, sign, expected = row.partition("  !!  ")
    if not sign:
        call, _, value = row.partition("  ==  ")
        assert eval(call, dict(NAMES)) == eval(value, dict(NAMES))
        return
    kind, _, words = expected.partition(": ")
    with pytest.raises(KINDS[kind]) as caught:
        eval(call, dict(NAMES))
    assert words in str(caught.value)
    assert not PRINTED.search(str(caught.value))
    # Not a text of Python or NumPy that passed through.
    where = Path(traceback.extract_tb(caught.value.__traceback__)[-1].filename)
    assert LIBRARY in where.parents, f"raised in {where}"


def test_there_are_enough_rows() -> None:
    assert len({row for _, row in ROWS}) == len(ROWS) >= 800
