"""Metrics of probabilities: not only which class was predicted, but with which probability.

A calibrated model is right in 80 % of the cases to which it gives a probability of 0.8.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.calls import explained
from funcnn.losses.classification import categorical_cross_entropy
from funcnn.metrics.inputs import check_probabilities, examples

__all__ = ["calibration_curve", "calibration_error", "log_loss"]

MAX_BINS = 1_000_000
"""More are of no use: there would be an example or none in each, and their edges take memory."""


@explained
def log_loss(y: Array, target: Array, *, weights: Array | None = None) -> float:
    """-mean over i of log p_i, with p_i the predicted probability of the true class of example i.

    Probabilities are clipped to [eps, 1 - eps] with the eps of their dtype, so that one certain mistake does not make
    the mean infinite. Uniform probabilities have a log loss of log(classes).

    Args:
        y: probabilities of shape (n, classes); or those of class 1, of shape (n,) or (n, 1).
        target: integers of shape (n,), or one-hot of shape (n, classes); for one probability zeros and ones of any
            type, of shape (n,) or (n, 1).
        weights: how much each example counts, of shape (n,); by default all count the same.

    Returns:
        A number >= 0, in nats.

    Raises:
        TypeError: labels of several classes are not integers, or probabilities or weights are not numbers.
        ValueError: the shapes do not fit, there is no example, a label is out of range, a row of y is not a
            distribution, or weights are negative, not finite or all zero.

    Example:
        >>> round(log_loss(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0])), 4)
        0.5108

    Reference:
        Bishop, Pattern Recognition and Machine Learning (2006), equation 4.108.
    """
    found = examples("log_loss", y, target, weights)
    p = check_probabilities("log_loss", found.scores)
    return categorical_cross_entropy(p, found.true, weights=None if weights is None else found.weights)[0]


@explained
def calibration_error(y: Array, target: Array, bins: int = 15, *, weights: Array | None = None) -> float:
    """ECE = Σ_b (n_b / n) |accuracy in b - mean confidence in b|, the expected calibration error.

    The confidence of a prediction is its highest probability. Bin b of B contains the n_b examples whose confidence is
    in ((b - 1) / B, b / B]: the bins have equal widths and may contain different numbers of examples.

    Args:
        y: probabilities of shape (n, classes); or those of class 1, of shape (n,) or (n, 1).
        target: as in ``log_loss``.
        bins: B, ``>= 1``. More bins hide less and need more examples; compare only results with the same number.
        weights: how much each example counts, of shape (n,); by default all count the same.

    Returns:
        A number from 0 to 1: 0 if the model is perfectly calibrated.

    Raises:
        TypeError: as ``log_loss``.
        ValueError: as ``log_loss``, or ``bins`` is not a whole number from 1 to 1,000,000.

    Example:
        >>> y = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
        >>> round(calibration_error(y, np.array([1, 0, 0]), bins=1), 4)
        0.1333

    Reference:
        Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599, equation 3; 15 bins as in
        their table 1.
    """
    chosen, _ = predictions("calibration_error", y, target, weights, of_class_1=False)
    return mean_gap(binned("calibration_error", *chosen, bins))


class CalibrationCurve(NamedTuple):
    """The mean probability in each bin that has examples, how often it came true, and the weight of its examples."""

    confidence: Array
    accuracy: Array
    weight: Array


@explained
def calibration_curve(y: Array, target: Array, bins: int = 15, *, weights: Array | None = None) -> CalibrationCurve:
    """How often predictions of each probability come true: accuracy over confidence, in bins of equal widths.

    For several classes, the confidence of a prediction is its highest probability, as in ``calibration_error``, and it
    comes true if that class is the true one. One probability for each example is that of class 1.

    Args:
        y, target, weights: as in ``log_loss``. Of several labels take one, ``y[:, 2]`` and ``target[:, 2]``;
            ``plot.calibration_curve`` draws all.
        bins: the number of bins, as in ``calibration_error``.

    Returns:
        ``(confidence, accuracy, weight)``, each of shape (bins with examples,): the mean probability in each bin, the
        fraction that came true, and the sum of the weights, which are 1 by default.

    Raises:
        TypeError, ValueError: as ``calibration_error``.

    Example:
        >>> curve = calibration_curve(np.array([0.1, 0.2, 0.7, 0.9]), np.array([0, 1, 1, 1]), bins=2)
        >>> curve.confidence.round(2), curve.accuracy
        (array([0.15, 0.8 ]), array([0.5, 1. ]))

    Reference:
        Niculescu-Mizil & Caruana (2005), Predicting good probabilities with supervised learning, section 4; Guo et al.
        (2017), arXiv 1706.04599, figure 1, for several classes.
    """
    chosen, exponent = predictions("calibration_curve", y, target, weights, of_class_1=True)
    curve = binned("calibration_curve", *chosen, bins)
    return curve._replace(weight=np.ldexp(curve.weight, exponent))


def predictions(
    kind: str, y: Array, target: Array, weights: Array | None, of_class_1: bool
) -> tuple[tuple[Array, Array, Array], int]:
    """The probability of each prediction, whether it came true, its weight in units of a power of 2; the exponent."""
    scores, true, w, exponent, _ = examples(kind, y, target, weights)
    p = check_probabilities(kind, scores)
    if of_class_1 and scores.ndim == 1:
        return (p[:, 1], true == 1, w), exponent
    return (p.max(axis=1), p.argmax(axis=1) == true, w), exponent


def binned(kind: str, confidence: Array, right: Array, w: Array, bins: int) -> CalibrationCurve:
    """The means of all bins that have examples."""
    bins = checks.size(kind, "bins", bins)
    if bins > MAX_BINS:
        raise ValueError(f"{kind}: bins must be at most {MAX_BINS}, got {bins}; 15 are usual")
    # The edges are rounded as the confidences are: 0.8 in float32 is more than 0.8.
    edges = np.linspace(0, 1, bins + 1)[1:-1].astype(confidence.dtype)
    bin_of = np.searchsorted(edges, confidence)
    sums = [np.bincount(bin_of, w * part) for part in (1.0, confidence.astype(np.float64), right)]
    weight, confidences, hits = (part[sums[0] > 0] for part in sums)
    return CalibrationCurve(confidences / weight, hits / weight, weight)


def mean_gap(curve: CalibrationCurve) -> float:
    """Σ weight · |accuracy - confidence| / Σ weight."""
    return float(curve.weight @ np.abs(curve.accuracy - curve.confidence) / curve.weight.sum())
