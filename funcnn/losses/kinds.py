"""The kinds of losses: of numbers, of yes and no, of classes. Each makes a loss of a formula.

The formula has the name and the docstring. It is given the target as its kind reads it: an array like y; how much of
each element is yes and no; or labels and rows of classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, overload

from numpy.typing import ArrayLike

from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.losses.core import (
    TEXTS,
    ClassLoss,
    Formula,
    NumberLoss,
    Reduction,
    check_prediction,
    factors,
    published,
    read_weights,
    reduced,
)
from funcnn.losses.targets import binary_terms, class_terms, clipped_probabilities, target_like

__all__ = [
    "BINARY",
    "CLASSES",
    "CLASSES_OVER_ROWS",
    "LABELS",
    "NUMBERS",
    "REGIONS",
    "binary_loss",
    "class_loss",
    "number_loss",
]

BLOCK_BYTES = 256 * 1024
"""The part of y that ``block_by_block`` passes on at a time."""

Check: TypeAlias = Callable[[str, Array, Array, Array | None], None]

NUMBERS = TEXTS

SIGNATURE = 'weights=None, class_weights=None, ignore_index=None, label_smoothing=0.0, reduction="mean") -> (value, dy)'


def _texts(class_weights: str, ignored: str, over: str) -> dict[str, str]:
    """The texts of ``documented`` for losses that classify."""
    own = f"""class_weights: {class_weights}
        ignore_index: {ignored} with this number as the target counts nothing.
        label_smoothing: how much of the target is spread over {over}, in [0, 1]."""
    options = f"{TEXTS['weights']}\n        {own}\n        {TEXTS['reduction']}"
    return TEXTS | {"options": options, "signature": SIGNATURE}


BINARY = _texts(
    """how much no and yes count, of shape (2,); by default all count the same. A mean is divided by the
            sum of the weights that were used.""",
    "an element", "no and yes",
)  # fmt: skip
CLASSES = _texts(
    """how much each class counts, of shape (classes,); by default all count the same. A mean is
            divided by the sum of the weights of the labels; for rows of probabilities, by the number of rows.""",
    "a row", "all classes",
)  # fmt: skip
CLASSES_OVER_ROWS = _texts(
    """how much each class counts, of shape (classes,); by default all count the same. A mean is
            divided by the number of rows, as in PyTorch.""",
    "a row", "all classes",
)  # fmt: skip


LABELS = _texts(
    """how much each label counts, of shape (labels,), a factor of its loss; by default 1. A mean is
            divided by the number of rows, as in PyTorch.""",
    "a label of an example", "no and yes",
)  # fmt: skip
REGIONS = _texts(
    """how much each class counts, of shape (classes,); by default all count the same. A mean is
            divided by the sum of the weights that were used.""",
    "a pixel", "all classes",
)  # fmt: skip


@overload
def number_loss(formula: Formula, kind: str = "", *, check: Check | None = None) -> NumberLoss: ...
@overload
def number_loss(*, check: Check | None = None) -> Callable[[Formula], NumberLoss]: ...
def number_loss(formula: Formula | None = None, kind: str = "", *, check: Check | None = None) -> Any:
    """The loss of ``formula(y, t, careful)``, with t like y, the mean over all elements.

    Args:
        formula: it has the name and the docstring, where ``{options}`` and ``{returns}`` stand for what all share.
        kind: the name, if it is not that of the formula.
        check: ``check(kind, y, t, weights)`` raises an error for numbers that the formula does not take, where they
            have a weight.
    """
    if formula is None:
        return lambda formula: number_loss(formula, kind, check=check)
    kind = kind or formula.__name__

    def loss(
        y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> tuple[Any, Array]:
        check_prediction(kind, y)
        w = read_weights(kind, weights, y.shape, reduction)
        t = target_like(kind, y, target)
        if check is not None:
            check(kind, y, t, w)
        each = None if w is None else factors(kind, w, y.shape, y.dtype, reduction)
        return reduced(formula, y, (t,), each, reduction)

    return published(loss, formula, kind, NUMBERS)


@overload
def binary_loss(formula: Formula, kind: str = "", *, signed: bool = False, logits_form: str = "") -> ClassLoss: ...
@overload
def binary_loss(*, signed: bool = False, logits_form: str = "") -> Callable[[Formula], ClassLoss]: ...
def binary_loss(formula: Formula | None = None, kind: str = "", *, signed: bool = False, logits_form: str = "") -> Any:
    """The loss of ``formula(y, yes, no, careful)``, with yes and no like y, the mean over all elements.

    Args:
        formula: it has the name and the docstring; it is linear, yes l(y) + no l'(y).
        kind: the name, if it is not that of the formula.
        signed: whether -1 means no too.
        logits_form: for a loss of probabilities, the one to use for logits.
    """
    if formula is None:
        return lambda formula: binary_loss(formula, kind, signed=signed, logits_form=logits_form)
    kind, blocks = kind or formula.__name__, block_by_block(formula)

    def loss(
        y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, class_weights: ArrayLike | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, reduction: Reduction = "mean",
    ) -> tuple[Any, Array]:  # fmt: skip
        check_prediction(kind, y)
        yes, no, factors, counted = binary_terms(
            kind, y, target, weights, class_weights, ignore_index, label_smoothing, reduction, signed
        )
        if logits_form:
            y = clipped_probabilities(kind, logits_form, y, counted)
        return reduced(blocks, y, (yes, no), factors, reduction)

    return published(loss, formula, kind, BINARY)


def block_by_block(formula: Formula) -> Formula:
    """A formula of single elements with many intermediate arrays, for some examples at a time.

    The intermediate arrays stay in the cache. Large ones would be new memory each time, at a page fault for each page.
    """

    def whole(y: Array, yes: Array, no: Array, careful: bool) -> tuple[Array, Array]:
        if y.nbytes <= BLOCK_BYTES or not y.flags.c_contiguous:
            return formula(y, yes, no, careful)
        losses, gradients = empty(y.shape, y.dtype), empty(y.shape, y.dtype)
        step = max(1, len(y) * BLOCK_BYTES // y.nbytes)
        for first in range(0, len(y), step):
            part = slice(first, first + step)
            losses[part], gradients[part] = formula(y[part], yes[part], no[part], careful)
        return losses, gradients

    return whole


@overload
def class_loss(formula: Formula, kind: str = "", *, logits_form: str = "", over_used: bool = True) -> ClassLoss: ...
@overload
def class_loss(*, logits_form: str = "") -> Callable[[Formula], ClassLoss]: ...
def class_loss(formula: Formula | None = None, kind: str = "", *, logits_form: str = "", over_used: bool = True) -> Any:
    """The loss of ``formula(y, t, careful)``, with t labels or rows of classes, the mean over all rows.

    Args:
        formula: it has the name and the docstring; it is linear, Σ_c t_c l_c(y), with t_c = [c = label] for labels.
        kind: the name, if it is not that of the formula.
        logits_form: for a loss of probabilities, the one to use for logits.
        over_used: whether a mean is divided by the weights of the true classes, and not by the number of rows.
    """
    if formula is None:
        return lambda formula: class_loss(formula, kind, logits_form=logits_form, over_used=over_used)
    kind = kind or formula.__name__

    def loss(
        y: Array, target: ArrayLike, *, weights: ArrayLike | None = None, class_weights: ArrayLike | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, reduction: Reduction = "mean",
    ) -> tuple[Any, Array]:  # fmt: skip
        check_prediction(kind, y)
        t, factors, counted = class_terms(
            kind, y, target, weights, class_weights, ignore_index, label_smoothing, reduction, over_used
        )
        if logits_form:
            y = clipped_probabilities(kind, logits_form, y, counted)
        return reduced(formula, y, (t,), factors, reduction)

    return published(loss, formula, kind, CLASSES if over_used else CLASSES_OVER_ROWS)
