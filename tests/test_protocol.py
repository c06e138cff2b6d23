"""The pair and its description: what a layer is, how it prints, how it is copied, and what its checks raise."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import tree
from funcnn.aliases import Array, Params
from funcnn.engine.microbatch import microbatches, output
from funcnn.protocol import Layer, Vjp, as_layer, layer, named

TABLE = fn.testing.table_of_layers()
ROWS = pytest.mark.parametrize(("model", "shape"), TABLE, ids=[repr(model) for model, _ in TABLE])
# What takes tokens alone has no gradient of its input, so nothing that this test can compare.
FLOATS = [
    row
    for row in TABLE
    if any(leaf.dtype.kind == "f" for leaf in fn.tree.flatten({"x": fn.testing.random_batch(row[1], 1)}).values())
]
ROWS_OF_FLOATS = pytest.mark.parametrize(("model", "shape"), FLOATS, ids=[repr(model) for model, _ in FLOATS])
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "repr": lambda model: eval(repr(model), dict(vars(fn))),
}


def no_init(shape: tuple[int, ...], rng: Any) -> Params:
    return {}


def double(params: Params, x: Array) -> tuple[Array, Vjp]:
    return 2 * x, lambda dy: ({}, 2 * dy)


def with_rng(params: Params, x: Array, rng: Any = None) -> tuple[Array, Vjp]:
    return (x if rng is None else -x), lambda dy: ({}, dy)


def test_a_layer_unpacks_to_the_pair() -> None:
    model = fn.dense(2)
    init, apply = model
    assert (init, apply) == (model.init, model.apply)
    with pytest.raises(FrozenInstanceError):
        model.name = "x"  # type: ignore[misc]


def test_a_bare_pair_is_a_layer_with_or_without_rng() -> None:
    x = np.ones((1, 2))
    assert as_layer((no_init, double)).apply({}, x, 0)[0].tolist() == [[2, 2]]
    assert as_layer((no_init, with_rng)).apply({}, x, 0)[0].tolist() == [[-1, -1]]
    assert as_layer((no_init, with_rng)).apply({}, x)[0].tolist() == [[1, 1]]
    assert as_layer(fn.relu) is fn.relu


def test_only_a_third_argument_without_another_default_is_rng() -> None:
    def keyword(params: Params, x: Array, *, rng: Any = None) -> tuple[Array, Vjp]:
        return with_rng(params, x, rng)

    def scaled(params: Params, x: Array, by: float = 2.0) -> tuple[Array, Vjp]:
        return x * by, lambda dy: ({}, dy * by)

    def several(*args: Any) -> tuple[Array, Vjp]:
        return with_rng(*args)

    for apply, training, predicting in ((keyword, -1, 1), (scaled, 2, 2), (several, -1, 1)):
        model = as_layer((no_init, apply))
        assert model.apply({}, np.ones((1, 1)), (0, 1))[0].tolist() == [[training]]
        assert model.apply({}, np.ones((1, 1)))[0].tolist() == [[predicting]]


@pytest.mark.parametrize("wrong", [None, 3, (no_init,), (no_init, double, double), [no_init, double], (no_init, 1)])
def test_what_is_not_a_layer_raises(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"a layer is a Layer or a tuple of two functions \(init, apply\), got"):
        as_layer(wrong)


def test_a_constructor_that_was_not_called_raises_with_the_fix() -> None:
    with pytest.raises(TypeError, match=r"got <function dense at .*; call it: dense\(\.\.\.\)"):
        fn.serial(fn.dense, fn.relu)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (fn.dense(4), "dense(4)"),
        (fn.dense(units=4, bias=True), "dense(4)"),
        (
            fn.dense(4, activation=fn.relu, w_init=fn.initializers.zeros),
            "dense(4, activation=relu, w_init=initializers.zeros)",
        ),
        (fn.conv2d(8, (3, 1), padding="same"), "conv2d(8, (3, 1), padding='same')"),
        (fn.leaky_relu(), "leaky_relu()"),
        (fn.serial(fn.dense(1), fn.relu), "serial(dense(1), relu)"),
        (fn.concat(fn.relu, fn.identity, axis=1), "concat(relu, identity, axis=1)"),
        (as_layer((no_init, double)), "layer"),
    ],
)
def test_a_layer_prints_as_the_call_that_made_it(model: fn.Layer, text: str) -> None:
    assert repr(model) == text


def test_a_users_constructor_gets_kind_and_arguments() -> None:
    @layer
    def scale(by: float, *, offset: float = 0.0) -> Any:
        return no_init, lambda params, x: (x * by + offset, lambda dy: ({}, dy * by))

    assert repr(scale(2.0, offset=1.0)) == "scale(2.0, offset=1.0)"
    assert fn.serial(scale(2.0)).children.keys() == {"scale_0"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'ofset'"):
        scale(2.0, ofset=1.0)  # type: ignore[call-arg]


@pytest.mark.parametrize("wrong", ["", "a/b", 3, None])
def test_a_name_must_be_part_of_a_path(wrong: Any) -> None:
    with pytest.raises(ValueError, match="a layer's name is a string that is not empty and has no '/'"):
        named(wrong, fn.relu)


def test_named_leaves_the_layer_as_it_was() -> None:
    before = copy.copy(fn.relu)
    assert named("head", fn.relu).name == "head"
    assert fn.relu.name is before.name is None


# A user's apply


X = np.array([[1.0, 2.0], [3.0, 4.0]])


def user(apply: Any) -> Layer:
    """A layer with one parameter and this ``apply``."""
    return as_layer((lambda shape, rng: {"w": np.ones(shape[-1:], np.float32)}, apply))


def with_gradients(dparams: Any, dx: Any) -> Layer:
    """A layer y = x whose vjp_fn returns these."""
    return user(lambda params, x: (x, lambda dy: (dparams, dx)))


def test_a_layer_has_at_most_ten_fields() -> None:
    assert len(fields(Layer)) <= 10


def test_a_users_vjp_need_not_know_input_grad() -> None:
    seen: list[bool] = []

    def knowing(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
        seen.append(input_grad)
        return {}, dy if input_grad else None

    def keyword_only(dy: Array, *, input_grad: bool) -> tuple[Params, Array | None]:
        return knowing(dy, input_grad)

    def local_variable(dy: Array) -> tuple[Params, Array]:
        input_grad = dy
        return {}, input_grad

    class Callable:
        def __call__(self, dy: Array) -> tuple[Params, Array]:
            return {}, dy

    for pull in (lambda dy: ({}, dy), local_variable, Callable(), knowing, keyword_only):
        model = as_layer((no_init, lambda params, x, pull=pull: (x, pull)))
        for apply in (model.apply, model.apply.unchecked):  # type: ignore[attr-defined]
            _, vjp_fn = apply({}, X)
            assert vjp_fn(X, input_grad=False)[1] is None
            assert vjp_fn(X, False)[1] is None
            assert vjp_fn(X)[1] is X
    assert seen == [False, False, True] * 4


def test_a_users_apply_is_wrapped_once() -> None:
    model = as_layer((no_init, double))
    assert as_layer(model).apply is named("a", model).apply is replace(model, kind="b").apply is model.apply
    assert model.apply.__name__ == "double"


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        (X, "a ndarray"),
        ((X,), "a tuple of 1"),
        ((X, lambda dy: ({}, dy), 3), "a tuple of 3"),
        ([X, lambda dy: ({}, dy)], "a list"),
        ((X, {}), "a dict"),
        (None, "a NoneType"),
    ],
)
def test_an_apply_must_return_an_output_and_a_function(returned: Any, got: str) -> None:
    model = as_layer((no_init, lambda params, x: returned))
    with pytest.raises(TypeError, match=rf"apply must return \(y, vjp_fn\), an output and a function, got {got}$"):
        model.apply({}, X)


@pytest.mark.parametrize(("y", "got"), [([1.0], "a list"), (1.0, "a float"), ((X, X), "a tuple of 2")])
def test_an_apply_must_return_y_as_arrays(y: Any, got: str) -> None:
    model = as_layer((no_init, lambda params, x: (y, lambda dy: ({}, dy))))
    with pytest.raises(TypeError, match=rf"apply must return y as an array or as a nested dict of arrays, got {got}$"):
        model.apply({}, X)


@pytest.mark.parametrize(("returned", "got"), [(X, "a ndarray"), (({}, X, X), "a tuple of 3"), (None, "a NoneType")])
def test_a_vjp_must_return_two_gradients(returned: Any, got: str) -> None:
    _, vjp_fn = as_layer((no_init, lambda params, x: (x, lambda dy: returned))).apply({}, X)
    with pytest.raises(TypeError, match=rf"a vjp_fn must return \(dparams, dx\), got {got}$"):
        vjp_fn(X)


@pytest.mark.parametrize(
    ("dparams", "dx", "error", "message"),
    [
        ({}, X, ValueError, r"must return dparams like params, with \['w'\], got \[\]"),
        ({"v": X[0]}, X, ValueError, r"must return dparams like params, with \['w'\], got \['v'\]"),
        ({"w": X[0], "v": X[0]}, X, ValueError, r"with \['w'\], got \['v', 'w'\]"),
        (X[0], X, ValueError, r"must return dparams like params, with \['w'\], got a ndarray"),
        (None, X, ValueError, r"must return dparams like params, with \['w'\], got a NoneType"),
        ({"w": X}, X, ValueError, r"must return dparams at w like params, of shape \(2,\), got \(2, 2\)"),
        ({"w": X[0, :1]}, X, ValueError, r"must return dparams at w like params, of shape \(2,\), got \(1,\)"),
        ({"w": np.float32(X[0])}, X, TypeError, "dparams at w like params, of dtype float64, got float32"),
        ({"w": None}, X, TypeError, r"must return \(dparams, dx\), got None for dparams at w"),
        ({"w": X[0]}, X[0], ValueError, r"must return dx like x, of shape \(2, 2\), got \(2,\)"),
        ({"w": X[0]}, np.float32(X), TypeError, "must return dx like x, of dtype float64, got float32"),
        ({"w": X[0]}, None, TypeError, r"must return \(dparams, dx\), got None for dx"),
        ({"w": X[0]}, {"x": X}, ValueError, r"must return dx like x, of shape \(2, 2\), got \(\)"),
    ],
)
def test_gradients_unlike_params_and_x_raise(dparams: Any, dx: Any, error: type, message: str) -> None:
    model = with_gradients(dparams, dx)
    for apply, params in ((model.apply, {"w": X[0]}), (fn.serial(model).apply, {"layer_0": {"w": X[0]}})):
        _, vjp_fn = apply(params, X)
        with pytest.raises(error, match=message):
            vjp_fn(X)


def test_an_error_in_a_users_vjp_names_the_layer() -> None:
    _, vjp_fn = fn.serial(fn.relu, with_gradients({}, X)).apply({"layer_0": {"w": X[0]}}, X)
    with pytest.raises(ValueError, match="must return dparams like params") as caught:
        vjp_fn(X)
    assert caught.value.__notes__[0].startswith("in layer layer_0")


def test_dx_is_not_checked_where_it_is_not_wanted() -> None:
    _, vjp_fn = with_gradients({"w": X[0]}, None).apply({"w": X[0]}, X)
    assert vjp_fn(X, input_grad=False)[1] is None
    _, vjp_fn = with_gradients({}, None).apply({"w": X[0]}, X)
    with pytest.raises(ValueError, match="must return dparams like params"):
        vjp_fn(X, input_grad=False)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_only_integers_and_booleans_have_no_gradient(dtype: type) -> None:
    model = as_layer((no_init, lambda params, x: (x + 1.0, lambda dy: ({}, None))))
    _, vjp_fn = model.apply({}, np.ones((2, 2), dtype))
    assert vjp_fn(X) == ({}, None)
    _, vjp_fn = model.apply({}, X)
    with pytest.raises(TypeError, match="got None for dx"):
        vjp_fn(X)


def test_the_gradient_of_a_tree_is_a_tree() -> None:
    x = {"x": X, "mask": np.ones(2, np.bool_)}

    def model(dx: Any) -> Vjp:
        vjp_fn: Vjp = as_layer((no_init, lambda params, x: (x["x"], lambda dy: ({}, dx)))).apply({}, x)[1]
        return vjp_fn

    assert model({"x": X, "mask": None})(X)[1]["x"] is X
    with pytest.raises(ValueError, match=r"must return dx like x, with \['mask', 'x'\], got \['x'\]"):
        model({"x": X})(X)
    with pytest.raises(TypeError, match="got None for dx at x"):
        model({"x": None, "mask": None})(X)


def counting(*, per_example: bool) -> tuple[Layer, list[int]]:
    """A layer, and the sizes of the batches that its ``apply`` and its ``vjp_fn`` get."""
    sizes: list[int] = []

    @layer(per_example=per_example)
    def counted() -> Any:
        def apply(params: Params, x: Array) -> tuple[Array, Vjp]:
            sizes.append(len(x))
            return 2 * x, lambda dy: (sizes.append(len(dy)), ({}, 2 * dy))[1]

        return no_init, apply

    return counted(), sizes


@pytest.mark.parametrize(
    ("per_example", "expected"), [(True, [2, 2, 1]), (False, [5])], ids=["per_example", "across the batch"]
)
def test_only_a_layer_that_claims_per_example_gets_microbatches(per_example: bool, expected: list[int]) -> None:
    one, sizes = counting(per_example=per_example)
    model = fn.serial(fn.relu, one, fn.tanh)
    x = np.random.default_rng(0).random((5, 3))
    with microbatches(2):
        y, vjp_fn = model.apply({}, x)
        assert sorted(sizes, reverse=True) == expected
        _, dx = vjp_fn(np.ones_like(y))
        assert sorted(sizes, reverse=True) == sorted(2 * expected, reverse=True)
        sizes.clear()
        np.testing.assert_array_equal(output(model, {}, x), y)
        assert sorted(sizes, reverse=True) == expected
    np.testing.assert_allclose(y, np.tanh(2 * x))
    np.testing.assert_allclose(dx, 2 * (1 - y * y))


def minus_twice(leaf: Any) -> Any:
    return -2 * leaf


def assert_same(found: Any, expected: Any) -> None:
    """Equal trees of arrays, None where None is expected."""
    a, b = tree.flatten(found), tree.flatten(expected)
    assert a.keys() == b.keys()
    for path, leaf in b.items():
        assert (a[path] is None) == (leaf is None), path
        np.testing.assert_array_equal(a[path], leaf)


@ROWS_OF_FLOATS
def test_a_replaced_apply_is_the_one_that_computes(model: Layer, shape: Any) -> None:
    seen: list[str] = []

    def other(params: Params, x: Array, rng: Any = None) -> tuple[Array, Vjp]:
        def vjp_fn(dy: Any) -> tuple[Params, Any]:
            seen.append("vjp")
            return tree.map(np.zeros_like, params), tree.map(minus_twice, dy)

        seen.append("apply")
        return tree.map(minus_twice, x), vjp_fn

    changed = replace(model, apply=other)
    params, x = model.init(shape, 0), fn.tree.cast(fn.testing.random_batch(shape, 5), np.float32)
    inside, own = fn.serial(named("a", changed)), {"a": params} if params else {}
    for run, p, rng in ((changed, params, None), (changed, params, 0), (inside, own, None), (inside, own, 0)):
        for examples in (None, 2):
            seen.clear()
            with microbatches(examples):
                y, vjp_fn = run.apply(p, x, rng)
                dx = vjp_fn(tree.map(lambda leaf: leaf if leaf.dtype.kind == "f" else None, y))[1]
            assert_same(y, tree.map(minus_twice, x))
            assert_same(dx, tree.map(lambda leaf: 4 * leaf if leaf.dtype.kind == "f" else None, x))
            assert seen == ["apply", "vjp"]
    for run, p in ((changed, params), (inside, own)):
        seen.clear()
        assert_same(output(run, p, x), tree.map(minus_twice, x))
        assert seen == ["apply"]


# Copies


def assert_same_function(one: Layer, other: Layer, shape: Any) -> None:
    """Equal bits of parameters, outputs and gradients, in training and predicting."""
    x = fn.tree.cast(fn.testing.random_batch(shape, 4), np.float32)
    found = []
    for model in (one, other):
        fresh = model.init(shape, 5)
        params = fn.calibrate(model, fresh, x)
        bits = [tree.map(np.copy, fresh)]
        for rng in (None, 3):
            y, vjp_fn = model.apply(params, x, rng)
            grads, dx = vjp_fn(tree.map(lambda leaf: leaf if leaf.dtype.kind == "f" else None, y))
            bits.append({"y": y, "grads": grads, "dx": dx})
        found.append(
            [
                (path, None if leaf is None else (leaf.dtype, leaf.tobytes()))
                for b in bits
                for path, leaf in tree.flatten(b).items()
            ]
        )
    assert found[0] == found[1]


@ROWS
def test_a_copy_of_every_layer_is_the_same_layer(model: Layer, shape: Any) -> None:
    if model.kind == "elementwise":
        with pytest.raises(TypeError, match="layer elementwise: it has no recorded call"):
            pickle.dumps(model)
        return
    for how, copied in COPIES.items():
        again = copied(model)
        assert repr(again) == repr(model), how
        assert fn.to_json(again) == fn.to_json(model), how
        assert_same_function(again, model, shape)


@layer
def block(units: int, *others: Any, w_init: Any = fn.initializers.he_normal, **options: Any) -> Any:
    """A user's constructor that puts layers together."""
    return fn.serial(fn.dense(units, w_init=w_init, **options), *others)


