"""Transposed convolution by hand, and against the loops with exchanged roles; with_torch compares it with PyTorch."""

from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funcnn.kernels.epilogue import Activation, Epilogue
from funcnn.kernels.transposed import transposed_convolve, transposed_input_gradient, transposed_kernel_gradient
from funcnn.kernels.windows import Window


def test_each_pixel_becomes_a_kernel_by_hand() -> None:
    # Two pixels, a kernel of three taps, stride 2: the middle one of five pixels is reached by both.
    x, w = np.array([1.0, 10.0]).reshape(1, 2, 1), np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    geometry = Window((3,), (2,), (1,)).fit("conv", (1, 5, 1))
    y = transposed_convolve(x, w, geometry)
    assert y.ravel().tolist() == [1, 2, 3 + 10, 20, 30]
    dy = np.array([1.0, 2.0, 3.0, 4.0, 5.0]).reshape(1, 5, 1)
    assert transposed_input_gradient(dy, w, geometry).ravel().tolist() == [1 + 4 + 9, 3 + 8 + 15]
    assert transposed_kernel_gradient(x, dy, geometry).ravel().tolist() == [1 + 30, 2 + 40, 3 + 50]


@pytest.mark.parametrize("stride", [1, 2])
def test_the_epilogue_comes_after_the_sum(stride: int) -> None:
    x, w = np.full((1, 3, 1), -1.0), np.ones((2, 1, 1))
    geometry = Window((2,), (stride,), (1,)).fit("conv", (1, 2 * stride + 2, 1))
    plain = transposed_convolve(x, w, geometry)
    absolute = Epilogue(bias=np.array([0.5]), activation=Activation("abs", np.abs))
    assert np.array_equal(transposed_convolve(x, w, geometry, epilogue=absolute), np.abs(plain + 0.5))


@settings(max_examples=100)
@given(st.data(), oracle.ranks, st.integers(0, 2**32 - 1))
def test_a_transposed_convolution_is_a_convolution_with_exchanged_roles(data: Any, rank: int, seed: int) -> None:
    random, groups, tuning = np.random.default_rng(seed), data.draw(st.integers(1, 2)), data.draw(oracle.tunings)
    size, stride, dilation = (data.draw(oracle.sizes(rank, 2)) for _ in range(3))
    padding = data.draw(oracle.paddings((1,) * rank))
    batch, *pixels = data.draw(oracle.images(rank))
    window = Window(size, stride, dilation, padding)
    y_shape = (batch, *(max(n, k) for n, k in zip(pixels, window.effective_size, strict=True)), 2 * groups)
    geometry = window.fit("conv", y_shape)
    shapes = (batch, *geometry.counts, groups), y_shape, (*size, 2, groups)
    x, dy, w = (random.standard_normal(shape).astype(oracle.FLOAT) for shape in shapes)
    begins, low = oracle.all_axes(y_shape, size, stride, dilation, padding)
    dx, dw, y = oracle.convolution(dy, w, x, begins, low, dilation, groups, "zero")
    close = {"rtol": oracle.CLOSE, "atol": oracle.CLOSE}
    np.testing.assert_allclose(transposed_convolve(x, w, geometry, groups, tuning=tuning), y, **close)
    np.testing.assert_allclose(transposed_kernel_gradient(x, dy, geometry, groups, tuning), dw, **close)
    np.testing.assert_allclose(transposed_input_gradient(dy, w, geometry, groups, tuning), dx, **close)
