"""oneDNN's kernels against NumPy's in float64, one by one: values, gradients, special numbers, what NumPy keeps.

The loops of ``tests/kernels`` and PyTorch are compared with them too, where ``FUNCNN_KERNELS=onednn`` chooses them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array
from funcnn.engine import threads
from funcnn.kernels import convolution, moments, pooling, products, softmax
from funcnn.kernels.epilogue import Activation, Epilogue
from funcnn.kernels.implementations import calls
from funcnn.kernels.onednn import scope
from funcnn.kernels.windows import Geometry, Window
from funcnn.layers.activation import fuse
from funcnn.testing import random_batch, table_of_layers

CLOSE = 1e-5
"""Of the largest element: float32 rounds to 6e-8, and some thousand products are added."""


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def wide(value: Any) -> Any:
    """The same in float64, which NumPy computes."""
    if isinstance(value, Epilogue):
        return Epilogue(*[part.astype(float) if isinstance(part, np.ndarray) else part for part in value])
    return value.astype(float) if isinstance(value, np.ndarray) else value


def alike(kernel: Callable[..., Any], *args: Any, taken: bool = True) -> Any:
    """Check that oneDNN took the arguments, or did not, and that its result is NumPy's."""
    name = kernel.__name__
    before = calls()[name, taken]
    found = kernel(*args)
    assert calls()[name, taken] == before + 1, f"{name}: oneDNN {'did not take' if taken else 'took'} it"
    close(found, kernel(*map(wide, args)))
    return found


def close(found: Any, expected: Any) -> None:
    if isinstance(found, tuple):
        for one, other in zip(found, expected, strict=True):
            close(one, other)
        return
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.max(np.abs(found - expected), initial=0) <= CLOSE * max(1.0, np.max(np.abs(expected), initial=0))


def geometry_of(
    shape: tuple[int, ...], size: int, stride: int = 1, dilation: int = 1, padding: Any = "same"
) -> Geometry:
    rank = len(shape) - 2
    return Window((size,) * rank, (stride,) * rank, (dilation,) * rank, padding).fit("conv", shape)


@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("pixels", [(23,), (9, 8), (5, 6, 7)], ids=len)
def test_convolutions_and_their_gradients(pixels: tuple[int, ...], stride: int, dilation: int, groups: int) -> None:
    x, bias = normal(3, *pixels, 16), normal(32, seed=1)
    geometry = geometry_of(x.shape, 3, stride, dilation)
    w, dy = normal(*geometry.size, 16 // groups, 32, seed=2), normal(3, *geometry.counts, 32, seed=3)
    before = calls()["convolve", True]
    for found in (convolution.convolve(x, w, geometry, groups, Epilogue(bias)),):
        close(found, convolution.convolve(wide(x), wide(w), geometry, groups, wide(Epilogue(bias))))
    close(
        convolution.kernel_gradient(x, dy, geometry, groups),
        convolution.kernel_gradient(wide(x), wide(dy), geometry, groups),
    )
    close(
        convolution.input_gradient(dy, w, geometry, groups),
        convolution.input_gradient(wide(dy), wide(w), geometry, groups),
    )
    if len(pixels) < 3 or groups == 1:
        assert calls()["convolve", True] > before


@pytest.mark.parametrize(("examples", "parts"), [(16, 2), (15, 1), (32, 1)])
@pytest.mark.parametrize("filters", [16, 48])
def test_a_large_convolution_of_few_examples_runs_in_two_halves(
    examples: int, parts: int, filters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, bias = normal(examples, 33, 32, 16), normal(filters, seed=1)
    geometry = geometry_of(x.shape, 3)
    w, dy = normal(3, 3, 16, filters, seed=2), normal(examples, *geometry.counts, filters, seed=3)
    sizes, run = [], threads.run

    def counted(tasks: Any) -> Any:
        sizes.append(len(tasks))
        return run(tasks)

    monkeypatch.setattr(threads, "run", counted)
    alike(convolution.convolve, x, w, geometry, 1, Epilogue(bias, activation=fuse("conv", "relu").in_place))
    found = [
        alike(kernel, *args, geometry)
        for kernel, args in ((convolution.kernel_gradient, (x, dy)), (convolution.input_gradient, (dy, w)))
    ]
    assert sizes == [parts] * 3
    sizes.clear()
    run([lambda: convolution.kernel_gradient(x, dy, geometry)] * 2)
    assert sizes == [1, 1], "inside a task the other cores have tasks of their own"
    with fn.use_threads(1):
        np.testing.assert_array_equal(convolution.kernel_gradient(x, dy, geometry), found[0])
        np.testing.assert_array_equal(convolution.input_gradient(dy, w, geometry), found[1])


@pytest.mark.parametrize(("examples", "size", "taken"), [(1, 6, False), (4, 6, False), (5, 6, True), (1, 17, True)])
def test_a_kernel_larger_than_a_few_images_is_not_worth_its_copy(examples: int, size: int, taken: bool) -> None:
    x, w = normal(examples, size, size, 64), normal(3, 3, 64, 64, seed=1)
    alike(convolution.convolve, x, w, geometry_of(x.shape, 3), taken=taken)


@pytest.mark.parametrize(("examples", "taken"), [(1, False), (2, True), (5, True)])
def test_a_small_convolution_of_a_few_images_is_not_worth_a_call(
    examples: int, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "MIN_MULTIPLY_ADDS_OF_FEW", 2 * 6 * 6 * 8 * 16)
    x, w = normal(examples, 6, 6, 8), normal(1, 1, 8, 16, seed=1)
    alike(convolution.convolve, x, w, geometry_of(x.shape, 1), taken=taken)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "relu6", "sigmoid", "tanh", "elu"])
