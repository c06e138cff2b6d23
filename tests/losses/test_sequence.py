"""CTC: against every alignment one by one, values by hand, lengths, and bad input."""

import itertools
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 6, 4))
LABELS, LENGTHS, FRAMES = np.array([[1, 1, 2], [3, 1, -1], [-1, 99, 0]]), np.array([3, 2, 0]), np.array([5, 6, 2])
Y, TARGET = {"x": X, "lengths": FRAMES}, {"labels": LABELS, "lengths": LENGTHS}


def one_by_one(x: Array, labels: list[int], blank: int) -> float:
    """-log of the probability of all sequences of classes that read as the labels."""
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    total = sum(
        np.prod([p[t, k] for t, k in enumerate(path)])
        for path in itertools.product(range(x.shape[1]), repeat=len(x))
        if [k for k, _ in itertools.groupby(path) if k != blank] == labels
    )
    return float(-np.log(total))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_loss_is_that_of_all_alignments(reduction: Any) -> None:
    each = [one_by_one(X[i, : FRAMES[i]], LABELS[i, : LENGTHS[i]].tolist(), 0) for i in range(3)]
    expected = {"none": np.array(each), "sum": sum(each), "mean": (each[0] / 3 + each[1] / 2 + each[2] / 1) / 3}
    value, dy = fn.ctc()(Y, TARGET, reduction=reduction)
    np.testing.assert_allclose(value, expected[reduction], rtol=1e-13)
    assert dy["lengths"] is None
    assert not dy["x"][0, 5:].any()
    assert not dy["x"][2, 2:].any()


def test_another_blank() -> None:
    labels = [0, 0, 1]
    value, _ = fn.ctc(blank=3)(
        {"x": X[:1], "lengths": FRAMES[:1]}, {"labels": np.array([labels]), "lengths": np.array([3])}, reduction="sum"
    )
    assert value == pytest.approx(one_by_one(X[0, :5], labels, 3), rel=1e-13)


@pytest.mark.parametrize("loss", [fn.ctc(), fn.ctc(zero_infinity=True)])
def test_it_obeys_the_laws(loss: Any) -> None:
    assert fn.testing.check_loss(loss, Y, TARGET).passed
    assert fn.testing.check_loss(lambda y, t: loss(y, t, reduction="sum"), Y, TARGET).passed


def test_log_probabilities_are_logits() -> None:
    log_p = X - np.log(np.exp(X).sum(-1, keepdims=True))
    assert fn.ctc()({"x": log_p, "lengths": FRAMES}, TARGET)[0] == pytest.approx(fn.ctc()(Y, TARGET)[0], rel=1e-14)


def test_labels_without_an_alignment_count_nothing_if_so_asked() -> None:
    short = {"x": X, "lengths": np.array([3, 6, 0])}  # the first needs 4 frames: 1 blank 1 2
    value, dy = fn.ctc(zero_infinity=True)(short, TARGET, reduction="none")
    assert value[0] == 0
    assert value[2] == 0  # no labels and no frames are certain
    assert not dy["x"][0].any()
    assert dy["x"][1].any()
    with pytest.raises(
        ValueError, match=r"ctc: the labels of example 0 need 4 frames, 3 for labels and 1 between equal"
    ):
        fn.ctc()(short, TARGET)
    short["lengths"][0] = 4
    assert np.isfinite(fn.ctc()(short, TARGET)[0])


def test_classes_that_cannot_be_make_the_loss_infinite_or_nothing() -> None:
    x = X.copy()
    x[:, :, 1] = -np.inf
    value, dy = fn.ctc()({"x": x, "lengths": FRAMES}, TARGET, reduction="none")
    assert np.isinf(value).tolist() == [True, True, False]
    assert np.isnan(dy["x"][:2]).all()
    assert np.isfinite(dy["x"][2]).all()
    value, dy = fn.ctc(zero_infinity=True)({"x": x, "lengths": FRAMES}, TARGET, reduction="none")
    assert (value[:2] == 0).all()
    assert not dy["x"][:2].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_what_is_behind_the_end_or_has_a_weight_of_0_counts_nothing(bad: float) -> None:
    x, labels = X.copy(), LABELS.copy()
    x[0, 5:] = x[2, 2:] = bad
    assert fn.ctc()({"x": x, "lengths": FRAMES}, TARGET)[0] == fn.ctc()(Y, TARGET)[0]
    x[0], labels[0] = bad, [7, 0, -1]
    weights, frames, lengths = [0, 1, 2], np.array([99, 6, 2]), np.array([-1, *LENGTHS[1:]])
    value, dy = fn.ctc()({"x": x, "lengths": frames}, {"labels": labels, "lengths": lengths}, weights=weights)
    each, _ = fn.ctc()(Y, TARGET, reduction="none")
    assert value == pytest.approx((each[1] / 2 + 2 * each[2]) / 3, rel=1e-12)
    assert not dy["x"][0].any()


