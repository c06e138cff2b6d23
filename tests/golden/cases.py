"""All cases whose results are recorded: layers, optimizers, the models of the examples, and files of today's format.

A case computes named arrays with nothing but the public functions, from inputs that are random under fixed seeds.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np

import funcnn as fn

Array: TypeAlias = Any
Observed: TypeAlias = dict[str, tuple[Array, ...]]
"""``{path: arrays}``: the first is recorded, and all of them must equal the record, as ways to the same numbers."""

Case: TypeAlias = Callable[[type], Observed]
"""``case(dtype)``, computed in that dtype."""

FOLDER = Path(__file__).parent
MODEL_FILE, CHECKPOINT_FILE = FOLDER / "model_v1.npz", FOLDER / "checkpoint_v1.npz"
STEPS = 10
BOTH, SINGLE = ("float64", "float32"), ("float32",)


@dataclass(frozen=True)
class Training:
    """A model, a batch, and how it learns it."""

    model: Any
    x: Array
    target: Array
    loss: Any
    optimizer: Any
    key: tuple[int, ...] = (7,)


@cache
def cases() -> dict[str, tuple[tuple[str, ...], Case]]:
    """``{name: (dtypes, case)}``; the name of a layer's case is its ``repr`` and the shape of its input."""
    found: dict[str, tuple[tuple[str, ...], Case]] = {}
    parts = (
        [(f"layer {spelled(layer)} on {shape}", BOTH, partial(_row, layer, shape)) for layer, shape in _rows()],
        [(f"optimizer {name}", BOTH, partial(_optimizer, make)) for name, make in OPTIMIZERS.items()],
        [("optimizer adam on many weights", BOTH, _many_weights)],
        [(f"model {name}", BOTH, partial(_model, make)) for name, make in MODELS.items()],
        [("attribution and evaluation", BOTH, _attribution)],
        [("file model", SINGLE, _model_file), ("file checkpoint", SINGLE, _checkpoint_file)],
    )
    for name, dtypes, case in (each for part in parts for each in part):
        if name in found:
            raise ValueError(f"two cases are called {name!r}")
        found[name] = dtypes, case
    return found


@cache
def observe(name: str, dtype: str) -> Observed:
    """What a case computes today."""
    return cases()[name][1](np.dtype(dtype).type)


# Layers and models


def spelled(layer: Any) -> str:
    """A layer as it was printed when the numbers were recorded, without the names of its children."""
    return re.sub(r"named\('\w+', (\w+(?:\([^()]*\))?)\)", r"\1", repr(layer))


def _rows() -> Iterator[tuple[Any, tuple[int, ...]]]:
    """The rows of the library's table, each once."""
    seen = set()
    for layer, shape in fn.testing.table_of_layers():
        if isinstance(shape, tuple) and (spelled(layer), shape) not in seen:
            seen.add((spelled(layer), shape))
            yield layer, shape


def _row(layer: Any, shape: tuple[int, ...], dtype: type) -> Observed:
    """A row of the table, with a batch of three."""
    random = _random(f"{spelled(layer)} {shape}")
    x = random.standard_normal((3, *shape))
    y, _ = layer.apply(fn.calibrate(layer, layer.init(shape, 0), x.astype(np.float32)), x.astype(np.float32))
    target = random.standard_normal(y.shape)
    optimizer = fn.sgd(0.05, momentum=0.9)
    return _trained(Training(layer, x, target, fn.mean_squared_error, optimizer), dtype)


def _model(make: Callable[[], Training], dtype: type) -> Observed:
    return _trained(make(), dtype)


def _trained(training: Training, dtype: type) -> Observed:
    """Output and gradients, predicting and training; ten steps; and what is predicted after them."""
    model, x = training.model, training.x.astype(dtype)
    params = fn.calibrate(model, _cast(model.init(x.shape[1:], 0), dtype), x)
    seen = _leaves("params", params)
    for mode, rng in (("predict", None), ("train", (*training.key, 1))):
        y, vjp = model.apply(params, x, rng)
        dy = _random("dy").standard_normal(y.shape).astype(dtype)
        seen |= {f"{mode}/y": (y, fn.predict(model, params, x)) if rng is None else (y,)}
        seen |= _gradients(mode, vjp, dy)
    if not params:
        return seen
    params, losses = _ten_steps(training, params, dtype)
    seen |= {"trained/losses": (losses,)} | _leaves("trained/params", params)
    # What the steps left is measured anew, as fit does it.
    params = fn.calibrate(model, params, x)
    return seen | {"trained/y": (fn.predict(model, params, x), model.apply(params, x)[0])}