@pytest.mark.parametrize("scale", [None, normal(16, seed=1)], ids=["", "scaled"])
@pytest.mark.parametrize("shift", [None, normal(16, seed=2)], ids=["", "shifted"])
@pytest.mark.parametrize("bias", [None, normal(16, seed=3)], ids=["", "bias"])
def test_every_epilogue_of_a_convolution(name: Any, scale: Any, shift: Any, bias: Any) -> None:
    x, w = normal(2, 6, 7, 8) * 3, normal(3, 3, 8, 16, seed=4)
    epilogue = Epilogue(bias, scale, shift, fuse("conv", name).in_place)
    alike(convolution.convolve, x, w, geometry_of(x.shape, 3), 1, epilogue)
    dy = normal(2, 6, 7, 16, seed=5)
    turned = Epilogue(*[None if part is None else part[:8] for part in epilogue[:3]], epilogue.activation)
    alike(convolution.input_gradient, dy, w, geometry_of(x.shape, 3), 1, turned)


def test_an_activation_that_is_only_a_function_follows() -> None:
    x, w = normal(2, 6, 7, 8), normal(3, 3, 8, 16, seed=4)
    y = convolution.convolve(x, w, geometry_of(x.shape, 3), 1, Epilogue(activation=Activation("negative", np.negative)))
    np.testing.assert_array_equal(y, -convolution.convolve(x, w, geometry_of(x.shape, 3)))


@pytest.mark.parametrize("kind", ["max", "avg", "avg_with_padding"])
@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, "valid"), (3, 2, "same"), (3, 1, ((1, 1), (0, 1)))])
def test_pooling_and_its_gradient(kind: str, size: int, stride: int, padding: Any) -> None:
    x = normal(3, 9, 8, 16)
    geometry = geometry_of(x.shape, size, stride, 1, padding)
    dy = normal(3, *geometry.counts, 16, seed=1)
    if kind == "max":
        before = calls()["extreme_pooling", True]
        y, pull = pooling.extreme_pooling(x, np.maximum, geometry)
        y64, pull64 = pooling.extreme_pooling(wide(x), np.maximum, geometry)
        assert calls()["extreme_pooling", True] == before + 1
        close((y, pull(dy)), (y64, pull64(wide(dy))))
    else:
        counted = geometry.padding if kind == "avg_with_padding" else ((0, 0), (0, 0))
        alike(pooling.mean_pool, x, geometry, counted)
        alike(pooling.mean_gradient, x, dy, geometry, counted)


def test_the_moments_of_batch_norm() -> None:
    x, before = normal(4, 5, 6, 16) + 2, calls()["moments", True]
    n, mean, squares, far = moments.moments(x)
    assert (n, far, calls()["moments", True]) == (120, False, before + 1)
    close((mean, squares), moments.moments(wide(x))[1:3])


