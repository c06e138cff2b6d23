"""Where windows stand, in words and numbers, and what is around the image."""

from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcnn as fn
from funcnn.kernels.padding import extend, extend_gradient, extend_image, pad, unpad
from funcnn.kernels.windows import FLAT, LINE, SOLID, Window, as_padding, as_window


@settings(max_examples=200)
@given(st.data(), oracle.ranks, st.booleans())
def test_windows_stand_where_the_loop_finds_them(data: Any, rank: int, ceil_mode: bool) -> None:
    size, stride, dilation = (data.draw(oracle.sizes(rank)) for _ in range(3))
    padding, shape = data.draw(oracle.paddings((3,) * rank)), (*data.draw(oracle.images(rank)), 1)
    window = Window(size, stride, dilation, padding, ceil_mode)
    begins, low = oracle.all_axes(shape, size, stride, dilation, padding, ceil_mode)
    if not all(begins):
        with pytest.raises(ValueError, match=r"conv: a window of .* is larger than its input"):
            window.fit("conv", shape)
        return
    geometry = window.fit("conv", shape)
    assert geometry.counts == tuple(map(len, begins))
    assert [before for before, _ in geometry.padding] == low
    # Each tap meets the pixels of the padded image that the loop meets.
    padded = np.zeros([1, *(n + sum(ends) for n, ends in zip(geometry.pixels, geometry.padding, strict=True)), 1])
    places = [np.arange(n)[index] for axis in range(rank) for n, index in [(10**3, geometry.along(axis)[-1])]]
    for axis in range(rank):
        assert places[axis].tolist() == [begin + (size[axis] - 1) * dilation[axis] for begin in begins[axis]]
    assert all(padded[tap].shape == (1, *geometry.counts, 1) for tap in geometry.taps())
    assert len(geometry.taps()) == np.prod(size)


@pytest.mark.parametrize(
    ("axes", "value", "expected"),
    [
        (LINE, (2, 0), ((2, 0),)),
        (LINE, ((2, 0),), ((2, 0),)),
        (LINE, tuple(np.array([1, 2])), ((1, 2),)),
        (FLAT, [[1, 0], [0, 2]], ((1, 0), (0, 2))),
        (SOLID, ((1, 0), (0, 2), (3, 3)), ((1, 0), (0, 2), (3, 3))),
        (SOLID, "same", "same"),
        (LINE, "valid", "valid"),
    ],
)
def test_padding_is_a_word_or_pixels_before_and_behind_each_axis(axes: Any, value: Any, expected: Any) -> None:
    assert as_padding("conv", value, axes) == expected


@pytest.mark.parametrize("value", ["full", 1, (1, 1), ((1, 1),) * 4, ((1, -1),) * 2, (1.0, 1), None, ()], ids=str)
@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (LINE, r"'valid', 'same' or \(left, right\) in pixels"),
        (FLAT, r"'valid', 'same' or \(\(top, bottom\), \(left, right\)\) in pixels"),
        (SOLID, r"'valid', 'same' or \(\(front, back\), \(top, bottom\), \(left, right\)\) in pixels"),
    ],
)
def test_other_paddings_raise_with_what_is_expected(axes: Any, words: str, value: Any) -> None:
    fix = {1: r"; write \(1, 1\)", 2: r"; write \(\(1, 1\), \(1, 1\)\)", 3: r"; write \(\(1, 1\), \(1, 1\), \(1, 1\)\)"}
    write = fix[len(axes)] if value == 1 else ""
    if axes == LINE and value == (1, 1):
        return
    with pytest.raises(ValueError, match=rf"conv: unknown padding .*, expected {words}{write}$"):
        as_padding("conv", value, axes)


@pytest.mark.parametrize(
    ("axes", "words"),
    [(LINE, r"a tuple \(width\)"), (FLAT, r"a pair \(height, width\)"), (SOLID, r"a tuple \(depth, height, width\)")],
)
def test_a_size_of_too_many_axes_raises_with_their_names(axes: Any, words: str) -> None:
    for name in ("kernel", "stride", "dilation"):
        arguments = {"kernel": 1, "stride": 1, "dilation": 1} | {name: (1, 2, 3, 4)}
        with pytest.raises(ValueError, match=f"conv: {name} must be a whole number >= 1 or {words}, got"):
            as_window("conv", axes, arguments["kernel"], arguments["stride"], "same", arguments["dilation"])


