"""Smooth activations: what squashes, such as the sigmoid, what grows, such as the softplus, and plain functions.

Each is in a form in which nothing overflows and nothing cancels: exponents are negative, and limits are right.
"""

from __future__ import annotations

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.engine.memory import empty_like
from funcnn.kernels import softmax as stable
from funcnn.layers.activation.row import ready, row
from funcnn.protocol import Layer, layer

__all__ = ["exp", "log_sigmoid", "sigmoid", "sine", "softplus", "softsign", "square", "tanh", "tanh_shrink"]

FLAT = 1000
"""From here on e^-x is 0 in every dtype."""


def _sigmoid(x: Array, out: Array | None = None) -> Array:
    """y = 1 / (1 + e^-x);  dx = dy * y (1 - y).

    For training, end the model with logits and use ``sigmoid_cross_entropy``, which contains it.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.sigmoid.apply({}, np.array([[0.0, 1000.0]]))
        >>> y
        array([[0.5, 1. ]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0.25, 0.  ]])

    Reference:
        Bishop 2006, "Pattern Recognition and Machine Learning", eq. 4.59 and 4.88.
    """
    return stable.sigmoid(x, out)


def _tanh(x: Array, out: Array | None = None) -> Array:
    """y = tanh(x);  dx = dy * (1 - y^2).

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.tanh.apply({}, np.array([[0.0, 100.0]]))
        >>> y
        array([[0., 1.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[1., 0.]])

    Reference:
        LeCun, Bottou, Orr & Müller 1998, "Efficient backprop", section 4.4.
    """
    return np.tanh(x, out=empty_like(x) if out is None else out)


def _softsign(x: Array) -> Array:
    """y = x / (1 + |x|);  dx = dy / (1 + |x|)^2.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.softsign.apply({}, np.array([[-1.0, 0.0, 3.0]]))
        >>> y
        array([[-0.5 ,  0.  ,  0.75]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0.25  , 1.    , 0.0625]])

    Reference:
        Turian, Bergstra & Bengio 2009, "Quadratic features and deep architectures for chunking", section 2.
    """
    most = np.finfo(x.dtype).max  # infinity divided by itself would be NaN
    y = np.clip(x, -most, most)
    y /= 1 + np.abs(y)
    return y


def _softsign_derivative(x: Array, y: Array) -> Array:
    root = 1 / (1 + np.abs(x))
    root *= root
    return root


def _exp(x: Array, out: Array | None = None) -> Array:
    """y = e^x;  dx = dy * y.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.exp.apply({}, np.log([[1.0, 2.0]]))
        >>> y
        array([[1., 2.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[1., 2.]])

    Reference:
        PyTorch's ``torch.exp``, Keras's ``exponential``.
    """
    with np.errstate(over="ignore"):
        return np.exp(x, out=empty_like(x) if out is None else out)


def _sine(x: Array) -> Array:
    """y = sin(x);  dx = dy * cos(x).

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.sine.apply({}, np.array([[0.0, np.pi / 2]]))
        >>> y
        array([[0., 1.]])
        >>> vjp_fn(np.ones_like(y))[1].round(3)
        array([[1., 0.]])

    Reference:
        Sitzmann et al. 2020, "Implicit neural representations with periodic activation functions", arXiv 2006.09661.
    """
    with np.errstate(invalid="ignore"):  # infinity has no sine
        return np.sin(x, out=empty_like(x))


