"""Derivatives of each example and of each output, and curvature products, against loops and formulas by hand."""

import functools
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array, Tree
from funcnn.training.batching import take

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(3, size=5)


def wide(model: fn.Layer, shape: Any) -> Any:
    """Parameters in float64, none of them zero."""
    return fn.tree.map(lambda p: p + 0.1 * RANDOM.standard_normal(p.shape), fn.tree.cast(model.init(shape, 0), "d"))


def one_by_one(model: fn.Layer, params: Any, x: Tree, target: Tree, loss: Any, rng: Any = None) -> Tree:
    """The gradients of each example as a batch of its own."""
    gradient, found = fn.value_and_grad(model, loss), []
    for i in range(len(fn.tree.leaves(x)[0])):
        one, own = take((x, target), slice(i, i + 1))
        found.append(gradient(params, one, own, None if rng is None else fn.rng.fold(rng, i))[1])
    return fn.tree.map(lambda *leaves: np.stack(leaves), *found)


def orders(value: Tree) -> Any:
    """The names of a tree in their order, which noise that is added leaf by leaf depends on."""
    return [(name, orders(child)) for name, child in value.items()] if isinstance(value, dict) else None


def same(found: Tree, expected: Tree, limit: float = 1e-12) -> None:
    """Two trees have the same leaves to rounding, and None in the same places."""
    pairs = fn.tree.flatten(found), fn.tree.flatten(expected)
    assert orders(found) == orders(expected)
    for path, leaf in pairs[1].items():
        if leaf is None:
            assert pairs[0][path] is None, path
            continue
        assert (pairs[0][path].shape, pairs[0][path].dtype) == (leaf.shape, leaf.dtype), path
        np.testing.assert_allclose(pairs[0][path], leaf, rtol=0, atol=limit * max(1, np.abs(leaf).max(initial=0)))


def convolutions(**options: Any) -> fn.Layer:
    return fn.serial(fn.conv2d(4, (3, 2), **options), fn.flatten, fn.dense(3))


