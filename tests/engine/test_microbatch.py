"""A batch in microbatches: outputs and gradients are those of the whole batch, on any number of threads."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import funcnn as fn
from funcnn.aliases import Array, Params, Rng
from funcnn.engine import examples, microbatch
from funcnn.engine.examples import added, join, split_like
from funcnn.engine.microbatch import AllReduce, Coroutine, all_sum, cut, run_all, run_one
from funcnn.protocol import Layer, Vjp
from funcnn.testing import check_layer, microbatches, random_batch, table_of_layers

# Batches of plain rows are not cut; a row in a row of one is.
IMAGE, ROW = (16, 16, 3), (1, 784)


@pytest.fixture(autouse=True, scope="module")
def cut_early() -> Iterator[None]:
    """Batches of less work are cut than elsewhere, so that the tests are fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(microbatch, "MIN_WORKING_SET", 48 * 1024)
        yield


def batch(shape: tuple[int, ...], dtype: type = np.float64) -> Array:
    """Images or rows, as many as are cut into four microbatches."""
    x = np.random.default_rng(0).standard_normal((200, *shape)).astype(dtype)
    x.setflags(write=False)
    return x


def like(y: Array, seed: int = 1) -> Array:
    dy = np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype)
    dy.setflags(write=False)
    return dy


def results(model: Layer, params: Params, x: Array, rng: Any = None, input_grad: bool = True) -> dict[str, Array]:
    """The output and all gradients, by their paths."""
    y, vjp_fn = model.apply(params, x, rng)
    grads, dx = vjp_fn(like(y), input_grad=input_grad)
    assert (dx is not None) == input_grad
    return fn.tree.flatten({"y": y, "grads": grads} | ({} if dx is None else {"x": dx}))


def assert_close(found: dict[str, Array], expected: dict[str, Array], least: float = 0.0) -> None:
    """Equal but for the order in which numbers are added up, relative to the largest of an array, or to ``least``."""
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        assert found[path].shape == array.shape, path
        assert np.abs(found[path] - array).max() <= 1e-12 * max(least, np.abs(array).max()), path


def assert_same_bits(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        assert np.array_equal(found[path], array), path


def less_the_mean(params: Params, x: Array) -> tuple[Array, Vjp]:
    """y = w (x - mean of x over the batch): a user's layer that looks across the batch and says nothing of it."""
    n = max(len(x), 1)
    u = x - x.sum(0) / n

    def vjp_fn(dy: Array) -> tuple[Params, Array]:
        du = dy * params["w"]
        return {"w": (dy * u).sum(0)}, du - du.sum(0) / n

    return u * params["w"], vjp_fn


def weighted(shape: tuple[int, ...], rng: Rng) -> Params:
    return {"w": np.linspace(1, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape)}


def sorted_batch(params: Params, x: Array) -> tuple[Array, Vjp]:
    """Each number to its place in the order of the batch: without parameters, and nothing like a mean."""
    order = np.argsort(x, 0)

    def vjp_fn(dy: Array) -> tuple[Params, Array]:
        dx = np.empty_like(dy)
        np.put_along_axis(dx, order, dy, 0)
        return {}, dx

    return np.take_along_axis(x, order, 0), vjp_fn


MEANS, SORTED = (weighted, less_the_mean), ((lambda shape, rng: {}), sorted_batch)
# No bias before what takes the mean away: its gradient is zero, and what is left of it is rounding.
CONV = fn.conv2d(4, 3, bias=False)
SAME = fn.conv2d(4, 3, padding="same", bias=False)
HEAD = (fn.max_pool2d(2), fn.flatten, fn.dense(3))

MODELS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "cnn": (fn.serial(fn.conv2d(4, 3, activation=fn.relu), fn.max_pool2d(2), fn.conv2d(3, 3, stride=2), *HEAD), IMAGE),
    "mlp": (fn.serial(fn.dense(20, activation="relu"), fn.tanh, fn.dense(5)), ROW),
    "batch norm": (fn.serial(CONV, fn.batch_norm(activation=fn.relu), *HEAD), IMAGE),
    "batch norm first": (fn.serial(fn.batch_norm(), fn.dense(5)), ROW),
    "two batch norms": (fn.serial(CONV, fn.batch_norm(), fn.swish, CONV, fn.batch_norm(), *HEAD), IMAGE),
    "batch norm last": (fn.serial(fn.dense(5, bias=False), fn.batch_norm()), ROW),
    "in residual": (fn.serial(CONV, fn.residual(fn.batch_norm(), SAME, fn.batch_norm()), *HEAD), IMAGE),
    "in add": (fn.serial(CONV, fn.add(fn.batch_norm(), fn.serial(SAME, fn.batch_norm())), *HEAD), IMAGE),
    "in concat": (fn.serial(CONV, fn.concat(fn.identity, fn.batch_norm(), SAME), fn.relu, *HEAD), IMAGE),
    "in serial": (fn.serial(fn.serial(CONV, fn.batch_norm()), fn.serial(fn.relu, *HEAD)), IMAGE),
    "no batch norm in them": (fn.serial(CONV, fn.residual(SAME, fn.relu), fn.add(SAME, fn.concat(SAME)), *HEAD), IMAGE),
    "a user's": (fn.serial(fn.dense(6, bias=False), MEANS, fn.relu, fn.dense(5)), ROW),
    "a user's first": (fn.serial(MEANS, fn.dense(5)), ROW),
    "a user's, nothing to learn, first": (fn.serial(SORTED, fn.dense(5)), ROW),
    "a user's, nothing to learn": (fn.serial(fn.dense(6), SORTED, fn.dense(5)), ROW),
    "a user's, nested": (fn.serial(CONV, fn.residual(fn.relu, fn.add(MEANS, SAME), SORTED), *HEAD), IMAGE),
    "a user's and batch norm": (fn.serial(fn.dense(6, bias=False), fn.batch_norm(), fn.tanh, SORTED, fn.dense(5)), ROW),
}
models = pytest.mark.parametrize(("model", "shape"), MODELS.values(), ids=MODELS.keys())