def _gradients(mode: str, vjp: Any, dy: Array) -> Observed:
    """The gradients by the parameters, asked for with and without that by the input, and the latter."""
    grads, dx = vjp(dy)
    alone, nothing = vjp(dy, input_grad=False)
    assert nothing is None
    whole, alone = fn.tree.flatten(grads), fn.tree.flatten(alone)
    assert whole.keys() == alone.keys()
    return {f"{mode}/dx": (dx,)} | {f"{mode}/grads/{path}": (whole[path], alone[path]) for path in whole}


def _ten_steps(training: Training, params: Any, dtype: type) -> tuple[Any, Array]:
    """The parameters after ten steps on one batch, and the losses before each of them."""
    x, target, update = training.x.astype(dtype), training.target, training.optimizer.update
    gradient, state = fn.value_and_grad(training.model, training.loss), training.optimizer.init(params)
    losses = []
    for step in range(STEPS):
        loss, grads = gradient(params, x, target, (*training.key, step))
        updates, state = update(grads, state, params)
        params = fn.apply_updates(params, updates)
        losses.append(loss)
    return params, np.array(losses)


@fn.layer
def snake(start=1.0):
    """The layer of examples/custom_layer.py: y = x + sin(a x)^2 / a, per channel."""

    def init(shape, rng):
        return {"a": np.full(shape[-1:], start, np.float32)}

    def apply(params, x):
        a, sine, double = params["a"], np.sin(params["a"] * x), np.sin(2 * params["a"] * x)

        def vjp_fn(dy):
            da = dy * (x * double - sine**2 / a) / a
            return {"a": da.sum(tuple(range(x.ndim - 1)))}, dy * (1 + double)

        return x + sine**2 / a, vjp_fn

    return init, apply


def _centre_apply(params, x):
    """A bare pair that looks across the batch: y = x - the mean over the batch, times a weight for each channel."""
    centred = x - x.mean(0)

    def vjp_fn(dy):
        scaled = dy * params["a"]
        return {"a": (dy * centred).sum(tuple(range(x.ndim - 1)))}, scaled - scaled.mean(0)

    return centred * params["a"], vjp_fn


centre = (lambda shape, rng: {"a": np.ones(shape[-1:], np.float32)}, _centre_apply)


def _images(name: str, layers: list[Any], shape: tuple[int, ...], optimizer: Any, **options: Any) -> Training:
    """Random pictures in [0, 1], or standard normal ones, and labels of ten classes."""
    random = _random(name)
    x = random.standard_normal(shape) if options.get("standard", False) else random.random(shape)
    labels = random.integers(0, 10, shape[0])
    target = np.eye(10)[labels] if options.get("one_hot", False) else labels
    loss = options.get("loss", fn.softmax_cross_entropy)
    return Training(fn.serial(*layers), x, target, loss, optimizer, options.get("key", (7,)))


def _mnist_cnn() -> Training:
    """examples/mnist_cnn.py; 80 pictures of 784 numbers are enough to be cut into pieces, each with its dropout."""
    layers = [
        fn.conv2d(12, 5, activation=fn.relu), fn.max_pool2d(2), fn.conv2d(32, 5, activation=fn.relu), fn.max_pool2d(2),
        fn.flatten, fn.dropout(0.2), fn.dense(128, activation=fn.relu), fn.dropout(0.2), fn.dense(10),
    ]  # fmt: skip
    return _images("mnist", layers, (80, 28, 28, 1), fn.adam(fn.cosine_decay(3e-3, steps=1410)), key=(0, 4))


def _readme_cnn() -> Training:
    """The network of the README."""
    layers = [
        fn.conv2d(8, 3), fn.relu, fn.max_pool2d(2), fn.conv2d(16, 3), fn.relu, fn.max_pool2d(2),
        fn.flatten, fn.dropout(0.2), fn.dense(10),
    ]  # fmt: skip
    return _images("readme", layers, (64, 28, 28, 1), fn.adam(fn.cosine_decay(2e-3, steps=471)))


