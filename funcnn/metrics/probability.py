"""Metrics of probabilities: not only which class is right, but how sure the model was, and whether it had cause.

A model that says 0.8 should be right in 80 % of such cases; then its probabilities can be decided with.
"""

import operator

import numpy as np

from funcnn.aliases import Array
from funcnn.losses.classification import categorical_cross_entropy
from funcnn.metrics.inputs import check_probabilities, check_scores, true_classes
from funcnn.losses.targets import check_weights

__all__ = ["calibration_error", "log_loss"]


def log_loss(y: Array, labels: Array, *, weights: Array | None = None) -> float:
    """-mean over i of log p_i, with p_i the probability given to the true class of example i.

    Probabilities are kept away from 0 and 1 by the eps of their dtype, so that one certain mistake does not make the
    mean infinite. A guess among the classes costs log(classes).

    Args:
        y: probabilities of shape (n, classes); or that of class 1, of shape (n,) or (n, 1).
        labels: integers of shape (n,), or one-hot of shape (n, classes); for one probability zeros and ones of any
            type, of shape (n,) or (n, 1).
        weights: how much each example counts, of shape (n,); all the same by default.

    Returns:
        A number >= 0, in nats.

    Raises:
        TypeError: labels of several classes are not integers, or probabilities are no floats or weights no numbers.
        ValueError: the shapes do not fit, there is no example, a label is out of range, a row of y is no
            distribution, or weights are negative, not finite or all zero.

    Example:
        >>> round(log_loss(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 0, 0])), 4)
        0.5108

    Reference:
        Bishop, Pattern Recognition and Machine Learning (2006), equation 4.108.
    """
    true = true_classes(labels, check_scores(y))
    return categorical_cross_entropy(check_probabilities(y), true, weights=weights)[0]


def calibration_error(y: Array, labels: Array, bins: int = 15, *, weights: Array | None = None) -> float:
    """ECE = Σ_b (n_b / n) |accuracy in b - mean confidence in b|, the expected calibration error.

    The confidence of a prediction is its highest probability. Bin b of B holds the n_b examples whose confidence is
    in ((b - 1) / B, b / B]: bins of equal width, which may hold different numbers of examples, or none.

    Args:
        y: probabilities of shape (n, classes); or that of class 1, of shape (n,) or (n, 1), then class 0 has the rest.
        labels: as in ``log_loss``.
        bins: B, ``>= 1``. More bins hide less and need more examples; compare only results of the same number.
        weights: how much each example counts, of shape (n,); all the same by default.

    Returns:
        A number from 0 to 1: 0 if the model is as often right as it says.

    Raises:
        TypeError: as ``log_loss``, or ``bins`` is no integer.
        ValueError: as ``log_loss``, or ``bins`` is less than 1.

    Example:
        >>> y = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
        >>> round(calibration_error(y, np.array([1, 0, 0]), bins=1), 4)
        0.1333

    Reference:
        Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599, equation 3; 15 bins as in
        their table 1.
    """
    if operator.index(bins) < 1:
        raise ValueError(f"expected at least one bin, got {bins}")
    true, p = true_classes(labels, check_scores(y)), check_probabilities(y)
    w = check_weights(weights, (len(p),))
    confidence = p.max(axis=1).astype(np.float64)
    surplus = w * ((p.argmax(axis=1) == true) - confidence)
    index = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    return float(np.abs(np.bincount(index, surplus)).sum() / w.sum())
