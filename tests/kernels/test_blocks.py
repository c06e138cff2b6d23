"""Functions of single elements, block by block."""

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array
from funcnn.kernels import blocks
from funcnn.kernels.blocks import in_blocks


def fill(x: Array, double: Array, square: Array, scratch: Array) -> None:
    assert x.shape == double.shape == square.shape == scratch.shape
    assert x.size <= 8
    np.add(x, x, out=double)
    np.multiply(x, 3, out=scratch)
    np.multiply(x, x, out=square)


@pytest.mark.parametrize("size", [(0, 3), (1, 5), (4, 2), (5, 5)])
@pytest.mark.parametrize("order", ["rows", "columns", "strided"])
def test_all_elements_in_any_memory_order(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], order: str) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
    x = np.arange(float(np.prod(size))).reshape(size)
    x = {"rows": x, "columns": np.asfortranarray(x), "strided": np.repeat(x, 2, 1)[:, ::2]}[order]
    double, square = in_blocks(fill, x, 2, scratch=1)
    np.testing.assert_array_equal(double, 2 * x)
    np.testing.assert_array_equal(square, x * x)
    if order != "strided" and x.size:
        assert double.strides == x.strides


@pytest.mark.parametrize("layer", [fn.gelu(), fn.gelu(approximate=True), fn.mish, fn.quick_gelu, fn.silu], ids=repr)
def test_activations_of_several_blocks(layer: fn.Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-9, 9, 1001).reshape(7, 11, 13)
    y, vjp_fn = layer.apply({}, x)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 8 * 100)
    y_cut, vjp_cut = layer.apply({}, x)
    np.testing.assert_allclose(y, y_cut, rtol=1e-14)
    np.testing.assert_allclose(vjp_fn(np.ones_like(y))[1], vjp_cut(np.ones_like(y))[1], rtol=1e-14)