def made(model: Layer, shape: tuple[int, ...], dtype: type = np.float64) -> tuple[Params, Array]:
    x = batch(shape, dtype)
    return fn.tree.cast(fn.calibrate(model, model.init(shape, 0), x.astype(np.float32)), dtype), x


@models
@pytest.mark.parametrize("rng", [(0, 1), None], ids=["training", "predicting"])
@pytest.mark.parametrize("input_grad", [True, False])
def test_cutting_changes_nothing(model: Layer, shape: tuple[int, ...], rng: Rng | None, input_grad: bool) -> None:
    params, x = made(model, shape)
    assert len(cut(x)) > 2
    with microbatches(None):
        whole = results(model, params, x, rng, input_grad)
    assert_close(results(model, params, x, rng, input_grad), whole)
    # Uneven microbatches, the last one smaller.
    with microbatches(79 if len(shape) > 1 else 67):
        assert_close(results(model, params, x, rng, input_grad), whole)


WITH_DROPOUT = {
    "cnn": (fn.serial(fn.conv2d(4, 3), fn.dropout(0.3), fn.batch_norm(), *HEAD, fn.dropout(0.1)), IMAGE),
    # Wide enough for BLAS to share its products out among its threads.
    "mlp": (
        fn.serial(
            fn.batch_norm(), fn.dense(256, activation="relu"), fn.dropout(0.5), fn.dense(128), MEANS, fn.dense(10)
        ),
        ROW,
    ),
}