def _batch_norm_cnn(shape: tuple[int, ...], widths: tuple[int, int]) -> Training:
    """Convolution, batch norm, relu and pooling, twice: statistics of a batch that is cut into pieces."""
    first, second = widths
    layers = [
        fn.conv2d(first, 3, bias=False), fn.batch_norm(), fn.relu, fn.max_pool2d(2),
        fn.conv2d(second, 3), fn.batch_norm(activation=fn.relu), fn.max_pool2d(2), fn.flatten, fn.dense(10),
    ]  # fmt: skip
    return _images(f"batch norm {shape}", layers, shape, fn.sgd(0.05, momentum=0.9), standard=True)


def _residual_network() -> Training:
    """Batch norms inside residual blocks inside a serial, the second block with a convolution beside it.

    There is no dropout: the old code gave such blocks the joined batch, and what is dropped follows the cut.
    """
    block = fn.residual(
        fn.conv2d(8, 3, padding="same", bias=False), fn.batch_norm(activation=fn.relu),
        fn.conv2d(8, 3, padding="same"), fn.batch_norm(),
    )  # fmt: skip
    side = fn.serial(fn.conv2d(6, 3, padding="same", bias=False), fn.batch_norm())
    layers = [
        block, fn.relu, fn.avg_pool2d(2), fn.add(side, fn.conv2d(6, 1)), fn.relu,
        fn.concat(fn.identity, fn.residual(fn.batch_norm(), fn.tanh)), fn.global_avg_pool2d, fn.dense(10),
    ]  # fmt: skip
    return _images("residual", layers, (64, 16, 16, 8), fn.sgd(0.05, momentum=0.9), standard=True)


def _bare_pair() -> Training:
    """A bare pair sees the whole batch, although the layers around it get it in pieces with keys of their own."""
    layers = [
        fn.conv2d(4, 3, activation=fn.tanh), fn.dropout(0.2), centre, fn.avg_pool2d(2), fn.dropout(0.2),
        fn.flatten, fn.dense(10),
    ]  # fmt: skip
    return _images("bare pair", layers, (72, 16, 16, 3), fn.sgd(0.05), standard=True)


def _custom_layer() -> Training:
    """examples/custom_layer.py."""
    x = _random("snake").uniform(-4, 4, (32, 1))
    model = fn.serial(fn.dense(32), snake(2.0), fn.dense(32), snake(2.0), fn.dense(1))
    optimizer = fn.adam(fn.cosine_decay(1e-2, steps=3200))
    return Training(model, x, np.sin(3 * x) + x / 2, fn.mean_squared_error, optimizer)


# The rates of s0's images and of s2's MNIST are a tenth of the examples': at 1, on random labels, rounding errors grow
# ten thousandfold within ten steps, and float32 ends elsewhere than float64 does.


def _s0(name: str, layers: list[Any], shape: tuple[int, ...], optimizer: Any) -> Training:
    return _images(name, layers, shape, optimizer, loss=fn.mean_squared_error, one_hot=True)


def _s0_cnn() -> Training:
    layers = [
        fn.conv2d(2, 3), fn.leaky_relu(), fn.max_pool2d(2), fn.conv2d(2, 3), fn.leaky_relu(), fn.flatten,
        fn.batch_norm(), fn.dense(128), fn.leaky_relu(), fn.batch_norm(), fn.dense(10), fn.softmax,
    ]  # fmt: skip
    return _s0("s0 CNN", layers, (100, 28, 28, 1), fn.sgd(0.1))


def _s0_dense(width: int) -> list[Any]:
    hidden = [fn.dense(width), fn.leaky_relu(), fn.batch_norm()]
    return [fn.flatten, *hidden, *hidden, fn.dense(10), fn.softmax]


def _s0_pooled() -> Training:
    optimizer = fn.chain(fn.add_decayed_weights(0.01), fn.sgd(fn.cosine_decay(0.3, steps=4000)))
    return _s0("s0 14", _s0_dense(128), (10, 14, 14, 1), optimizer)


def _s0_disc() -> Training:
    x = _random("disc").uniform(-1, 1, (10, 2))
    hidden = [fn.dense(50), fn.leaky_relu()]
    model = fn.serial(*hidden, *hidden, fn.dense(2), fn.softmax)
    return Training(model, x, np.eye(2)[(np.hypot(*x.T) < 0.8).astype(int)], fn.mean_squared_error, fn.sgd(0.03))


def _s1(name: str, layers: list[Any], optimizer: Any) -> Training:
    loss = fn.categorical_cross_entropy
    return _images(name, layers, (32, 28, 28, 1), optimizer, loss=loss, standard=True)


