"""The checker of layers: a layer's ``vjp_fn`` must be the derivative of its output, and the layer must obey every law.

``laws.py`` has one function for each law, ``report.py`` what is printed, ``table`` every layer and loss of the library.
A new law is one function there. ``losses.py``, ``optimizers.py`` and ``metrics.py`` check those in the same way.
``python -m funcnn.testing`` prints the report of every layer and loss.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from funcnn import checks, contract, tree
from funcnn.aliases import Apply, Array, Arrays, Params, Rng, Shapes, Tree
from funcnn.calls import explained
from funcnn.engine.microbatch import microbatches
from funcnn.protocol import Layer, LayerLike, as_layer, declared, per_example
from funcnn.rng import as_key, fold, generator
from funcnn.shapes import checked, specs
from funcnn.testing.laws import (
    Case,
    adjoint,
    batches,
    float32_is_close,
    gradients_fit,
    laws,
    one_function,
    params_are_plain,
)
from funcnn.testing.losses import check_loss
from funcnn.testing.metrics import check_metric
from funcnn.testing.optimizers import check_optimizer
from funcnn.testing.report import Finding, Report, verdict
from funcnn.testing.table import table_of_layers
from funcnn.testing.table.losses import table_of_losses

__all__ = [
    "Finding", "Report", "check_layer", "check_loss", "check_metric", "check_optimizer", "check_vjp", "microbatches",
    "random_batch", "table_of_layers", "table_of_losses",
]  # fmt: skip


@explained
def check_vjp(apply: Apply, params: Params, x: Arrays, rng: Rng | None = None, tolerance: float = 1e-6) -> Report:
    """Compare ``vjp_fn`` with measured derivatives, per parameter path and for the input.

    For each of them, error = |<dy, J v> - <vjp_fn(dy), v>| / size of the gradient, the worst of three random pairs.

    Args:
        apply: ``apply(params, x)`` or ``apply(params, x, rng)``, as in a layer.
        params: its parameters; cast to float64 here.
        x: its input, an array or a tree of arrays; its floats are cast to float64 here.
        rng: a key for training mode, None for inference.
        tolerance: the relative error that is allowed.

    Returns:
        The report, if all is well.

    Raises:
        AssertionError: a derivative is wrong, or ``vjp_fn`` does not return ``(dparams, dx)`` with the shapes of params
            and x; the message is the report.

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
    x = tree.cast(x if isinstance(x, dict) else np.asarray(x), np.float64)
    case = Case(layer, tree.cast(params, np.float64), x, rng, "")
    verdict(Report("check_vjp", tuple(gradients_fit(case))))
    return verdict(Report("check_vjp", tuple(adjoint(case, tolerance))))