@pytest.mark.parametrize("name", [None, "relu", "sigmoid", "gelu"])
def test_the_map_of_batch_norm_and_both_steps_of_its_backward_pass(name: Any) -> None:
    x, dy = normal(4, 5, 6, 16) + 2, normal(4, 5, 6, 16, seed=1)
    mean, scale, shift, factor, mean_dz, along = normal(6, 16, seed=2)
    before = calls()["activated_map", True]

    def computed(cast: Callable[[Array], Array]) -> tuple[Array, ...]:
        y, pull = moments.activated_map(*map(cast, (x, mean, scale, shift)), *fuse("norm", name))
        sums, products, input_gradient = pull(cast(dy), cast(factor))
        return y, sums, products, input_gradient(), input_gradient(cast(mean_dz), cast(along))

    close(computed(np.asarray), computed(wide))
    assert calls()["activated_map", True] == before + 1


def test_the_relu_of_a_batch_norm_hides_a_gradient_that_is_infinite() -> None:
    x, dy = normal(4, 5, 6, 16), np.full((4, 5, 6, 16), np.inf, np.float32)
    y, pull = moments.activated_map(x, *np.float32([[0], [1], [0]]).repeat(16, 1), *fuse("", "relu"))
    _, _, input_gradient = pull(dy, np.ones(16, np.float32))
    np.testing.assert_array_equal(input_gradient(), np.where(y > 0, np.inf, 0))


def test_moments_that_float32_is_not_enough_for_are_numpys() -> None:
    x = normal(4, 5, 6, 16)
    x[..., 3] += 1000
    n, _, squares, far = moments.moments(x)
    assert far
    np.testing.assert_allclose(squares, wide(x).var((0, 1, 2)) * n, rtol=1e-10)


@pytest.mark.parametrize("shape", [(3000, 64), (40, 50, 64)], ids=len)
@pytest.mark.parametrize("name", ["relu", "tanh", None])
def test_products_with_an_epilogue(shape: tuple[int, ...], name: Any) -> None:
    bias, activation = normal(96, seed=2), fuse("dense", name).in_place
    alike(products.product, normal(*shape), normal(64, 96, seed=1), bias, activation)


@pytest.mark.parametrize(
    "layer", [fn.layer_norm(), fn.layer_norm(2), fn.layer_norm(scale=False, shift=False)], ids=repr
)
def test_layer_norm_and_its_gradients(layer: fn.Layer) -> None:
    x, dy = normal(5, 7, 6, 16), normal(5, 7, 6, 16, seed=1)
    params = fn.tree.map(lambda leaf: normal(*leaf.shape, seed=2), layer.init((7, 6, 16), 0))
    (y, vjp_fn), (y64, vjp64) = layer.apply(params, x), layer.apply(fn.tree.cast(params, float), wide(x))
    assert calls()["normalization", True] == 1
    (grads, dx), (grads64, dx64) = vjp_fn(dy), vjp64(wide(dy))
    close((y, dx, *fn.tree.leaves(grads)), (y64, dx64, *fn.tree.leaves(grads64)))
    # A mean that is far from 0, and rows of one number, are NumPy's.
    x[0, 0, 0] += 1000
    x[1] = 3
    y, _ = layer.apply(params, x)
    assert calls()["normalization", False] > 0
    np.testing.assert_allclose(y, layer.apply(fn.tree.cast(params, float), wide(x))[0], atol=2e-5)


def test_softmax_also_where_a_class_is_impossible_or_certain() -> None:
    x = normal(50, 33) * 10
    alike(softmax.softmax, x)
    x[0, :5] = -np.inf
    alike(softmax.softmax, x)
    x[1, 3] = np.inf
    y = alike(softmax.softmax, x, taken=False)
    assert y[1, 3] == 1
    alike(softmax.softmax, normal(4000, 10), taken=False)  # NumPy is faster with many short rows


def test_what_onednn_does_not_take_is_numpys() -> None:
    x, w = normal(2, 6, 7, 8), normal(3, 3, 8, 16, seed=4)
    cut = geometry_of(x.shape, 3)._replace(padding=((-1, 0), (1, 1)), counts=(3, 7))
    close(convolution.convolve(x, w, cut), convolution.convolve(wide(x), wide(w), cut))
    empty = geometry_of((0, 6, 7, 8), 3)
    assert convolution.convolve(x[:0], w, empty).shape == (0, 6, 7, 16)
    assert not convolution.kernel_gradient(x[:0], normal(0, 6, 7, 16), empty).any()
    y, _ = pooling.extreme_pooling(x, np.minimum, geometry_of(x.shape, 2, 2))
    np.testing.assert_array_equal(y[0, 0, 0], x[0, :2, :2].min((0, 1)))
    assert {taken for _, taken in calls()} == {False}


