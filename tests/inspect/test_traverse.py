"""Traversal: the path, the input and the output of each layer, and models built again with other layers."""

import contextlib
import itertools
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.engine import microbatch
from funcnn.engine.microbatch import Forward, cut, output
from funcnn.inspect.traverse import every_layer, wrapped
from funcnn.protocol import Layer
from funcnn.testing import microbatches

MODEL = fn.serial(
    fn.named("stem", fn.dense(4)),
    fn.residual(fn.dense(4), fn.add(fn.tanh, fn.relu)),
    fn.concat(fn.dense(2), fn.identity, axis=1),
)
PATHS = [
    "stem", "residual_0/dense_0", "residual_0/add_0/tanh_0", "residual_0/add_0/relu_0", "residual_0/add_0",
    "residual_0", "concat_0/dense_0", "concat_0/identity_0", "concat_0", "",
]  # fmt: skip


def test_rebuild_visits_every_layer_once_children_first() -> None:
    seen: list[str] = []

    def look(path: str, layer: Layer) -> Layer:
        seen.append(path)
        return layer

    rebuilt = fn.rebuild(MODEL, look)
    assert seen == PATHS
    assert repr(rebuilt) == repr(MODEL)


def counting(seen: list[int]) -> Any:
    """Wrap a forward pass so that it records how many examples it computes."""

    def around(inner: Forward) -> Forward:
        def forward(params: Any, x: Any, key: Any, keep: bool) -> Any:
            seen.append(len(x))
            return (yield from inner(params, x, key, keep))

        return forward

    return around


def test_a_wrapped_combinator_is_also_wrapped_when_it_predicts() -> None:
    seen: list[int] = []
    rebuilt = fn.rebuild(MODEL, lambda path, layer: layer if path else wrapped(layer, counting(seen)))
    params, x = MODEL.init((3,), 0), np.ones((5, 3), np.float32)
    assert np.array_equal(fn.predict(rebuilt, params, x), fn.predict(MODEL, params, x))
    assert seen == [5]
    assert np.array_equal(output(rebuilt, params, x), output(MODEL, params, x))
    assert seen == [5, 5]


def test_a_wrapped_layer_runs_once_for_each_microbatch_and_has_the_same_vjp() -> None:
    model = fn.serial(fn.dense(4), fn.batch_norm(), fn.dropout(0.5), mine(), fn.tanh)
    params = fn.tree.cast(model.init((3,), 0), np.float64)
    x = np.random.default_rng(0).standard_normal((5, 3))
    for kind, expected in (("dense", [2, 2, 1]), ("batch_norm", [2, 2, 1]), ("dropout", [2, 2, 1]), ("mine", [5])):
        seen: list[int] = []
        rebuilt = fn.rebuild(model, lambda _, layer: wrapped(layer, counting(seen)) if layer.kind == kind else layer)  # noqa: B023
        with microbatches(2):
            results = [m.apply(params, x, rng=3) for m in (model, rebuilt)]
            gradients = [vjp_fn(np.cos(y)) for y, vjp_fn in results]
        if kind != "mine":  # a layer of a user's gets the whole batch, and so does what is wrapped around it
            assert sorted(seen) == sorted(expected)
        assert np.array_equal(results[0][0], results[1][0])
        for one, other in zip(*(fn.tree.leaves({"g": grads, "dx": dx}) for grads, dx in gradients), strict=True):
            assert np.array_equal(one, other)


@fn.layer
def mine() -> Any:
    """A layer of a user's without the claim that it computes each example by itself."""
    return (lambda shape, rng: {}), (lambda params, x: (x - x.mean(0), lambda dy: ({}, dy - dy.mean(0))))


def test_a_rebuilt_model_has_the_same_parameters_and_output() -> None:
    rebuilt = fn.rebuild(MODEL, lambda path, layer: layer)
    params, same = MODEL.init((3,), 0), rebuilt.init((3,), 0)
    assert fn.tree.paths(params) == fn.tree.paths(same)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    assert np.array_equal(MODEL.apply(params, x)[0], rebuilt.apply(same, x)[0])


