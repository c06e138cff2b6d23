"""Trainings on several ranks, each a function of the communicator that returns arrays by name.

    mpiexec -n 2 python tests/with_mpi/trainings.py FOLDER

runs all of them, and each rank writes what it has into a file in the folder. With None in place of the communicator the
same is computed by one process without MPI.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import funcnn as fn


@fn.layer
def centred() -> Any:
    """A layer of one's own that looks across the batch and does not say so: it subtracts the mean of the batch."""

    def init(shape: Any, rng: Any) -> Any:
        return {"a": np.ones(shape[-1:], np.float32)}

    def apply(params: Any, x: Any) -> Any:
        u = x - x.mean(0)

        def vjp_fn(dy: Any) -> Any:
            return {"a": (dy * u).reshape(-1, x.shape[-1]).sum(0)}, params["a"] * (dy - dy.mean(0))

        return params["a"] * u, vjp_fn

    return init, apply


IMAGES = fn.serial(
    fn.named("stem", fn.frozen(fn.conv2d(3, 1))), fn.conv2d(4, 3), fn.batch_norm(activation="relu"),
    fn.spatial_dropout(0.2), centred(), fn.max_pool2d(2), fn.residual(fn.dense(4), fn.drop_path(0.3)),
    fn.flatten, fn.dropout(0.3), fn.gaussian_noise(0.1), fn.dense(3),
)  # fmt: skip
TOKENS = fn.serial(
    fn.embedding(7, 8), fn.transformer_encoder_layer(8, 2, 6, dropout=0.2), fn.batch_norm(), fn.masked_mean,
    fn.alpha_dropout(0.1), fn.gaussian_dropout(0.1), fn.dense(3),
)  # fmt: skip
TOWERS = fn.parallel(a=fn.serial(fn.dense(5), fn.batch_norm(), fn.dropout(0.2)), b=fn.dense(5))
rows = np.random.default_rng(0)
PIXELS, CLASSES = rows.normal(size=(83, 6, 7, 2)), rows.integers(0, 3, 83)
WORDS, WEIGHTS = rows.integers(0, 7, (16, 5)), rows.uniform(0.1, 2, 83)
PAIRS = {"a": rows.normal(size=(16, 4)), "b": rows.normal(size=(16, 3))}


def start(model: fn.Layer, x: Any, dtype: Any = np.float64) -> Any:
    """Parameters in float64, so that rounding cannot hide anything."""
    return fn.tree.cast(model.init(fn.specs(fn.tree.cast(x, np.float32)), rng=1), dtype)


def steps(
    comm: Any, model: fn.Layer, loss: Any, batch: Any, *, count: int = 3, dtype: Any = np.float64, **options: Any
) -> Any:
    """The parameters and the loss after a few steps on a batch."""
    x, target, *weights = batch
    params = start(model, x, dtype)
    optimizer = fn.sgd(0.1, momentum=0.9)
    state = optimizer.init(params)
    compute = fn.value_and_grad(model, loss)
    if comm is not None:
        compute = fn.distributed.value_and_grad(model, loss, comm, **options)
        x, target, *weights = fn.distributed.shard((x, target, *weights), comm)
    for step in range(3):
        keyword = {"weights": weights[0]} if weights else {}
        value, grads = compute(params, x, target, (4, step), **keyword)
        params, state = optimizer.step(grads, state, params)
    return {"params": params, "loss": np.float64(value)}


def images(comm: Any) -> Any:
    """Convolutions, batch norm, a frozen layer, a layer of one's own, and all kinds of dropout."""
    return steps(comm, IMAGES, fn.softmax_cross_entropy, (PIXELS[:16], CLASSES[:16]))


def single_precision(comm: Any) -> Any:
    """The same in float32, in which the order of sums shows in every digit."""
    return steps(
        comm, IMAGES, fn.softmax_cross_entropy, (PIXELS[:16].astype(np.float32), CLASSES[:16]), dtype=np.float32
    )


def microbatches(comm: Any) -> Any:
    """The same where each rank cuts its shard further."""
    with fn.testing.microbatches(None if comm is None else 3):
        return images(comm)


def tokens(comm: Any) -> Any:
    """Attention with dropout, on tokens."""
    return steps(comm, TOKENS, fn.softmax_cross_entropy, (WORDS, CLASSES[:16]))


def towers(comm: Any) -> Any:
    """A loss that tells each example from all others of the batch, of inputs by name, and no target."""
    return steps(comm, TOWERS, lambda y, target: fn.info_nce()(y), (PAIRS, CLASSES[:16]))


def ignored(comm: Any) -> Any:
    """A loss whose mean is over the labels that are not ignored, and weights."""
    loss = partial(fn.softmax_cross_entropy, ignore_index=2, class_weights=np.array([1.0, 3.0, 1.0]))
    return steps(comm, IMAGES, loss, (PIXELS[:16], CLASSES[:16], WEIGHTS[:16]))


def alone(comm: Any) -> Any:
    """A layer of one's own as the whole model, which sees the batch of all ranks."""
    return steps(comm, centred(), fn.mean_squared_error, (PIXELS[:16], PIXELS[16:32]))


def means(comm: Any) -> Any:
    """Without the examples of others, a model that does not look across the batch computes the same all the same."""
    model = fn.serial(fn.flatten, fn.dense(8, activation="tanh"), fn.dropout(0.2), fn.dense(3))
    options = {} if comm is None else {"whole_batch": False}
    return steps(comm, model, fn.softmax_cross_entropy, (PIXELS[:16], CLASSES[:16], WEIGHTS[:16]), **options)


def fitted(comm: Any) -> Any:
    """``fit``, whose last batch of an epoch has a single example: some ranks have none of it."""
    keyword = {} if comm is None else {"comm": comm}
    result = fn.fit(
        IMAGES, start(IMAGES, PIXELS), fn.sgd(0.05, momentum=0.5), (PIXELS[:81], CLASSES[:81], WEIGHTS[:81]),
        fn.softmax_cross_entropy, epochs=6, batch_size=20, rng=3, metrics={"accuracy": fn.metrics.accuracy},
        validation=(PIXELS[60:], CLASSES[60:], WEIGHTS[60:]), verbose=False,
        callbacks=[fn.callbacks.early_stopping("validation_loss", patience=2)], **keyword,
    )  # fmt: skip
    assert result.by == ("validation_loss", "min")
    history = {str(epoch): {**record, "seconds": 0.0} for epoch, record in enumerate(result.history)}
    return {"params": result.params, "state": result.opt_state, "history": fn.tree.map(np.float64, history)}


def augmented(comm: Any) -> Any:
    """``fit`` with augmentation, which draws for the whole batch, on threads that read ahead."""
    keyword = {} if comm is None else {"comm": comm}
    params, state, _ = fn.fit(
        IMAGES, start(IMAGES, PIXELS), fn.sgd(0.05), (PIXELS[:40], CLASSES[:40]), fn.softmax_cross_entropy, epochs=2,
        batch_size=16, rng=3, verbose=False, augment=fn.augment.noise(0.1), workers=2, **keyword,
    )  # fmt: skip
    return {"params": params, "state": state}


ALL = (images, single_precision, microbatches, tokens, towers, ignored, alone, means, fitted, augmented)

if __name__ == "__main__":
    from mpi4py import MPI

    found = {training.__name__: training(MPI.COMM_WORLD) for training in ALL}
    fn.save(Path(sys.argv[1]) / f"{MPI.COMM_WORLD.rank}.npz", found)
