"""Rows of combinators, with children that have parameters, that draw and that look across the batch."""

from __future__ import annotations

from funcnn import layers
from funcnn.combinators import (
    add,
    branch,
    concat,
    frozen,
    graph,
    on,
    parallel,
    remat,
    repeat,
    residual,
    select,
    serial,
    spectral_norm,
    tied,
    weight_norm,
)
from funcnn.protocol import named
from funcnn.shapes import spec
from funcnn.testing.table.row import IMAGE, SERIES, VECTOR, Row

__all__ = ["ROWS"]

GRAPH = {
    "a": (layers.dense(4), "input"),
    "b": (serial(layers.batch_norm(), layers.dense(4, activation="tanh")), "input"),
    "ab": (layers.merge("multiply"), ("a", "b")),
    "mean": (layers.merge("average", "b", "a"), ("a", "b")),
    "dot": (layers.merge("dot"), ("ab", "b")),
    "all": (layers.merge("concat", "mean", "dot", "input"), ("input", "mean", "dot")),
    "y": (serial(layers.dropout(0.3)), "all"),
}

TWO = {"a": (5,), "b": (4, 4, 2)}

MASKED = {
    "h": (layers.dense(5), "input/x"),
    "y": (layers.merge("add", "h", "input/x"), ("h", "input/x")),
}

AUTOENCODER = serial(layers.dense(2, bias=False), layers.tanh, layers.dense(5, bias=False))

SEVERAL = serial(layers.conv1d(3, 2), layers.batch_norm(), layers.dense(2))

ROWS: list[Row] = [
    (serial(), VECTOR),
    (serial(layers.dense(4), layers.tanh, layers.dropout(0.5), named("head", layers.dense(2))), VECTOR),
    (serial(layers.conv2d(3, 2), layers.max_pool2d(2), layers.flatten, layers.dense(2)), IMAGE),
    (serial(layers.flatten, layers.batch_norm(), layers.dense(3)), IMAGE),
    (residual(layers.dense(4, activation=layers.tanh), layers.dense(5)), VECTOR),
    (add(layers.dense(4), serial(layers.dense(3), layers.tanh, layers.dense(4))), VECTOR),
    (add(layers.relu), VECTOR),
    (concat(layers.dense(4), layers.identity, layers.dropout(0.2)), VECTOR),
    (concat(layers.conv2d(3, 3, padding="same"), layers.identity, axis=1), (4, 3, 3)),
    (repeat(layers.dense(5, activation=layers.tanh), 3), VECTOR),
    (residual(layers.conv2d(2, 3, padding="same"), layers.batch_norm(activation=layers.relu)), IMAGE),
    (graph(GRAPH, "y"), VECTOR),
    (graph(MASKED, "y"), {"x": VECTOR, "mask": spec(VECTOR, bool)}),
    (parallel(a=layers.dense(3), b=serial(layers.conv2d(2, 3), layers.batch_norm())), TWO),
    (branch(a=layers.dense(3), b=serial(layers.dense(2), layers.dropout(0.2))), VECTOR),
    (on("a", layers.dense(3, activation=layers.tanh)), TWO),
    (on("b", layers.batch_norm()), {**TWO, "tokens": spec((3,), int)}),
    (serial(select("a"), layers.relu), {**TWO, "tokens": spec((3,), int)}),
    (remat(serial(layers.dense(4), layers.batch_norm(), layers.dropout(0.3), layers.dense(2))), VECTOR),
    (remat(layers.dense(4)), VECTOR),
    (frozen(serial(layers.dense(4), layers.tanh, layers.dropout(0.3))), VECTOR),
    (serial(named("encoder", frozen(layers.dense(4))), layers.tanh, layers.dense(2)), VECTOR),
    (tied(AUTOENCODER, {"dense_1/w": "dense_0/w"}, transpose=True), VECTOR),
    (tied(repeat(layers.dense(5, activation=layers.tanh), 3), {"dense_2": "dense_0"}), VECTOR),
    (weight_norm(layers.conv2d(3, 2)), IMAGE),
    (weight_norm(serial(layers.dense(4), layers.batch_norm(), frozen(layers.dense(3)), layers.dense(2))), VECTOR),
    (spectral_norm(layers.dense(3), iterations=200), VECTOR),
    (serial(named("a", spectral_norm(SEVERAL, iterations=200))), SERIES),
]
