"""The convolution kernels, in one, two and three dimensions, against the loops of ``oracle.py``."""

from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funcnn.kernels.buffers import window_parts
from funcnn.kernels.convolution import convolve, input_gradient, kernel_gradient
from funcnn.kernels.epilogue import Epilogue
from funcnn.kernels.layout import batch_innermost
from funcnn.kernels.padding import extend_gradient, extend_image
from funcnn.kernels.tuning import TUNING, Tuning
from funcnn.kernels.windows import Window, as_window


def assert_close(got: Any, expected: Any) -> None:
    # At most 3 * 36 * 9 * 4 products of numbers near 1 are added: rounding stays below 1e-12 of the largest sum.
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if expected.size:
        close = 1e-12 if expected.dtype == np.float64 else oracle.CLOSE
        assert np.max(np.abs(got - expected)) <= close * max(1.0, np.max(np.abs(expected)))


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """A convolution, the shape of its input, how its three arrays lie in memory, and tuning constants."""
    rank, groups = draw(oracle.ranks), draw(st.integers(1, 3))
    ones = (1,) * rank
    return {
        "shape": (*draw(oracle.images(rank)), groups * draw(st.integers(1, 2))),
        "filters": groups * draw(st.integers(1, 2)),
        "size": draw(oracle.sizes(rank)),
        "stride": draw(st.one_of(st.just(ones), oracle.sizes(rank))),
        "dilation": draw(st.one_of(st.just(ones), oracle.sizes(rank))),
        "groups": groups,
        "padding": draw(oracle.paddings((4,) * rank)),
        "pad_mode": draw(st.sampled_from(["zero", "edge"])),
        "layouts": draw(st.tuples(oracle.layouts, oracle.layouts, oracle.layouts)),
        "tuning": draw(oracle.tunings),
    }


