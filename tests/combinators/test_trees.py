"""Trees of arrays through models: several inputs and outputs by hand, dtypes, names, and random graphs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array, Params
from funcnn.protocol import Vjp
from funcnn.testing import check_layer, microbatches


def times(factor: float) -> Any:
    """y = factor * x, as a bare pair."""
    return (lambda shape, rng: {}), (lambda params, x: (factor * x, lambda dy: ({}, factor * dy)))


A, B = np.array([[1.0, 2.0]]), np.array([[5.0]])


def test_parallel_and_branch_by_hand() -> None:
    y, vjp_fn = fn.parallel(a=times(2), b=times(3)).apply({}, {"b": B, "a": A})
    assert {name: leaf.tolist() for name, leaf in y.items()} == {"a": [[2, 4]], "b": [[15]]}
    _, dx = vjp_fn({"a": np.ones((1, 2)), "b": None})
    assert {name: leaf.tolist() for name, leaf in dx.items()} == {"a": [[2, 2]], "b": [[0]]}
    y, vjp_fn = fn.branch(a=times(2), b=times(3)).apply({}, A)
    assert {name: leaf.tolist() for name, leaf in y.items()} == {"a": [[2, 4]], "b": [[3, 6]]}
    _, dx = vjp_fn({"a": np.array([[1.0, 0.0]]), "b": np.array([[1.0, 1.0]])})
    assert dx.tolist() == [[5, 3]]
    # A head that the loss does not depend on brings nothing; none of them, zero.
    assert vjp_fn({"a": None, "b": np.ones((1, 2))})[1].tolist() == [[3, 3]]
    assert vjp_fn({"a": None, "b": None})[1].tolist() == [[0, 0]]


def test_on_and_select_by_hand() -> None:
    x = {"a": A, "b": B, "mask": np.array([[True]])}
    y, vjp_fn = fn.on("a", times(2)).apply({}, x)
    assert (y["a"].tolist(), y["b"] is B, y["mask"] is x["mask"]) == ([[2, 4]], True, True)
    _, dx = vjp_fn({"a": np.ones((1, 2)), "b": np.ones((1, 1)), "mask": None})
    assert (dx["a"].tolist(), dx["b"].tolist(), dx["mask"]) == ([[2, 2]], [[1]], None)
    y, vjp_fn = fn.select("b").apply({}, x)
    assert y is B
    _, dx = vjp_fn(B)
    assert (dx["a"].tolist(), dx["b"].tolist(), dx["mask"]) == ([[0, 0]], [[5]], None)


def test_a_graph_reads_leaves_of_its_input() -> None:
    nodes = {"h": (times(2), "input/in/a"), "y": (fn.merge("add"), ("h", "input/b"))}
    y, vjp_fn = fn.graph(nodes, "y").apply({}, {"in": {"a": A, "c": A}, "b": A})
    assert y.tolist() == [[3, 6]]
    _, dx = vjp_fn(A)
    assert fn.tree.map(np.ndarray.tolist, dx) == {"in": {"a": [[2, 4]], "c": [[0, 0]]}, "b": [[1, 2]]}


def lookup(params: Params, x: Array) -> tuple[Array, Vjp]:
    def vjp_fn(dy: Array) -> tuple[Params, None]:
        dw = np.zeros_like(params["w"])
        np.add.at(dw, x, dy)
        return {"w": dw}, None

    return params["w"][x], vjp_fn


EMBED = (lambda shape, rng: {"w": np.ones((3, 2), np.float32)}), lookup


def test_init_passes_on_shapes_and_dtypes() -> None:
    seen: list[Any] = []

    def init(shape: Any, rng: Any) -> Params:
        seen.append((shape, getattr(shape, "dtype", None)))
        return {}

    watching = init, lambda params, x: (x, lambda dy: ({}, dy))
    model = fn.serial(watching, fn.on("tokens", EMBED), watching, fn.select("tokens"), watching)
    shape = {"tokens": fn.spec((4,), int), "mask": fn.spec((4,), bool), "x": (3,)}
    params = model.init(shape, 0)
    assert [dtype for _, dtype in seen] == [None] * 3
    assert [found for found, _ in seen] == [
        {"tokens": (4,), "mask": (4,), "x": (3,)},
        {"tokens": (4, 2), "mask": (4,), "x": (3,)},
        (4, 2),
    ]
    assert (seen[0][0]["tokens"].dtype, seen[1][0]["mask"].dtype) == (np.dtype(int), np.dtype(bool))
    x = {"tokens": np.array([[0, 1, 1, 2]]), "mask": np.ones((1, 4), bool), "x": np.ones((1, 3), np.float32)}
    y, vjp_fn = model.apply(params, x, rng=0)
    grads, dx = vjp_fn(np.ones_like(y))
    assert grads["on_0"]["tokens"]["w"].tolist() == [[1, 1], [2, 2], [1, 1]]
    assert (dx["tokens"], dx["mask"], dx["x"].tolist()) == (None, None, [[0, 0, 0]])


def test_specs_are_tuples_with_a_dtype() -> None:
    tokens = fn.spec((5,), np.int64)
    assert tokens == (5,)
    assert (repr(tokens), tokens.dtype, tokens[-1]) == ("spec((5,), 'int64')", np.dtype(np.int64), 5)
    x = {"x": np.zeros((2, 5, 3), np.float32), "m": {"mask": np.ones((2, 5), bool)}}
    assert fn.specs(x) == {"x": (5, 3), "m": {"mask": (5,)}}
    with pytest.raises(TypeError, match="spec: shape is that of one example"):
        fn.spec(5, int)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"spec: expected a dtype of numbers or bool, got <U3"):
        fn.spec((5,), "U3")


def test_a_chain_takes_the_specs_of_float64_inputs() -> None:
    """The parameters of init are float32, and so is the example on which it runs."""
    x = np.ones((2, 3))
    model = fn.serial(fn.dense(4), fn.relu, fn.dense(2))
    params = model.init(fn.specs(x), 0)
    assert {leaf.dtype.name for leaf in fn.tree.flatten(params).values()} == {"float32"}
    assert model.apply(fn.tree.cast(params, np.float64), x)[0].dtype == np.float64


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (
            fn.parallel(a=fn.relu),
            {"a": A, "b": B},
            r"parallel: expected a dict of the inputs \['a'\], got {'a': \(1, 2\)",
        ),
        (fn.parallel(a=fn.relu), A, r"parallel: expected a dict of the inputs \['a'\], got \(1, 2\)"),
        (fn.on("a", fn.relu), {"b": B}, "on: expected an input with 'input/a', got {'b'"),
        (fn.select("a"), {"b": B}, "select: expected an input with 'a', got {'b'"),
        (fn.select("a"), A, r"select: expected an input with 'a', got \(1, 2\)"),
    ],
)
def test_inputs_with_other_names_raise(model: fn.Layer, x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.apply({}, x)
    with pytest.raises(ValueError, match=message):
        fn.predict(model, {}, x)


@pytest.mark.parametrize("build", [fn.parallel, fn.branch])
def test_names_of_children_are_parts_of_paths(build: Any) -> None:
    for name in ("a/b", "", "input"):
        with pytest.raises(ValueError, match=r"a layer's name is a string|may not be called 'input'"):
            build(**{name: fn.relu})
    with pytest.raises(ValueError, match="expected at least one layer, by name"):
        build()


def test_a_dy_that_is_not_like_y_raises_with_the_name() -> None:
    _, vjp_fn = fn.branch(a=fn.relu, b=fn.tanh).apply({}, A)
    with pytest.raises(ValueError, match=r"branch: vjp_fn expects dy like y, a dict of \['a', 'b'\], got \['a'\]"):
        vjp_fn({"a": A})
    with pytest.raises(
        ValueError, match=r"branch, output 'b': vjp_fn expects dy like y, of shape \(1, 2\), got \(1, 1\)"
    ):
        vjp_fn({"a": A, "b": B})
    with pytest.raises(TypeError, match="branch, output 'b': vjp_fn expects dy like y, of dtype float64, got float32"):
        vjp_fn({"a": A, "b": A.astype(np.float32)})


def test_errors_name_the_child() -> None:
    model = fn.serial(fn.parallel(image=fn.serial(fn.conv2d(2, 9)), table=fn.dense(2)))
    with pytest.raises(ValueError, match="conv2d: a window of") as caught:
        model.init({"image": (4, 4, 1), "table": (3,)}, 0)
    assert caught.value.__notes__[0].startswith(
        "in layer parallel_0/image/conv2d_0, with an input of shape (1, 4, 4, 1)"
    )


@st.composite
def graphs(draw: st.DrawFn) -> tuple[fn.Layer, dict[str, tuple[int, ...]]]:
    """Any acyclic graph over two inputs, with layers of one, two or more inputs; all values have three elements."""
    nodes: dict[str, Any] = {}
    values = ["input/a", "input/b"]
    singles = [fn.tanh, fn.dense(3), fn.batch_norm(), fn.dropout(0.2), fn.residual(fn.dense(3), fn.batch_norm())]
    for number in range(draw(st.integers(1, 6))):
        inputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))
        how = draw(st.sampled_from(["add", "multiply", "average"]))
        nodes[f"n{number}"] = (fn.merge(how) if len(inputs) > 1 else draw(st.sampled_from(singles)), tuple(inputs))
        values.append(f"n{number}")
    # What nothing depends on goes into the output.
    used = {source for _, inputs in nodes.values() for source in inputs}
    ends = [name for name in nodes if name not in used]
    nodes["y"] = (fn.merge("add") if len(ends) > 1 else fn.tanh, tuple(ends))
    return fn.graph(nodes, "y"), {"a": (3,), "b": (3,)}


@settings(max_examples=40)
@given(graphs())
def test_random_graphs_keep_every_law(case: tuple[fn.Layer, dict[str, tuple[int, ...]]]) -> None:
    check_layer(*case, batch=4)


@settings(max_examples=40)
@given(graphs(), st.integers(1, 4))
def test_random_graphs_cut_give_what_the_whole_gives(
    case: tuple[fn.Layer, dict[str, tuple[int, ...]]], examples: int
) -> None:
    model, shape = case
    x = fn.testing.random_batch(shape, 5)
    params = fn.calibrate(model, fn.tree.cast(model.init(shape, 0), np.float64), x)
    expected = fn.predict(model, params, x)
    with microbatches(examples):
        np.testing.assert_allclose(fn.predict(model, params, x), expected, rtol=1e-9, atol=1e-9)


TREES = st.recursive(
    st.sampled_from([(2,), (3, 2), fn.spec((2,), int), fn.spec((2,), bool)]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@given(TREES, st.integers(0, 5), st.integers(1, 3))
def test_any_tree_passes_through_and_back(shape: Any, n: int, examples: int) -> None:
    x = fn.testing.random_batch(shape, n)
    assert fn.specs(fn.tree.cast(x, np.float32)) == shape
    model = fn.serial(fn.identity, fn.serial())
    with microbatches(examples):
        y, vjp_fn = model.apply({}, x, rng=0)
        dy = fn.tree.map(lambda leaf: leaf if leaf.dtype.kind == "f" else None, y)
        _, dx = vjp_fn(dy)
    for path, leaf in fn.tree.flatten(x).items():
        assert np.array_equal(fn.tree.flatten(y)[path], leaf)
        back = fn.tree.flatten(dx)[path]
        assert np.array_equal(back, leaf) if leaf.dtype.kind == "f" else back is None


@pytest.mark.parametrize("n", [3, 400])
def test_inputs_of_different_lengths_raise(n: int) -> None:
    x = {"a": np.ones((n, 16, 16, 1), np.float32), "b": {"c": np.ones((n + 1, 16, 16, 1), np.float32)}}
    with pytest.raises(ValueError, match=f"same number of examples, got {{'a': {n}, 'b/c': {n + 1}}}"):
        fn.parallel(a=fn.flatten, b=fn.on("c", fn.flatten)).apply({}, x)


@pytest.mark.parametrize("layer", [fn.dense(2), fn.batch_norm()])
def test_a_layer_of_one_array_says_so_if_it_gets_a_dict(layer: fn.Layer) -> None:
    with pytest.raises(TypeError, match=rf"{layer.kind}: expected the shape of one array, got a dict of \['a'\]"):
        layer.init({"a": (4,)}, 0)
