"""A sweep: many small networks with other hyper-parameters, one after the other or at the same time.

    python examples/sweep.py                    60 networks in one process, in half a minute, and a picture
    python examples/sweep.py --with joblib      the same on all cores, with the same bits
    python examples/sweep.py --with dask        the same with Dask, here on a cluster that is this machine

The function that trains one network is the same for all three, and its result depends on its arguments alone. Each
network has one thread, since the other cores have networks of their own. joblib and Dask come with
``pip install "funcnn[sweep]"``; a cluster of many machines is ``Client(address)`` in place of ``LocalCluster``.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

import funcnn as fn

DECAYS, WIDTHS, SEEDS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0), (4, 16, 64), range(4)


def train(decay, width, seed, epochs):
    """Train one network on 100 points of two moons that overlap, and return its losses."""
    learned, others = (fn.datasets.moons(n, noise=0.3, rng=(seed, n)) for n in (100, 1000))
    model = fn.serial(fn.dense(width, activation="tanh"), fn.dense(width, activation="tanh"), fn.dense(2))
    with fn.use_threads(1):
        result = fn.fit(
            model, model.init((2,), rng=(seed, 0)), fn.adamw(0.01, weight_decay=decay), learned,
            fn.softmax_cross_entropy, epochs, batch_size=20, rng=(seed, 1), validation=others, evaluate_every=epochs,
            verbose=False,
        )  # fmt: skip
    last = result.history[-1]
    return last["train_loss"], last["validation_loss"]


def one_by_one(settings, workers):
    return [train(*setting) for setting in settings]


def with_joblib(settings, workers):
    from joblib import Parallel, delayed

    return Parallel(n_jobs=workers)(delayed(train)(*setting) for setting in settings)


def with_dask(settings, workers):
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        return client.gather(client.map(train, *zip(*settings, strict=True)))


def main(options):
    settings = [(*setting, options.epochs) for setting in itertools.product(DECAYS, WIDTHS, SEEDS)]
    started = time.perf_counter()
    found = {"loop": one_by_one, "joblib": with_joblib, "dask": with_dask}[options.by](settings, options.workers)
    print(f"trained {len(settings)} networks in {time.perf_counter() - started:.1f} s")

    losses = np.reshape(found, (len(DECAYS), len(WIDTHS), len(SEEDS), 2))
    means = losses[..., 1].mean(axis=2)
    print("validation loss   " + "".join(f"{width:>4} units" for width in WIDTHS))
    for decay, row in zip(DECAYS, means, strict=True):
        print(f"weight decay {decay:<7g}" + "".join(f"{loss:10.4f}" for loss in row))
    i, j = np.unravel_index(means.argmin(), means.shape)
    print(f"best: weight decay {DECAYS[i]:g} with {WIDTHS[j]} units, validation loss {means[i, j]:.4f}")

    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    ax = fn.plot.validation_curve(DECAYS, losses[:, j, :, 0], losses[:, j, :, 1], "weight decay")
    ax.set_title(f"{WIDTHS[j]} units, {len(SEEDS)} runs each", loc="left")
    ax.figure.savefig(out / "sweep.png")
    print(f"wrote {out / 'sweep.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train small networks with many hyper-parameters.")
    parser.add_argument("--with", dest="by", choices=("loop", "joblib", "dask"), default="loop", help="(%(default)s)")
    parser.add_argument("--workers", type=int, default=fn.num_threads(), help="number of processes (%(default)s)")
    parser.add_argument("--epochs", type=int, default=200, help="number of passes over the points (%(default)s)")
    parser.add_argument("--out", metavar="DIR", default="runs/sweep", help="folder of the picture (%(default)s)")
    main(parser.parse_args())