def _sine_derivative(x: Array, y: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.cos(x, out=empty_like(x))


def _square(x: Array) -> Array:
    """y = x^2;  dx = 2 dy x.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.square.apply({}, np.array([[-3.0, 2.0]]))
        >>> y
        array([[9., 4.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[-6.,  4.]])

    Reference:
        Gilad-Bachrach et al. 2016, "CryptoNets", section 3.
    """
    with np.errstate(over="ignore"):
        return np.multiply(x, x, out=empty_like(x))


def _square_derivative(x: Array, y: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.multiply(x, 2, out=empty_like(x))


def _tanh_shrink(x: Array) -> Array:
    """y = x - tanh(x);  dx = dy * tanh(x)^2.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.tanh_shrink.apply({}, np.array([[-100.0, 0.0]]))
        >>> y
        array([[-99.,   0.]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[1., 0.]])

    Reference:
        PyTorch's ``Tanhshrink``.
    """
    y = _tanh(x)
    return np.subtract(x, y, out=y)


def _tanh_shrink_derivative(x: Array, y: Array) -> Array:
    root = _tanh(x)
    root *= root
    return root


def _log_sigmoid(x: Array, out: Array | None = None) -> Array:
    """y = -log(1 + e^-x), the logarithm of the sigmoid;  dx = dy * (1 - e^y).

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, vjp_fn = fn.log_sigmoid.apply({}, np.array([[-1000.0, 0.0]]))
        >>> y.round(4)
        array([[-1.000e+03, -6.931e-01]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[1. , 0.5]])

    Reference:
        Mächler 2012, "Accurately computing log(1 - exp(-|a|))", equation 10, for the stable form.
    """
    small = stable.log1p_exp(np.abs(x, out=empty_like(x)))
    y = np.clip(x, -np.inf, 0, out=empty_like(x) if out is None else out)
    y -= small
    return y


def _log_sigmoid_derivative(x: Array, y: Array) -> Array:
    found = np.expm1(y, out=empty_like(y))
    return np.negative(found, out=found)


sigmoid = ready("sigmoid", _sigmoid, lambda x, y: y * (1 - y), in_place=True)
tanh = ready("tanh", _tanh, lambda x, y: 1 - y * y, in_place=True)
softsign = ready("softsign", _softsign, _softsign_derivative)
exp = ready("exp", _exp, lambda x, y: y, in_place=True)
sine = ready("sine", _sine, _sine_derivative)
square = ready("square", _square, _square_derivative)
tanh_shrink = ready("tanh_shrink", _tanh_shrink, _tanh_shrink_derivative)
log_sigmoid = ready("log_sigmoid", _log_sigmoid, _log_sigmoid_derivative, in_place=True)


@layer
def softplus(beta: float = 1.0, threshold: float | None = None) -> Layer:
    """y = log(1 + e^(beta x)) / beta;  dx = dy * sigmoid(beta x).

    It is computed as max(x, 0) + log(1 + e^-|beta x|) / beta, which is exact for every x.

    Args:
        beta: positive; the larger it is, the nearer is y to max(x, 0).
        threshold: where beta x is larger, y = x and dx = dy, which is off by up to e^-threshold; PyTorch does so beyond
            20, and the gradient is off by 2e-9 there. None for nowhere.

    Returns:
        A layer without parameters.

    Raises:
        TypeError: an argument is not a number.
        ValueError: ``beta`` is not positive and finite, or ``threshold`` is negative or not finite.

    Example:
        >>> y, vjp_fn = softplus().apply({}, np.array([[-1000.0, 0.0, 1000.0]]))
        >>> y.round(4)
        array([[0.000e+00, 6.931e-01, 1.000e+03]])
        >>> vjp_fn(np.ones_like(y))[1]
        array([[0. , 0.5, 1. ]])

    Reference:
        Dugas et al. 2001, "Incorporating second-order functional knowledge for better option pricing", equation 4.
    """
    beta = checks.positive("softplus", "beta", beta, usual="1.0")
    linear = np.inf if threshold is None else checks.nonnegative("softplus", "threshold", threshold) / beta
    far = FLAT / beta

    def function(x: Array, out: Array | None = None) -> Array:
        size = np.abs(x, out=empty_like(x))
        if threshold is not None:
            size[x > linear] = far
        small = stable.log1p_exp(np.multiply(np.clip(size, 0, far, out=size), beta, out=size))
        small /= beta
        y = np.clip(x, 0, np.inf, out=empty_like(x) if out is None else out)
        y += small
        return y

    def derivative(x: Array, y: Array) -> Array:
        found = np.clip(y, 0, far, out=empty_like(y))
        found *= -beta
        np.negative(np.expm1(found, out=found), out=found)
        return found if threshold is None else np.maximum(found, x > linear, out=found)

    constants = (beta,) if threshold is None else (beta, threshold)
    return row("softplus", function, derivative, in_place=threshold is None, constants=constants)
