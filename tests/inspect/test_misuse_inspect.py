"""Wrong calls of summaries and attribution: each raises the right error, in our words."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn

X = np.ones((4, 3), np.float32)
LABELS = np.array([0, 1, 0, 1])
MASKED = np.ma.array(np.ones((4, 3)), mask=np.eye(4, 3))
DENSE = fn.dense(2)
DENSE_PARAMS = DENSE.init((3,), 0)
CONV = fn.serial(fn.conv2d(2, 3), fn.flatten, fn.dense(3))
CONV_PARAMS = CONV.init((5, 5, 1), 0)
IMAGES = np.ones((2, 5, 5, 1), np.float32)
HEADS = fn.branch(a=fn.dense(2), b=fn.dense(1))
NORM, CHAIN = fn.batch_norm(), fn.serial(fn.dense(2), fn.relu)
HEADS_PARAMS = HEADS.init((3,), 0)

# The call, the type of the error, and words of its message.
MISUSE: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: fn.summary(DENSE, DENSE_PARAMS, 3), TypeError, "summary: shape is that of one example, a tuple of"),
    (lambda: fn.summary(DENSE, DENSE_PARAMS, None), TypeError, "summary: shape is that of one example, a tuple of"),
    (lambda: fn.summary(DENSE, DENSE_PARAMS, "3"), TypeError, "summary: shape is that of one example, a tuple of"),
    (lambda: fn.summary(DENSE, DENSE_PARAMS, (3.0,)), TypeError, "summary: shape is that of one example, a tuple"),
    (lambda: fn.summary(DENSE, DENSE_PARAMS, (-3,)), TypeError, "summary: shape is that of one example, a tuple of"),
    (lambda: fn.summary(DENSE, DENSE_PARAMS, (4,)), ValueError, "dense: expected"),
    (lambda: fn.summary(DENSE, DENSE_PARAMS, X), TypeError, "summary: shape is that of one example, a tuple of"),
    (lambda: fn.summary(DENSE, DENSE_PARAMS, {"a": (3,)}), TypeError, "dense: expected"),
    (lambda: fn.summary(DENSE, None, (3,)), TypeError, "summary: expected a dict of parameters, got a NoneType"),
    (lambda: fn.summary(DENSE, {}, (3,)), ValueError, "dense: expected"),
    (lambda: fn.summary(DENSE, {"w": "a", "b": "b"}, (3,)), TypeError, "summary: parameter 'b': expected an array,"),
    (lambda: fn.summary(DENSE, [DENSE_PARAMS], (3,)), TypeError, "summary: expected a dict of parameters, got a"),
    (lambda: fn.summary(None, DENSE_PARAMS, (3,)), TypeError, "a layer is a Layer or a tuple of two functions"),
    (lambda: fn.summary("dense", DENSE_PARAMS, (3,)), TypeError, "a layer is a Layer or a tuple of two functions"),
    (lambda: fn.summary(fn.dense, DENSE_PARAMS, (3,)), TypeError, "a layer is a Layer or a tuple of two functions"),
    (lambda: fn.summary(DENSE, DENSE_PARAMS, (3,)).show("file"), TypeError, "show: expected stream as an open text"),
    (lambda: fn.summary(DENSE, DENSE_PARAMS, (3,)).show(5), TypeError, "show: expected stream as an open text"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X, "a"), TypeError, "saliency: expected integer labels, got <U1"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X, 0.5), TypeError, "saliency: expected integer labels, got float64"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X, 2), ValueError, "saliency: expected labels from 0 to 1, got 2"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X, -1), ValueError, "saliency: expected labels from 0 to 1, got -1"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X, None), TypeError, "saliency: expected labels as an array of"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X, [0, 1]), ValueError, "saliency: expected one label, or one for"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X, np.ma.array(LABELS)), TypeError, "saliency: expected a plain"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X, [[0], [1], [0], [1]]), ValueError, "saliency: expected one label,"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X.tolist(), 0), TypeError, "saliency: expected x as an array (batch,"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X[0], 0), ValueError, "dense: expected"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, None, 0), TypeError, "saliency: expected x as an array (batch, ...),"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, 5, 0), TypeError, "saliency: expected x as an array (batch, ...),"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, {}, 0), ValueError, "saliency: expected x as an array or a dict of"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, {"a": X}, 0), TypeError, "dense: expected"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, MASKED, 0), TypeError, "saliency: expected a plain array as x, got"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X.astype(int), 0), TypeError, "dense: expected"),
    (lambda: fn.saliency(DENSE, DENSE_PARAMS, X.astype(np.float16), 0), TypeError, "dense: expected"),
    (lambda: fn.saliency(HEADS, HEADS_PARAMS, X, 0), ValueError, "saliency: expected a model whose output is"),
    (lambda: fn.saliency(fn.relu, {}, IMAGES, 0), ValueError, "saliency: expected a model whose output is scores"),
    (lambda: fn.saliency(None, {}, X, 0), TypeError, "a layer is a Layer or a tuple of two functions (init,"),
    (lambda: fn.saliency(DENSE, {}, X, 0), ValueError, "dense: expected"),
    (lambda: fn.grad_cam(CONV, CONV_PARAMS, IMAGES, 0, "nope"), ValueError, "grad_cam: no layer has the path 'nope'"),
    (lambda: fn.grad_cam(CONV, CONV_PARAMS, IMAGES, 0, None), ValueError, "grad_cam: no layer has the path None"),
    (lambda: fn.grad_cam(CONV, CONV_PARAMS, IMAGES, 0, ["conv2d_0"]), ValueError, "grad_cam: no layer has the path"),
    (lambda: fn.grad_cam(CONV, CONV_PARAMS, IMAGES, 0, 5), ValueError, "grad_cam: no layer has the path 5"),
    (lambda: fn.grad_cam(CONV, CONV_PARAMS, IMAGES, 0, "flatten_0"), ValueError, "grad_cam: expected (batch,"),
    (lambda: fn.grad_cam(CONV, CONV_PARAMS, IMAGES, 3, "conv2d_0"), ValueError, "grad_cam: expected labels from 0"),
    (lambda: fn.grad_cam(CONV, CONV_PARAMS, IMAGES, "a", "conv2d_0"), TypeError, "grad_cam: expected integer"),
    (lambda: fn.grad_cam(CONV, CONV_PARAMS, IMAGES[..., 0], 0, "conv2d_0"), ValueError, "conv2d: expected"),
    (
        lambda: fn.grad_cam(fn.serial(HEADS, fn.select("a")), {"branch_0": HEADS_PARAMS}, X, 0, "branch_0"),
        ValueError,
        "grad_cam: expected (batch, height, width, channels), but the output of 'branch_0' is",
    ),
    (lambda: fn.grad_cam(5, CONV_PARAMS, IMAGES, 0, "conv2d_0"), TypeError, "a layer is a Layer or a tuple of two"),
    (lambda: fn.grad_cam(CONV, CONV_PARAMS, IMAGES, 0, np.ones(2)), ValueError, "grad_cam: no layer has the path"),
    (
        lambda: fn.fold_batch_norm(NORM, None),
        ValueError,
        "fold_batch_norm: expected a dict of parameters, got NoneType",
    ),
    (lambda: fn.fold_batch_norm(NORM, {}), ValueError, "in layer batch_norm: expected the parameters ['scale', 'shift"),
    (lambda: fn.part(CHAIN, None, "relu_0"), ValueError, "part: expected a dict of parameters, got NoneType"),
    (lambda: fn.part(CHAIN, [1], slice(1)), ValueError, "part: expected a dict of parameters, got list"),
    (lambda: fn.rebuild(CHAIN, None), TypeError, "rebuild: change: expected a function of (path, layer), got None"),
    (lambda: fn.rebuild(CHAIN, lambda path: path), TypeError, "rebuild: change: expected a function of (path, layer)"),
    (lambda: fn.rebuild(CHAIN, lambda path, layer: None), TypeError, "rebuild: change must return a layer, got a None"),
    (lambda: fn.rebuild(CHAIN, lambda path, layer: layer, np.ones(2)), TypeError, "rebuild: expected path as a str"),
]


@pytest.mark.parametrize(("call", "error", "words"), MISUSE)
def test_a_wrong_call_raises_in_our_words(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
    where = Path(traceback.extract_tb(caught.value.__traceback__)[-1].filename)
    assert Path(fn.__file__).parent in where.parents, f"a text of Python, NumPy or matplotlib, from {where}"