def test_rebuild_replaces_and_leaves_the_model_alone() -> None:
    model = fn.serial(fn.relu, fn.named("bend", fn.relu))
    linear = fn.rebuild(model, lambda path, layer: fn.identity if layer.kind == "relu" else layer)
    x = np.array([[-1.0]])
    assert linear.apply({}, x)[0].tolist() == [[-1]]
    assert list(linear.children) == ["relu_0", "bend"]
    assert model.apply({}, x)[0].tolist() == [[0]]


def test_trace_returns_the_input_and_the_output_of_each_layer() -> None:
    params, x = MODEL.init((3,), 0), np.ones((5, 3), np.float32)
    visits = fn.trace(MODEL, params, x)
    assert [visit.path for visit in visits] == PATHS
    by_path = {visit.path: visit for visit in visits}
    assert by_path["stem"].x is x
    assert by_path["stem"].params is params["stem"]
    assert by_path["residual_0/dense_0"].x is by_path["stem"].y
    assert by_path[""].y.shape == (5, 6)
    assert np.array_equal(by_path[""].y, MODEL.apply(params, x)[0])


def test_trace_of_a_bare_pair_and_of_training() -> None:
    pair: Any = (lambda shape, rng: {}), (lambda params, x: (x, lambda dy: ({}, dy)))
    assert [visit.path for visit in fn.trace(pair, {}, np.ones((1, 2)))] == [""]
    x = np.ones((1, 100))
    trained = fn.trace(fn.dropout(0.5), {}, x, rng=0)[0].y
    assert (trained == 0).any()
    assert np.array_equal(fn.trace(fn.dropout(0.5), {}, x)[0].y, x)


def test_a_constructor_of_a_users_that_combines_layers_can_be_traced_and_rebuilt() -> None:
    @fn.layer
    def block(units: int, times: int = 1) -> fn.Layer:
        return fn.serial(*[fn.dense(units), fn.batch_norm(activation="relu")] * times)

    model = fn.serial(block(4, times=2), fn.residual(block(4)))
    params, x = model.init((3,), 0), np.random.default_rng(0).random((8, 3), np.float32)
    params = fn.calibrate(model, params, x)
    visits = fn.trace(model, params, x)
    assert [visit.path for visit in visits if not visit.layer.children] == [
        "block_0/dense_0",
        "block_0/batch_norm_0",
        "block_0/dense_1",
        "block_0/batch_norm_1",
        "residual_0/block_0/dense_0",
        "residual_0/block_0/batch_norm_0",
    ]
    again = fn.rebuild(model, lambda path, layer: layer)
    assert repr(again) == repr(model) == "serial(block(4, times=2), residual(block(4)))"
    assert np.array_equal(again.apply(params, x)[0], visits[-1].y)
    # A rebuilt model can be rebuilt.
    assert [v.path for v in fn.trace(again, params, x)] == [v.path for v in visits]


# trace is apply

BRANCHED = fn.serial(
    fn.conv2d(4, 3, activation="relu"),
    fn.dropout(0.5),
    fn.batch_norm(activation="relu"),
    mine(),
    fn.residual(fn.conv2d(4, 3, padding="same"), fn.dropout(0.3), fn.add(fn.tanh, fn.batch_norm())),
    fn.flatten,
    fn.dense(3),
)


