"""The optimizers by the names of their papers: each is a chain of transforms, to be read like a list of ingredients.

Start with ``adam(1e-3)``; ``sgd`` with momentum and a decaying rate often ends better, and takes more search.
"""

from collections.abc import Callable

from funcnn.aliases import Tree
from funcnn.optim.core import Optimizer, chain
from funcnn.optim.schedules import Schedule
from funcnn.optim.transforms import (
    add_decayed_weights,
    add_momentum,
    scale_by_adadelta,
    scale_by_adagrad,
    scale_by_adam,
    scale_by_adamax,
    scale_by_rate,
    scale_by_rmsprop,
)

__all__ = ["adadelta", "adagrad", "adam", "adamax", "adamw", "rmsprop", "sgd"]


def sgd(rate: float | Schedule, momentum: float | Schedule = 0.0, nesterov: bool = False) -> Optimizer:
    """p = p - rate · m,  m = momentum · m + g: stochastic gradient descent.

    Args:
        rate: the learning rate, a number or a schedule.
        momentum: how much of the last step is kept, 0.9 for instance; a number or a schedule.
        nesterov: look ahead, see ``add_momentum``.

    Returns:
        The optimizer.

    Raises:
        TypeError: a rate is neither a number nor a schedule.
        ValueError: a rate is negative or not finite, or ``nesterov`` is asked for without momentum.

    Example:
        >>> import numpy as np
        >>> params = {"w": np.ones(1)}
        >>> init, update = sgd(0.1, momentum=0.9)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]
        {'w': array([-0.2])}

    Reference:
        Sutskever et al. (2013), On the importance of initialization and momentum in deep learning, eq. 1 to 4.
    """
    if momentum == 0.0:
        if nesterov:
            raise ValueError("sgd: nesterov looks ahead along the momentum, got momentum=0; try momentum=0.9")
        return chain(scale_by_rate(rate))
    return chain(add_momentum(momentum, nesterov), scale_by_rate(rate))


def adam(rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """p = p - rate · m̂ / (√v̂ + eps): every weight moves by about the rate, in its own direction's mean.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of the mean of its square, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The optimizer.

    Raises:
        TypeError: ``rate`` is neither a number nor a schedule, or another argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> import numpy as np
        >>> params = {"w": np.ones(1)}
        >>> init, update = adam(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        Kingma & Ba (2015), Adam: A Method for Stochastic Optimization, algorithm 1.
    """
    return chain(scale_by_adam(b1, b2, eps), scale_by_rate(rate))


def adamw(
    rate: float | Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float | Schedule = 1e-2,
    decay_mask: Callable[[Tree], Tree] | None = None,
) -> Optimizer:
    """p = p - rate · (m̂ / (√v̂ + eps) + weight_decay · p): Adam, with weights pulled to zero beside it.

    Args:
        rate: the learning rate, a number or a schedule; 1e-3 is usual.
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of the mean of its square, in [0, 1).
        eps: keeps the division finite, positive.
        weight_decay: how strongly the weights are pulled to zero, a number or a schedule.
        decay_mask: ``decay_mask(params) -> tree of bools``, True where weights decay; by default those with two axes
            or more, so that biases, scales and shifts are spared.

    Returns:
        The optimizer.

    Raises:
        TypeError: a rate is neither a number nor a schedule, or another argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> import numpy as np
        >>> params = {"w": np.ones((1, 1)), "b": np.ones(1)}
        >>> grads = {"w": np.zeros((1, 1)), "b": np.zeros(1)}
        >>> init, update = adamw(0.1, weight_decay=0.5)
        >>> update(grads, init(params), params)[0]
        {'w': array([[-0.05]]), 'b': array([-0.])}

    Reference:
        Loshchilov & Hutter (2019), Decoupled Weight Decay Regularization, algorithm 2.
    """
    return chain(
        scale_by_adam(b1, b2, eps),
        add_decayed_weights(weight_decay, decay_mask),
        scale_by_rate(rate),
    )


def adamax(rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """p = p - rate · m̂ / v,  v = max(b2 v, |g| + eps): Adam with the largest gradient in place of the mean square.

    Args:
        rate: the learning rate, a number or a schedule; 2e-3 is usual.
        b1: decay of the mean of the gradient, in [0, 1).
        b2: decay of its largest size, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The optimizer.

    Raises:
        TypeError: ``rate`` is neither a number nor a schedule, or another argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> import numpy as np
        >>> params = {"w": np.ones(1)}
        >>> init, update = adamax(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        Kingma & Ba (2015), Adam: A Method for Stochastic Optimization, algorithm 2.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_rate(rate))


def rmsprop(rate: float | Schedule, decay: float = 0.99, eps: float = 1e-8) -> Optimizer:
    """p = p - rate · g / (√v + eps),  v = decay v + (1 - decay) g².

    Args:
        rate: the learning rate, a number or a schedule; 1e-2 is usual.
        decay: of the mean of the gradient's square, in [0, 1).
        eps: keeps the division finite, positive.

    Returns:
        The optimizer.

    Raises:
        TypeError: ``rate`` is neither a number nor a schedule, or another argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> import numpy as np
        >>> params = {"w": np.ones(1)}
        >>> init, update = rmsprop(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-1.])

    Reference:
        Tieleman & Hinton (2012), Neural Networks for Machine Learning, lecture 6.5.
    """
    return chain(scale_by_rmsprop(decay, eps), scale_by_rate(rate))


def adagrad(rate: float | Schedule, eps: float = 1e-10) -> Optimizer:
    """p = p - rate · g / (√v + eps),  v = v + g²: what moved much moves less.

    Args:
        rate: the learning rate, a number or a schedule; 1e-2 is usual.
        eps: keeps the division finite, positive.

    Returns:
        The optimizer.

    Raises:
        TypeError: ``rate`` is neither a number nor a schedule, or ``eps`` is no number.
        ValueError: an argument is out of range.

    Example:
        >>> import numpy as np
        >>> params = {"w": np.ones(1)}
        >>> init, update = adagrad(0.1)
        >>> update({"w": np.array([2.0])}, init(params), params)[0]["w"].round(4)
        array([-0.1])

    Reference:
        Duchi, Hazan & Singer (2011), Adaptive Subgradient Methods, section 1.1 with diagonal matrices.
    """
    return chain(scale_by_adagrad(eps), scale_by_rate(rate))


def adadelta(rate: float | Schedule = 1.0, rho: float = 0.9, eps: float = 1e-6) -> Optimizer:
    """p = p - rate · √(d + eps) / √(v + eps) · g, with d and v the mean squares of earlier updates and gradients.

    Args:
        rate: 1.0, the paper's, which has none; a number or a schedule.
        rho: decay of both means of squares, in [0, 1).
        eps: starts the first step and keeps the division finite, positive.

    Returns:
        The optimizer.

    Raises:
        TypeError: ``rate`` is neither a number nor a schedule, or another argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> import numpy as np
        >>> params = {"w": np.ones(1)}
        >>> init, update = adadelta()
        >>> update({"w": np.array([1.0])}, init(params), params)[0]["w"].round(6)
        array([-0.003162])

    Reference:
        Zeiler (2012), ADADELTA: An Adaptive Learning Rate Method, algorithm 1.
    """
    return chain(scale_by_adadelta(rho, eps), scale_by_rate(rate))
