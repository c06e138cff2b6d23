"""No reference cycle holds an array: with the garbage collector off, every public call frees what it dropped."""

import doctest
import functools
import gc
import importlib
import io
import pkgutil
import time
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn

MODEL = fn.serial(
    fn.conv2d(4, 3), fn.batch_norm(), fn.relu,
    fn.residual(fn.conv2d(4, 3, padding="same"), fn.batch_norm()),
    fn.named("head", fn.serial(fn.global_avg_pool2d, fn.dropout(0.2), fn.dense(10))),
)  # fmt: skip
PARAMS = MODEL.init((28, 28, 1), 0)
READY = fn.calibrate(MODEL, PARAMS, np.random.default_rng(0).random((20, 28, 28, 1), np.float32))
LABELS = np.arange(80) % 10


@pytest.fixture(autouse=True)
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()


def step(x: Any) -> None:
    y, vjp_fn = MODEL.apply(PARAMS, x, rng=0)
    vjp_fn(y)
    vjp_fn(y, input_grad=False)


def fit(x: Any) -> None:
    fn.fit(MODEL, PARAMS, fn.adam(1e-3), (x, LABELS[: len(x)]), fn.softmax_cross_entropy, 1, verbose=False)


CALLS: dict[str, Callable[[Any], Any]] = {
    "step": step,
    "value_and_grad": lambda x: fn.value_and_grad(MODEL, fn.softmax_cross_entropy)(PARAMS, x, LABELS[: len(x)], rng=0),
    "predict": lambda x: fn.predict(MODEL, READY, x),
    "evaluate": lambda x: fn.evaluate(MODEL, READY, (x, LABELS[: len(x)]), fn.softmax_cross_entropy),
    "calibrate": lambda x: fn.calibrate(MODEL, PARAMS, x),
    "trace": lambda x: fn.trace(MODEL, READY, x, rng=0),
    "outputs": lambda x: fn.outputs(MODEL, READY, x),
    "saliency": lambda x: fn.saliency(MODEL, READY, x, 1),
    "grad_cam": lambda x: fn.grad_cam(MODEL, READY, x, 1, "relu_0"),
    "batches": lambda x: list(fn.batches((x, LABELS[: len(x)]), 7, rng=0)),
    "split": lambda x: fn.split((x, LABELS[: len(x)]), 0.2, rng=0),
    "remat": lambda x: fn.remat(MODEL).apply(PARAMS, x, rng=0)[1](np.ones((len(x), 10), np.float32)),
    "fit": fit,
}


def failing(where: str) -> Any:
    """A user's layer that raises in ``apply`` or in its vjp."""

    @fn.layer(per_example=where.endswith("example"))
    def broken() -> Any:
        def apply(params: Any, x: Any) -> Any:
            if where.startswith("apply"):
                raise RuntimeError("broken")

            def vjp_fn(dy: Any) -> Any:
                raise RuntimeError("broken")

            return 2 * x, vjp_fn

        return (lambda shape, rng: {}), apply

    return fn.serial(fn.conv2d(4, 3), broken(), fn.batch_norm(), fn.global_avg_pool2d, fn.dense(10))


def broken_step(where: str, x: Any) -> None:
    y, vjp_fn = failing(where).apply(PARAMS_OF_BROKEN, x, rng=0)
    vjp_fn(y)


def fit_with(x: Any, **options: Any) -> None:
    data = (x, LABELS[: len(x)])
    loss = options.pop("loss", fn.softmax_cross_entropy)
    fn.fit(MODEL, PARAMS, fn.adam(1e-3), data, loss, 1, verbose=False, **options)


def raises(*_: Any) -> Any:
    raise RuntimeError("broken")