S1_TESTS = {
    1: [fn.conv2d(8, 3, activation="relu"), fn.flatten, fn.dense(10, activation="softmax")],
    2: [
        fn.conv2d(8, 3, activation="relu"), fn.conv2d(16, 3, activation="relu"),
        fn.flatten, fn.dense(10, activation="softmax"),
    ],
    3: [
        fn.conv2d(4, 3, activation="relu"), fn.max_pool2d(2), fn.conv2d(8, 3, activation="relu"), fn.dropout(0.2),
        fn.flatten, fn.dense(10, activation="softmax"),
    ],
    4: [
        fn.conv2d(4, 3, activation="relu"), fn.conv2d(8, 3, activation="relu"), fn.max_pool2d(2),
        fn.flatten, fn.dense(64, activation="relu"), fn.dropout(0.1), fn.dense(10, activation="softmax"),
    ],
}  # fmt: skip


def _s1_line() -> Training:
    x = np.linspace(-1, 1, 32)[:, None]
    return Training(fn.dense(1), x, 2 * x, fn.mean_squared_error, fn.sgd(0.1))


def _s2_shapes() -> Training:
    random = _random("shapes")
    model = fn.serial(
        fn.conv2d(4, 2), fn.flatten, fn.dense(8, activation="relu"), fn.dense(4, activation="sigmoid")
    )  # fmt: skip
    target = np.eye(4)[random.integers(0, 4, 16)]
    return Training(model, random.random((16, 3, 3, 1)), target, fn.mean_squared_error, fn.sgd(0.1))


def _s2_mnist() -> Training:
    layers = [
        fn.conv2d(4, 5), fn.flatten, fn.dense(256, activation="relu"), fn.dense(128, activation="relu"),
        fn.dense(32, activation="relu"), fn.dense(10, activation="sigmoid"),
    ]  # fmt: skip
    return _images("s2", layers, (16, 28, 28, 1), fn.sgd(0.1), loss=fn.mean_squared_error, one_hot=True)


def _s3() -> Training:
    random = _random("s3")
    model = fn.serial(fn.dense(5, activation="relu"), fn.dense(2, activation="relu"), fn.dense(1, activation="sigmoid"))
    target = random.integers(0, 2, (100, 1))
    optimizer = fn.adam(fn.cosine_decay(0.02, 1600))
    return Training(model, random.standard_normal((100, 2)), target, fn.binary_cross_entropy, optimizer)


def _s4(before: list[Any], after: list[Any], rate: float) -> Training:
    """One example at a time."""
    hidden = [fn.dense(width, activation="tanh") for width in (100, 50, 10)]
    layers = [*before, fn.flatten, *hidden, *after]
    return _images("s4", layers, (1, 28, 28, 1), fn.sgd(rate), loss=fn.mean_squared_error, one_hot=True)


S4_FIRST = [fn.conv2d(5, 3, stride=2, padding=((1, 1), (1, 1)), activation="tanh"), fn.max_pool2d(2)]

MODELS: dict[str, Callable[[], Training]] = {
    "mnist_cnn": _mnist_cnn,
    "README": _readme_cnn,
    "batch norm, 16 x 16": partial(_batch_norm_cnn, (70, 16, 16, 4), (6, 8)),
    "batch norm, 32 x 32": partial(_batch_norm_cnn, (64, 32, 32, 3), (4, 6)),
    "residual": _residual_network,
    "bare pair across the batch": _bare_pair,
    "custom_layer": _custom_layer,
    "s0 CNN": _s0_cnn,
    "s0 FCN 40": lambda: _s0("s0 FCN", _s0_dense(40), (100, 28, 28, 1), fn.sgd(0.1)),
    "s0 FCN 128, 14 x 14": _s0_pooled,
    "s0 disc": _s0_disc,
    **{f"s1 Test {number}": partial(_s1, f"s1 {number}", layers, fn.adam(1e-3)) for number, layers in S1_TESTS.items()},
    "s1 784-10": lambda: _s1("s1 one", [fn.flatten, fn.dense(10, activation="softmax")], fn.sgd(0.01)),
    "s1 784-100-10": lambda: _s1(
        "s1 two", [fn.flatten, fn.dense(100, activation="sigmoid"), fn.dense(10, activation="softmax")], fn.adam(1e-3)
    ),
    "s1 line": _s1_line,
    "s2 shapes": _s2_shapes,
    "s2 MNIST": _s2_mnist,
    "s3 2-5-2-1": _s3,
    "s4 plain": lambda: _s4([], [], 0.1),
    "s4 softmax": lambda: _s4([], [fn.softmax], 0.01),
    "s4 CNN": lambda: _s4(S4_FIRST, [fn.softmax], 0.1),
}