@pytest.mark.parametrize(("model", "shape"), WITH_DROPOUT.values(), ids=WITH_DROPOUT.keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_two_and_four_threads_give_the_same_bits_every_time(
    model: Layer, shape: tuple[int, ...], dtype: type
) -> None:
    params, x = made(model, shape, dtype)
    with threadpool_limits(2, "blas"):
        with fn.use_threads(2):
            expected = results(model, params, x, rng=(0, 1))
        for threads in (1, 2, 2, 4, 4):
            with fn.use_threads(threads):
                assert_same_bits(results(model, params, x, rng=(0, 1)), expected)
    with fn.use_threads(2):
        another = results(model, params, x, rng=(0, 2))
    assert not np.array_equal(another["y"], expected["y"])


def test_each_microbatch_draws_a_mask_of_its_own() -> None:
    y, _ = fn.serial(fn.max_pool1d(1), fn.dropout(0.5)).apply({}, np.ones((200, *ROW), np.float32), rng=0)
    kept = [part != 0 for part in cut(y)]
    assert [len(part) for part in kept] == [50] * 4
    assert not any(np.array_equal(a, b) for a, b in pairwise(kept))
    # The fraction of 0.5 has a standard deviation of 0.5 / sqrt(200 * 784) = 0.0013.
    assert abs(np.mean(y != 0) - 0.5) < 0.01


@pytest.mark.parametrize("name", ["cnn", "two batch norms", "a user's, nested", "mlp", "a user's"])
def test_the_memory_order_of_the_batch_does_not_matter(name: str) -> None:
    model, shape = MODELS[name]
    params, x = made(model, shape)
    expected = results(model, params, x, 0)
    backwards, wide = x[::-1].copy()[::-1], np.repeat(x, 2, axis=0)[::2]
    for other in (np.asfortranarray(x), np.moveaxis(np.moveaxis(x, -1, 0).copy(), 0, -1), backwards, wide):
        other.setflags(write=False)
        assert_close(results(model, params, other, 0), expected)
    # A batch of one example many times, in the memory of one, and gradients likewise.
    same = np.broadcast_to(x[:1], x.shape)
    # Where a layer takes away the batch's mean, nothing is left of it but the rounding of numbers of size 1.
    assert_close(results(model, params, same, None), results(model, params, same.copy(), None), least=1.0)


@models
def test_no_argument_is_written_to(model: Layer, shape: tuple[int, ...]) -> None:
    params, x = made(model, shape)
    for leaf in fn.tree.leaves(params):
        leaf.setflags(write=False)
    y, vjp_fn = model.apply(params, x, 0)
    # x, dy and the parameters are read-only, so writing would raise; a second call must not overwrite the first.
    grads, dx = vjp_fn(like(y))
    before = fn.tree.map(np.copy, {"y": y, "grads": grads, "x": dx})
    model.apply(params, x[::-1], 0)
    vjp_fn(like(y, seed=2))
    assert_same_bits(fn.tree.flatten({"y": y, "grads": grads, "x": dx}), fn.tree.flatten(before))


@pytest.mark.parametrize("name", ["cnn", "two batch norms", "a user's, nested"])
def test_the_vjp_may_be_called_again_from_many_threads(name: str) -> None:
    model, shape = MODELS[name]
    params, x = made(model, shape)
    y, vjp_fn = model.apply(params, x, 0)

    def back(seed: int) -> dict[str, Array]:
        grads, dx = vjp_fn(like(y, seed))
        return fn.tree.flatten({"grads": grads, "x": dx})

    expected = [back(seed) for seed in range(4)]
    assert_same_bits(back(0), expected[0])
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(back, range(4)), expected, strict=True):
            assert_same_bits(found, right)


@models
@pytest.mark.parametrize("size", [0, 1])
def test_batches_of_none_and_one(model: Layer, shape: tuple[int, ...], size: int) -> None:
    params, x = made(model, shape)
    for rng in (0, None):
        with microbatches(1):
            found = results(model, params, x[:size], rng)
        assert found["y"].shape[0] == found["x"].shape[0] == size
        with microbatches(None):
            expected = results(model, params, x[:size], rng)
        if size:
            assert_same_bits(found, expected)


@pytest.mark.parametrize("row", table_of_layers(), ids=lambda row: f"{row[0]!r} on {row[1]}")
@pytest.mark.parametrize(("threads", "examples"), [(2, 2), (4, 1)])
def test_every_layer_keeps_every_law_in_microbatches(row: tuple[Layer, Any], threads: int, examples: int) -> None:
    layer, shape = row
    # What is no chain itself is cut in a chain of its own.
    model = layer if layer.kind == "serial" else fn.serial(layer)
    with microbatches(examples), fn.use_threads(threads):
        assert len(cut(random_batch(shape, 3))) == (3 if examples == 1 else 2)
        check_layer(model, shape)
        params, x = model.init(shape, 0), fn.tree.cast(random_batch(shape, 3), np.float32)
        found = model.apply(params, x, 0)
        with fn.use_threads(1):
            alone = model.apply(params, x, 0)
        dy = fn.tree.map(lambda leaf: leaf if leaf.dtype.kind == "f" else None, alone[0])
        kept = [
            fn.tree.flatten({"y": y, "gradients": dict(zip("px", vjp_fn(dy), strict=True))})
            for y, vjp_fn in (found, alone)
        ]
    assert_same_bits(*({path: leaf for path, leaf in one.items() if leaf is not None} for one in kept))


def test_the_dtype_does_not_decide_what_is_dropped() -> None:
    # 12,800 elements: too few to be cut, in either dtype; 25,600 likewise.
    for size in (32, 64):
        check_layer(fn.serial(fn.dropout(0.5)), shape=(20, 20, 1), batch=size)


