"""Every loss and metric of the library keeps the laws, and the checkers notice those that do not."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import metrics
from funcnn.aliases import Array
from funcnn.recorded import spelled
from funcnn.testing import check_layer, check_loss, check_metric, table_of_losses
from funcnn.testing.report import print_all

RNG = np.random.default_rng(0)
Y = RNG.random((6, 3))
P = Y / Y.sum(axis=1, keepdims=True)
NUMBERS = RNG.random((6, 3))
LABELS = np.array([0, 2, 1, 1, 0, 2])

TABLE = table_of_losses()
LOSSES: dict[str, tuple[Any, Array, Array]] = {
    "mean_squared_error": (fn.mean_squared_error, Y, NUMBERS),
    "softmax_cross_entropy": (fn.softmax_cross_entropy, Y, LABELS),
    "categorical_cross_entropy": (fn.categorical_cross_entropy, P, LABELS),
}
BY_CLASS = [
    "accuracy", "average_precision", "balanced_accuracy", "calibration_error", "error_rate", "f1", "log_loss",
    "matthews_correlation", "precision", "recall", "roc_auc",
]  # fmt: skip
METRICS: dict[str, tuple[Any, Array, Array]] = {
    **{name: (getattr(metrics, name), P, LABELS) for name in BY_CLASS},
    **{name: (getattr(metrics, name), Y, NUMBERS) for name in ("mae", "r2", "rmse")},
    "top_k_accuracy": (partial(metrics.top_k_accuracy, k=2), P, LABELS),
    "f1 of labels": (partial(metrics.f1, multilabel=True), Y, (NUMBERS > 0.5).astype(int)),
}


@pytest.mark.parametrize("row", TABLE, ids=[f"{number} {spelled(loss)}" for number, (loss, *_) in enumerate(TABLE)])
def test_every_loss_keeps_every_law(row: tuple[Any, Any, Array]) -> None:
    report = check_loss(*row)
    assert 0 < report.largest_error < 1e-8
    laws = {finding.law for finding in report.findings}
    assert laws == {"value", "shape", "dtype", "gradient", "pure", "batch", "empty", "target", "weights"}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_keeps_every_law(name: str) -> None:
    report = check_metric(*METRICS[name])
    assert {finding.law for finding in report.findings} == {"number", "pure", "dtype", "batch", "weights"}


def test_everything_public_is_in_the_tables() -> None:
    several = {"confusion_matrix", "roc_curve", "precision_recall_curve", "calibration_curve"}  # return arrays
    assert {name.split()[0] for name in METRICS} == set(metrics.__all__) - several


def test_the_command_lists_every_layer_activation_and_loss(capsys: pytest.CaptureFixture[str]) -> None:
    reports = {"losses": [check_loss(*row) for row in TABLE[:2]], "layers": [check_layer(fn.dense(2), (3,))]}
    print_all(reports)
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("The largest error of a derivative, of losses:")
    assert re.fullmatch(r"  \d.\de-\d\d mean_squared_error on spec\(\(3,\), 'float64'\)", lines[start + 1])
    assert lines[-2].startswith("2 losses and 1 layers keep every law; the largest error of a derivative is")


def failed(law: str, subject: str = "") -> str:
    """What a line of the report looks like that says so."""
    return rf"  {law} +{subject}.*  FAILED"


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("factor", [1.001, 0.999, -1.0])
def test_a_gradient_that_is_wrong_by_a_thousandth_fails(name: str, factor: float) -> None:
    loss, y, target = LOSSES[name]

    def wrong(y: Array, target: Any, weights: Any = None) -> tuple[float, Array]:
        value, dy = loss(y, target, weights=weights)
        return value, factor * dy

    with pytest.raises(AssertionError, match=failed("gradient", "y")) as caught:
        check_loss(wrong, y, target)
    assert set(re.findall(r"  (\w+) .*FAILED", str(caught.value))) == {"gradient"}


def test_a_loss_of_several_outputs_and_one_that_ignores_an_output() -> None:
    def loss(y: Any, target: Any) -> tuple[float, Any]:
        value, dy = fn.softmax_cross_entropy(y["a"], target)
        return value, {"a": dy, "b": None}

    report = check_loss(loss, {"a": Y, "b": NUMBERS}, LABELS)
    assert [f.subject for f in report.findings if f.law == "gradient"] == ["y/a", "y/b"]

    def forgets(y: Any, target: Any) -> tuple[float, Any]:
        value, dy = loss(y, target)
        return value + float(y["b"].sum()), dy

    with pytest.raises(AssertionError, match=failed("gradient", "y/b")):
        check_loss(forgets, {"a": Y, "b": NUMBERS}, LABELS)


def right(y: Array, target: Any, weights: Any = None) -> tuple[float, Array]:
    return fn.mean_squared_error(y, target, weights=weights)


def writes_to_y(y: Array, target: Any) -> tuple[float, Array]:
    y -= target
    return float((y * y).mean()), 2 * y / y.size


def draws(y: Array, target: Any) -> tuple[float, Array]:
    value, dy = right(y, target)
    return value + 1e-14 * np.random.default_rng().random(), dy


def broadcasts(y: Array, target: Any) -> tuple[float, Array]:
    if not len(y):
        raise ValueError("no example")
    return float(((y - target) ** 2).mean()), 2 * (y - target) / y.size


def returns_float64(y: Array, target: Any) -> tuple[float, Array]:
    value, dy = right(y, target)
    return value, dy.astype(np.float64)


def sums_dy(y: Array, target: Any) -> tuple[float, Array]:
    value, dy = right(y, target)
    return value, dy.sum(axis=0)


def returns_each(y: Array, target: Any) -> tuple[Any, Array]:
    return ((y - target) ** 2).mean(axis=1), right(y, target)[1]


def returns_the_value(y: Array, target: Any) -> Any:
    return right(y, target)[0]


def diverges(y: Array, target: Any) -> tuple[float, Array]:
    return float("nan"), right(y, target)[1]


def of_nothing(y: Array, target: Any) -> tuple[float, Array]:
    return right(y, target) if len(y) else (float("nan"), y)


def needs_two(y: Array, target: Any) -> tuple[float, Array]:
    if len(y) == 1:
        raise IndexError("one")
    return right(y, target)


def reuses_its_output() -> Callable[..., Any]:
    buffer = np.empty((6, 3))

    def loss(y: Array, target: Any) -> tuple[float, Array]:
        value, dy = right(y, target)
        if y.shape != buffer.shape or y.dtype != buffer.dtype:
            return value, dy
        buffer[...] = dy
        return value, buffer

    return loss


def ignores_weights(y: Array, target: Any, weights: Any = None) -> tuple[float, Array]:
    return right(y, target)


def sums_weights(y: Array, target: Any, weights: Any = None) -> tuple[float, Array]:
    value, dy = right(y, target, weights)
    total = 1.0 if weights is None else float(np.sum(weights))
    return value * total, dy * y.dtype.type(total)


def forgets_weights_in_dy(y: Array, target: Any, weights: Any = None) -> tuple[float, Array]:
    return right(y, target, weights)[0], right(y, target)[1]


@pytest.mark.parametrize(
    ("loss", "law"),
    [
        (writes_to_y, "pure|value"),
        (draws, "pure"),
        (reuses_its_output(), "pure"),
        (broadcasts, "target"),
        (returns_float64, "dtype"),
        (sums_dy, "shape"),
        (returns_each, "value"),
        (returns_the_value, "value"),
        (diverges, "value"),
        (of_nothing, "empty"),
        (needs_two, "batch"),
        (ignores_weights, "weights"),
        (sums_weights, "weights"),
        (forgets_weights_in_dy, "gradient"),
    ],
)
def test_a_loss_that_breaks_a_law_fails_by_its_name(loss: Callable[..., Any], law: str) -> None:
    check_loss(right, Y, NUMBERS)
    with pytest.raises(AssertionError, match=failed(f"({law})")):
        check_loss(loss, Y, NUMBERS)


def accuracy(y: Array, target: Array, weights: Any = None) -> float:
    return metrics.accuracy(y, target, weights=weights)


@pytest.mark.parametrize(
    ("metric", "law"),
    [
        (lambda y, t: y.argmax(1) == t, "number"),
        (lambda y, t: (y.argmax(1) == t).mean(keepdims=True), "number"),
        (lambda y, t: None, "number"),
        (lambda y, t: "0.5", "number"),
        (lambda y, t: (0.5, 1), "number"),
        (lambda y, t: float(y.sort() or 0), "number"),  # the array is read-only
        (lambda y, t: np.random.default_rng().random(), "pure"),
        (lambda y, t: float(y.dtype.itemsize), "dtype"),
        (lambda y, t: float(y[1, 0]), "batch"),
        (lambda y, t: float(y[:, 0].std(ddof=len(y) - 1)) if len(y) > 1 else int("x"), "batch"),
        (lambda y, t, weights=None: accuracy(y, t), "weights"),
        (lambda y, t, weights=None: accuracy(y, t, weights) * (1 if weights is None else sum(weights)), "weights"),
        (lambda y, t, weights=None: accuracy(y, t, None if weights is None else [*weights, 1][: len(y)]), "weights"),
    ],
)
def test_a_metric_that_breaks_a_law_fails_by_its_name(metric: Callable[..., Any], law: str) -> None:
    check_metric(accuracy, P, LABELS)
    check_metric(lambda y, t: (y.argmax(1) == t).mean(), P, LABELS)  # a number of NumPy's is one
    with pytest.raises(AssertionError, match=failed(law)):
        check_metric(metric, P, LABELS)


def test_arguments_that_cannot_be_checked_raise() -> None:
    for check in (check_loss, check_metric):
        with pytest.raises(TypeError, match=f"{check.__name__}: .*expected a function"):
            check("mean", Y, NUMBERS)  # type: ignore[operator]
        with pytest.raises(ValueError, match=rf"{check.__name__}: expected y of two examples .*got shape \(1, 3\)"):
            check(fn.mean_squared_error, Y[:1], NUMBERS[:1])  # type: ignore[operator]
        with pytest.raises(ValueError, match=f"{check.__name__}: expected target of two examples"):
            check(fn.mean_squared_error, Y, 3.0)  # type: ignore[operator]
        with pytest.raises(TypeError, match=f"{check.__name__}: expected a plain array as y, got MaskedArray"):
            check(fn.mean_squared_error, np.ma.array(Y), NUMBERS)  # type: ignore[operator]
