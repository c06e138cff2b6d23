"""Steps written out by hand in NumPy for one network each: what the arithmetic costs without a library.

They are written for speed: no checks, no names, fused where NumPy can fuse, in place where an array is their own.
Parameters are a list of arrays, which an update overwrites.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from threadpoolctl import ThreadpoolController

from tests.benchmarks.worker import Commands, Step, peak_memory, timed
from tests.benchmarks.workloads import Workload, batch_of, inputs

Arrays: TypeAlias = list[Any]
Update: TypeAlias = Callable[[Arrays], None]

RATE, EPS, SLOPE = np.float32(0.01), np.float32(1e-5), np.float32(0.01)

BLOCK = 32 * 1024
"""Elements that an update of Adam works on at a time, so that its six passes over them stay in the cache."""


def tiny(params: Arrays, x: Any, labels: Any) -> tuple[Any, Arrays]:
    """The loss and its gradients: dense, batch norm and leaky relu, twice, then dense and softmax cross-entropy."""
    w1, b1, scale1, shift1, w2, b2, scale2, shift2, w3, b3 = params
    n, rows = np.float32(len(x)), np.arange(len(x))

    # Forward. u is the normalized input of a batch norm, r the inverse standard deviation, h an activation.
    u1 = x @ w1
    u1 += b1
    u1 -= u1.sum(0) / n
    r1 = 1 / np.sqrt(np.einsum("ij,ij->j", u1, u1) / n + EPS)
    u1 *= r1
    z1 = u1 * scale1
    z1 += shift1
    h1 = np.maximum(z1, SLOPE * z1)

    u2 = h1 @ w2
    u2 += b2
    u2 -= u2.sum(0) / n
    r2 = 1 / np.sqrt(np.einsum("ij,ij->j", u2, u2) / n + EPS)
    u2 *= r2
    z2 = u2 * scale2
    z2 += shift2
    h2 = np.maximum(z2, SLOPE * z2)

    y = h2 @ w3
    y += b3
    y -= y.max(1, keepdims=True)
    exp = np.exp(y)
    total = exp.sum(1)
    loss = (np.log(total) - y[rows, labels]).sum() / n

    # Backward. d is the gradient of what the line before names.
    d = exp / total[:, None]
    d[rows, labels] -= 1
    d /= n
    dw3, db3 = h2.T @ d, d.sum(0)

    d = d @ w3.T
    d *= np.maximum(z2 > 0, SLOPE)
    dshift2, dscale2 = d.sum(0), np.einsum("ij,ij->j", d, u2)
    d -= dshift2 / n
    d -= u2 * (dscale2 / n)
    d *= scale2 * r2
    dw2, db2 = h1.T @ d, d.sum(0)

    d = d @ w2.T
    d *= np.maximum(z1 > 0, SLOPE)
    dshift1, dscale1 = d.sum(0), np.einsum("ij,ij->j", d, u1)
    d -= dshift1 / n
    d -= u1 * (dscale1 / n)
    d *= scale1 * r1
    dw1, db1 = x.T @ d, d.sum(0)

    return loss, [dw1, db1, dscale1, dshift1, dw2, db2, dscale2, dshift2, dw3, db3]


def mlp(params: Arrays, x: Any, labels: Any) -> tuple[Any, Arrays]:
    """The loss and its gradients: three dense layers with relu between them, and softmax cross-entropy."""
    w1, b1, w2, b2, w3, b3 = params
    n, rows = np.float32(len(x)), np.arange(len(x))
    # A maximum with a row is faster than one with a number.
    zeros1, zeros2 = np.zeros_like(b1), np.zeros_like(b2)

    h1 = x @ w1
    h1 += b1
    np.maximum(h1, zeros1, out=h1)
    h2 = h1 @ w2
    h2 += b2
    np.maximum(h2, zeros2, out=h2)
    y = h2 @ w3
    y += b3
    y -= y.max(1, keepdims=True)
    exp = np.exp(y)
    total = exp.sum(1)
    loss = (np.log(total) - y[rows, labels]).sum() / n

    d3 = exp
    d3 /= total[:, None]
    d3[rows, labels] -= 1
    d3 /= n
    d2 = d3 @ w3.T
    d2 *= h2 > 0
    d1 = d2 @ w2.T
    d1 *= h1 > 0
    return loss, [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]


def mlp_output(params: Arrays, x: Any) -> Any:
    """The logits of three dense layers with relu between them."""
    w1, b1, w2, b2, w3, b3 = params
    h = x @ w1
    h += b1
    np.maximum(h, 0, out=h)
    h = h @ w2
    h += b2
    np.maximum(h, 0, out=h)
    h = h @ w3
    h += b3
    return h


def sgd(params: Arrays) -> Update:
    """Gradient descent: a function of the gradients that overwrites the parameters."""

    def update(grads: Arrays) -> None:
        for p, g in zip(params, grads, strict=True):
            p -= RATE * g

    return update


def adam(params: Arrays) -> Update:
    """Adam: a function of the gradients that overwrites the parameters and its own state."""
    ps = [p.reshape(-1) for p in params]
    ms, vs = ([np.zeros_like(p) for p in ps] for _ in range(2))
    scratch, step = np.empty(BLOCK, np.float32), 0
    cuts = [list(pairwise([*range(0, p.size, BLOCK), p.size])) for p in ps]

    def update(grads: Arrays) -> None:
        nonlocal step
        step += 1
        # The corrections of m and v become factors of the rate and of epsilon, which saves a pass.
        of_m, of_v = 1 - 0.9**step, (1 - 0.999**step) ** 0.5
        rate, eps = np.float32(1e-3 * of_v / of_m), np.float32(1e-8 * of_v)
        for whole_p, whole_g, whole_m, whole_v, pairs in zip(ps, grads, ms, vs, cuts, strict=True):
            whole_g = whole_g.reshape(-1)
            for first, end in pairs:
                p, g, m, v = (whole[first:end] for whole in (whole_p, whole_g, whole_m, whole_v))
                s = scratch[: end - first]
                np.subtract(g, m, out=s)
                s *= np.float32(0.1)
                m += s
                np.multiply(g, g, out=s)
                s -= v
                s *= np.float32(0.001)
                v += s
                np.sqrt(v, out=s)
                s += eps
                np.divide(m, s, out=s)
                s *= rate
                p -= s

    return update


TRAINING: dict[str, tuple[Callable[[Arrays, Any, Any], tuple[Any, Arrays]], Callable[[Arrays], Update]]] = {
    "tiny": (tiny, sgd),
    "mlp": (mlp, adam),
}
"""For a training row, the function that returns the loss and its gradients, and the optimizer."""

PREDICTING: dict[str, Callable[[Arrays, Any], Any]] = {"predict_1_mlp": mlp_output, "predict_256_mlp": mlp_output}
"""For a row that predicts, the function that returns the output."""

ROWS = (*TRAINING, *PREDICTING)


def leaves_of(tree: Any) -> Arrays:
    """The learned arrays of a tree, layer by layer, in the order in which the functions above take them."""
    layers = [name for i in range(3) for name in (f"dense_{i}", f"batch_norm_{i}") if name in tree]
    return [tree[name][leaf] for name in layers for leaf in ("w", "b", "scale", "shift") if leaf in tree[name]]


def stepping(workload: Workload, weights: Any) -> Commands:
    """The commands of a worker that times a workload."""
    x, target = inputs(workload)
    before = peak_memory(restart=True)
    return timed([step_of(workload, leaves_of(weights), x, target)], before, blas_threads())


def blas_threads() -> int:
    """The number of threads of a matrix product."""
    return int(max(library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()))


def step_of(workload: Workload, params: Arrays, x: Any, target: Any) -> Step:
    """The step of a workload."""
    if workload.task == "predict":
        predict = PREDICTING[workload.name]

        def prediction_step(i: int) -> None:
            predict(params, x[batch_of(workload, i)])

        return prediction_step
    loss_and_grads, optimizer = TRAINING[workload.name]
    update = optimizer(params)

    def training_step(i: int) -> None:
        batch = batch_of(workload, i)
        _, grads = loss_and_grads(params, x[batch], target[batch])
        update(grads)

    return training_step
