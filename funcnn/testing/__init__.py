"""The checker of layers: a layer's ``vjp_fn`` must be the derivative of its output, and the layer must obey every law.

One random direction tells a wrong derivative from a right one: for a tangent v and a cotangent dy the two numbers
``<dy, J v>`` (measured by two evaluations) and ``<vjp_fn(dy), v>`` must agree, whatever the size of the layer.
``python -m funcnn.testing`` prints the report of every layer of the library.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Params, Rng, Shape, Tree
from funcnn.combinators import serial
from funcnn.engine.microbatch import microbatches, output
from funcnn.protocol import Layer, as_layer, declared, named, per_example
from funcnn.rng import as_key, fold, generator
from funcnn.testing.table import table_of_layers

__all__ = ["Finding", "Report", "check_layer", "check_vjp", "microbatches", "table_of_layers"]

STEPS = (1e-5, 1e-6)
"""Step sizes of the central difference: a kink within one of them spoils that one, a wrong derivative spoils both."""

BLIND = 1e-3
"""Gradients smaller than this fraction of ``dy`` are judged on its scale: below it differences are rounding noise."""

FLOAT32_TOLERANCE = 1e-3
"""What float32 may differ from float64, relative to the largest number: 2**-23 times a few thousand terms."""


@dataclass(frozen=True)
class Finding:
    """One law, on what it was checked, how far it was missed and how far is allowed."""

    law: str
    subject: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "FAILED"
        return f"  {self.law:<10} {self.subject:<44} {self.error:9.1e} of {self.tolerance:7.1e}  {verdict}"


@dataclass(frozen=True)
class Report:
    """All findings on one layer; prints as a table."""

    subject: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether every law was kept."""
        return all(finding.passed for finding in self.findings)

    @property
    def largest_error(self) -> float:
        """The largest error of a derivative, over all paths."""
        return max((f.error for f in self.findings if f.law == "adjoint"), default=0.0)

    def __str__(self) -> str:
        return "\n".join([self.subject, *(str(finding) for finding in self.findings)])


def check_vjp(
    apply: Callable[..., Any], params: Params, x: Array, rng: Rng | None = None, tolerance: float = 1e-6
) -> Report:
    """Compare ``vjp_fn`` with measured derivatives, per parameter path and for the input.

    For each of them, error = |<dy, J v> - <vjp_fn(dy), v>| / size of the gradient, the worst of three random pairs.

    Args:
        apply: ``apply(params, x)`` or ``apply(params, x, rng)``, as in a layer.
        params: its parameters; cast to float64 here.
        x: its input; cast to float64 here.
        rng: a key for training mode, None for inference.
        tolerance: the relative error that is allowed.

    Returns:
        The report, if all is well.

    Raises:
        AssertionError: a derivative is wrong; the message is the report.

    Example:
        >>> import funcnn as fn
        >>> init, apply = fn.dense(3)
        >>> report = check_vjp(apply, init((2,), 0), np.ones((4, 2)))
        >>> [finding.subject for finding in report.findings]
        ['params/b', 'params/w', 'x']

    Reference:
        Griewank & Walther 2008, "Evaluating derivatives", section 3.1: <dy, J v> = <J^T dy, v>.
    """
    layer = _unchecked(as_layer(((lambda shape, rng: {}), apply)))
    findings = _adjoint(layer, tree.cast(params, np.float64), np.asarray(x, np.float64), rng, "", tolerance)
    return _verdict(Report("check_vjp", tuple(findings)))


