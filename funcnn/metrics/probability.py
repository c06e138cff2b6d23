"""Metrics of probabilities: not only which class was predicted, but with which probability.

A calibrated model is right in 80 % of the cases to which it gives a probability of 0.8.
"""

from __future__ import annotations

import numpy as np

from funcnn import checks
from funcnn.aliases import Array
from funcnn.losses.classification import categorical_cross_entropy
from funcnn.metrics.inputs import check_probabilities, examples

__all__ = ["calibration_error", "log_loss"]

MAX_BINS = 1_000_000
"""More are of no use: there would be an example or none in each, and their edges take memory."""


def log_loss(y: Array, labels: Array, *, weights: Array | None = None) -> float:
    """-mean over i of log p_i, with p_i the predicted probability of the true class of example i.

    Probabilities are clipped to [eps, 1 - eps] with the eps of their dtype, so that one certain mistake does not make
    the mean infinite. Uniform probabilities have a log loss of log(classes).

    Args:
        y: probabilities of shape (n, classes); or those of class 1, of shape (n,) or (n, 1).
        labels: integers of shape (n,), or one-hot of shape (n, classes); for one probability zeros and ones of any
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
    found = examples("log_loss", y, labels, weights)
    p = check_probabilities("log_loss", found.scores)
    return categorical_cross_entropy(p, found.true, weights=None if weights is None else found.weights)[0]


def calibration_error(y: Array, labels: Array, bins: int = 15, *, weights: Array | None = None) -> float:
    """ECE = Σ_b (n_b / n) |accuracy in b - mean confidence in b|, the expected calibration error.

    The confidence of a prediction is its highest probability. Bin b of B contains the n_b examples whose confidence is
    in ((b - 1) / B, b / B]: the bins have equal widths and may contain different numbers of examples.

    Args:
        y: probabilities of shape (n, classes); or those of class 1, of shape (n,) or (n, 1).
        labels: as in ``log_loss``.
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
    bins = checks.size("calibration_error", "bins", bins)
    if bins > MAX_BINS:
        raise ValueError(f"calibration_error: bins must be at most {MAX_BINS}, got {bins}; 15 are usual")
    scores, true, w, *_ = examples("calibration_error", y, labels, weights)
    p = check_probabilities("calibration_error", scores)
    confidence = p.max(axis=1)
    surplus = w * ((p.argmax(axis=1) == true) - confidence.astype(np.float64))
    # The edges are rounded as the confidences are: 0.8 in float32 is more than 0.8.
    edges = np.linspace(0, 1, bins + 1)[1:-1].astype(p.dtype)
    return float(np.abs(np.bincount(np.searchsorted(edges, confidence), surplus)).sum() / w.sum())
