"""The checker of losses: ``loss(y, target) -> (value, dy)``, where dy must be the derivative of the value.

A direction v tells a wrong gradient from a right one: ``<dy, v>`` must be the difference of the value along it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Arrays, Rng, Tree
from funcnn.losses import Loss
from funcnn.recorded import spelled
from funcnn.rng import fold, generator
from funcnn.shapes import specs
from funcnn.testing.compare import differing, distance, floats, read_only
from funcnn.testing.laws import FLOAT32_TOLERANCE, MIN_GRADIENT, smallest_error
from funcnn.testing.report import Finding, Report, must_raise, must_return, verdict
from funcnn.training.batching import take

__all__ = ["check_loss"]


def check_loss(loss: Loss, y: Arrays, target: Arrays, rng: Rng = 0, tolerance: float = 1e-6) -> Report:
    """Check a loss alone, against every law of the contract.

    The laws: ``value`` (a finite number), ``gradient`` (dy is its derivative, by central differences in float64),
    ``shape`` and ``dtype`` (dy is like y, and float32 stays float32), ``pure`` (no argument is written to, the same
    arguments give the same bits), ``batch`` (a batch of one example works), ``empty`` (a batch of none raises or has a
    finite value, not NaN), ``target`` (a target for another number of examples raises, it is not broadcast); and
    ``weights``, if the loss has them: weights of 1 change nothing, a weight of 2 counts as two examples, one of 0 as
    none, and weights for another number of examples raise.

    Args:
        loss: ``loss(y, target) -> (value, dy)``, perhaps with a keyword ``weights``.
        y: outputs of a model to check with, two examples or more, an array (n, ...) or a tree of them: away from kinks,
            and probabilities where the loss wants them.
        target: targets for these.
        rng: the key of the directions.
        tolerance: the relative error of a derivative that is allowed, in float64.

    Returns:
        The report, if all is well; ``print`` it to see each error.

    Raises:
        AssertionError: a law is broken; the message is the report.
        TypeError: the loss is not a function, or y or the target is neither an array nor a tree of them.
        ValueError: there are fewer than two examples.

    Example:
        >>> import funcnn as fn
        >>> y, labels = np.array([[0.3, -1.0, 2.0], [1.0, 0.2, 0.1]]), np.array([2, 1])
        >>> check_loss(fn.softmax_cross_entropy, y, labels).passed
        True

    Reference:
        Griewank & Walther 2008, "Evaluating derivatives", section 3.1.
    """
    checks.function("check_loss", "loss", loss)
    y, target = given_batch("check_loss", y, target, np.float64)
    case = Case(loss, tree.map(read_only, y), tree.map(read_only, target))
    case32 = Case(loss, *(tree.map(read_only, cast(part, np.float32)) for part in (y, target)))
    subject = f"{spelled(loss)} on {specs(y)}"
    findings = _forms(case, "float64") + _forms(case32, "float32")
    verdict(Report(subject, tuple(findings)))  # nothing else can be asked of what does not return (value, dy)
    findings += [*_gradients(case, rng, tolerance, ""), _is_close(case, case32)]
    findings += [*_pure(case, "float64"), *_pure(case32, "float32"), *_sizes(case)]
    if checks.takes_keyword(loss, "weights"):
        findings += _weights(case, rng, tolerance)
    return verdict(Report(subject, tuple(findings)))


class Case(NamedTuple):
    """A loss with the arguments to check it on."""

    loss: Callable[..., Any]
    y: Tree
    target: Tree
    weights: Any = None

    def run(self) -> tuple[float, Tree]:
        """Its value and its gradient."""
        value, dy = checks.returned_pair("a loss", self.call(self.y, self.target), "(value, dy)")
        return value, dy

    def call(self, y: Tree, target: Tree) -> Any:
        """What the loss returns, of the weights too if there are some."""
        return self.loss(y, target) if self.weights is None else self.loss(y, target, weights=self.weights)


def given_batch(kind: str, y: Tree, target: Tree, dtype: Any) -> tuple[Tree, Tree]:
    """y and target as arrays or trees of them, with all floats of one dtype, and two examples or more."""
    found = []
    for name, value in (("y", y), ("target", target)):
        value = value if isinstance(value, dict) else checks.array(kind, value, name)
        for leaf in tree.leaves(value):
            if not isinstance(leaf, np.ndarray) or leaf.ndim == 0 or len(leaf) < 2:
                got = f"shape {leaf.shape}" if isinstance(leaf, np.ndarray) else checks.what(leaf)
                raise ValueError(f"{kind}: expected {name} of two examples or more, of shape (n, ...), got {got}")
        found.append(cast(value, dtype))
    return found[0], found[1]


def cast(batch: Tree, dtype: Any) -> Tree:
    """A batch with its floats in a dtype, and all else as it is: unlike ``tree.cast``, texts too."""
    return tree.map(lambda leaf: leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf, batch)


def _forms(case: Case, mode: str) -> list[Finding]:
    """A number, and a gradient like y, with None where the loss does not depend on a leaf."""
    with must_return("value", mode):
        value, dy = case.run()
        number = checks.returned_number("the value of a loss", value)
    y, gradient = tree.flatten({"y": case.y}), tree.flatten({"y": dy})
    wrong_shape, wrong_dtype = float(len(y.keys() ^ gradient.keys())), 0.0
    for path in y.keys() & gradient.keys():
        leaf = gradient[path]
        if leaf is not None:
            wrong_shape += not isinstance(leaf, np.ndarray) or leaf.shape != y[path].shape
            wrong_dtype += getattr(leaf, "dtype", None) != y[path].dtype
    return [
        Finding("value", f"a finite number, {mode}", float(not math.isfinite(number)), 0.0),
        Finding("shape", f"dy is like y, {mode}", wrong_shape, 0.0),
        Finding("dtype", f"dy is of y's dtype, {mode}", wrong_dtype, 0.0),
    ]


def _gradients(case: Case, rng: Rng, tolerance: float, mode: str) -> list[Finding]:
    """For each leaf of y, the worst relative error of three random directions."""
    random = generator(fold(rng, "directions"))
    value, dy = case.run()
    gradients = tree.flatten({"y": dy})
    findings = []
    for path, leaf in tree.flatten({"y": case.y}).items():
        if leaf.dtype.kind != "f":  # lengths, for example, have no gradient
            continue
        gradient = np.zeros_like(leaf) if gradients[path] is None else gradients[path]
        worst = 0.0
        for _ in range(3):
            direction = random.standard_normal(leaf.shape)
            error = partial(_gradient_error, case, path, gradient, direction, MIN_GRADIENT * abs(value))
            worst = max(worst, smallest_error(error, tolerance))
        findings.append(Finding("gradient", f"{path}{mode}", worst, tolerance))
    return findings


def _gradient_error(case: Case, path: str, gradient: Array, direction: Array, least: float, step: float) -> float:
    """How far the gradient along a direction of one leaf of y is from the central difference, relative to its size."""

    def moved(by: Any) -> float:
        point = tree.map_with_path(lambda where, leaf: leaf + by if where == path else leaf, {"y": case.y})
        return float(case.call(point["y"], case.target)[0])

    measured = (moved(step * direction) - moved(-step * direction)) / (2 * step)
    # Where all are smaller than ``least``, differences are rounding noise.
    size = max(abs(measured), float(np.linalg.norm(gradient)), least, 1e-300)
    return abs(measured - float(np.vdot(gradient, direction))) / size


def _is_close(case: Case, case32: Case) -> Finding:
    """The value and the gradient in float32, against float64 at the same point."""
    exact = case._replace(y=cast(case32.y, np.float64), target=cast(case32.target, np.float64))
    (value, dy), (value32, dy32) = exact.run(), case32.run()
    scale = max(abs(value), 1.0)
    error = max(abs(value - value32) / scale, *(distance(a, b) for a, b in floats({"dy": dy}, {"dy": dy32})), 0.0)
    return Finding("dtype", "float32 is close to float64", error, FLOAT32_TOLERANCE)


def _pure(case: Case, mode: str) -> list[Finding]:
    """Nothing is written to, the same bits come again, and what was returned is not changed by another call."""
    with must_return("pure", mode):
        first = [np.array(case.run()[0]), tree.map(np.copy, case.run()[1])]
        value, dy = case.run()
        case.call(tree.map(lambda leaf: leaf[::-1], case.y), tree.map(lambda leaf: leaf[::-1], case.target))
    changed = differing({"value": first[0], "dy": first[1]}, {"value": np.array(value), "dy": dy})
    return [Finding("pure", mode, changed, 0.0)]


def _sizes(case: Case) -> list[Finding]:
    """A batch of one, a batch of none, and targets of fewer examples than there are outputs."""
    with must_return("batch", "one example"):
        one = case._replace(y=take(case.y, slice(1)), target=take(case.target, slice(1))).run()[0]
    empty = 0.0
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            empty = float(case._replace(y=take(case.y, slice(0)), target=take(case.target, slice(0))).run()[0])
    except (ValueError, TypeError):
        pass
    return [
        Finding("batch", "one example", float(not math.isfinite(one)), 0.0),
        Finding("empty", "no example raises, or has a finite value", float(not math.isfinite(empty)), 0.0),
        must_raise("target", "of one example for several", lambda: case.call(case.y, take(case.target, slice(1)))),
    ]


def _weights(case: Case, rng: Rng, tolerance: float) -> list[Finding]:
    """Weights of 1, weights that count as repetitions, the gradient with them, and weights of another shape."""
    n = len(tree.leaves(case.y)[0])
    times = (np.arange(n) + 2) % 3  # 2, 0, 1 and so on
    with must_return("weights", "of 1 and 2"):
        plain, ones = case.run()[0], case._replace(weights=np.ones(n)).run()[0]
        weighted = case._replace(weights=times.astype(np.float64))
        repeated = Case(case.loss, *(tree.map(lambda leaf: np.repeat(leaf, times, 0), x) for x in case[1:3]))
        value, dy = weighted.run()
        expected = repeated.run()[0]
    beside = [float(np.abs(leaf[times == 0]).max(initial=0.0)) for leaf in tree.leaves(dy) if leaf is not None]
    scale = max(abs(plain), abs(expected), 1e-300)
    return [
        Finding("weights", "of 1 change nothing", abs(ones - plain) / scale, 1e-12),
        Finding("weights", "of 2 and 0 count as two examples and none", abs(value - expected) / scale, 1e-12),
        Finding("weights", "of 0 have a gradient of 0", max(beside, default=0.0), 0.0),
        *_gradients(weighted, rng, tolerance, " with weights"),
        must_raise("weights", "of fewer examples", lambda: case._replace(weights=np.ones(n - 1)).run()),
    ]