@layer(per_example=True)
def scale(by: float = 2.0, *, dtype: Any = np.float32) -> Any:
    """A user's constructor that returns a pair."""
    return lambda shape, rng: {"w": np.full(shape[-1:], by, dtype)}, lambda params, x: (
        x * params["w"],
        lambda dy: ({"w": (dy * x).sum(tuple(range(x.ndim - 1)))}, dy * params["w"]),
    )


def module_init(shape: Any, rng: Any) -> Params:
    return {}


def module_apply(params: Params, x: Array) -> tuple[Array, Vjp]:
    return -x, lambda dy: ({}, -dy)


MODELS = {
    "user's": fn.serial(block(3, fn.named("bend", fn.tanh), scale(3.0), use := scale(), use, bias=False), scale()),
    "named": fn.named("root", fn.serial(fn.named("a", fn.relu), fn.named("b", block(2)))),
    "initializers": block(
        3, fn.dense(2, w_init=fn.initializers.normal(std=0.2)), w_init=fn.initializers.uniform(low=-1, high=1)
    ),
    "default given": block(3, w_init=fn.initializers.he_normal),
    "other default": block(3, w_init=fn.initializers.glorot_uniform),
    "rebuilt": fn.rebuild(
        fn.serial(block(3, fn.relu), fn.residual(fn.relu, fn.dense(3)), fn.relu),
        lambda path, own: fn.tanh if own.kind == "relu" else own,
    ),
    "rebuilt graph": fn.rebuild(
        fn.graph({"a": (fn.relu, "input"), "y": (fn.merge("add"), ("a", "input"))}, "y"),
        lambda path, own: fn.sigmoid if path == "a" else own,
    ),
    "a pair inside": fn.serial(fn.dense(2), (module_init, module_apply)),
}


