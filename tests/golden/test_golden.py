"""Today's outputs, gradients, trained parameters and files are those that the fixture holds, to rounding.

A case that the fixture knows and the library no longer has fails; one that only the library has is not compared.
"""

from typing import Any

import numpy as np
import pytest

from . import cases, fixture, record

RECORDED = fixture.read()


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name, dtypes in RECORDED.items() for dtype in dtypes])
def test_same_as_recorded(name: str, dtype: str) -> None:
    assert name in cases.cases(), f"recorded, but no longer there: {name}"
    wrong = fixture.differences(name, dtype, RECORDED[name][dtype], cases.observe(name, dtype))
    assert not wrong, f"{len(wrong)} of {len(RECORDED[name][dtype])} arrays differ\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda leaf: leaf * (1 + 1e-8), "differs by"),
        (lambda leaf: leaf + 1e-7 * (np.arange(leaf.size).reshape(leaf.shape) == 1), "differs by"),
        (lambda leaf: leaf.astype(np.float32), "was float64"),
        (lambda leaf: leaf.reshape(-1), "was float64"),
        (lambda leaf: leaf * np.nan, "differs by inf"),
    ],
    ids=["scaled", "one number", "dtype", "shape", "NaN"],
)
def test_a_change_is_seen(change: Any, words: str) -> None:
    name, path = "layer dense(4) on (5,)", "train/grads/w"
    seen = cases.observe(name, "float64")
    (found,) = fixture.differences(name, "float64", RECORDED[name]["float64"], seen | {path: (change(seen[path][0]),)})
    assert found.startswith(path)
    assert words in found


def test_a_missing_array_is_seen() -> None:
    name = "optimizer adam"
    seen = {path: arrays for path, arrays in cases.observe(name, "float32").items() if path != "params/conv/b"}
    (found,) = fixture.differences(name, "float32", RECORDED[name]["float32"], seen)
    assert found.startswith("params/conv/b: missing")


def test_the_fixture_is_not_overwritten_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["record"])
    before = fixture.FILE.read_bytes()
    with pytest.raises(SystemExit, match="--force"):
        record.main()
    assert fixture.FILE.read_bytes() == before
