"""Folded models predict the same to rounding, and each norm is folded exactly where that is possible."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcnn as fn
from funcnn.inspect.traverse import every_layer
from funcnn.protocol import Layer

IMAGE, VECTOR = (7, 6, 2), (5,)
norm, conv, dense = fn.batch_norm, fn.conv2d, fn.dense


def trained(model: Any, shape: tuple[int, ...], dtype: Any = np.float64) -> tuple[Any, Any]:
    """Parameters as after training, every leaf at random and the norms calibrated, and examples."""
    random = np.random.default_rng(0)
    params = fn.tree.map(
        lambda leaf: (leaf + 0.5 * random.standard_normal(leaf.shape)).astype(dtype), model.init(shape, 0)
    )
    x = (1 + random.standard_normal((20, *shape))).astype(dtype)
    return fn.calibrate(model, params, x), x


def check(model: Any, shape: tuple[int, ...], dtype: Any = np.float64) -> tuple[Layer, Any]:
    """The folded model, which has the same names and the same predictions, also for other examples."""
    params, x = trained(model, shape, dtype)
    x = np.concatenate([x[:3], 3 * x[3:6] - 1])
    before = {path: leaf.copy() for path, leaf in fn.tree.flatten(params).items()}
    folded, folded_params = fn.fold_batch_norm(model, params)
    assert [path for path, _ in every_layer(folded)] == [path for path, _ in every_layer(model)]
    assert not any(layer.constructor is norm for _, layer in every_layer(folded))
    y, expected = fn.predict(folded, folded_params, x), fn.predict(model, params, x)
    assert y.dtype == expected.dtype == dtype
    # Rounding of a few layers, relative to the largest element.
    tolerance = 1e-11 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    assert {leaf.dtype for leaf in fn.tree.leaves(folded_params)} <= {np.dtype(dtype)}
    assert all(np.array_equal(leaf, before[path]) for path, leaf in fn.tree.flatten(params).items())
    # The parameters are those that the folded model makes itself, in shape and name.
    fresh = folded.init(shape, 0)
    assert fn.tree.map(np.shape, fresh) == fn.tree.map(np.shape, folded_params)
    return folded, folded_params


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (fn.serial(conv(4, 3), norm()), IMAGE, "serial(conv2d(4, 3), named('batch_norm_0', identity))"),
        (
            fn.serial(fn.conv_transpose2d(6, 2, 2, groups=2), norm()),
            IMAGE,
            "serial(conv_transpose2d(6, 2, stride=2, groups=2), named('batch_norm_0', identity))",
        ),
        (
            fn.serial(fn.depthwise_conv2d(3, 2, bias=False), norm()),
            IMAGE,
            "serial(depthwise_conv2d(3, multiplier=2), named('batch_norm_0', identity))",
        ),
        (fn.serial(dense(4), norm()), VECTOR, "serial(dense(4), named('batch_norm_0', identity))"),
        (fn.serial(dense(4), norm()), (3, 5), "serial(dense(4), named('batch_norm_0', identity))"),
        (
            fn.serial(conv(4, 3), norm(activation="relu"), fn.flatten, dense(3)),
            IMAGE,
            "serial(conv2d(4, 3, activation='relu'), named('batch_norm_0', identity), flatten, dense(3))",
        ),
        (
            fn.serial(dense(4), norm(activation=fn.tanh)),
            VECTOR,
            "serial(dense(4, activation=tanh), named('batch_norm_0', identity))",
        ),
        (fn.serial(norm(), dense(4)), VECTOR, "serial(named('batch_norm_0', scale_and_shift()), dense(4))"),
        (
            fn.serial(conv(4, 3, activation="relu"), norm(activation="tanh")),
            IMAGE,
            "serial(conv2d(4, 3, activation='relu'), named('batch_norm_0', scale_and_shift(activation='tanh')))",
        ),
        (
            fn.serial(dense(4), fn.relu, norm()),
            VECTOR,
            "serial(dense(4), relu, named('batch_norm_0', scale_and_shift()))",
        ),
        (
            fn.serial(dense(4, activation="identity"), norm()),
            VECTOR,
            "serial(dense(4), named('batch_norm_0', identity))",
        ),
        (
            fn.serial(conv(4, 3, stride=2, groups=2, padding="same"), norm()),
            IMAGE,
            "serial(conv2d(4, 3, stride=2, padding='same', groups=2), named('batch_norm_0', identity))",
        ),
        (
            fn.serial(conv(4, 3, bias=False), norm(eps=1e-3)),
            IMAGE,
            "serial(conv2d(4, 3), named('batch_norm_0', identity))",
        ),
        (
            fn.serial(dense(3, bias=False), norm(eps=0.1), norm()),
            VECTOR,
            "serial(dense(3), named('batch_norm_0', identity), named('batch_norm_1', scale_and_shift()))",
        ),
        (
            fn.serial(fn.named("stem", conv(4, 3)), fn.named("norm", norm())),
            IMAGE,
            "serial(named('stem', conv2d(4, 3)), named('norm', identity))",
        ),
        (
            fn.serial(fn.residual(dense(5), norm()), fn.concat(fn.serial(dense(2), norm()), norm())),
            VECTOR,
            "serial(residual(dense(5), named('batch_norm_0', identity)), concat(serial(dense(2), "
            "named('batch_norm_0', identity)), named('batch_norm_0', scale_and_shift())))",
        ),
        (
            fn.serial(fn.serial(dense(4)), norm()),
            VECTOR,
            "serial(serial(dense(4)), named('batch_norm_0', scale_and_shift()))",
        ),
        (norm(activation="relu"), IMAGE, "scale_and_shift(activation='relu')"),
        (fn.serial(dense(3), fn.dropout(0.5)), VECTOR, "serial(dense(3), dropout(0.5))"),
    ],
    ids=repr,
)
def test_where_a_norm_is_folded(model: Layer, shape: tuple[int, ...], expected: str, dtype: Any) -> None:
    folded, _ = check(model, shape, dtype)
    assert repr(folded) == expected


def test_the_formula_by_hand() -> None:
    model = fn.serial(dense(1), norm(eps=1.0))
    params = {
        "dense_0": {"w": np.array([[2.0]]), "b": np.array([5.0])},
        "batch_norm_0": {name: np.array([value]) for name, value in
                         {"scale": 6.0, "shift": 1.0, "mean": 4.0, "var": 8.0}.items()},
    }  # fmt: skip
    # f = 6 / sqrt(8 + 1) = 2:  w f = 4,  b f + shift - mean f = 10 + 1 - 8.
    _, folded = fn.fold_batch_norm(model, params)
    assert {path: leaf.tolist() for path, leaf in fn.tree.flatten(folded).items()} == {
        "dense_0/w": [[4.0]],
        "dense_0/b": [3.0],
    }


def test_a_norm_in_a_graph_is_folded_only_if_nothing_else_uses_the_convolution() -> None:
    add = fn.merge("add")
    nodes = {"conv": (conv(3, 3), "input"), "norm": (norm(), "conv"), "y": (add, ("norm", "conv"))}
    folded, _ = check(fn.graph(nodes, output="y"), IMAGE)
    assert [layer.kind for layer in folded.children.values()] == ["conv2d", "scale_and_shift", "merge"]
    nodes = {
        "y": (add, ("norm", "other")),
        "norm": (norm(activation="relu"), "conv"),
        "conv": (conv(3, 3), "input"),
        "other": (norm(), "twice"),
        "twice": (conv(3, 3), "input"),
    }
    folded, _ = check(fn.graph(nodes, output="y"), IMAGE)
    kinds = {name: layer.kind for name, layer in folded.children.items()}
    assert (kinds["norm"], kinds["other"]) == ("identity", "identity")
    # Two norms after one convolution: neither is folded into it.
    nodes = {"conv": (dense(3), "input"), "a": (norm(), "conv"), "b": (norm(), "conv"), "y": (add, ("a", "b"))}
    folded, _ = check(fn.graph(nodes, output="y"), VECTOR)
    assert [layer.kind for layer in folded.children.values()] == ["dense", *["scale_and_shift"] * 2, "merge"]


def test_a_residual_that_adds_the_output_of_the_convolution_keeps_it() -> None:
    # In residual(norm()) the input is used twice; it is not a layer of the same combinator.
    folded, _ = check(fn.serial(dense(5), fn.residual(norm())), VECTOR)
    assert repr(folded) == "serial(dense(5), residual(named('batch_norm_0', scale_and_shift())))"


def test_a_norm_in_a_constructor_of_a_users_is_folded() -> None:
    @fn.layer
    def block(units: int) -> Layer:
        return fn.serial(dense(units, bias=False), norm(activation="relu"))

    folded, params = check(fn.serial(block(4), fn.residual(block(4))), VECTOR)
    assert [path for path, layer in every_layer(folded) if layer.kind == "identity"] == [
        "block_0/batch_norm_0",
        "residual_0/block_0/batch_norm_0",
    ]
    assert sorted(params["block_0"]["dense_0"]) == ["b", "w"]


def test_an_unmeasured_norm_raises_with_its_path() -> None:
    model = fn.serial(dense(4), fn.residual(fn.named("norm", norm())))
    params = model.init(VECTOR, 0)
    with pytest.raises(ValueError, match=r"in layer residual_0/norm: mean and var have not been measured.*calibrate"):
        fn.fold_batch_norm(model, params)
    with pytest.raises(ValueError, match=r"in layer batch_norm: mean and var"):
        fn.fold_batch_norm(norm(), norm().init(VECTOR, 0))


def test_a_norm_with_another_apply_raises_and_such_a_convolution_is_not_folded_into() -> None:
    model = fn.serial(dense(4), replace(norm(), apply=fn.relu.apply))
    params = fn.serial(dense(4), norm()).init(VECTOR, 0)
    with pytest.raises(ValueError, match="layer batch_norm_0: its apply is not the one that batch_norm made"):
        fn.fold_batch_norm(model, params)

    plain = dense(4)

    def apply(params: Any, x: Any, rng: Any = None) -> Any:
        y, vjp_fn = plain.apply(params, x, rng)
        return y**2, lambda dy: vjp_fn(2 * y * dy)

    model = fn.serial(replace(plain, apply=apply), norm())
    params, x = trained(model, VECTOR)
    folded, folded_params = fn.fold_batch_norm(model, params)
    assert [layer.kind for layer in folded.children.values()] == ["dense", "scale_and_shift"]
    np.testing.assert_allclose(
        fn.predict(folded, folded_params, x), fn.predict(model, params, x), rtol=1e-10, atol=1e-12
    )


def test_what_is_folded_can_be_traced_summarized_and_folded_again() -> None:
    model = fn.serial(conv(4, 3), norm(activation="relu"), fn.max_pool2d(2), fn.residual(norm(), conv(4, 1)))
    folded, params = check(model, IMAGE)
    assert fn.summary(folded, params, IMAGE).measured == 0
    again, same = fn.fold_batch_norm(folded, params)
    assert repr(again) == repr(folded)
    assert all(a is b for a, b in zip(fn.tree.leaves(same), fn.tree.leaves(params), strict=True))


def layers(depth: int) -> Any:
    """Strategies for layers that keep the height and the width of images, of any number of channels."""
    activations = st.sampled_from([None, "relu", "tanh"])
    leaf = st.one_of(
        # A channel of nearly no variance is stretched by 1 / sqrt(eps), its rounding errors too: twice, not 300 times.
        st.builds(lambda a: norm(eps=0.25, activation=a), activations),
        st.builds(lambda a: norm(eps=0.5, activation=a), activations),
        st.builds(
            lambda units, size, bias, groups, a: conv(
                4 * units, size, padding="same", bias=bias, groups=groups, activation=a
            ),
            st.integers(1, 2), st.sampled_from([1, 3]), st.booleans(), st.sampled_from([1, 2]), activations,
        ),
        st.builds(lambda bias: dense(4, bias=bias), st.booleans()),
        st.just(fn.tanh),
    )  # fmt: skip
    if not depth:
        return leaf
    inner = st.lists(layers(depth - 1), min_size=1, max_size=3)
    return st.one_of(
        leaf,
        inner.map(lambda found: fn.serial(*found)),
        inner.map(lambda found: fn.concat(fn.identity, *found)),
        inner.map(lambda found: fn.serial(*found, dense(4), fn.residual(*found, dense(4)))),
    )


@settings(max_examples=60)
@given(found=st.lists(layers(2), min_size=1, max_size=4), dtype=st.sampled_from([np.float32, np.float64]))
def test_random_networks_predict_the_same_to_rounding(found: list[Layer], dtype: Any) -> None:
    check(fn.serial(dense(4), *found), (4, 3, 2), dtype)


@pytest.mark.parametrize(("conv", "shape"), [(fn.conv1d, (9, 2)), (fn.conv3d, (5, 4, 4, 2))])
def test_convolutions_of_every_rank_take_the_norm_after_them(conv: Any, shape: tuple[int, ...]) -> None:
    folded, _ = check(fn.serial(conv(4, 2), norm(activation="relu")), shape)
    assert [child.kind for child in folded.children.values()] == [conv.__name__, "identity"]


TIED = {
    "source before a norm": ((("a", fn.dense(3)), ("n", fn.batch_norm()), ("b", fn.dense(3))), {"b": "a"}),
    "target before a norm": ((("a", fn.dense(3)), ("b", fn.dense(3)), ("n", fn.batch_norm())), {"b": "a"}),
    "a shift": ((("a", fn.dense(3)), ("n", fn.batch_norm())), {"n/shift": "a/b"}),
    "a norm": ((("n", fn.batch_norm()), ("a", fn.dense(3)), ("m", fn.batch_norm())), {"m": "n"}),
}


@pytest.mark.parametrize("name", TIED)
def test_tied_weights_are_not_changed(name: str) -> None:
    layers, ties = TIED[name]
    model = fn.tied(fn.serial(*(fn.named(*pair) for pair in layers)), ties)
    x = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    params = fn.calibrate(model, model.init((3,), 0), x)
    folded, own = fn.fold_batch_norm(model, params)
    np.testing.assert_allclose(fn.predict(folded, own, x), fn.predict(model, params, x), atol=1e-5)


def test_a_norm_inside_a_frozen_or_recomputed_layer_is_folded() -> None:
    model = fn.serial(fn.dense(3), fn.remat(fn.batch_norm(activation="relu")), fn.tanh, fn.frozen(fn.batch_norm()))
    params = model.init((3,), 0)
    with pytest.raises(ValueError, match="in layer remat_0: mean and var have not been measured"):
        fn.fold_batch_norm(model, params)
    params["frozen_0"].update(mean=np.ones(3, np.float32), var=np.ones(3, np.float32))
    x = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    params = fn.calibrate(model, params, x)
    folded, own = fn.fold_batch_norm(model, params)
    assert [layer.kind for layer in folded.children.values()] == ["dense", "identity", "tanh", "scale_and_shift"]
    np.testing.assert_allclose(fn.predict(folded, own, x), fn.predict(model, params, x), atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"var": np.array([-1, 1, 1], np.float32)}, "a variance is not negative, got -1.0"),
        ({"shift": np.ones(1, np.float32)}, "different numbers of channels"),
        ({"shift": np.ones(3)}, "different dtypes"),
    ],
)
def test_folding_checks_the_parameters_of_the_norm(wrong: dict[str, np.ndarray], words: str) -> None:
    ones = np.ones(3, np.float32)
    params = {"dense_0": {"w": np.ones((2, 3), np.float32), "b": ones}}
    norm = dict.fromkeys(("scale", "shift", "mean", "var"), ones) | wrong
    with pytest.raises(ValueError, match=f"in layer batch_norm_0: .*{words}"):
        fn.fold_batch_norm(fn.serial(fn.dense(3), fn.batch_norm()), params | {"batch_norm_0": norm})
