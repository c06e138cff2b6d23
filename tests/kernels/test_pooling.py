"""The pooling kernels, through their layers, against the loops of ``oracle.py``."""

from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcnn as fn

LAYERS = {"max": fn.max_pool2d, "min": fn.min_pool2d, "avg": fn.avg_pool2d}


@st.composite
def poolings(draw: st.DrawFn) -> dict[str, Any]:
    """A pooling, the shape of its input, and how its two arrays lie in memory."""
    size = draw(oracle.sizes)
    return {
        "kind": draw(st.sampled_from(sorted(LAYERS))),
        "shape": (*draw(oracle.images), draw(st.integers(1, 2))),
        "size": size,
        "stride": draw(st.one_of(st.none(), st.tuples(st.integers(1, 4), st.integers(1, 4)))),
        "padding": draw(oracle.paddings((size[0] - 1, size[1] - 1))),
        "ceil_mode": draw(st.booleans()),
        "ties": draw(st.booleans()),
        "layouts": draw(st.tuples(oracle.layouts, oracle.layouts)),
    }


@settings(max_examples=300, deadline=None)
@given(poolings(), st.integers(0, 2**32 - 1))
def test_pooling_and_its_gradient_agree_with_the_loops(case: dict[str, Any], seed: int) -> None:
    random = np.random.default_rng(seed)
    shape, size, kind = case["shape"], case["size"], case["kind"]
    layer = LAYERS[kind](size, case["stride"], case["padding"], case["ceil_mode"])
    # Three different numbers at most, all below zero: many ties, and a padding of zeros would win every maximum.
    values = -random.integers(1, 4, shape).astype(float) if case["ties"] else random.standard_normal(shape)
    x = oracle.arranged(values, case["layouts"][0])
    stride = case["stride"] or size
    begins, low = oracle.both_axes(shape, size, stride, (1, 1), case["padding"], case["ceil_mode"])
    if not (begins[0] and begins[1]):
        with pytest.raises(ValueError, match=f"{kind}_pool2d: a window of .* is larger than its input"):
            layer.apply({}, x)
        return
    dy = random.standard_normal((shape[0], len(begins[0]), len(begins[1]), shape[3]))
    dy = oracle.arranged(dy, case["layouts"][1])
    expected_y, expected_dx = oracle.pooling(kind, x, dy, begins, low, size)

    y, vjp_fn = layer.apply({}, x)
    grads, dx = vjp_fn(dy)

    assert grads == {}
    assert y.shape == expected_y.shape
    assert dx is not None
    assert dx.shape == x.shape
    if kind != "avg":
        np.testing.assert_array_equal(y, expected_y)
    # A pixel gets the sum of at most nine gradients near 1.
    np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-12, atol=1e-12)
    # Nothing of the gradient is lost on the padding or counted twice in a tie.
    np.testing.assert_allclose(dx.sum(), dy.sum(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["max", "min"])
def test_the_first_of_tied_pixels_gets_the_whole_gradient(kind: str) -> None:
    _, vjp_fn = LAYERS[kind](2).apply({}, np.ones((1, 2, 4, 1)))
    _, dx = vjp_fn(np.array([5.0, 7.0]).reshape(1, 1, 2, 1))
    np.testing.assert_array_equal(dx[0, :, :, 0], [[5, 0, 7, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_the_memory_order_of_the_input_is_kept(kind: str, padding: str) -> None:
    x = oracle.arranged(np.random.default_rng(0).standard_normal((2, 7, 6, 3)), "batch innermost")
    y, vjp_fn = LAYERS[kind](3, 2, padding).apply({}, x)
    _, dx = vjp_fn(np.ones_like(y))
    assert dx is not None
    for array in (y, dx):
        # Channels outermost, then rows, then columns, the batch innermost, as in the input.
        assert np.argsort(array.strides).tolist() == np.argsort(x.strides).tolist()