PARAMS_OF_BROKEN = {
    "conv2d_0": PARAMS["conv2d_0"], "batch_norm_0": PARAMS["batch_norm_0"], "dense_0": PARAMS["head"]["dense_0"],
}  # fmt: skip
HEAD = {"dense_0": {"w": np.ones((3, 10), np.float32), "b": np.ones(10, np.float32)}}
RAISING: dict[str, Callable[[Any], Any]] = {
    "a name too many": lambda x: MODEL.apply({**PARAMS, "other": {}}, x, rng=0),
    "a wrong shape deep inside": lambda x: MODEL.apply(PARAMS | {"head": HEAD}, x, rng=0),
    "not calibrated": lambda x: MODEL.apply(PARAMS, x),
    "float16": lambda x: MODEL.apply(PARAMS, x.astype(np.float16)),
    "a wrong dy": lambda x: MODEL.apply(PARAMS, x, rng=0)[1](x),
    "predict": lambda x: fn.predict(MODEL, PARAMS, x),
    "evaluate": lambda x: fn.evaluate(MODEL, READY, (x, LABELS[: len(x)]), fn.softmax_cross_entropy, {"it": raises}),
    "calibrate": lambda x: fn.calibrate(MODEL, PARAMS | {"head": HEAD}, x),
    "trace": lambda x: fn.trace(MODEL, READY | {"head": HEAD}, x, rng=0),
    "outputs": lambda x: fn.outputs(MODEL, PARAMS, x),
    "saliency": lambda x: fn.saliency(MODEL, READY, x, 99),
    "grad_cam": lambda x: fn.grad_cam(MODEL, READY, x, 1, "head"),
    "value_and_grad": lambda x: fn.value_and_grad(MODEL, raises)(PARAMS, x, LABELS[: len(x)], rng=0),
    "remat": lambda x: fn.remat(MODEL).apply(PARAMS | {"head": HEAD}, x, rng=0),
    "loss": lambda x: fn.softmax_cross_entropy(x, LABELS),
    "metric": lambda x: fn.metrics.accuracy(x, LABELS),
    "save": lambda x: fn.save("no such folder/x.npz", {"x": x}),
    "split": lambda x: fn.split((x, LABELS[:1]), 0.2, rng=0),
    "batches": lambda x: list(fn.batches((x, LABELS[:1]), 7, rng=0)),
    "fit: loss": lambda x: fit_with(x, loss=raises),
    "fit: metric": lambda x: fit_with(x, metrics={"it": raises}),
    "fit: callback": lambda x: fit_with(x, callbacks=[raises]),
    "fit: NaN": lambda x: fit_with(np.full_like(x, np.nan)),
    "interrupt": lambda x: fit_with(x, callbacks=[interrupt]),
    **{
        f"{where} of a user's layer": functools.partial(broken_step, where)
        for where in ("apply", "apply per example", "vjp", "vjp per example")
    },
}


def interrupt(*_: Any) -> Any:
    raise KeyboardInterrupt


def is_freed(alive: "weakref.ref[Any]") -> bool:
    """Whether an array is deleted, at once or when a worker returns from its last task a moment after the call."""
    deadline = time.monotonic() + 5
    while alive() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    return alive() is None


@pytest.mark.parametrize(("examples", "threads"), [(2, 1), (80, 2)], ids=["whole", "cut"])
@pytest.mark.parametrize("call", RAISING.values(), ids=RAISING.keys())
def test_a_call_that_raises_frees_its_input(call: Callable[[Any], Any], examples: int, threads: int) -> None:
    x = np.random.default_rng(1).random((examples, 28, 28, 1), np.float32)
    alive = weakref.ref(x)
    with fn.use_threads(threads):
        try:
            call(x)
        except (Exception, KeyboardInterrupt):
            del x
        else:
            pytest.fail("this must raise")
    assert is_freed(alive)


