"""Changes of the gradient before a rule sees it: its mean over the inputs is taken out, or noise is added."""

from __future__ import annotations

import math

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Rng, Tree
from funcnn.optim.core import Optimizer, array_by_array, transform
from funcnn.optim.state import Hyper
from funcnn.recorded import recorded
from funcnn.rng import as_key, fold, generator

__all__ = ["add_noise", "centralize"]


@recorded
def centralize() -> Optimizer:
    """u = g - mean(g) over all axes but the last, for parameters with two axes or more: the mean for each output.

    Returns:
        The transform, the first of a chain: ``chain(centralize(), adam(1e-3))``.

    Example:
        >>> params, grads = {"w": np.ones((2, 2))}, {"w": np.array([[1.0, 5.0], [3.0, 5.0]])}
        >>> centralize().update(grads, {}, params)[0]["w"]
        array([[-1.,  0.],
               [ 1.,  0.]])

    Reference:
        Yong et al. (2020), Gradient Centralization: A New Optimization Technique for Deep Neural Networks, eq. 1.
    """

    def centered(g: Array, p: Array, hyper: Hyper) -> Array:
        if g.ndim < 2 or not g.size:
            return g
        g = np.ascontiguousarray(g)  # sums depend on the memory order
        mean: Array = g.mean(axis=tuple(range(g.ndim - 1)), keepdims=True)
        return g - mean

    return array_by_array("centralize", centered)


@recorded
def add_noise(variance: float, rng: Rng, decay: float = 0.55) -> Optimizer:
    """u = g + n,  n normal with the variance ``variance / (1 + step)^decay``.

    Args:
        variance: that of step 0, not negative; 0.01 to 1 is usual.
        rng: a key, ``0`` for example. The noise is a function of the key, the step and the parameter's path, so that a
            run that is resumed draws the same.
        decay: the exponent, not negative.

    Returns:
        The transform. Its state holds ``step``.

    Raises:
        TypeError: a number is not one, or ``rng`` is not a key.
        ValueError: an argument is out of range.

    Example:
        >>> params = grads = {"w": np.zeros(2)}
        >>> noise = add_noise(0.01, rng=0)
        >>> one, again = (noise.update(grads, noise.init(params), params)[0]["w"] for _ in range(2))
        >>> bool((one == again).all()), bool((one != 0).all())
        (True, True)

    Reference:
        Neelakantan et al. (2015), Adding Gradient Noise Improves Learning for Very Deep Networks, eq. 1.
    """
    variance, decay = (
        checks.nonnegative("add_noise", "variance", variance),
        checks.nonnegative("add_noise", "decay", decay),
    )
    key = as_key(rng)

    def rule(grads: Tree, slots: dict[str, Tree], params: Tree, hyper: Hyper) -> tuple[Tree, dict[str, Tree]]:
        of_step = fold(key, int(hyper["step"]))
        size = math.sqrt(variance / (1 + hyper["step"]) ** decay)

        def noisy(path: str, g: Array) -> Array:
            return np.asarray(g + size * generator(fold(of_step, path)).standard_normal(g.shape, g.dtype))

        return tree.map_with_path(noisy, grads), {}

    return transform("add_noise", rule, counts=True)