def check_layer(layer: Any, shape: Shape, rng: Rng = 0, batch: int = 3, tolerance: float = 1e-6) -> Report:
    """Check a layer alone, against every law of the contract.

    The laws: ``adjoint`` (the vjp is the derivative, training and predicting), ``pure`` (no argument is written to,
    the same arguments give the same bits), ``reentrant`` (``vjp_fn`` may be called again, from any thread),
    ``shape``, ``dtype``, ``batch`` (a batch gives what its examples give one by one; batches of 0 and 1 work),
    ``params`` (nested dicts of float32 arrays), ``order`` (the memory order of the input does not matter),
    ``input_grad`` (leaving out dx changes nothing else), ``one`` (one function: the same values alone, inside a
    combinator, cut into microbatches and predicting; and a claim of ``per_example`` is true, in training too).

    Args:
        layer: a ``Layer`` or a pair ``(init, apply)``.
        shape: of one example, without the batch axis.
        rng: the key of parameters, inputs and training mode.
        batch: how many examples to check with, ``>= 2``.
        tolerance: the relative error of a derivative that is allowed, in float64.

    Returns:
        The report, if all is well; ``print`` it to see the error for each parameter path.

    Raises:
        AssertionError: a law is broken; the message is the report.

    Example:
        >>> import funcnn as fn
        >>> report = check_layer(fn.dense(4), shape=(3,))
        >>> report.passed, report.largest_error < 1e-8
        (True, True)
    """
    whole = as_layer(layer)
    layer = _unchecked(whole)
    key = as_key(rng)
    subject = f"{whole!r} on {shape}"
    # A stream of its own: directions drawn from the same numbers as the input would be parallel to it.
    random = generator(fold(key, "x"))
    params32 = layer.init(shape, key)
    findings = [_params_are_plain(params32)]
    _verdict(Report(subject, tuple(findings)))  # nothing else can be asked of what is no tree of arrays
    x = random.standard_normal((batch, *shape))
    params32 = tree.map(lambda leaf: _measured(leaf, random), params32)
    params = tree.cast(params32, np.float64)
    for mode, used in (("training", key), ("predicting", None)):
        findings += _adjoint(layer, params, x, used, f" {mode}", tolerance)
        findings += _laws(layer, params, x, used, mode)
        findings += _laws(layer, params32, x.astype(np.float32), used, f"{mode}, float32")
        findings.append(_float32_is_close(layer, params, params32, x, used, mode))
    findings += _batches(layer, params, x, key)
    _verdict(Report(subject, tuple(findings)))  # a layer that breaks these laws cannot keep the next
    findings += _one_function(whole, params, x, key)
    return _verdict(Report(subject, tuple(findings)))


def _adjoint(layer: Layer, params: Params, x: Array, rng: Rng | None, mode: str, tolerance: float) -> list[Finding]:
    """Law 1, for each parameter and for the input: the worst error of three random pairs (dy, v)."""
    random = generator(fold(0, "directions"))
    shapes = {path: np.shape(leaf) for path, leaf in tree.flatten(_point(params, x)).items()}
    worst = dict.fromkeys(shapes, 0.0)
    for _ in range(3):
        y, vjp_fn = layer.apply(params, x, rng)
        dy = random.standard_normal(y.shape)
        gradients = tree.flatten(_point(*vjp_fn(dy)))
        for subject, gradient in gradients.items():
            if subject not in shapes or np.shape(gradient) != shapes[subject]:
                worst[subject] = math.inf
                continue
            tangent = random.standard_normal(np.shape(gradient))
            claimed = float(np.vdot(gradient, tangent))
            errors = []
            for step in STEPS:
                ahead, behind = (
                    layer.apply(*_moved(params, x, subject, sign * step * tangent), rng)[0] for sign in (1, -1)
                )
                measured = float(np.vdot(dy, (ahead - behind) / (2 * step)))
                size = max(float(np.linalg.norm(gradient)), abs(measured), BLIND * float(np.linalg.norm(dy)))
                errors.append(abs(measured - claimed) / size if size else 0.0)
            worst[subject] = max(worst[subject], min(errors))
    return [Finding("adjoint", f"{subject}{mode}", error, tolerance) for subject, error in worst.items()]


def _laws(layer: Layer, params: Params, x: Array, rng: Rng | None, mode: str) -> list[Finding]:
    """Laws 2 to 5, memory order and ``input_grad``: each error is a count of what is wrong, or a difference."""
    params, x = tree.map(_read_only, params), _read_only(x)
    before = tree.map(np.copy, _point(params, x))
    with _must_return("pure", mode):
        y, vjp_fn = layer.apply(params, x, rng)
        dy = _read_only(generator(fold(0, "dy")).standard_normal(y.shape).astype(y.dtype))
        first = tree.map(np.copy, _point(*vjp_fn(dy)))
        again, again_vjp = layer.apply(params, x, rng)
    with _must_return("reentrant", mode), ThreadPoolExecutor(1) as pool:
        elsewhere = _point(*pool.submit(vjp_fn, dy).result())
        here = _point(*vjp_fn(dy))
    with _must_return("input_grad", mode):
        without, nothing = vjp_fn(dy, input_grad=False)
    # The same numbers, the last axis outermost in memory and backwards.
    strided = np.asfortranarray(x[..., ::-1])[..., ::-1]
    with _must_return("order", mode):
        y_strided, strided_vjp = layer.apply(params, strided, rng)
        _, dx_strided = strided_vjp(dy)
    close = 1e-12 if x.dtype == np.float64 else 1e-5

    def finding(law: str, *errors: float, tolerance: float = 0.0) -> Finding:
        return Finding(law, mode, max(errors), tolerance)

    return [
        finding("pure", _differing(before, _point(params, x)), _differing({"y": y}, {"y": again})),
        finding("pure", _differing(first, _point(*again_vjp(dy)))),
        finding("reentrant", _differing(first, here), _differing(first, elsewhere)),
        finding("shape", _unlike(_point(params, x), first, np.shape)),
        finding("dtype", _unlike(_point(params, x), first, _dtype), float(y.dtype != x.dtype)),
        finding("input_grad", float(nothing is not None), _differing(first["params"], without)),
        finding(
            "order",
            _distance(y, y_strided),
            _distance(first["x"], dx_strided),
            tolerance=close,
        ),
    ]


