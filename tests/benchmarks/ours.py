"""Our side: each workload as a user of funcnn would write it, with the training step spelled out."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import funcnn as fn
from funcnn.aliases import Array, Params, Rng, Tree
from tests.benchmarks.accuracy import Examples, learned, scaled
from tests.benchmarks.worker import Orders, Step, peak_memory, timed
from tests.benchmarks.workloads import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    Network,
    Part,
    Workload,
    batch_of,
    inputs,
)

LOSSES = {"softmax_cross_entropy": fn.softmax_cross_entropy, "mean_squared_error": fn.mean_squared_error}
OPTIMIZERS = {"sgd": fn.sgd(0.01), "momentum": fn.sgd(0.01, momentum=0.9), "adam": fn.adam(1e-3)}

MATMUL_SIZE = 1536


def model_of(network: Network) -> fn.Layer:
    """The network as a funcnn model."""
    return fn.serial(*(layer for part in network.parts for layer in layers_of(part)))


def layers_of(part: Part) -> Iterator[fn.Layer]:
    """One part of a network in funcnn's layers."""
    match part:
        case Conv():
            yield fn.conv2d(
                part.filters, part.kernel, part.stride, ((part.padding,) * 2,) * 2, part.dilation, part.groups,
                bias=not part.norm, activation=None if part.norm else part.activation,
            )  # fmt: skip
            if part.norm:
                yield fn.batch_norm(activation=fn.relu)
        case MaxPool():
            yield fn.max_pool2d(part.size)
        case GlobalAveragePool():
            yield fn.global_avg_pool2d
        case Flatten():
            yield fn.flatten
        case Dropout():
            yield fn.dropout(part.rate)
        case Dense():
            yield fn.dense(part.units, activation=part.activation)


def weights_of(workload: Workload) -> Any:
    """The parameters that every side starts from; batch norm has measured what it predicts with."""
    if workload.network is None:
        return None
    model = model_of(workload.network)
    params = model.init(workload.network.shape, 0)
    return fn.calibrate(model, params, inputs(workload)[0]) if workload.task == "predict" else params


def multiply_adds_of(workload: Workload, weights: Any) -> list[int]:
    """The multiply-adds of each layer that has weights, for one example, first layer first."""
    if workload.network is None:
        return []
    rows = fn.summary(model_of(workload.network), weights, workload.network.shape).rows
    return [row.multiply_adds for row in rows if row.multiply_adds]


def stepping(workload: Workload, weights: Any) -> Orders:
    """The orders of a worker that times a workload, and ``matmul``, the control."""
    given = inputs(workload)
    before = peak_memory(restart=True)
    return timed([step_of(workload, weights, *given)], before) | {"matmul": matmul}


def step_of(workload: Workload, weights: Any, x: Any, target: Any) -> Step:
    """The step of a workload."""
    if workload.network is None:
        return updating(x, target)
    if workload.task == "predict":
        model = model_of(workload.network)

        def predict(i: int) -> None:
            fn.predict(model, weights, x[batch_of(workload, i)])

        return predict
    train, _ = trainer(workload.network, weights)
    return lambda i: train(x[batch_of(workload, i)], target[batch_of(workload, i)], i)


def trainer(network: Network, params: Params) -> tuple[Callable[[Array, Array, int], None], Callable[[Array], Array]]:
    """A training step of a batch, with gradient and update, and the prediction of what was learned so far."""
    model, loss_of, optimizer = model_of(network), LOSSES[network.loss], OPTIMIZERS[network.optimizer]
    opt_state = optimizer.init(params)

    def train_step(params: Params, opt_state: Tree, x: Array, target: Array, rng: Rng) -> tuple[Params, Tree, float]:
        y, vjp = model.apply(params, x, rng)
        loss, dy = loss_of(y, target)
        grads, _ = vjp(dy, input_grad=False)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return fn.apply_updates(params, updates), opt_state, loss

    def train(x: Array, target: Array, i: int) -> None:
        nonlocal params, opt_state
        params, opt_state, _ = train_step(params, opt_state, x, target, rng=(0, i))

    return train, lambda x: fn.predict(model, params, x)


def updating(params: Any, grads: Any) -> Step:
    """The optimizer's update alone: new parameters and a new state out of the old ones."""
    optimizer = OPTIMIZERS["adam"]
    opt_state = optimizer.init(params)

    def step(i: int) -> None:
        nonlocal params, opt_state
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = fn.apply_updates(params, updates)

    return step


def learning(network: Network, weights: Any, training: Examples, test: Examples) -> Orders:
    """The orders of a worker that learns a data set."""
    return learned(*trainer(network, weights), scaled(training), scaled(test))


def matmul(repeats: int = 4) -> float:
    """The rate of a large product of squares, in GFLOP/s: what this machine gives just now."""
    a = np.random.default_rng(0).standard_normal((MATMUL_SIZE, MATMUL_SIZE), np.float32)
    product = a @ a
    begun = time.perf_counter()
    for _ in range(repeats):
        np.matmul(a, a, out=product)
    return 2e-9 * repeats * MATMUL_SIZE**3 / (time.perf_counter() - begun)