@pytest.fixture
def cut_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of less work are cut than elsewhere, so that the tests are fast."""
    monkeypatch.setattr(microbatch, "MIN_WORKING_SET", 48 * 1024)


def test_trace_has_the_bits_of_apply_in_a_batch_that_is_cut_dropout_included(cut_early: None) -> None:
    params = BRANCHED.init((9, 8, 1), 0)
    x = np.random.default_rng(0).standard_normal((120, 9, 8, 1)).astype(np.float32)
    params = fn.calibrate(BRANCHED, params, x)
    large = np.concatenate([x] * 8)
    assert len(cut(large, BRANCHED.apply.working_set)) > 1  # type: ignore[attr-defined]
    for batch, size in ((x[:5], 2), (x[:5], None), (large, "as it comes")):
        for rng in (None, 7):
            with microbatches(size) if not isinstance(size, str) else contextlib.nullcontext():
                visits = fn.trace(BRANCHED, params, batch, rng)
                expected = BRANCHED.apply(params, batch, rng)[0]
            by_path = {visit.path: visit for visit in visits}
            assert np.array_equal(by_path[""].y, expected)
            # Each visit is the whole batch, and the output of a layer is the input of the next.
            assert all(len(visit.x) == len(visit.y) == len(batch) for visit in visits)
            for before, after in itertools.pairwise(BRANCHED.children):
                assert np.array_equal(by_path[before].y, by_path[after].x)


def test_what_trace_saw_is_what_a_layer_alone_computes() -> None:
    params = BRANCHED.init((9, 8, 1), 0)
    x = np.random.default_rng(0).standard_normal((5, 9, 8, 1)).astype(np.float32)
    params = fn.calibrate(BRANCHED, params, x)
    for visit in fn.trace(BRANCHED, params, x):
        assert np.array_equal(visit.layer.apply(visit.params, visit.x)[0], visit.y), visit.path


@pytest.mark.parametrize("layer", [fn.dense(2), fn.batch_norm(), mine(), fn.dropout(0.5)], ids=lambda layer: layer.kind)
def test_trace_of_a_layer_at_the_root_has_the_bits_of_apply(layer: Layer) -> None:
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    params = layer.init((3,), 0)
    with microbatches(2):
        (visit,) = fn.trace(layer, params, x, rng=4)
        assert np.array_equal(visit.y, layer.apply(params, x, rng=4)[0])
    assert visit.x is x or np.array_equal(visit.x, x)


def test_trace_of_a_graph_has_trees_of_arrays_and_its_errors_name_the_layer() -> None:
    product = fn.merge("multiply")
    model = fn.graph({"a": (fn.relu, "input"), "b": (fn.dense(2), "a"), "y": (product, ("a", "b"))}, output="y")
    params = model.init((2,), 0)
    x = np.ones((5, 2), np.float32)
    with microbatches(2):
        visits = {visit.path: visit for visit in fn.trace(model, params, x)}
    assert list(visits) == ["a", "b", "y", ""]
    assert list(visits["y"].x) == ["a", "b"]
    assert np.array_equal(visits["y"].x["b"], visits["b"].y)
    assert np.array_equal(visits["y"].y, x * visits["b"].y)
    with pytest.raises(ValueError, match="dense") as caught:
        fn.trace(fn.serial(fn.named("outer", model)), {"outer": params}, x[:, :1])
    assert caught.value.__notes__ == ["in layer outer/b, with an input of shape (5, 1)"]


# rebuild of combinators of a user's


def with_tanh(path: str, layer: Layer) -> Layer:
    return fn.tanh if layer.kind == "relu" else layer


def combined(layers: dict[str, Any]) -> Layer:
    """One layer after another, without a record: what constructors of a user's are made of here."""
    inner = fn.serial(*[fn.named(name, layer) for name, layer in layers.items()])
    return fn.Layer(inner.init, inner.apply, children=inner.children, wiring=inner.wiring)


@fn.layer
def of_a_dict(parts: dict[str, Any], scale: float = 1.0) -> Layer:
    return combined(parts)


@fn.layer
def of_a_list(parts: Any, *, activation: Any = fn.relu) -> Layer:
    return combined({f"part{number}": part for number, part in enumerate(parts)})


@fn.layer
def of_keywords(*, second: Any, first: Any) -> Layer:
    return combined({"first": first, "second": second})


@fn.layer
def of_any_keywords(**parts: Any) -> Layer:
    return combined(parts)


@fn.layer
def nested_in_arguments(plan: Any) -> Layer:
    return combined({name: layer for stage in plan["stages"] for name, (layer, _) in stage.items()})


