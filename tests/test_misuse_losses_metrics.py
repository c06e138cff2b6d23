"""Wrong calls of losses and metrics: each raises the right error, in our words, or returns the right value."""

import decimal
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import metrics

Y = np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
LABELS = np.array([1, 0, 1])
P = np.array([0.9, 0.2, 0.6])
MASKED, MATRIX = np.ma.array(Y, mask=[[0, 1]] * 3), Y.view(np.matrix)

BY_ELEMENT = [fn.mean_squared_error, fn.binary_cross_entropy, fn.sigmoid_cross_entropy]
BY_ROW = [fn.softmax_cross_entropy, fn.categorical_cross_entropy]
OF_DECISIONS = [
    metrics.accuracy, metrics.error_rate, metrics.balanced_accuracy, metrics.confusion_matrix, metrics.precision,
    metrics.recall, metrics.f1, metrics.matthews_correlation,
]  # fmt: skip
OF_LABELS = [
    metrics.precision, metrics.recall, metrics.f1, metrics.confusion_matrix, metrics.roc_auc, metrics.average_precision,
]  # fmt: skip
OF_PROBABILITIES = [metrics.log_loss, metrics.calibration_error, metrics.roc_auc, metrics.average_precision]
REGRESSION = [metrics.mae, metrics.rmse, metrics.r2]
CLASSES = [*OF_DECISIONS, *OF_PROBABILITIES, partial(metrics.top_k_accuracy, k=1)]

Functions = list[Callable[..., Any]]
Row = tuple[Functions, dict[str, Any], type[Exception], str]

