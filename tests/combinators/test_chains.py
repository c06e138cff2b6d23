"""Combinators: names, keys, paths in errors, and gradients checked by hand."""

import weakref
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array, Params, Rng
from funcnn.engine.microbatch import output
from funcnn.layers.merge import MERGES
from funcnn.protocol import Layer, Vjp
from funcnn.rng import fold
from funcnn.testing import random_batch, table_of_layers


def times(factor: float) -> Any:
    """y = factor * x, as a bare pair."""
    return (lambda shape, rng: {}), (lambda params, x: (factor * x, lambda dy: ({}, factor * dy)))


def test_children_are_called_by_kind_and_count() -> None:
    model = fn.serial(
        fn.conv2d(2, 1), fn.relu, fn.conv2d(2, 1), fn.named("head", fn.dense(1)), fn.dense(1), times(2), times(3)
    )
    names = ["conv2d_0", "relu_0", "conv2d_1", "head", "dense_1", "layer_0", "layer_1"]
    assert list(model.children) == names


def test_adding_a_relu_renames_nothing() -> None:
    plain, bent = fn.serial(fn.dense(3), fn.dense(2)), fn.serial(fn.dense(3), fn.relu, fn.dense(2))
    a, b = plain.init((4,), 0), bent.init((4,), 0)
    assert fn.tree.paths(a) == fn.tree.paths(b)
    # The children's keys are folded from their names, so their first weights stay too.
    assert all(np.array_equal(p, q) for p, q in zip(fn.tree.leaves(a), fn.tree.leaves(b), strict=True))


def test_each_child_begins_with_weights_of_its_own() -> None:
    params = fn.repeat(fn.dense(3), 2).init((3,), 0)
    assert not np.array_equal(params["dense_0"]["w"], params["dense_1"]["w"])


def test_layers_without_parameters_leave_no_entry() -> None:
    assert fn.serial(fn.relu, fn.serial(fn.tanh), fn.flatten).init((3,), 0) == {}
    assert fn.add(fn.relu, fn.dense(3)).init((3,), 0).keys() == {"dense_0"}


@pytest.mark.parametrize("build", [fn.serial, fn.residual, fn.add, fn.concat])
def test_two_children_of_one_name_raise(build: Any) -> None:
    with pytest.raises(ValueError, match=r"two layers are called 'a'; give one of them another name with named\("):
        build(fn.named("a", fn.relu), fn.named("a", fn.tanh))


def test_serial_is_the_chain_rule() -> None:
    model = fn.serial(times(2), fn.dense(1, bias=False), times(5))
    params = {"dense_0": {"w": np.array([[3.0], [4.0]])}}
    y, vjp_fn = model.apply(params, np.array([[1.0, 10.0]]))
    assert y.tolist() == [[5 * (2 * 3 + 20 * 4)]]
    grads, dx = vjp_fn(np.array([[1.0]]))
    assert grads["dense_0"]["w"].tolist() == [[10], [100]]
    assert dx is not None
    assert dx.tolist() == [[30, 40]]


def test_an_empty_serial_is_the_identity() -> None:
    y, vjp_fn = fn.serial().apply({}, np.ones((2, 3)))
    assert y.tolist() == np.ones((2, 3)).tolist()
    assert vjp_fn(y)[0] == {}


def test_residual_add_and_concat_by_hand() -> None:
    x, dy = np.array([[1.0, -2.0]]), np.array([[1.0, 10.0]])
    y, vjp_fn = fn.residual(times(3), times(2)).apply({}, x)
    assert (y.tolist(), vjp_fn(dy)[1].tolist()) == ([[7, -14]], [[7, 70]])  # type: ignore[union-attr]
    y, vjp_fn = fn.add(times(3), times(2), fn.relu).apply({}, x)
    assert (y.tolist(), vjp_fn(dy)[1].tolist()) == ([[6, -10]], [[6, 50]])  # type: ignore[union-attr]
    y, vjp_fn = fn.concat(times(3), fn.relu).apply({}, x)
    assert y.tolist() == [[3, -6, 1, 0]]
    _, dx = vjp_fn(np.array([[1.0, 10.0, 100.0, 1000.0]]))
    assert dx is not None
    assert dx.tolist() == [[103, 30]]