@explained
def check_layer(
    layer: LayerLike,
    shape: Shapes | None = None,
    rng: Rng = 0,
    batch: int = 3,
    tolerance: float = 1e-6,
    x: Arrays | None = None,
) -> Report:
    """Check a layer alone, against every law of the contract.

    The parameters are those of ``init``, each number moved by up to 40 % and zeros by up to 0.4: where a weight starts
    as 1 or 0, a gradient that forgets it would pass.

    The laws: ``adjoint`` (the vjp is the derivative, training and predicting), ``pure`` (no argument is written to,
    the same arguments give the same bits), ``reentrant`` (``vjp_fn`` may be called again, from any thread),
    ``shape``, ``dtype``, ``batch`` (a batch gives what its examples give one by one; batches of 0 and 1 work),
    ``params`` (nested dicts of float32 arrays), ``order`` (the memory order of the input does not matter),
    ``input_grad`` (leaving out dx changes nothing else), ``one`` (one function: the same values alone, inside a
    combinator, cut into microbatches and predicting; a claim of ``per_example`` is true, in training too, and one of
    ``per_position``, if the shape has time and features).

    Args:
        layer: a ``Layer`` or a pair ``(init, apply)``.
        shape: of one example, without the batch axis; a tuple, a ``fn.spec`` for another dtype, or a tree of them.
            Floats are drawn at random, integers are 0 or 1, masks are random.
        rng: the key of parameters, inputs and training mode.
        batch: how many examples to check with, ``>= 2``.
        tolerance: the relative error of a derivative that is allowed, in float64.
        x: instead of ``shape``, the batch to check with, for inputs that must not be random.

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
    if (shape is None) == (x is None):
        raise ValueError("check_layer: give the shape of one example, or a batch as x")
    layer, key = _unchecked(whole), as_key(rng)
    random = generator(fold(key, "measured"))
    shape = checked("check_layer", shape) if x is None else specs(tree.cast(x, np.float32))
    subject = f"{whole!r} on {shape}"
    try:
        params32 = layer.init(shape, key)
    except AttributeError as error:
        contract.add_hint_about_keys(error)
        raise
    findings = [params_are_plain(params32)]
    verdict(Report(subject, tuple(findings)))  # nothing else can be asked of what is not a tree of arrays
    x = tree.cast(random_batch(shape, batch, fold(key, "x")) if x is None else x, np.float64)
    params32 = tree.map(lambda leaf: _moved(leaf, random), params32)
    params = tree.cast(params32, np.float64)
    for mode, used in (("training", key), ("predicting", None)):
        case = Case(layer, params, x, used, mode)
        case32 = Case(layer, params32, tree.cast(x, np.float32), used, f"{mode}, float32")
        findings += gradients_fit(case)
        verdict(Report(subject, tuple(findings)))  # nor of what is not a gradient
        findings += adjoint(case, tolerance)
        findings += [*laws(case), *laws(case32), float32_is_close(case, case32)]
    findings += batches(case, key)
    verdict(Report(subject, tuple(findings)))  # a layer that breaks these laws cannot keep the next
    findings += one_function(whole, params, x, key)
    return verdict(Report(subject, tuple(findings)))


def _unchecked(layer: Layer) -> Layer:
    """The layer as its author wrote it: the report is to say all that is wrong, not the first error."""
    raw = declared(layer.apply, "unchecked")
    return layer if raw is None else replace(layer, apply=per_example(raw))


def random_batch(shape: Shapes, examples: int, rng: Rng = 0) -> Tree:
    """A batch of random float64, of integers that are 0 or 1, and of masks, to try a layer on.

    Args:
        shape: of one example: a tuple, a ``fn.spec``, or a tree of them.
        examples: how many, ``>= 0``.
        rng: the key.

    Returns:
        An array (examples, *shape), or a tree of them. No example of a mask is False everywhere.

    Raises:
        TypeError: ``shape`` is not a shape.
        ValueError: ``examples`` is not a whole number ``>= 0``.

    Example:
        >>> import funcnn as fn
        >>> fn.specs(random_batch({"x": (3,), "mask": fn.spec((3,), bool)}, examples=2))
        {'x': spec((3,), 'float64'), 'mask': spec((3,), 'bool')}
    """
    examples = checks.size("random_batch", "examples", examples, 0)
    return _drawn(checked("random_batch", shape), examples, generator(rng))


def _drawn(shape: Tree, examples: int, random: np.random.Generator) -> Tree:
    """Random arrays of a shape, or of a tree of shapes."""
    if isinstance(shape, dict):
        return {name: _drawn(leaf, examples, random) for name, leaf in shape.items()}
    dtype = np.dtype(getattr(shape, "dtype", np.float32))
    if dtype.kind == "f":
        return random.standard_normal((examples, *shape))
    values = random.integers(0, 2, (examples, *shape)).astype(dtype)
    values.reshape(examples, math.prod(shape))[:, :1] = 1
    return values


def _moved(leaf: Array, random: np.random.Generator) -> Array:
    """A parameter somewhere else than where it starts: a forgotten factor of 1 or term times 0 is wrong there.

    What is not 0 keeps its sign, as a variance must. What ``calibrate`` is to measure is NaN: any mean and variance do.
    """
    if leaf.dtype.kind != "f":
        return leaf
    near = leaf * random.uniform(0.6, 1.4, leaf.shape)
    moved = np.where(leaf == 0, random.uniform(-0.4, 0.4, leaf.shape), near)
    return np.where(np.isnan(leaf), random.uniform(0.5, 1.5, leaf.shape), moved).astype(leaf.dtype)