def test_output_padding_is_no_padding_that_cuts_off() -> None:
    layer = fn.conv_transpose2d(8, 3, 2, output_padding=1)
    params, x = layer.init((5, 6, 16), 0), normal(3, 5, 6, 16)
    y, _ = layer.apply(params, x)
    assert calls()["input_gradient", True] == 1
    close(y, layer.apply(fn.tree.cast(params, float), wide(x))[0])


@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu"])
@pytest.mark.parametrize("place", ["x", "w", "b"])
def test_a_relu_does_not_hide_a_nan(place: str, activation: Any) -> None:
    layer = fn.conv2d(16, 3, activation=activation)
    params, x = layer.init((6, 6, 8), 0), normal(2, 6, 6, 8)
    if place == "x":
        x[0, 0, 0, 0] = np.nan
    elif place == "w":
        params["w"][0, 0, 0, 3] = np.nan
    else:
        params["b"][3] = np.nan
    y, _ = layer.apply(params, x)
    assert np.isnan(y[0, 0, 0, 3])
    assert np.isnan(y).sum() == (16 if place == "x" else 2 * 4 * 4)


def test_the_relu_of_a_batch_norm_does_not_hide_a_nan() -> None:
    layer, x = fn.scale_and_shift("relu"), normal(2, 3, 3, 16)
    x[0, 0, 0, 5] = np.nan
    y, _ = layer.apply(layer.init((3, 3, 16), 0), x)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 0, 0, 5]]


def test_the_relu_of_a_product_does_not_hide_a_nan() -> None:
    a, bias = normal(2000, 32), np.full(16, np.nan, np.float32)
    y = products.product(a, normal(32, 16, seed=1), bias, fuse("dense", "relu").in_place)
    assert calls()["product", True] == 1
    assert np.isnan(y).all()


def test_special_numbers_in_pooling() -> None:
    x = np.full((1, 4, 4, 16), -np.inf, np.float32)
    x[0, 0, 0, 0], x[0, 2, 2, 1], x[0, 3, 3, 2] = np.nan, np.inf, 3.0e38
    y, vjp_fn = fn.max_pool2d(2).apply({}, x)
    assert np.isnan(y[0, 0, 0, 0])
    assert [y[0, 1, 1, channel] for channel in range(4)] == [-np.inf, np.inf, np.float32(3.0e38), -np.inf]
    dy = np.full(y.shape, np.inf, np.float32)
    assert vjp_fn(dy)[1].sum(dtype=float) == np.inf
    dy = np.zeros((1, 2, 2, 16), np.float32)
    dy[0, 0, 0, 0] = np.inf
    _, vjp_fn = fn.max_pool2d(2).apply({}, normal(1, 4, 4, 16))
    dx = vjp_fn(dy)[1]
    assert sorted(dx[..., 0].ravel())[-2:] == [0, np.inf]
    assert not np.isnan(dx).any()
    largest = np.full((1, 4, 4, 16), 3.0e38, np.float32)
    np.testing.assert_array_equal(fn.avg_pool2d(2).apply({}, largest)[0], np.full((1, 2, 2, 16), 3.0e38, np.float32))


IMAGES = [(layer, shape) for layer, shape in table_of_layers() if isinstance(shape, tuple) and len(shape) > 1]


@pytest.mark.parametrize(("layer", "shape"), IMAGES, ids=repr)
def test_a_layer_of_images_is_that_of_float64(layer: fn.Layer, shape: Any) -> None:
    x = random_batch(shape, 5)
    if x.dtype.kind != "f":
        return
    params = fn.tree.map(lambda leaf: np.nan_to_num(leaf, nan=0.5), layer.init(shape, 0))
    x32 = x.astype(np.float32)
    for rng in (0, None):
        y, vjp_fn = layer.apply(params, x32, rng)
        y64, vjp64 = layer.apply(fn.tree.cast(params, float), wide(x32), rng)
        if not isinstance(y, np.ndarray):
            return
        close(y, y64)
        dy = normal(*y.shape, seed=1)
        (grads, dx), (grads64, dx64) = vjp_fn(dy), vjp64(wide(dy))
        pairs = [(dx, dx64), *zip(fn.tree.leaves(grads), fn.tree.leaves(grads64), strict=True)]
        for found, expected in pairs:
            if found is not None:
                assert np.max(np.abs(found - expected), initial=0) <= 1e-4 * max(
                    1.0, np.max(np.abs(expected), initial=0)
                )
