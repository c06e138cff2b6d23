"""The pair and its description: what counts as a layer, how it prints, and what its checks say."""

import copy
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array, Params
from funcnn.protocol import Vjp, as_layer, elementwise, layer, named, pull_back


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


@pytest.mark.parametrize("wrong", [None, 3, (no_init,), (no_init, double, double), [no_init, double], (no_init, 1)])
def test_what_is_no_layer_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"a layer is a Layer or a tuple of two functions \(init, apply\), got"):
        as_layer(wrong)


def test_a_constructor_that_was_not_called_is_told_so() -> None:
    with pytest.raises(TypeError, match=r"got <function dense at .*; call it: dense\(\.\.\.\)"):
        fn.serial(fn.dense, fn.relu)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (fn.dense(4), "dense(4)"),
        (fn.dense(units=4, bias=True), "dense(4)"),
        (fn.dense(4, activation=fn.relu, w_init=fn.initializers.zeros), "dense(4, activation=relu, w_init=zeros)"),
        (fn.conv2d(8, (3, 1), padding="same"), "conv2d(8, (3, 1), padding='same')"),
        (fn.leaky_relu(), "leaky_relu()"),
        (fn.serial(fn.dense(1), fn.relu), "serial(dense(1), relu)"),
        (fn.concat(fn.relu, fn.identity, axis=1), "concat(relu, identity, axis=1)"),
        (as_layer((no_init, double)), "layer"),
    ],
)
def test_a_layer_prints_as_one_would_write_it(model: fn.Layer, text: str) -> None:
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


def test_elementwise_multiplies_by_the_slope() -> None:
    cube = elementwise(lambda x: x**3, lambda x, y: 3 * x * x, name="cube")
    y, vjp_fn = cube.apply({}, np.array([[2.0, -1.0]]))
    assert y.tolist() == [[8, -1]]
    grads, dx = vjp_fn(np.array([[1.0, 10.0]]))
    assert grads == {}
    assert dx is not None
    assert dx.tolist() == [[12, 30]]
    assert repr(cube) == "cube"


def test_a_users_vjp_need_not_know_input_grad() -> None:
    dy = np.ones(2)
    seen: list[bool] = []

    def knowing(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
        seen.append(input_grad)
        return {}, dy if input_grad else None

    class Callable:
        def __call__(self, dy: Array) -> tuple[Params, Array]:
            return {}, dy

    assert pull_back(lambda dy: ({"w": dy}, dy), dy, input_grad=False)[1] is None
    assert pull_back(Callable(), dy, input_grad=False)[1] is None
    assert pull_back(knowing, dy, input_grad=False)[1] is None
    assert pull_back(knowing, dy, input_grad=True)[1] is dy
    assert seen == [False, True]


@pytest.mark.parametrize("model", [fn.dense(3), fn.relu, fn.softmax, fn.flatten, fn.batch_norm(), fn.add(fn.relu)])
def test_a_gradient_unlike_the_output_is_refused(model: fn.Layer) -> None:
    x = np.ones((2, 3), np.float32)
    y, vjp_fn = model.apply(model.init((3,), 0), x, rng=0)
    with pytest.raises(ValueError, match=r"vjp_fn expects dy like y, of shape \(2, 3\), got \(3,\)"):
        vjp_fn(np.ones(3, np.float32))
    with pytest.raises(TypeError, match="vjp_fn expects dy like y, of dtype float32, got float64"):
        vjp_fn(np.ones_like(y, np.float64))
