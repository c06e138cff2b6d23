"""The checker of metrics: ``metric(y, target) -> number``, a pure function of all examples.

``fit`` and ``evaluate`` record what it returns, so that it must be one number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Arrays, Tree
from funcnn.recorded import spelled
from funcnn.shapes import specs
from funcnn.testing.compare import differing, read_only
from funcnn.testing.laws import FLOAT32_TOLERANCE
from funcnn.testing.losses import cast, given_batch
from funcnn.testing.report import Finding, Report, must_raise, must_return, verdict
from funcnn.training.batching import take
from funcnn.training.evaluate import Metric

__all__ = ["check_metric"]


def check_metric(metric: Metric, y: Arrays, target: Arrays) -> Report:
    """Check a metric alone, against every law of the contract.

    The laws: ``number`` (it returns one number, not an array), ``pure`` (no argument is written to, the same arguments
    give the same bits), ``dtype`` (float32 gives what float64 gives, to rounding), ``batch`` (one example works, unless
    the metric raises a ValueError that says that it is undefined for it); and ``weights``, if the metric has them:
    weights of 1 change nothing, a weight of 2 counts as two examples, one of 0 as none, and weights for another number
    of examples raise.

    Args:
        metric: ``metric(y, target) -> number``, perhaps with a keyword ``weights``.
        y: outputs of a model to check with, two examples or more, an array (n, ...) or a tree of them.
        target: targets for these.

    Returns:
        The report, if all is well; ``print`` it to see each error.

    Raises:
        AssertionError: a law is broken; the message is the report.
        TypeError: the metric is not a function, or y or the target is neither an array nor a tree of them.
        ValueError: there are fewer than two examples.

    Example:
        >>> import funcnn as fn
        >>> y, labels = np.array([[0.3, 0.7], [0.9, 0.1], [0.6, 0.4]]), np.array([1, 0, 1])
        >>> check_metric(fn.metrics.accuracy, y, labels).passed
        True
    """
    checks.function("check_metric", "metric", metric)
    y, target = (tree.map(read_only, batch) for batch in given_batch("check_metric", y, target, np.float64))
    with must_return("number", "of all examples"):
        value = _number(metric, y, target)
    with must_return("pure", "a second call"):
        _number(metric, tree.map(lambda leaf: leaf[::-1], y), tree.map(lambda leaf: leaf[::-1], target))
        again = _number(metric, y, target)
    with must_return("dtype", "float32"):
        close = _gap(value, _number(metric, cast(y, np.float32), cast(target, np.float32)))
    with must_return("batch", "one example"):
        try:
            _number(metric, take(y, slice(1)), take(target, slice(1)))
        except ValueError as error:
            if "undefined" not in str(error):
                raise
    findings = [
        Finding("number", "of all examples", 0.0, 0.0),
        Finding("pure", "the same bits again", differing(np.array(value), np.array(again)), 0.0),
        Finding("dtype", "float32 is close to float64", close, FLOAT32_TOLERANCE),
        Finding("batch", "one example", 0.0, 0.0),
    ]
    if checks.takes_keyword(metric, "weights"):
        findings += _weights(metric, y, target, value)
    return verdict(Report(f"{spelled(metric)} on {specs(y)}", tuple(findings)))


def _number(metric: Callable[..., Any], y: Tree, target: Tree, **options: Any) -> float:
    """What the metric returns, or an error if that is not one number."""
    return checks.returned_number("a metric", metric(y, target, **options))


def _gap(one: float, other: float) -> float:
    """The difference of two numbers, relative to the larger one; 0 of NaN and NaN."""
    if np.array_equal(one, other, equal_nan=True):
        return 0.0
    return abs(one - other) / max(abs(one), abs(other))


def _weights(metric: Callable[..., Any], y: Tree, target: Tree, value: float) -> list[Finding]:
    """Weights of 1, weights that count as repetitions, and weights of another shape."""
    n = len(tree.leaves(y)[0])
    times = 1 + np.arange(n) % 2
    times[0] = 0 if n > 2 else 2  # with two examples, one alone could be too few
    with must_return("weights", "of 1 and 2"):
        ones = _number(metric, y, target, weights=np.ones(n))
        weighted = _number(metric, y, target, weights=times.astype(np.float64))
        repeated = _number(metric, *(tree.map(lambda leaf: np.repeat(leaf, times, 0), batch) for batch in (y, target)))
    return [
        Finding("weights", "of 1 change nothing", _gap(value, ones), 1e-12),
        Finding("weights", "of 2 and 0 count as two examples and none", _gap(repeated, weighted), 1e-12),
        must_raise("weights", "of fewer examples", lambda: metric(y, target, weights=np.ones(n - 1))),
    ]
