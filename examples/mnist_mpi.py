"""Train a small convolutional network on handwritten digits on several processes or machines, with MPI.

    pip install "funcnn[mpi]" mpich                     an MPI library of the cluster does as well
    mpiexec -n 2 python examples/mnist_mpi.py           the 10,000 digits that come with funcnn

All ranks run this program. Compared with the loop for one process, three lines are new: the gradients are those of
``distributed.value_and_grad``, each rank computes its ``shard`` of the batch, and rank 0 alone writes files. Any number
of ranks gives the same network, to rounding. If a rank is killed, the job ends; ``--resume`` goes on after the last
epoch that was saved.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

import funcnn as fn

model = fn.serial(
    fn.conv2d(12, 5, activation=fn.relu), fn.max_pool2d(2),
    fn.conv2d(32, 5, activation=fn.relu), fn.max_pool2d(2),
    fn.flatten, fn.dropout(0.2), fn.dense(128, activation=fn.relu), fn.dropout(0.2), fn.dense(10),
)  # fmt: skip
comm = MPI.COMM_WORLD


def main(options):
    """Train, and on rank 0 test and save."""
    train, test = fn.datasets.mnist(options.data) if options.data else fn.datasets.digits()
    (x, labels), test = ((images.astype(np.float32) / 255, labels) for images, labels in (train, test))
    steps = len(x) // options.batch
    train = x[: steps * options.batch], labels[: steps * options.batch]  # so that all batches are full
    optimizer = fn.adam(fn.cosine_decay(options.rate, steps=steps * options.epochs))
    loss_and_grads = fn.distributed.value_and_grad(model, fn.softmax_cross_entropy, comm)

    file = Path(options.out) / "training.npz"
    saved = comm.bcast(fn.load(file) if options.resume and comm.rank == 0 else None)
    params = saved["params"] if saved else model.init((28, 28, 1), rng=options.seed)
    opt_state = saved["opt_state"] if saved else optimizer.init(params)
    start, started = int(fn.current_step(opt_state)), time.perf_counter()

    stream = fn.batches(train, options.batch, options.epochs, rng=(options.seed, 1), start=start)
    for step, batch in enumerate(stream, start):
        x, labels = fn.distributed.shard(batch, comm)
        loss, grads = loss_and_grads(params, x, labels, rng=(options.seed, 2, step))
        params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        if comm.rank == 0 and (step + 1) % steps == 0:
            seconds = time.perf_counter() - started
            print(f"epoch {(step + 1) // steps}/{options.epochs}: loss {loss:.4f}, {seconds:.1f} s", flush=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            fn.save(file, {"params": params, "opt_state": opt_state})
    if comm.rank == 0:
        accuracy = fn.metrics.accuracy(fn.predict(model, params, test[0]), test[1])
        print(f"test accuracy {accuracy:.2%} on {len(test[0]):,} images, trained by {comm.size} ranks")
        fn.save_model(file.with_name("digits.npz"), model, params)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a convolutional network on handwritten digits with MPI.")
    parser.add_argument("--epochs", type=int, default=5, help="number of passes over the training images (%(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="number of images in a step, on all ranks (%(default)s)")
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate at the start (%(default)s)")
    parser.add_argument("--data", metavar="DIR", help="a folder with MNIST's four .gz files")
    parser.add_argument("--out", metavar="DIR", default="runs/mnist_mpi", help="folder of the files (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder --out")
    main(parser.parse_args())