def seeing(seen: list[Any]) -> Layer:
    """A bare pair that records its inputs, forward and backward."""

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        seen.append((x.shape, rng))

        def vjp_fn(dy: Array) -> tuple[Params, Array]:
            seen.append(dy.shape)
            return {}, dy

        return x, vjp_fn

    return fn.as_layer(((lambda shape, rng: {}), apply))


def test_a_users_layer_sees_the_whole_batch_once_with_a_key_and_the_whole_gradient() -> None:
    seen: list[Any] = []
    model = fn.serial(fn.dense(6), seeing(seen))
    params, x = model.init(ROW, 0), batch(ROW, np.float32)
    seen.clear()
    y, vjp_fn = model.apply(params, x, rng=5)
    vjp_fn(like(y))
    (shape, key), back = seen
    assert (shape, back) == ((200, 1, 6), (200, 1, 6))
    assert isinstance(key, tuple)
    seen.clear()
    model.apply(params, x)
    assert seen == [((200, 1, 6), None)]


def recording(seen: list[int], per_example: bool = False) -> Layer:
    """The identity, which notes how many examples it gets."""

    def apply(params: Params, x: Array) -> tuple[Array, Any]:
        seen.append(len(x))
        return x, lambda dy: ({}, dy)

    if per_example:
        return fn.layer(per_example=True)(lambda: ((lambda shape, rng: {}), apply))()
    # Like an activation, it is no reason to cut a batch.
    return fn.elementwise(lambda x: apply({}, x)[0], lambda x, y: np.ones_like(y))


def test_what_is_declared_per_example_is_cut() -> None:
    seen: list[int] = []
    fn.serial(recording(seen, per_example=True), fn.residual(fn.relu)).apply({}, batch(ROW))
    assert seen == [50] * 4


FLAT_IMAGE = int(np.prod(IMAGE))
BLOCK = fn.residual(fn.batch_norm(), SAME_3 := fn.conv2d(3, 3, padding="same"))


@pytest.mark.parametrize(
    ("layers", "shape", "sizes"),
    [
        # Products of rows, whatever the axes of the input.
        ([fn.flatten, fn.dense(9, activation="relu")], IMAGE, [200]),
        ([fn.dense(9), fn.dropout(0.2), fn.relu, fn.flatten], IMAGE, [200]),
        ([fn.dense(9), fn.relu], (7, 100), [200]),
        ([fn.serial(fn.residual(fn.dense(3))), fn.flatten], IMAGE, [200]),
        # One child that works on much memory.
        ([fn.conv2d(4, 3)], IMAGE, [50] * 4),
        ([fn.relu, fn.max_pool2d(2)], IMAGE, [50] * 4),
        ([fn.global_avg_pool2d], IMAGE, [50] * 4),
        ([fn.batch_norm()], IMAGE, [50] * 4),
        ([fn.batch_norm()], (784,), [200]),
        ([fn.serial(fn.remat(fn.residual(fn.conv2d(3, 3, padding="same"))))], IMAGE, [50] * 4),
        # From small to large, as in a decoder.
        ([fn.reshape(*IMAGE), fn.conv2d(4, 3)], (FLAT_IMAGE,), [50] * 4),
        ([fn.dense(108), fn.reshape(6, 6, 3), fn.upsample2d(3)], (10,), [50] * 4),
        ([fn.dense(108), fn.reshape(6, 6, 3), fn.max_pool2d(2)], (10,), [200]),
        ([fn.conv2d(8, 3)], (6, 6, 1), [50] * 4),
        ([fn.conv2d(8, 3, stride=3)], (6, 6, 1), [200]),
    ],
)
def test_a_batch_is_cut_in_front_of_the_first_child_that_works_on_much_memory(
    layers: list[Layer], shape: tuple[int, ...], sizes: list[int]
) -> None:
    seen: list[int] = []
    model = fn.serial(*layers, recording(seen))
    params, x = model.init(shape, 0), batch(shape, np.float32)
    seen.clear()
    model.apply(params, x, rng=0)
    assert seen == sizes


