"""One table of every layer and combinator, in all variants: a new layer is a new row, and is checked by every law.

The tests run through it, and so does ``python -m funcnn.testing``.
"""

from __future__ import annotations

import numpy as np

from funcnn import combinators, layers
from funcnn.aliases import Tree
from funcnn.protocol import Layer, named
from funcnn.shapes import spec

__all__ = ["table_of_layers"]


def table_of_layers() -> list[tuple[Layer, Tree]]:
    """Every layer and combinator of the library, in all its variants, with an input shape: the rows of the tests.

    Returns:
        ``[(layer, shape)]``, with shapes as ``init`` takes them.

    Example:
        >>> len(table_of_layers()) > 30
        True
    """
    conv2d, dense, relu, tanh = layers.conv2d, layers.dense, layers.relu, layers.tanh
    image, vector, series, volume = (7, 6, 2), (5,), (9, 2), (5, 4, 6, 2)
    return [
        (dense(4), vector),
        (dense(4, bias=False), vector),
        (dense(4, activation=tanh), (3, 5)),
        (dense(4, activation=relu), vector),
        (conv2d(3, 3), image),
        (conv2d(3, (2, 3), stride=(2, 1), padding="same"), image),
        (conv2d(3, 1, bias=False), image),
        (conv2d(4, 3, dilation=2, activation=relu), image),
        (conv2d(4, (3, 2), dilation=(2, 1), stride=2, padding="same", groups=2), image),
        (conv2d(2, 3, groups=2, padding=((0, 2), (1, 0))), image),
        (conv2d(4, 3, groups=2, stride=(1, 2)), image),
        (conv2d(3, 3, padding="same", pad_mode="edge", activation="tanh"), image),
        (conv2d(3, 2, stride=3, padding=((4, 0), (0, 5)), pad_mode="edge"), image),
        (layers.conv1d(3, 3), series),
        (layers.conv1d(4, 3, dilation=2, groups=2, padding=(4, 0), activation=relu), series),
        (layers.conv1d(3, 4, stride=3, padding="same", pad_mode="edge", bias=False), series),
        (layers.conv3d(3, (2, 3, 2)), volume),
        (layers.conv3d(4, 2, stride=(1, 2, 2), dilation=(2, 1, 2), groups=2, padding="same"), volume),
        (layers.conv3d(2, 3, padding=((1, 1), (2, 0), (0, 1)), pad_mode="edge", activation="tanh"), volume),
        (layers.max_pool2d(2), image),
        (layers.max_pool2d(3, stride=2, padding="same"), image),
        (layers.max_pool2d((2, 3), stride=1, padding=((1, 0), (2, 1))), image),
        (layers.max_pool2d(2, stride=3, ceil_mode=True), image),
        (layers.min_pool2d(3, stride=2, ceil_mode=True), image),
        (layers.avg_pool2d(2), image),
        (layers.avg_pool2d(3, stride=2, padding="same"), image),
        (layers.avg_pool2d((3, 2), stride=(1, 3), padding=((2, 1), (0, 1)), ceil_mode=True), image),
        (layers.max_pool1d(3, stride=2, padding="same"), series),
        (layers.min_pool1d(2, padding=(1, 0)), series),
        (layers.avg_pool1d(3, stride=2, ceil_mode=True), series),
        (layers.max_pool3d(2), volume),
        (layers.min_pool3d((2, 1, 3), stride=2, padding="same"), volume),
        (layers.avg_pool3d(3, stride=(1, 2, 2), padding=((1, 1), (0, 2), (1, 0))), volume),
        (layers.global_avg_pool1d, series),
        (layers.global_avg_pool2d, image),
        (layers.global_avg_pool3d, volume),
        (layers.flatten, image),
        (layers.reshape(3, -1), image),
        (layers.upsample1d(3), series),
        (layers.upsample2d((2, 3)), image),
        (layers.upsample3d((2, 1, 3)), volume),
        (layers.dropout(0.3), image),
        (layers.dropout(0.0), vector),
        (layers.batch_norm(), image),
        (layers.batch_norm(eps=1e-3), vector),
        (layers.batch_norm(activation=relu), image),
        (layers.batch_norm(activation="swish"), vector),
        (layers.scale_and_shift(), image),
        (layers.scale_and_shift(activation="tanh"), vector),
        (conv2d(3, 3, activation=layers.softmax), image),
        (layers.identity, vector),
        (relu, vector),
        (layers.leaky_relu(0.2), vector),
        (layers.sigmoid, vector),
        (tanh, vector),
        (layers.softmax, (3, 5)),
        (layers.log_softmax, (3, 5)),
        (layers.swish, vector),
        (layers.elementwise(np.sin, lambda x, y: np.cos(x), name="elementwise"), vector),
        (combinators.serial(), vector),
        (combinators.serial(dense(4), tanh, layers.dropout(0.5), named("head", dense(2))), vector),
        (combinators.serial(conv2d(3, 2), layers.max_pool2d(2), layers.flatten, dense(2)), image),
        (combinators.serial(layers.flatten, layers.batch_norm(), dense(3)), image),
        (combinators.residual(dense(4, activation=tanh), dense(5)), vector),
        (combinators.add(dense(4), combinators.serial(dense(3), tanh, dense(4))), vector),
        (combinators.add(relu), vector),
        (combinators.concat(dense(4), layers.identity, layers.dropout(0.2)), vector),
        (combinators.concat(conv2d(3, 3, padding="same"), layers.identity, axis=1), (4, 3, 3)),
        (combinators.repeat(dense(5, activation=tanh), 3), vector),
        (combinators.residual(conv2d(2, 3, padding="same"), layers.batch_norm(activation=relu)), image),
        (combinators.graph(GRAPH, "y"), vector),
        (combinators.graph(MASKED, "y"), {"x": vector, "mask": spec(vector, bool)}),
        (combinators.parallel(a=dense(3), b=combinators.serial(conv2d(2, 3), layers.batch_norm())), TWO),
        (combinators.branch(a=dense(3), b=combinators.serial(dense(2), layers.dropout(0.2))), vector),
        (combinators.on("a", dense(3, activation=tanh)), TWO),
        (combinators.on("b", layers.batch_norm()), {**TWO, "tokens": spec((3,), int)}),
        (combinators.serial(combinators.select("a"), relu), {**TWO, "tokens": spec((3,), int)}),
        (combinators.remat(combinators.serial(dense(4), layers.batch_norm(), layers.dropout(0.3), dense(2))), vector),
        (combinators.remat(dense(4)), vector),
        (combinators.frozen(combinators.serial(dense(4), tanh, layers.dropout(0.3))), vector),
        (combinators.serial(named("encoder", combinators.frozen(dense(4))), tanh, dense(2)), vector),
        (combinators.tied(AUTOENCODER, {"dense_1/w": "dense_0/w"}, transpose=True), vector),
        (combinators.tied(combinators.repeat(dense(5, activation=tanh), 3), {"dense_2": "dense_0"}), vector),
    ]


GRAPH = {
    "a": (layers.dense(4), "input"),
    "b": (combinators.serial(layers.batch_norm(), layers.dense(4, activation="tanh")), "input"),
    "ab": (layers.merge("multiply"), ("a", "b")),
    "mean": (layers.merge("average", "b", "a"), ("a", "b")),
    "dot": (layers.merge("dot"), ("ab", "b")),
    "all": (layers.merge("concat", "mean", "dot", "input"), ("input", "mean", "dot")),
    "y": (combinators.serial(layers.dropout(0.3)), "all"),
}

TWO = {"a": (5,), "b": (4, 4, 2)}

MASKED = {
    "h": (layers.dense(5), "input/x"),
    "y": (layers.merge("add", "h", "input/x"), ("h", "input/x")),
}

AUTOENCODER = combinators.serial(layers.dense(2, bias=False), layers.tanh, layers.dense(5, bias=False))
