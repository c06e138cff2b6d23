"""Pooling layers: windows counted by hand, and what raises; their arithmetic is tested in tests/kernels."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn

RAMP = np.arange(1.0, 17.0).reshape(1, 4, 4, 1)
POOLS = [fn.max_pool2d, fn.min_pool2d, fn.avg_pool2d]
OTHERS = [fn.max_pool1d, fn.min_pool1d, fn.avg_pool1d, fn.max_pool3d, fn.min_pool3d, fn.avg_pool3d]
AXES = {"1": ["width"], "3": ["depth", "height", "width"]}


def pooled(layer: fn.Layer, x: Any) -> Any:
    return layer.apply({}, x)[0][0, :, :, 0].tolist()


def test_the_stride_is_the_window_by_default() -> None:
    assert pooled(fn.max_pool2d(2), RAMP) == [[6, 8], [14, 16]]
    assert pooled(fn.min_pool2d(2), RAMP) == [[1, 3], [9, 11]]
    assert pooled(fn.avg_pool2d(2), RAMP) == [[3.5, 5.5], [11.5, 13.5]]
    assert pooled(fn.max_pool2d((1, 4)), RAMP) == [[4], [8], [12], [16]]


def test_series_and_volumes_by_hand() -> None:
    line, cube = np.arange(1.0, 6.0).reshape(1, 5, 1), np.arange(1.0, 17.0).reshape(1, 4, 2, 2, 1)
    for layers, expected in (
        ((fn.max_pool1d(2), fn.max_pool3d(2)), ([2, 4], [8, 16])),
        ((fn.min_pool1d(2), fn.min_pool3d(2)), ([1, 3], [1, 9])),
        ((fn.avg_pool1d(2), fn.avg_pool3d(2)), ([1.5, 3.5], [4.5, 12.5])),
        ((fn.max_pool1d(3, 2, (1, 1)), fn.max_pool3d((3, 1, 2), 1)), ([2, 4, 5], [10, 12, 14, 16])),
        ((fn.global_avg_pool1d, fn.global_avg_pool3d), ([3], [8.5])),
    ):
        for layer, x, values in zip(layers, (line, cube), expected, strict=True):
            y, _ = layer.apply({}, x)
            assert y.ravel().tolist() == values, layer


@pytest.mark.parametrize("pool", OTHERS, ids=lambda pool: pool.__name__)
def test_other_ranks_name_themselves_and_their_axes(pool: Any) -> None:
    kind, axes = pool.__name__, AXES[pool.__name__[-2]]
    with pytest.raises(ValueError, match=rf"{kind}: window must be .* a tuple \({', '.join(axes)}\), got \(2, 2\)"):
        pool((2, 2))
    with pytest.raises(ValueError, match=rf"{kind}: padding must be smaller than the window \(2,.*got"):
        pool(2, padding=((0, 2), (0, 0), (0, 0))[: len(axes)])
    with pytest.raises(
        ValueError, match=rf"{kind}: expected an input of axes \(batch, {', '.join(axes)}, channels\), got"
    ):
        pool(2).apply({}, np.ones((1, 4, 4, 1)))
    with pytest.raises(ValueError, match=rf"{kind}: a window of \(5,.* is larger than its input of \(4,"):
        pool(5).apply({}, np.ones((1, *(4,) * len(axes), 1)))
    with pytest.raises(ValueError, match="at least one pixel"):
        fn.global_avg_pool3d.apply({}, np.ones((1, 2, 0, 2, 1)))


def test_overlapping_windows_add_their_gradients() -> None:
    _, vjp_fn = fn.max_pool2d(3, stride=1).apply({}, np.pad([[9.0]], 2)[None, :, :, None])
    _, dx = vjp_fn(np.ones((1, 3, 3, 1)))
    assert dx is not None
    assert dx[0, 2, 2, 0] == dx.sum() == 9


def test_padding_never_wins() -> None:
    assert pooled(fn.max_pool2d(3, padding="same"), -RAMP) == [[-1, -3], [-9, -11]]
    assert pooled(fn.min_pool2d(2, stride=2, padding=((1, 1), (1, 1))), RAMP) == [[1, 2, 4], [5, 6, 8], [13, 14, 16]]


def test_padding_is_not_counted_in_an_average() -> None:
    assert pooled(fn.avg_pool2d(3, padding="same"), np.ones((1, 4, 4, 1))) == [[1, 1], [1, 1]]
    y, vjp_fn = fn.avg_pool2d(2, padding=((1, 0), (0, 0)), stride=3).apply({}, RAMP)
    assert y[0, :, :, 0].tolist() == [[1.5], [11.5]]
    _, dx = vjp_fn(np.array([[2.0], [4.0]]).reshape(1, 2, 1, 1))
    assert dx is not None
    assert dx[0, :, :, 0].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_ceil_mode_counts_a_window_that_hangs_over_the_edge() -> None:
    assert pooled(fn.max_pool2d(3), RAMP) == [[11]]
    assert pooled(fn.max_pool2d(3, ceil_mode=True), RAMP) == [[11, 12], [15, 16]]
    assert pooled(fn.avg_pool2d(3, ceil_mode=True), RAMP) == [[6, 8], [14, 16]]
    # A window that would begin behind the image does not count: three pixels, one window of two, and then nothing.
    assert pooled(fn.max_pool2d(2, stride=3, ceil_mode=True), RAMP[:, :3, :3]) == [[6]]


def test_global_average_by_hand() -> None:
    y, vjp_fn = fn.global_avg_pool2d.apply({}, np.arange(12.0).reshape(1, 2, 3, 2))
    assert y.tolist() == [[5, 6]]
    _, dx = vjp_fn(np.array([[6.0, 12.0]]))
    assert dx is not None
    assert dx.reshape(6, 2).tolist() == [[1, 2]] * 6


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be a whole number >= 1 or a pair"),
        ({"stride": (1, 0)}, "stride must be a whole number >= 1 or a pair"),
        ({"padding": "full"}, "unknown padding 'full', expected 'valid', 'same' or"),
        (
            {"padding": ((0, 2), (0, 0))},
            r"padding must be smaller than the window \(2, 2\), got \(\(0, 2\), \(0, 0\)\)",
        ),
    ],
)
def test_arguments_out_of_range_raise(pool: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"{pool.__name__}: {message}"):
        pool(**{"window": 2} | options)


@pytest.mark.parametrize("pool", POOLS)
def test_a_window_larger_than_its_image_raises_with_sizes_and_path(pool: Any) -> None:
    model = fn.serial(fn.max_pool2d(2), fn.named("last", pool(5)))
    message = rf"{pool.__name__}: a window of \(5, 5\) pixels is larger than its input of \(4, 3\) pixels"
    with pytest.raises(ValueError, match=message):
        model.init((8, 7, 1), 0)
    with pytest.raises(ValueError, match=r"in layer last, with an input of shape \(2, 4, 3, 1\)"):
        model.apply({}, np.zeros((2, 8, 7, 1)))


@pytest.mark.parametrize("layer", [*(pool(2) for pool in POOLS), fn.global_avg_pool2d], ids=repr)
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((4, 4, 1)), ValueError, r"axes \(batch, height, width, channels\), got shape \(4, 4, 1\)"),
        (np.ones((1, 4, 4, 1), np.uint8), TypeError, "expected floats, got uint8; scale images first"),
        (np.ones((1, 0, 4, 1)), ValueError, "larger than its input|at least one pixel"),
    ],
)
def test_what_is_no_batch_of_images_raises(layer: Any, x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"{layer.kind}: .*({message})"):
        layer.apply({}, x)


@pytest.mark.parametrize(
    ("pool", "shape"),
    [
        (fn.global_avg_pool1d, (1, 200_000, 2)),
        (fn.global_avg_pool2d, (1, 500, 400, 2)),
        (fn.global_avg_pool3d, (1, 50, 40, 100, 2)),
    ],
)
def test_a_global_average_of_many_pixels_is_precise(pool: fn.Layer, shape: tuple[int, ...]) -> None:
    # Added one after the other in float32, 1000.1 would give a sum that is 1 % too large.
    y, _ = pool.apply({}, np.full(shape, 1000.1, np.float32))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, 1000.1, rtol=1e-6)


def test_dilated_windows_pick_every_other_pixel() -> None:
    assert pooled(fn.max_pool2d(2, stride=1, dilation=2), RAMP) == [[11, 12], [15, 16]]
    assert pooled(fn.min_pool2d(2, stride=1, dilation=(1, 3)), RAMP) == [[1], [5], [9]]
    # Windows that stand apart by their taps, but share pixels.
    _, vjp_fn = fn.max_pool1d(2, stride=2, dilation=2).apply({}, np.array([0.0, 0, 9, 0, 1]).reshape(1, 5, 1))
    _, dx = vjp_fn(np.array([2.0, 3.0]).reshape(1, 2, 1))
    assert dx is not None
    assert dx.ravel().tolist() == [0, 0, 5, 0, 0]


@pytest.mark.parametrize("pool", [fn.max_pool1d, fn.min_pool1d])
def test_a_dilated_window_without_a_pixel_raises(pool: Any) -> None:
    layer = pool(2, stride=1, dilation=3, padding=(1, 2))
    message = rf"{layer.kind}: with dilation \(3,\) there is a window \(2,\) that holds no pixel of an input of \(1,\)"
    with pytest.raises(ValueError, match=message):
        layer.apply({}, np.ones((1, 1, 1)))
    assert layer.apply({}, np.ones((1, 3, 1)))[0].ravel().tolist() == [1, 1, 1]


def test_padding_that_counts_is_averaged_and_what_hangs_over_is_not() -> None:
    x = np.full((1, 5, 1), 6.0)
    for layer, expected in (
        (fn.avg_pool1d(3, 2, (1, 1), count_padding=True), [4, 6, 4]),
        (fn.avg_pool1d(3, 2, "same", count_padding=True), [4, 6, 4]),
        (fn.avg_pool1d(2, 2, (1, 0), count_padding=True), [3, 6, 6]),
        (fn.avg_pool1d(4, 3, (2, 0), ceil_mode=True, count_padding=True), [3, 6]),
        (fn.avg_pool1d(4, 3, (2, 1), ceil_mode=True, count_padding=True), [3, 6, 3]),
        (fn.avg_pool1d(3, 3, (0, 0), ceil_mode=True, count_padding=True), [6, 6]),
        (fn.avg_pool1d(4, 4, (0, 1), ceil_mode=True, count_padding=True), [6, 3]),
        (fn.avg_pool1d(2, 2, "valid", ceil_mode=True, count_padding=True), [6, 6, 6]),
    ):
        y, vjp_fn = layer.apply({}, x)
        assert y.ravel().tolist() == expected, layer
        # Each pixel has the same value, so the gradient of y's sum adds up to that sum over the value.
        _, dx = vjp_fn(np.ones_like(y))
        assert dx is not None
        assert dx.sum() == pytest.approx(sum(expected) / 6), layer


@pytest.mark.parametrize("layer", [fn.avg_pool1d(2), fn.sum_pool1d(2), fn.global_avg_pool1d, fn.adaptive_avg_pool1d(1)])
def test_a_sum_of_infinities_of_both_signs_is_nan_without_a_warning(layer: fn.Layer) -> None:
    y, _ = layer.apply({}, np.array([np.inf, -np.inf]).reshape(1, 2, 1))
    assert np.isnan(y).all()
