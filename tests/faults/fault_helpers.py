"""What the tests of the faults share: data, derivatives measured by moving each number, and the comparison itself."""

from collections.abc import Callable
from typing import Any

import numpy as np

from funcnn import Layer
from funcnn.aliases import Array


def draw(*shape: int, seed: int = 0) -> Array:
    """Standard normal numbers in float64."""
    return np.random.default_rng(seed).standard_normal(shape)


def told_apart(ours: Any, right: Any, faulty: Any) -> None:
    """Our answer is the right one, and the faulty formula gives another on the same data.

    Derivatives in float64 that are measured by central differences of 1e-6 are good to about 1e-9; every faulty answer
    has another shape, is no number, or is off by more than one per cent.
    """
    ours, right, faulty = (np.asarray(a, float) for a in (ours, right, faulty))
    assert ours.shape == right.shape
    np.testing.assert_allclose(ours, right, rtol=1e-6, atol=1e-7)
    if faulty.shape == right.shape:
        assert not np.linalg.norm(faulty - right) <= 0.01 * np.linalg.norm(right)


def measured(f: Callable[[Array], Any], x: Array) -> Array:
    """df/dx, by moving one number of x after the other."""
    slope = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved[index] += step
            ends.append(float(f(moved)))
        slope[index] = (ends[0] - ends[1]) / 2e-6
    return slope


def answers(layer: Layer, params: Any, x: Array, dy: Array | None = None, rng: Any = None) -> tuple[Array, Any, Array]:
    """``(y, dparams, dx)`` for a gradient ``dy``, ones by default."""
    y, vjp_fn = layer.apply(params, x, rng)
    grads, dx = vjp_fn(np.ones_like(y) if dy is None else dy)
    assert dx is not None
    return y, grads, dx


def cosine(a: Array, b: Array) -> float:
    """1 for gradients of one direction, whatever their lengths."""
    return float(np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def correlate(x: Array, w: Array, stride: int = 1, border: int = 0) -> Array:
    """A convolution as its definition reads: a loop over the places, each window times the kernel.

    Args:
        x: (batch, height, width, channels).
        w: (kh, kw, channels, filters).
        stride: pixels from one window to the next.
        border: pixels of zeros on each side.
    """
    x = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    kh, kw = w.shape[:2]
    rows, columns = ((n - k) // stride + 1 for n, k in zip(x.shape[1:3], (kh, kw), strict=True))
    y = np.zeros((len(x), rows, columns, w.shape[3]))
    for r, s in np.ndindex(rows, columns):
        y[:, r, s] = np.tensordot(x[:, r * stride :, s * stride :][:, :kh, :kw], w, 3)
    return y