def test_concat_splits_unequal_parts_along_any_axis() -> None:
    model = fn.concat(fn.upsample2d((2, 1)), fn.identity, axis=1)
    y, vjp_fn = model.apply({}, np.arange(4.0).reshape(1, 2, 2, 1))
    assert y[0, :, :, 0].tolist() == [[0, 1], [0, 1], [2, 3], [2, 3], [0, 1], [2, 3]]
    _, dx = vjp_fn(np.arange(12.0).reshape(y.shape))
    assert dx is not None
    assert dx[0, :, :, 0].tolist() == [[0 + 2 + 8, 1 + 3 + 9], [4 + 6 + 10, 5 + 7 + 11]]


def key_teller(told: list[Any]) -> Layer:
    """A layer that records its key."""

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        told.append(rng)
        return x, lambda dy: ({}, dy)

    return fn.as_layer(((lambda shape, rng: {}), apply))


@pytest.mark.parametrize("build", [fn.serial, fn.residual, fn.add, fn.concat])
def test_the_key_of_a_child_is_folded_with_its_name_and_none_stays_none(build: Any) -> None:
    told: list[Any] = []
    model = build(fn.named("a", key_teller(told)), fn.named("b", key_teller(told)))
    x = np.ones((1, 2))
    model.apply({}, x, rng=(0, 7))
    model.apply({}, x, rng=3)
    model.apply({}, x)
    assert told == [fold((0, 7), "a"), fold((0, 7), "b"), fold(3, "a"), fold(3, "b"), None, None]


def test_the_input_gradient_is_not_computed_where_nobody_wants_it() -> None:
    asked: list[bool] = []

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            asked.append(input_grad)
            return {"w": np.zeros(1)}, dy if input_grad else None

        return x, vjp_fn

    learning = fn.as_layer(((lambda shape, rng: {"w": np.zeros(1, np.float32)}), apply))
    model = fn.serial(fn.relu, fn.serial(learning, learning))
    params = {"serial_0": {"layer_0": {"w": np.zeros(1)}, "layer_1": {"w": np.zeros(1)}}}
    y, vjp_fn = model.apply(params, np.ones((2, 3)))
    grads, dx = vjp_fn(np.ones_like(y), input_grad=False)
    assert dx is None
    assert fn.tree.paths(grads) == fn.tree.paths(params)
    # From the last to the first: only the first layer that learns is spared, and the relu before it is not asked.
    assert asked == [True, False]


@pytest.mark.parametrize("build", [fn.serial, fn.residual, fn.add, fn.concat])
def test_gradients_stand_in_the_order_of_the_parameters(build: Any) -> None:
    model = build(fn.named("z", fn.dense(3)), fn.named("a", fn.dense(3)))
    params = model.init((3,), 0)
    y, vjp_fn = model.apply(params, np.ones((2, 3), np.float32))
    assert list(vjp_fn(np.ones_like(y))[0]) == list(params) == ["z", "a"]