CUT_LATE: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "flat images": (fn.serial(fn.dense(FLAT_IMAGE), fn.reshape(*IMAGE), CONV, fn.batch_norm(), *HEAD), (5,)),
    "an autoencoder": (
        fn.serial(
            fn.serial(fn.flatten, fn.dense(4)),
            fn.serial(fn.dense(192), fn.reshape(8, 8, 3), fn.upsample2d(2), fn.conv2d(3, 3, padding="same")),
        ),
        IMAGE,
    ),
    "two uses of an early value": (
        fn.graph(
            {
                "a": (fn.dense(FLAT_IMAGE), "input/rows"), "b": (fn.reshape(*IMAGE), "a"), "c": (SAME_3, "b"),
                "d": (fn.merge("multiply"), ("b", "c")), "e": (fn.merge("add"), ("d", "input/image")),
            },
            output="e",
        ),
        {"rows": (4,), "image": IMAGE},
    ),
    "a user's behind it": (fn.serial(fn.dense(FLAT_IMAGE), fn.reshape(*IMAGE), BLOCK, SORTED, fn.relu), (5,)),
}  # fmt: skip


@pytest.mark.parametrize(("model", "shape"), CUT_LATE.values(), ids=CUT_LATE.keys())
@pytest.mark.parametrize("rng", [(0, 1), None], ids=["training", "predicting"])
@pytest.mark.parametrize("input_grad", [True, False])
def test_what_is_cut_late_has_the_values_and_gradients_of_the_whole(
    model: Layer, shape: Any, rng: Rng | None, input_grad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = fn.tree.cast(model.init(shape, 0), np.float64)
    x = {name: batch(own) for name, own in shape.items()} if isinstance(shape, dict) else batch(shape)
    if rng is None:
        params = fn.calibrate(model, params, x)
    found, expected = [], []
    for results_of, size in ((found, "as it comes"), (expected, None)):
        with microbatches(None) if size is None else nullcontext():
            y, vjp_fn = model.apply(params, x, rng)
            grads, dx = vjp_fn(like(y), input_grad=input_grad)
            results_of += [y, fn.predict(model, params, x) if rng is None else y, grads, dx]
    assert list(found[2]) == list(params)
    for one, other in zip(found, expected, strict=True):
        assert_close(*({} if tree is None else fn.tree.flatten({"x": tree}) for tree in (one, other)))
    assert (found[3] is None) == (not input_grad)


def test_an_error_behind_a_cut_names_the_layer_once() -> None:
    model = fn.serial(fn.dense(FLAT_IMAGE), fn.reshape(*IMAGE), fn.serial(SAME, fn.named("bad", failing_layer())))
    params = {"dense_0": fn.dense(FLAT_IMAGE).init((5,), 0), "serial_0": {"conv2d_0": SAME.init(IMAGE, 0)}}
    with pytest.raises(ValueError, match="cannot take 50") as caught:
        model.apply(params, batch((5,), np.float32))
    assert caught.value.__notes__ == ["in layer serial_0/bad, with an input of shape (50, 16, 16, 4)"]


def test_batch_norm_waits_only_for_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[tuple[int, ...]] = []

    def recording(parts: Any) -> Any:
        whole = join(parts)
        if len(parts) > 1 and isinstance(whole, np.ndarray):
            joined.append(whole.shape)
        return whole

    for module in (examples, microbatch):  # in the first, join calls itself for each array of a dict
        monkeypatch.setattr(module, "join", recording)
    model = fn.serial(fn.batch_norm(), fn.relu)
    results(model, {"batch_norm_0": fn.batch_norm().init(ROW, 0)}, batch(ROW, np.float32), 0)
    # The output and the input's gradient, at the end of both passes.
    assert joined == [(200, *ROW)] * 2


def test_trace_and_calibrate_see_the_whole_batch() -> None:
    model, shape = MODELS["in residual"]
    params, x = model.init(shape, 0), batch(shape, np.float32)
    calibrated = fn.calibrate(model, params, x)
    visits = fn.trace(model, calibrated, x)
    assert [len(visit.x) for visit in visits] == [len(x)] * len(visits)
    assert len({visit.path for visit in visits}) == len(visits) == 9
    # What calibrate has measured is what the trace shows: float32 sums of 11,520 numbers.
    for visit in visits:
        if visit.layer.kind == "batch_norm":
            exact = visit.x.astype(np.float64)
            np.testing.assert_allclose(visit.params["mean"], exact.mean((0, 1, 2)), atol=1e-5)
            np.testing.assert_allclose(visit.params["var"], exact.var((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(visits[-1].y, model.apply(calibrated, x)[0], rtol=1e-4, atol=1e-5)


def failing_layer() -> Layer:
    return fn.layer(per_example=True)(lambda: ((lambda shape, rng: {}), failing))()


def failing(params: Params, x: Array) -> tuple[Array, Vjp]:
    raise ValueError(f"cannot take {len(x)}")


def failing_back(params: Params, x: Array) -> tuple[Array, Vjp]:
    def vjp_fn(dy: Array) -> tuple[Params, Array]:
        raise ValueError(f"cannot pull back {len(dy)}")

    return x, vjp_fn


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_name_the_layer(threads: int) -> None:
    x = batch(ROW)
    nothing: Callable[..., Params] = lambda shape, rng: {}  # noqa: E731
    with fn.use_threads(threads):
        # In a microbatch, at an all-reduce, and in the backward pass.
        model = fn.serial(fn.relu, fn.serial(fn.relu, fn.named("bad", fn.dense(5))))
        params = {"serial_0": {"bad": {"w": np.ones((3, 5)), "b": np.ones(5)}}}
        with pytest.raises(ValueError, match="expected 3 channels") as caught:
            model.apply(params, x)
        assert notes(caught.value) == "in layer serial_0/bad"
        model = fn.serial(fn.relu, fn.residual(fn.relu, fn.named("bad", (nothing, failing))))
        with pytest.raises(ValueError, match="cannot take 200") as caught:
            model.apply({}, x)
        assert notes(caught.value) == "in layer residual_0/bad"
        model = fn.serial(fn.relu, fn.add(fn.relu, fn.named("bad", (nothing, failing_back))))
        y, vjp_fn = model.apply({}, x)
        with pytest.raises(ValueError, match="cannot pull back 200") as caught:
            vjp_fn(y)
        assert notes(caught.value) == "in layer add_0/bad"
        model = fn.serial(fn.relu, fn.batch_norm())
        with pytest.raises(ValueError, match="have not been measured") as caught:
            model.apply(fn.tree.cast(model.init(ROW, 0), np.float64), x)
        assert notes(caught.value) == "in layer batch_norm_0"
        with pytest.raises(ValueError, match=r"serial: vjp_fn expects dy like y, of shape \(200, 1, 784\)"):
            vjp_fn(y[:5])


def notes(error: BaseException) -> str:
    """The one note of an error, up to the shape."""
    (note,) = error.__notes__
    return str(note.split(",")[0])


def test_one_microbatch_can_fail_alone_and_the_next_call_works() -> None:
    def forward(x: Array) -> Array:
        if (x < 0).any():
            raise ValueError("negative")
        return x

    model = fn.serial(fn.elementwise(forward, lambda x, y: np.ones_like(x), name="root"), fn.batch_norm())
    params, x = model.init(ROW, 0), np.abs(batch(ROW, np.float32))
    expected = results(model, params, x, 0)
    bad = x.copy()
    bad[-1] = -1
    for _ in range(3):
        with pytest.raises(ValueError, match="negative") as caught:
            model.apply(params, bad, 0)
        assert notes(caught.value) == "in layer root_0"
        assert_same_bits(results(model, params, x, 0), expected)


def test_a_lookup_has_no_gradient_of_its_input_cut_or_not() -> None:
    def apply(params: Params, x: Array) -> tuple[Array, Vjp]:
        def vjp_fn(dy: Array) -> tuple[Params, None]:
            return {"w": np.stack([dy[x[:, 0] == row].sum(0) for row in range(3)])}, None

        return params["w"][x[:, 0]], vjp_fn

    model = fn.serial(((lambda shape, rng: {}), apply))
    params = {"layer_0": {"w": np.eye(3)}}
    x = np.arange(200)[:, None] % 3
    for size in (None, 64):
        with microbatches(size):
            y, vjp_fn = model.apply(params, x)
            grads, dx = vjp_fn(y)
        assert grads["layer_0"]["w"].tolist() == [[67, 0, 0], [0, 67, 0], [0, 0, 66]]
        assert dx is None


def test_parameters_without_axes_add_up() -> None:
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        return x * params["s"], lambda dy: ({"s": np.asarray((dy * x).sum())}, dy * params["s"])

    model = fn.serial(Layer(lambda shape, rng: {"s": np.array(2, np.float32)}, apply))
    with microbatches(1):
        y, vjp_fn = model.apply({"layer_0": {"s": np.array(2.0)}}, np.arange(4.0)[:, None, None])
        grads, _ = vjp_fn(np.ones_like(y))
    assert grads["layer_0"]["s"] == 0 + 1 + 2 + 3


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((80, 28, 28, 3), [40, 40]),
        # An even number, of about the same size: two cores have as much each.
        ((200, 784, 1), [50, 50, 50, 50]),
        ((129, 784, 1), [33, 33, 33, 30]),
        # Not too few in each.
        ((32, 2000, 1), [16, 16]),
        ((41, 1, 2000), [21, 20]),
        ((31, 4000, 1), [31]),
        # Rows.
        ((10_000, 4000), [10_000]),
        ((1, 200, 200, 3), [1]),
        # Narrow.
        ((20_000, 4, 1), [5000] * 4),
        # Small.
        ((100, 10), [100]),
        ((0, 28, 28, 3), [0]),
        ((80, 0, 3), [80]),
    ],
)
def test_where_a_batch_is_cut(shape: tuple[int, ...], sizes: list[int]) -> None:
    for x in (np.zeros(shape), np.zeros(shape, np.float32), np.asfortranarray(np.zeros(shape, np.float16))):
        for threads in (1, 2, 4):
            with fn.use_threads(threads):
                assert [len(part) for part in cut(x)] == sizes


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        # Scores of 4 heads, 32 * 32 of each example: those of six are half of the least working set.
        ((16, 32, 8), [4, 4, 4, 4]),
        ((31, 32, 16), [6, 6, 6, 6, 6, 1]),
        ((3, 512, 8), [1, 1, 1]),
        # Small, and one example.
        ((7, 32, 8), [7]),
        ((1, 2048, 8), [1]),
    ],
)
def test_few_sequences_are_cut_too(shape: tuple[int, ...], sizes: list[int]) -> None:
    x = np.zeros(shape, np.float32)
    attend = fn.multi_head_attention(4)
    for layer in (attend, fn.serial(attend), fn.transformer_encoder_layer(shape[2], 4)):
        assert [len(part) for part in cut(x, layer.apply.working_set)] == sizes  # type: ignore[attr-defined]