@settings(max_examples=200)
@given(st.data(), oracle.ranks, oracle.layouts)
def test_padding_surrounds_or_cuts_an_image(data: Any, rank: int, layout: str) -> None:
    shape = (*data.draw(oracle.images(rank)), 2)
    sides = tuple(data.draw(st.tuples(st.integers(-(n // 2), 3), st.integers(-((n - 1) // 2), 3))) for n in shape[1:-1])
    x = oracle.arranged(np.random.default_rng(0).standard_normal(shape), layout)
    around = [(0, 0), *[(max(low, 0), max(high, 0)) for low, high in sides], (0, 0)]
    expected = np.pad(x, around, constant_values=7)
    cut = tuple(
        slice(max(-low, 0), n - max(-high, 0))
        for n, (low, high) in zip(expected.shape, [(0, 0), *sides, (0, 0)], strict=True)
    )
    np.testing.assert_array_equal(pad(x, sides, 7), expected[cut])
    kept = tuple(sides)
    if all(low >= 0 and high >= 0 for low, high in kept):
        np.testing.assert_array_equal(unpad(pad(x, kept), kept), x)


MODES = {"edge": "edge", "replicate": "edge", "reflect": "reflect", "circular": "wrap"}
"""The modes of borders that repeat pixels, and their names in ``np.pad``."""


@settings(max_examples=200)
@given(st.data(), oracle.ranks, oracle.layouts, st.sampled_from(sorted(MODES)))
def test_borders_repeat_pixels_and_their_gradients_are_added(data: Any, rank: int, layout: str, mode: str) -> None:
    shape = (*data.draw(oracle.images(rank)), 2)
    widest = [{"reflect": n - 1, "circular": n}.get(mode, n + 3) for n in shape[1:-1]]
    sides = tuple(data.draw(st.tuples(st.integers(0, most), st.integers(0, most))) for most in widest)
    random = np.random.default_rng(0)
    x = oracle.arranged(random.standard_normal(shape), layout)
    ones = (1,) * rank
    padded, geometry = extend_image("conv", x, Window(ones, ones, ones, sides).fit("conv", shape), mode)
    np.testing.assert_array_equal(padded, np.pad(x, [(0, 0), *sides, (0, 0)], mode=MODES[mode]))  # type: ignore[call-overload]
    assert geometry.pixels == padded.shape[1:-1]
    assert geometry.padding == ((0, 0),) * rank
    dy = oracle.arranged(random.standard_normal(padded.shape), layout)
    # Padding is linear: its vjp is the transposed map, so <dy, extend(v)> = <extend_gradient(dy), v>.
    v = random.standard_normal(shape)
    pushed, pulled = extend("pad", v, sides, mode), extend_gradient(dy, sides, mode)
    np.testing.assert_allclose((dy * pushed).sum(), (pulled * v).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("step", [5, 100, 2**62])
def test_a_stride_beyond_the_image_leaves_one_window(step: int) -> None:
    x = np.arange(25.0).reshape(1, 5, 5, 1)
    layers = [fn.max_pool2d(2, stride=step), fn.avg_pool2d(2, stride=step, padding="same"), fn.unfold(2, stride=step)]
    for layer in (*layers, fn.conv2d(1, 2, stride=step, w_init=fn.initializers.ones)):
        y, vjp_fn = layer.apply(fn.tree.cast(layer.init((5, 5, 1), 0), np.float64), x)
        assert y.ravel().tolist() in ([6], [3], [0, 1, 5, 6], [12])
        assert vjp_fn(np.ones_like(y))[1][:, 2:].any() == 0
    one_tap = fn.conv2d(1, 1, stride=step, dilation=step, w_init=fn.initializers.ones)
    assert one_tap.apply(one_tap.init((5, 5, 1), 0), x.astype(np.float32))[0].tolist() == [[[[0]]]]
