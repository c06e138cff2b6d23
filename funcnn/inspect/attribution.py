"""Attribution shows which pixels, or which feature maps, determine the score of a class, by the model's own vjp.

Nothing is trained. The gradient of a score is computed as that of a loss is: with respect to the input for
``saliency``, with respect to the output of a layer inside for ``grad_cam``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks, tree
from funcnn.aliases import Array, Key, Params
from funcnn.calls import explained
from funcnn.contract import shape_of
from funcnn.engine.examples import join
from funcnn.engine.microbatch import AllReduce, Backward, Coroutine, Forward
from funcnn.inspect.traverse import every_layer, rebuild, wrapped
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.wording import cast, shown

__all__ = ["grad_cam", "saliency"]


@explained
def saliency(model: LayerLike, params: Params, x: Array, labels: ArrayLike) -> Array:
    """dy_label / dx for each example: how the score of a class changes with each element of the input.

    Args:
        model: a layer or a pair whose output is scores (batch, classes), best logits: softmax mixes the classes.
        params: its parameters.
        x: (batch, *shape).
        labels: the class whose score is explained: an integer, or one for each example, of shape (batch,).

    Returns:
        An array like ``x``.

    Raises:
        TypeError: x is not a plain array or a tree of them, or of integers, which have no gradient; or labels are not
            integers.
        ValueError: the output is not (batch, classes), or the labels do not fit the batch or the classes.

    Example:
        >>> import funcnn as fn
        >>> params = {"w": np.array([[1.0, 2.0], [3.0, 4.0]])}
        >>> saliency(fn.dense(2, bias=False), params, np.ones((1, 2)), 1)
        array([[2., 4.]])

    Reference:
        Simonyan, Vedaldi & Zisserman 2014, "Deep inside convolutional networks", arXiv 1312.6034, section 3.
    """
    return _score_gradient("saliency", model, params, x, labels)


def _score_gradient(kind: str, model: Any, params: Params, x: Array, labels: ArrayLike) -> Array:
    """dy_label / dx for each example, with errors that name the function that was called."""
    labels = checks.array(kind, labels, "labels")
    batch = _batch_size(kind, x)
    if labels.shape not in ((), (batch,)):
        raise ValueError(f"{kind}: expected one label, or one for each of {batch} examples, got shape {labels.shape}")
    y, vjp_fn = as_layer(model).apply(params, x)
    if np.ndim(y) != 2:
        raise ValueError(f"{kind}: expected a model whose output is scores (batch, classes), got shape {shape_of(y)}")
    dy = np.zeros_like(y)
    dy[np.arange(len(y)), checks.labels(labels, y.shape[1], kind)] = 1
    dx: Array | None = vjp_fn(dy)[1]
    if dx is None:
        raise TypeError(f"{kind}: x is of {x.dtype}, which has no gradient; explain the output of an embedding instead")
    return dx


def _batch_size(kind: str, x: Any) -> int:
    """The number of examples of the first array of x, or an error that names what is not an array with a batch axis."""
    leaves = {"x": x} if not isinstance(x, dict) else tree.flatten({"x": x})
    for path, leaf in leaves.items():
        checks.plain(kind, leaf, path)
        if not isinstance(leaf, np.ndarray) or not leaf.ndim:
            got = "a single number" if isinstance(leaf, np.ndarray) else checks.what(leaf)
            raise TypeError(f"{kind}: expected {path} as an array (batch, ...), got {got}; use {cast(leaf)}")
    if not leaves:
        raise ValueError(f"{kind}: expected x as an array or a dict of arrays, got an empty dict")
    return len(next(iter(leaves.values())))


@explained
def grad_cam(model: LayerLike, params: Params, x: Array, labels: ArrayLike, path: str) -> Array:
    """max(0, sum over k of a_k A_k) for each example: where feature maps that raise the score of a class are active.

    A_k is the k-th map of the output of the layer at ``path``; its weight a_k is the mean of dy_label / dA_k over all
    positions.

    Args:
        model: a layer or a pair whose output is scores (batch, classes).
        params: its parameters.
        x: (batch, *shape).
        labels: the class whose score is explained: an integer, or one for each example, of shape (batch,).
        path: a layer whose output is (batch, height, width, channels), ``"conv2d_1"`` for example; the last
            convolution is usual.

    Returns:
        (batch, height, width), never below 0.

    Raises:
        TypeError: as ``saliency``.
        ValueError: as ``saliency``; or there is no such layer, or its output is not (batch, height, width,
            channels).

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
    if not isinstance(path, str) or path not in paths:
        raise ValueError(f"grad_cam: no layer has the path {shown(path)}; there are {paths}")
    seen: dict[str, Array] = {}

    def keeping(name: str, value: Array) -> AllReduce:
        def keep_whole(parts: list[Array]) -> list[None]:
            seen[name] = join(parts)
            return [None] * len(parts)

        return AllReduce(value, keep_whole)

    def around(inner: Forward) -> Forward:
        def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
            y, pull = yield from inner(params, x, key, keep)
            if np.ndim(y) != 4:
                raise ValueError(
                    f"grad_cam: expected (batch, height, width, channels), but the output of {path!r} is {shape_of(y)}"
                )
            yield keeping("y", y)

            def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
                yield keeping("dy", dy)
                return (yield from pull(dy, input_grad))

            return y, backward

        return forward

    def change(here: str, layer: Layer) -> Layer:
        return wrapped(layer, around) if here == path else layer

    _score_gradient("grad_cam", rebuild(model, change), params, x, labels)
    weights = seen["dy"].mean(axis=(1, 2), keepdims=True)
    heat: Array = np.maximum((weights * seen["y"]).sum(axis=-1), 0)
    return heat
