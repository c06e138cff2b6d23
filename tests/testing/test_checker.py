"""Every layer of the library keeps every law, and the checker notices layers that do not."""

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, permutations
from math import comb
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import combinators, layers
from funcnn.aliases import Array, Params, Rng, Shape
from funcnn.protocol import Layer, Vjp
from funcnn.testing import check_layer, check_vjp, random_batch, table_of_layers

TABLE = table_of_layers()


def name(row: tuple[Layer, Shape]) -> str:
    return f"{row[0]!r} on {row[1]}"


@pytest.mark.parametrize("row", TABLE, ids=name)
def test_every_layer_keeps_every_law(row: tuple[Layer, Shape]) -> None:
    layer, shape = row
    report = check_layer(layer, shape)
    laws = {finding.law for finding in report.findings}
    assert laws == {"adjoint", "pure", "reentrant", "shape", "dtype", "batch", "params", "order", "input_grad", "one"}


def test_everything_public_is_in_the_table() -> None:
    kinds: set[str] = set()
    rows = [layer for layer, _ in TABLE]
    for row in rows:
        fn.rebuild(row, lambda path, layer: kinds.add(layer.kind) or layer)  # type: ignore[func-returns-value]
    # ``repeat`` makes a ``serial`` of one layer several times, and is known by that.
    if any(row.kind == "serial" and len(row.children) > 1 and len(same_layer(row)) == 1 for row in rows):
        kinds.add("repeat")
    public = {getattr(module, word) for module in (layers, combinators) for word in module.__all__}
    constructors = {item.kind if isinstance(item, Layer) else item.__name__ for item in public}
    assert len(constructors) == len(layers.__all__) + len(combinators.__all__)
    assert constructors - kinds == set()


def same_layer(row: Layer) -> set[Any]:
    return {child.apply for child in row.children.values()}


def scaled(layer: Layer, paths: set[str], factor: float) -> Layer:
    """The same layer, whose gradients at some paths of {"params": ..., "x": ...} are wrong by a factor."""

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        y, vjp_fn = layer.apply(params, x, rng)

        def spoiled(dy: Array) -> tuple[Params, Array | None]:
            dparams, dx = vjp_fn(dy)
            gradients = fn.tree.map_with_path(
                lambda where, leaf: leaf * factor if where in paths else leaf, {"params": dparams, "x": dx}
            )
            return gradients["params"], gradients["x"]

        return y, spoiled

    return replace(layer, apply=apply)


def gradients(layer: Layer, shape: Shape) -> list[str]:
    """The paths of the gradients of a layer that are more than rounding."""
    y, vjp_fn = layer.apply(layer.init(shape, 0), fn.tree.cast(random_batch(shape, 2), np.float32), rng=0)
    dparams, dx = vjp_fn(fn.tree.map(lambda leaf: like(leaf) if leaf.dtype.kind == "f" else None, y))
    found = fn.tree.flatten({"params": dparams, "x": dx})
    # A thousandth of nothing is nothing, and the gradient of the bias of keys is nothing but rounding.
    return [path for path, leaf in found.items() if leaf is not None and abs(leaf).max(initial=0) > 1e-5]


def like(leaf: Array) -> Array:
    """Random numbers."""
    return np.random.default_rng(1).standard_normal(leaf.shape).astype(leaf.dtype)


