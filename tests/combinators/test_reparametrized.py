"""Weights that are computed: values by hand, what optimizers see, and layers of every kind inside."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Params
from funcnn.testing import check_layer

X = np.array([[1.0, 2.0], [3.0, -1.0]])


def test_weight_norm_by_hand() -> None:
    model = fn.weight_norm(fn.dense(2, bias=False))
    v, g = np.array([[3.0, 0.0], [4.0, 2.0]]), np.array([10.0, 1.0])
    y, vjp_fn = model.apply({"g": g, "v": v}, X)
    w = np.array([[6.0, 0.0], [8.0, 1.0]])
    np.testing.assert_allclose(y, X @ w)
    dy = np.array([[1.0, 0.0], [0.0, 2.0]])
    grads, dx = vjp_fn(dy)
    dw, unit = X.T @ dy, v / [5, 2]
    np.testing.assert_allclose(grads["g"], (dw * unit).sum(0))
    np.testing.assert_allclose(grads["v"], (dw - unit * (dw * unit).sum(0)) * [2, 0.5])
    np.testing.assert_allclose(dx, dy @ w.T)


@pytest.mark.parametrize("layer", [fn.dense(3), fn.conv2d(3, 2), fn.conv1d(4, 3, groups=2)], ids=repr)
def test_weight_norm_starts_as_the_layer_itself(layer: fn.Layer) -> None:
    shape = {"conv2d": (5, 5, 2), "conv1d": (7, 2), "dense": (4,)}[layer.kind]
    model, x = fn.weight_norm(layer), np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    params = model.init(shape, 0)
    assert params.keys() == {"g", "v", "b"}
    assert params["g"].shape == params["v"].shape[-1:]
    np.testing.assert_allclose(model.apply(params, x)[0], layer.apply(layer.init(shape, 0), x)[0], rtol=1e-5, atol=1e-6)


def test_a_unit_of_zeros_has_weights_zero_and_no_gradient() -> None:
    y, vjp_fn = fn.weight_norm(fn.dense(1, bias=False)).apply({"g": np.ones(1), "v": np.zeros((2, 1))}, X)
    assert not y.any()
    assert not any(leaf.any() for leaf in vjp_fn(np.ones((2, 1)))[0].values())


def test_spectral_norm_by_hand() -> None:
    model = fn.spectral_norm(fn.dense(2, bias=False), iterations=1)
    w, u = np.array([[1.0, 2.0], [0.0, 2.0]]), np.array([1.0, 0.0])
    # v = w u / |w u| = (1, 0), u = v w / |v w| = (1, 2) / sqrt 5, and the size v w u = sqrt 5.
    y, vjp_fn = model.apply({"w": w, "u": u}, X)
    np.testing.assert_allclose(y, X @ w / np.sqrt(5))
    dy = np.array([[1.0, 0.0], [0.0, 2.0]])
    grads, _ = vjp_fn(dy)
    dn, along = X.T @ dy, np.outer([1.0, 0.0], [1, 2] / np.sqrt(5))
    np.testing.assert_allclose(grads["w"], (dn - (dn * w).sum() / np.sqrt(5) * along) / np.sqrt(5))
    assert grads["u"] is None


def test_a_weight_of_zeros_stays_one_and_has_no_gradient() -> None:
    params = {"u": np.array([1.0, 0.0]), "w": np.zeros((3, 2)), "b": np.ones(2)}
    y, vjp_fn = fn.spectral_norm(fn.dense(2)).apply(params, np.ones((1, 3)))
    grads, dx = vjp_fn(np.ones_like(y))
    assert y.tolist() == [[1, 1]]
    assert (grads["w"].tolist(), dx.tolist()) == ([[0, 0]] * 3, [[0, 0, 0]])


def test_spectral_norm_of_a_convolution_has_the_largest_singular_value_one() -> None:
    layer = fn.spectral_norm(fn.conv2d(4, 3), iterations=100)
    params = layer.init((6, 6, 2), 0)
    assert {name: leaf.shape for name, leaf in params.items()} == {"w": (3, 3, 2, 4), "u": (4,), "b": (4,)}
    x = np.eye(18, dtype=np.float32).reshape(18, 3, 3, 2)
    rows = layer.apply(params, x)[0].reshape(18, 4) - params["b"]
    assert np.linalg.svd(rows, compute_uv=False)[0] == pytest.approx(1, abs=1e-5)


def test_the_stored_vector_starts_near_and_differs_by_layer() -> None:
    params = fn.spectral_norm(fn.serial(fn.dense(8), fn.dense(8))).init((8,), 0)
    for own in params.values():
        singular = np.linalg.svd(own["w"])[2][0]
        assert abs(singular @ own["u"]) > 0.9
    assert not np.allclose(params["dense_0"]["u"], params["dense_1"]["u"])


def several() -> fn.Layer:
    return fn.serial(fn.conv1d(3, 2), fn.batch_norm(), fn.relu, fn.dropout(0.2), fn.dense(2))


@pytest.mark.parametrize("wrap", [fn.weight_norm, fn.spectral_norm])
def test_training_leaves_the_constants_and_learns_the_rest(wrap: Any) -> None:
    model = fn.serial(fn.named("body", wrap(several())), fn.flatten, fn.named("head", fn.dense(3)))
    random = np.random.default_rng(0)
    x, labels = random.standard_normal((32, 5, 2)).astype(np.float32), random.integers(0, 3, 32)
    params = model.init((5, 2), 0)
    before = fn.tree.flatten(fn.tree.map(np.copy, params))
    optimizer = fn.adamw(0.05, weight_decay=0.1)
    result = fn.fit(model, params, optimizer, (x, labels), fn.softmax_cross_entropy, epochs=4, verbose=False)
    for path, leaf in fn.tree.flatten(result.params).items():
        assert np.array_equal(leaf, before[path]) == path.endswith("/u"), path
    history = [entry["train_loss"] for entry in result.history]
    assert history[-1] < history[0]


@pytest.mark.parametrize("wrap", [fn.weight_norm, fn.spectral_norm])
def test_calibrate_fold_summary_trace_and_part_work_inside(wrap: Any) -> None:
    model = wrap(several())
    x = np.random.default_rng(0).standard_normal((16, 5, 2)).astype(np.float32)
    params = fn.calibrate(model, model.init((5, 2), 0), x)
    y = fn.predict(model, params, x)
    folded, folded_params = fn.fold_batch_norm(model, params)
    # What is computed cannot take up the norm's affine map.
    assert folded.children["batch_norm_0"].kind == "scale_and_shift"
    np.testing.assert_allclose(fn.predict(folded, folded_params, x), y, atol=1e-5)
    table = fn.summary(model, params, (5, 2))
    stored = sum(leaf.size for path, leaf in fn.tree.flatten(params).items() if path.endswith("/u"))
    assert table.frozen == stored == (5 if wrap is fn.spectral_norm else 0)
    assert table.parameters + table.measured + table.frozen == fn.tree.count(params)
    assert table.multiply_adds == 4 * 3 * 2 * 2 + 4 * 3 * 2
    visits = {visit.path: visit for visit in fn.trace(model, params, x)}
    np.testing.assert_array_equal(visits[""].y, y)
    dense, dense_params = fn.part(model, params, "dense_0")
    visit = visits["dense_0"]
    np.testing.assert_allclose(dense.apply(dense_params, visit.x)[0], visit.y, rtol=1e-6)
    first, first_params = fn.part(model, params, slice(2))
    np.testing.assert_array_equal(fn.predict(first, first_params, x), visits["batch_norm_0"].y)
    assert fn.part(model, params, "relu_0")[0].apply({}, x)[0].min() == 0


def test_a_single_layer_is_counted_and_its_products_too() -> None:
    for wrap in (fn.weight_norm, fn.spectral_norm):
        model = wrap(fn.conv2d(4, 3))
        table = fn.summary(model, model.init((6, 6, 2), 0), (6, 6, 2))
        assert table.multiply_adds == 16 * 4 * 18


def test_an_output_that_is_not_used_gives_zeros_and_none() -> None:
    model = fn.branch(a=fn.dense(2), b=fn.spectral_norm(fn.serial(fn.dense(2))))
    params = fn.tree.cast(model.init((2,), 0), np.float64)
    _, vjp_fn = model.apply(params, X)
    grads, _ = vjp_fn({"a": np.ones((2, 2)), "b": None})
    assert grads["b"]["dense_0"]["u"] is None
    assert not grads["b"]["dense_0"]["w"].any()


@pytest.mark.parametrize(
    "model",
    [
        fn.weight_norm(fn.frozen(fn.dense(3))),
        fn.frozen(fn.spectral_norm(fn.dense(3))),
        fn.remat(fn.weight_norm(fn.serial(fn.dense(3), fn.batch_norm()))),
        fn.weight_norm(fn.spectral_norm(fn.dense(3), iterations=300)),
        fn.tied(fn.weight_norm(fn.repeat(fn.dense(4), 2)), {"dense_1/v": "dense_0/v"}),
        fn.weight_norm(fn.graph({"a": (fn.dense(3), "input"), "b": (fn.dense(3), "a")}, "b")),
    ],
    ids=repr,
)
def test_it_combines_with_other_combinators(model: fn.Layer) -> None:
    check_layer(model, (4,))


def pair_with_g() -> fn.Layer:
    def init(shape: Any, rng: Any) -> Params:
        return {"w": np.ones(shape, np.float32), "g": np.ones(shape, np.float32)}

    return fn.as_layer((init, lambda params, x: (x, lambda dy: (params, dy))))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            fn.weight_norm(fn.relu),
            r"weight_norm: expected a layer with a parameter 'w', got relu with \[\]; choose one",
        ),
        (fn.spectral_norm(fn.batch_norm()), "spectral_norm: expected a layer with a parameter 'w', got batch_norm"),
        (
            fn.weight_norm(fn.weight_norm(fn.dense(2))),
            "weight_norm: expected a layer with a parameter 'w', got weight_n",
        ),
        (fn.weight_norm(pair_with_g()), "weight_norm: the layer has a parameter 'g' itself"),
        (fn.spectral_norm(fn.spectral_norm(fn.dense(2))), "spectral_norm: the layer has a parameter 'u' itself"),
    ],
)
def test_a_layer_that_does_not_fit_raises_at_init(model: fn.Layer, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        fn.serial(fn.named("stem", model)).init((4,), 0)
    assert "in layer stem" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"w": X, "b": X[0]}, r"weight_norm, at dense_0: expected \['g', 'v'\] for each weight, got \['w'\]"),
        ({"v": X, "b": X[0]}, r"weight_norm, at dense_0: expected \['g', 'v'\] for each weight, got \['v'\]"),
        (
            {"v": X, "g": np.ones(3), "b": X[0]},
            r"parameter 'g' with a number for each unit of 'v', of shape \(2,\), got",
        ),
        ({"v": X, "g": np.ones(2, np.float32), "b": X[0]}, r"at dense_0: the parameters have different dtypes"),
        ({"v": X, "g": [1, 2], "b": X[0]}, r"at dense_0: expected parameter 'g' as an array, got list"),
    ],
)
def test_parameters_of_another_layer_raise(params: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fn.weight_norm(fn.serial(fn.dense(2))).apply({"dense_0": params}, X)


def test_iterations_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="spectral_norm: iterations must be a whole number >= 1, got 0"):
        fn.spectral_norm(fn.dense(2), iterations=0)