PAIR: Any = (lambda shape, rng: {}), (lambda params, x: (2 * x, lambda dy: ({}, 2 * dy)))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (of_a_dict({"a": fn.dense(2), "b": fn.relu}), "of_a_dict({'a': named('a', dense(2)), 'b': named('b', tanh)})"),
        (of_a_dict({"a": PAIR, "b": fn.relu}, scale=2.0), None),
        (of_a_list([fn.dense(2), fn.identity], activation=fn.tanh), None),
        (of_a_list((fn.relu, fn.dense(2))), "of_a_list((named('part0', tanh), named('part1', dense(2))))"),
        (of_keywords(first=fn.relu, second=fn.dense(2)),
         "of_keywords(second=named('second', dense(2)), first=named('first', tanh))"),
        (of_any_keywords(a=fn.relu, b=PAIR), None),
        (nested_in_arguments({"stages": [{"a": (fn.relu, 1)}, {"b": (fn.dense(2), 2)}], "other": (len, max)}), None),
        (fn.graph({"b": (fn.dense(2), "a"), "a": (fn.relu, "input")}, output="b"),
         "graph({'b': (dense(2), 'a'), 'a': (tanh, 'input')}, 'b')"),
    ],
    ids=lambda value: value.kind if isinstance(value, Layer) else "",
)  # fmt: skip
def test_combinators_of_a_users_are_rebuilt_whatever_their_arguments_are_called(model: Layer, expected: Any) -> None:
    inside = fn.serial(model)
    params, x = inside.init((2,), 0), np.array([[-1.0, 2.0]], np.float32)
    visits = fn.trace(inside, params, x)
    assert np.array_equal(visits[-1].y, inside.apply(params, x)[0])
    (name,) = inside.children
    assert sorted(visit.path for visit in visits[:-2]) == sorted(f"{name}/{child}" for child in model.children)
    rebuilt = fn.rebuild(model, with_tanh)
    assert list(rebuilt.children) == list(model.children)
    kinds = [child.kind for child in model.children.values()]
    assert [child.kind for child in rebuilt.children.values()] == [kind.replace("relu", "tanh") for kind in kinds]
    if expected is not None:
        assert repr(rebuilt) == expected
    # The record of what was rebuilt makes the same model.
    again = fn.rebuild(rebuilt, lambda path, layer: layer)
    own = model.init((2,), 0)
    assert np.array_equal(again.apply(own, x)[0], rebuilt.apply(own, x)[0])


def test_what_is_rebuilt_computes_with_the_new_layers() -> None:
    model = of_a_dict({"a": fn.relu, "b": PAIR})
    x = np.array([[-1.0, 2.0]])
    np.testing.assert_array_equal(fn.rebuild(model, with_tanh).apply({}, x)[0], 2 * np.tanh(x))
    np.testing.assert_array_equal(model.apply({}, x)[0], [[0, 4]])


