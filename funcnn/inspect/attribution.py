"""Why did the model answer that? Its own vjp knows: it says how each pixel, or each feature map, moves a class score.

Nothing is trained and nothing guessed; a score's gradient is pulled back as a loss's would be, to the input for
``saliency``, to a layer inside for ``grad_cam``.
"""

from typing import Any

import numpy as np

from funcnn.aliases import Array, Params, Rng
from funcnn.protocol import Layer, Vjp, as_layer, pull_back
from funcnn.losses.targets import check_labels
from funcnn.inspect.traverse import rebuild, watched

__all__ = ["grad_cam", "saliency"]


def saliency(model: Any, params: Params, x: Array, labels: Any) -> Array:
    """dy_label / dx for each example: how the score of a class changes with each number of the input.

    Args:
        model: a layer or a pair that answers scores (batch, classes), best logits: softmax mixes the classes.
        params: its parameters.
        x: (batch, *shape).
        labels: the class asked about, an integer, or one for each example, of shape (batch,).

    Returns:
        An array like ``x``.

    Raises:
        TypeError: labels are not integers.
        ValueError: the model answers no scores, or the labels do not fit the batch or the classes.

    Example:
        >>> import funcnn as fn
        >>> params = {"w": np.array([[1.0, 2.0], [3.0, 4.0]])}
        >>> saliency(fn.dense(2, bias=False), params, np.ones((1, 2)), 1)
        array([[2., 4.]])

    Reference:
        Simonyan, Vedaldi & Zisserman 2014, "Deep inside convolutional networks", arXiv 1312.6034, section 3.
    """
    labels = np.asarray(labels)
    if labels.shape not in ((), (len(x),)):
        raise ValueError(f"expected one label, or one for each of {len(x)} examples, got shape {labels.shape}")
    y, vjp_fn = as_layer(model).apply(params, x)
    if y.ndim != 2:
        raise ValueError(f"expected a model that answers scores (batch, classes), got shape {y.shape}")
    dy = np.zeros_like(y)
    dy[np.arange(len(y)), check_labels(labels, y.shape[1])] = 1
    _, dx = vjp_fn(dy)
    assert dx is not None
    return dx


def grad_cam(model: Any, params: Params, x: Array, labels: Any, path: str) -> Array:
    """max(0, sum over k of a_k A_k) for each example: where the feature maps that speak for a class are active.

    A_k is the k-th map that the layer at ``path`` answers, and a_k, its weight, the mean of dy_label / dA_k over all
    places.

    Args:
        model: a layer or a pair that answers scores (batch, classes).
        params: its parameters.
        x: (batch, *shape).
        labels: the class asked about, an integer, or one for each example, of shape (batch,).
        path: a layer that answers (batch, height, width, channels), ``"conv2d_1"`` for example; the last one of them
            says the most.

    Returns:
        (batch, height, width), never below 0.

    Raises:
        TypeError: labels are not integers.
        ValueError: as ``saliency``; or there is no such layer, or it answers no images.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(4, 3), fn.relu, fn.flatten, fn.dense(10))
        >>> params = model.init((8, 8, 1), rng=0)
        >>> grad_cam(model, params, np.ones((2, 8, 8, 1), np.float32), 7, "relu_0").shape
        (2, 6, 6)

    Reference:
        Selvaraju et al. 2017, "Grad-CAM", arXiv 1610.02391, equations 1 and 2.
    """
    paths: list[str] = []
    noted: dict[str, Array] = {}

    def noting(here: str, layer: Layer) -> Layer:
        paths.append(here)

        def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
            y, vjp_fn = layer.apply(params, x, rng)
            if y.ndim != 4:
                raise ValueError(f"grad_cam: expected (batch, height, width, channels), but {path!r} answers {y.shape}")
            noted["y"] = y

            def noting_vjp(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
                noted["dy"] = dy
                return pull_back(vjp_fn, dy, input_grad)

            return y, noting_vjp

        return watched(layer, apply) if here == path else layer

    rebuilt = rebuild(model, noting)
    if path not in paths:
        raise ValueError(f"grad_cam: no layer has the path {path!r}; there are {paths}")
    saliency(rebuilt, params, x, labels)
    weights = noted["dy"].mean(axis=(1, 2), keepdims=True)
    heat: Array = np.maximum((weights * noted["y"]).sum(axis=-1), 0)
    return heat
