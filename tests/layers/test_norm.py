"""Norms of single examples: values by hand, their options, the lengths of vectors, neighbours in the channels."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.testing import check_layer

X = np.array([[1.0, 3.0, 5.0, 11.0], [0.0, 2.0, 0.0, 2.0]])


def test_layer_norm_by_hand() -> None:
    params = {"scale": np.array([1.0, 2.0, 1.0, 1.0]), "shift": np.array([0.0, 0.0, 0.5, 0.0])}
    # Means 5 and 1, variances 14 and 1.
    y, vjp_fn = fn.layer_norm(eps=2.0).apply(params, X)
    np.testing.assert_allclose(y[0], np.array([-1.0, -1.0, 0.125, 1.5]) * [1, 1, 4, 1])
    np.testing.assert_allclose(y[1], np.array([-1, 2, -1, 1]) / np.sqrt(3) + [0, 0, 0.5, 0])
    grads, _ = vjp_fn(np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(grads["scale"], [-1, -0.5, 0, 1.5])
    np.testing.assert_allclose(grads["shift"], 1)


def test_the_variance_is_that_of_the_elements() -> None:
    y, _ = fn.layer_norm(scale=False, shift=False, eps=1e-12).apply({}, X)
    np.testing.assert_allclose((y**2).mean(-1), 1)


def test_layer_norm_of_several_axes_has_a_scale_for_each_place() -> None:
    layer = fn.layer_norm(2)
    params = layer.init((3, 4, 2), 0)
    assert {name: leaf.shape for name, leaf in params.items()} == {"scale": (4, 2), "shift": (4, 2)}
    x = np.random.default_rng(0).standard_normal((5, 3, 4, 2)).astype(np.float32)
    y, _ = layer.apply(params | {"shift": np.full((4, 2), 3, np.float32)}, x)
    np.testing.assert_allclose(y.mean((2, 3)), 3, atol=1e-6)
    np.testing.assert_allclose(y.std((2, 3)), 1, atol=1e-4)


def test_rms_norm_by_hand_and_its_eps() -> None:
    x = np.array([[1.0, 7.0], [0.0, 0.0]])
    y, _ = fn.rms_norm().apply({"scale": np.array([1.0, 10.0])}, x)
    np.testing.assert_allclose(y, [[0.2, 14.0], [0.0, 0.0]])
    np.testing.assert_allclose(fn.rms_norm(eps=11.0, scale=False).apply({}, x)[0][0], [1 / 6, 7 / 6])
    tiny = np.full((1, 2), 1e-4)
    assert fn.rms_norm(scale=False).apply({}, tiny)[0][0, 0] == pytest.approx(1, abs=1e-7)
    # In float32 the precision is 1.2e-7, which is more than the square.
    assert fn.rms_norm(scale=False).apply({}, tiny.astype(np.float32))[0][0, 0] == pytest.approx(0.278, abs=1e-3)


def test_group_norm_is_over_pixels_and_the_channels_of_a_group() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(np.float32)
    y, _ = fn.group_norm(3, affine=False).apply({}, x)
    by_group = y.reshape(2, 15, 3, 2)
    np.testing.assert_allclose(by_group.mean((1, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(by_group.std((1, 3)), 1, atol=1e-4)
    assert abs(y.mean((1, 2))).max() > 1e-3


def test_instance_norm_is_group_norm_with_a_group_for_each_channel() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(np.float32)
    assert np.array_equal(fn.instance_norm().apply({}, x)[0], fn.group_norm(6, affine=False).apply({}, x)[0])
    assert fn.instance_norm(affine=True).init((3, 5, 6), 0).keys() == {"scale", "shift"}


NORMS = [fn.layer_norm(), fn.layer_norm(3), fn.rms_norm(), fn.group_norm(2), fn.instance_norm(affine=True)]


@pytest.mark.parametrize("layer", NORMS, ids=repr)
def test_training_and_predicting_are_the_same(layer: fn.Layer) -> None:
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 4)).astype(np.float32)
    params = layer.init(x.shape[1:], 0)
    assert np.array_equal(layer.apply(params, x)[0], layer.apply(params, x, rng=0)[0])


@pytest.mark.parametrize("layer", NORMS, ids=repr)
def test_full_size_in_float32_is_close_to_float64(layer: fn.Layer) -> None:
    random = np.random.default_rng(0)
    x, dy = (random.standard_normal((16, 32, 32, 32)).astype(np.float32) for _ in range(2))
    x += 3
    params = fn.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32), layer.init(x.shape[1:], 0))
    found: list[Any] = []
    for dtype in (np.float32, np.float64):
        y, vjp_fn = layer.apply(fn.tree.cast(params, dtype), x.astype(dtype))
        grads, dx = vjp_fn(dy.astype(dtype))
        found.append({"y": y, "dx": dx, **grads})
    for name, exact in found[1].items():
        # A rounding is 6e-8; a mean of 3 deviations costs a factor of 10, sums of up to 32,768 products of random
        # signs another one.
        np.testing.assert_allclose(found[0][name], exact, rtol=0, atol=1e-5 * abs(exact).max(), err_msg=name)


def test_l2_normalize_by_hand() -> None:
    x = np.array([[3.0, 4.0], [0.0, 0.0], [0.3, 0.4]])
    y, vjp_fn = fn.l2_normalize(eps=1.0).apply({}, x)
    np.testing.assert_allclose(y, [[0.6, 0.8], [0, 0], [0.3, 0.4]])
    _, dx = vjp_fn(np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 2.0]]))
    # dx = (dy - y (dy y)) / 5, and dy where the vector is shorter than eps.
    np.testing.assert_allclose(dx, [[0.128, -0.096], [1, 2], [1, 2]])


@pytest.mark.parametrize("axis", [1, 2, -1, -2])
def test_l2_normalize_of_any_axis(axis: int) -> None:
    y, _ = fn.l2_normalize(axis).apply({}, np.random.default_rng(0).standard_normal((2, 3, 4)))
    np.testing.assert_allclose((y**2).sum(axis), 1)


def test_a_length_whose_square_overflows_is_right() -> None:
    y, _ = fn.l2_normalize().apply({}, np.array([[3e30, 4e30], [1.0, 0.0]], np.float32))
    np.testing.assert_allclose(y, [[0.6, 0.8], [1, 0]], rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_local_response_norm_is_the_loop_over_neighbours(size: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5))
    y, _ = fn.local_response_norm(size, alpha=0.5, beta=0.6, k=2.0).apply({}, x)
    for c in range(5):
        around = [n for n in range(c - size // 2, c + (size - 1) // 2 + 1) if 0 <= n < 5]
        d = 2.0 + 0.5 / size * (x[..., around] ** 2).sum(-1)
        np.testing.assert_allclose(y[..., c], x[..., c] / d**0.6)


def test_local_response_norm_of_huge_numbers_is_damped() -> None:
    y, vjp_fn = fn.local_response_norm(3).apply({}, np.full((1, 4), 1e38, np.float32))
    assert (y == 0).all()
    assert np.isfinite(vjp_fn(np.ones((1, 4), np.float32))[1]).all()


def model() -> fn.Layer:
    block = fn.residual(fn.layer_norm(), fn.dense(4), fn.drop_path(0.5))
    return fn.serial(
        fn.conv2d(4, 3), fn.group_norm(2, activation="relu"), block, fn.instance_norm(), fn.batch_norm(),
        fn.local_response_norm(2), fn.flatten, fn.rms_norm(), fn.dense(3), fn.l2_normalize(),
    )  # fmt: skip


def test_calibrate_fold_summary_trace_and_part_work_with_them() -> None:
    net, x = model(), np.random.default_rng(0).random((8, 6, 6, 1), np.float32)
    params = fn.calibrate(net, net.init((6, 6, 1), 0), x)
    y = fn.predict(net, params, x)
    folded, folded_params = fn.fold_batch_norm(net, params)
    assert folded["batch_norm_0"].kind == "scale_and_shift"
    np.testing.assert_allclose(fn.predict(folded, folded_params, x), y, atol=1e-5)
    table = fn.summary(net, params, (6, 6, 1))
    assert table.parameters + table.measured == fn.tree.count(params)
    assert {row.path: row.parameters for row in table.rows}["group_norm_0"] == 8
    visits = {visit.path: visit for visit in fn.trace(net, params, x)}
    np.testing.assert_array_equal(visits[""].y, y)
    inner, inner_params = fn.part(net, params, "residual_0/layer_norm_0")
    visit = visits["residual_0/layer_norm_0"]
    np.testing.assert_array_equal(inner.apply(inner_params, visit.x)[0], visit.y)
    check_layer(fn.frozen(fn.serial(fn.group_norm(2), fn.drop_path(0.5))), (3, 4))
    assert repr(fn.rebuild(net, lambda path, layer: layer)) == repr(net)