@pytest.mark.parametrize("place", range(len(fn.testing.table_of_layers())))
def test_a_layer_frees_its_input_its_parameters_and_the_gradient(place: int) -> None:
    layer, shape = fn.testing.table_of_layers()[place]
    params = fn.tree.map(lambda leaf: np.where(np.isnan(leaf), np.float32(1), leaf), layer.init(shape, 0))
    x = fn.tree.map(lambda leaf: leaf if leaf.dtype.kind != "f" else leaf.astype(np.float32),
                    fn.testing.random_batch(shape, 3))  # fmt: skip
    y, vjp_fn = layer.apply(params, x, rng=0)
    dy = fn.tree.map(np.ones_like, y)
    alive = [weakref.ref(leaf) for part in (params, x, y, dy) for leaf in fn.tree.leaves(part)]
    grads = vjp_fn(dy)
    y, vjp_fn = layer.apply(params, x)
    vjp_fn(dy, input_grad=False)
    alive += [weakref.ref(leaf) for leaf in fn.tree.leaves(y)]
    del params, x, y, dy, vjp_fn, grads
    assert all(is_freed(one) for one in alive)


def test_a_decorated_constructor_frees_the_arrays_that_it_was_made_of() -> None:
    table = np.ones(3)
    alive = weakref.ref(table)

    def constructors(table: Any) -> Any:
        @fn.layer
        def shifted() -> Any:
            return (lambda shape, rng: {}), lambda params, x: (x + table, lambda dy: ({}, dy))

        @fn.recorded.recorded
        def decaying() -> Any:
            return lambda step: table[step]

        return shifted, decaying

    made = [constructor() for constructor in constructors(table)]
    assert repr(made) == "[shifted(), decaying()]"
    del made, table
    assert is_freed(alive)


# Modules whose examples need an extra; they are tried where it is installed.
NEEDED = {
    "funcnn.distributed": "mpi4py", "funcnn.interchange.keras": "h5py", "funcnn.interchange.safetensors": "safetensors",
    "funcnn.sklearn": "sklearn",
}  # fmt: skip
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fn.__path__, "funcnn.")
    if not module.name.endswith("__main__")
    and all(find_spec(package) for name, package in NEEDED.items() if module.name.startswith(name))
)


def is_ours(thing: Any) -> bool:
    """Whether a function or an object is funcnn's, and not one of NumPy's or Matplotlib's."""
    kind = thing if isinstance(thing, types.FunctionType) else type(thing)
    return (getattr(kind, "__module__", None) or "").startswith("funcnn")


@pytest.mark.parametrize("name", MODULES)
def test_no_example_of_the_documentation_leaves_a_cycle(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        examples = [one for one in test.examples if one.exc_msg is None and not one.options.get(doctest.SKIP)]
        code = compile("".join(one.source for one in examples), test.name, "exec")
        for _ in range(2):  # what the first run imports and caches is not dropped
            names = dict(vars(module))
            with redirect_stdout(io.StringIO()):
                exec(code, names)
            names.clear()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            gc.set_debug(0)
            found = [repr(thing) for thing in gc.garbage if is_ours(thing)]
            gc.garbage.clear()
        assert not found, f"{test.name} leaves {found[:5]}"


@pytest.mark.parametrize("examples", [2, 80], ids=["whole", "cut"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_call_frees_its_input(call: Callable[[Any], Any], examples: int) -> None:
    x = np.random.default_rng(1).random((examples, 28, 28, 1), np.float32)
    alive = weakref.ref(x)
    call(x)
    del x
    assert is_freed(alive)


def test_a_call_frees_the_parameters_that_it_was_given() -> None:
    params = fn.tree.map(np.copy, PARAMS)
    alive = [weakref.ref(leaf) for leaf in fn.tree.leaves(params)]
    x = np.ones((2, 28, 28, 1), np.float32)
    _, grads = fn.value_and_grad(MODEL, fn.softmax_cross_entropy)(params, x, LABELS[:2], rng=0)
    optimizer = fn.chain(fn.clip_by_global_norm(1.0), fn.adamw(fn.cosine_decay(1e-3, steps=5)))
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    moved = fn.apply_updates(params, updates)
    del params
    assert [ref() for ref in alive] == [None] * len(alive)
    assert len(fn.tree.leaves(moved)) == len(alive)
