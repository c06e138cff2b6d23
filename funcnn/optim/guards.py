"""Wrappers that make no step at some calls of ``update``: until gradients are complete, or if they are not finite.

The inner optimizer sees only the others, and its schedules count these. Nothing is fused, and all arrays are new.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Tree
from funcnn.optim.core import Optimizer, OptimizerLike, as_optimizer, assembled
from funcnn.optim.pipeline import Pair, Part
from funcnn.optim.state import State, check_wrapped, kept
from funcnn.recorded import recorded

__all__ = ["accumulate", "skip_non_finite"]


@recorded
def accumulate(optimizer: OptimizerLike, steps: int) -> Optimizer:
    """One step of an optimizer with the mean of ``steps`` gradients, that of a batch ``steps`` times as large.

    Args:
        optimizer: an optimizer, or a bare pair ``(init, update)``.
        steps: the number of batches, of equal size, at least 1.

    Returns:
        The optimizer. Its updates are zero but for the last of every ``steps``. Its state holds the sum so far under
        ``accumulate``, with the number of all updates as ``step``, and that of ``optimizer`` under ``optimizer``.

    Raises:
        TypeError: ``optimizer`` is not one, or ``steps`` is not an int.
        ValueError: ``steps`` is less than 1; or, at an update, the state is another optimizer's.

    Example:
        >>> from funcnn.optim import sgd
        >>> optimizer, params = accumulate(sgd(1.0), steps=2), {"w": np.array([1.0])}
        >>> state = optimizer.init(params)
        >>> for g in (3.0, 5.0):
        ...     params, state = optimizer.step({"w": np.array([g])}, state, params)
        ...     params
        {'w': array([1.])}
        {'w': array([-3.])}
    """
    inner = as_optimizer(optimizer, "accumulate: expected an optimizer such as sgd(0.1)")
    steps = checks.steps("accumulate", "steps", steps)

    def init(params: Tree) -> State:
        own = {"step": np.array(0), "grads": tree.map(np.zeros_like, params)}
        return _joined("accumulate", own, inner.init(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        own, inner_state = check_wrapped("accumulate", state, {"step", "grads"})
        count = int(own["step"]) + 1
        total = tree.map(lambda g, old: np.asarray(old + g / steps), grads, own["grads"])
        if count % steps:
            updates = tree.map(np.zeros_like, grads)
        else:
            updates, inner_state = inner.update(total, inner_state, params)
            total = tree.map(np.zeros_like, grads)
        new = {"step": np.array(count), "grads": kept(own["grads"], total)}
        return updates, _joined("accumulate", new, inner_state)

    return assembled("accumulate", [Part(Pair(init, update))])


@recorded
def skip_non_finite(optimizer: OptimizerLike, limit: int = 10) -> Optimizer:
    """Steps with a gradient that is NaN or infinite are left out and counted; too many in a row raise an error.

    ``fit`` checks gradients itself, and raises ``NonFiniteLossError`` before an optimizer sees them: this is for loops
    of your own.

    Args:
        optimizer: an optimizer, or a bare pair ``(init, update)``.
        limit: the number of steps in a row that may be left out, not negative.

    Returns:
        The optimizer. Where a step is left out, its updates are zero, and the state of ``optimizer`` stays. Its state
        holds under ``skip_non_finite`` the numbers ``step``, of all updates, ``skipped``, of those left out in a row,
        and ``total``, of all that were; and that of ``optimizer`` under ``optimizer``.

    Raises:
        TypeError: ``optimizer`` is not one, or ``limit`` is not an int.
        ValueError: ``limit`` is negative; or, at an update, the state is another optimizer's.
        FloatingPointError: at an update, more than ``limit`` steps in a row would be left out.

    Example:
        >>> from funcnn.optim import sgd
        >>> optimizer, params = skip_non_finite(sgd(1.0), limit=3), {"w": np.array([1.0])}
        >>> params, state = optimizer.step({"w": np.array([np.nan])}, optimizer.init(params), params)
        >>> params, int(state["skip_non_finite"]["total"])
        ({'w': array([1.])}, 1)
    """
    inner = as_optimizer(optimizer, "skip_non_finite: expected an optimizer such as sgd(0.1)")
    limit = checks.size("skip_non_finite", "limit", limit, 0)

    def init(params: Tree) -> State:
        own = {"step": np.array(0), "skipped": np.array(0.0), "total": np.array(0.0)}
        return _joined("skip_non_finite", own, inner.init(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        own, inner_state = check_wrapped("skip_non_finite", state, {"step", "skipped", "total"})
        present = {path: g for path, g in tree.flatten(grads).items() if g is not None}
        bad = next((path for path, g in present.items() if not np.isfinite(g).all()), None)
        skipped = 0.0 if bad is None else float(own["skipped"]) + 1
        if bad is None:
            updates, inner_state = inner.update(grads, inner_state, params)
        elif skipped > limit:
            raise FloatingPointError(
                f"skip_non_finite: the gradient of {bad or 'the root'} is not finite, after {limit} steps in a row "
                "that were left out; use a smaller rate or clip_by_global_norm"
            )
        else:
            updates = tree.map(np.zeros_like, grads)
        total = float(own["total"]) + (bad is not None)
        new = {"step": np.array(int(own["step"]) + 1), "skipped": np.array(skipped), "total": np.array(total)}
        return updates, _joined("skip_non_finite", new, inner_state)

    return assembled("skip_non_finite", [Part(Pair(init, update))])


def _joined(kind: str, own: dict[str, Any], inner: Any) -> State:
    """The state of a wrapper and of its optimizer, if that has one."""
    return {kind: own} if isinstance(inner, dict) and not inner else {kind: own, "optimizer": inner}
