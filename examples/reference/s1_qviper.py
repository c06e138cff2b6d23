"""The experiments of q-viper, "CNN from scratch", with funcnn: his Tests 1 to 4, feed-forward networks, and y = 2x.

    python examples/reference/s1_qviper.py --data DIR    all of them, on MNIST's four .gz files in DIR
    python examples/reference/s1_qviper.py               the feed-forward networks on the 10,000 embedded digits
    python examples/reference/s1_qviper.py --quick       a few seconds

Kept: layers, softmax with cross-entropy, batches of 32, images standardised one by one, optimizers, numbers of images
and of epochs. Adam's rate is 0.001 in all tests: the original ignored its argument, also the 0.01 of Test 4 (fault
1.23). The gradients are corrected: the layers before a dropout never trained there, and most batches made no step
(faults 1.1 to 1.17). Validation images are the first of the test images.
"""

from functools import partial

import experiment_data
import numpy as np
from common import TEST_LOSS, TRAIN_ACCURACY, VALIDATION_ACCURACY, Experiment, Result, digits, learn, main, parser

import funcnn as fn

TESTS = {
    1: [fn.conv2d(8, 3, activation="relu"), fn.flatten, fn.dense(10, activation="softmax")],
    2: [
        fn.conv2d(8, 3, activation="relu"), fn.conv2d(16, 3, activation="relu"),
        fn.flatten, fn.dense(10, activation="softmax"),
    ],
    3: [
        fn.conv2d(4, 3, activation="relu"), fn.max_pool2d(2), fn.conv2d(8, 3, activation="relu"), fn.dropout(0.2),
        fn.flatten, fn.dense(10, activation="softmax"),
    ],
    4: [
        fn.conv2d(4, 3, activation="relu"), fn.conv2d(8, 3, activation="relu"), fn.max_pool2d(2),
        fn.flatten, fn.dense(64, activation="relu"), fn.dropout(0.1), fn.dense(10, activation="softmax"),
    ],
}  # fmt: skip
ONE_LAYER = [fn.flatten, fn.dense(10, activation="softmax")]
TWO_LAYERS = [fn.flatten, fn.dense(100, activation="sigmoid"), fn.dense(10, activation="softmax")]


def layer_table(model, shape):
    """The model as the original ``summary`` prints it; the numbers are those of ``fn.summary``."""
    params = model.init(shape, 0)
    summary = fn.summary(model, params, shape)
    visits = [v for v in fn.trace(model, params, np.zeros((1, *shape), np.float32)) if not v.layer.children]
    lines = [("Layer Name", "Input", "Output Shape", "Activation", "Bias", "Parameters")]
    for row, visit in zip(summary.rows, visits, strict=True):
        arguments = visit.layer.arguments
        activation = arguments.get("activation") or "-"
        bias = arguments.get("bias", True) if row.parameters else "-"
        lines.append((row.path, row.input_shape, row.output_shape, activation, bias, f"{row.parameters:,}"))
    lines.append(("Total", "", "", "", "", f"{summary.parameters:,}"))
    widths = [max(len(str(line[i])) for line in lines) for i in range(6)]
    texts = ["  ".join(str(c).ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(f"  {text}" for text in texts)


def classify(layers, n_train, n_test, epochs, measure, optimizer, options, reported):
    """Train on images and print the epoch that reached 90 %: "a similar model in Keras" took five epochs."""
    if options.quick:
        n_train, n_test, epochs = 200, 100, 1
    train, test = ((experiment_data.standardize_images(x), labels) for x, labels in digits(options, n_train, n_test))
    model = fn.serial(*layers)
    print(layer_table(model, train[0].shape[1:]))
    result, fit = learn(
        model, optimizer, train, test, fn.categorical_cross_entropy, epochs=epochs, batch_size=32, measure=measure,
        reported=reported, on="train" if measure is TRAIN_ACCURACY else "validation", rng=options.seed,
    )  # fmt: skip
    last = fit.history[-1]
    print(f"  accuracy: training {last['train_score']:.2%}, held-out {last['validation_score']:.2%};", end=" ")
    good = [record for record in fit.history if record["validation_score"] >= 0.9]
    print(f"held-out 90 % after epoch {good[0]['epoch']}" if good else "held-out 90 % was not reached")
    return result


def line(options, reported):
    """One weight and one bias learn y = 2 x."""
    x = np.linspace(-1, 1, 100, dtype=np.float32)[:, None]
    result, fit = learn(
        fn.dense(1), fn.sgd(0.1), (x, 2 * x), (x / 3, 2 * x / 3), fn.mean_squared_error, epochs=50, batch_size=32,
        measure=TEST_LOSS, reported=reported, metric=lambda y, t: fn.mean_squared_error(y, t)[0], rng=options.seed,
    )  # fmt: skip
    errors = abs(fn.predict(fn.dense(1), fit.params, x) - 2 * x)
    print(f"  y = {fit.params['w'].item():.7f} x {fit.params['b'].item():+.7f};", end=" ")
    print(f"within his 1e-6: {np.mean(errors < 1e-6):.0%} of the points")
    return result


def his_test(number, n_train, n_test, epochs, reported, remark=""):
    run = partial(classify, TESTS[number], n_train, n_test, epochs, VALIDATION_ACCURACY, fn.adam(1e-3))
    return Experiment(f"Test {number}", VALIDATION_ACCURACY, reported, run, remark)


EXPERIMENTS = [
    his_test(1, 1_000, 100, 71, Result(0.630, 54_170, 71, 310)),
    his_test(2, 10_000, 500, 5, Result(0.818, None, 5, 9787), "there up to 11,990 s an epoch; the least counts"),
    his_test(3, 5_000, 500, 36, Result(0.762, 10_026, 36, 1295), "there up to 1,944 s an epoch; the least counts"),
    his_test(4, 10_000, 500, 15, Result(0.610, 74_778, 15, 5985), "there up to 40,305 s an epoch; the least counts"),
    Experiment(
        "784-10 softmax, sgd", TRAIN_ACCURACY, Result(0.8855, None, 21, 19.3),
        partial(classify, ONE_LAYER, 60_000, 10_000, 21, TRAIN_ACCURACY, fn.sgd(0.01)),
    ),
    Experiment(
        "784-100-10, adam", TRAIN_ACCURACY, Result(0.8999, None, 37, 50),
        partial(classify, TWO_LAYERS, 60_000, 10_000, 37, TRAIN_ACCURACY, fn.adam(1e-3)),
    ),
    Experiment("y = 2x", TEST_LOSS, Result(None), line, "no figure was reported"),
]  # fmt: skip

if __name__ == "__main__":
    main("s1 q-viper", EXPERIMENTS, parser(__doc__).parse_args())
