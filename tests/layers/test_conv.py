"""``conv1d``, ``conv2d``, ``conv3d``: windows counted by hand, what raises; tests/kernels tests their arithmetic."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn

IMAGE = np.arange(1.0, 10.0).reshape(1, 3, 3, 1)
KERNEL = np.array([[1.0, 10.0], [100.0, 1000.0]]).reshape(2, 2, 1, 1)


def test_cross_correlation_and_its_gradients_by_hand() -> None:
    y, vjp_fn = fn.conv2d(1, 2, bias=False).apply({"w": KERNEL}, IMAGE)
    # The kernel is not turned: its first tap meets the upper left pixel.
    assert y[0, :, :, 0].tolist() == [[5421, 6532], [8754, 9865]]
    dy = np.array([[1.0, 0.0], [0.0, 2.0]]).reshape(1, 2, 2, 1)
    grads, dx = vjp_fn(dy)
    assert grads["w"][:, :, 0, 0].tolist() == [[1 + 2 * 5, 2 + 2 * 6], [4 + 2 * 8, 5 + 2 * 9]]
    assert dx is not None
    assert dx[0, :, :, 0].tolist() == [[1, 10, 0], [100, 1002, 20], [0, 200, 2000]]


def test_a_series_by_hand() -> None:
    x, w = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1), np.array([1.0, 10.0]).reshape(2, 1, 1)
    y, vjp_fn = fn.conv1d(1, 2, bias=False).apply({"w": w}, x)
    assert y.ravel().tolist() == [21, 32, 43]
    grads, dx = vjp_fn(np.array([1.0, 0.0, 2.0]).reshape(1, 3, 1))
    assert grads["w"].ravel().tolist() == [1 + 2 * 3, 2 + 2 * 4]
    assert dx is not None
    assert dx.ravel().tolist() == [1, 10, 2, 20]


def test_padding_on_the_left_only_is_causal() -> None:
    layer = fn.conv1d(1, 3, dilation=2, padding=(4, 0))
    params = layer.init((9, 1), 0)
    x = np.random.default_rng(0).standard_normal((1, 9, 1)).astype(np.float32)
    y, _ = layer.apply(params, x)
    x[0, 5] += 1
    changed = (layer.apply(params, x)[0] != y).ravel()
    assert changed.tolist() == [step in (5, 7) for step in range(9)]


def test_causal_padding_is_all_on_the_left_also_with_stride_and_edge_pixels() -> None:
    x, w = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1), {"w": np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)}

    def output(**options: Any) -> Any:
        return fn.conv1d(1, 3, padding="causal", bias=False, **options).apply(w, x)[0].ravel().tolist()

    assert output() == [100, 210, 321, 432]
    assert output(dilation=2) == [100, 200, 310, 420]
    assert output(stride=2) == [100, 321]
    assert output(pad_mode="edge") == [111, 211, 321, 432]


def test_depthwise_outputs_of_a_channel_stand_side_by_side() -> None:
    model = fn.depthwise_conv2d((1, 2), multiplier=2)
    x = np.array([[1.0, 10.0], [2.0, 20.0]]).reshape(1, 1, 2, 2)  # two pixels of two channels
    w = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]).reshape(1, 2, 1, 4)
    y, vjp_fn = model.apply({"w": w, "b": np.array([0.5, 0, 0, 0])}, x)
    assert y.ravel().tolist() == [1 + 10 + 0.5, 2 + 12, 30 + 140, 40 + 160]
    grads, dx = vjp_fn(np.array([1.0, 0.0, 0.0, 2.0]).reshape(y.shape))
    assert grads["w"].reshape(2, 4).tolist() == [[1, 0, 0, 20], [2, 0, 0, 40]]
    assert grads["b"].tolist() == [1, 0, 0, 2]
    assert dx.reshape(2, 2).tolist() == [[1, 8], [5, 16]]
    assert fn.depthwise_conv2d(3, 100).init((9, 9, 4), 0)["w"].var() == pytest.approx(2 / 9, rel=0.1)


def test_a_separable_convolution_is_its_two_layers() -> None:
    model = fn.separable_conv2d(3, 2, multiplier=2, stride=2, activation="relu")
    params = model.init((6, 6, 2), 0)
    assert fn.tree.map(np.shape, params) == {
        "depthwise": {"w": (2, 2, 1, 4)},
        "pointwise": {"w": (1, 1, 4, 3), "b": (3,)},
    }
    x = np.random.default_rng(0).standard_normal((5, 6, 6, 2)).astype(np.float32)
    deep, _ = fn.depthwise_conv2d(2, 2, stride=2, bias=False).apply(params["depthwise"], x)
    expected = np.maximum(deep @ params["pointwise"]["w"][0, 0] + params["pointwise"]["b"], 0)
    np.testing.assert_allclose(model.apply(params, x)[0], expected, rtol=1e-5, atol=1e-6)


def test_a_volume_by_hand() -> None:
    # The kernel's taps have the digits of 10000 times depth, 100 times height, 1 times width.
    w = np.array([1.0, 10.0, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7]).reshape(2, 2, 2, 1, 1)
    x = np.arange(1.0, 9.0).reshape(1, 2, 2, 2, 1)
    y, vjp_fn = fn.conv3d(1, 2, bias=False).apply({"w": w}, x)
    assert y.tolist() == [[[[[87654321]]]]]
    grads, dx = vjp_fn(np.full((1, 1, 1, 1, 1), 2.0))
    assert grads["w"].ravel().tolist() == (2 * x).ravel().tolist()
    assert dx is not None
    assert dx.ravel().tolist() == (2 * w).ravel().tolist()


def test_a_volume_of_one_plane_is_an_image_and_an_image_of_one_row_a_series() -> None:
    random = np.random.default_rng(0)
    x, w = random.standard_normal((2, 6, 5, 3)), random.standard_normal((3, 2, 3, 4))
    flat, _ = fn.conv2d(4, (3, 2), bias=False).apply({"w": w}, x)
    solid, _ = fn.conv3d(4, (1, 3, 2), bias=False).apply({"w": w[None]}, x[:, None])
    np.testing.assert_allclose(solid[:, 0], flat, rtol=1e-12, atol=1e-12)
    row, _ = fn.conv2d(4, (1, 2), bias=False).apply({"w": w[:1]}, x[:, :1])
    line, _ = fn.conv1d(4, 2, bias=False).apply({"w": w[0]}, x[:, 0])
    np.testing.assert_allclose(line, row[:, 0], rtol=1e-12, atol=1e-12)


def test_the_gradient_of_the_bias_is_a_sum() -> None:
    params = {"w": KERNEL, "b": np.array([0.5])}
    y, vjp_fn = fn.conv2d(1, 2).apply(params, np.repeat(IMAGE, 3, axis=0))
    assert y[2, 0, 0, 0] == 5421.5
    assert vjp_fn(np.ones_like(y))[0]["b"].tolist() == [12]


def test_same_padding_puts_the_odd_pixel_at_the_end() -> None:
    y, _ = fn.conv2d(1, 2, padding="same", bias=False).apply({"w": KERNEL}, IMAGE)
    assert y[0, :, :, 0].tolist() == [[5421, 6532, 603], [8754, 9865, 906], [87, 98, 9]]
    y, _ = fn.conv2d(1, 2, stride=2, padding="same", bias=False).apply({"w": KERNEL}, IMAGE)
    assert y[0, :, :, 0].tolist() == [[5421, 603], [87, 9]]


def test_explicit_padding_is_per_side() -> None:
    y, _ = fn.conv2d(1, 2, padding=((1, 0), (0, 0)), bias=False).apply({"w": KERNEL}, IMAGE)
    assert y[0, 0, :, 0].tolist() == [2100, 3200]
    y, _ = fn.conv2d(1, 2, padding=((0, 0), (0, 1)), bias=False, pad_mode="edge").apply({"w": KERNEL}, IMAGE)
    assert y[0, :, 2, 0].tolist() == [3 + 30 + 600 + 6000, 6 + 60 + 900 + 9000]


def test_a_stride_of_two_takes_every_other_window() -> None:
    x = np.random.default_rng(0).standard_normal((1, 6, 6, 1))
    dense_windows, _ = fn.conv2d(1, 2, bias=False).apply({"w": KERNEL}, x)
    strided, _ = fn.conv2d(1, 2, stride=(2, 3), bias=False).apply({"w": KERNEL}, x)
    # The same products, summed by another BLAS call.
    np.testing.assert_allclose(strided, dense_windows[:, ::2, ::3], rtol=1e-12)


def test_six_pixels_kernel_three_stride_two_padding_one_make_three() -> None:
    model = fn.conv2d(1, 3, stride=2, padding=((1, 1), (1, 1)))
    y, _ = model.apply(model.init((6, 6, 2), 0), np.zeros((4, 6, 6, 2), np.float32))
    assert y.shape == (4, 3, 3, 1)


def test_groups_see_their_own_channels_only() -> None:
    model = fn.conv2d(2, 1, groups=2, bias=False)
    y, _ = model.apply({"w": np.array([2.0, 3.0]).reshape(1, 1, 1, 2)}, np.array([10.0, 100.0]).reshape(1, 1, 1, 2))
    assert y.ravel().tolist() == [20, 300]


def test_a_fused_activation_is_the_layer_behind() -> None:
    random = np.random.default_rng(0)
    x, w, b = random.standard_normal((2, 5, 5, 2)), random.standard_normal((3, 3, 2, 4)), random.standard_normal(4)
    fused, apart = fn.conv2d(4, 3, activation=fn.tanh), fn.serial(fn.conv2d(4, 3), fn.tanh)
    y, vjp_fn = fused.apply({"w": w, "b": b}, x)
    same, same_vjp = apart.apply({"conv2d_0": {"w": w, "b": b}}, x)
    assert np.array_equal(y, same)
    dy = random.standard_normal(y.shape)
    (grads, dx), (same_grads, same_dx) = vjp_fn(dy), same_vjp(dy)
    assert np.array_equal(dx, same_dx)
    assert fn.tree.map(np.array_equal, grads, same_grads["conv2d_0"]) == {"w": True, "b": True}


def test_weights_are_scaled_by_what_one_filter_sees() -> None:
    w = fn.conv2d(200, 3, groups=2).init((9, 9, 40), 0)["w"]
    assert w.shape == (3, 3, 20, 200)
    assert w.var() == pytest.approx(2 / (3 * 3 * 20), rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters must be a whole number >= 1, got 0"),
        ({"kernel": (3, 0)}, r"kernel must be a whole number >= 1 or a pair \(height, width\), got \(3, 0\)"),
        ({"kernel": 2.5}, "kernel must be a whole number >= 1 or a pair"),
        ({"stride": 0}, "stride must be a whole number >= 1 or a pair"),
        ({"dilation": (1, 1, 1)}, "dilation must be a whole number >= 1 or a pair"),
        ({"groups": 2, "filters": 3}, "filters must be a multiple of groups, got 3 filters in 2 groups"),
        (
            {"padding": "full"},
            r"unknown padding 'full', expected 'valid', 'same' or \(\(top, bottom\), \(left, right\)\)",
        ),
        ({"padding": 1}, "unknown padding 1, expected"),
        ({"padding": ((1, 1), (1, -1))}, "unknown padding .* expected"),
        ({"pad_mode": "wrap"}, "unknown pad_mode 'wrap', expected 'zero' or one of .*'reflect', 'circular'"),
        ({"activation": "rleu"}, "unknown activation 'rleu', expected one of .*; did you mean 'relu'"),
    ],
)
def test_arguments_out_of_range_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"conv2d: {message}"):
        fn.conv2d(**{"filters": 4, "kernel": 3} | options)


@pytest.mark.parametrize("layer", [fn.conv1d, fn.conv3d], ids=lambda layer: layer.__name__)
def test_other_ranks_name_themselves_and_their_axes(layer: Any) -> None:
    axes = {"conv1d": ["width"], "conv3d": ["depth", "height", "width"]}[layer.__name__]
    sides = {"conv1d": r"\(left, right\)", "conv3d": r"\(\(front, back\), \(top, bottom\), \(left, right\)\)"}
    with pytest.raises(
        ValueError, match=rf"{layer.__name__}: kernel must be .* a tuple \({', '.join(axes)}\), got \(3, 3\)"
    ):
        layer(4, (3, 3))
    with pytest.raises(ValueError, match=f"{layer.__name__}: unknown padding 'full', .* or {sides[layer.__name__]} in"):
        layer(4, 3, padding="full")
    with pytest.raises(ValueError, match=f"{layer.__name__}: filters must be a multiple of groups"):
        layer(4, 3, groups=3)
    words = rf"\({', '.join([*axes, 'channels'])}\)"
    with pytest.raises(ValueError, match=f"{layer.__name__}: expected an example of shape {words}, got \\(9, 9, 1\\)"):
        layer(4, 3).init((9, 9, 1), 0)
    params = layer(4, 3).init((9,) * len(axes) + (1,), 0)
    with pytest.raises(
        ValueError, match=rf"{layer.__name__}: expected an input of axes \(batch, {', '.join(axes)}, channels"
    ):
        layer(4, 3).apply(params, np.ones((2, 9, 9, 1), np.float32))
    small = (2,) * len(axes)
    with pytest.raises(
        ValueError, match=rf"{layer.__name__}: a window of .* is larger than its input of \(2,.*\) pixels"
    ):
        layer(4, 3).apply(params, np.ones((2, *small, 1), np.float32))


def test_a_kernel_larger_than_its_image_raises_with_sizes_and_path() -> None:
    model = fn.serial(fn.conv2d(2, 3), fn.named("deep", fn.conv2d(2, 3, dilation=2)))
    message = r"conv2d: a window of \(5, 5\) pixels is larger than its input of \(4, 6\) pixels with padding 'valid'"
    with pytest.raises(ValueError, match=message) as caught:
        model.init((6, 8, 1), 0)
    assert caught.value.__notes__ == ["in layer deep, with an input of shape (1, 4, 6, 2)"]
    params = model.init((9, 9, 1), 0)
    with pytest.raises(ValueError, match=message) as caught:
        model.apply(params, np.zeros((7, 6, 8, 1), np.float32))
    assert caught.value.__notes__ == ["in layer deep, with an input of shape (7, 4, 6, 2)"]


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            np.ones((2, 9, 9, 3), np.float32),
            ValueError,
            r"expected 1 channels .*got 3 in an input of shape \(2, 9, 9, 3\)",
        ),
        (np.ones((9, 9, 1), np.float32), ValueError, r"axes \(batch, height, width, channels\), got shape \(9, 9, 1\)"),
        (np.ones((2, 9, 9, 1), np.uint8), TypeError, "expected floats, got uint8; scale images first"),
        (np.ones((2, 9, 9, 1)), TypeError, "input is float64, parameters are float32"),
    ],
)
def test_inputs_that_do_not_fit_raise_with_their_path(x: Any, error: type[Exception], message: str) -> None:
    model = fn.serial(fn.named("stem", fn.serial(fn.conv2d(2, 3))))
    with pytest.raises(error, match=f"conv2d: .*{message}") as caught:
        model.apply(model.init((9, 9, 1), 0), x)
    assert caught.value.__notes__ == [f"in layer stem/conv2d_0, with an input of shape {x.shape}"]


def test_the_hint_for_integer_images_works_when_taken_literally() -> None:
    model, x = fn.conv2d(2, 3), np.full((1, 4, 4, 1), 255, np.uint8)
    params = model.init((4, 4, 1), 0)
    with pytest.raises(TypeError, match="scale images first: ") as caught:
        model.apply(params, x)
    scaled = eval(str(caught.value).split("scale images first: ")[1], {"x": x, "np": np})
    assert (scaled.dtype, scaled.max()) == (np.float32, 1)
    model.apply(params, scaled)


def test_parameters_of_another_kernel_raise() -> None:
    params = fn.conv2d(2, 5).init((9, 9, 1), 0)
    message = r"conv2d: expected parameter 'w' of shape \(3, 3, 'any', 2\), got \(5, 5, 1, 2\); are these parameters of"
    with pytest.raises(ValueError, match=message):
        fn.conv2d(2, 3).apply(params, np.ones((1, 9, 9, 1), np.float32))


@pytest.mark.parametrize("integer", [int, np.int64, np.uint8])
@pytest.mark.parametrize("sequence", [tuple, list])
def test_a_shape_may_be_of_any_integers(sequence: Any, integer: Any) -> None:
    params = fn.conv2d(2, 3).init(sequence(map(integer, (9, 8, 1))), 0)
    assert params["w"].shape == (3, 3, 1, 2)
    with pytest.raises(TypeError, match="conv1d: shape is that of one example, a tuple of ints"):
        fn.conv1d(2, 3).init(np.array([9, 1]), 0)  # type: ignore[arg-type]


def test_an_example_is_an_image_whose_channels_divide_into_groups() -> None:
    with pytest.raises(
        ValueError, match=r"conv2d: expected an example of shape \(height, width, channels\), got \(9, 9\)"
    ):
        fn.conv2d(2, 3).init((9, 9), 0)
    with pytest.raises(ValueError, match="conv2d: 3 channels do not divide into 2 groups"):
        fn.conv2d(2, 3, groups=2).init((9, 9, 3), 0)
