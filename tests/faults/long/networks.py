"""Small networks that together run all of the engine: plain rows, microbatches, batch norm, dropout and Adam.

A network is trained for a few steps and then predicts; the digest of every bit of it identifies the computation.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import funcnn as fn


def mlp() -> Any:
    """Plain rows, whose products BLAS computes."""
    return fn.serial(fn.dense(300, activation="relu"), fn.dropout(0.2), fn.dense(10)), (400,), 256


def convolutional() -> Any:
    """Images that are cut into microbatches, with batch norm, which looks at all of them."""
    model = fn.serial(
        fn.conv2d(16, 3, padding="same"), fn.batch_norm(), fn.relu, fn.max_pool2d(2), fn.dropout(0.2),
        fn.conv2d(16, 3), fn.relu, fn.global_avg_pool2d, fn.dense(10),
    )  # fmt: skip
    return model, (20, 20, 3), 64


def tiny() -> Any:
    """Arrays that are too small for anything but NumPy itself."""
    return fn.serial(fn.dense(8, activation="tanh"), fn.dense(10)), (4,), 20


def digest_of(network: Callable[[], Any], steps: int, seed: int = 0) -> str:
    """Train a network, let it predict, and return the SHA-256 of its parameters, state, losses and predictions."""
    model, shape, batch = network()
    x = np.random.default_rng(seed).standard_normal((batch, *shape)).astype(np.float32)
    labels = np.arange(batch) % 10
    params = model.init(shape, rng=seed)
    optimizer = fn.adam(1e-3)
    opt_state = optimizer.init(params)
    step, losses = fn.value_and_grad(model, fn.softmax_cross_entropy), []
    for number in range(steps):
        loss, grads = step(params, x, labels, rng=(seed, number))
        params, opt_state = optimizer.step(grads, opt_state, params, donate=number > 0)
        losses.append(loss)
    params = fn.calibrate(model, params, x)
    return digest({"params": params, "state": opt_state, "loss": np.array(losses), "y": fn.predict(model, params, x)})


def digest(tree: Any) -> str:
    """The SHA-256 of every path, dtype, shape and bit of a tree."""
    found = hashlib.sha256()
    for path, leaf in sorted(fn.tree.flatten(tree).items()):
        leaf = np.asarray(leaf)
        found.update(f"{path} {leaf.dtype} {leaf.shape}".encode() + leaf.tobytes())
    return found.hexdigest()


NETWORKS = {"mlp": mlp, "convolutional": convolutional, "tiny": tiny}
TASKS = {name: partial(digest_of, network, 3) for name, network in NETWORKS.items()}
"""Three steps and a prediction of each network."""
