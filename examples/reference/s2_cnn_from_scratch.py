"""The experiments of "Convolutional Neural Network from Scratch" (2023), with funcnn.

    python examples/reference/s2_cnn_from_scratch.py --data DIR     all of them, on MNIST's four .gz files in DIR
    python examples/reference/s2_cnn_from_scratch.py --quick        a few seconds, on the embedded digits

Kept: networks, sigmoid outputs with the mean squared error over examples and outputs, batches of 16, plain gradient
descent. On MNIST the rate of 0.1 is too slow with correct gradients as well, and is 1 here. Corrected: the gradient of
the kernel (rotated there by 180 degrees), and conv weights and all biases, which learn 16 times slower there than dense
weights (faults 2.1 and 2.2).
"""

from dataclasses import replace

import experiment_data
import numpy as np
from common import TEST_ACCURACY, Experiment, Measure, Result, digits, learn, main, parser

import funcnn as fn

PERFECT = Measure("epochs to 100 % test accuracy", True, ".0f")


def shapes(options, reported):
    """Vertical and horizontal lines, crosses and diamonds of 3x3 pixels with uniform noise; a third is held out."""
    x, labels = experiment_data.shapes(500, 0.25, options.seed)
    train, test = fn.split((x, fn.datasets.one_hot(labels, 4)), fraction=0.33, rng=(options.seed, 1))
    model = fn.serial(
        fn.conv2d(4, 2), fn.flatten, fn.dense(8, activation="relu"), fn.dense(4, activation="sigmoid")
    )  # fmt: skip
    result, fit = learn(
        model, fn.sgd(0.1), train, test, fn.mean_squared_error, epochs=50, batch_size=16,
        measure=TEST_ACCURACY, reported=Result(1.0), rng=options.seed,
    )  # fmt: skip
    perfect = [record["epoch"] for record in fit.history if record["validation_score"] == 1.0]
    print(f"  {len(train[0])} shapes to learn, {len(test[0])} held out;", end=" ")
    print(f"all of these right from epoch {perfect[0]} on" if perfect else "never all of these right")
    return replace(result, score=float(perfect[0]) if perfect else None)


def mnist(options, reported):
    """A convolution with 4 filters, then 2304-256-128-32-10."""
    n_train, n_test, epochs = (640, 200, 1) if options.quick else (60_000, 10_000, 50)
    train, test = digits(options, n_train, n_test)
    train, test = ((images, fn.datasets.one_hot(labels, 10)) for images, labels in (train, test))
    model = fn.serial(
        fn.conv2d(4, 5), fn.flatten, fn.dense(256, activation="relu"), fn.dense(128, activation="relu"),
        fn.dense(32, activation="relu"), fn.dense(10, activation="sigmoid"),
    )  # fmt: skip
    epochs = min(epochs, options.epochs)
    result, fit = learn(
        model, fn.sgd(1.0), train, test, fn.mean_squared_error, epochs=epochs, batch_size=16,
        measure=TEST_ACCURACY, reported=reported, rng=options.seed,
    )  # fmt: skip
    best = max(record["validation_score"] for record in fit.history)
    print(f"  test accuracy {result.score:.2%} after epoch {epochs}, {best:.2%} at best")
    return result


EXPERIMENTS = [
    Experiment("shapes", PERFECT, Result(46, None, 50), shapes, "there 66.06 % at epoch 23, 100 % from epoch 46 on"),
    Experiment("MNIST, conv 4 and four dense", TEST_ACCURACY, Result(0.968, None, 50), mnist),
]

if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument(
        "--epochs",
        type=int,
        default=6,
        help="MNIST: epochs, 50 in the original (%(default)s are enough to exceed its accuracy)",
    )
    np.seterr(all="raise", under="ignore")
    main("s2 from scratch", EXPERIMENTS, options.parse_args())
