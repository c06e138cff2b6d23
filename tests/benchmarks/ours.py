"""Our side: each workload as a user of funcnn would write it, with the training step spelled out.

The steps donate their parameters and the optimizer's state, as a training loop that owns them does; those of the side
``pure`` do not. To predict, batch norm is folded into the convolutions once, before the timing, with
``fn.fold_batch_norm``, as a user does for deployment; the peers fold too.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import funcnn as fn
from funcnn.aliases import Array, Params, Rng, Tree
from tests.benchmarks.accuracy import Examples, learned, scaled
from tests.benchmarks.products import bare_products
from tests.benchmarks.worker import Commands, Step, peak_memory, timed
from tests.benchmarks.workloads import (
    Block,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    GroupNorm,
    LayerNorm,
    MaxPool,
    Network,
    Part,
    Recurrent,
    Skip,
    TransformerBlock,
    Workload,
    batch_of,
    inputs,
)

LOSSES = {"softmax_cross_entropy": fn.softmax_cross_entropy, "mean_squared_error": fn.mean_squared_error}
OPTIMIZERS = {"sgd": fn.sgd(0.01), "momentum": fn.sgd(0.01, momentum=0.9), "adam": fn.adam(1e-3)}
ACTIVATIONS = {None: None, "relu": fn.relu, "leaky_relu": fn.leaky_relu(), "sigmoid": fn.sigmoid}

MATMUL_SIZE = 1536


def model_of(network: Network) -> fn.Layer:
    """The network as a funcnn model."""
    return serial_of(network.parts)


def serial_of(parts: tuple[Part, ...]) -> fn.Layer:
    """Some parts of a network, one after the other."""
    return fn.serial(*(layer for part in parts for layer in layers_of(part)))


def layers_of(part: Part) -> Iterator[fn.Layer]:
    """One part of a network in funcnn's layers."""
    match part:
        case Conv():
            activation = ACTIVATIONS[part.activation]
            conv = {1: fn.conv1d, 2: fn.conv2d}[part.rank]
            yield conv(
                part.filters, part.kernel, part.stride, ((part.padding,) * 2,) * part.rank, part.dilation, part.groups,
                bias=not part.norm, activation=None if part.norm else activation,
            )  # fmt: skip
            if part.norm:
                yield fn.batch_norm(activation=activation)
        case ConvTranspose():
            yield fn.conv_transpose2d(part.filters, part.size, part.size)
        case GroupNorm():
            yield fn.group_norm(part.groups, activation=ACTIVATIONS[part.activation])
        case Skip():
            yield fn.concat(fn.identity, fn.named("body", serial_of(part.body)))
        case Block():
            shortcut = serial_of(part.shortcut) if part.shortcut else fn.identity
            yield fn.add(fn.named("body", serial_of(part.body)), fn.named("shortcut", shortcut))
            yield fn.relu
        case MaxPool():
            yield fn.max_pool2d(part.size)
        case GlobalAveragePool():
            yield {1: fn.global_avg_pool1d, 2: fn.global_avg_pool2d}[part.rank]
        case Flatten():
            yield fn.flatten
        case Dropout():
            yield fn.dropout(part.rate)
        case Dense():
            activation = ACTIVATIONS[part.activation]
            yield fn.dense(part.units, activation=None if part.norm else activation)
            if part.norm:
                yield fn.batch_norm(activation=activation)
        case Embedding():
            yield fn.embedding(part.count, part.units)
            if part.length is not None:
                yield fn.positions(length=part.length)
        case Recurrent():
            yield {"lstm": fn.lstm, "gru": fn.gru}[part.kind](part.units)
        case TransformerBlock():
            yield fn.transformer_encoder_layer(
                part.units, part.heads, part.hidden, activation=part.activation, causal=True
            )
        case LayerNorm():
            yield fn.layer_norm()


