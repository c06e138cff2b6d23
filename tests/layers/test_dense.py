"""``dense``: the values of one product by hand, and what raises."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn

PARAMS = {"w": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), "b": np.array([10.0, -100.0])}
X = np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.0]])


def test_forward_and_gradients_by_hand() -> None:
    y, vjp_fn = fn.dense(2).apply(PARAMS, X)
    assert y.tolist() == [[6, -104], [15, -92]]
    grads, dx = vjp_fn(np.array([[1.0, 0.0], [1.0, 10.0]]))
    assert grads["w"].tolist() == [[3, 20], [1, 10], [-1, 0]]
    # A sum over the batch, not a mean: the loss has divided already.
    assert grads["b"].tolist() == [2, 10]
    assert dx is not None
    assert dx.tolist() == [[1, 3, 5], [21, 43, 65]]


def test_a_fused_activation_is_the_layer_after_it() -> None:
    fused, separate = fn.dense(2, activation="relu"), fn.serial(fn.named("d", fn.dense(2)), fn.relu)
    y, vjp_fn = fused.apply(PARAMS, X)
    same, same_vjp = separate.apply({"d": PARAMS}, X)
    assert y.tolist() == same.tolist() == [[6, 0], [15, 0]]
    (grads, dx), (same_grads, same_dx) = vjp_fn(np.ones((2, 2))), same_vjp(np.ones((2, 2)))
    assert np.array_equal(dx, same_dx)
    assert fn.tree.map(np.array_equal, grads, same_grads["d"]) == {"w": True, "b": True}


def test_without_bias_there_are_still_weights() -> None:
    model = fn.dense(2, bias=False)
    assert fn.tree.paths(model.init((3,), 0)) == ["w"]
    y, vjp_fn = model.apply({"w": PARAMS["w"]}, X)
    assert y.tolist() == [[-4, -4], [5, 8]]
    assert vjp_fn(y)[0].keys() == {"w"}


def test_every_axis_but_the_last_is_batch() -> None:
    x = np.arange(24.0).reshape(2, 4, 3)
    y, vjp_fn = fn.dense(2).apply(PARAMS, x)
    flat, flat_vjp = fn.dense(2).apply(PARAMS, x.reshape(8, 3))
    assert np.array_equal(y.reshape(8, 2), flat)
    # Sums of whole numbers: exact in any order.
    assert np.array_equal(vjp_fn(y)[0]["w"], flat_vjp(flat)[0]["w"])


def test_weights_are_scaled_by_the_number_of_inputs_and_biases_start_at_zero() -> None:
    params = fn.dense(500).init((400,), 0)
    assert params["w"].var() == pytest.approx(2 / 400, rel=0.02)
    assert not params["b"].any()


@pytest.mark.parametrize("units", [0, -1, 2.0, "2", True, None])
def test_units_are_a_whole_number(units: Any) -> None:
    with pytest.raises(ValueError, match="dense: units must be a whole number >= 1, got"):
        fn.dense(units)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((2, 4)), ValueError, r"expected 3 channels on the last axis .*got 4 in an input of shape \(2, 4\)"),
        (np.ones(3), ValueError, r"expected an input of axes \(batch, ..., inputs\), got shape \(3,\)"),
        (np.ones((2, 3), np.float32), TypeError, "input is float32, parameters are float64; use x.astype"),
        (
            np.ones((2, 3), np.uint8),
            TypeError,
            r"expected floats, got uint8; scale images first: x.astype\(np.float32\)",
        ),
        (np.ones((2, 3), bool), TypeError, "expected floats, got bool"),
        ([[1.0, 2.0, 3.0]], TypeError, r"expected an array, got list; use np.asarray\(x, np.float32\)"),
    ],
)
def test_inputs_that_do_not_fit_raise_with_their_path(x: Any, error: type[Exception], message: str) -> None:
    model = fn.serial(fn.named("stem", fn.serial(fn.dense(2))))
    with pytest.raises(error, match=message) as caught:
        model.apply({"stem": {"dense_0": PARAMS}}, x)
    assert caught.value.__notes__ == [f"in layer stem/dense_0, with an input of shape {np.shape(x)}"]


def test_an_example_needs_an_axis_of_inputs() -> None:
    for shape in ((), (0,), (3, 0)):
        with pytest.raises(ValueError, match=r"dense: expected an example of shape \(\.\.\., inputs\)"):
            fn.dense(2).init(shape, 0)