# The functions, their arguments, the type of the error, and words of its message after the name of the function.
MISUSE: list[Row] = [
    # The output of the model.
    *[
        ([*BY_ELEMENT, *BY_ROW], {"y": y}, error, words)
        for y, error, words in [
            (None, TypeError, "expected y, the model's output, as an array of floats, got NoneType"),
            ("0.5", TypeError, "expected y, the model's output, as an array of floats, got str"),
            (0.5, TypeError, "expected y, the model's output, as an array of floats, got float"),
            (Y.tolist(), TypeError, "expected y, the model's output, as an array of floats, got list"),
            ({"y": Y}, TypeError, "expected y, the model's output, as an array of floats, got dict"),
            ((Y, len), TypeError, "expected y, the model's output, as an array of floats, got tuple"),
            ((row for row in Y), TypeError, "expected y, the model's output, as an array of floats, got generator"),
            (np.float64(0.5), TypeError, "expected y, the model's output, as an array of floats, got float64"),
            (Y.astype(int), TypeError, "expected y, the model's output, as an array of floats, got int64"),
            (Y > 0.5, TypeError, "expected y, the model's output, as an array of floats, got bool"),
            (Y + 0j, TypeError, "expected y, the model's output, as an array of floats, got complex128"),
            (Y.astype(object), TypeError, "expected y, the model's output, as an array of floats, got object"),
            (Y.astype(str), TypeError, "expected y, the model's output, as an array of floats, got <U32"),
            (Y.astype("M8[s]"), TypeError, "expected y, the model's output, as an array of floats, got datetime64"),
            (Y.astype(np.float16), TypeError, "expected float32 or float64, got float16; use y.astype(np.float32)"),
            (Y.astype(np.longdouble), TypeError, "expected float32 or float64, got float"),
            (MASKED, TypeError, "got MaskedArray; use x.filled(value)"),
            (MATRIX, TypeError, "got matrix; use np.asarray(x)"),
            (Y[:0], ValueError, "expected at least one example, got y of shape (0, 2)"),
            (np.array(0.5), ValueError, "expected at least one example, got y of shape ()"),
        ]
    ],
    # Targets.
    *[
        ([*BY_ELEMENT, *BY_ROW], {"target": target}, error, words)
        for target, error, words in [
            (None, TypeError, "expected target as an array of numbers"),
            ({"target": Y}, TypeError, "expected target as an array of numbers"),
            (iter(LABELS), TypeError, "expected target as an array of numbers"),
            ([1, None, 0], TypeError, "expected target as an array of numbers"),
            ([decimal.Decimal(1)] * 3, TypeError, "expected target as an array of numbers"),
            ([[1], [0, 1], [1]], ValueError, "expected target as an array of numbers, got a ragged list"),
            (["cat", "dog", "cat"], TypeError, "expected a target of numbers, got an array of <U3; number the classes"),
            (Y + 0j, TypeError, "expected a target of numbers, got an array of complex128"),
            (LABELS.astype("m8[s]"), TypeError, "expected a target of numbers, got an array of timedelta64"),
            (MASKED, TypeError, "got MaskedArray; use x.filled(value)"),
            (MATRIX, TypeError, "got matrix; use np.asarray(x)"),
            ([np.ma.array([0.0, 1.0])] * 3, TypeError, "got MaskedArray; use x.filled(value)"),
            (Y[:2], ValueError, "expected"),
            (Y[:, :1], ValueError, "expected"),
            (Y[None], ValueError, "expected"),
            (1, ValueError, "expected"),
            ([], ValueError, "expected"),
        ]
    ],
    (BY_ELEMENT, {"target": LABELS}, ValueError, "expected a target of the shape of y, (3, 2), got (3,)"),
    (BY_ELEMENT, {"y": Y[:, :1], "target": LABELS}, ValueError, "(3, 1), got (3,); use target.reshape(3, 1)"),
    (BY_ELEMENT, {"y": Y[:, 0], "target": Y[:, :1]}, ValueError, "(3,), got (3, 1); use target.reshape(3,)"),
    (BY_ELEMENT[1:], {"target": 2 * Y}, ValueError, "expected targets in [0, 1], got values from 0.4 to 1.6"),
    (BY_ELEMENT[1:], {"target": Y * np.nan}, ValueError, "expected targets in [0, 1], got values from nan"),
    (BY_ELEMENT[1:], {"target": -Y.round()}, ValueError, "expected targets in [0, 1], got values from -1.0"),
    (BY_ROW, {"target": LABELS + 1}, ValueError, "expected labels from 0 to 1, got 1 to 2"),
    (BY_ROW, {"target": LABELS - 1}, ValueError, "expected labels from 0 to 1, got -1 to 0"),
    (BY_ROW, {"target": LABELS.astype(float)}, TypeError, "expected integer labels, got float64"),
    (BY_ROW, {"target": LABELS > 0}, TypeError, "expected integer labels, got bool"),
    (BY_ROW, {"target": LABELS[:, None]}, ValueError, "got (3, 1); use target.reshape(3,)"),
    (BY_ROW, {"target": 2 * Y}, ValueError, "expected rows of probabilities that sum to 1"),
    (BY_ROW, {"target": np.eye(3)[:, :2]}, ValueError, "expected rows of probabilities that sum to 1"),
    (BY_ROW, {"target": Y * np.inf}, ValueError, "expected rows of probabilities that sum to 1"),
    (BY_ROW, {"y": P, "target": LABELS}, ValueError, "expected y of axes (batch, ..., classes), got shape (3,)"),
    ([fn.binary_cross_entropy, fn.categorical_cross_entropy], {"y": 2 * Y, "target": Y}, ValueError,
     "expected probabilities in [0, 1], got values from 0.4 to 1.6; for logits use "),
    # Weights.
    *[
        ([*BY_ELEMENT, *BY_ROW, *CLASSES, *REGRESSION], {"weights": weights}, error, words)
        for weights, error, words in [
            ("abc", TypeError, "expected weights as numbers, got an array of <U3"),
            ({0: 1.0, 1: 2.0}, TypeError, "expected weights as an array of numbers"),
            ([1, None, 1], TypeError, "expected weights as an array of numbers"),
            ([1, [2], 3], ValueError, "expected weights as an array of numbers, got a ragged list"),
            ([1j, 1, 1], TypeError, "expected weights as numbers, got an array of complex128"),
            (2.0, ValueError, "got (); give each example one weight"),
            ([1, 1], ValueError, "got (2,); give each example one weight"),
            (np.ones((3, 1)), ValueError, "got (3, 1); give each example one weight"),
            ([1, -1, 1], ValueError, "expected weights that are finite and not negative, got values from -1 to 1"),
            ([1, np.inf, 1], ValueError, "expected weights that are finite and not negative"),
            ([1, np.nan, 1], ValueError, "expected weights that are finite and not negative"),
            ([0, 0, 0], ValueError, "all weights are zero"),
            (np.ma.array([1, 1, 1]), TypeError, "got MaskedArray; use x.filled(value)"),
        ]
    ],
    # Scores and labels of metrics.
    *[
        (CLASSES, {"y": y}, error, words)
        for y, error, words in [
            (None, TypeError, "expected scores as an array of numbers"),
            ("abc", TypeError, "expected scores as numbers, got an array of <U3"),
            ({"y": Y}, TypeError, "expected scores as an array of numbers"),
            ([[0.5], [0.5, 0.5], [1]], ValueError, "expected scores as an array of numbers, got a ragged list"),
            (Y + 0j, TypeError, "expected scores as numbers, got an array of complex128"),
            (Y.astype(np.float16), TypeError, "scores: expected float32 or float64, got float16; use x.astype"),
            (MASKED, TypeError, "got MaskedArray; use x.filled(value)"),
            (MATRIX, TypeError, "got matrix; use np.asarray(x)"),
            (0.5, ValueError, "expected scores of shape (n, classes)"),
            (Y[:0], ValueError, "expected scores of shape (n, classes)"),
            (Y[:, :0], ValueError, "expected scores of shape (n, classes)"),
            (Y[None], ValueError, "expected scores of shape (n, classes)"),
            (Y * np.nan, ValueError, "the scores contain NaN, which predicts no class; has training diverged?"),
            (Y[:2], ValueError, "expected labels of shape (2,), or one-hot of shape (2, 2)"),
        ]
    ],
    *[
        (CLASSES, {"target": labels}, error, words)
        for labels, error, words in [
            (None, TypeError, "expected labels as an array of numbers"),
            (["a", "b", "a"], TypeError, "expected integer labels, got <U1"),
            (LABELS.astype(float), TypeError, "expected integer labels, got float64; use labels.astype(np.int64)"),
            (LABELS > 0, TypeError, "expected integer labels, got bool; use labels.astype(np.int64)"),
            (LABELS[:, None], ValueError, "got shape (3, 1); use labels.reshape(-1)"),
            (LABELS + 1, ValueError, "expected labels from 0 to 1, got 2"),
            (LABELS - 1, ValueError, "expected labels from 0 to 1, got -1"),
            (Y, ValueError, "expected one-hot labels: a single 1 in each row and 0 elsewhere"),
            (np.ma.array(LABELS), TypeError, "got MaskedArray; use x.filled(value)"),
            ([[0], [0, 1], [1]], ValueError, "expected labels as an array of numbers, got a ragged list"),
        ]
    ],
    (CLASSES[:-1], {"y": P, "target": 2 * LABELS}, ValueError, "expected targets 0 and 1 for one score for each"),
    (CLASSES[:-1], {"y": P, "target": [0.5, 1, 0]}, ValueError, "expected targets 0 and 1 for one score for each"),
    (CLASSES[:-1], {"y": P, "target": ["0", "1", "0"]}, TypeError, "expected targets 0 and 1, got an array of <U1"),
    (CLASSES[:-1], {"y": P, "target": np.eye(2)}, ValueError, "expected targets of shape (3,) or (3, 1)"),
    (CLASSES[-1:], {"y": P, "target": LABELS}, ValueError, "expected scores of shape (n, classes), got one for each"),
    (OF_DECISIONS, {"y": 3 * P, "target": LABELS}, ValueError, "for logits give threshold=0"),
    (OF_DECISIONS, {"threshold": 0}, ValueError, "threshold=0 is for one score"),
    *[
        (OF_DECISIONS, {"y": P, "target": LABELS, "threshold": threshold}, error, words)
        for threshold, error, words in [
            ("0.5", TypeError, "threshold: expected a number, got '0.5'"),
            ([0.5], TypeError, "threshold: expected a number, got [0.5]"),
            (np.array([0.5]), TypeError, "threshold: expected a number, got a ndarray of shape (1,)"),
            (True, TypeError, "threshold: expected a number, got True"),
            (np.nan, ValueError, "threshold must be a finite number, got nan"),
            (np.inf, ValueError, "threshold must be a finite number, got inf"),
        ]
    ],
    (OF_PROBABILITIES[:2], {"y": 3 * P, "target": LABELS}, ValueError, "expected probabilities in [0, 1]"),
    (OF_PROBABILITIES, {"y": 3 * Y, "target": LABELS}, ValueError, "expected probabilities in [0, 1]"),
    (OF_PROBABILITIES, {"y": Y / 2, "target": LABELS}, ValueError, "expected rows of probabilities that sum to 1"),
    # Options.
    *[
        ([metrics.precision, metrics.recall, metrics.f1], {"average": average}, ValueError,
         'expected average to be "macro", "micro", "weighted" or None, got')
        for average in ("mean", 1, True, ["macro"], np.array(["macro", "micro"]), len)
    ],
    *[
        ([metrics.confusion_matrix], {"classes": classes}, ValueError, words)
        for classes, words in [
            ("3", "classes must be a whole number >= 1, got '3'"),
            (3.0, "classes must be a whole number >= 1, got 3.0"),
            (-1, "classes must be a whole number >= 1, got -1"),
            (True, "classes must be a whole number >= 1, got True"),
            (1, "classes=1 is less than the 2 scores of each example"),
        ]
    ],
    *[
        ([metrics.calibration_error], {"bins": bins}, ValueError,
         "bins must be a whole number >= 1, got")
        for bins in (0, -1, 2.5, "5", None, True, [5])
    ],
    *[
        ([metrics.top_k_accuracy], {"k": k}, error, words)
        for k, error, words in [
            ("1", TypeError, "expected k as an integer, got '1'"),
            (1.0, TypeError, "expected k as an integer, got 1.0"),
            (True, TypeError, "expected k as an integer, got True"),
            (None, TypeError, "expected k as an integer, got None"),
            (0, ValueError, "expected k from 1 to the number of classes, 2, got 0"),
            (3, ValueError, "expected k from 1 to the number of classes, 2, got 3"),
        ]
    ],
    # Numbers of a regression.
    *[
        (REGRESSION, {"y": y, "target": target}, error, words)
        for y, target, error, words in [
            (P, None, TypeError, "expected targets as an array of numbers"),
            (None, P, TypeError, "expected predictions as an array of numbers"),
            (P, ["a", "b", "c"], TypeError, "expected targets as numbers, got an array of <U1"),
            (P > 0.5, P, TypeError, "expected predictions as numbers, got an array of bool"),
            (P.astype(np.float16), P, TypeError, "predictions: expected float32 or float64, got float16"),
            (P, np.ma.array(P), TypeError, "got MaskedArray; use x.filled(value)"),
            (0.5, 0.5, ValueError, "expected predictions of shape (n, ...), got a single number"),
            (P, Y, ValueError, "expected predictions and a target of one shape (n, ...), got (3,) and (3, 2)"),
            (P, P[:, None], ValueError, "expected predictions and a target of one shape (n, ...)"),
            (P[:0], P[:0], ValueError, "expected predictions and a target of one shape (n, ...)"),
            (P * np.nan, P, ValueError, "the predictions contain NaN or infinity"),
            (P, P * np.inf, ValueError, "the targets contain NaN or infinity"),
        ]
    ],
    *[(REGRESSION, {"y": P, "target": P, "average": average}, ValueError,
       'expected average to be "uniform" or None, got')
      for average in ("macro", True, 1, ["uniform"], np.array(["uniform"]), len)],
    # Several labels of each example.
    *[
        (OF_LABELS, {"y": y, "target": labels, "multilabel": True}, error, words)
        for y, labels, error, words in [
            (P, LABELS, ValueError, "expected scores and targets of one shape (n, labels), with at least one example; "
                                    "got (3,) and (3,)"),
            (Y, LABELS, ValueError, "got (3, 2) and (3,)"),
            (Y, Y[:, :1], ValueError, "got (3, 2) and (3, 1)"),
            (Y[:0], Y[:0], ValueError, "got (0, 2) and (0, 2)"),
            (Y, Y, ValueError, "targets 0 and 1 with multilabel=True: 1 where an example has a label, got 0.2"),
            (Y, Y.astype(str), TypeError, "expected targets 0 and 1, got an array of <U"),
            (Y * np.nan, Y > 0.5, ValueError, "the scores contain NaN"),
            (MASKED, Y > 0.5, TypeError, "got MaskedArray"),
            (None, Y > 0.5, TypeError, "expected scores as an array of numbers"),
        ]
    ],
    *[(OF_LABELS, {"multilabel": flag}, TypeError, "multilabel must be True or False, got")
      for flag in (1, "yes", None)],
    ([*OF_LABELS[:4]], {"y": 9 * Y, "target": Y > 0.5, "multilabel": True}, ValueError,
     "scores of shape (n, labels) are taken for probabilities, and for a label above 0.5; got values from 1.8 to 7.2; "
     "for logits give threshold=0"),
    ([metrics.confusion_matrix], {"target": Y > 0.5, "classes": 2, "multilabel": True}, ValueError,
     "classes=2 is for classes, not for labels; leave it out"),
    (OF_LABELS, {"target": [[1, 1], [0, 0], [0, 1]]}, ValueError, "give multilabel=True to precision, recall, f1"),
    ([metrics.roc_auc], {"y": Y, "target": [[1, 1], [1, 0], [1, 1]], "multilabel": True}, ValueError,
     "roc_auc is undefined: label 0 has all examples"),
    *[
        ([metrics.roc_auc, metrics.average_precision], {"average": average}, ValueError,
         'expected average to be "macro", "micro", "weighted" or None, got')
        for average in ("mean", 1, True)
    ],
    # Curves.
    ([metrics.roc_curve, metrics.precision_recall_curve], {"y": Y}, ValueError,
     "expected one score for each example, of shape (n,) or (n, 1), got shape (3, 2); take one class, "),
    ([metrics.roc_curve, metrics.precision_recall_curve], {"y": P, "target": [0, 0, 0]}, ValueError,
     "is undefined: class 1 has no example"),
    ([metrics.roc_curve], {"y": P, "target": [1, 1, 1]}, ValueError, "is undefined: class 1 has all examples"),
    ([metrics.calibration_curve], {"bins": 0}, ValueError, "bins must be a whole number >= 1, got 0"),
    ([metrics.calibration_curve], {"bins": 10**9}, ValueError, "bins must be at most 1000000, got 1000000000"),
    ([metrics.calibration_curve], {"y": 3 * P}, ValueError, "expected probabilities in [0, 1], got values from"),
    ([metrics.r2], {"y": P[:1], "target": P[:1]}, ValueError, "r2 is undefined for fewer than two examples"),
    ([metrics.r2], {"y": P, "target": P, "weights": [0, 1, 0]}, ValueError, "r2 is undefined for fewer than two"),
    ([metrics.roc_auc], {"y": P, "target": [1, 1, 1]}, ValueError, "roc_auc is undefined: class 1 has all examples"),
    ([metrics.roc_auc], {"y": Y, "target": [0, 0, 0]}, ValueError, "roc_auc is undefined: class 0 has all examples"),
    ([metrics.roc_auc], {"y": P, "target": LABELS, "weights": [1, 0, 1]}, ValueError, "class 1 has all examples"),
    ([metrics.average_precision], {"y": P, "target": [0, 0, 0]}, ValueError, "class 1 has no example"),
    # Class weights.
    *[
        ([fn.class_weights], {"labels": labels, "classes": classes}, error, words)
        for labels, classes, error, words in [
            (LABELS, 2.0, ValueError, "classes must be a whole number >= 1, got 2.0"),
            (LABELS, "2", ValueError, "classes must be a whole number >= 1, got '2'"),
            (LABELS, 0, ValueError, "classes must be a whole number >= 1, got 0"),
            (LABELS, 3, ValueError, "class 2 of 3 has no example"),
            (LABELS, 1, ValueError, "expected labels from 0 to 0, got 1"),
            (None, 2, TypeError, "expected labels as an array of numbers"),
            ("abc", 2, ValueError, "expected labels of shape (n,), got ()"),
            (["a", "b"], 2, TypeError, "expected integer labels, got <U1"),
            (LABELS.astype(float), 2, TypeError, "expected integer labels, got float64"),
            (LABELS[:, None], 2, ValueError, "expected labels of shape (n,), got (3, 1); use labels.ravel()"),
            ([[0, 1], [1]], 2, ValueError, "expected labels as an array of numbers, got a ragged list"),
            (np.ma.array(LABELS), 2, TypeError, "got MaskedArray; use x.filled(value)"),
        ]
    ],
]  # fmt: skip


