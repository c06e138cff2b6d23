"""Layers against PyTorch, forward and gradients, in float64; images go over as (batch, channels, height, width)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array

pytestmark = pytest.mark.torch

SHAPE = (3, 9, 8, 4)


def to_torch(array: Array) -> Any:
    """A leaf of the graph, in our layout."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).requires_grad_()


def compare(layer: fn.Layer, params: Any, x: Array, theirs: Callable[..., Any], rng: Any = None) -> None:
    """``theirs(params, x)`` gets tensors in our layout; and returns gradients in our layout too."""
    import torch

    y, vjp_fn = layer.apply(params, x, rng)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    grads, dx = vjp_fn(dy)
    tensors, x_tensor = fn.tree.map(to_torch, params), to_torch(x)
    expected = theirs(tensors, x_tensor)
    expected.backward(torch.from_numpy(dy))
    # Both sum the same few hundred products in float64, in another order.
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(y, expected.detach().numpy(), **close)
    np.testing.assert_allclose(dx, x_tensor.grad.numpy(), **close)
    for path, gradient in fn.tree.flatten(grads).items():
        other = fn.tree.flatten(tensors)[path].grad
        np.testing.assert_allclose(gradient, 0 if other is None else other.numpy(), **close, err_msg=path)


def images(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(SHAPE)


def channels_first(function: Callable[[Any], Any], x: Any) -> Any:
    return function(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 3)},
        {"dilation": (2, 1)},
        {"groups": 2},
        {"padding": ((2, 2), (1, 1))},
        {"stride": 2, "dilation": (1, 2), "groups": 4, "padding": ((1, 1), (3, 3))},
        {"bias": False, "stride": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("kernel", [1, 3, (2, 3)], ids=str)
def test_conv2d(kernel: Any, options: dict[str, Any]) -> None:
    import torch.nn.functional as F

    layer = fn.conv2d(8, kernel, **options)
    random = np.random.default_rng(2)
    params = fn.tree.map(lambda leaf: random.standard_normal(leaf.shape), layer.init(SHAPE[1:], 0))
    padding = [low for low, _ in options.get("padding", ((0, 0), (0, 0)))]
    others = {name: value for name, value in options.items() if name in ("stride", "dilation", "groups")}

    def theirs(params: Any, x: Any) -> Any:
        w = params["w"].permute(3, 2, 0, 1)
        return channels_first(lambda x: F.conv2d(x, w, params.get("b"), padding=padding, **others), x)

    compare(layer, params, images(), theirs)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("window", "stride", "padding"),
    [
        (2, None, (0, 0)),
        (3, 2, (0, 0)),
        (3, 2, (1, 1)),
        ((3, 2), (1, 3), (1, 0)),
        ((4, 3), (3, 2), (2, 1)),
        (2, 3, (1, 1)),
        (3, 4, (1, 0)),
    ],
)
def test_pooling(window: Any, stride: Any, padding: tuple[int, int], ceil_mode: bool) -> None:
    import torch.nn.functional as F

    sides = tuple((p, p) for p in padding)

    def largest(params: Any, x: Any) -> Any:
        return channels_first(lambda x: F.max_pool2d(x, window, stride, padding, ceil_mode=ceil_mode), x)

    def smallest(params: Any, x: Any) -> Any:
        return -largest(params, -x)

    def mean(params: Any, x: Any) -> Any:
        return channels_first(lambda x: F.avg_pool2d(x, window, stride, padding, ceil_mode, count_include_pad=False), x)

    compare(fn.max_pool2d(window, stride, sides, ceil_mode), {}, images(), largest)
    compare(fn.min_pool2d(window, stride, sides, ceil_mode), {}, images(), smallest)
    compare(fn.avg_pool2d(window, stride, sides, ceil_mode), {}, images(), mean)


def test_ties_of_max_pooling_go_to_the_same_pixel() -> None:
    import torch.nn.functional as F

    x = np.random.default_rng(0).integers(0, 2, SHAPE).astype(float)
    compare(
        fn.max_pool2d(3, 2, ((1, 1), (1, 1))),
        {},
        x,
        lambda params, x: channels_first(lambda x: F.max_pool2d(x, 3, 2, 1), x),
    )


@pytest.mark.parametrize("shape", [SHAPE, (16, 5)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(shape: tuple[int, ...], training: bool) -> None:
    import torch
    import torch.nn.functional as F

    random = np.random.default_rng(3)
    x = 2 + 3 * random.standard_normal(shape)
    params = {name: random.uniform(0.5, 2, shape[-1]) for name in ("scale", "shift", "mean", "var")}

    def theirs(params: Any, x: Any) -> Any:
        moved = x.movedim(-1, 1)
        shift, scale = params["shift"], params["scale"]
        if training:
            return F.batch_norm(moved, None, None, scale, shift, training=True, eps=1e-3).movedim(1, -1)
        # PyTorch gives measured statistics no gradient; ours is one of the formula, written out.
        expected = (x - params["mean"]) / torch.sqrt(params["var"] + 1e-3) * scale + shift
        known = F.batch_norm(moved, params["mean"].detach(), params["var"].detach(), scale, shift, eps=1e-3)
        torch.testing.assert_close(expected, known.movedim(1, -1), rtol=1e-12, atol=1e-12)
        return expected

    compare(fn.batch_norm(eps=1e-3), params, x, theirs, rng=0 if training else None)


@pytest.mark.parametrize(
    ("layer", "theirs"),
    [
        (fn.identity, lambda F, x: x * 1),
        (fn.relu, lambda F, x: F.relu(x)),
        (fn.leaky_relu(0.2), lambda F, x: F.leaky_relu(x, 0.2)),
        (fn.sigmoid, lambda F, x: F.sigmoid(x)),
        (fn.tanh, lambda F, x: F.tanh(x)),
        (fn.swish, lambda F, x: F.silu(x)),
        (fn.softmax, lambda F, x: F.softmax(x, -1)),
        (fn.log_softmax, lambda F, x: F.log_softmax(x, -1)),
        (fn.global_avg_pool2d, lambda F, x: x.mean((1, 2))),
        (fn.flatten, lambda F, x: x.flatten(1)),
        (fn.upsample2d((2, 3)), lambda F, x: channels_first(lambda x: F.interpolate(x, scale_factor=(2, 3)), x)),
    ],
    ids=repr,
)
def test_layers_without_parameters(layer: fn.Layer, theirs: Callable[[Any, Any], Any]) -> None:
    import torch.nn.functional as F

    x = 5 * images()
    # At zero the slope of relu and leaky_relu is a convention; ours is PyTorch's.
    x[0, 0] = 0
    compare(layer, {}, x, lambda params, x: theirs(F, x))


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 5)])
def test_dense(shape: tuple[int, ...]) -> None:
    import torch.nn.functional as F

    random = np.random.default_rng(4)
    params = {"w": random.standard_normal((5, 7)), "b": random.standard_normal(7)}
    x = random.standard_normal(shape)
    compare(fn.dense(7, activation=fn.swish), params, x, lambda p, x: F.silu(F.linear(x, p["w"].T, p["b"])))