def groups(paths: list[str]) -> Iterator[set[str]]:
    """Few groups of paths, such that of any two paths each is in a group without the other."""
    count = next(k for k in itertools.count(1) if comb(k, (k + 1) // 2) >= len(paths))
    # Each path is in half of the groups, and no two paths are in the same ones.
    chosen = list(zip(paths, combinations(range(count), (count + 1) // 2), strict=False))
    for number in range(count):
        yield {path for path, numbers in chosen if number in numbers}


# With another apply a frozen layer would not declare what has no gradient; one in a serial is another row.
@pytest.mark.parametrize("row", [row for row in TABLE if row[0].kind not in ("frozen", "spectral_norm")], ids=name)
def test_gradients_that_are_wrong_by_a_thousandth_fail(
    row: tuple[Layer, Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, shape = row
    for other in ("laws", "batches"):  # which take most of the time; that they hold is seen elsewhere
        monkeypatch.setattr(fn.testing, other, lambda *args: [])
    paths = gradients(layer, shape)
    assert paths
    for wrong in groups(paths):
        with pytest.raises(AssertionError, match=failed("adjoint")) as caught:
            check_layer(scaled(layer, wrong, 1.001), shape)
        # Those that are right are not blamed.
        assert set(re.findall(r"adjoint +(\S+) .*FAILED", str(caught.value))) == wrong


def test_of_any_two_gradients_each_is_wrong_where_the_other_is_right() -> None:
    for n in range(1, 40):
        paths = [f"params/{number}" for number in range(n)]
        found = list(groups(paths))
        assert all(any(a in group and b not in group for group in found) for a, b in permutations(paths, 2)), n
        assert set().union(*found) == set(paths), n


def test_the_report_says_which_gradient_is_wrong() -> None:
    with pytest.raises(AssertionError, match=failed("adjoint", "params/dense_0/w")) as caught:
        check_layer(scaled(fn.serial(fn.dense(2), fn.tanh), {"params/dense_0/w"}, 1.001), (3,))
    assert set(re.findall(r"adjoint +(\S+) .*FAILED", str(caught.value))) == {"params/dense_0/w"}


def test_a_gradient_that_is_no_number_fails() -> None:
    """As the only thing wrong, and beside derivatives that are measured to be right."""
    layer = fn.dense(3)
    for path in ("params/w", "x"):
        with pytest.raises(AssertionError, match=failed("adjoint", path)) as caught:
            check_vjp(scaled(layer, {path}, math.nan).apply, layer.init((2,), 0), np.ones((4, 2)))
        assert set(re.findall(r"adjoint +(\S+) .*FAILED", str(caught.value))) == {path}


def test_check_vjp_fails_on_a_thousandth_too() -> None:
    layer, x = fn.dense(3), np.ones((4, 2))
    params = layer.init((2,), 0)
    check_vjp(layer.apply, params, x)
    for path in ("params/w", "params/b", "x"):
        with pytest.raises(AssertionError, match=failed("adjoint", path)):
            check_vjp(scaled(layer, {path}, 0.999).apply, params, x)


def failed(law: str, subject: str = "") -> str:
    """What a line of the report looks like that says so."""
    return rf"  {law} +{subject}.*  FAILED"


def writes_into_its_input(params: Params, x: Array) -> tuple[Array, Vjp]:
    # The doubled input is the output, and it is the caller's array.
    x += x
    return x, lambda dy: ({}, 2 * dy)


def writes_into_its_gradient(params: Params, x: Array) -> tuple[Array, Vjp]:
    def vjp_fn(dy: Array) -> tuple[Params, Array]:
        dy *= 2
        return {}, dy

    return 2 * x, vjp_fn


def forgets_after_one_call(params: Params, x: Array) -> tuple[Array, Vjp]:
    kept = [2.0]
    return 2 * x, lambda dy: ({}, kept.pop() * dy)


def counts_its_calls(params: Params, x: Array) -> tuple[Array, Vjp]:
    factors = [2.0]

    def vjp_fn(dy: Array) -> tuple[Params, Array]:
        factors.append(factors[-1] * 2)
        return {}, factors[-2] * dy

    return 2 * x, vjp_fn


def mixes_the_batch(params: Params, x: Array) -> tuple[Array, Vjp]:
    return x + x.sum(0), lambda dy: ({}, dy + dy.sum(0))


def needs_two_examples(params: Params, x: Array) -> tuple[Array, Vjp]:
    if len(x) < 2:
        raise ValueError("too few")
    return 2 * x, lambda dy: ({}, 2 * dy)


def returns_float64(params: Params, x: Array) -> tuple[Array, Vjp]:
    return x * np.float64(2), lambda dy: ({}, (2 * dy).astype(x.dtype))


def pulls_back_float64(params: Params, x: Array) -> tuple[Array, Vjp]:
    return 2 * x, lambda dy: ({}, np.float64(2) * dy)


def changing(params: Params, x: Array) -> tuple[Array, Vjp]:
    # The noise is far below what the derivative is measured to.
    return 2 * x + 1e-14 * np.random.default_rng().random(), lambda dy: ({}, 2 * dy)


def sums_over_the_batch(params: Params, x: Array) -> tuple[Array, Vjp]:
    return 2 * x, lambda dy: ({}, (2 * dy).sum(0))


def reads_memory(params: Params, x: Array) -> tuple[Array, Vjp]:
    factors = np.arange(1.0, x.size + 1).astype(x.dtype)
    shaken = (x.ravel(order="K") * factors).reshape(x.shape)
    return shaken, lambda dy: ({}, (dy.ravel() * factors).reshape(x.shape))


def ignores_input_grad(params: Params, x: Array) -> tuple[Array, Vjp]:
    return 2 * x, lambda dy, input_grad=True: ({}, 2 * dy)


@pytest.mark.parametrize(
    ("apply", "law"),
    [
        (writes_into_its_input, "pure"),
        (writes_into_its_gradient, "pure"),
        (changing, "pure"),
        (forgets_after_one_call, "reentrant"),
        (counts_its_calls, "reentrant"),
        (mixes_the_batch, "batch"),
        (needs_two_examples, "batch"),
        (returns_float64, "dtype"),
        (pulls_back_float64, "dtype"),
        (sums_over_the_batch, "shape"),
        (reads_memory, "order"),
        (ignores_input_grad, "input_grad"),
    ],
)
def test_a_layer_that_breaks_a_law_fails_by_its_name(apply: Callable[..., Any], law: str) -> None:
    with pytest.raises(AssertionError, match=failed(law)):
        check_layer(((lambda shape, rng: {}), apply), shape=(4, 3))


def weighted(gradient: Callable[[Array, Array], Params]) -> tuple[Any, Any]:
    """y = x w, with a gradient of the parameters that may be wrong in form."""
    return (
        lambda shape, rng: {"w": np.full(shape, 2, np.float32)},
        lambda params, x: (x * params["w"], lambda dy: (gradient(x, dy), dy * params["w"])),
    )


@pytest.mark.parametrize(
    ("gradient", "law"),
    [
        (lambda x, dy: {}, "shape"),
        (lambda x, dy: {"weights": (x * dy).sum(0)}, "shape"),
        (lambda x, dy: {"w": (x * dy).sum(0), "b": dy.sum(0)}, "shape"),
        (lambda x, dy: {"w": x * dy}, "shape"),
        (lambda x, dy: {"w": (x * dy).sum(0, keepdims=True)}, "shape"),
        (lambda x, dy: {"w": (x * dy).sum(0).astype(np.float64)}, "dtype"),
    ],
    ids=["missing", "other name", "extra", "not summed", "extra axis", "dtype"],
)
def test_gradients_of_another_form_than_the_parameters_fail(gradient: Callable[..., Params], law: str) -> None:
    check_layer(weighted(lambda x, dy: {"w": (x * dy).sum(0)}), shape=(4,))
    with pytest.raises(AssertionError, match=failed(law)):
        check_layer(weighted(gradient), shape=(4,))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda dw, dx: (dx, {"w": dw}), r"training: expected \(dparams, dx\) from vjp_fn, got \(dx, dparams\)"),
        (lambda dw, dx: dx, r"training: TypeError\('a vjp_fn must return \(dparams, dx\), got a ndarray'\)"),
        (
            lambda dw, dx: ({"w": dw[None]}, dx),
            r"training: params/w: expected the shape \(4,\), got the shape \(1, 4\)",
        ),
        (lambda dw, dx: ({"v": dw}, dx), r"params/w: expected the shape \(4,\), got no\s+gradient"),
        (lambda dw, dx: ({"w": None}, dx), r"params/w: expected the shape \(4,\), got None"),
        (lambda dw, dx: ({"w": dw}, dx[0]), r"training: x: expected the shape \(3, 4\), got the shape \(4,\)"),
    ],
    ids=["swapped", "alone", "extra axis", "other name", "none", "one example"],
)
def test_what_is_not_a_gradient_is_said_in_words(returned: Callable[[Array, Array], Any], message: str) -> None:
    layer = (
        lambda shape, rng: {"w": np.full(shape, 2, np.float32)},
        lambda params, x: (x * params["w"], lambda dy: returned((x * dy).sum(0), dy * params["w"])),
    )
    for check, said in (
        (lambda: check_layer(layer, shape=(4,)), message),
        (lambda: check_vjp(layer[1], {"w": np.ones(4)}, np.ones((3, 4))), message.removeprefix("training: ")),
    ):
        with pytest.raises(AssertionError, match=failed("shape")) as caught:
            check()
        # A long subject goes on below its numbers.
        joined = re.sub(r" +inf of 0\.0e\+00  FAILED\s+", " ", str(caught.value))
        assert re.search(re.sub(r"\\\(| ", r"\g<0>\\s*", said), joined)
        assert joined.count("params/w: expected") <= 1


def test_only_what_has_failed_is_shown() -> None:
    with pytest.raises(AssertionError) as caught:
        check_layer(weighted(lambda x, dy: {"w": (x * dy).sum(0) * 1.1}), shape=(4,))
    lines = str(caught.value).splitlines()
    assert lines[1] == "layer on (4,)"
    assert all(line.endswith("FAILED") for line in lines[2:-1])
    assert re.fullmatch(r"  and \d+ checks are ok", lines[-1])


def started(value: float, apply: Callable[[Array, Array], Any]) -> tuple[Any, Any]:
    """A layer whose weights start all alike, where a wrong gradient may be right."""
    return lambda shape, rng: {"w": np.full(shape, value, np.float32)}, lambda params, x: apply(params["w"], x)


@pytest.mark.parametrize(
    ("value", "apply"),
    [
        (1, lambda w, x: (w * x, lambda dy: ({"w": (dy * x).sum(0)}, dy))),
        (1, lambda w, x: (x**w, lambda dy: ({"w": (dy * x**w * np.log(x)).sum(0)}, dy))),
        (0, lambda w, x: (x + w * x * x, lambda dy: ({"w": (dy * x * x).sum(0)}, dy))),
        (0, lambda w, x: (np.sin(w) * x, lambda dy: ({"w": (dy * x).sum(0)}, dy * np.sin(w)))),
    ],
    ids=["a factor of 1", "an exponent of 1", "a term times 0", "cos 0"],
)
def test_gradients_that_are_right_at_the_first_weights_alone_fail(value: float, apply: Callable[..., Any]) -> None:
    with pytest.raises(AssertionError, match=failed("adjoint")):
        check_layer(started(value, apply), x=np.random.default_rng(0).uniform(1, 2, (3, 4)))


@pytest.mark.parametrize("value", [2.0, [2.0], np.ones(4), {}], ids=["float", "list", "float64", "empty dict"])
def test_parameters_are_nested_dicts_of_float32_arrays(value: Any) -> None:
    layer = (lambda shape, rng: {"w": value}), (lambda params, x: (2 * x, lambda dy: (params, 2 * dy)))
    with pytest.raises(AssertionError, match=failed("params")):
        check_layer(layer, shape=(4,))


def test_a_report_prints_the_error_of_each_path() -> None:
    report = check_layer(fn.dense(2), shape=(3,))
    assert report.passed
    assert report.largest_error < 1e-8
    lines = str(report).splitlines()
    assert lines[0] == "dense(2) on (3,)"
    assert re.fullmatch(r"  adjoint    params/w training +\d\.\de-\d\d of 1\.0e-06  ok", lines[4])


def test_a_key_taken_for_a_generator_is_explained() -> None:
    @fn.layer
    def random_scale() -> Any:
        return lambda shape, rng: {"w": rng.standard_normal(shape)}, lambda params, x: (x, lambda dy: ({}, dy))

    hint = "rng is a key, not a generator; write fn.rng.generator(rng).standard_normal(...)"
    for call in (
        lambda: fn.testing.check_layer(random_scale(), shape=(3,)),
        lambda: fn.serial(fn.relu, fn.residual(random_scale())).init((3,), rng=0),
    ):
        with pytest.raises(AttributeError) as raised:
            call()
        assert raised.value.__notes__[0] == hint
