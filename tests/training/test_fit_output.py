"""What ``fit`` prints: lines that fit the terminal, the best epoch at the end, and nothing without ``verbose``."""

import copy
import math
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_fit import MODEL, PARAMS, fit, same_bits

import funcnn as fn


def test_without_verbose_nothing_is_printed_also_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with np.errstate(all="warn"), pytest.raises(fn.NonFiniteLossError):
        fit(MODEL, PARAMS, fn.sgd(1e30), epochs=9)  # a warning would be an error here
    assert capsys.readouterr() == ("", "")


LONG_NAMES = [f"mean_of_a_quantity_that_has_a_long_name_{number}" for number in range(8)]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_fit_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    metrics = dict.fromkeys([*LONG_NAMES, "x" * 300], lambda y, target: 0.5)
    callback = fn.callbacks.early_stopping("validation_loss", 9)
    result = fit(epochs=2, verbose=True, metrics=metrics, validation_split=0.3, callbacks=[callback])
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines)) <= width
    heads = [line.split()[1] for line in lines if not line.startswith(" ")]
    assert heads == ["0/2", "1/2", "2/2", "epoch"]
    assert all(line.startswith("    ") for line in lines if not line.startswith(("epoch", "best epoch")))
    # Nothing is lost but the place of the breaks.
    words = "".join(out.split())
    for name in [*LONG_NAMES, "x" * 300]:
        assert words.count(f"train{name}0.5000".replace("_", "")) == len(result.history) + 1


def test_where_the_width_is_not_known_it_is_80(tmp_path: Path) -> None:
    code = """
import numpy as np, funcnn as fn
x, model = np.ones((4, 2), np.float32), fn.dense(2)
metrics = {f"metric_{number}": lambda y, target: 0.5 for number in range(8)}
fn.fit(model, model.init((2,), 0), fn.sgd(0.1), (x, x), fn.mean_squared_error, 1, metrics=metrics)
"""
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=environment | {"PYTHONPATH": str(Path(fn.__file__).parents[1])},
    )  # fmt: skip
    assert 60 < max(map(len, done.stdout.splitlines())) <= 80
    assert done.stderr == ""


def test_the_best_epoch_is_that_of_the_lowest_validation_loss_or_of_early_stopping(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loss_of(values: list[float]) -> Any:
        left = iter([value for value in values for _ in range(2)])  # one for each part
        return lambda y, target: next(left)

    options: dict[str, Any] = {"validation_split": 0.2, "epochs": 3, "verbose": True, "evaluate_every": 1}
    result = fit(metrics={"score": loss_of([4, 9, 3, 2])}, **options)
    losses = [record["validation_loss"] for record in result.history]
    assert result.best is result.history[int(np.argmin(losses))]
    assert (result.by, result.criterion) == (None, ("validation_loss", "min"))
    head = f"best epoch {result.best['epoch']}/3 by validation loss: train loss"
    assert capsys.readouterr().out.splitlines()[-2].startswith(head)

    stop = fn.callbacks.early_stopping("validation_score", 2, "max")
    result = fit(metrics={"score": loss_of([4, 9, 3, 2])}, callbacks=[stop], **options)
    assert (result.by, result.best["epoch"], result.best["validation_score"]) == (("validation_score", "max"), 1, 9)
    assert same_bits(result.params, fit(epochs=1, validation_split=0.2).params)
    assert "best epoch 1/3 by validation score, whose parameters are returned:" in capsys.readouterr().out


def test_a_fit_is_three_and_prints_as_one_line() -> None:
    history = [{"epoch": 0, "seconds": 0.5, "train_loss": 0.25}, {"epoch": 1, "seconds": 2.0, "train_loss": math.nan}]
    result = fn.Fit({"w": np.ones(9)}, {}, history)
    params, opt_state, records = result
    assert (params, opt_state, records) == (result.params, result.opt_state, result.history)
    assert repr(result) == "<Fit: epoch 1, total 2.0 s, best epoch 0 by train loss 0.2500>"
    assert fn.Fit({}, {}, []).best == {}
    assert repr(fn.Fit({}, {}, [])) == "<Fit: not evaluated>"
    chosen = fn.Fit({}, {}, history[:1], ("train_loss", "max"))
    for again in (copy.copy(chosen), pickle.loads(pickle.dumps(chosen)), chosen._replace(params={})):
        assert (again, again.by) == (chosen, ("train_loss", "max"))


def test_what_a_callback_puts_into_a_record_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    fit(verbose=True, callbacks=[lambda record, result: record.update(note="a text")])
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"best epoch \d/2 by train loss: train loss \d\.\d{4}", last)


def test_a_record_before_must_be_one_too() -> None:
    record = {"epoch": 3, "seconds": 2.0, "train_loss": 0.5}
    assert fn.format_record(record, {"epoch": 1, "seconds": 1.5}) == "train loss 0.5000; 2 epochs 0.5 s, total 2.0 s"
    with pytest.raises(TypeError, match="format_record: expected a record of fit, a dict of numbers, got a int"):
        fn.format_record(record, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="format_record: expected a record of fit with 'epoch', got one with"):
        fn.format_record(record, {"seconds": 1.0})
