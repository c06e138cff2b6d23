"""What goes wrong on one rank of two, and what each rank says; all of it in one job, which can go on after errors.

mpiexec -n 2 python tests/with_mpi/faults.py FOLDER
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import funcnn as fn

COMM, FOLDER = MPI.COMM_WORLD, Path(*sys.argv[1:2])
RANK = COMM.rank
X, TARGET = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), np.arange(8) % 3


def network(units: int = 5, activation: str = "relu", layer: Any = fn.identity) -> fn.Layer:
    """A small network, with batch norm in front of a layer that may fail."""
    return fn.serial(fn.dense(units, activation=activation), fn.batch_norm(), layer, fn.dense(3))


@fn.layer(per_example=True)
def failing(where: str, rank: int) -> Any:
    """The identity, which raises on one rank, forward or backward; not in ``init``, which passes one example."""

    def fail(here: str, x: Any) -> None:
        if here == where and rank == RANK and len(x) > 1:
            raise OverflowError(f"no luck {here}")

    def apply(params: Any, x: Any) -> Any:
        fail("forward", x)

        def vjp_fn(dy: Any) -> Any:
            fail("backward", dy)
            return {}, dy

        return x, vjp_fn

    return (lambda shape, rng: {}), apply


def step(
    model: fn.Layer | None = None, key: int = 0, examples: int = 4, rng: Any = 7, change: Any = None, **keyword: Any
) -> None:
    """A step with arguments that may depend on the rank."""
    model = model or network()
    params = model.init((4,), key)
    params = change(params) if change and RANK else params
    compute = fn.distributed.value_and_grad(model, fn.softmax_cross_entropy, COMM)
    compute(params, X[:examples], TARGET[:examples], rng, **keyword)


def fit(model: fn.Layer | None = None, train: Any = (X, TARGET), epochs: int = 2, **keyword: Any) -> fn.Fit:
    """A run with arguments that may depend on the rank."""
    model = model or network()
    params, loss = network().init((4,), 0), fn.softmax_cross_entropy
    return fn.fit(model, params, fn.sgd(0.1), train, loss, epochs, batch_size=4, verbose=False, comm=COMM, **keyword)


def raises(record: Any, result: Any) -> None:
    """A callback that fails in the second epoch."""
    if record["epoch"] == 2:
        raise OverflowError("no luck in a callback")


def without(path: str, params: Any) -> Any:
    """The parameters without one."""
    return fn.tree.unflatten({name: leaf for name, leaf in fn.tree.flatten(params).items() if name != path})


FAULTS: dict[str, Callable[[], Any]] = {
    "units": lambda: step(network(5 + RANK)),
    "activation": lambda: step(network(activation=["relu", "tanh"][RANK])),
    "key": lambda: step(key=RANK),
    "missing": lambda: step(change=partial(without, "dense_1/b")),
    "dtype": lambda: step(change=lambda params: fn.tree.cast(params, np.float64)),
    "shards": lambda: step(examples=4 - RANK),
    "rng": lambda: step(rng=(7, RANK)),
    "weights": lambda: step(weights=[None, np.ones(4)][RANK]),
    "communicator": lambda: fn.distributed.value_and_grad(network(), fn.mean_squared_error, np.ones(2)),  # type: ignore[arg-type]
    "no communicator": lambda: fn.distributed.shard((X, TARGET), COMM.Split(MPI.UNDEFINED)),
    "forward": lambda: step(network(layer=failing("forward", 1))),
    "backward": lambda: step(network(layer=failing("backward", 1))),
    "backward on rank 0": lambda: step(network(layer=failing("backward", 0))),
    "shard": lambda: fn.distributed.shard((X[:7], TARGET[:7]), COMM),
    "order": lambda: step() if RANK else fit(),
    "fit, data": lambda: fit(train=(X + RANK, TARGET)),
    "fit, batch norm": lambda: fit(network(layer=failing("forward", 1))),
    "fit, epochs": lambda: fit(epochs=2 + RANK),
    "fit, validation": lambda: fit(validation=[None, (X[:, :2], TARGET)][RANK]),
    "fit, callback": lambda: fit(callbacks=[raises], checkpoint=FOLDER / f"run{RANK}.npz"),
    "fit, loss": lambda: fit(train=(X * np.float32(1e30), TARGET)),
}

if __name__ == "__main__":
    said = {}
    for name, fault in FAULTS.items():
        try:
            fault()
            said[name] = "nothing"
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
    straight = fit()  # the ranks are still in step
    resumed = fit(resume=FOLDER / "run0.npz", callbacks=[lambda record, result: False])
    same = fn.tree.map(np.array_equal, straight.params, resumed.params)
    said["resumed"] = str(all(fn.tree.leaves(same)))
    (FOLDER / f"said{RANK}.json").write_text(json.dumps(said), encoding="utf-8")
