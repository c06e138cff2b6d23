"""Saliency is the vjp's dx, and Grad-CAM is its formula, both checked by hand and by finite differences."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.testing import microbatches

MODEL = fn.serial(
    fn.conv2d(3, 3, activation=fn.tanh),
    fn.residual(fn.conv2d(3, 3, padding="same"), fn.tanh),
    fn.flatten,
    fn.dense(4),
)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 6, 6, 1))
PARAMS = fn.tree.cast(MODEL.init((6, 6, 1), 0), np.float64)
LABELS = np.array([2, 0])


def test_saliency_is_dx_of_the_score_of_each_label() -> None:
    dx = fn.saliency(MODEL, PARAMS, X, LABELS)
    _, vjp_fn = MODEL.apply(PARAMS, X)
    expected: Any = vjp_fn(np.eye(4)[LABELS])[1]
    assert np.array_equal(dx, expected)
    # How the score moves with the input: central differences of 1e-6 are right to about 1e-9.
    step = 1e-6 * RNG.standard_normal(X.shape)
    moved = [MODEL.apply(PARAMS, x)[0][[0, 1], LABELS] for x in (X + step, X - step)]
    np.testing.assert_allclose((dx * step).sum((1, 2, 3)), (moved[0] - moved[1]) / 2, rtol=1e-6, atol=1e-13)


def test_one_label_serves_all_examples_and_the_dtype_stays() -> None:
    params, x = fn.tree.cast(PARAMS, np.float32), X.astype(np.float32)
    dx = fn.saliency(MODEL, params, x, 3)
    assert dx.dtype == np.float32
    assert np.array_equal(dx, fn.saliency(MODEL, params, x, np.array([3, 3])))


def test_grad_cam_of_one_dense_layer_over_maps_by_hand() -> None:
    # One map of 1 x 2 and one of twice that; the class weights are 1, 3 and -1, -1 at their two positions.
    w = np.array([[[[1.0, 2.0]]]])
    head = np.array([[1.0], [-1.0], [3.0], [-1.0]])
    model = fn.serial(fn.conv2d(2, 1, bias=False), fn.flatten, fn.dense(1, bias=False))
    params = {"conv2d_0": {"w": w}, "dense_0": {"w": head}}
    x = np.array([5.0, -7.0]).reshape(1, 1, 2, 1)
    # a = (mean(1, 3), mean(-1, -1)) = (2, -1):  2 * 5 - 1 * 10 = 0  and  2 * -7 + 14 = 0; with head 2: see below.
    assert fn.grad_cam(model, params, x, 0, "conv2d_0").tolist() == [[[0, 0]]]
    params["dense_0"]["w"] = np.array([[1.0], [-1.0], [5.0], [1.0]])  # a = (3, 0)
    assert fn.grad_cam(model, params, x, 0, "conv2d_0").tolist() == [[[15, 0]]]  # -21 is below 0


@pytest.mark.parametrize("path", ["conv2d_0", "residual_0/conv2d_0", "residual_0/tanh_0", "residual_0"])
def test_grad_cam_weighs_each_map_by_how_the_score_changes_with_it(path: str) -> None:
    maps = fn.outputs(MODEL, PARAMS, X)[path]
    step = 1e-6

    def score(map_number: int, amount: float) -> Any:
        """The class scores if a constant is added to one map of the layer at ``path``."""
        bump = np.zeros(3)
        bump[map_number] = amount

        def change(here: str, layer: fn.Layer) -> fn.Layer:
            add_bump = fn.elementwise(lambda x: x + bump, lambda x, y: np.ones_like(x))
            return fn.serial(fn.named("inner", layer), add_bump) if here == path else layer

        # The parameters of the wrapped layer move one step deeper.
        flat = fn.tree.flatten(PARAMS)
        moved = {
            f"{path}/inner{name.removeprefix(path)}" if name.startswith(path + "/") else name: leaf
            for name, leaf in flat.items()
        }
        return fn.rebuild(MODEL, change).apply(fn.tree.unflatten(moved), X)[0][[0, 1], LABELS]

    changes = np.stack([(score(k, step) - score(k, -step)) / (2 * step) for k in range(3)], axis=-1)
    places = maps.shape[1] * maps.shape[2]
    expected = np.maximum(np.einsum("nk,nijk->nij", changes / places, maps), 0)
    # Central differences of 1e-6 are right to about 1e-9.
    np.testing.assert_allclose(fn.grad_cam(MODEL, PARAMS, X, LABELS, path), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (4, ValueError, "labels from 0 to 3, got 4"),
        (-1, ValueError, "labels from 0 to 3, got -1"),
        (1.0, TypeError, "integer labels, got float64"),
        ([0, 1, 2], ValueError, r"one label, or one for each of 2 examples, got shape \(3,\)"),
    ],
)
def test_labels_that_do_not_fit_raise(labels: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fn.saliency(MODEL, PARAMS, X, labels)
    with pytest.raises(error, match=message):
        fn.grad_cam(MODEL, PARAMS, X, labels, "conv2d_0")


def test_layers_without_maps_and_models_without_scores_raise() -> None:
    with pytest.raises(ValueError, match=r"no layer has the path 'conv2d_7'; there are \['conv2d_0', 'residual_0/"):
        fn.grad_cam(MODEL, PARAMS, X, 0, "conv2d_7")
    with pytest.raises(ValueError, match=r"but the output of 'flatten_0' is \(2, 48\)"):
        fn.grad_cam(MODEL, PARAMS, X, 0, "flatten_0")
    with pytest.raises(ValueError, match=r"output is scores \(batch, classes\), got shape \(2, 6, 6, 1\)"):
        fn.saliency(fn.relu, {}, X, 0)


def test_attribution_of_a_batch_that_is_cut_is_that_of_the_whole_batch() -> None:
    with microbatches(None):
        expected = fn.saliency(MODEL, PARAMS, X, LABELS), fn.grad_cam(MODEL, PARAMS, X, LABELS, "residual_0")
    with microbatches(1):
        found = fn.saliency(MODEL, PARAMS, X, LABELS), fn.grad_cam(MODEL, PARAMS, X, LABELS, "residual_0")
    for one, other in zip(found, expected, strict=True):
        # Products of matrices of other sizes: float64 rounding.
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


def test_saliency_of_a_tree_of_inputs_is_a_tree() -> None:
    model = fn.serial(fn.merge("concat", "a", "b"), fn.dense(2, bias=False))
    w = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    x = {"a": np.ones((4, 2)), "b": np.ones((4, 1))}
    dx: Any = fn.saliency(model, {"dense_0": {"w": w}}, x, np.array([1, 1, 1, 0]))  # type: ignore[arg-type]
    assert {name: leaf.tolist() for name, leaf in dx.items()} == {
        "a": [[2, 4]] * 3 + [[1, 3]],
        "b": [[6]] * 3 + [[5]],
    }


def test_a_model_with_several_outputs_is_named_as_such() -> None:
    model = fn.branch(digit=fn.dense(10), odd=fn.dense(2))
    with pytest.raises(ValueError, match=r"scores \(batch, classes\), got shape {'digit': \(1, 10\), 'odd': \(1, 2\)}"):
        fn.saliency(model, model.init((3,), 0), np.ones((1, 3), np.float32), 1)
