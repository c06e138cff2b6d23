"""Layers against PyTorch, forward and gradients, in float64; images go over as (batch, channels, *pixels)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array
from funcnn.kernels.transposed import transposed_convolve, transposed_input_gradient, transposed_kernel_gradient
from funcnn.kernels.windows import Window

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


def channels_first(function: Callable[[Any], Any], x: Any) -> Any:
    """A function of (batch, channels, *pixels), as one of (batch, *pixels, channels)."""
    return function(x.movedim(-1, 1)).movedim(1, -1)


def of_rank(name: str, rank: int) -> Any:
    """``conv2d`` of PyTorch, or of another rank."""
    import torch.nn.functional as F

    return getattr(F, f"{name}{rank}d")


def sides(lows: Sequence[int]) -> Any:
    """The same padding before and behind, as we take it."""
    return tuple((p, p) for p in lows)


PIXELS = {1: (17,), 2: (9, 8), 3: (6, 5, 7)}
CONVOLUTIONS: list[tuple[int, Any, dict[str, Any]]] = [
    (rank, kernel, options)
    for rank, kernels, options_of_rank in (
        (
            1,
            [1, 3, 4],
            [
                {},
                {"stride": 3},
                {"dilation": 2},
                {"groups": 2},
                {"padding": (2,)},
                {"stride": 2, "dilation": 2, "groups": 4, "padding": (3,)},
            ],
        ),
        (
            2,
            [1, 3, (2, 3)],
            [
                {},
                {"stride": (2, 3)},
                {"dilation": (2, 1)},
                {"groups": 2},
                {"padding": (2, 1)},
                {"stride": 2, "dilation": (1, 2), "groups": 4, "padding": (1, 3)},
                {"bias": False, "stride": 3},
            ],
        ),
        (
            3,
            [1, 3, (2, 3, 1)],
            [
                {},
                {"stride": (2, 1, 3)},
                {"dilation": (1, 2, 2)},
                {"groups": 2},
                {"padding": (2, 0, 1)},
                {"stride": (1, 2, 2), "dilation": (2, 2, 1), "groups": 4, "padding": (2, 2, 2)},
            ],
        ),
    )
    for kernel in kernels
    for options in options_of_rank
]


@pytest.mark.parametrize("batch", [3, 6])
@pytest.mark.parametrize(("rank", "kernel", "options"), CONVOLUTIONS, ids=str)
def test_convolution(rank: int, kernel: Any, options: dict[str, Any], batch: int) -> None:
    padding = options.get("padding", (0,) * rank)
    layer = [fn.conv1d, fn.conv2d, fn.conv3d][rank - 1](8, kernel, **options | {"padding": sides(padding)})
    random = np.random.default_rng(2)
    x = random.standard_normal((batch, *PIXELS[rank], 4))
    params = fn.tree.map(lambda leaf: random.standard_normal(leaf.shape), layer.init(x.shape[1:], 0))
    others = {name: value for name, value in options.items() if name in ("stride", "dilation", "groups")}

    def theirs(params: Any, x: Any) -> Any:
        w = params["w"].movedim((-1, -2), (0, 1))
        conv = of_rank("conv", rank)
        return channels_first(lambda x: conv(x, w, params.get("b"), padding=padding, **others), x)

    compare(layer, params, x, theirs)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("rank", "size", "stride", "padding", "output_padding", "dilation"),
    [
        (1, (3,), (1,), (0,), (0,), (1,)),
        (1, (4,), (3,), (1,), (2,), (2,)),
        (2, (3, 2), (1, 1), (1, 0), (0, 0), (1, 2)),
        (2, (3, 3), (2, 3), (1, 0), (1, 0), (1, 1)),
        (2, (2, 2), (2, 2), (0, 0), (0, 0), (1, 1)),
        (3, (2, 3, 2), (1, 1, 1), (0, 1, 0), (0, 0, 0), (1, 1, 2)),
        (3, (3, 2, 3), (2, 1, 2), (1, 0, 1), (1, 0, 0), (1, 2, 1)),
    ],
)
def test_transposed_convolution_kernels(
    rank: int, size: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int
) -> None:
    import torch

    random = np.random.default_rng(5)
    x = random.standard_normal((6, *PIXELS[rank], 4))
    w = random.standard_normal((*size, 3, 4))
    # Our w is (*size, filters / groups, channels), theirs (channels, filters / groups, *size).
    x_tensor, w_tensor = to_torch(x), to_torch(w)
    y_tensor = channels_first(
        lambda x: of_rank("conv_transpose", rank)(
            x, w_tensor.movedim((-1, -2), (0, 1)), None, stride, padding, output_padding, groups, dilation
        ),
        x_tensor,
    )
    geometry = Window(size, stride, dilation, sides(padding)).fit("conv", tuple(y_tensor.shape))
    assert geometry.counts == PIXELS[rank]
    dy = random.standard_normal(tuple(y_tensor.shape))
    y_tensor.backward(torch.from_numpy(dy))
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(transposed_convolve(x, w, geometry, groups), y_tensor.detach().numpy(), **close)
    np.testing.assert_allclose(transposed_kernel_gradient(x, dy, geometry, groups), w_tensor.grad.numpy(), **close)
    np.testing.assert_allclose(transposed_input_gradient(dy, w, geometry, groups), x_tensor.grad.numpy(), **close)


MAX_POOLS = (fn.max_pool1d, fn.max_pool2d, fn.max_pool3d)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_ties_of_max_pooling_go_to_the_same_pixel(rank: int) -> None:
    x = np.random.default_rng(0).integers(0, 2, (3, *PIXELS[rank], 4)).astype(float)
    layer = MAX_POOLS[rank - 1](3, 2, sides((1,) * rank))
    compare(layer, {}, x, lambda params, x: channels_first(lambda x: of_rank("max_pool", rank)(x, 3, 2, 1), x))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_special_numbers_of_max_pooling_go_to_the_same_pixel(rank: int) -> None:
    # One NaN a window at most: of several PyTorch takes the last, and we the first, as of other ties.
    random = np.random.default_rng(1)
    two = (2,) * rank
    x = random.choice([-np.inf, np.inf, 1.0], (3, *(2 * n for n in PIXELS[rank]), 4), p=[0.7, 0.2, 0.1])
    x[(slice(None), *(slice(random.integers(2), None, 4) for _ in range(rank)))] = np.nan
    compare(
        MAX_POOLS[rank - 1](two),
        {},
        x,
        lambda params, x: channels_first(lambda x: of_rank("max_pool", rank)(x, 2), x),
    )
    if rank == 3:
        return  # PyTorch picks pixels that are not the first where a padded window holds nothing but -inf
    # Windows of -inf alone, and padding around them.
    x = np.full((1, *PIXELS[rank], 1), -np.inf)
    layer = MAX_POOLS[rank - 1](3, 2, sides((1,) * rank))
    compare(layer, {}, x, lambda params, x: channels_first(lambda x: of_rank("max_pool", rank)(x, 3, 2, 1), x))