def _attribution(dtype: type) -> Observed:
    """Saliency, grad-CAM, predictions in several sizes of batches, and evaluation, of a CNN with batch norm."""
    training = _batch_norm_cnn((70, 16, 16, 4), (6, 8))
    model, x, labels = training.model, training.x.astype(dtype), training.target
    params = fn.calibrate(model, _cast(model.init(x.shape[1:], 0), dtype), x[:50])
    found = fn.evaluate(model, params, (x, labels), training.loss, {"accuracy": fn.metrics.accuracy}, batch_size=32)
    return {
        "calibrated/mean": (params["batch_norm_1"]["mean"],),
        "calibrated/var": (params["batch_norm_1"]["var"],),
        "saliency": (fn.saliency(model, params, x, labels),),
        "saliency of class 3": (fn.saliency(model, params, x, 3),),
        **{f"grad_cam {path}": (fn.grad_cam(model, params, x, labels, path),) for path in ("relu_0", "max_pool2d_1")},
        "predict": (fn.predict(model, params, x), fn.predict(model, params, x, 70), fn.predict(model, params, x, 9)),
        "evaluate": (np.array([found["loss"], found["accuracy"]]),),
    }


# Optimizers

OPTIMIZERS: Mapping[str, Callable[[], Any]] = {
    "sgd": lambda: fn.sgd(0.1),
    "sgd, momentum": lambda: fn.sgd(0.1, momentum=0.9),
    "sgd, nesterov": lambda: fn.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: fn.adam(1e-2),
    "adam, other decays": lambda: fn.adam(1e-2, b1=0.8, b2=0.95, eps=1e-3),
    "adamw": lambda: fn.adamw(1e-2, weight_decay=0.1),
    "adamw, mask": lambda: fn.adamw(
        1e-2, weight_decay=0.1, decay_mask=lambda params: fn.tree.map_with_path(lambda path, p: "b" in path, params)
    ),
    "adamax": lambda: fn.adamax(2e-3),
    "rmsprop": lambda: fn.rmsprop(1e-2),
    "adagrad": lambda: fn.adagrad(1e-2),
    "adadelta": lambda: fn.adadelta(),
    "chain of clips and adam": lambda: fn.chain(fn.clip_by_global_norm(4.0), fn.clip_by_value(0.8), fn.adam(1e-2)),
    "chain of two of a kind": lambda: fn.chain(fn.add_momentum(0.5), fn.add_decayed_weights(0.1), fn.sgd(0.1, 0.9)),
    "schedule constant": lambda: fn.sgd(fn.constant(0.1)),
    "schedule step_decay": lambda: fn.adam(fn.step_decay(1e-2, every=3, factor=0.5)),
    "schedule exponential_decay": lambda: fn.rmsprop(fn.exponential_decay(1e-2, steps=5, factor=0.1)),
    "schedule cosine_decay": lambda: fn.adagrad(fn.cosine_decay(1e-2, steps=8, final=1e-3)),
    "schedule linear_warmup": lambda: fn.sgd(0.1, momentum=fn.linear_warmup(0.9, steps=6), nesterov=True),
    "schedules joined": lambda: fn.adamw(
        fn.join([fn.linear_warmup(1e-2, steps=4), fn.cosine_decay(1e-2, steps=5), 1e-3], [4, 8]),
        weight_decay=fn.step_decay(0.1, every=5, factor=0.1),
    ),
}

SHAPES = {"conv/w": (3, 3, 2, 4), "conv/b": (4,), "dense/w": (6, 5), "dense/b": (5,), "scale": (7,)}


def _optimizer(make: Callable[[], Any], dtype: type) -> Observed:
    """Ten updates of a small tree: the updates of all steps, the state and the parameters after them."""
    params, updates, state = _updated(make(), SHAPES, dtype)
    seen = _leaves("state", state) | _leaves("params", params)
    for path in SHAPES:
        seen |= {f"updates/{path}": (np.stack([fn.tree.flatten(update)[path] for update in updates]),)}
    if any(path.endswith("step") for path in seen):
        seen |= {
            "current_step": (np.array(fn.current_step(state)),),
            "current_rate": (np.array(fn.current_rate(state)),),
        }
    return seen


