"""Transposed convolutions: sizes and values counted by hand; tests/with_torch compares them with PyTorch."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn

X = np.array([1.0, 10.0]).reshape(1, 2, 1)
W = {"w": np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 12, 23, 30]),
        ({"stride": 2}, [1, 2, 13, 20, 30]),
        ({"stride": 2, "padding": (1, 0)}, [2, 13, 20, 30]),
        ({"stride": 2, "padding": (0, 2)}, [1, 2, 13]),
        ({"stride": 2, "output_padding": 1}, [1, 2, 13, 20, 30, 0]),
        ({"stride": 2, "padding": (0, 1), "output_padding": 1}, [1, 2, 13, 20, 30]),
        ({"dilation": 2}, [1, 10, 2, 20, 3, 30]),
        ({"dilation": 2, "output_padding": 1}, [1, 10, 2, 20, 3, 30, 0]),
        # Keras' sizes: pixels * stride; the odd pixel is cut off the end.
        ({"padding": "same"}, [12, 23]),
        ({"stride": 2, "padding": "same"}, [1, 2, 13, 20]),
        ({"stride": 4, "padding": "same"}, [1, 2, 3, 0, 10, 20, 30, 0]),
    ],
)
def test_each_pixel_makes_a_window_and_windows_add_up(options: dict[str, Any], expected: list[float]) -> None:
    layer = fn.conv_transpose1d(1, 3, bias=False, **options)
    assert layer.apply(W, X)[0].ravel().tolist() == expected
    # Of many examples, which are worked on in another way.
    assert layer.apply(W, np.repeat(X, 6, axis=0))[0][5].ravel().tolist() == expected


def test_gradients_by_hand() -> None:
    _, vjp_fn = fn.conv_transpose1d(1, 3, stride=2).apply(W | {"b": np.zeros(1)}, X)
    grads, dx = vjp_fn(np.array([1.0, 2.0, 3.0, 4.0, 5.0]).reshape(1, 5, 1))
    assert dx.ravel().tolist() == [1 + 4 + 9, 3 + 8 + 15]
    assert grads["w"].ravel().tolist() == [1 + 30, 2 + 40, 3 + 50]
    assert grads["b"].tolist() == [15]


def test_the_transposed_convolution_is_the_adjoint_of_the_convolution_with_its_arguments() -> None:
    random, options = np.random.default_rng(0), {"stride": (2, 3), "padding": ((1, 0), (2, 1)), "bias": False}
    w, image = random.standard_normal((3, 4, 2, 5)), random.standard_normal((2, 8, 10, 2))
    y, vjp_fn = fn.conv2d(5, (3, 4), **options).apply({"w": w}, image)  # type: ignore[arg-type]
    up, _ = fn.conv_transpose2d(2, (3, 4), **options).apply({"w": w}, y)  # type: ignore[arg-type]
    # The same kernel in the same layout, and the same sums in another order.
    np.testing.assert_allclose(up, vjp_fn(y)[1], rtol=1e-12, atol=1e-12)


def test_groups_make_filters_of_their_own_channels() -> None:
    layer = fn.conv_transpose2d(2, 1, groups=2, bias=False)
    y, _ = layer.apply({"w": np.array([2.0, 3.0]).reshape(1, 1, 1, 2)}, np.array([10.0, 100.0]).reshape(1, 1, 1, 2))
    assert y.ravel().tolist() == [20, 300]


def test_weights_are_scaled_by_what_one_output_pixel_sums() -> None:
    w = fn.conv_transpose2d(50, 4, stride=2, groups=2).init((9, 9, 40), 0)["w"]
    assert w.shape == (4, 4, 25, 40)
    # 4 of the 16 taps, of the 20 channels of a group.
    assert w.var() == pytest.approx(2 / (4 * 20), rel=0.05)