def test_keyword_typos_are_not_swallowed() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'axes'"):
        fn.concat(fn.relu, axes=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: fn.add(), "add: expected at least one layer"),
        (lambda: fn.concat(), "concat: expected at least one layer"),
        (lambda: fn.concat(fn.relu, axis=0), "concat: axis 0 is the batch axis"),
        (lambda: fn.repeat(fn.relu, 0), "repeat: times must be a whole number >= 1, got 0"),
        (lambda: fn.repeat(fn.relu, 2.0), "repeat: times must be a whole number >= 1, got 2.0"),  # type: ignore[arg-type]
        (lambda: fn.repeat(fn.named("a", fn.relu), 2), "two layers are called 'a'"),
    ],
)
def test_impossible_combinations_raise_when_built(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (fn.residual(fn.dense(4)), r"they must keep its shape, got \(1, 4\)"),
        (fn.add(fn.dense(4), fn.dense(3)), r"add: the branches return different shapes, \[\(1, 4\), \(1, 3\)\]"),
        (fn.concat(fn.relu, fn.reshape(3, 1)), r"concat: shapes \[\(1, 3\), \(1, 3, 1\)\] differ in more than axis -1"),
        (fn.concat(fn.relu, axis=2), r"concat: no axis 2 to join in arrays of shape \(1, 3\)"),
    ],
)
def test_branches_that_do_not_fit_raise(model: Layer, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fn.serial(model).init((3,), 0)
    with pytest.raises(ValueError, match=r"in layer outer/.*_0, with an input of shape"):
        fn.serial(fn.named("outer", fn.serial(model))).init((3,), 0)


@pytest.mark.parametrize("wrong", [3, "28", (3.0,), (-1, 2), None])
def test_init_wants_the_shape_of_one_example(wrong: Any) -> None:
    with pytest.raises(TypeError, match="init: shape is that of one example, a tuple of ints such as"):
        fn.serial(fn.relu).init(wrong, 0)


NESTED = fn.serial(fn.named("stem", fn.serial(fn.dense(4), fn.relu)), fn.named("head", fn.dense(2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"stem": {"dense_0": {"w": np.zeros((3, 5))}}},
            r"dense: expected parameter 'w' of shape \('any', 4\), got \(3, 5\)",
        ),
        ({"stem": {"dense_0": {"w": np.zeros((3, 4))}}}, r"dense: expected a parameter 'b', got \['w'\]"),
        ({"stem": {"conv2d_0": {}}}, r"no layer is called \['conv2d_0'\], there are \['dense_0', 'relu_0'\]"),
        ({"stem": {}}, r"dense: expected a parameter 'w', got \[\]"),
        ({"trunk": {}}, r"no layer is called \['trunk'\], there are \['stem', 'head'\]"),
    ],
)
def test_parameters_of_another_model_raise_with_their_path(change: Params, message: str) -> None:
    params = fn.tree.cast(NESTED.init((3,), 0), np.float64) | change
    with pytest.raises(ValueError, match=message) as caught:
        NESTED.apply(params, np.ones((2, 3)))
    assert "another model" in str(caught.value)
    if "stem" in change:
        assert caught.value.__notes__[0].startswith("in layer stem")


def test_an_error_in_the_backward_pass_names_the_layer() -> None:
    def apply(params: Params, x: Array) -> tuple[Array, Vjp]:
        def vjp_fn(dy: Array) -> tuple[Params, Array]:
            raise RuntimeError("broken")

        return x, vjp_fn

    for build in (fn.serial, fn.residual, fn.add, fn.concat):
        model = fn.serial(fn.named("outer", build(fn.named("inner", ((lambda shape, rng: {}), apply)))))
        y, vjp_fn = model.apply({}, np.ones((1, 2)))
        with pytest.raises(RuntimeError, match=r"in layer outer/inner"):
            vjp_fn(y)


@pytest.mark.parametrize("row", table_of_layers(), ids=lambda row: f"{row[0]!r} on {row[1]}")
def test_predicting_gives_the_bits_that_apply_gives(row: tuple[Layer, Any]) -> None:
    layer, shape = row
    x = fn.tree.cast(random_batch(shape, 5), np.float32)
    y, _ = layer.apply(fn.calibrate(layer, layer.init(shape, 0), x), x)
    twice = fn.branch(a=layer, b=layer) if isinstance(y, dict) else fn.add(layer, layer)
    for model in (layer, fn.serial(layer), fn.serial(fn.serial(layer), fn.identity), twice):
        params = fn.calibrate(model, model.init(shape, 0), x)
        y, _ = model.apply(params, x)
        found = fn.tree.flatten(output(model, params, x))
        assert all(np.array_equal(found[path], leaf) for path, leaf in fn.tree.flatten(y).items())


