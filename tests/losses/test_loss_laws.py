"""Every loss is a row of one table and obeys the same laws; ``check_loss`` holds it to those of the contract."""

import copy
import math
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import checks, losses
from funcnn.recorded import spelled
from funcnn.testing import table_of_losses

TABLE = table_of_losses()
NAMES = [f"{number} {spelled(loss)}" for number, (loss, *_) in enumerate(TABLE)]
every_loss = pytest.mark.parametrize(("loss", "y", "target"), TABLE, ids=NAMES)
BINARY = {"binary_cross_entropy", "sigmoid_cross_entropy", "focal", "hinge", "squared_hinge", "soft_margin"}
CLASSIFYING = {"weights", "class_weights", "ignore_index", "label_smoothing", "reduction"}


def takes(loss: Any) -> set[str]:
    signature = checks.signature_of(loss)
    return set() if signature is None else set(signature.parameters)


def name(loss: Any) -> str:
    """The name in ``fn.losses`` of a loss of the table, of its constructor or of its partial."""
    while isinstance(loss, partial):
        loss = loss.func
    return str(loss.__name__)


def run(loss: Any, y: Any, target: Any, **options: Any) -> tuple[Any, Any]:
    """The value and one array of all gradients."""
    value, dy = loss(y, target, **options)
    leaves = [leaf for leaf in fn.tree.leaves(dy) if leaf is not None]  # lengths have no gradient
    return value, np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def test_every_loss_is_in_the_table() -> None:
    assert {name(loss) for loss, *_ in TABLE} == set(losses.__all__) - {"Loss", "class_weights"}


@every_loss
def test_the_value_is_a_float_and_a_step_against_the_gradient_lowers_it(loss: Any, y: Any, target: Any) -> None:
    value, dy = loss(y, target)
    assert type(value) is float
    moved = fn.tree.map(lambda y, g: y - 1e-3 * g, y, dy)
    if name(loss) == "ctc":
        moved["lengths"] = y["lengths"]  # it has no gradient
    assert loss(moved, target)[0] < value


@every_loss
def test_the_mean_over_the_batch_and_not_the_sum(loss: Any, y: Any, target: Any) -> None:
    if name(loss) == "info_nce":  # it looks across the batch
        return
    value, dy = run(loss, y, target, reduction="mean")
    twice = fn.tree.map(lambda leaf: np.concatenate([leaf, leaf]), {"y": y, "target": target})
    doubled, dy_doubled = run(loss, twice["y"], twice["target"], reduction="mean")
    # Only the order of additions differs.
    assert doubled == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(dy_doubled, np.concatenate([dy, dy]) / 2, rtol=1e-13, atol=1e-16)


@every_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_the_reductions_are_of_the_same_losses(loss: Any, y: Any, target: Any, weighted: bool) -> None:
    if name(loss) == "info_nce" and weighted:  # its weights change the losses of other examples too
        return
    if name(loss) == "ctc":  # a mean divides each loss by a length of its own, which is 1 here
        target = target | {"lengths": np.minimum(target["lengths"], 1)}
    w = np.array([1.0, 0.0, 2.5, 0.25, 1.0, 3.0]) if weighted else np.ones(6)
    given = {"weights": w} if weighted else {}
    each, dy_each = run(loss, y, target, reduction="none", **given)
    total, dy_total = run(loss, y, target, reduction="sum", **given)
    mean, dy_mean = run(loss, y, target, reduction="mean", **given)
    assert isinstance(each, np.ndarray)
    assert each.dtype == np.float64
    assert len(each) == 6
    assert type(total) is float
    assert each.sum() == pytest.approx(total, rel=1e-13)
    np.testing.assert_array_equal(dy_each, dy_total)
    np.testing.assert_allclose(dy_mean * total, dy_total * mean, rtol=1e-12, atol=1e-15)
    alone, _ = run(loss, y, target, reduction="none")
    np.testing.assert_allclose(each, alone * w.reshape(-1, *[1] * (each.ndim - 1)), rtol=1e-14)
    if not isinstance(loss, partial):  # without weights of classes the mean is over the number of losses
        assert mean == pytest.approx(total / (w.sum() * each.size / 6), rel=1e-13)


@every_loss
def test_float32_stays_float32_for_every_reduction(loss: Any, y: Any, target: Any) -> None:
    y32 = fn.tree.cast(y, np.float32)
    for reduction in ("mean", "sum", "none"):
        value, dy = loss(y32, target, weights=np.full(6, 0.5), reduction=reduction)
        assert {leaf.dtype for leaf in fn.tree.leaves(dy) if leaf is not None} == {np.dtype(np.float32)}
        assert type(value) is float or value.dtype == np.float32


@every_loss
def test_the_dtype_of_the_target_does_not_matter(loss: Any, y: Any, target: Any) -> None:
    y = fn.tree.cast(y, np.float32)
    narrow = fn.tree.map(lambda t: t.astype(np.float32 if t.dtype.kind == "f" else np.int8), target)
    wide = fn.tree.map(lambda t: t.astype(np.float64 if t.dtype.kind == "f" else np.int64), narrow)
    np.testing.assert_array_equal(run(loss, y, wide)[1], run(loss, y, narrow)[1])


