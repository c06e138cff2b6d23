"""Layers against PyTorch, forward and gradients, in float64; images go over as (batch, channels, *pixels)."""

from collections.abc import Callable, Sequence
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
