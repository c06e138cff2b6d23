"""Adaptive pooling against a loop over windows, in every memory order."""

import math
from itertools import product
from typing import Any

import numpy as np
import oracle
import pytest

from funcnn.aliases import Array
from funcnn.kernels.adaptive_pooling import adaptive_max, adaptive_max_gradient, adaptive_mean, adaptive_mean_gradient

SHAPES = {1: ((7,), (3,)), 2: ((5, 4), (2, 6)), 3: ((4, 3, 5), (3, 3, 2))}
CLOSE: Any = {"rtol": 1e-12, "atol": 1e-12}


def adaptive_by_loops(kind: str, x: Array, dy: Array) -> tuple[Array, Array]:
    """``(y, dx)``, with the bounds of windows as their definition has them."""
    pixels, sizes = x.shape[1:-1], dy.shape[1:-1]
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for n, window, c in product(range(len(x)), np.ndindex(*sizes), range(x.shape[-1])):
        bounds = [
            (math.floor(i * n / m), math.ceil((i + 1) * n / m)) for i, n, m in zip(window, pixels, sizes, strict=True)
        ]
        cells = [(n, *cell, c) for cell in product(*(range(*ends) for ends in bounds))]
        here = (n, *window, c)
        if kind == "mean":
            y[here] = sum(x[cell] for cell in cells) / len(cells)
            for cell in cells:
                dx[cell] += dy[here] / len(cells)
        else:
            y[here] = max(x[cell] for cell in cells)
            dx[next(cell for cell in cells if x[cell] == y[here])] += dy[here]
    return y, dx


@pytest.mark.parametrize("layout", ["C", "kernel", "Fortran"])
@pytest.mark.parametrize("kind", ["mean", "max"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_adaptive_pooling_agrees_with_the_loops(rank: int, kind: str, layout: str) -> None:
    random, (pixels, sizes) = np.random.default_rng(0), SHAPES[rank]
    # Ties: three different numbers.
    x = oracle.arranged(random.integers(-3, 0, (2, *pixels, 3)).astype(float), layout)
    dy = random.standard_normal((2, *sizes, 3))
    expected_y, expected_dx = adaptive_by_loops(kind, x, dy)
    if kind == "mean":
        y, dx = adaptive_mean(x, sizes), adaptive_mean_gradient(dy, pixels)
    else:
        y = adaptive_max(x, sizes)
        dx = adaptive_max_gradient(x, y, dy)
    np.testing.assert_allclose(y, expected_y, **CLOSE)
    np.testing.assert_allclose(dx, expected_dx, **CLOSE)