def test_a_transformer_gives_the_same_in_microbatches() -> None:
    model = fn.serial(fn.embedding(7, 8), fn.transformer_encoder_layer(8, 4, causal=True, activation="gelu"))
    tokens = np.random.default_rng(0).integers(0, 7, (16, 32))
    params = fn.tree.cast(model.init(fn.spec((32,), np.int64), 0), np.float64)
    y, vjp_fn = model.apply(params, tokens)
    with microbatches(None):
        y_whole, vjp_whole = model.apply(params, tokens)
    np.testing.assert_allclose(y, y_whole, rtol=1e-12)
    grads, whole = fn.tree.flatten(vjp_fn(y)[0]), fn.tree.flatten(vjp_whole(y)[0])
    for path in grads:
        np.testing.assert_allclose(grads[path], whole[path], rtol=1e-9, atol=1e-9)


@settings(max_examples=100)
@given(st.integers(0, 300), st.lists(st.integers(1, 40), max_size=3), st.sampled_from("CF"))
def test_microbatches_are_views_and_make_the_batch_again(n: int, shape: list[int], order: Any) -> None:
    x = np.arange(n * int(np.prod(shape)), dtype=np.int32).reshape(n, *shape).copy(order)
    parts = cut(x)
    assert np.array_equal(join(parts), x)
    assert [len(part) for part in split_like(x, parts)] == [len(part) for part in parts]
    assert np.array_equal(join(split_like(x, parts)), x)
    if len(parts) == 1:
        assert join(parts) is parts[0]
        assert split_like(x, parts)[0] is x
    else:
        assert all(np.shares_memory(part, x) for part in [*parts, *split_like(x, parts)])
        narrow = microbatch.MIN_WORKING_SET * n // (2 * x.size)
        assert 1 <= len(parts[-1]) <= len(parts[0]) <= max(64, narrow)
        assert {len(part) for part in parts[:-1]} == {len(parts[0])}


