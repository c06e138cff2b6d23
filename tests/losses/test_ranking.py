"""Losses of pairs and triplets: values by hand, kinks, weights, special numbers and bad input."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.losses.ranking import norm

NAN, INF = np.nan, np.inf
RNG = np.random.default_rng(0)
A, B, C = RNG.standard_normal((3, 6, 4))
PAIR, TRIPLET = {"a": A, "b": B}, {"anchor": A, "positive": B, "negative": C}
SIGNS = np.array([1, -1, 1, -1, 1, -1])

CASES: list[tuple[Any, Any, Any]] = [
    (fn.hinge_embedding(margin=1.0), np.abs(A[:, 0]), SIGNS),
    (fn.margin_ranking(margin=0.5), PAIR, RNG.choice([1, -1], (6, 4))),
    (fn.cosine_embedding(margin=0.2), PAIR, SIGNS),
    (fn.cosine_similarity, A, B),
    (fn.contrastive(margin=3.0), PAIR, SIGNS > 0),
    (fn.triplet_margin(margin=1.0, p=3.0, swap=True), TRIPLET, SIGNS),
    (fn.triplet_margin(margin=1.0, p=INF), TRIPLET, SIGNS),
    (fn.info_nce(temperature=0.5, symmetric=True), PAIR, SIGNS),
]
every = pytest.mark.parametrize(("loss", "y", "target"), CASES, ids=[fn.recorded.spelled(loss) for loss, *_ in CASES])


@every
def test_a_loss_obeys_the_laws(loss: Any, y: Any, target: Any) -> None:
    assert fn.testing.check_loss(loss, y, target).passed


@every
def test_a_step_against_the_gradient_lowers_the_loss(loss: Any, y: Any, target: Any) -> None:
    value, dy = loss(y, target)
    moved = fn.tree.map(lambda leaf, gradient: leaf - 1e-3 * gradient, y, dy)
    assert loss(moved, target)[0] < value


@every
def test_an_example_of_weight_0_counts_as_none_whatever_it_is(loss: Any, y: Any, target: Any) -> None:
    few = fn.tree.map(lambda leaf: leaf[:3], y)
    value, dy = loss(few, target[:3])
    for bad in (NAN, INF, 1e200):

        def poisoned(leaf: Any, bad: float = bad) -> Any:
            leaf = leaf[:4].copy()
            leaf[3] = bad
            return leaf

        found, gradient = loss(fn.tree.map(poisoned, y), target[:4], weights=[1, 1, 1, 0])
        assert found == pytest.approx(value, rel=1e-12)
        for one, other in zip(fn.tree.leaves(gradient), fn.tree.leaves(dy), strict=True):
            np.testing.assert_allclose(one[:3], other, rtol=1e-10, atol=1e-14)
            assert not one[3].any()


@every
def test_large_numbers_of_float32_do_not_overflow(loss: Any, y: Any, target: Any) -> None:
    large = fn.tree.map(lambda leaf: (1e30 * leaf).astype(np.float32), y)
    value, dy = loss(large, target)
    expected, dy_expected = loss(fn.tree.map(lambda leaf: leaf.astype(np.float64), large), target)
    assert value == pytest.approx(expected, rel=1e-5)
    for leaf, other in zip(fn.tree.leaves(dy), fn.tree.leaves(dy_expected), strict=True):
        assert leaf.dtype == np.float32
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(leaf, other.astype(np.float32), rtol=1e-4, atol=1e-4 * np.abs(other).max())


def test_distances_below_the_margin_by_hand() -> None:
    value, dy = fn.hinge_embedding(margin=2.0)(np.array([3.0, 0.5, 2.0, 2.5]), [1, -1, -1, -1], reduction="none")
    assert value.tolist() == [3, 1.5, 0, 0]
    assert dy.tolist() == [1, -1, -1, 0]  # at the margin itself it has the slope of below it


def test_scores_in_order_cost_nothing() -> None:
    y = {"a": np.array([2.0, 1.0, 0.0]), "b": np.array([0.0, 1.0, 3.0])}
    value, dy = fn.margin_ranking(margin=0.5)(y, [1, 1, 1], reduction="none")
    assert value.tolist() == [0, 0.5, 3.5]
    assert dy["a"].tolist() == [0, -1, -1]
    assert dy["b"].tolist() == [0, 1, 1]


def test_the_cosine_by_hand() -> None:
    # cos((1, 1), (2, 0)) = 1 / sqrt(2); d cos / da = (b/|b| - cos a/|a|) / |a| = ((1, 0) - (0.5, 0.5)) / sqrt(2).
    a, b, root = np.array([[1.0, 1.0]]), np.array([[2.0, 0.0]]), np.sqrt(2)
    value, dy = fn.cosine_embedding(margin=0.25)({"a": a, "b": b}, [-1])
    assert value == pytest.approx(1 / root - 0.25, rel=1e-11)
    np.testing.assert_allclose(dy["a"], [[0.5 / root, -0.5 / root]], rtol=1e-11)
    value, dy = fn.cosine_similarity(a, b)
    assert value == pytest.approx(-1 / root, rel=1e-15)
    np.testing.assert_allclose(dy, [[-0.5 / root, 0.5 / root]], rtol=1e-15)


def test_vectors_of_zeros_have_a_cosine_of_0_and_a_finite_gradient() -> None:
    zero, b = np.zeros((1, 2)), np.array([[3.0, 4.0]])
    value, dy = fn.cosine_similarity(zero, b)
    assert value == 0
    np.testing.assert_allclose(dy, [[-0.6e8, -0.8e8]])
    value, dy = fn.cosine_similarity(np.array([[5e-9, 0.0]]), b)  # divided by 1e-8, it is linear
    assert value == pytest.approx(-0.3)
    np.testing.assert_allclose(dy, [[-0.6e8, -0.8e8]])
    value, dy = fn.cosine_embedding()({"a": zero, "b": b}, [1])
    assert value == 1
    np.testing.assert_allclose(dy["a"], [[-0.6e6, -0.8e6]], rtol=1e-7)
    assert fn.contrastive()({"a": b, "b": b}, [0])[1]["a"].tolist() == [[0, 0]]


def test_pairs_at_distance_5_by_hand() -> None:
    y = {"a": np.array([[3.0, 4.0]]), "b": np.zeros((1, 2))}
    value, dy = fn.contrastive(margin=7.0)(y, [1])
    assert (value, dy["a"].tolist(), dy["b"].tolist()) == (12.5, [[3, 4]], [[-3, -4]])
    value, dy = fn.contrastive(margin=7.0)(y, [0])
    assert value == 2  # (7 - 5)² / 2
    np.testing.assert_allclose(dy["a"], [[-2 * 0.6, -2 * 0.8]])
    assert fn.contrastive(margin=4.0)(y, [0])[0] == 0


@pytest.mark.parametrize(
    ("options", "value", "anchor"),
    [
        # To the positive (3, 4) and the negative (-6, 0), between which the squared distance is 81 + 16 = 97.
        ({"p": 2.0}, 5 - 6 + 2, [-0.6 - 1, -0.8]),
        ({"p": 1.0}, 7 - 6 + 2, [-1 - 1, -1]),
        ({"p": INF}, 4 - 6 + 2, [-1, -1]),
        ({"p": 2.0, "swap": True}, 5 - 6 + 2, [-0.6 - 1, -0.8]),
    ],
)
def test_a_triplet_by_hand(options: Any, value: float, anchor: list[float]) -> None:
    y = {"anchor": np.zeros((1, 2)), "positive": np.array([[3.0, 4.0]]), "negative": np.array([[-6.0, 0.0]])}
    found, dy = fn.triplet_margin(margin=2.0, eps=0.0, **options)(y)
    assert found == pytest.approx(value, rel=1e-15)
    np.testing.assert_allclose(dy["anchor"], [anchor], rtol=1e-15)
    np.testing.assert_allclose(sum(dy.values()), 0, atol=1e-15)  # all three may be moved by the same


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("p", [1.0, 2.0, 10.0, 50.0])
def test_a_norm_has_its_digits_where_powers_have_none(p: float, size: float) -> None:
    x = (np.array([[3.0, -4.0]]) * size).astype(np.float32)
    length, gradient = norm(x, p)
    np.testing.assert_allclose(length, size * (3**p + 4**p) ** (1 / p), rtol=1e-6)
    expected = (np.array([3.0, 4.0]) / (3**p + 4**p) ** (1 / p)) ** (p - 1)
    np.testing.assert_allclose(gradient[0], expected * [1, -1], rtol=1e-5)


def test_an_infinite_element_has_an_infinite_norm() -> None:
    with np.errstate(invalid="ignore"):
        assert norm(np.array([[np.inf, 1.0]]))[0] == np.inf


def test_a_negative_near_the_positive_is_swapped() -> None:
    y = {"anchor": np.array([[0.0]]), "positive": np.array([[3.0]]), "negative": np.array([[4.0]])}
    assert fn.triplet_margin(margin=2.0, eps=0.0)(y)[0] == 3 - 4 + 2
    value, dy = fn.triplet_margin(margin=2.0, eps=0.0, swap=True)(y)
    assert value == 3 - 1 + 2
    assert {name: leaf.item() for name, leaf in dy.items()} == {"anchor": -1, "positive": 2, "negative": -1}


def test_a_negative_as_near_to_both_has_half_of_each_gradient() -> None:
    y = {"anchor": np.array([[0.0]]), "positive": np.array([[2.0]]), "negative": np.array([[1.0]])}
    value, dy = fn.triplet_margin(margin=2.0, eps=0.0, swap=True)(y)
    assert value == 2 - 1 + 2
    assert {name: leaf.item() for name, leaf in dy.items()} == {"anchor": -0.5, "positive": 0.5, "negative": 0}


def test_info_nce_is_the_cross_entropy_of_cosines() -> None:
    lengths = np.array([[1.0], [2.0], [3.0], [0.5], [10.0], [7.0]])
    value, dy = fn.info_nce(temperature=0.1)({"a": A * lengths, "b": B})
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (A, B))
    expected, _ = fn.softmax_cross_entropy(u @ v.T / 0.1, np.arange(6))
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose((dy["a"] * A).sum(1), 0, atol=1e-12)  # the length of a vector does not matter
    other = fn.softmax_cross_entropy(v @ u.T / 0.1, np.arange(6))[0]
    assert fn.info_nce(temperature=0.1, symmetric=True)(PAIR)[0] == pytest.approx((expected + other) / 2, rel=1e-12)


def test_info_nce_without_a_weight_is_0_in_a_sum() -> None:
    value, dy = fn.info_nce()(PAIR, weights=np.zeros(6), reduction="sum")
    assert value == 0
    assert not dy["a"].any()


def test_weights_of_more_axes_and_none_of_a_reduction() -> None:
    y = {"a": A.reshape(2, 3, 4), "b": B.reshape(2, 3, 4)}
    w = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]])
    each, _ = fn.contrastive()(y, SIGNS.reshape(2, 3) > 0, reduction="none")
    value, dy = fn.contrastive()(y, SIGNS.reshape(2, 3) > 0, weights=w)
    assert value == pytest.approx((w * each).sum() / w.sum())
    assert not dy["a"][0, 1].any()


def test_a_model_with_branches_learns_to_rank() -> None:
    x = {name: RNG.standard_normal((64, 3)) for name in ("anchor", "positive", "negative")}
    for name in ("anchor", "positive"):
        x[name][:, 0] += 3
    dense = fn.dense(2)
    model = fn.tied(
        fn.parallel(anchor=dense, positive=dense, negative=dense),
        {"positive/w": "anchor/w", "positive/b": "anchor/b", "negative/w": "anchor/w", "negative/b": "anchor/b"},
    )
    params = fn.tree.cast(model.init(fn.specs(fn.tree.cast(x, np.float32)), 0), np.float64)
    result = fn.fit(model, params, fn.adam(0.05), (x, np.arange(64)), fn.triplet_margin(), 20, verbose=False)
    assert result.history[-1]["train_loss"] < 0.5 * result.history[0]["train_loss"]


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: fn.hinge_embedding(margin=NAN), ValueError, "hinge_embedding: margin must be a finite number, got nan"),
    (
        lambda: fn.cosine_embedding(margin=2),
        ValueError,
        "cosine_embedding: margin must be a cosine from -1 to 1, got 2",
    ),
    (lambda: fn.contrastive(margin=-1), ValueError, "contrastive: margin must be a number >= 0, got -1"),
    (lambda: fn.triplet_margin(p=0.5), ValueError, "triplet_margin: p must be a number >= 1, .* got 0.5; 2 is usual"),
    (lambda: fn.triplet_margin(swap=1), TypeError, "triplet_margin: swap must be True or False, got 1"),
    (lambda: fn.triplet_margin(eps=-1), ValueError, "triplet_margin: eps must be a number >= 0, got -1"),
    (lambda: fn.info_nce(temperature=0), ValueError, "info_nce: temperature: expected a positive number, got 0"),
    (lambda: fn.hinge_embedding()(A, SIGNS), ValueError, r"hinge_embedding: .* of shape \(6, 4\), .* got \(6,\)"),
    (lambda: fn.hinge_embedding()(A[:, 0], SIGNS > 0), ValueError, "target of 1 for .* and -1 for .*, got F"),
    (lambda: fn.margin_ranking()(PAIR, SIGNS), ValueError, r"margin_ranking: .* of shape \(6, 4\), .* got \(6,\)"),
    (lambda: fn.margin_ranking()(PAIR, A), ValueError, "margin_ranking: expected a target of 1 for .*, got 0.12"),
    (lambda: fn.cosine_embedding()(PAIR, SIGNS[:1]), ValueError, r"of shape \(6,\), one for each loss, got \(1,\)"),
    (lambda: fn.cosine_embedding()(PAIR, ["a"] * 6), TypeError, "cosine_embedding: expected a target of 1 .* got an"),
    (lambda: fn.contrastive()(PAIR, SIGNS), ValueError, "contrastive: expected a target of 1 .* and 0 for .*, got -1"),
    (lambda: fn.contrastive()(A, SIGNS), TypeError, 'contrastive: expected y as a dict {"a": ..., "b": ...}, got a nd'),
    (
        lambda: fn.contrastive()({"a": A}, SIGNS),
        ValueError,
        r"contrastive: expected y as a dict .* got one with \['a'\]",
    ),
    (
        lambda: fn.contrastive()({"a": A, "b": B[:, :1]}, SIGNS),
        ValueError,
        r"contrastive: expected arrays of one shape \(batch, ..., features\), got a of \(6, 4\), b of \(6, 1\)",
    ),
    (
        lambda: fn.contrastive()({"a": A[:, 0], "b": B[:, 0]}, SIGNS),
        ValueError,
        r"contrastive: expected arrays of one shape \(batch, ..., features\), got a of \(6,\)",
    ),
    (lambda: fn.contrastive()({"a": A, "b": B.astype(np.float32)}, SIGNS), TypeError, 'y."b". of the dtype of y."a".'),
    (lambda: fn.contrastive()({"a": A, "b": [1, 2]}, SIGNS), TypeError, 'contrastive: expected y."b".* got list'),
    (
        lambda: fn.triplet_margin()(PAIR),
        ValueError,
        "triplet_margin: expected y as a dict .*anchor.*positive.*negative",
    ),
    (
        lambda: fn.triplet_margin()(TRIPLET, SIGNS[:2]),
        ValueError,
        r"triplet_margin: expected no target, or .* got shape",
    ),
    (lambda: fn.triplet_margin()(TRIPLET, {"a": SIGNS[:2]}), ValueError, "one item for each of 6 examples, got shape"),
    (lambda: fn.info_nce()({"a": A, "b": B[:3]}), ValueError, r"info_nce: .* one shape \(batch, features\), got a of"),
    (lambda: fn.info_nce()({"a": A[:, None], "b": B[:, None]}), ValueError, "info_nce: expected arrays of one shape"),
    (lambda: fn.info_nce()(PAIR, weights=np.ones(3)), ValueError, r"info_nce: expected weights of shape \(6,\), got"),
    (
        lambda: fn.cosine_similarity(A[:, 0], A[:, 0]),
        ValueError,
        r"cosine_similarity: expected y of axes \(batch, ..., f",
    ),
    (lambda: fn.cosine_similarity(A, B[:, :1]), ValueError, "cosine_similarity: expected a target of the shape of y"),
    (lambda: fn.cosine_similarity(A, B, reduction="avg"), ValueError, 'cosine_similarity: reduction must be "mean"'),
    (lambda: fn.contrastive()(PAIR, [1] * 6, weights=np.zeros(6)), ValueError, "contrastive: all weights are zero"),
    (
        lambda: fn.contrastive()(PAIR, [1] * 6, weight=1),
        TypeError,
        r"contrastive\(\) got .* 'weight'; did you mean 'wei",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[message[:50] for *_, message in WRONG])
def test_a_wrong_call_raises(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