@every_loss
def test_nan_passes_through(loss: Any, y: Any, target: Any) -> None:
    # A training loop stops on it; hiding it here would hide the divergence.
    y = fn.tree.map(np.copy, y)
    for leaf in fn.tree.leaves(y):
        if leaf.dtype.kind == "f":
            leaf[0] = np.nan
    assert math.isnan(loss(y, target)[0])


@every_loss
def test_an_integer_weight_equals_repeating_the_example(loss: Any, y: Any, target: Any) -> None:
    times = np.array([1, 0, 3, 2, 1, 0])
    value, dy = run(loss, y, target, weights=times)
    both = fn.tree.map(lambda x: np.repeat(x, times, axis=0), {"y": y, "target": target})
    repeated, dy_repeated = run(loss, both["y"], both["target"])
    # Only the order of additions differs.
    assert value == pytest.approx(repeated, rel=1e-13)
    for i, first in enumerate(np.cumsum(times) - times):
        expected = dy_repeated[first : first + times[i]].sum(0)
        np.testing.assert_allclose(dy[i], expected, rtol=1e-12, atol=1e-16)


@every_loss
@pytest.mark.parametrize("scale", [5e-324, 1e308])
def test_only_the_ratio_of_weights_matters_to_a_mean(loss: Any, y: Any, target: Any, scale: float) -> None:
    if name(loss) == "info_nce":  # weights are also how often an example is there for others
        return
    y = fn.tree.cast(y, np.float32)
    value, dy = run(loss, y, target, reduction="mean")
    weighted, dy_weighted = run(loss, y, target, weights=np.full(6, scale), reduction="mean")
    # One float32 multiplication instead of a division, and another order of additions.
    assert weighted == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(dy_weighted, dy, rtol=1e-5, atol=1e-7)


@every_loss
def test_more_leading_axes_are_more_rows(loss: Any, y: Any, target: Any) -> None:
    if name(loss) in ("dice", "tversky"):
        with pytest.raises(ValueError, match=r"expected y of axes \(batch, pixels, ..., classes\)"):
            loss(y[:, 0, 0], target)
        return
    if name(loss) in ("info_nce", "ctc"):
        with pytest.raises(ValueError, match=r"expected .*\(batch, (features|time, classes)\)"):
            loss(fn.tree.map(lambda leaf: leaf[None], y), target)
        return
    value, dy = run(loss, y, target)
    folded = fn.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), {"y": y, "target": target})
    same, dy_same = loss(folded["y"], folded["target"], weights=np.ones((2, 3)))
    assert same == pytest.approx(value, rel=1e-13)
    leaves = [leaf.reshape(6, -1) for leaf in fn.tree.leaves(dy_same)]
    np.testing.assert_allclose(np.concatenate(leaves, 1), dy, rtol=1e-12, atol=1e-16)


@every_loss
def test_a_weight_of_0_hides_what_stands_beside_it(loss: Any, y: Any, target: Any) -> None:
    w = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    value, dy = run(loss, y, target, weights=w)
    poisoned = fn.tree.map(np.copy, y)
    for leaf in fn.tree.leaves(poisoned):
        if leaf.dtype.kind == "f":
            leaf[1], leaf[5] = np.nan, np.inf
    missing = fn.tree.map(lambda t: np.array(t, np.float64 if t.dtype == bool else t.dtype), target)
    for leaf in fn.tree.leaves(missing if name(loss) != "ctc" else missing["labels"]):
        leaf[[1, 5]] = np.nan if leaf.dtype.kind == "f" else 99
    if name(loss) == "gaussian_nll":
        poisoned["var"][1] = -1
    found, dy_found = run(loss, poisoned, missing, weights=w)
    assert found == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(dy_found, dy, rtol=1e-12, atol=1e-16)


@every_loss
def test_the_options_of_classes_at_their_defaults_change_nothing(loss: Any, y: Any, target: Any) -> None:
    if isinstance(loss, partial) or "class_weights" not in takes(loss):
        return
    assert takes(loss) - {"y", "target"} == CLASSIFYING
    value, dy = run(loss, y, target)
    options: dict[str, Any] = {"class_weights": np.ones(2 if name(loss) in BINARY else y.shape[-1])}
    if np.asarray(target).dtype.kind != "f" or name(loss) in BINARY:
        options |= {"ignore_index": -100, "label_smoothing": 0}
    same, dy_same = run(loss, y, target, **options)
    assert same == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(dy_same, dy, rtol=1e-12, atol=1e-16)


@every_loss
def test_it_is_pickled_and_copied_as_the_call_that_made_it(loss: Any, y: Any, target: Any) -> None:
    value, _ = loss(y, target)
    for other in (pickle.loads(pickle.dumps(loss)), copy.copy(loss), copy.deepcopy(loss)):
        assert spelled(other) == spelled(loss)
        assert other(y, target)[0] == value