def test_large_logits_are_limits() -> None:
    x = np.array([[[0.0, 1e38], [3e38, 0.0]]], np.float32)
    value, dy = fn.ctc()({"x": x, "lengths": np.array([2])}, {"labels": np.array([[1]]), "lengths": np.array([1])})
    assert value == 0
    assert not dy["x"].any()
    assert dy["x"].dtype == np.float32


def test_a_model_learns_to_read() -> None:
    # Each label is three frames of noise around a vector of its own, and a frame of nothing.
    vectors = np.random.default_rng(1).standard_normal((4, 8))
    vectors[0] = 0
    labels = np.random.default_rng(2).integers(1, 4, (40, 3))
    frames = np.repeat(np.concatenate([labels[..., None], np.zeros((40, 3, 1), int)], -1).reshape(40, 6), 2, 1)
    x = (vectors[frames] + 0.1 * np.random.default_rng(3).standard_normal((40, 12, 8))).astype(np.float32)
    model = fn.parallel(x=fn.dense(4), lengths=fn.identity)
    data = {"x": x, "lengths": np.full(40, 12)}, {"labels": labels, "lengths": np.full(40, 3)}
    params = model.init(fn.specs(data[0]), 0)
    result = fn.fit(model, params, fn.adam(0.05), data, fn.ctc(), 40, batch_size=10, verbose=False)
    assert result.history[-1]["train_loss"] < 0.1 * result.history[0]["train_loss"]
    best = fn.predict(model, result.params, data[0])["x"].argmax(-1)
    read = [[k for k, _ in itertools.groupby(row.tolist()) if k] for row in best]
    assert np.mean([one == other for one, other in zip(read, labels.tolist(), strict=True)]) > 0.9


def changed(part: str, name: str, value: Any) -> Any:
    y, target = dict(Y), dict(TARGET)
    (y if part == "y" else target)[name] = value
    return lambda: fn.ctc()(y, target)


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: fn.ctc(blank=-1), ValueError, "ctc: blank must be a whole number >= 0, got -1"),
    (lambda: fn.ctc(zero_infinity=0), TypeError, "ctc: zero_infinity must be True or False, got 0"),
    (lambda: fn.ctc(blank=4)(Y, TARGET), ValueError, "blank=4 is not a class of y.*, whose classes are 0 to 3"),
    (lambda: fn.ctc()(X, TARGET), TypeError, 'ctc: expected y as a dict {"x": ..., "lengths": ...}, got a ndarray'),
    (
        lambda: fn.ctc()(Y, LABELS),
        TypeError,
        'ctc: expected target as a dict {"labels": ..., "lengths": ...}, got a nda',
    ),
    (lambda: fn.ctc()({"x": X}, TARGET), ValueError, r"ctc: expected y as a dict .* got one with \['x'\]"),
    (
        changed("y", "x", X[0]),
        ValueError,
        r'ctc: expected y\["x"\] of axes \(batch, time, classes\), got shape \(6, 4\)',
    ),
    (changed("y", "x", X.astype(int)), TypeError, r'ctc: expected y\["x"\], the model\'s output, .* got int64'),
    (changed("y", "lengths", FRAMES[:2]), ValueError, r'ctc: expected y\["lengths"\] of shape \(3,\), one for each'),
    (changed("y", "lengths", FRAMES + 0.5), TypeError, r'ctc: expected y\["lengths"\] as integers, got float64'),
    (changed("y", "lengths", FRAMES + 1), ValueError, r'ctc: expected y\["lengths"\] from 0 to 6, got 3 to 7'),
    (changed("target", "lengths", -LENGTHS), ValueError, r'expected target\["lengths"\] from 0 to 3, got -3 to 0'),
    (
        changed("target", "labels", LABELS[:2]),
        ValueError,
        r"with 3 examples as in y.*, got \(2, 3\); fill shorter ones",
    ),
    (
        changed("target", "labels", LABELS[0]),
        ValueError,
        r'expected target\["labels"\] of shape \(batch, most labels\)',
    ),
    (changed("target", "labels", LABELS * 1.0), TypeError, "ctc: expected integer labels, got float64"),
    (
        changed("target", "labels", LABELS + 1),
        ValueError,
        r"labels from 0 to 3 other than the blank, 0, got 4 in example 1",
    ),
    (
        changed("target", "labels", LABELS - 1),
        ValueError,
        "labels from 0 to 3 other than the blank, 0, got 0 in example 0",
    ),
    (changed("y", "lengths", FRAMES - 2), ValueError, "ctc: the labels of example 0 need 4 frames, .* but y has 3"),
    (lambda: fn.ctc()(Y, TARGET, weights=[1, 1]), ValueError, r"ctc: expected weights of shape \(3,\), got \(2,\)"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[message[:50] for *_, message in WRONG])
def test_a_wrong_call_raises(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
