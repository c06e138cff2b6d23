"""A loss of sequences: frames of class scores, and the shorter sequence of labels that they shall read as.

No frame has a label of its own. ``ctc`` sums over all alignments of the labels with the frames, so that the model is
free to choose one.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from funcnn import checks
from funcnn.aliases import Array, Size
from funcnn.kernels.ctc import occupancy
from funcnn.kernels.softmax import limits, shifted_exponentials
from funcnn.losses.core import (
    Reduction,
    TreeLoss,
    check_prediction,
    documented,
    factors,
    published,
    read_weights,
    reduced,
)
from funcnn.recorded import recorded

__all__ = ["ctc"]


@recorded
@documented()
def ctc(blank: Size = 0, zero_infinity: bool = False) -> TreeLoss:
    """A loss of sequences, l = -log Σ_π Π_t p_t(π_t), over the alignments π that read as the labels.

    An alignment gives each frame a class, of probability p_t = softmax(x_t); it reads as what is left without
    repetitions and then without blanks. Labels of length L with r repetitions need L + r frames. As in PyTorch, each l
    is divided by its length L, at least 1, where the reduction is a mean, and not otherwise.

    Args:
        blank: the class of no label.
        zero_infinity: whether labels without an alignment have a loss and a gradient of 0, and raise no error.

    Returns:
        ``loss(y, target, *, {signature}`` with

        y: ``{"x": ..., "lengths": ...}``: logits, floats of shape (batch, time, classes), or log-probabilities, which
            are logits; and the number of frames of each, integers of shape (batch,). Frames after these are not
            looked at.
        target: ``{"labels": ..., "lengths": ...}``: classes other than the blank, integers of shape
            (batch, most labels); and the number of labels of each, integers of shape (batch,). It may be 0.
        {options}

        In dy, ``lengths`` is None.

    Raises:
        {raises} Or labels need more frames than there are.

    Example:
        >>> y = {"x": np.zeros((1, 2, 2)), "lengths": np.array([2])}
        >>> value, dy = ctc()(y, {"labels": np.array([[1]]), "lengths": np.array([1])})
        >>> round(value, 4), dy["x"].round(4)  # -log of 3/4: all alignments but two blanks
        (0.2877, array([[[ 0.1667, -0.1667],
                [ 0.1667, -0.1667]]]))

    Reference:
        Graves, Fernández, Gomez & Schmidhuber (2006), Connectionist temporal classification; PyTorch, CTCLoss.
    """
    kind = "ctc"
    blank, zero_infinity = checks.size(kind, "blank", blank, 0), checks.flag(kind, "zero_infinity", zero_infinity)

    def of_examples(x: Array, frames: Array, labels: Array, lengths: Array, careful: bool) -> tuple[Array, Array]:
        inside = (np.arange(x.shape[1]) < frames[:, None])[..., None]
        x = np.where(inside, x, 0)
        shifted, p, total = shifted_exponentials(limits(x) if careful else x)
        log_probability, occupied = occupancy(shifted - np.log(total), frames, labels, lengths, blank)
        dx = (p / total - occupied) * inside
        impossible = log_probability == -np.inf
        dx[impossible] = 0 if zero_infinity else np.nan
        return np.where(impossible & zero_infinity, 0, -log_probability), dx

    def of_labels(x: Array, frames: Array, labels: Array, lengths: Array, careful: bool) -> tuple[Array, Array]:
        losses, dx = of_examples(x, frames, labels, lengths, careful)
        per = np.maximum(lengths, 1).astype(x.dtype)
        return losses / per, dx / per[:, None, None]

    def loss(
        y: Any, target: Any, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> tuple[Any, dict[str, Any]]:
        x, frames = _logits(kind, y, blank)
        w = read_weights(kind, weights, x.shape[:1], reduction)
        counts = np.ones(len(x), bool) if w is None else w > 0
        frames = _lengths(kind, 'y["lengths"]', frames, counts, x.shape[1])
        labels, lengths = _labels(kind, target, x, counts, blank)
        if not zero_infinity:
            _check_long_enough(kind, frames, labels, lengths, counts)
        formula = of_labels if reduction == "mean" else of_examples
        scale = factors(kind, w, x.shape[:1], x.dtype, reduction)
        value, dx = reduced(formula, x, (frames, labels, lengths), scale, reduction)
        return value, {"x": dx, "lengths": None}

    return cast(TreeLoss, published(loss, of_examples, kind, {}))


def _logits(kind: str, y: Any, blank: int) -> tuple[Array, Any]:
    """The logits, and what stands beside them as the number of frames of each example."""
    x, lengths = _pair(kind, "y", y, "x")
    check_prediction(kind, x, 'y["x"]')
    if x.ndim != 3:
        raise ValueError(f'{kind}: expected y["x"] of axes (batch, time, classes), got shape {x.shape}')
    if blank >= x.shape[2]:
        raise ValueError(f'{kind}: blank={blank} is not a class of y["x"], whose classes are 0 to {x.shape[2] - 1}')
    return x, lengths


def _labels(kind: str, target: Any, x: Array, counts: Array, blank: int) -> tuple[Array, Array]:
    """The labels, with a class that may stand there after the last one of each, and their number."""
    labels, lengths = _pair(kind, "target", target, "labels")
    labels = checks.array(kind, labels, 'target["labels"]')
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{kind}: expected integer labels, got {labels.dtype}; use labels.astype(int)")
    if labels.ndim != 2 or len(labels) != len(x):
        raise ValueError(
            f'{kind}: expected target["labels"] of shape (batch, most labels) with {len(x)} examples as in y["x"], got '
            f"{labels.shape}; fill shorter ones up with any number"
        )
    lengths = _lengths(kind, 'target["lengths"]', lengths, counts, labels.shape[1])
    used = np.arange(labels.shape[1]) < lengths[:, None]
    right = (labels >= 0) & (labels < x.shape[2]) & (labels != blank)
    if (wrong := used & ~right & counts[:, None]).any():
        example, label = np.argwhere(wrong)[0]
        raise ValueError(
            f"{kind}: expected labels from 0 to {x.shape[2] - 1} other than the blank, {blank}, got "
            f"{labels[example, label]} in example {example}"
        )
    return np.where(used & right, labels, blank).astype(np.intp), lengths


def _pair(kind: str, name: str, value: Any, first: str) -> tuple[Any, Any]:
    """What stands in y or the target, a dict of two."""
    if not isinstance(value, dict) or set(value) != {first, "lengths"}:
        got = f"one with {sorted(map(str, value))}" if isinstance(value, dict) else checks.what(value)
        raise (ValueError if isinstance(value, dict) else TypeError)(
            f'{kind}: expected {name} as a dict {{"{first}": ..., "lengths": ...}}, got {got}'
        )
    return value[first], value["lengths"]


def _lengths(kind: str, name: str, value: Any, counts: Array, most: int) -> Array:
    """Numbers of frames or of labels, one for each example; 0 for those that do not count, whatever stands there."""
    lengths = checks.array(kind, value, name)
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{kind}: expected {name} as integers, got {lengths.dtype}; use lengths.astype(int)")
    if lengths.shape != counts.shape:
        raise ValueError(f"{kind}: expected {name} of shape {counts.shape}, one for each example, got {lengths.shape}")
    lengths = np.where(counts, lengths, 0)
    if ((lengths < 0) | (lengths > most)).any():
        raise ValueError(f"{kind}: expected {name} from 0 to {most}, got {lengths.min()} to {lengths.max()}")
    return lengths.astype(np.intp)


def _check_long_enough(kind: str, frames: Array, labels: Array, lengths: Array, counts: Array) -> None:
    """Raise if some labels have no alignment: they need a frame each, and a blank between two that are equal."""
    repeated = (labels[:, 1:] == labels[:, :-1]) & (np.arange(1, labels.shape[1]) < lengths[:, None])
    needed = lengths + repeated.sum(1)
    if (wrong := (needed > frames) & counts).any():
        example = wrong.argmax()
        raise ValueError(
            f"{kind}: the labels of example {example} need {needed[example]} frames, {lengths[example]} for labels and "
            f"{needed[example] - lengths[example]} between equal ones, but y has {frames[example]}; give it more "
            "frames, leave the example out, or let it count nothing with zero_infinity=True"
        )
