"""Which arrays layers take: float32 and float64 of either byte order, and no subclass that means something else."""

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import initializers as init
from funcnn.testing import random_batch
from funcnn.testing.table import table_of_layers

TABLE = table_of_layers()
OTHER_DTYPES: list[Any] = [np.float16, np.longdouble, np.complex64, "U3", object]
ROWS = pytest.mark.parametrize(("layer", "shape"), TABLE, ids=[repr(layer) for layer, _ in TABLE])


def floats(convert: Any, tree: Any) -> Any:
    """The tree with its floating-point leaves converted."""
    return fn.tree.map(lambda leaf: convert(leaf) if leaf.dtype.kind == "f" else leaf, tree)


def has_floats(x: Any) -> bool:
    """Whether a leaf is of floats: tokens and masks have no gradient."""
    return any(leaf.dtype.kind == "f" for leaf in fn.tree.flatten({"x": x}).values())


def run(layer: fn.Layer, params: Any, x: Any, convert: Any = lambda leaf: leaf) -> dict[str, Any]:
    """The output, the gradients and dx, for a gradient of the output's square."""
    y, vjp_fn = layer.apply(params, x, rng=3)
    grads, dx = vjp_fn(floats(convert, y))
    return fn.tree.flatten({"y": y, "grads": grads, "dx": dx})


@ROWS
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_byte_order_of_floats_does_not_matter(layer: fn.Layer, shape: Any, dtype: str) -> None:
    params = fn.tree.cast(layer.init(shape, 0), dtype)
    x = fn.tree.cast(random_batch(shape, 3), dtype)
    expected = run(layer, params, x)

    def big(leaf: Any) -> Any:
        return leaf.astype(leaf.dtype.newbyteorder(">"))

    for found in (
        run(layer, params, floats(big, x)),
        run(layer, floats(big, params), x),
        run(layer, floats(big, params), floats(big, x), big),
        run(layer, params, x, big),
    ):
        assert found.keys() == expected.keys()
        for path, leaf in found.items():
            if leaf is None:
                assert expected[path] is None
                continue
            assert leaf.dtype.char == expected[path].dtype.char, path
            np.testing.assert_allclose(leaf, expected[path], rtol=2e-5 if dtype == "f4" else 1e-12, atol=1e-6)


@ROWS
def test_other_dtypes_raise_with_the_cast_to_use(layer: fn.Layer, shape: Any) -> None:
    params, x = layer.init(shape, 0), fn.tree.cast(random_batch(shape, 3), np.float32)
    for dtype in OTHER_DTYPES:
        other_x, other_params = (floats(lambda leaf, to=dtype: leaf.astype(to), given) for given in (x, params))
        if has_floats(x):
            with pytest.raises(TypeError, match=r"expected .*; use x(\.real)?\.astype\(np\.float32\)"):
                layer.apply(params, other_x, rng=3)
        if fn.tree.leaves(params):
            with pytest.raises((ValueError, TypeError), match=r"use tree\.cast\(params, np\.float32\)"):
                layer.apply(other_params, x, rng=3)


@ROWS
@pytest.mark.parametrize("subclass", [np.ma.MaskedArray, np.recarray])
def test_subclasses_raise_and_memory_mapped_files_do_not(
    layer: fn.Layer, shape: Any, subclass: Any, tmp_path: Path
) -> None:
    params, x = layer.init(shape, 0), fn.tree.cast(random_batch(shape, 3), np.float32)
    expected = run(layer, params, x)
    message = f"plain array, got {subclass.__name__}; use "
    with pytest.raises(TypeError, match=message):
        layer.apply(params, fn.tree.map(lambda leaf: leaf.view(subclass), x), rng=3)
    if fn.tree.leaves(params):
        with pytest.raises(TypeError, match=message):
            layer.apply(floats(lambda leaf: leaf.view(subclass), params), x, rng=3)
    with pytest.raises(TypeError, match="plain array"):
        run(layer, params, x, lambda leaf: leaf.view(subclass))

    def mapped(leaf: Any) -> Any:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, leaf)
        return np.load(path, mmap_mode="r")

    found = run(layer, floats(mapped, params), floats(mapped, x), mapped)
    for path, leaf in found.items():
        if leaf is not None:  # the memory order of a file may be another one
            np.testing.assert_allclose(leaf, expected[path], rtol=2e-5, atol=1e-6)


def test_a_numpy_scalar_as_an_argument_keeps_float32() -> None:
    for number in (np.float64(0.25), np.float32(0.25), np.float16(0.25)):
        for layer in (
            fn.leaky_relu(number), fn.dropout(number), fn.batch_norm(number), fn.dense(4, w_init=init.normal(number)),
            fn.dense(4, w_init=init.uniform(-number, number)), fn.dense(4, b_init=init.constant(number)),
            fn.dense(4, w_init=init.variance_scaling(number, "in", "uniform")), fn.conv1d(np.int64(3), np.int8(2)),
        ):  # fmt: skip
            params, x = layer.init((5, 4), 0), np.ones((3, 5, 4), np.float32)
            dtypes = {path: leaf.dtype for path, leaf in run(layer, params, x).items()}
            assert set(dtypes.values()) == {np.dtype(np.float32)}, (layer, dtypes)


def test_output_and_gradient_have_the_byte_order_of_the_input() -> None:
    model = fn.serial(fn.conv2d(2, 3), fn.max_pool2d(2), fn.flatten, fn.dense(2))
    params, x = model.init((8, 8, 1), 0), np.ones((3, 8, 8, 1), ">f4")
    y, vjp_fn = model.apply(params, x)
    assert (y.dtype.str, vjp_fn(y)[1].dtype.str, fn.predict(model, params, x).dtype.str) == (">f4",) * 3
    y, vjp_fn = fn.relu.apply({}, x)
    assert (y.dtype.str, vjp_fn(y)[1].dtype.str) == (">f4",) * 2


@pytest.mark.parametrize("first", [fn.conv2d(2, 3), fn.dense(2), fn.dropout(0.5), fn.scale_and_shift()])
@pytest.mark.parametrize("then", [fn.relu, fn.sigmoid, fn.tanh, fn.leaky_relu()])
def test_an_output_that_no_gradient_reads_does_not_stay_alive(first: fn.Layer, then: fn.Layer) -> None:
    def inside(layer: fn.Layer, *args: Any) -> Any:  # as a combinator calls it
        return getattr(layer.apply, "inside", layer.apply)(*args)

    x = np.ones((2, 5, 5, 3), np.float32)
    y, first_vjp = inside(first, first.init(x.shape[1:], 0), x, (0,))
    z, then_vjp = inside(then, {}, y)
    output = weakref.ref(y)
    del y
    assert output() is None
    assert first_vjp(then_vjp(np.ones_like(z))[1])[1].shape == x.shape