def name_of(function: Any) -> str:
    return str(getattr(function, "func", function).__name__)


def good(function: Any) -> dict[str, Any]:
    """Arguments that are right."""
    if function is fn.class_weights:
        return {}
    curves = (metrics.roc_curve, metrics.precision_recall_curve, metrics.calibration_curve)
    by_class = function in (*CLASSES, metrics.top_k_accuracy, *curves)
    return {"y": Y, "target": LABELS} if by_class else {"y": Y, "target": Y}


@pytest.mark.parametrize(("functions", "arguments", "error", "words"), MISUSE)
def test_a_wrong_call_raises_in_our_words(
    functions: Functions, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    for function in functions:
        with pytest.raises(error) as caught:
            function(**good(function) | arguments)
        assert type(caught.value) is error
        assert words in str(caught.value)
        assert name_of(function) in str(caught.value)


# What looks like a mistake and is none, with the right value.
RIGHT: list[tuple[Callable[[], Any], Any]] = [
    (lambda: fn.mean_squared_error(Y, Y.tolist())[0], 0),
    (lambda: fn.mean_squared_error(Y[:, 0], [1, 1, 1])[0], (0.64 + 0.16 + 0.25) / 3),
    (lambda: fn.mean_squared_error(Y, Y > 0.5)[0], (2 * 0.04 + 2 * 0.16 + 2 * 0.25) / 6),
    (lambda: fn.softmax_cross_entropy(np.zeros((3, 2)), LABELS.astype(np.uint8))[0], np.log(2)),
    (lambda: fn.softmax_cross_entropy(np.zeros((3, 2)), LABELS.tolist())[0], np.log(2)),
    (lambda: fn.softmax_cross_entropy(np.zeros((3, 2)), np.eye(2, dtype=bool)[LABELS])[0], np.log(2)),
    (lambda: fn.softmax_cross_entropy(np.zeros((3, 1)), [0, 0, 0])[0], 0),
    (lambda: fn.sigmoid_cross_entropy(np.zeros(3), LABELS)[0], np.log(2)),
    (lambda: fn.sigmoid_cross_entropy(np.zeros(3), LABELS > 0, weights=[True, False, True])[0], np.log(2)),
    (lambda: fn.class_weights(LABELS.tolist(), np.uint8(2)), [1.5, 0.75]),
    (lambda: metrics.accuracy(Y.tolist(), LABELS.tolist()), 2 / 3),
    (lambda: metrics.accuracy(Y, np.eye(2)[LABELS]), 2 / 3),
    (lambda: metrics.accuracy(P, LABELS > 0), 1),
    (lambda: metrics.accuracy(P[:, None], LABELS[:, None].astype(float)), 1),
    (lambda: metrics.accuracy(P > 0.5, LABELS), 1),
    (lambda: metrics.accuracy(P, LABELS, threshold=np.float32(0.7)), 2 / 3),
    (lambda: metrics.confusion_matrix(Y, LABELS, np.int8(3)), [[1, 0, 0], [1, 1, 0], [0, 0, 0]]),
    (lambda: metrics.confusion_matrix(P, LABELS, weights=[2, 1, 1]), [[1, 0], [0, 3]]),
    (lambda: metrics.top_k_accuracy(Y, LABELS, np.int64(2)), 1),
    (lambda: metrics.calibration_error(P, LABELS, np.uint8(1)), abs(3 - (0.9 + 0.8 + 0.6)) / 3),
    (lambda: metrics.log_loss(Y, LABELS), -np.log(0.8 * 0.6 * 0.5) / 3),
    (lambda: metrics.roc_auc(100 * P - 50, LABELS), 1),
    (lambda: metrics.r2([1, 2, 3], [1, 2, 3]), 1),
    (lambda: metrics.precision(Y, LABELS, None), [0.5, 1]),
]


@pytest.mark.parametrize(("call", "expected"), RIGHT)
def test_an_unusual_call_has_the_right_value(call: Callable[[], Any], expected: Any) -> None:
    np.testing.assert_allclose(call(), expected, rtol=1e-12, atol=1e-15)


def test_a_keyword_that_does_not_exist_is_not_swallowed() -> None:
    for function in [*BY_ELEMENT, *BY_ROW]:
        with pytest.raises(TypeError, match=rf"{name_of(function)}\(\) got an unexpected keyword argument 'reduce'"):
            function(Y, Y, reduce="sum")
    for function in [*CLASSES, *REGRESSION]:
        with pytest.raises(TypeError, match=rf"{name_of(function)}\(\) got an unexpected keyword argument 'normalize'"):
            function(Y, LABELS, normalize=True)


def test_the_table_is_long() -> None:
    assert len(MISUSE) >= 80
    assert sum(len(functions) for functions, *_ in MISUSE) >= 500
