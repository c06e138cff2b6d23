"""Optimizers for some of the parameters: ``masked`` restricts one, ``partition`` gives each parameter its own."""

from __future__ import annotations

from collections.abc import Mapping

from funcnn import checks
from funcnn.optim.core import Optimizer, OptimizerLike, as_optimizer, assembled, distinct, parts_of
from funcnn.optim.masks import Flags, Mask, as_flags, first_match
from funcnn.optim.pipeline import Part
from funcnn.recorded import recorded
from funcnn.wording import shown

__all__ = ["masked", "partition"]


@recorded
def masked(transform: OptimizerLike, mask: Mask) -> Optimizer:
    """The same transform for some of the parameters only; the gradients of all others pass unchanged.

    Args:
        transform: an optimizer, or a bare pair ``(init, update)``. It is given trees of the chosen parameters alone, so
            that a global norm, for example, is the norm of their gradients.
        mask: which parameters it is for, in one of three forms. A path pattern, ``"stem/*"`` or ``"*/w"``, in which
            ``*`` stands for any characters, also for ``/``, ``?`` for one, and ``[ab]`` for one of these. A tree of
            bools like the parameters, True where it applies. A function of the parameters that returns such a tree.

    Returns:
        The optimizer. Its state is that of ``transform``, with no entry for a parameter that is not chosen; in a
        ``chain``, it is kept under the name of ``transform``.

    Raises:
        TypeError: ``transform`` is not an optimizer, ``mask`` has none of these forms, or it is a tree of other leaves.
        ValueError: at ``init`` or an update, no parameter matches the pattern, or the tree is not like the parameters.

    Example:
        >>> import numpy as np
        >>> from funcnn.optim import add_momentum
        >>> params = grads = {"stem": {"w": np.ones(1)}, "head": {"w": np.ones(1)}}
        >>> optimizer = masked(add_momentum(0.5), "head/*")
        >>> updates, state = optimizer.update(grads, optimizer.init(params), params)
        >>> state
        {'m': {'head': {'w': array([1.])}}}
        >>> optimizer.update(grads, state, params)[0]
        {'stem': {'w': array([1.])}, 'head': {'w': array([1.5])}}
    """
    return _restricted(as_optimizer(transform, "masked: expected an optimizer"), as_flags("masked", mask))


@recorded
def partition(optimizers: Mapping[str, OptimizerLike]) -> Optimizer:
    """An optimizer of its own for each group of parameters.

    Args:
        optimizers: ``{path pattern: optimizer}``, with patterns as for ``masked``. The first pattern that matches a
            parameter's path decides; ``"*"`` as the last one stands for all others.

    Returns:
        The optimizer. Its state holds the state of each optimizer under its pattern, in which ``.`` stands for ``/``
        since a key has none: that of ``"stem/*"`` under ``stem.*``, and if two would have the same key, the second
        with ``_1``.

    Raises:
        TypeError: ``optimizers`` is not a dict of optimizers by patterns.
        ValueError: there is none, or a pattern is empty; at ``init`` or an update, no pattern matches a parameter, or a
            pattern is not the first match of any.

    Example:
        >>> import numpy as np
        >>> from funcnn.optim import sgd
        >>> params = grads = {"stem": {"w": np.ones(1)}, "head": {"w": np.ones(1)}}
        >>> optimizer = partition({"stem/*": sgd(0.01), "*": sgd(0.1)})
        >>> updates, state = optimizer.update(grads, optimizer.init(params), params)
        >>> updates
        {'stem': {'w': array([-0.01])}, 'head': {'w': array([-0.1])}}
        >>> list(state)
        ['stem.*', '*']
    """
    if not isinstance(optimizers, Mapping):
        raise TypeError(f"partition: expected a dict of optimizers by path patterns, got {checks.what(optimizers)}")
    if not optimizers:
        raise ValueError('partition: expected at least one optimizer, got none; use {"*": sgd(rate)} for the plainest')
    for pattern in optimizers:
        if not isinstance(pattern, str):
            raise TypeError(f"partition: expected path patterns as keys, got {shown(pattern)}")
        if not pattern:
            raise ValueError('partition: expected patterns that are not empty; use "*" for all parameters')
    patterns, parts = tuple(optimizers), list[Part]()
    keys = distinct(pattern.replace("/", ".") for pattern in patterns)
    for number, (key, optimizer) in enumerate(zip(keys, optimizers.values(), strict=True)):
        flags = first_match("partition", patterns, number)
        parts += parts_of(as_optimizer(optimizer, "partition: expected optimizers"), key, (flags,))
    return assembled("partition", parts)


def _restricted(transform: Optimizer, flags: Flags) -> Optimizer:
    """The same optimizer for fewer parameters; of a chain, each transform."""
    inner = [_restricted(one, flags) for one in transform.transforms]
    return assembled(transform.kind, parts_of(transform, flags=(flags,)), inner)
