"""How long it takes to learn MNIST to 98 % and 99 %: the same network, weights, batches and optimizer on every side.

Only the masks of dropout differ. The sides take turns, a quarter of an epoch each; the clock stops while they are
tested.
"""

import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tests.benchmarks.sides import workers
from tests.benchmarks.worker import Commands
from tests.benchmarks.workloads import NETWORKS, TRAINING_BATCHES, Workload

Examples: TypeAlias = tuple[Any, Any]
"""Images and labels."""

NETWORK = "keras_mnist"
BATCH = TRAINING_BATCHES[NETWORK]
GOALS = (0.98, 0.99)


def time_to_accuracy(sides: list[str], folder: str, epochs: int) -> dict[str, dict[str, float | None]]:
    """Train each side until it has reached the last goal, and print the progress.

    Args:
        sides: the names of the sides.
        folder: holds MNIST's four files.
        epochs: the most passes over the training images.

    Returns:
        For each side, the seconds of training until each goal was reached; None if it was not.
    """
    # PyTorch's workers import this file too, and must not import funcnn.
    from funcnn import datasets
    from tests.benchmarks.ours import weights_of

    weights = weights_of(Workload(NETWORK, "train", NETWORKS[NETWORK], BATCH))
    training, test = datasets.mnist(folder)
    quarter = len(training[0]) // BATCH // 4
    reached: dict[str, dict[str, float | None]] = {side: dict.fromkeys(map(_percent, GOALS)) for side in sides}
    seconds = dict.fromkeys(sides, 0.0)
    with workers("learning", sides, NETWORKS[NETWORK], weights, training, test) as alive:
        for turn in range(4 * epochs):
            for side in sides:
                if reached[side][_percent(GOALS[-1])] is not None:
                    continue
                seconds[side] += alive[side].call("learn", turn * quarter, quarter)
                accuracy = alive[side].call("accuracy")
                print(f"{(turn + 1) / 4:5.2f} epochs  {side:<14} {seconds[side]:7.1f} s  {accuracy:.2%}", flush=True)
                for goal in map(_percent, (goal for goal in GOALS if accuracy >= goal)):
                    reached[side][goal] = reached[side][goal] or seconds[side]
    return reached


def learned(
    train: Callable[[Any, Any, int], None], predict: Callable[[Any], Any], training: Examples, test: Examples
) -> Commands:
    """The commands of a worker that learns: ``learn`` trains for some steps, ``accuracy`` is that on the test images.

    Args:
        train: a step, called with a batch's examples and labels, and its number.
        predict: the scores of examples.
        training: the examples that batches are drawn from.
        test: the examples that accuracy is measured on.
    """
    x, labels = training
    per_epoch = len(x) // BATCH

    def learn(first: int, count: int) -> float:
        """The seconds that these steps take, shuffling included."""
        started, order = time.perf_counter(), np.empty(0, int)
        for i in range(first, first + count):
            epoch, batch = divmod(i, per_epoch)
            if i == first or batch == 0:
                order = np.random.default_rng(epoch).permutation(len(x))
            chosen = order[batch * BATCH : (batch + 1) * BATCH]
            train(x[chosen], labels[chosen], i)
        return time.perf_counter() - started

    def accuracy() -> float:
        return float(np.mean(np.argmax(predict(test[0]), 1) == np.asarray(test[1])))

    return {"learn": learn, "accuracy": accuracy}


def scaled(examples: Examples) -> Examples:
    """Images of bytes as floats from 0 to 1."""
    return examples[0].astype(np.float32) / 255, examples[1]


def _percent(fraction: float) -> str:
    return f"{fraction:.0%}"