def _batches(layer: Layer, params: Params, x: Array, key: Rng) -> list[Finding]:
    """Law 6, in inference, since a layer that trains may look across the batch; and that any batch size works."""
    with _must_return("batch", "one by one"):
        singles = np.concatenate([layer.apply(params, x[i : i + 1])[0] for i in range(len(x))])
    findings = [Finding("batch", "equals singles", _distance(layer.apply(params, x)[0], singles), 1e-12)]
    for size in (0, 1):
        for mode, rng in (("training", key), ("predicting", None)):
            with _must_return("batch", f"of {size} {mode}"):
                y, vjp_fn = layer.apply(params, x[:size], rng)
                wrong = _unlike(_point(params, x[:size]), _point(*vjp_fn(np.ones_like(y))), np.shape)
            findings.append(Finding("batch", f"of {size} {mode}", wrong + float(len(y) != size), 0.0))
    return findings


def _one_function(layer: Layer, params: Params, x: Array, key: Rng) -> list[Finding]:
    """Law 8: the same values alone, in a combinator, cut into microbatches, predicting; and any claim per_example."""
    inside, own = serial(named("a", layer)), {"a": params} if params else {}
    findings = []
    for mode, rng, inner in (("training", key, fold(key, "a")), ("predicting", None, None)):
        with _must_return("one", mode), microbatches(None):
            y, vjp_fn = layer.apply(params, x, inner)
            dy = generator(fold(0, "dy")).standard_normal(y.shape)
            alone = {"y": y, **_point(*vjp_fn(dy))}
            y, vjp_fn = inside.apply(own, x, rng)
            grads, dx = vjp_fn(dy)
            findings.append(Finding("one", f"{mode} in serial", _differing(alone, _joint(y, grads, dx)), 0.0))
        if rng is None:
            with microbatches(None):
                error = _differing({"y": alone["y"]}, {"y": output(inside, own, x)})
            findings.append(Finding("one", "predict is apply", error, 0.0))
        if rng is not None and _draws(layer, params, x, key):
            continue  # what is drawn follows the cut
        for examples in (1, 2):
            with _must_return("one", f"{mode} in microbatches of {examples}"), microbatches(examples):
                y, vjp_fn = inside.apply(own, x, rng)
                cut = _joint(y, *vjp_fn(dy))
            error = max(_distance(a, b) for a, b in zip(tree.leaves(alone), tree.leaves(cut), strict=True))
            findings.append(Finding("one", f"{mode} in microbatches of {examples}", error, 1e-10))
    if declared(layer.apply, "per_example"):
        findings += [_others_do_not_matter(layer, params, x, rng) for rng in (key, None)]
    return findings


def _joint(y: Array, grads: Params, dx: Array | None) -> Tree:
    """The output and the gradients of a layer that stands under the name ``a``."""
    return {"y": y, **_point(grads.get("a", {}), dx)}


def _draws(layer: Layer, params: Params, x: Array, key: Rng) -> bool:
    """Whether the layer draws random numbers."""
    one, other = (layer.apply(params, x, fold(key, word))[0] for word in ("a", "b"))
    return bool(_differing({"y": one}, {"y": other}))