def weights_of(workload: Workload) -> Any:
    """The parameters that every side starts from; batch norm is calibrated where it predicts."""
    if workload.network is None:
        return None
    model = model_of(workload.network)
    params = model.init(spec_of(workload.network), 0)
    return fn.calibrate(model, params, inputs(workload)[0]) if workload.task == "predict" else params


def multiply_adds_of(workload: Workload, weights: Any) -> int:
    """The multiply-adds of the prediction of one example."""
    assert workload.network is not None
    return fn.summary(model_of(workload.network), weights, spec_of(workload.network)).multiply_adds


def spec_of(network: Network) -> Any:
    """The shape of an example, with its dtype."""
    return fn.spec(network.shape, np.float32 if network.tokens is None else np.int64)


def stepping(donate: bool, workload: Workload, weights: Any) -> Commands:
    """The commands of a worker that times a workload, its bare ``products``, and ``matmul``, the control."""
    arrays = inputs(workload)
    before = peak_memory(restart=True)
    step = step_of(workload, weights, *arrays, donate)
    return timed([step], before, fn.num_threads()) | {"products": bare_products(step), "matmul": matmul}


def step_of(workload: Workload, weights: Any, x: Any, target: Any, donate: bool = True) -> Step:
    """The step of a workload."""
    if workload.network is None:
        return updating(x, target, donate)
    if workload.task == "predict":
        predict = predictor(workload.network, weights)

        def step(i: int) -> None:
            predict(x[batch_of(workload, i)])

        return step
    train, _ = trainer(workload.network, weights, donate)
    return lambda i: train(x[batch_of(workload, i)], target[batch_of(workload, i)], i)


def predictor(network: Network, params: Params) -> Callable[[Array], Array]:
    """The prediction of a batch, by a model whose batch norm is folded once, here."""
    model, folded = fn.fold_batch_norm(model_of(network), params)
    return lambda x: fn.predict(model, folded, x)


def trainer(
    network: Network, params: Params, donate: bool = True
) -> tuple[Callable[[Array, Array, int], None], Callable[[Array], Array]]:
    """A training step of a batch, with gradient and update, and the prediction of what was learned so far."""
    model, loss_of, optimizer = model_of(network), LOSSES[network.loss], OPTIMIZERS[network.optimizer]
    opt_state = optimizer.init(params)

    def train_step(params: Params, opt_state: Tree, x: Array, target: Array, rng: Rng) -> tuple[Params, Tree, float]:
        y, vjp = model.apply(params, x, rng)
        loss, dy = loss_of(y, target)
        grads, _ = vjp(dy, input_grad=False)
        params, opt_state = optimizer.step(grads, opt_state, params, donate=donate)
        return params, opt_state, loss

    def train(x: Array, target: Array, i: int) -> None:
        nonlocal params, opt_state
        params, opt_state, _ = train_step(params, opt_state, x, target, rng=(0, i))

    return train, lambda x: fn.predict(model, params, x)


def updating(params: Any, grads: Any, donate: bool) -> Step:
    """The optimizer's step alone; in place like PyTorch's if it donates."""
    optimizer = OPTIMIZERS["adam"]
    opt_state = optimizer.init(params)

    def step(i: int) -> None:
        nonlocal params, opt_state
        params, opt_state = optimizer.step(grads, opt_state, params, donate=donate)

    return step


def learning(donate: bool, network: Network, weights: Any, training: Examples, test: Examples) -> Commands:
    """The commands of a worker that learns a data set."""
    return learned(*trainer(network, weights, donate), scaled(training), scaled(test))


def matmul(repeats: int = 4) -> float:
    """The seconds of a large product of square matrices, the control: what the machine gives at this moment."""
    a = np.random.default_rng(0).standard_normal((MATMUL_SIZE, MATMUL_SIZE), np.float32)
    product = a @ a
    started = time.perf_counter()
    for _ in range(repeats):
        np.matmul(a, a, out=product)
    return (time.perf_counter() - started) / repeats
