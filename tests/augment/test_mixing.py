"""mixup and cutmix: the target of a mixture is the mixture of the targets, in which each counts by its weight."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import augment

N, CLASSES = 8, 4
# Image i has the value i everywhere, so that a mixture says what it is made of.
X = np.arange(N, dtype=np.float64)[:, None, None, None] * np.ones((N, 6, 5, 1))
LABELS = np.arange(N) % CLASSES
ROWS = np.eye(CLASSES, dtype=np.float32)[LABELS]
BOTH = {"mixup": lambda **options: augment.mixup(1.0, **options), "cutmix": augment.cutmix}


def parts(name: str, rng: int) -> tuple[float, np.ndarray]:
    """The share of the own example, and the other example of each, found from the pixels alone."""
    other = BOTH[name]()((X, X[:, 0, 0]), rng)[1][:, 0]  # target i is i, so a mixture is s i + (1 - s) j
    for share in np.linspace(0, 1, 31) if name == "cutmix" else [None]:
        if share is None:
            index = np.arange(N)
            key = fn.rng.generator(rng)
            share, j = key.beta(1.0, 1.0), key.permutation(N)
            np.testing.assert_allclose(other, share * index + (1 - share) * j)
            return share, j
        if share < 1:
            j = (other - share * np.arange(N)) / (1 - share)
            if np.allclose(np.sort(j), np.arange(N)) and not np.allclose(j, np.arange(N)):
                return float(share), np.rint(j).astype(int)
    return 1.0, np.arange(N)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("rng", range(5))
def test_labels_and_rows_are_mixed_as_the_pixels_are(name: str, rng: int) -> None:
    share, j = parts(name, rng)
    x, target = BOTH[name](classes=CLASSES)((X, LABELS), rng)
    np.testing.assert_allclose(x.mean(axis=(1, 2, 3)), share * np.arange(N) + (1 - share) * j)
    np.testing.assert_allclose(target, share * ROWS + (1 - share) * ROWS[j], rtol=1e-6)
    assert target.dtype == np.float32
    np.testing.assert_array_equal(BOTH[name]()((X, ROWS), rng)[1], target)


def test_cutmix_takes_a_rectangle_of_the_other_image() -> None:
    areas = set()
    for rng in range(40):
        x, _ = augment.cutmix()((X, ROWS), rng)
        own = x[..., 0] == np.arange(N)[:, None, None]
        foreign = ~own[own.mean(axis=(1, 2)) < 1]
        if len(foreign):
            assert (foreign == foreign[0]).all()
            rows, columns = foreign[0].any(axis=1).sum(), foreign[0].any(axis=0).sum()
            assert foreign[0].sum() == rows * columns
            areas.add(int(rows * columns))
    assert len(areas) > 5


@pytest.mark.parametrize("name", BOTH)
def test_the_loss_of_a_mixture_is_the_mean_of_the_losses_each_with_its_weight(name: str) -> None:
    weights = np.array([1, 2, 0, 4, 0.5, 0, 3, 1])
    for rng in range(4):
        share, j = parts(name, rng)
        _, target, w = BOTH[name](classes=CLASSES)((X, LABELS, weights), rng)
        logits = np.random.default_rng(rng).normal(size=(N, CLASSES))
        each = np.array([fn.softmax_cross_entropy(logits[[i, i]], LABELS[[i, i]])[0] for i in range(N)])
        others = np.array([fn.softmax_cross_entropy(logits[[i, i]], LABELS[[k, k]])[0] for i, k in enumerate(j)])
        expected = (share * weights * each + (1 - share) * weights[j] * others).sum()
        expected /= (share * weights + (1 - share) * weights[j]).sum()
        assert fn.softmax_cross_entropy(logits, target, weights=w)[0] == pytest.approx(expected, rel=1e-5)


def test_other_targets() -> None:
    ones = (LABELS[:, None] > 1).astype(int)
    _, target = augment.mixup(1.0)((X, ones), 0)
    share, j = parts("mixup", 0)
    np.testing.assert_allclose(target, share * ones + (1 - share) * ones[j], rtol=1e-6)
    _, target = augment.mixup(1.0, classes=CLASSES)((X, np.stack([LABELS, LABELS], 1)), 0)
    np.testing.assert_allclose(target[:, 1], share * ROWS + (1 - share) * ROWS[j], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: augment.mixup()((X, LABELS), 0), ValueError, "give the number of classes, mixup(classes=10)"),
        (lambda: augment.cutmix()((X, LABELS[:, None]), 0), ValueError, "give the number of classes, cutmix(classes="),
        (lambda: augment.mixup(classes=2)((X, LABELS), 0), ValueError, "mixup: expected labels from 0 to 1, got 2"),
        (lambda: augment.mixup()(X, 0), TypeError, "mixup: expected a batch (x, target) or (x, target, weights), got"),
        (
            lambda: augment.mixup()((X.astype(np.uint8), ROWS), 0),
            TypeError,
            "got uint8; use x.astype(np.float32) / 255",
        ),
        (lambda: augment.mixup()((X, {"a": ROWS}), 0), TypeError, "mixup: expected the target as an array, got a dict"),
        (lambda: augment.mixup(0), ValueError, "mixup: alpha: expected a positive number, got 0; 0.2 is usual"),
        (lambda: augment.cutmix(classes=0), ValueError, "cutmix: classes must be a whole number >= 1, got 0"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(call: Callable[[], Any], error: type, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()
