"""The options that losses share: reductions, weights of classes, ignored and smoothed labels."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest

import funcnn as fn

LOGITS, LABELS = np.log(np.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])), np.array([0, 2, 1])
EACH = -np.log([0.5, 0.6, 0.8])
P = np.exp(LOGITS)


def test_reductions_by_hand() -> None:
    y, t = np.array([[1.0, 2.0], [3.0, 5.0]]), np.ones((2, 2))
    value, dy = fn.mean_squared_error(y, t, reduction="sum")
    assert value == 0 + 1 + 4 + 16
    np.testing.assert_array_equal(dy, 2 * (y - 1))
    value, dy = fn.mean_squared_error(y, t, reduction="none", weights=[3, 0])
    np.testing.assert_array_equal(value, [[0, 3], [0, 0]])
    np.testing.assert_array_equal(dy, [[0, 6], [0, 0]])
    value, _ = fn.softmax_cross_entropy(LOGITS, LABELS, reduction="none")
    np.testing.assert_allclose(value, EACH, rtol=1e-14)


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (fn.softmax_cross_entropy, LOGITS), (fn.categorical_cross_entropy, P), (fn.negative_log_likelihood, LOGITS),
        (fn.softmax_focal(0), LOGITS),
    ],
)  # fmt: skip
def test_options_of_classes_by_hand(loss: Any, y: Any) -> None:
    w, log_p = np.array([2.0, 3.0, 5.0]), LOGITS
    # A mean is divided by the weights of the labels that were used.
    value, _ = loss(y, LABELS, class_weights=w)
    assert value == pytest.approx((w[LABELS] * EACH).sum() / w.sum(), rel=1e-13)
    value, dy = loss(y, np.array([0, -100, 1]), ignore_index=-100)
    assert value == pytest.approx((EACH[0] + EACH[2]) / 2, rel=1e-13)
    assert not dy[1].any()
    smooth = -(0.7 * log_p[np.arange(3), LABELS] + 0.3 * log_p.mean(1))
    value, _ = loss(y, LABELS, label_smoothing=0.3)
    assert value == pytest.approx(smooth.mean(), rel=1e-13)
    # Smoothing spreads the target over all classes, each with its own weight; the mean is over those of the labels.
    value, _ = loss(y, LABELS, label_smoothing=0.3, class_weights=w, ignore_index=2)
    each = -(0.7 * w[LABELS] * log_p[np.arange(3), LABELS] + 0.1 * (w * log_p).sum(1))
    assert value == pytest.approx((each[0] + each[2]) / (w[0] + w[1]), rel=1e-13)
    # The mean of rows of probabilities is over their number, as in PyTorch.
    value, _ = loss(y, np.eye(3)[LABELS], class_weights=w)
    assert value == pytest.approx((w[LABELS] * EACH).mean(), rel=1e-13)
    # Weights of examples and of classes are multiplied.
    value, _ = loss(y, LABELS, class_weights=w, weights=[1, 0, 4], reduction="sum")
    assert value == pytest.approx(2 * EACH[0] + 4 * 3 * EACH[2], rel=1e-13)


@pytest.mark.parametrize(
    ("loss", "y"), [(fn.sigmoid_cross_entropy, LOGITS - np.log1p(-P)), (fn.binary_cross_entropy, P)]
)
def test_options_of_yes_and_no_by_hand(loss: Any, y: Any) -> None:
    t = np.array([[1.0, 0.0, 1.0], [0.0, -1.0, 1.0], [0.0, 1.0, 0.0]])
    yes, no = -np.log(P), -np.log(1 - P)
    value, dy = loss(y, t, class_weights=[1, 3], ignore_index=-1)
    assert value == pytest.approx((3 * yes[t == 1].sum() + no[t == 0].sum()) / (3 * 4 + 4), rel=1e-13)
    assert dy[1, 1] == 0
    value, _ = loss(y, abs(t), label_smoothing=0.5)
    assert value == pytest.approx(np.where(t, 0.75 * yes + 0.25 * no, 0.25 * yes + 0.75 * no).mean(), rel=1e-13)


def test_two_classes_with_all_options_are_the_same_as_yes_and_no() -> None:
    y, t = np.array([[0.3], [-1.0], [2.0], [0.1]]), np.array([[1], [0], [0], [-1]])
    options: dict[str, Any] = {
        "class_weights": [0.5, 2.0], "ignore_index": -1, "label_smoothing": 0.2, "weights": [1, 2, 3, 4]
    }  # fmt: skip
    value, dy = fn.sigmoid_cross_entropy(y, t, **options)
    same, dy_same = fn.softmax_cross_entropy(np.concatenate([0 * y, y], 1), t[:, 0], **options)
    assert value == pytest.approx(same, rel=1e-13)
    np.testing.assert_allclose(dy, dy_same[:, 1:], rtol=1e-13)


def test_what_is_ignored_may_be_anything() -> None:
    for ignored in (-1, 255, 2):
        labels = np.array([0, ignored, 1])
        y = LOGITS.copy()
        y[1] = np.nan
        value, dy = fn.softmax_cross_entropy(y, labels, ignore_index=ignored)
        assert value == pytest.approx((EACH[0] + EACH[2]) / 2, rel=1e-13)
        assert not dy[1].any()
    with pytest.raises(ValueError, match="expected labels from 0 to 2, got 0 to 255"):
        fn.softmax_cross_entropy(LOGITS, np.array([0, 255, 1]), ignore_index=-1)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_the_output_beside_an_ignored_element_may_be_anything(strange: float) -> None:
    bits = np.array([[0, 1, -1], [1, 0, 1], [1, 1, 0]])
    y = LOGITS.copy()
    y[0, 2] = strange
    value, dy = fn.multilabel_soft_margin(y, bits, ignore_index=-1, reduction="none")
    expected, slope = fn.sigmoid_cross_entropy(LOGITS, np.maximum(bits, 0), reduction="none")
    assert value[0] == pytest.approx(expected[0, :2].sum() / 3, rel=1e-13)
    np.testing.assert_allclose(dy, slope * (bits >= 0) / 3, rtol=1e-13)

    regions, maps = np.array([[0, 1, 255]]), P[None].copy()
    maps[0, 2] = strange
    value, dy = fn.dice(maps, regions, ignore_index=255)
    expected, slope = fn.dice(P[None, :2], regions[:, :2])
    assert value == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(dy[:, :2], slope, rtol=1e-13)
    assert not dy[0, 2].any()


@pytest.mark.parametrize("loss", [fn.softmax_cross_entropy, fn.multi_margin(), fn.categorical_hinge])
def test_nothing_that_counts_has_no_mean_but_a_sum(loss: Any) -> None:
    for options in ({"ignore_index": 7}, {"ignore_index": 7, "class_weights": [1, 1, 1]}):
        with pytest.raises(ValueError, match="nothing is left that counts, so there is no mean"):
            loss(LOGITS, np.full(3, 7), **options)
        value, dy = loss(LOGITS, np.full(3, 7), reduction="sum", **options)
        assert value == 0
        assert not dy.any()
        value, _ = loss(LOGITS, np.full(3, 7), reduction="none", **options)
        np.testing.assert_array_equal(value, [0, 0, 0])
    with pytest.raises(ValueError, match="all weights are zero"):
        loss(LOGITS, LABELS, weights=[0, 0, 0])
    assert loss(LOGITS, LABELS, weights=[0, 0, 0], reduction="sum")[0] == 0


def test_a_class_of_weight_0_counts_as_ignored() -> None:
    value, dy = fn.softmax_cross_entropy(LOGITS, LABELS, class_weights=[1, 0, 2])
    assert value == pytest.approx((EACH[0] + 2 * EACH[1]) / 3, rel=1e-13)
    assert not dy[2].any()
    with pytest.raises(ValueError, match="nothing is left that counts"):
        fn.softmax_cross_entropy(LOGITS, np.array([1, 1, 1]), class_weights=[1, 0, 2])


def test_a_loss_with_parameters_prints_as_the_call_that_made_it() -> None:
    assert repr(fn.huber(2.5)) == "huber(delta=2.5)"
    assert repr(fn.quantile(0.9)) == "quantile(0.9)"
    assert repr(fn.focal(alpha=None)) == "focal(alpha=None)"
    assert fn.recorded.spelled(partial(fn.huber(2.5), reduction="sum")) == "partial(huber(delta=2.5), reduction='sum')"


LOSSES = [
    partial(fn.softmax_cross_entropy, class_weights=[1.0, 2.0], label_smoothing=0.1, ignore_index=-1),
    partial(fn.multi_margin(p=2), reduction="sum"),
]


@pytest.mark.parametrize("loss", LOSSES, ids=fn.recorded.spelled)
def test_partial_sets_options_for_fit_evaluate_and_the_files_of_a_run(loss: Any, tmp_path: Any) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 3)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(int)
    if "ignore_index" in loss.keywords:
        labels[::5] = -1
    model, data = fn.dense(2), (x, labels)
    params, path = model.init((3,), 0), tmp_path / "run.npz"
    fit = partial(fn.fit, model, params, fn.adam(0.01), data, verbose=False)
    result = fit(loss=loss, epochs=3, checkpoint=path)
    assert fn.evaluate(model, result.params, data, loss)["loss"] < fn.evaluate(model, params, data, loss)["loss"]
    # An equal partial, made anew, is the same run; other options are another.
    same = fit(loss=partial(loss.func, **loss.keywords), epochs=4, checkpoint=path, resume=path)
    assert len(same.history) == len(result.history) + 1
    with pytest.raises(ValueError, match="differs in loss: partial"):
        fit(loss=loss.func, epochs=5, checkpoint=path, resume=path)


def test_runs_with_other_weights_of_many_classes_are_others(tmp_path: Any) -> None:
    x, labels, w = np.ones((4, 3), np.float32), np.array([0, 1, 2, 9]), np.arange(1.0, 11)
    model, path = fn.dense(10), tmp_path / "run.npz"

    def fit(weights: Any, **more: Any) -> fn.Fit:
        loss = partial(fn.softmax_cross_entropy, class_weights=weights)
        params = model.init((3,), 0)
        return fn.fit(model, params, fn.adam(0.01), (x, labels), loss, checkpoint=path, verbose=False, **more)

    fit(w, epochs=1)
    assert len(fit(w.copy(), epochs=2, resume=path).history) == 3
    with pytest.raises(ValueError, match=r"differs in loss: partial.*<float64 array of shape \(10,\)>"):
        fit(w[::-1].copy(), epochs=3, resume=path)


def test_a_constructor_that_was_not_called_is_not_a_loss() -> None:
    data = (np.ones((4, 1), np.float32), np.ones((4, 1), np.float32))
    for constructor in (fn.huber, fn.focal, fn.poisson_nll):
        with pytest.raises(TypeError, match=rf"call it: {constructor.__name__}\(...\)"):
            fn.evaluate(fn.dense(1), fn.dense(1).init((1,), 0), data, constructor)  # type: ignore[arg-type]


def test_each_loss_is_no_loss_of_fit() -> None:
    data = (np.ones((4, 1), np.float32), np.ones((4, 1), np.float32))
    loss = partial(fn.mean_squared_error, reduction="none")
    with pytest.raises(TypeError, match=r"partial\(mean_squared_error, reduction='none'\) returns must return one"):
        fn.evaluate(fn.dense(1), fn.dense(1).init((1,), 0), data, loss)


def test_large_weights_of_a_sum_that_the_dtype_cannot_hold_raise() -> None:
    y = np.ones((2, 1), np.float32)
    assert fn.mean_squared_error(y, 0 * y, weights=[1e300, 1e300])[0] == 1
    with pytest.raises(ValueError, match="expected weights that float32 can hold, got up to 1e"):
        fn.mean_squared_error(y, 0 * y, weights=[1e300, 1], reduction="sum")
    assert math.isfinite(fn.mean_squared_error(y.astype(float), 0 * y, weights=[1e300, 1], reduction="sum")[0])


@pytest.mark.parametrize("weight", [1e300, 1e-300])
def test_class_weights_that_the_dtype_cannot_hold_raise(weight: float) -> None:
    y = LOGITS.astype(np.float32)
    cases = [
        (fn.softmax_cross_entropy, y, LABELS, 3), (fn.sigmoid_cross_entropy, y, y > -1, 2),
        (fn.multilabel_soft_margin, y, y > -1, 3), (fn.dice, np.exp(y)[None], LABELS[None], 3),
    ]  # fmt: skip
    for loss, outputs, target, n in cases:
        with pytest.raises(ValueError, match=r"expected class_weights that float32 can hold, got 1e[+-]300; use"):
            loss(outputs, target, class_weights=[weight] * n, label_smoothing=0.1)
        assert math.isfinite(loss(outputs.astype(float), target, class_weights=[weight] * n, label_smoothing=0.1)[0])


@pytest.mark.parametrize(
    ("make", "usual"),
    [
        (lambda: fn.huber(0), "1.0"), (lambda: fn.tversky(smooth=0), "1e-5"), (lambda: fn.info_nce(0), "0.07"),
        (lambda: fn.local_response_norm(5, k=0), "1.0"), (lambda: fn.gaussian_nll(eps=0), "1e-6"),
    ],
)  # fmt: skip
def test_the_advice_is_the_default_of_the_argument(make: Any, usual: str) -> None:
    with pytest.raises(ValueError, match=f"expected a positive number, got 0; {usual} is usual"):
        make()
