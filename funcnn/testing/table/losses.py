"""One table of every loss, with its options: a new loss is a new row, and is checked by every law.

The outputs lie away from kinks, where a difference quotient is not a derivative.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import numpy as np

from funcnn import losses

__all__ = ["LossRow", "table_of_losses"]

LossRow: TypeAlias = tuple[Any, Any, Any]
"""A loss, the outputs of a model, and targets for them."""

LABELS = np.array([0, 2, 1, 1, 0, 2])
IGNORED = np.array([0, 2, -1, 1, -1, 2])
LISTED = np.array([[0, -1, -1], [2, 0, -1], [1, -1, 0], [-1, 1, 2], [0, 1, 2], [2, -1, -1]])
PER_CLASS, PER_ANSWER = np.array([0.5, 2.0, 1.0]), np.array([1.0, 3.0])


def table_of_losses() -> list[LossRow]:
    """Every loss of the library, with its parameters and options, outputs and targets: the rows of the tests.

    Returns:
        ``[(loss, y, target)]``, six examples each, as ``check_loss`` takes them.

    Example:
        >>> len(table_of_losses()) > 40
        True
    """
    random = np.random.default_rng(0)
    y, numbers, p = 2 * random.normal(size=(6, 3)), random.normal(size=(6, 3)), random.uniform(0.1, 0.9, (6, 3))
    rows, soft = p / p.sum(axis=1, keepdims=True), numbers**2 / (numbers**2).sum(axis=1, keepdims=True)
    bits = numbers > 0
    signs, some = np.where(bits, 1, -1), np.where(numbers > 1, -1, bits)
    maps, masks, regions = random.uniform(0.1, 0.9, (6, 2, 2, 3)), random.random((6, 2, 2, 3)), LABELS[:, None, None]
    regions = (regions + np.arange(4).reshape(2, 2)) % 3
    normal, pair = {"mean": y, "var": p}, {"a": y, "b": numbers}
    triplet = {"anchor": y, "positive": numbers, "negative": p}
    series = {"x": random.normal(size=(6, 5, 3)), "lengths": np.array([5, 3, 4, 5, 2, 1])}
    texts = {"labels": 1 + LISTED[:, :2] % 2, "lengths": np.array([2, 2, 1, 2, 0, 1])}
    both = {"a": LABELS, "b": y}
    binary: dict[str, Any] = {"class_weights": PER_ANSWER, "ignore_index": -1, "label_smoothing": 0.2}
    classes: dict[str, Any] = {"class_weights": PER_CLASS, "label_smoothing": 0.2}
    some_ignored = classes | {"ignore_index": -1}
    return [
        # Of numbers.
        (losses.mean_squared_error, y, numbers),
        (partial(losses.mean_squared_error, reduction="sum"), y, numbers),
        (losses.mean_absolute_error, y, numbers),
        (losses.huber(0.5), y, numbers),
        (losses.huber(delta=5.0), y, numbers),
        (losses.smooth_l1(beta=2.0), y, numbers),
        (losses.smooth_l1(0), y, numbers),
        (losses.log_cosh, y, numbers),
        (losses.mean_squared_log_error, np.abs(y), np.abs(numbers)),
        (losses.quantile(0.9), y, numbers),
        # Of distributions.
        (losses.poisson_nll(), y, LABELS[:, None] + np.arange(3)),
        (losses.poisson_nll(log_input=False, full=True, eps=0.1), p, LABELS[:, None] + np.arange(3)),
        (losses.gaussian_nll(), normal, numbers),
        (losses.gaussian_nll(full=True, eps=0.01), normal | {"var": p[:, :1]}, numbers),
        (losses.kl_divergence(), np.log(rows), soft),
        (losses.kl_divergence(log_target=True), np.log(rows), np.log(soft)),
        # Of yes and no.
        (losses.binary_cross_entropy, p, bits),
        (losses.binary_cross_entropy, p, rows),
        (partial(losses.binary_cross_entropy, **binary), p, some),
        (losses.sigmoid_cross_entropy, y, bits),
        (losses.sigmoid_cross_entropy, y, rows),
        (partial(losses.sigmoid_cross_entropy, **binary), y, some),
        (losses.focal(), y, bits),
        (losses.focal(gamma=0.5, alpha=None), y, rows),
        (partial(losses.focal(), **binary), y, some),
        (losses.hinge, y, signs),
        (partial(losses.hinge, class_weights=PER_ANSWER, label_smoothing=0.2), y, signs),
        (losses.squared_hinge, y, bits),
        (losses.soft_margin, y, signs),
        (losses.multilabel_soft_margin, y, bits),
        (partial(losses.multilabel_soft_margin, **some_ignored), y, some),
        (losses.multilabel_margin, y, LISTED),
        # Of classes.
        (losses.softmax_cross_entropy, y, LABELS),
        (losses.softmax_cross_entropy, y, soft),
        (partial(losses.softmax_cross_entropy, class_weights=PER_CLASS, ignore_index=-1), y, IGNORED),
        (partial(losses.softmax_cross_entropy, **some_ignored), y, IGNORED),
        (partial(losses.softmax_cross_entropy, reduction="sum", **classes), y, soft),
        (losses.categorical_cross_entropy, rows, LABELS),
        (losses.categorical_cross_entropy, rows, soft),
        (partial(losses.categorical_cross_entropy, **some_ignored), rows, IGNORED),
        (losses.negative_log_likelihood, np.log(rows), LABELS),
        (partial(losses.negative_log_likelihood, **classes), np.log(rows), soft),
        (losses.softmax_focal(), y, LABELS),
        (partial(losses.softmax_focal(gamma=0.5), **some_ignored), y, IGNORED),
        (losses.categorical_hinge, y, LABELS),
        (partial(losses.categorical_hinge, **classes), y, soft),
        (losses.multi_margin(), y, LABELS),
        (partial(losses.multi_margin(p=2, margin=0.5), **some_ignored), y, IGNORED),
        (partial(losses.multi_margin(), class_weights=PER_CLASS), y, LABELS),
        # Of regions.
        (losses.dice, maps, masks),
        (losses.dice, maps, regions),
        (losses.tversky(alpha=0.3, beta=0.7, smooth=1.0), maps, regions),
        (partial(losses.tversky(), class_weights=PER_CLASS, ignore_index=1, label_smoothing=0.2), maps, regions),
        # Of pairs, triplets and sequences, and of several outputs.
        (losses.hinge_embedding(), np.abs(y), signs),
        (losses.margin_ranking(0.5), pair, signs),
        (losses.cosine_embedding(margin=-0.2), pair, signs[:, 0]),
        (losses.cosine_similarity, y, numbers),
        (losses.contrastive(margin=3.0), pair, bits[:, 0]),
        (losses.triplet_margin(), triplet, LABELS),
        (losses.triplet_margin(margin=2.0, p=3.0, eps=0.1, swap=True), triplet, LABELS),
        (losses.info_nce(temperature=0.5), pair, LABELS),
        (losses.info_nce(symmetric=True), pair, LABELS),
        (losses.ctc(), series, texts),
        (partial(losses.ctc(blank=0, zero_infinity=True), reduction="sum"), series, texts),
        (losses.combine({"a": losses.softmax_cross_entropy, "b": losses.cosine_similarity}, {"b": 0.5}), pair, both),
    ]
