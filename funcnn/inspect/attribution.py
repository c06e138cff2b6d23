"""Attribution asks which pixels, or which feature maps, decide the score of a class; the model's own vjp tells.

Nothing is trained. The gradient of a score is pulled back as that of a loss would be, to the input for ``saliency``, to
a layer inside for ``grad_cam``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Key, Params
from funcnn.engine.microbatch import AllReduce, Backward, Coroutine, Forward, join
from funcnn.inspect.traverse import every_layer, rebuild, wrapped
from funcnn.protocol import Layer, as_layer

__all__ = ["grad_cam", "saliency"]


def saliency(model: Any, params: Params, x: Array, labels: Any) -> Array:
    """dy_label / dx for each example: how the score of a class changes with each element of the input.

    Args:
        model: a layer or a pair whose output is scores (batch, classes), best logits: softmax mixes the classes.
        params: its parameters.
        x: (batch, *shape).
        labels: the class asked about, an integer, or one for each example, of shape (batch,).

    Returns:
        An array like ``x``.

    Raises:
        TypeError: labels are not integers.
        ValueError: the output is no scores, or the labels do not fit the batch or the classes.

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
        raise ValueError(f"expected a model whose output is scores (batch, classes), got shape {y.shape}")
    dy = np.zeros_like(y)
    dy[np.arange(len(y)), checks.labels(labels, y.shape[1], "saliency")] = 1
    _, dx = vjp_fn(dy)
    assert dx is not None
    return dx


def grad_cam(model: Any, params: Params, x: Array, labels: Any, path: str) -> Array:
    """max(0, sum over k of a_k A_k) for each example: where the feature maps that speak for a class are active.

    A_k is the k-th map of the output of the layer at ``path``, and a_k, its weight, the mean of dy_label / dA_k over all
    places.

    Args:
        model: a layer or a pair whose output is scores (batch, classes).
        params: its parameters.
        x: (batch, *shape).
        labels: the class asked about, an integer, or one for each example, of shape (batch,).
        path: a layer whose output is (batch, height, width, channels), ``"conv2d_1"`` for example; the last one of
            them says the most.

    Returns:
        (batch, height, width), never below 0.

    Raises:
        TypeError: labels are not integers.
        ValueError: as ``saliency``; or there is no such layer, or its output is no images.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(4, 3), fn.relu, fn.flatten, fn.dense(10))
        >>> params = model.init((8, 8, 1), rng=0)
        >>> grad_cam(model, params, np.ones((2, 8, 8, 1), np.float32), 7, "relu_0").shape
        (2, 6, 6)

    Reference:
        Selvaraju et al. 2017, "Grad-CAM", arXiv 1610.02391, equations 1 and 2.
    """
    paths = [here for here, _ in every_layer(model)]
    if path not in paths:
        raise ValueError(f"grad_cam: no layer has the path {path!r}; there are {paths}")
    seen: dict[str, Array] = {}

    def keeping(name: str, value: Array) -> AllReduce:
        def keep_whole(parts: list[Array]) -> list[None]:
            seen[name] = join(parts)
            return [None] * len(parts)

        return AllReduce(value, keep_whole)

    def around(inner: Forward) -> Forward:
        def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
            y, pull = yield from inner(params, x, key, keep)
            if y.ndim != 4:
                raise ValueError(
                    f"grad_cam: expected (batch, height, width, channels), but the output of {path!r} is {y.shape}"
                )
            yield keeping("y", y)

            def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
                yield keeping("dy", dy)
                return (yield from pull(dy, input_grad))

            return y, backward

        return forward

    def change(here: str, layer: Layer) -> Layer:
        return wrapped(layer, around) if here == path else layer

    saliency(rebuild(model, change), params, x, labels)
    weights = seen["dy"].mean(axis=(1, 2), keepdims=True)
    heat: Array = np.maximum((weights * seen["y"]).sum(axis=-1), 0)
    return heat
