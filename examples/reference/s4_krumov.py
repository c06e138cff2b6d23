"""The experiments of Krumov, "Neural Networks: For Beginners, By Beginners", with funcnn.

    python examples/reference/s4_krumov.py            all of them, on the embedded digits
    python examples/reference/s4_krumov.py --quick    a few seconds

Kept: networks, the mean squared error, epochs, rates, and gradient descent after every single example. Corrected: the
labels are one-hot rows; there they were raw digits, broadcast against ten outputs, which explains both of the
constant errors in the article (20.303 and 27.2336). Pixels are scaled to [0, 1], and weights to their fan (fault 4.11).
"""

from functools import partial

import numpy as np
from common import TEST_ACCURACY, Experiment, Measure, Result, digits, learn, main, parser

import funcnn as fn

TRAIN_ERROR = Measure("mean squared error, training", True, ".4g")


def dense_layers():
    return (
        fn.flatten,
        fn.dense(100, activation="tanh"),
        fn.dense(50, activation="tanh"),
        fn.dense(10, activation="tanh"),
    )


def broadcasting_error(model, train):
    """The error for the mistake of the article: labels of shape (n,) for outputs of shape (n, 10)."""
    images, labels = train[0][:5], train[1][:5]
    y = fn.predict(model, model.init((28, 28, 1), 0), images)
    try:
        fn.mean_squared_error(y, labels)
    except ValueError as error:
        return f"  with the labels of the article, funcnn raises: {error}"
    raise AssertionError("labels were broadcast")


def run(model, n_train, epochs, rate, measure, options, reported):
    """One network, trained with batches of one example."""
    n_train, epochs = (200, 2) if options.quick else (n_train, epochs)
    train, test = digits(options, n_train, 2_000)
    print(broadcasting_error(model, train))
    train, test = ((images, fn.datasets.one_hot(labels, 10)) for images, labels in (train, test))
    by_loss = measure is TRAIN_ERROR
    result, fit = learn(
        model, fn.sgd(rate), train, test, fn.mean_squared_error, epochs=epochs, batch_size=1, measure=measure,
        reported=reported, metric=squared_error if by_loss else fn.metrics.accuracy, rng=options.seed,
        on="train" if by_loss else "validation",
    )  # fmt: skip
    accuracy = fn.metrics.accuracy(fn.predict(model, fit.params, test[0]), test[1])
    print(f"  training error {fit.history[-1]['train_loss']:.4f}, accuracy {accuracy:.2%} on {len(test[0]):,} others")
    return result


def squared_error(y, target):
    return fn.mean_squared_error(y, target)[0]


plain = fn.serial(*dense_layers())
with_softmax = fn.serial(*dense_layers(), fn.softmax)
convolutional = fn.serial(
    fn.conv2d(5, 3, stride=2, padding=((1, 1), (1, 1)), activation="tanh"),
    fn.max_pool2d(2),
    *dense_layers(),
    fn.softmax,
)

EXPERIMENTS = [
    Experiment(
        "100-50-10 tanh", TRAIN_ERROR, Result(20.303, None, 30), partial(run, plain, 4_000, 30, 0.1, TRAIN_ERROR),
        "there the error stays at 20.303: mean((label - 1)^2), all outputs saturated",
    ),
    Experiment(
        "100-50-10 tanh, softmax", TEST_ACCURACY, Result(0.05, None, 50),
        partial(run, with_softmax, 1_000, 50, 0.01, TEST_ACCURACY),
        "there the error stays at 27.2336: mean((label - 0.1)^2), a uniform softmax; 5 of 100 test images right",
    ),
    Experiment(
        "CNN, softmax", TEST_ACCURACY, Result(None, None, 30),
        partial(run, convolutional, 4_000, 30, 0.1, TEST_ACCURACY),
        "there it never ran: the cell that defines its layer has a syntax error",
    ),
]  # fmt: skip

if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main("s4 Krumov", EXPERIMENTS, parser(__doc__).parse_args())
