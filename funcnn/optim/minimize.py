"""Optimization with several gradients for a step: sharpness-aware ones at a second point, and L-BFGS on all the data.

These take a function of the parameters that returns a value and its gradients, since an optimizer sees one gradient a
step. ``fit`` computes one, so both are for loops of your own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Arrays, Tree
from funcnn.calls import explained
from funcnn.optim.core import apply_updates
from funcnn.optim.state import kept
from funcnn.optim.trust import norm

__all__ = ["Minimum", "lbfgs", "sam"]


@explained
def sam(value_and_grad: Callable[..., tuple[float, Any]], rho: float = 0.05) -> Callable[..., tuple[float, Any]]:
    """The value at p and the gradient at p + rho · g / ‖g‖, where the value is about the highest near p.

    A step of your own takes it in the place of ``value_and_grad(model, loss)``: ``f = sam(value_and_grad(model,
    loss))``, ``value, grads = f(params, x, target, rng)``, ``params, state = optimizer.step(grads, state, params)``. It
    costs two gradients. ``fit`` computes its gradients itself and does not take it.

    Args:
        value_and_grad: ``f(params, *arguments) -> (value, grads)``. It is called twice with the same arguments, so that
            a key draws the same dropout.
        rho: the distance, not negative.

    Returns:
        A function with the same arguments and results.

    Raises:
        TypeError: ``value_and_grad`` is not a function, or ``rho`` is not a number.
        ValueError: ``rho`` is negative.

    Example:
        >>> def bowl(params):  # its gradient is w
        ...     return float((params["w"] ** 2).sum() / 2), params
        >>> sam(bowl, rho=0.5)({"w": np.array([3.0, 4.0])})
        (12.5, {'w': array([3.3, 4.4])})

    Reference:
        Foret et al. (2021), Sharpness-Aware Minimization for Efficiently Improving Generalization, algorithm 1.
    """
    if not checks.is_function(value_and_grad) or checks.is_constructor(value_and_grad):
        raise TypeError(
            "sam: expected a function f(params, ...) -> (value, grads) such as value_and_grad(model, loss), got "
            f"{checks.what(value_and_grad)}; an optimizer takes the gradients that it returns"
        )
    rho = checks.nonnegative("sam", "rho", rho)

    def sharp(params: Any, *arguments: Any, **named: Any) -> tuple[float, Any]:
        value, grads = _called("sam", value_and_grad, params, *arguments, **named)
        size = math.hypot(*(norm(np.asarray(g)) for g in tree.leaves(grads) if g is not None))
        if not rho or not 0 < size < math.inf:
            return value, grads
        higher = apply_updates(params, tree.map(lambda g: np.asarray(g * (rho / size)), grads))
        return value, _called("sam", value_and_grad, higher, *arguments, **named)[1]

    return sharp


class Minimum(NamedTuple):
    """What ``lbfgs`` returns: the parameters, their value, the number of steps, whether it converged, and why it ended.

    Example:
        >>> Minimum({}, 0.5, 3, True, "converged").value
        0.5
    """

    params: Any
    value: float
    steps: int
    converged: bool
    message: str


@explained
def lbfgs(
    value_and_grad: Callable[[Any], tuple[float, Any]],
    params: Arrays,
    steps: int = 100,
    tolerance: float = 1e-5,
    memory: int = 10,
) -> Minimum:
    """Minimize a function of the parameters by L-BFGS with a line search, on all the data at once: SciPy's.

    ``lbfgs(lambda params: f(params, x, target), params)`` with ``f = value_and_grad(model, loss)`` trains a small
    model. The function must be the same at each call: no dropout with new keys, no other batches.

    Args:
        value_and_grad: ``f(params) -> (value, grads)``.
        params: where to start. Those whose gradient is None stay as they are.
        steps: the largest number of steps, at least 1; each calls the function once or a few times.
        tolerance: it has converged when no element of the gradient is larger, not negative; or when the value stays.
        memory: the number of steps that the curvature is estimated from, at least 1.

    Returns:
        A ``Minimum``: ``params, value, steps, converged, message``. The parameters keep their dtypes; the steps are
        computed in float64.

    Raises:
        TypeError: ``value_and_grad`` is not a function, or a number is not one.
        ValueError: a number is out of range, or the gradients are not like the parameters.

    Example:
        >>> def bowl(params):
        ...     away = params["w"] - np.array([3.0, 4.0])
        ...     return float((away**2).sum()), {"w": 2 * away}
        >>> lbfgs(bowl, {"w": np.zeros(2)}).params["w"].round(6)
        array([3., 4.])

    Reference:
        Liu & Nocedal (1989), On the limited memory BFGS method for large scale optimization, algorithm 2.1.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    checks.function("lbfgs", "value_and_grad", value_and_grad, "params")
    steps, memory = checks.steps("lbfgs", "steps", steps), checks.size("lbfgs", "memory", memory)
    tolerance = checks.nonnegative("lbfgs", "tolerance", tolerance)
    _, grads = _called("lbfgs", value_and_grad, params)
    trained = tree.map(lambda p, g: p, params, grads)
    vector, unravel = tree.ravel(trained)

    def at(point: Array) -> Tree:
        return kept(params, unravel(point.astype(vector.dtype)))

    def raveled(point: Array) -> tuple[float, Array]:
        value, grads = _called("lbfgs", value_and_grad, at(point))
        flat, _ = tree.ravel(tree.map(lambda p, g: g, trained, grads))
        if flat.shape != vector.shape:
            raise ValueError(f"lbfgs: expected gradients of {vector.size} elements, as at the start, got {flat.size}")
        return float(value), flat.astype(np.float64)

    options = {"maxiter": steps, "maxcor": memory, "gtol": tolerance, "ftol": np.finfo(float).eps, "maxfun": 20 * steps}
    start = vector.astype(np.float64)
    inside = [
        raveled
    ]  # older versions of SciPy leave a cycle around what they were given: it shall hold nothing of ours
    found = minimize(partial(_first, inside), start, jac=True, method="L-BFGS-B", options=options)
    inside.clear()
    return Minimum(at(found.x), float(found.fun), int(found.nit), bool(found.success), str(found.message))


def _first(functions: Sequence[Callable[[Array], tuple[float, Array]]], point: Array) -> tuple[float, Array]:
    return functions[0](point)


def _called(kind: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[float, Any]:
    """The value and the gradients that a function returns."""
    return checks.returned_pair(f"{kind}: value_and_grad", function(*arguments, **named), "(value, grads)")
