"""Pooling of images as large as in use, in float32 against float64."""

import numpy as np
import pytest

import funcnn as fn


@pytest.mark.parametrize(
    "layer",
    [
        fn.max_pool2d(3, stride=2, padding="same"), fn.avg_pool2d(3, stride=2, padding="same", count_padding=True),
        fn.sum_pool2d(3, stride=2), fn.lp_pool2d(2, 3, stride=2), fn.lp_pool2d(2.5, 2), fn.adaptive_avg_pool2d(7),
        fn.adaptive_max_pool2d((7, 5)), fn.global_avg_pool2d, fn.global_max_pool2d, fn.unfold(3, stride=2),
    ],
    ids=repr,
)  # fmt: skip
def test_float32_agrees_with_float64(layer: fn.Layer) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((4, 56, 56, 32)).astype(np.float32)
    y, vjp_fn = layer.apply({}, x)
    dy = random.standard_normal(y.shape).astype(np.float32)
    expected, expected_vjp = layer.apply({}, x.astype(np.float64))
    _, dx = vjp_fn(dy)
    _, expected_dx = expected_vjp(dy.astype(np.float64))
    assert y.dtype == dx.dtype == np.float32
    # The longest sums, of 3136 pixels, are added in two steps of 56: an error of a few units of 2 ** -24 of each term.
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-5, atol=1e-6)
