"""Shared by the tests of the faults: data, numeric derivatives, and comparisons of our result with the faulty one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn import Layer
from funcnn.aliases import Array


def draw(*shape: int, seed: int = 0) -> Array:
    """Standard normal numbers in float64."""
    return np.random.default_rng(seed).standard_normal(shape)


def distinguish(ours: Any, right: Any, faulty: Any) -> None:
    """Assert that our result is right, and that the faulty formula has another result on the same data.

    Central differences of 1e-6 in float64 are accurate to about 1e-9; every faulty result has another shape, is NaN, or
    differs by more than one per cent.
    """
    ours, right, faulty = (np.asarray(a, float) for a in (ours, right, faulty))
    assert ours.shape == right.shape
    np.testing.assert_allclose(ours, right, rtol=1e-6, atol=1e-7)
    if faulty.shape == right.shape:
        assert not np.linalg.norm(faulty - right) <= 0.01 * np.linalg.norm(right)


def numeric_gradient(f: Callable[[Array], Any], x: Array) -> Array:
    """df/dx by central differences, element by element."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved[index] += step
            ends.append(float(f(moved)))
        gradient[index] = (ends[0] - ends[1]) / 2e-6
    return gradient


def run_layer(
    layer: Layer, params: Any, x: Array, dy: Array | None = None, rng: Any = None
) -> tuple[Array, Any, Array]:
    """``(y, dparams, dx)`` for a gradient ``dy``, ones by default."""
    y, vjp_fn = layer.apply(params, x, rng)
    grads, dx = vjp_fn(np.ones_like(y) if dy is None else dy)
    assert dx is not None
    return y, grads, dx


def cosine(a: Array, b: Array) -> float:
    """The cosine of the angle between two gradients: 1 if they have the same direction."""
    return float(np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def correlate(x: Array, w: Array, stride: int = 1, border: int = 0) -> Array:
    """A convolution by its definition: a loop over the windows, each multiplied by the kernel.

    Args:
        x: (batch, height, width, channels).
        w: (kh, kw, channels, filters).
        stride: the distance between windows in pixels.
        border: the number of zero pixels on each side.
    """
    x = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    kh, kw = w.shape[:2]
    rows, columns = ((n - k) // stride + 1 for n, k in zip(x.shape[1:3], (kh, kw), strict=True))
    y = np.zeros((len(x), rows, columns, w.shape[3]))
    for r, s in np.ndindex(rows, columns):
        y[:, r, s] = np.tensordot(x[:, r * stride :, s * stride :][:, :kh, :kw], w, 3)
    return y