def _many_weights(dtype: type) -> Observed:
    """So many weights that the library updates them block by block."""
    optimizer = fn.chain(fn.clip_by_global_norm(100.0), fn.adamw(1e-2))
    params, updates, state = _updated(optimizer, {"a/w": (400, 700), "a/b": (700,), "z/w": (150, 7)}, dtype)
    return _leaves("params", params) | _leaves("updates", updates[-1]) | _leaves("state", state)


def _updated(optimizer: Any, shapes: Mapping[str, tuple[int, ...]], dtype: type) -> tuple[Any, list[Any], Any]:
    """Parameters, updates and state of ten steps, whose random gradients differ in size."""
    random = _random("optimizer")

    def tree(scale: float) -> Any:
        leaves = {path: (scale * random.standard_normal(shape)).astype(dtype) for path, shape in shapes.items()}
        return fn.tree.unflatten(leaves)

    params = tree(1.0)
    state, updates = optimizer.init(params), []
    for step in range(STEPS):
        update, state = optimizer.update(tree(0.2 + 0.3 * (step % 4)), state, params)
        params = fn.apply_updates(params, update)
        updates.append(update)
    return params, updates, state


# Files


def varied_model() -> Any:
    """A small model of many kinds of layers, for the model file."""
    return fn.serial(
        fn.conv2d(4, 3, padding="same", activation=fn.relu, w_init=fn.initializers.normal(std=0.05)),
        fn.conv2d(6, 3, bias=False, w_init=fn.initializers.variance_scaling(1.0, "average", "uniform")),
        fn.batch_norm(eps=1e-3, activation="swish"),
        fn.max_pool2d(2),
        fn.residual(fn.conv2d(6, 3, padding="same", activation=fn.tanh), fn.conv2d(6, 1)),
        fn.add(fn.identity, fn.conv2d(6, (1, 3), padding=((0, 0), (2, 0)), pad_mode="edge")),
        fn.concat(fn.identity, fn.named("side", fn.conv2d(2, 1, activation="sigmoid"))),
        fn.upsample2d((1, 2)),
        fn.leaky_relu(0.2),
        fn.dropout(0.25),
        fn.repeat(fn.conv2d(8, 3, padding="same", groups=2, activation=fn.leaky_relu(0.1)), 2),
        fn.avg_pool2d((2, 3), stride=2, ceil_mode=True),
        fn.reshape(-1, 8),
        fn.batch_norm(),
        fn.dense(4, activation=fn.relu),
        fn.flatten,
        fn.named("head", fn.dense(3, w_init=fn.initializers.glorot_uniform)),
    )


VARIED_SHAPE = (10, 9, 2)


def write_model_file() -> None:
    """The varied model, calibrated, as ``save_model`` writes it."""
    model, x = varied_model(), _random("model file").standard_normal((20, *VARIED_SHAPE)).astype(np.float32)
    fn.save_model(MODEL_FILE, model, fn.calibrate(model, model.init(VARIED_SHAPE, 3), x))


def _model_file(dtype: type) -> Observed:
    """What the model in the file predicts and how it goes on learning; also with the architecture from here."""
    model, params = fn.load_model(MODEL_FILE)
    written = varied_model()
    assert repr(model) == repr(written)
    x = _random("input of the model file").standard_normal((5, *VARIED_SHAPE)).astype(dtype)
    (y, vjp), (same, _) = model.apply(params, x), written.apply(params, x)
    dy = _random("dy").standard_normal(y.shape).astype(dtype)
    training = model.apply(params, x, (7, 1))[0], written.apply(params, x, (7, 1))[0]
    apart, fresh, here = (
        _leaves("", tree) for tree in (fn.load(MODEL_FILE), model.init(VARIED_SHAPE, 0), written.init(VARIED_SHAPE, 0))
    )
    seen = {path: (*leaves, *apart[path.removeprefix("params")]) for path, leaves in _leaves("params", params).items()}
    # What batch norm predicts with is not measured yet, NaN, in fresh parameters.
    seen |= {f"init{path}": (*fresh[path], *here[path]) for path in fresh if not path.endswith(("/mean", "/var"))}
    seen |= {"predict/y": (y, same, fn.predict(model, params, x), fn.predict(written, params, x)), "train/y": training}
    return seen | _gradients("predict", vjp, dy)


