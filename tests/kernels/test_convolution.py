"""The convolution kernels, through ``conv2d``, against the loops of ``oracle.py``."""

from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcnn as fn
from funcnn.kernels import convolution as kernels


def assert_close(got: Any, expected: Any) -> None:
    # At most 3 * 36 * 9 * 4 products of numbers near 1 are added: rounding stays below 1e-12 of the largest sum.
    assert got.dtype == np.float64
    assert got.shape == expected.shape
    if expected.size:
        assert np.max(np.abs(got - expected)) <= 1e-12 * max(1.0, np.max(np.abs(expected)))


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """A convolution, the shape of its input, and how its three arrays lie in memory."""
    size, stride, dilation = draw(oracle.sizes), draw(oracle.sizes), draw(oracle.sizes)
    groups = draw(st.integers(1, 3))
    return {
        "shape": (*draw(oracle.images), groups * draw(st.integers(1, 2))),
        "filters": groups * draw(st.integers(1, 2)),
        "size": size,
        "stride": draw(st.one_of(st.just((1, 1)), st.just(stride))),
        "dilation": draw(st.one_of(st.just((1, 1)), st.just(dilation))),
        "groups": groups,
        "padding": draw(oracle.paddings((4, 4))),
        "pad_mode": draw(st.sampled_from(["zero", "edge"])),
        "layouts": draw(st.tuples(oracle.layouts, oracle.layouts, oracle.layouts)),
        "BLOCK_BYTES": draw(st.sampled_from([1, kernels.BLOCK_BYTES])),
        # Which path the products take: for few images or for more, cut small or not, scattered back or not.
        "FEW_IMAGES_MAX": draw(st.sampled_from([-1, kernels.FEW_IMAGES_MAX])),
        "SMALL_PRODUCT_MAX": draw(st.sampled_from([1, 20, 100, kernels.SMALL_PRODUCT_MAX])),
        "MIN_FILTERS": draw(st.sampled_from([1, kernels.MIN_FILTERS])),
        "MIN_COLUMNS": draw(st.sampled_from([1, kernels.MIN_COLUMNS])),
        "MIN_FILTERS_TO_SCATTER": draw(st.sampled_from([1, kernels.MIN_FILTERS_TO_SCATTER])),
        "GROWTH_TO_SCATTER": draw(st.sampled_from([0.0, kernels.GROWTH_TO_SCATTER])),
    }


@settings(max_examples=300, deadline=None)
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_convolution_and_both_gradients_agree_with_the_loops(case: dict[str, Any], seed: int) -> None:
    random = np.random.default_rng(seed)
    shape, size, groups = case["shape"], case["size"], case["groups"]
    layer = fn.conv2d(
        case["filters"], size, case["stride"], case["padding"], case["dilation"], groups,
        pad_mode=case["pad_mode"],
    )  # fmt: skip
    x = oracle.arranged(random.standard_normal(shape), case["layouts"][0])
    w = random.standard_normal((*size, shape[3] // groups, case["filters"]))
    w, b = oracle.arranged(w, case["layouts"][1]), random.standard_normal(case["filters"])
    begins, low = oracle.both_axes(shape, size, case["stride"], case["dilation"], case["padding"])
    if not (begins[0] and begins[1]):
        with pytest.raises(ValueError, match="larger than its input"):
            layer.apply({"w": w, "b": b}, x)
        with pytest.raises(ValueError, match="larger than its input"):
            layer.init(shape[1:], 0)
        return
    dy = random.standard_normal((shape[0], len(begins[0]), len(begins[1]), case["filters"]))
    dy = oracle.arranged(dy, case["layouts"][2])
    y_without_bias, dw, dx = oracle.convolution(x, w, dy, begins, low, case["dilation"], groups, case["pad_mode"])
    expected = y_without_bias + b, dw, dy.sum((0, 1, 2)), dx

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in case if name.isupper()]:
            patch.setattr(kernels, name, case[name])
        y, vjp_fn = layer.apply({"w": w, "b": b}, x)
        grads, dx = vjp_fn(dy)

    for got, wanted in zip((y, grads["w"], grads["b"], dx), expected, strict=True):
        assert_close(got, wanted)


@pytest.mark.parametrize("dilation", [1, (2, 1)])
@pytest.mark.parametrize("stride", [1, (2, 3)])
@pytest.mark.parametrize("block_bytes", [1, 3000])
def test_the_size_of_a_block_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, block_bytes: int, stride: Any, dilation: Any
) -> None:
    random = np.random.default_rng(0)
    layer = fn.conv2d(4, 3, stride=stride, padding="same", dilation=dilation, groups=2)
    x = random.standard_normal((2, 13, 11, 4))
    params = fn.tree.cast(layer.init(x.shape[1:], 0), np.float64)
    y, vjp_fn = layer.apply(params, x)
    dy = random.standard_normal(y.shape)
    grads, dx = vjp_fn(dy)

    monkeypatch.setattr(kernels, "BLOCK_BYTES", block_bytes)
    small_y, small_vjp = layer.apply(params, x)
    small_grads, small_dx = small_vjp(dy)

    assert_close(small_y, y)
    assert_close(small_grads["w"], grads["w"])
    assert_close(small_dx, dx)


def test_blocks_of_one_byte_hold_one_row_and_one_column_each(monkeypatch: pytest.MonkeyPatch) -> None:
    x, window = np.zeros((2, 5, 4, 1)), kernels.Window((2, 2))
    whole = [part for *part, _ in kernels._blocks(x, window, (4, 3), ((0, 0), (0, 0)), 1)]
    monkeypatch.setattr(kernels, "BLOCK_BYTES", 1)
    parts = [part for *part, _ in kernels._blocks(x, window, (4, 3), ((0, 0), (0, 0)), 1)]
    assert whole == [[slice(0, 4, 1), slice(0, 6)]]
    assert parts == [
        [slice(row, row + 1, 1), slice(2 * column, 2 * column + 2)] for column in range(3) for row in range(4)
    ]