def _others_do_not_matter(layer: Layer, params: Params, x: Array, rng: Rng | None) -> Finding:
    """A layer that claims per_example: what other examples are changes neither the output nor the gradient of one."""
    other = x.copy()
    other[1:] = 1 - 2 * other[1:]
    (y, vjp_fn), (y_other, vjp_other) = layer.apply(params, x, rng), layer.apply(params, other, rng)
    dy = np.ones_like(y)
    dy_other = dy.copy()
    dy_other[1:] = -2
    dx, dx_other = vjp_fn(dy)[1], vjp_other(dy_other)[1]
    error = _distance(y[:1], y_other[:1])
    if dx is not None and dx_other is not None:
        error = max(error, _distance(dx[:1], dx_other[:1]))
    mode = "predicting" if rng is None else "training"
    return Finding("one", f"per_example {mode}", error, 1e-12)


def _unchecked(layer: Layer) -> Layer:
    """The layer as its author wrote it: the report is to say all that is wrong, not the first error."""
    raw = declared(layer.apply, "unchecked")
    return layer if raw is None else replace(layer, apply=per_example(raw))


def _measured(leaf: Array, random: np.random.Generator) -> Array:
    """A parameter that waits for ``calibrate``, as if it had been measured: any mean and variance will do."""
    return random.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype) if np.isnan(leaf).any() else leaf


def _float32_is_close(layer: Layer, params: Params, params32: Params, x: Array, rng: Rng | None, mode: str) -> Finding:
    """The output and the gradients in float32, against float64."""
    x32 = x.astype(np.float32)
    (y, vjp_fn), (y32, vjp32) = (
        layer.apply(params, x32.astype(np.float64), rng),
        layer.apply(params32, x32, rng),
    )
    dy = generator(fold(0, "dy")).standard_normal(y.shape).astype(np.float32)
    exact, rounded = tree.leaves(_point(*vjp_fn(dy.astype(np.float64)))), tree.leaves(_point(*vjp32(dy)))
    errors = [_distance(y, y32), *(_distance(a, b) for a, b in zip(exact, rounded, strict=True))]
    return Finding("dtype", f"float32 is close, {mode}", max(errors), FLOAT32_TOLERANCE)


def _params_are_plain(params: Any) -> Finding:
    """Law 7: nested dicts, no empty ones inside, with float32 arrays as leaves."""

    def wrong(node: Any, root: bool = False) -> int:
        if isinstance(node, dict):
            return sum(wrong(child) for child in node.values()) + (not node and not root)
        return not (isinstance(node, np.ndarray) and node.dtype == np.float32)

    return Finding("params", "nested dicts of float32 arrays", float(wrong(params, root=True)), 0.0)


def _point(params: Params, x: Array | None) -> Tree:
    """Parameters and input as one tree."""
    return {"params": params, "x": np.asarray(x)}


def _moved(params: Params, x: Array, subject: str, by: Array) -> tuple[Params, Array]:
    """Parameters and input with one of the leaves moved."""
    point = tree.map_with_path(lambda path, leaf: leaf + by if path == subject else leaf, _point(params, x))
    return point["params"], point["x"]


def _read_only(array: Array) -> Array:
    """A copy that cannot be written to."""
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


def _dtype(leaf: Any) -> str:
    return str(np.asarray(leaf).dtype)


def _unlike(expected: Tree, got: Tree, what: Callable[[Any], Any]) -> float:
    """How many leaves are missing, extra, or differ in shape or dtype."""
    a, b = tree.flatten(expected), tree.flatten(got)
    return float(len(a.keys() ^ b.keys()) + sum(what(a[path]) != what(b[path]) for path in a.keys() & b.keys()))


def _differing(expected: Tree, got: Tree) -> float:
    """How many leaves differ in any bit."""
    a, b = tree.flatten(expected), tree.flatten(got)
    return float(
        len(a.keys() ^ b.keys())
        + sum(not np.array_equal(a[path], b[path], equal_nan=True) for path in a.keys() & b.keys())
    )


def _distance(a: Array, b: Array | None) -> float:
    """The largest difference, relative to the largest number (at least 1)."""
    if b is None or a.shape != b.shape:
        return math.inf
    return float(np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(a))))) if a.size else 0.0


@contextmanager
def _must_return(law: str, subject: str) -> Iterator[None]:
    """Where a law demands a value, an exception breaks it: of memory that cannot be written to, of a second call."""
    try:
        yield
    except Exception as error:
        finding = Finding(law, f"{subject}: {error!r}", math.inf, 0.0)
        raise AssertionError(f"a law of the contract is broken\n{finding}") from error


def _verdict(report: Report) -> Report:
    """The report, or an error that shows it."""
    if not report.passed:
        raise AssertionError(f"a law of the contract is broken\n{report}")
    return report