def raises_for(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fn.rebuild(fn.serial(fn.dense(2), model), with_tanh)


def test_rebuild_raises_for_combinators_whose_call_does_not_have_their_children() -> None:
    @fn.layer
    def twice(part: Any) -> Layer:
        return combined({"a": part, "b": part})

    @fn.layer
    def hidden(units: int) -> Layer:
        return combined({"a": fn.dense(units), "b": fn.relu})

    @fn.layer
    def one_more(part: Any) -> Layer:
        return combined({"a": part, "b": fn.relu})

    @fn.layer
    def ambiguous(part: Any, activation: Any) -> Layer:
        return combined({"a": part})

    @fn.layer
    def by_kind(*layers: Any) -> Layer:
        return combined({layer.kind: layer for layer in layers})

    message = "does not have each of its children as one argument, so they cannot be replaced"
    raises_for(twice(fn.relu), rf"layer twice_0: its recorded call, twice\(relu\), {message}")
    raises_for(hidden(2), rf"layer hidden_0: its recorded call, hidden\(2\), {message}")
    raises_for(one_more(fn.dense(2)), message)
    raises_for(ambiguous(fn.relu, fn.relu), message)
    raises_for(combined({"a": fn.relu}), rf"layer layer_0: its recorded call, layer, {message}")
    raises_for(by_kind(fn.relu), r"layer by_kind_0: with other children it calls them \['tanh'\], not \['relu'\]")
    # Nothing is changed inside these, so nothing has to be built again.
    assert repr(fn.rebuild(fn.serial(hidden(2)), lambda path, layer: layer)) == "serial(hidden(2))"


def test_rebuild_raises_for_a_combinator_with_another_apply() -> None:
    from dataclasses import replace

    inner = fn.serial(fn.relu)
    raises_for(replace(inner, apply=fn.tanh.apply), "layer serial_0: its apply is not the one that serial made")

    @fn.layer
    def doubled(*layers: Any) -> Layer:
        inner = fn.serial(*layers)

        def apply(params: Any, x: Any, rng: Any = None) -> Any:
            y, vjp_fn = inner.apply(params, x, rng)
            return 2 * y, lambda dy: vjp_fn(2 * dy)

        return replace(inner, apply=apply)

    # Its own constructor is called again, not that of the combinator inside.
    rebuilt = fn.rebuild(doubled(fn.relu), with_tanh)
    assert rebuilt.apply({}, np.ones((1, 1)))[0] == 2 * np.tanh(1)
    assert repr(rebuilt) == "doubled(named('relu_0', tanh))"


def test_a_rebuilt_model_prints_what_it_is() -> None:
    @fn.layer
    def block(units: int) -> Layer:
        return fn.serial(fn.dense(units), fn.relu)

    model = fn.serial(block(4), fn.residual(fn.relu, fn.relu), fn.named("head", fn.relu))
    assert repr(fn.rebuild(model, with_tanh)) == (
        "serial(named('block_0', serial(dense(4), named('relu_0', tanh))), "
        "residual(named('relu_0', tanh), named('relu_1', tanh)), named('head', tanh))"
    )
    model = fn.serial(fn.dense(4), fn.residual(fn.named("head", fn.dense(4))))
    again = fn.rebuild(model, lambda path, layer: wrapped(layer, lambda inner: inner) if "head" in path else layer)
    assert repr(again) == "serial(dense(4), residual(named('head', <a dense with another apply>)))"


def test_rebuild_of_the_same_kind_gives_no_names() -> None:
    model = fn.serial(fn.dense(2), fn.relu, fn.dense(3))
    wider = fn.rebuild(model, lambda path, layer: fn.dense(9) if path == "dense_1" else layer)
    assert repr(wider) == "serial(dense(2), relu, dense(9))"


def test_every_layer_has_a_path() -> None:
    assert [path for path, _ in every_layer(MODEL)] == PATHS


@fn.layer(per_example=True)
def after_each_other(first: Any, second: Any) -> Any:
    """A user's combinator, which calls its children itself."""
    a, b = fn.as_layer(first), fn.as_layer(second)

    def apply(params: Any, x: Any, rng: Any = None) -> Any:
        y, first_vjp = a.apply({}, x, rng)
        z, second_vjp = b.apply({}, y, rng)
        return z, lambda dy: ({}, first_vjp(second_vjp(dy)[1])[1])

    return fn.Layer(lambda shape, rng: {}, apply, children={"a": a, "b": b})


@pytest.mark.usefixtures("cut_early")
def test_layers_that_a_users_combinator_calls_are_visited_once_with_the_whole_batch_though_it_is_cut() -> None:
    x = np.random.default_rng(0).random((80, 28, 28, 1), np.float32)
    model = fn.serial(fn.max_pool2d(1), after_each_other(fn.dropout(0.5), fn.serial(fn.relu)), fn.dropout(0.2))
    for threads in (1, 2):
        with fn.use_threads(threads):
            visits = fn.trace(model, {}, x, rng=0)
            assert np.array_equal(visits[-1].y, model.apply({}, x, rng=0)[0])
        assert [visit.path for visit in visits] == [
            "max_pool2d_0", "after_each_other_0/a", "after_each_other_0/b/relu_0", "after_each_other_0/b",
            "after_each_other_0", "dropout_0", "",
        ]  # fmt: skip
        assert [visit.x.shape for visit in visits] == [x.shape] * len(visits)
        assert np.array_equal(visits[1].y, visits[4].y)