def _run() -> tuple[Any, Any, Any]:
    """Model, optimizer and data of the checkpoint: three steps an epoch.

    There is no bias before the batch norm: its gradient is nothing but rounding errors, which Adam would make large.
    """
    random = _random("checkpoint")
    model = fn.serial(
        fn.conv2d(4, 3, activation=fn.tanh), fn.flatten, fn.dropout(0.1),
        fn.dense(8, bias=False), fn.batch_norm(), fn.dense(2),
    )  # fmt: skip
    rate = fn.join([fn.linear_warmup(5e-3, steps=4), fn.cosine_decay(5e-3, steps=20)], [4])
    optimizer = fn.chain(fn.clip_by_global_norm(0.5), fn.adamw(rate, weight_decay=0.05))
    return model, optimizer, (random.random((24, 6, 6, 1)).astype(np.float32), np.arange(24) % 2)


def _fit(params: Any, epochs: int, **options: Any) -> Any:
    model, optimizer, data = _run()
    return fn.fit(
        model, params, optimizer, data, fn.softmax_cross_entropy, epochs, 8, rng=5, verbose=False, **options
    )  # fmt: skip


def write_checkpoint_file() -> None:
    """The best of a run of two epochs, which is the last, as ``callbacks.checkpoints`` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        watch = fn.callbacks.checkpoints(folder, metric="train_loss")
        _fit(_run()[0].init((6, 6, 1), 0), 2, callbacks=[watch])
        best = (Path(folder) / "best.npz").read_bytes()
        assert int(fn.load(Path(folder) / "best.npz")["step"]) == 6
    CHECKPOINT_FILE.write_bytes(best)


def _checkpoint_file(dtype: type) -> Observed:
    """What is in the checkpoint, three steps on from there by hand, and the same by ``fit``."""
    (model, optimizer, data), saved = _run(), fn.load(CHECKPOINT_FILE)
    seen = _leaves("saved", saved)
    step, params, state, losses = int(saved["step"]), saved["params"], saved["opt_state"], []
    gradient = fn.value_and_grad(model, fn.softmax_cross_entropy)
    for number, (x, labels) in enumerate(fn.batches(data, 8, 3, (5, 9), start=step), step):
        loss, grads = gradient(params, x, labels, (5, number))
        updates, state = optimizer.update(grads, state, params)
        params = fn.apply_updates(params, updates)
        losses.append(loss)
    assert len(losses) == 3
    seen |= {"trained/losses": (np.array(losses),)} | _leaves("trained/params", params)
    seen |= _leaves("trained/state", state)
    with tempfile.TemporaryDirectory() as folder:
        watch = fn.callbacks.checkpoints(folder)
        result = _fit(saved["params"], 3, opt_state=saved["opt_state"], start=step, callbacks=[watch])
        written = _leaves("trained/fit", fn.load(Path(folder) / "last.npz"))
    record = {name: value for name, value in result.history[-1].items() if name != "seconds"}
    kept = _leaves("trained/fit/params", result.params) | _leaves("trained/fit/opt_state", result.opt_state)
    seen |= {path: (*leaves, *kept.get(path, ())) for path, leaves in written.items()}
    return seen | {f"trained/record/{name}": (np.array(value),) for name, value in record.items()}


# Common to all


SEEDS = {"snake": 1, "s0 CNN": 10, "s0 14": 1, "mnist": 5, "readme": 1}
"""Seeds other than 0, of inputs that put no unit so close to a kink of relu or pooling that float32's rounding takes it
across: a single one would change a gradient by up to a tenth. In a search, sixteen random changes of all weights by up
to 2**-21 of themselves left every array of every model, also after ten steps, within 0.4 of its float32 tolerance."""


def _random(name: str) -> np.random.Generator:
    """A generator of its own for everything that has a name."""
    return np.random.default_rng((crc32(name.encode()), SEEDS.get(name, 0)))


def _cast(params: Any, dtype: type) -> Any:
    return fn.tree.cast(params, dtype)


def _leaves(prefix: str, tree: Any) -> Observed:
    """The leaves of a tree under their paths."""
    return {f"{prefix}/{path}": (np.asarray(leaf),) for path, leaf in fn.tree.flatten(tree).items()}
