"""Wrong calls of all plots: each raises the right error, in our words, and leaves axes that were passed untouched."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import funcnn as fn
from funcnn import plot
from tests.misuse.frame import Frame

HISTORY = [{"epoch": 0, "train_loss": 1.0}]
GREY = np.ones((3, 4, 5))
POINTS = np.array([[0.0, 1.0], [2.0, 3.0]])
CLASSES = np.array([0, 1])
P, SCORES = np.array([0.9, 0.2, 0.6]), np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
DENSE_PARAMS = fn.dense(2).init((3,), 0)
PLANE = fn.dense(3)
PLANE_PARAMS = PLANE.init((2,), 0)
CONV = fn.serial(fn.conv2d(2, 3), fn.flatten, fn.dense(3))
CONV_PARAMS = CONV.init((5, 5, 1), 0)
IMAGES = np.ones((2, 5, 5, 1), np.float32)
MATRIX = np.eye(2, dtype=int).view(np.matrix)


# The call, the type of the error, and words of its message.
MISUSE: list[tuple[Callable[[Axes], Any], type[Exception], str]] = [
    (lambda ax: plot.learning_curves(np.array(1), ax=ax), TypeError, "learning_curves: expected a list of dicts of"),
    (
        lambda ax: plot.learning_curves([{"epoch": 10**400, "train_loss": 1.0}], ax=ax),
        ValueError,
        "learning_curves: record 0 has a 'epoch' that is too large for a float",
    ),
    (lambda ax: plot.roc_curve(P, np.array([1, 1, 1]), ax=ax), ValueError, "roc_curve is undefined: class 1 has all"),
    (
        lambda ax: plot.roc_curve(SCORES, np.ones((3, 2)), ["a", "b"], multilabel=True, ax=ax),
        ValueError,
        "roc_curve is undefined: a has all examples, b has all examples; it compares",
    ),
    (
        lambda ax: plot.precision_recall_curve(P, np.zeros(3), ax=ax),
        ValueError,
        "precision_recall_curve is undefined: class 1 has no example",
    ),
    (lambda ax: plot.roc_curve(3 * SCORES, [1, 0, 1], ax=ax), ValueError, "roc_curve: expected probabilities in [0"),
    (lambda ax: plot.roc_curve(SCORES, np.eye(3)[:, :2], multilabel=2, ax=ax), TypeError, "multilabel must be True or"),
    (lambda ax: plot.roc_curve(P, [1, 0, 1], ["a"], ax=ax), ValueError, "roc_curve: expected 2 class names, one for"),
    (lambda ax: plot.roc_curve(P, [1, 0, 1], "ab", ax=ax), TypeError, "roc_curve: expected class names as a list"),
    (lambda ax: plot.roc_curve(P, [1, 0], ax=ax), ValueError, "roc_curve: expected targets of shape (3,) or (3, 1)"),
    (lambda ax: plot.roc_curve(P, [1, 0, 1], weights=[1, 1], ax=ax), ValueError, "roc_curve: expected weights of"),
    (lambda ax: plot.roc_curve(None, [1, 0, 1], ax=ax), TypeError, "roc_curve: expected scores as an array of numbers"),
    (lambda ax: plot.calibration_curve(3 * P, [1, 0, 1], ax=ax), ValueError, "calibration_curve: expected probabilit"),
    (lambda ax: plot.calibration_curve(P, [1, 0, 1], bins=0, ax=ax), ValueError, "calibration_curve: bins must be a"),
    (
        lambda ax: plot.calibration_curve(9 * SCORES, np.eye(3)[:, :2], multilabel=True, ax=ax),
        ValueError,
        "calibration_curve: expected probabilities in [0, 1], got values from",
    ),
    (
        lambda ax: plot.calibration_curve(SCORES, [1, 0, 1], ["a", "b"], ax=ax),
        ValueError,
        "calibration_curve: of several classes there is one curve, that of the highest probability; leave out",
    ),
    (lambda ax: plot.validation_curve([], [], [], ax=ax), ValueError, "validation_curve: expected values of shape"),
    (lambda ax: plot.validation_curve(3, [1], [1], ax=ax), ValueError, "validation_curve: expected values of shape"),
    (
        lambda ax: plot.validation_curve([1, np.nan], [1, 2], [1, 2], ax=ax),
        ValueError,
        "NaN or infinite numbers in the",
    ),
    (lambda ax: plot.validation_curve(["a"], [1], [1], ax=ax), TypeError, "validation_curve: expected values of numb"),
    (
        lambda ax: plot.validation_curve([1, 2], [1, 2], [1], ax=ax),
        ValueError,
        "validation_curve: expected validation of shape (2,) or (2, runs), one row for each value, got shape (1,)",
    ),
    (
        lambda ax: plot.validation_curve([1], [[[1]]], [1], ax=ax),
        ValueError,
        "validation_curve: expected train of",
    ),
    (
        lambda ax: plot.validation_curve([1], None, [1], ax=ax),
        TypeError,
        "validation_curve: expected train as",
    ),
    (lambda ax: plot.validation_curve([1], [1], [1], 5, ax=ax), TypeError, "expected parameter as a string, got a int"),
    (lambda ax: plot.validation_curve([1], [1], [1], "x", None, ax=ax), TypeError, "expected metric as a string, got"),
    (lambda ax: plot.roc_curve(P, [1, 0, 1], ax=5), TypeError, "roc_curve: expected ax as plain matplotlib axes"),
    (lambda ax: plot.calibration_curve(P, [1, 0, 1], ax=5), TypeError, "calibration_curve: expected ax as plain"),
    (lambda ax: plot.validation_curve([1], [1], [1], ax=5), TypeError, "validation_curve: expected ax as plain"),
    (lambda ax: plot.learning_curves(None, ax=ax), TypeError, "learning_curves: expected a list of dicts of"),
    (lambda ax: plot.learning_curves("abc", ax=ax), TypeError, "learning_curves: expected a list of dicts of"),
    (lambda ax: plot.learning_curves({"train_loss": [1, 2]}, ax=ax), TypeError, "learning_curves: expected a list"),
    (lambda ax: plot.learning_curves([1, 2], ax=ax), TypeError, "learning_curves: expected a list of dicts of"),
    (lambda ax: plot.learning_curves([[("epoch", 0)]], ax=ax), TypeError, "learning_curves: expected a list of"),
    (lambda ax: plot.learning_curves(Frame(), ax=ax), TypeError, "learning_curves: expected a list of dicts of"),
    (lambda ax: plot.learning_curves(HISTORY, 5, ax=ax), ValueError, "learning_curves: the history has no metric 5"),
    (lambda ax: plot.learning_curves(HISTORY, None, ax=ax), ValueError, "learning_curves: the history has no"),
    (lambda ax: plot.learning_curves([{"train_loss": 1.0}], ax=ax), ValueError, "learning_curves: record 0 has"),
    (
        lambda ax: plot.learning_curves([{"epoch": 0, "train_loss": "abc"}], ax=ax),
        ValueError,
        "learning_curves: record 0 has 'abc' as 'train_loss', which is not a number",
    ),
    (
        lambda ax: plot.learning_curves([{"epoch": "x", "train_loss": "1.5"}], ax=ax),
        ValueError,
        "learning_curves: record 0 has 'x' as 'epoch', which is not a number",
    ),
    (
        lambda ax: plot.learning_curves([{"epoch": 0, "train_loss": None}], ax=ax),
        TypeError,
        "learning_curves: record 0 has a NoneType as 'train_loss', not a number",
    ),
    (
        lambda ax: plot.learning_curves([{"epoch": 0, "train_loss": [1.0]}], ax=ax),
        TypeError,
        "learning_curves: record 0 has a list as 'train_loss', not a number",
    ),
    (
        lambda ax: plot.learning_curves([{"epoch": 0, "train_loss": np.ones(2)}], ax=ax),
        TypeError,
        "learning_curves: record 0 has a ndarray as 'train_loss', not a number",
    ),
    (lambda ax: plot.learning_curves([{"epoch": 0, "train_loss": 1j}], ax=ax), TypeError, "learning_curves: record"),
    (
        lambda ax: plot.learning_curves([{"epoch": 0, "train_loss": True}], ax=ax),
        TypeError,
        "learning_curves: record 0 has a bool as 'train_loss', not a number",
    ),
    (
        lambda ax: plot.learning_curves([{"epoch": None, "train_loss": 1.0}], ax=ax),
        TypeError,
        "learning_curves: record 0 has a NoneType as 'epoch', not a number",
    ),
    (
        lambda ax: plot.learning_curves([{"epoch": "", "train_loss": 1.0}], ax=ax),
        ValueError,
        "learning_curves: record 0 has '' as 'epoch', which is not a number",
    ),
    (lambda ax: plot.learning_curves([{0: 1}], ax=ax), TypeError, "learning_curves: expected strings as the keys"),
    (lambda ax: plot.norms(None, ax=ax), TypeError, "norms: expected a list of dicts of numbers"),
    (lambda ax: plot.norms([DENSE_PARAMS], ax=ax), TypeError, "norms: record 0 has a ndarray as 'w', not a number"),
    (lambda ax: plot.norms({"w": 1.0}, ax=ax), TypeError, "norms: expected a list of dicts of numbers"),
    (lambda ax: plot.norms([{("a",): 1.0}], ax=ax), TypeError, "norms: expected strings as the keys of a record,"),
    (lambda ax: plot.norms([{"w": "abc"}], ax=ax), ValueError, "norms: record 0 has 'abc' as 'w', which is not a"),
    (lambda ax: plot.norms([{"w": 1.0, "step": "x"}], ax=ax), ValueError, "norms: record 0 has 'x' as 'step',"),
    (lambda ax: plot.norms([{"w": ""}], ax=ax), ValueError, "norms: expected records such as tree.norms(grads),"),
    (lambda ax: plot.norms(5, ax=ax), TypeError, "norms: expected a list of dicts of numbers"),
    (lambda ax: plot.confusion_matrix(None, ax=ax), TypeError, "confusion_matrix: expected matrix as an array of"),
    (lambda ax: plot.confusion_matrix("abc", ax=ax), TypeError, "confusion_matrix: expected matrix of numbers, got"),
    (lambda ax: plot.confusion_matrix([[1, 2], [3]], ax=ax), ValueError, "confusion_matrix: expected matrix as an"),
    (lambda ax: plot.confusion_matrix([["1", "2"], ["3", "4"]], ax=ax), TypeError, "confusion_matrix: expected"),
    (lambda ax: plot.confusion_matrix(np.eye(2, dtype=complex), ax=ax), TypeError, "confusion_matrix: expected"),
    (lambda ax: plot.confusion_matrix(np.eye(2, dtype=object), ax=ax), TypeError, "confusion_matrix: expected"),
    (lambda ax: plot.confusion_matrix(np.ma.ones((2, 2)), ax=ax), TypeError, "confusion_matrix: expected a plain"),
    (
        lambda ax: plot.confusion_matrix(MATRIX, ax=ax),
        TypeError,
        "confusion_matrix: expected a plain array as matrix, got matrix",
    ),
    (lambda ax: plot.confusion_matrix(np.eye(2) * np.nan, ax=ax), ValueError, "confusion_matrix: there are NaN or"),
    (lambda ax: plot.confusion_matrix(np.eye(2) * -1, ax=ax), ValueError, "confusion_matrix: expected counts,"),
    (lambda ax: plot.confusion_matrix(5, ax=ax), ValueError, "confusion_matrix: expected a matrix of shape"),
    (lambda ax: plot.confusion_matrix(np.eye(2, dtype=int), "ab", ax=ax), TypeError, "confusion_matrix: expected"),
    (lambda ax: plot.confusion_matrix(np.eye(2, dtype=int), 5, ax=ax), TypeError, "confusion_matrix: expected"),
    (lambda ax: plot.confusion_matrix(np.eye(2, dtype=int), [1, 2], ax=ax), TypeError, "confusion_matrix: expected"),
    (
        lambda ax: plot.confusion_matrix(np.eye(2, dtype=int), [None, "a"], ax=ax),
        TypeError,
        "confusion_matrix: expected class names as strings, got None",
    ),
    (
        lambda ax: plot.confusion_matrix(np.eye(2, dtype=int), ["a", "b", "c"], ax=ax),
        ValueError,
        "confusion_matrix: expected 2 class names, one for each class, got 3",
    ),
    (lambda ax: plot.confusion_matrix(np.eye(2, dtype=int), ["a"], ax=ax), ValueError, "confusion_matrix: expected"),
    (lambda ax: plot.image_grid(None, ax=ax), TypeError, "image_grid: expected images as an array of numbers"),
    (lambda ax: plot.image_grid("a", ax=ax), TypeError, "image_grid: expected images of numbers, got <U1"),
    (lambda ax: plot.image_grid([GREY, GREY], ax=ax), ValueError, "image_grid: expected images (height, width), or"),
    (lambda ax: plot.image_grid([[1, 2], [3]], ax=ax), ValueError, "image_grid: expected images as an array of"),
    (lambda ax: plot.image_grid(np.ones((2, 3)), ax=ax), ValueError, "image_grid: expected images (height, width),"),
    (lambda ax: plot.image_grid(np.ones((2, 3, 4, 4)), ax=ax), ValueError, "image_grid: expected images (height,"),
    (lambda ax: plot.image_grid(np.ones((2, 0, 3)), ax=ax), ValueError, "image_grid: expected images (height,"),
    (lambda ax: plot.image_grid(np.ma.ones((2, 3, 4)), ax=ax), TypeError, "image_grid: expected a plain array as"),
    (lambda ax: plot.image_grid(GREY * np.nan, ax=ax), ValueError, "image_grid: there are NaN or infinite numbers"),
    (lambda ax: plot.image_grid(GREY * 1j, ax=ax), TypeError, "image_grid: expected images of numbers, got"),
    (lambda ax: plot.image_grid(GREY.astype(object), ax=ax), TypeError, "image_grid: expected images as an array"),
    (lambda ax: plot.image_grid(GREY, labels="abc", ax=ax), ValueError, "image_grid: expected labels of shape"),
    (lambda ax: plot.image_grid(GREY, labels=0, ax=ax), ValueError, "image_grid: expected labels of shape (3,),"),
    (lambda ax: plot.image_grid(GREY, labels=np.ma.array([0, 1, 2]), ax=ax), TypeError, "image_grid: expected a"),
    (lambda ax: plot.image_grid(GREY, labels=[[0], [1], [2]], ax=ax), ValueError, "image_grid: expected labels of"),
    (lambda ax: plot.image_grid(GREY, labels=[0, 1, None], ax=ax), TypeError, "image_grid: expected labels as an"),
    (lambda ax: plot.image_grid(GREY, labels=["a", "b", "c"], ax=ax), TypeError, "image_grid: expected integer"),
    (lambda ax: plot.image_grid(GREY, [0, 1, 2], [0, 1, 2.5], ax=ax), TypeError, "image_grid: expected integer"),
    (lambda ax: plot.image_grid(GREY, [0, 1, 2], class_names=5, ax=ax), TypeError, "image_grid: expected class"),
    (lambda ax: plot.image_grid(GREY, [0, 1, 2], class_names="abc", ax=ax), TypeError, "image_grid: expected class"),
    (
        lambda ax: plot.image_grid(GREY, [0, 1, 2], class_names=[0, 1, 2], ax=ax),
        TypeError,
        "image_grid: expected class names as strings, got 0",
    ),
    (lambda ax: plot.image_grid(GREY, columns="8", ax=ax), ValueError, "image_grid: columns must be a whole number"),
    (lambda ax: plot.image_grid(GREY, columns=2.0, ax=ax), ValueError, "image_grid: columns must be a whole number"),
    (lambda ax: plot.image_grid(GREY, columns=None, ax=ax), ValueError, "image_grid: columns must be a whole"),
    (lambda ax: plot.heat_map(None, GREY[0], ax=ax), TypeError, "heat_map: expected image as an array of numbers"),
    (lambda ax: plot.heat_map(GREY[0], None, ax=ax), TypeError, "heat_map: expected heat as an array of numbers"),
    (lambda ax: plot.heat_map(GREY[0], "a", ax=ax), TypeError, "heat_map: expected heat of numbers, got <U1"),
    (lambda ax: plot.heat_map(GREY[0], GREY[0] * 1j, ax=ax), TypeError, "heat_map: expected heat of numbers, got"),
    (lambda ax: plot.heat_map(GREY[0], np.ma.ones((2, 2)), ax=ax), TypeError, "heat_map: expected a plain array as"),
    (lambda ax: plot.heat_map(np.ma.ones((2, 2)), GREY[0], ax=ax), TypeError, "heat_map: expected a plain array as"),
    (lambda ax: plot.heat_map(GREY[0], np.ones(3), ax=ax), ValueError, "heat_map: expected finite numbers of shape"),
    (lambda ax: plot.heat_map(GREY[0], 5, ax=ax), ValueError, "heat_map: expected finite numbers of shape (rows,"),
    (lambda ax: plot.heat_map(5, GREY[0], ax=ax), ValueError, "heat_map: expected images (height, width), or"),
    (lambda ax: plot.heat_map(GREY[0] * np.nan, GREY[0], ax=ax), ValueError, "heat_map: there are NaN or infinite"),
    (lambda ax: plot.heat_map(GREY[0], GREY[0] * np.inf, ax=ax), ValueError, "heat_map: expected finite numbers as"),
    (lambda ax: plot.heat_map(np.ones((3, 3, 2)), GREY[0], ax=ax), ValueError, "heat_map: expected images (height,"),
    (lambda ax: plot.heat_map(GREY[0], GREY[0].astype(object), ax=ax), TypeError, "heat_map: expected heat as an"),
    (lambda ax: plot.filtered_image(GREY[0], None, ax=ax), TypeError, "filtered_image: expected kernels as a dict"),
    (lambda ax: plot.filtered_image(GREY[0], np.eye(3), ax=ax), TypeError, "filtered_image: expected kernels as a"),
    (lambda ax: plot.filtered_image(GREY[0], [np.eye(3)], ax=ax), TypeError, "filtered_image: expected kernels as"),
    (lambda ax: plot.filtered_image(GREY[0], {0: np.eye(3)}, ax=ax), TypeError, "filtered_image: expected kernels"),
    (lambda ax: plot.filtered_image(GREY[0], {"a": None}, ax=ax), TypeError, "filtered_image: expected kernel 'a'"),
    (lambda ax: plot.filtered_image(GREY[0], {"a": "b"}, ax=ax), TypeError, "filtered_image: expected kernel 'a'"),
    (
        lambda ax: plot.filtered_image(GREY[0], {"a": np.eye(2) * np.nan}, ax=ax),
        ValueError,
        "filtered_image: there are NaN or infinite numbers in the kernel 'a'",
    ),
    (lambda ax: plot.filtered_image(GREY[0], {"a": np.eye(2) * 1j}, ax=ax), TypeError, "filtered_image: expected"),
    (
        lambda ax: plot.filtered_image(GREY[0], {"a": np.ma.ones((2, 2))}, ax=ax),
        TypeError,
        "filtered_image: expected a plain array as kernel 'a', got MaskedArray",
    ),
    (lambda ax: plot.filtered_image(GREY[0], {"a": np.ones((0, 2))}, ax=ax), ValueError, "filtered_image: expected"),
    (lambda ax: plot.filtered_image(GREY[0], {"a": 5}, ax=ax), ValueError, "filtered_image: expected kernel 'a' of"),
    (lambda ax: plot.filtered_image(None, {"a": np.eye(2)}, ax=ax), TypeError, "filtered_image: expected image as"),
    (
        lambda ax: plot.filtered_image(GREY[0] * np.nan, {"a": np.eye(2)}, ax=ax),
        ValueError,
        "filtered_image: there are NaN or infinite numbers in the images",
    ),
    (lambda ax: plot.filtered_image(GREY, {"a": np.eye(2)}, ax=ax), ValueError, "filtered_image: expected images"),
    (lambda ax: plot.scatter(None, CLASSES, ax=ax), TypeError, "scatter: expected points as an array of numbers"),
    (lambda ax: plot.scatter("a", CLASSES, ax=ax), TypeError, "scatter: expected points of numbers, got <U1"),
    (lambda ax: plot.scatter([[1, 2], [3]], CLASSES, ax=ax), ValueError, "scatter: expected points as an array of"),
    (lambda ax: plot.scatter(POINTS * 1j, CLASSES, ax=ax), TypeError, "scatter: expected points of numbers, got"),
    (lambda ax: plot.scatter(np.ma.array(POINTS), CLASSES, ax=ax), TypeError, "scatter: expected a plain array as"),
    (lambda ax: plot.scatter(POINTS, None, ax=ax), TypeError, "scatter: expected labels as an array of numbers"),
    (lambda ax: plot.scatter(POINTS, 0, ax=ax), ValueError, "scatter: expected a label for each of 2 points, of"),
    (lambda ax: plot.scatter(POINTS, ["a", "b"], ax=ax), TypeError, "scatter: expected integer labels, got <U1"),
    (lambda ax: plot.scatter(POINTS, np.eye(2), ax=ax), ValueError, "scatter: expected a label for each of 2"),
    (lambda ax: plot.scatter(POINTS, [0, np.nan], ax=ax), TypeError, "scatter: expected integer labels, got float64"),
    (lambda ax: plot.scatter(POINTS, [True, False], ax=ax), TypeError, "scatter: expected integer labels, got bool"),
    (lambda ax: plot.scatter(POINTS, CLASSES, ["a"], ax=ax), ValueError, "scatter: expected 2 class names, one for"),
    (lambda ax: plot.scatter(POINTS, CLASSES, "ab", ax=ax), TypeError, "scatter: expected class names as a list of"),
    (lambda ax: plot.scatter(POINTS, CLASSES, [1, 2], ax=ax), TypeError, "scatter: expected class names as"),
    (lambda ax: plot.scatter(POINTS, CLASSES, 5, ax=ax), TypeError, "scatter: expected class names as a list of"),
    (lambda ax: plot.scatter(POINTS.astype(object), CLASSES, ax=ax), TypeError, "scatter: expected points as an"),
    (lambda ax: plot.decision_boundary(None, {}, POINTS, CLASSES, ax=ax), TypeError, "a layer is a Layer or a"),
    (lambda ax: plot.decision_boundary(fn.dense(1), {}, POINTS, CLASSES, ax=ax), ValueError, "dense: expected"),
    (lambda ax: plot.decision_boundary(PLANE, PLANE_PARAMS, POINTS, CLASSES, ax=ax), TypeError, "dense:"),
    (
        lambda ax: plot.decision_boundary(
            PLANE, PLANE_PARAMS, POINTS.astype(np.float32), CLASSES, threshold="0", ax=ax
        ),
        TypeError,
        "decision_boundary: threshold: expected a number, got '0'",
    ),
    (
        lambda ax: plot.decision_boundary(
            PLANE, PLANE_PARAMS, POINTS.astype(np.float32), CLASSES, threshold=None, ax=ax
        ),
        TypeError,
        "decision_boundary: threshold: expected a number, got None",
    ),
    (
        lambda ax: plot.decision_boundary(
            PLANE, PLANE_PARAMS, POINTS.astype(np.float32), CLASSES, threshold=np.nan, ax=ax
        ),
        ValueError,
        "decision_boundary: threshold must be a finite number, got nan",
    ),
    (
        lambda ax: plot.decision_boundary(
            PLANE,
            {"w": PLANE_PARAMS["w"] * np.float32(np.nan), "b": PLANE_PARAMS["b"]},
            POINTS.astype(np.float32),
            CLASSES,
            ax=ax,
        ),
        ValueError,
        "decision_boundary: the model's outputs contain NaN, which predicts no class",
    ),
    (
        lambda ax: plot.decision_boundary(
            fn.branch(a=fn.dense(1)), fn.branch(a=fn.dense(1)).init((2,), 0), POINTS.astype(np.float32), CLASSES, ax=ax
        ),
        ValueError,
        "decision_boundary: expected a model with outputs (n, 1) or (n, classes), got a dict",
    ),
    (lambda ax: plot.filters(None, ax=ax), TypeError, "filters: expected weights as an array of numbers"),
    (lambda ax: plot.filters("a", ax=ax), TypeError, "filters: expected weights of numbers, got <U1"),
    (lambda ax: plot.filters(np.ones((3, 3, 1, 2), int), ax=ax), ValueError, "filters: expected finite floats, got"),
    (lambda ax: plot.filters(np.ones((3, 3, 1, 2)) * 1j, ax=ax), TypeError, "filters: expected weights of numbers,"),
    (lambda ax: plot.filters(np.ma.ones((3, 3, 1, 2)), ax=ax), TypeError, "filters: expected a plain array as"),
    (lambda ax: plot.filters(CONV_PARAMS, ax=ax), TypeError, "filters: expected weights as an array of numbers"),
    (lambda ax: plot.filters(np.ones((3, 3, 1, 2), object), ax=ax), TypeError, "filters: expected weights as an"),
    (lambda ax: plot.dense_weights(None, ax=ax), TypeError, "dense_weights: expected weights as an array of numbers"),
    (lambda ax: plot.dense_weights(np.ma.ones((3, 2)), ax=ax), TypeError, "dense_weights: expected a plain array"),
    (lambda ax: plot.dense_weights(np.ones((3, 2), int), ax=ax), ValueError, "dense_weights: expected finite"),
    (lambda ax: plot.dense_weights(np.ones((6, 2)), 6, ax=ax), TypeError, "dense_weights: shape is that of one"),
    (lambda ax: plot.dense_weights(np.ones((6, 2)), "23", ax=ax), TypeError, "dense_weights: shape is that of one"),
    (lambda ax: plot.dense_weights(np.ones((6, 2)), (2.0, 3), ax=ax), TypeError, "dense_weights: shape is that of"),
    (lambda ax: plot.dense_weights(np.ones((6, 2)), (-2, -3), ax=ax), TypeError, "dense_weights: shape is that of"),
    (lambda ax: plot.dense_weights(np.ones((6, 2)), (2, None), ax=ax), TypeError, "dense_weights: shape is that of"),
    (lambda ax: plot.dense_weights({"w": np.ones((6, 2))}, ax=ax), TypeError, "dense_weights: expected weights as"),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES, ax=ax), ValueError, "conv2d: expected"),
    (
        lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0], "conv2d_0", ax=ax),
        TypeError,
        "feature_maps: expected paths as a list of paths, got 'conv2d_0'",
    ),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0], 5, ax=ax), TypeError, "feature_maps: expected"),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0], [5], ax=ax), ValueError, "feature_maps: no layer"),
    (
        lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0], channels="8", ax=ax),
        ValueError,
        "feature_maps: channels must be a whole number >= 1, got '8'",
    ),
    (
        lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0], channels=1.5, ax=ax),
        ValueError,
        "feature_maps: channels must be a whole number >= 1, got 1.5",
    ),
    (
        lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0], channels=None, ax=ax),
        ValueError,
        "feature_maps: channels must be a whole number >= 1, got None",
    ),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0], rng="0", ax=ax), TypeError, "a key"),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0], rng=-1, ax=ax), ValueError, "a key"),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0].tolist(), ax=ax), TypeError, "conv2d:"),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, None, ax=ax), TypeError, "feature_maps: expected x as an"),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, "a", ax=ax), TypeError, "conv2d: expected"),
    (
        lambda ax: plot.feature_maps(CONV, CONV_PARAMS, np.ma.array(IMAGES[0]), ax=ax),
        TypeError,
        "feature_maps: expected a plain array as x, got MaskedArray",
    ),
    (
        lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0].astype(np.float16), ax=ax),
        TypeError,
        "conv2d: expected",
    ),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0].astype(int), ax=ax), TypeError, "conv2d: expected"),
    (lambda ax: plot.feature_maps(CONV, CONV_PARAMS, IMAGES[0] * 1j, ax=ax), TypeError, "conv2d: expected"),
    (lambda ax: plot.feature_maps(CONV, {}, IMAGES[0], ax=ax), ValueError, "conv2d: expected"),
    (lambda ax: plot.feature_maps(None, CONV_PARAMS, IMAGES[0], ax=ax), TypeError, "a layer is a Layer or a tuple"),
    (
        lambda ax: plot.feature_maps(fn.relu, {}, np.ones((0,), np.float32), ax=ax),
        ValueError,
        "feature_maps: there is nothing to draw of input, which has no elements",
    ),
    (lambda ax: plot.diagram(CONV, CONV_PARAMS, (5, 5), ax=ax), ValueError, "conv2d: expected"),
    (lambda ax: plot.diagram(CONV, CONV_PARAMS, 5, ax=ax), TypeError, "diagram: shape is that of one example, a"),
    (lambda ax: plot.diagram(CONV, CONV_PARAMS, None, ax=ax), TypeError, "diagram: shape is that of one example, a"),
    (lambda ax: plot.diagram(CONV, None, (5, 5, 1), ax=ax), TypeError, "diagram: expected a dict of parameters,"),
    (lambda ax: plot.diagram(CONV, {}, (5, 5, 1), ax=ax), ValueError, "conv2d: expected"),
    (lambda ax: plot.diagram(None, CONV_PARAMS, (5, 5, 1), ax=ax), TypeError, "a layer is a Layer or a tuple of"),
    (lambda ax: plot.diagram(CONV, CONV_PARAMS, (6, 6, 1), ax=ax), ValueError, "dense: expected"),
    (lambda ax: plot.diagram(CONV, CONV_PARAMS, "551", ax=ax), TypeError, "diagram: shape is that of one example,"),
    (
        lambda ax: plot.diagram(CONV, fn.tree.map(np.ma.array, CONV_PARAMS), (5, 5, 1), ax=ax),
        TypeError,
        "diagram: parameter 'conv2d_0/b': expected a plain array, got MaskedArray",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), MISUSE)
def test_a_wrong_call_raises_in_our_words(call: Callable[[Axes], Any], error: type[Exception], words: str) -> None:
    ax = Figure().subplots()
    with pytest.raises(error) as caught:
        call(ax)
    assert words in str(caught.value)
    where = Path(traceback.extract_tb(caught.value.__traceback__)[-1].filename)
    assert Path(fn.__file__).parent in where.parents, f"a text of Python, NumPy or matplotlib, from {where}"
    # Nothing is drawn before the arguments are known to be right.
    assert not ax.has_data()
    assert not ax.texts
    assert not ax.get_title()
    assert ax.figure.axes == [ax]