def test_predicting_keeps_nothing_that_the_next_layers_do_not_need() -> None:
    alive: list[int] = []
    seen: list[weakref.ref[Array]] = []

    def apply(params: Params, x: Array) -> tuple[Array, Any]:
        alive.append(sum(ref() is not None for ref in seen))
        y = x + 1
        seen.append(weakref.ref(y))
        return y, lambda dy: ({}, dy * x)

    double = Layer(lambda shape, rng: {}, lambda params, x, rng=None: apply(params, x))
    # The backward pass of a layer that looks across the batch is freed before the next layer runs too.
    model = fn.serial(double, fn.batch_norm(), double, double)
    params = fn.tree.cast(model.init((3,), 0), np.float64)
    params["batch_norm_0"] |= {"mean": np.zeros(3), "var": np.ones(3)}
    alive.clear()
    seen.clear()
    fn.predict(model, params, np.zeros((2, 3)))
    assert alive == [0, 0, 1]
    alive.clear()
    seen.clear()
    model = fn.serial(double, fn.residual(double), fn.serial(double, double), double)
    x = np.zeros((2, 3))
    assert fn.predict(model, {}, x).tolist() == [[6.0] * 3] * 2
    # No layer finds more than its own input there, inside the residual also the one that is added.
    assert max(alive) <= 2
    alive.clear()
    seen.clear()
    _, vjp_fn = model.apply({}, x)
    # Every input is kept for the backward pass; what the residual's layer returned is not, once it has been added.
    assert alive == [0, 1, 1, 2, 3]
    del vjp_fn


def test_errors_while_predicting_name_the_layer() -> None:
    model = fn.serial(fn.named("stem", fn.serial(fn.dense(3))), fn.residual(fn.dense(3)))
    params = model.init((4,), 0)
    params["stem"]["dense_0"]["w"] = params["stem"]["dense_0"]["w"][:2]
    with pytest.raises(ValueError, match="expected 2 channels") as caught:
        fn.predict(model, params, np.zeros((1, 4), np.float32))
    assert caught.value.__notes__ == ["in layer stem/dense_0, with an input of shape (1, 4)"]
    with pytest.raises(ValueError, match="no layer is called"):
        fn.predict(model, {"other": {}}, np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="must keep its shape"):
        fn.predict(fn.residual(fn.dense(3)), fn.serial(fn.dense(3)).init((4,), 0), np.zeros((1, 4), np.float32))


def test_a_graph_by_hand() -> None:
    nodes = {
        "y": (fn.merge("add"), ("a", "b")),
        "b": (fn.serial(times(3), fn.relu), "input"),
        "a": (times(2), "input"),
    }
    model = fn.graph(nodes, output="y")
    y, vjp_fn = model.apply({}, np.array([[1.0, -2.0]]))
    assert y.tolist() == [[5, -4]]
    assert vjp_fn(np.array([[1.0, 10.0]]))[1].tolist() == [[5, 20]]
    assert list(model.children) == ["y", "b", "a"]
    assert dict(model.wiring) == {"a": ("input",), "b": ("input",), "y": ("a", "b")}