@pytest.mark.parametrize("how", ["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize("name", MODELS)
def test_a_copy_of_a_model_is_the_same_model(name: str, how: str) -> None:
    model = MODELS[name]
    again = COPIES[how](model)
    assert again is not model
    assert (repr(again), again.name, list(again.children)) == (repr(model), model.name, list(model.children))
    if name != "a pair inside":
        assert fn.to_json(again) == fn.to_json(model)
    assert_same_function(again, model, (3,))


def test_a_rebuilt_model_is_written_as_it_is_now() -> None:
    text = fn.to_json(MODELS["rebuilt"])
    assert '"relu"' not in text
    assert repr(fn.from_json(text)) == repr(MODELS["rebuilt"])


def test_a_copy_of_a_layer_without_arguments_is_the_very_same() -> None:
    for one in (fn.relu, fn.flatten, fn.identity, fn.global_avg_pool2d):
        assert all(COPIES[how](one) is one for how in COPIES)
    head = fn.named("head", fn.relu)
    assert all(COPIES[how](head).apply is fn.relu.apply for how in COPIES)
    assert all(COPIES[how](head).name == "head" for how in COPIES)


def with_another_apply(model: Layer) -> Layer:
    """The layer, with an ``apply`` that its record does not describe."""
    return replace(model, apply=lambda params, x: model.apply(params, x))


@pytest.mark.parametrize("save", [pickle.dumps, copy.copy, copy.deepcopy, fn.to_json])
@pytest.mark.parametrize(
    ("model", "path"),
    [
        (with_another_apply(fn.dense(2)), "dense"),
        (fn.serial(fn.relu, fn.residual(fn.named("a", with_another_apply(fn.dense(2))))), "residual_0/a"),
        (fn.graph({"y": (with_another_apply(fn.dense(2)), "input")}, "y"), "y"),
        (fn.serial(block(2, with_another_apply(fn.dense(2)))), "block_0/dense_1"),
        (fn.serial(with_another_apply(fn.serial(fn.dense(2)))), "serial_0"),
    ],
)
def test_a_layer_with_another_apply_is_not_copied(model: Layer, path: str, save: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=rf"layer {path}: its apply is not the one that \w+ made, so the recorded"):
        save(model)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize(
    ("model", "path"),
    [
        (as_layer((no_init, double)), "layer"),
        (named("pair", (no_init, double)), "layer"),
        (fn.serial(fn.relu, fn.residual(as_layer((no_init, double)))), "residual_0/layer_0"),
        (fn.elementwise(np.sin, lambda x, y: np.cos(x), name="sine"), "sine"),
        (named("a", fn.elementwise(np.sin, lambda x, y: np.cos(x), name="relu")), "relu"),
        (with_another_apply(fn.relu), "relu"),
        (fn.serial(named("a", with_another_apply(fn.relu))), "a"),
    ],
)
def test_a_layer_without_a_record_is_not_copied(model: Layer, path: str, copied: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=rf"layer {path}: it has no recorded call, .* decorate it with @fn.layer"):
        copied(model)


def test_a_users_constructor_may_change_the_apply_of_a_combinator() -> None:
    @layer
    def negated(*layers: Any) -> Any:
        inner = fn.serial(*layers)

        def apply(params: Params, x: Array, rng: Any = None) -> tuple[Array, Vjp]:
            y, vjp_fn = inner.apply(params, x, rng)
            return -y, lambda dy: vjp_fn(-dy)

        return replace(inner, apply=apply)

    model = negated(fn.relu, fn.tanh)
    np.testing.assert_array_equal(model.apply({}, X)[0], -np.tanh(X))
    assert_same_function(copy.copy(model), model, (3,))
    # ``rebuild`` makes it again by the user's constructor, and not by the record of the serial inside.
    np.testing.assert_array_equal(fn.trace(model, {}, X)[-1].y, -np.tanh(X))


@pytest.mark.parametrize("model", [fn.dense(3), fn.relu, fn.softmax, fn.flatten, fn.batch_norm(), fn.add(fn.relu)])
def test_a_gradient_unlike_the_output_raises(model: fn.Layer) -> None:
    x = np.ones((2, 3), np.float32)
    y, vjp_fn = model.apply(model.init((3,), 0), x, rng=0)
    with pytest.raises(ValueError, match=r"vjp_fn expects dy like y, of shape \(2, 3\), got \(3,\)"):
        vjp_fn(np.ones(3, np.float32))
    with pytest.raises(TypeError, match="vjp_fn expects dy like y, of dtype float32, got float64"):
        vjp_fn(np.ones_like(y, np.float64))


def test_elementwise_multiplies_by_the_derivative() -> None:
    cube = fn.elementwise(lambda x: x**3, lambda x, y: 3 * x * x, name="cube")
    y, vjp_fn = cube.apply({}, np.array([[2.0, -1.0]]))
    assert y.tolist() == [[8, -1]]
    grads, dx = vjp_fn(np.array([[1.0, 10.0]]))
    assert grads == {}
    assert dx is not None
    assert dx.tolist() == [[12, 30]]
    assert repr(cube) == "cube"


def test_a_claim_about_a_layer_that_is_in_use_elsewhere_is_none_about_that_one() -> None:
    shared = fn.as_layer((lambda shape, rng: {}, lambda params, x: (x - x.mean(0), lambda dy: ({}, dy - dy.mean(0)))))
    claims = layer(per_example=True, per_position=True)(lambda: shared)()
    assert (claims.apply.per_example, claims.apply.per_position) == (True, True)  # type: ignore[attr-defined]
    assert not shared.apply.per_example  # type: ignore[attr-defined]
    assert not hasattr(shared.apply, "per_position")