CHAINS = {
    "dense": (fn.serial(fn.dense(6, activation="tanh"), fn.dense(3, bias=False)), (4,)),
    "dense alone": (fn.dense(3, activation=fn.tanh), (4,)),
    "rows": (fn.serial(fn.dense(6), fn.gelu(), fn.flatten, fn.dense(3)), (7, 4)),
    "nested": (fn.serial(fn.serial(fn.dense(6), fn.tanh), fn.named("head", fn.serial(fn.dense(3)))), (4,)),
    "convolutions": (convolutions(activation=fn.tanh), (8, 7, 2)),
    "strides": (convolutions(stride=(2, 1), dilation=(1, 2), bias=False), (8, 7, 2)),
    "same padding": (convolutions(padding="same"), (8, 7, 2)),
    "own padding": (convolutions(padding=((1, 0), (2, 1)), activation="sigmoid"), (8, 7, 2)),
    "groups": (convolutions(groups=2), (8, 7, 2)),
    "reflected": (convolutions(padding="same", pad_mode="reflect"), (8, 7, 2)),
    "series": (fn.serial(fn.conv1d(4, 3, padding=(1, 0)), fn.flatten, fn.dense(3)), (6, 2)),
    "volumes": (fn.serial(fn.conv3d(4, 2), fn.flatten, fn.dense(3)), (3, 4, 3, 2)),
    "norms": (fn.serial(fn.conv2d(4, 3), fn.group_norm(2), fn.flatten, fn.layer_norm(), fn.dense(3)), (5, 5, 2)),
    "residual": (fn.serial(fn.dense(4), fn.residual(fn.dense(4), fn.tanh), fn.dense(3)), (4,)),
    "frozen": (fn.serial(fn.named("body", fn.frozen(fn.dense(4))), fn.dense(3)), (4,)),
    "tied": (fn.tied(fn.serial(fn.dense(4), fn.tanh, fn.dense(4), fn.dense(3)), {"dense_1": "dense_0"}), (4,)),
    "pair": (fn.serial(fn.dense(3), (lambda s, r: {}, lambda p, x: (2 * x, lambda dy: ({}, 2 * dy)))), (4,)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_gradient_of_each_example_is_that_of_a_loop(name: str) -> None:
    model, shape = CHAINS[name]
    params, x = wide(model, shape), RANDOM.standard_normal((5, *shape))
    arguments = model, params, x, LABELS, fn.softmax_cross_entropy
    found = fn.per_example_grads(*arguments)
    same(found, one_by_one(*arguments))
    # Their mean is the gradient of the batch.
    same(fn.tree.map(lambda g: g.mean(0), found), fn.value_and_grad(model, arguments[-1])(params, x, LABELS)[1])


def test_a_loss_that_is_no_mean_is_asked_for_each_example() -> None:
    model = fn.dense(3)
    params, x = wide(model, (4,)), RANDOM.standard_normal((5, 4))
    summed: Any = functools.partial(fn.softmax_cross_entropy, reduction="sum", class_weights=np.array([1.0, 2.0, 3.0]))
    same(fn.per_example_grads(model, params, x, LABELS, summed), one_by_one(model, params, x, LABELS, summed))


def test_a_key_is_for_training_and_each_example_draws_its_own() -> None:
    model = fn.serial(fn.dense(6), fn.dropout(0.5), fn.dense(3))
    params, x = wide(model, (4,)), RANDOM.standard_normal((5, 4))
    arguments = model, params, np.repeat(x[:1], 5, 0), np.zeros(5, int), fn.softmax_cross_entropy
    found = fn.per_example_grads(*arguments, rng=(3, 1))
    same(found, one_by_one(*arguments, rng=(3, 1)))
    assert not np.array_equal(found["dense_1"]["w"][0], found["dense_1"]["w"][1])
    assert fn.per_example_grads(*arguments, rng=np.random.default_rng(0))["dense_0"]["w"].shape == (5, 4, 6)


def test_batch_norm_has_gradients_of_examples_only_when_it_predicts() -> None:
    model = fn.serial(fn.dense(4), fn.batch_norm(), fn.dense(3))
    x = RANDOM.standard_normal((5, 4))
    params = fn.calibrate(model, wide(model, (4,)), x)
    arguments = model, params, x, LABELS, fn.softmax_cross_entropy
    same(fn.per_example_grads(*arguments), one_by_one(*arguments))
    with pytest.raises(ValueError, match="per_example_grads: layer batch_norm_0 trains on the statistics of the whole"):
        fn.per_example_grads(*arguments, rng=0)
    with pytest.raises(ValueError, match="jacobian: layer batch_norm_0 trains on the statistics"):
        fn.jacobian(model, params, x, rng=0)
    frozen = fn.serial(fn.named("body", fn.frozen(model[:2])), fn.named("head", model[2]))
    parts = {"body": {name: params[name] for name in ("dense_0", "batch_norm_0")}, "head": params["dense_1"]}
    assert (
        fn.per_example_grads(frozen, parts, x, LABELS, fn.softmax_cross_entropy, rng=0)["body"]["dense_0"]["w"] is None
    )


def test_trees_go_in_and_come_out() -> None:
    heads = fn.serial(fn.parallel(a=fn.dense(3), b=fn.dense(2)))
    x = {"a": RANDOM.standard_normal((5, 4)), "b": RANDOM.standard_normal((5, 2))}
    params = wide(heads, {"a": (4,), "b": (2,)})
    target = {"a": LABELS, "b": RANDOM.standard_normal((5, 2))}

    def loss(y: Any, target: Any) -> Any:
        (a, da), (b, db) = fn.softmax_cross_entropy(y["a"], target["a"]), fn.mean_squared_error(y["b"], target["b"])
        return a + b, {"a": da, "b": db}

    same(fn.per_example_grads(heads, params, x, target, loss), one_by_one(heads, params, x, target, loss))
    w = params["parallel_0"]["a"]["w"]
    by_x = fn.jacobian(heads, params, x)
    same(by_x["a"], {"a": np.repeat(w.T[None], 5, 0), "b": np.zeros((5, 3, 2))})
    by_params = fn.jacobian(heads, params, x, of="params")
    same(by_params["b"]["parallel_0"]["b"]["b"], np.repeat(np.eye(2)[None], 5, 0))
    same(by_params["a"]["parallel_0"]["b"]["b"], np.zeros((5, 3, 2)))


def test_an_empty_batch_has_no_gradients_and_float32_stays() -> None:
    model = fn.serial(fn.dense(4), fn.named("head", fn.frozen(fn.dense(3))))
    params, x = model.init((2,), 0), np.ones((2, 2), np.float32)
    for n in (0, 2):
        found = fn.per_example_grads(model, params, x[:n], LABELS[:n], fn.softmax_cross_entropy)
        assert (found["dense_0"]["w"].shape, found["dense_0"]["w"].dtype) == ((n, 2, 4), np.float32)
        assert found["head"]["w"] is None
        assert fn.jacobian(model, params, x[:n]).shape == (n, 3, 2)
        assert fn.jacobian(model, params, x[:n], of="params")["dense_0"]["b"].shape == (n, 3, 4)


def test_nothing_that_is_passed_is_written_to() -> None:
    model = fn.serial(fn.dense(4, activation="relu"), fn.dense(3))
    params, x = wide(model, (4,)), RANDOM.standard_normal((5, 4))
    v = fn.tree.map(np.ones_like, params)
    for leaf in [x, *fn.tree.leaves(params), *fn.tree.leaves(v)]:
        leaf.flags.writeable = False
    arguments: Any = model, params, x, LABELS, fn.softmax_cross_entropy
    for call in (
        lambda: fn.per_example_grads(*arguments), lambda: fn.jacobian(model, params, x, of="params"),
        lambda: fn.hessian_vector_product(*arguments, v, rng=0), lambda: fn.fisher_diagonal(*arguments),
        lambda: fn.gauss_newton_vector_product(*arguments, v, rng=0),
    ):  # fmt: skip
        same(call(), call(), 0)


# Jacobians


def test_the_jacobian_of_a_dense_layer_is_its_weights_and_its_input() -> None:
    model = fn.dense(3)
    params, x = wide(model, (4,)), RANDOM.standard_normal((5, 4))
    same(fn.jacobian(model, params, x), np.repeat(params["w"].T[None], 5, 0))
    found = fn.jacobian(model, params, x, of="params")
    same(found["b"], np.repeat(np.eye(3)[None], 5, 0))
    same(found["w"], np.einsum("ni,kl->nkil", x, np.eye(3)))


@pytest.mark.parametrize("name", ["rows", "strides", "norms", "residual", "pair", "tied"])
def test_the_jacobian_is_the_vjp_of_each_output(name: str) -> None:
    model, shape = CHAINS[name]
    params, x, dy = wide(model, shape), RANDOM.standard_normal((5, *shape)), RANDOM.standard_normal((5, 3))
    grads, dx = model.apply(params, x)[1](dy)
    same(np.einsum("nk,nk...->n...", dy, fn.jacobian(model, params, x)), dx)
    found = fn.jacobian(model, params, x, of="params")
    same(fn.tree.map(lambda j: np.einsum("nk,nk...->...", dy, j), found), grads)


def test_the_jacobian_of_images_has_the_axes_of_both() -> None:
    x = RANDOM.standard_normal((2, 4, 3, 1))
    assert fn.jacobian(fn.max_pool2d(2), {}, x).shape == (2, 2, 1, 1, 4, 3, 1)
    assert fn.jacobian(fn.max_pool2d(2), {}, x).sum() == 2 * 2


def test_in_training_both_jacobians_have_the_draws_of_per_example_grads() -> None:
    model = fn.serial(fn.dense(8), fn.dropout(0.5))
    params, x = wide(model, (4,)), RANDOM.standard_normal((5, 4))
    dropped = fn.jacobian(model, params, x, of="params", rng=4)["dense_0"]["b"]
    kept = np.einsum("nkk->nk", dropped) != 0
    assert 0 < kept.mean() < 1
    assert np.array_equal(kept, (fn.jacobian(model, params, x, rng=4) != 0).all(2))


# Curvature


def logistic(x: Array, w: Array) -> tuple[Array, Array]:
    """The probability of yes, and its variance p (1 - p)."""
    p = 1 / (1 + np.exp(-x @ w))
    return p, p * (1 - p)


def test_the_hessian_of_a_logistic_regression_is_known() -> None:
    model = fn.dense(1, bias=False)
    params, x = wide(model, (4,)), RANDOM.standard_normal((9, 4))
    target, v = RANDOM.integers(2, size=(9, 1)), {"w": RANDOM.standard_normal((4, 1))}
    variance = logistic(x, params["w"])[1]
    expected = {"w": x.T @ (variance * (x @ v["w"])) / 9}
    for product in (fn.hessian_vector_product, fn.gauss_newton_vector_product):  # the model is linear
        for scale in (1.0, 1e-6, 1e6):
            found = product(model, params, x, target, fn.sigmoid_cross_entropy, {"w": scale * v["w"]})
            same({"w": found["w"] / scale}, expected, 1e-9)


def test_gauss_newton_leaves_out_the_curvature_of_the_model() -> None:
    # Of (w² x - t)² with w = 2, x = 3, t = 1: the Hessian is 12 w² x² - 4 t x, and J^T 2 J = 8 w² x².
    squared = fn.layer(per_example=True)(
        lambda: (
            lambda shape, rng: {"w": np.float64(2)},
            lambda p, x: (p["w"] ** 2 * x, lambda dy: ({"w": 2 * p["w"] * (x * dy).sum()}, p["w"] ** 2 * dy)),
        )
    )()
    arguments: Any = squared, {"w": np.array(2.0)}, np.array([[3.0]]), np.array([[1.0]]), fn.mean_squared_error
    v = {"w": np.array(1.0)}
    assert fn.hessian_vector_product(*arguments, v)["w"] == pytest.approx(12 * 4 * 9 - 4 * 3, rel=1e-8)
    assert fn.gauss_newton_vector_product(*arguments, v)["w"] == pytest.approx(8 * 4 * 9, rel=1e-8)


@pytest.mark.parametrize("product", [fn.hessian_vector_product, fn.gauss_newton_vector_product])
def test_a_curvature_product_is_symmetric_linear_and_like_the_parameters(product: Any) -> None:
    model = fn.serial(fn.dense(6, activation="tanh"), fn.named("fixed", fn.frozen(fn.dense(5))), fn.dense(3))
    x = RANDOM.standard_normal((5, 4)).astype(np.float32)
    params = model.init((4,), 0)
    learned = {name: params[name] for name in ("dense_0", "dense_1")}
    u, v = (fn.tree.map(lambda p: RANDOM.standard_normal(p.shape), params) for _ in range(2))
    hu, hv, zero = (
        product(model, params, x, LABELS, fn.softmax_cross_entropy, direction)
        for direction in (u, v, fn.tree.map(lambda _: None, params))
    )
    assert hu["fixed"] == {"w": None, "b": None}
    same({name: zero[name] for name in learned}, fn.tree.map(np.zeros_like, learned), 0)
    dots = [
        sum(np.vdot(a[n][k], b[n][k]) for n in learned for k in ("w", "b")) for a, b in ((u, hv), (v, hu))
    ]  # fmt: skip
    assert dots[0] == pytest.approx(dots[1], rel=1e-5)  # float32 comes out
    without = {**v, "fixed": {"w": None, "b": None}}
    same(product(model, params, x, LABELS, fn.softmax_cross_entropy, without), hv, 0)


def test_in_training_a_hessian_has_one_draw_and_batch_norm_its_batch() -> None:
    model = fn.serial(fn.dense(6), fn.batch_norm(activation="tanh"), fn.dropout(0.5), fn.dense(3))
    params, x = model.init((4,), 0), RANDOM.standard_normal((5, 4)).astype(np.float32)
    v = fn.tree.map(np.ones_like, params)
    v["batch_norm_0"]["mean"] = v["batch_norm_0"]["var"] = None  # they are not measured
    arguments: Any = model, params, x, LABELS, fn.softmax_cross_entropy, v
    found = fn.hessian_vector_product(*arguments, rng=np.random.default_rng(1))
    assert all(np.isfinite(leaf).all() for leaf in fn.tree.leaves(found) if leaf is not None)
    assert max(np.abs(found["dense_0"]["w"]).max(), np.abs(found["dense_1"]["w"]).max()) < 10


# Fisher information


def test_the_empirical_fisher_diagonal_is_the_mean_of_the_squares_in_several_parts() -> None:
    model = fn.serial(fn.dense(4, activation="tanh"), fn.frozen(fn.dense(4)), fn.dropout(0.5), fn.dense(3))
    params, x, labels = wide(model, (2,)), RANDOM.standard_normal((150, 2)), RANDOM.integers(3, size=150)
    arguments = model, params, x, labels, fn.softmax_cross_entropy
    for rng in (None, 5):  # keys go on from one part to the next
        expected = fn.tree.map(lambda g: np.square(g).mean(0), fn.per_example_grads(*arguments, rng=rng))
        same(fn.fisher_diagonal(*arguments, rng=rng), expected)


@pytest.mark.parametrize(
    ("loss", "units"), [(fn.sigmoid_cross_entropy, 1), (fn.softmax_cross_entropy, 3), (fn.mean_squared_error, 4)]
)
def test_drawn_labels_give_the_fisher_matrix_of_the_model(loss: Any, units: int) -> None:
    model, n = fn.dense(units), 40_000
    params, x = wide(model, (2,)), np.repeat([[1.0, -2.0]], n, 0)
    y = fn.predict(model, params, x[:1])[0]
    if loss is fn.sigmoid_cross_entropy:
        expected = logistic(y, np.eye(1))[1]
    elif loss is fn.softmax_cross_entropy:
        p = np.exp(y) / np.exp(y).sum()
        expected = p * (1 - p)
    else:
        expected = np.full(4, 2 / units)  # the inverse of the variance
    found = fn.fisher_diagonal(model, params, x, None, loss, labels_rng=1)
    np.testing.assert_allclose(found["b"], expected, rtol=0.1)
    np.testing.assert_allclose(found["w"], np.outer([1, 4], found["b"]), rtol=1e-12)
    part = model, params, x[:9], None, loss
    same(fn.fisher_diagonal(*part, labels_rng=1), fn.fisher_diagonal(*part, labels_rng=(1,)), 0)