@pytest.mark.parametrize(
    ("nodes", "output", "message"),
    [
        ({"a": (fn.relu, "b")}, "a", r"graph: node 'a' has unknown inputs \['b'\]; there are \['input', 'a'\]"),
        ({"a": (fn.relu, "b"), "b": (fn.relu, "a")}, "a", "graph: there is a cycle through"),
        ({"a": (fn.relu, "input")}, "b", "graph: the output 'b' is not a node"),
        ({"a": (fn.relu, "input"), "b": (fn.relu, "input")}, "a", r"graph: the output 'a' does not depend on \['b'\]"),
        ({"a": (fn.relu, ())}, "a", "graph: node 'a' has no inputs"),
        ({"a": (fn.merge("add"), ("input", "input"))}, "a", "graph: node 'a' names an input twice"),
        ({"input": (fn.relu, "input")}, "input", "graph: a node's name is a string without '/' and not 'input'"),
        ({"a/b": (fn.relu, "input")}, "a/b", "graph: a node's name is a string without '/'"),
    ],
)
def test_graphs_that_cannot_be_computed_raise(nodes: Any, output: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fn.graph(nodes, output)


@pytest.mark.parametrize("nodes", [{}, [], {"a": fn.relu}, {"a": (fn.relu,)}, {"a": (3, "input")}])
def test_a_graph_is_a_dict_of_layers_and_inputs(nodes: Any) -> None:
    with pytest.raises(TypeError, match=r"graph: |a layer is a Layer or a tuple"):
        fn.graph(nodes, "a")


@pytest.mark.parametrize(
    ("how", "y", "da", "db"),
    [
        ("add", [[5, 9]], [[1, 10]], [[1, 10]]),
        ("multiply", [[6, 20]], [[3, 50]], [[2, 40]]),
        ("average", [[2.5, 4.5]], [[0.5, 5]], [[0.5, 5]]),
        ("concat", [[3, 5, 2, 4]], [[3, 4]], [[1, 2]]),
        ("dot", [[26]], [[3, 5]], [[2, 4]]),
    ],
)
def test_merges_by_hand(how: str, y: Any, da: Any, db: Any) -> None:
    # The order is that of the names: b before a.
    xs = {"a": np.array([[2.0, 4.0]]), "b": np.array([[3.0, 5.0]])}
    found, vjp_fn = fn.merge(how, "b", "a").apply({}, xs)
    assert found.tolist() == y
    dy = {"concat": [[1.0, 2.0, 3.0, 4.0]], "dot": [[1.0]]}.get(how, [[1.0, 10.0]])
    _, dx = vjp_fn(np.array(dy))
    assert isinstance(dx, dict)
    assert (dx["a"].tolist(), dx["b"].tolist()) == (da, db)


@pytest.mark.parametrize("how", ["add", "average", "concat"])
def test_a_sum_does_not_keep_its_terms_for_the_backward_pass(how: Any) -> None:
    a, b = np.ones((2, 3)), np.ones((2, 3))
    terms = weakref.ref(a), weakref.ref(b)
    y, vjp_fn = MERGES[how](how, [a, b])
    del a, b
    assert [term() for term in terms] == [None, None]
    assert [dx.shape for dx in vjp_fn(np.ones_like(y))] == [(2, 3), (2, 3)]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: fn.merge("max"), "merge: unknown way 'max', expected one of"),
        (lambda: fn.merge("add").apply({}, np.ones((1, 2))), r"merge\('add'\): expected a dict of the inputs"),
        (lambda: fn.merge("add", "a").apply({}, {"a": np.ones((1, 2)), "b": np.ones((1, 2))}), r"inputs \['a'\], got"),
        (lambda: fn.merge("add").apply({}, {"a": np.ones((1, 2)), "b": np.ones((1, 3))}), "different shapes"),
        (lambda: fn.merge("dot").apply({}, {"a": np.ones((1, 2))}), "expected two inputs, got 1"),
        (lambda: fn.merge("dot", "a"), "expected two inputs, got 1"),
        (lambda: fn.merge("dot").apply({}, {"a": np.ones(2), "b": np.ones(2)}), r"\(batch, ..., features\), got shape"),
        (lambda: fn.merge("add", "a", "a"), r"expected the names of different inputs, got \['a', 'a'\]"),
    ],
)
def test_merges_that_do_not_fit_raise(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


X = {"a": np.ones((1, 2)), "b": np.ones((1, 2), np.float32)}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (fn.merge("add"), "expected inputs of one dtype, got {'a': 'float64', 'b': 'float32'}"),
        (fn.residual(fn.on("a", fn.relu)), r"residual: expected arrays, got a dict of \['a', 'b'\]"),
        (fn.add(fn.on("a", fn.relu), fn.identity), r"add: expected arrays, got a dict of \['a', 'b'\]"),
    ],
)
def test_inputs_that_cannot_be_merged_raise(layer: fn.Layer, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        layer.apply({}, X)