@settings(max_examples=400)
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_convolution_and_both_gradients_agree_with_the_loops(case: dict[str, Any], seed: int) -> None:
    random = np.random.default_rng(seed)
    shape, size, groups, tuning = case["shape"], case["size"], case["groups"], case["tuning"]
    window = Window(size, case["stride"], case["dilation"], case["padding"])
    x = oracle.arranged(random.standard_normal(shape).astype(oracle.FLOAT), case["layouts"][0])
    w = random.standard_normal((*size, shape[-1] // groups, case["filters"])).astype(oracle.FLOAT)
    w, b = oracle.arranged(w, case["layouts"][1]), random.standard_normal(case["filters"]).astype(oracle.FLOAT)
    begins, low = oracle.all_axes(shape, size, case["stride"], case["dilation"], case["padding"])
    if not all(begins):
        with pytest.raises(ValueError, match="larger than its input"):
            window.fit("conv", shape)
        return
    dy = random.standard_normal((shape[0], *map(len, begins), case["filters"])).astype(oracle.FLOAT)
    dy = oracle.arranged(dy, case["layouts"][2])
    y_without_bias, dw, dx = oracle.convolution(x, w, dy, begins, low, case["dilation"], groups, case["pad_mode"])

    geometry = window.fit("conv", shape)
    image, place = extend_image("conv", x, geometry, case["pad_mode"])
    y = convolve(image, w, place, groups, Epilogue(b), tuning)
    got_dw = kernel_gradient(image, dy, place, groups, tuning)
    got_dx = input_gradient(dy, w, place, groups, tuning=tuning)
    if case["pad_mode"] == "edge":
        got_dx = extend_gradient(got_dx, geometry.padding, "edge")

    for got, expected in ((y, y_without_bias + b), (got_dw, dw), (got_dx, dx)):
        assert_close(got, expected.astype(oracle.FLOAT))


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("window_bytes", [1, 3000, 30000])
@pytest.mark.parametrize("pixels", [(29,), (13, 11), (5, 7, 6)], ids=len)
def test_the_size_of_a_part_changes_nothing(
    pixels: tuple[int, ...], window_bytes: int, stride: int, dilation: int
) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((2, *pixels, 4))
    window = as_window("conv", oracle.AXES[len(pixels)], 3, stride, "same", dilation)
    geometry = window.fit("conv", x.shape)
    w, dy = random.standard_normal((*geometry.size, 2, 4)), random.standard_normal((2, *geometry.counts, 4))
    small = Tuning(window_bytes=window_bytes)
    assert_close(convolve(x, w, geometry, 2, tuning=small), convolve(x, w, geometry, 2))
    assert_close(kernel_gradient(x, dy, geometry, 2, small), kernel_gradient(x, dy, geometry, 2))
    assert_close(input_gradient(dy, w, geometry, 2, tuning=small), input_gradient(dy, w, geometry, 2))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_an_image_of_fewer_axes_is_a_volume_of_depth_and_height_1(rank: int) -> None:
    random = np.random.default_rng(rank)
    x, w = random.standard_normal((6, *(5, 6, 7)[:rank], 4)), random.standard_normal((*(2, 3, 2)[:rank], 4, 3))
    window = as_window("conv", oracle.AXES[rank], w.shape[:rank], 1, "same")
    flat, missing = window.fit("conv", x.shape), (1,) * (3 - rank)
    volume = x.reshape(6, *missing, *x.shape[1:])
    y = convolve(volume, w.reshape(*missing, *w.shape), flat.as_volume())
    assert_close(convolve(x, w, flat), y.reshape(6, *x.shape[1:-1], 3))


@pytest.mark.parametrize("product_max", [1, 10**6])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 1, 3), (1, 2, 1)])
@pytest.mark.parametrize("dilation", [(1, 1, 1), (3, 1, 2), (2, 2, 1)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_small_batch_gives_the_same_by_other_products(
    rank: int, stride: tuple[int, ...], dilation: tuple[int, ...], product_max: int
) -> None:
    random = np.random.default_rng(rank)
    x, w = random.standard_normal((2, *(8, 7, 9)[-rank:], 3)), random.standard_normal((*(3, 2, 3)[-rank:], 3, 2))
    window = as_window("conv", oracle.AXES[rank], w.shape[:rank], stride[-rank:], "same", dilation[-rank:])
    geometry = window.fit("conv", x.shape)
    few = convolve(x, w, geometry, tuning=Tuning(small_batch_max=2, small_product_max=product_max))
    assert_close(few, convolve(x, w, geometry, tuning=Tuning(small_batch_max=1)))


def test_parts_of_one_byte_hold_one_row_and_one_column_each() -> None:
    x = batch_innermost(np.zeros((2, 5, 4, 1)))
    geometry = Window((2, 2), (1, 1), (1, 1)).fit("conv", (2, 5, 4, 1)).as_volume()
    whole = [part[:2] for part in window_parts(x, geometry, 1, None, TUNING)]
    assert whole == [(slice(0, 4, 1), slice(0, 6))]
    parts = [part[:2] for part in window_parts(x, geometry, 1, None, Tuning(window_bytes=1))]
    assert parts == [
        (slice(row, row + 1, 1), slice(2 * column, 2 * column + 2)) for column in range(3) for row in range(4)
    ]


def test_parts_of_a_volume_are_whole_planes_or_pieces_of_one() -> None:
    x = batch_innermost(np.zeros((2, 4, 1, 5, 1)))
    geometry = Window((1, 1, 2), (1, 1, 1), (1, 1, 1)).fit("conv", (2, 4, 1, 5, 1)).as_volume()
    # Four planes of four columns: two planes at a time fit, or two columns.
    planes = [part.columns for part in window_parts(x, geometry, 1, 8, TUNING)]
    assert planes == [slice(0, 16), slice(16, 32)]
    slices = [part.columns for part in window_parts(x, geometry, 1, 3, TUNING)]
    assert slices == [slice(first, first + 4) for first in range(0, 32, 4)]


@pytest.mark.parametrize(
    ("stride", "dilation", "rows"), [(1, 1, [9]), (1, 2, [5, 4]), (2, 1, [8]), (2, 2, [8]), (3, 1, [6])]
)
def test_windows_share_the_rows_that_they_have_in_common(stride: int, dilation: int, rows: list[int]) -> None:
    # Windows of two rows on nine rows of pixels. Dilated by 2, four windows see the five even rows, and three the odd
    # ones; with a stride and a dilation, or with gaps between windows, each of four or three windows has its own two.
    geometry = Window((2, 1), (stride, 1), (dilation, 1)).fit("conv", (5, 9, 1, 1)).as_volume()
    parts = window_parts(batch_innermost(np.zeros((5, 9, 1, 1))), geometry, 1, None, TUNING)
    bounds = [np.lib.array_utils.byte_bounds(part.windows) for part in parts]
    # A row of a buffer has the five images' pixels of eight bytes.
    assert [(last - first) // (5 * 8) for first, last in bounds] == rows