def test_what_is_no_array_is_handed_on_for_the_layer_to_refuse() -> None:
    x = [[1.0] * 10] * 10_000
    assert cut(x) == [x]  # type: ignore[arg-type, comparison-overlap]
    with pytest.raises(TypeError, match="relu: expected an array, got list"):
        fn.serial(fn.relu).apply({}, x)  # type: ignore[arg-type]


def test_microbatches_wait_at_an_all_reduce_and_go_on_with_its_values() -> None:
    combined: list[list[int]] = []

    def ranks(values: list[int]) -> list[int]:
        combined.append(values)
        return [sorted(values).index(value) for value in values]

    def part(value: int) -> Coroutine[tuple[int, int]]:
        rank = yield AllReduce(value, ranks)
        (total,) = yield all_sum((np.array([value, rank]),))
        return rank, int(total[0])

    for threads in (1, 2, 4):
        combined.clear()
        with fn.use_threads(threads):
            assert run_all([part(value) for value in (30, 10, 20)]) == [(2, 60), (0, 60), (1, 60)]
        assert combined == [[30, 10, 20]]
    assert run_one(part(7)) == (0, 7)


def test_sums_are_taken_in_the_order_of_the_microbatches() -> None:
    # In another order the large numbers would swallow the small one.
    def part(value: float) -> Coroutine[float]:
        return float((yield all_sum((np.array(value),)))[0])

    assert run_all([part(value) for value in (1e20, -1e20, 1.0)]) == [1.0] * 3
    assert run_all([part(value) for value in (1.0, 1e20, -1e20)]) == [0.0] * 3


