"""The language models of the examples train as the same models in PyTorch do, from one start on the same batches."""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.torch

EXAMPLES = Path(__file__).parents[2] / "examples"
OPTIONS = {
    "gpt": "--width 16 --heads 2 --blocks 2 --batch 4 --length 12 --steps 12 --every 4",
    # More steps than there are parts: a stream begins again.
    "char_lstm": "--units 16 --batch 16 --length 24 --steps 12 --every 4",
}


@pytest.mark.parametrize("name", OPTIONS)
def test_both_have_the_same_losses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    peer = runpy.run_path(str(EXAMPLES / "reference" / "shakespeare_torch.py"))
    example = peer["MODELS"][name][0]
    text = tmp_path / "text.txt"
    text.write_text((EXAMPLES / "shakespeare.txt").read_text(encoding="utf-8")[:4000], encoding="utf-8")
    options = example.arguments(["--data", str(text), *OPTIONS[name].split(), "--out", str(tmp_path)])
    theirs = peer["learn"](name, options)
    symbols, train, validation = example.shakespeare.read(options.data)
    _, ours, out = example.learn(
        example.network(len(symbols), options), example.rule(options), train, validation, options
    )
    for key in ("epoch", "train_loss", "validation_loss"):
        # float32 on both sides: losses near 3, and twelve steps amplify rounding errors of 1e-7.
        np.testing.assert_allclose([r[key] for r in ours], [r[key] for r in theirs], rtol=1e-5)
    assert ours[-1]["train_loss"] < ours[0]["train_loss"] - 0.05
    peer["beside"](ours, theirs, out / "beside.png")
    assert (out / "beside.png").read_bytes().startswith(b"\x89PNG")