def test_microbatches_run_side_by_side_between_two_all_reduces() -> None:
    barrier = threading.Barrier(2)

    def part() -> Coroutine[int]:
        barrier.wait(30)
        yield all_sum((np.zeros(1),))
        barrier.wait(30)
        return threading.get_ident()

    with fn.use_threads(2):
        assert len(set(run_all([part(), part()]))) == 2


def test_what_fails_at_an_all_reduce_is_raised_where_the_first_microbatch_waits() -> None:
    seen: list[str] = []

    def combine(values: list[int]) -> list[int]:
        raise ValueError("no")

    def part(value: int) -> Coroutine[int]:
        try:
            yield AllReduce(value, combine)
        except ValueError:
            seen.append(f"part {value}")
            raise
        return value

    with pytest.raises(ValueError, match="no"):
        run_all([part(0), part(1)])
    assert seen == ["part 0"]


def test_gradients_add_up_and_stay_what_they_were() -> None:
    trees = [{"a": {"w": np.full(2, value)}, "b": np.array(value)} for value in (1.0, 2.0, 4.0)]
    trees[0]["only"] = np.ones(3)
    before = [fn.tree.map(np.copy, tree) for tree in trees]
    total = added(trees)
    assert fn.tree.map(np.ndarray.tolist, total) == {"a": {"w": [7, 7]}, "b": 7, "only": [1, 1, 1]}
    for tree, copy in zip(trees, before, strict=True):
        assert_same_bits(fn.tree.flatten(tree), fn.tree.flatten(copy))
    assert list(total) == ["a", "b", "only"]
    assert total["a"]["w"].dtype == np.float64
    assert added([{}, {}]) == {}


def test_a_microbatch_is_not_cut_again_inside() -> None:
    sizes: list[int] = []
    own = recording(sizes, per_example=True)
    x = np.zeros((64, 28, 28, 1))
    for threads in (1, 2):
        with fn.use_threads(threads):
            fn.serial(fn.serial(own)).apply({}, x)
    assert sizes == [32, 32, 32, 32]
    # Behind a layer that wants to see the whole batch, the whole is cut.
    sizes.clear()
    fn.serial(fn.as_layer((lambda shape, rng: {}, fn.serial(own).apply))).apply({}, x)
    assert sizes == [32, 32]


@pytest.mark.parametrize("n", [1, 200])
def test_the_buffers_of_numpy_are_short_inside_and_the_callers_own_outside(n: int) -> None:
    seen: list[int] = []

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        seen.append(np.getbufsize())
        if rng is not None:
            raise ValueError("not like this")

        def vjp_fn(dy: Array) -> tuple[Params, Array]:
            seen.append(np.getbufsize())
            return {}, dy

        return x, vjp_fn

    model = fn.serial(fn.layer(per_example=True)(lambda: ((lambda shape, rng: {}), apply))())
    x = batch(IMAGE)[:n]
    before = np.getbufsize()
    y, vjp_fn = model.apply({}, x)
    vjp_fn(y)
    fn.predict(model, {}, x)
    with pytest.raises(ValueError, match="not like this"):
        model.apply({}, x, 0)
    assert np.getbufsize() == before != microbatch.UFUNC_BUFFER
    assert set(seen) == {microbatch.UFUNC_BUFFER}
