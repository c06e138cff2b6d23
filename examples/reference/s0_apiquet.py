"""The experiments of Apiquet, "Deep Learning Framework from scratch, part 3", with funcnn.

    python examples/reference/s0_apiquet.py --data DIR       all of them, on MNIST's four .gz files in DIR
    python examples/reference/s0_apiquet.py --quick          a few seconds, on the embedded digits
    python examples/reference/s0_apiquet.py --only disc -e 200 -b 10 -s 50 -l 0.003 -n 1000 -t 1000

Kept: networks, MSE after softmax, batch sizes, epochs, plain gradient descent, and the learning rate. It is 0.01 there
for a gradient *summed* over the batch; funcnn's losses are means, for which the same step is 0.01 times the batch size.
Corrected: pixels are scaled to [0, 1] (raw 0 to 255 there), examples are shuffled, the last batch is not dropped, and
gradients, the statistics of batch norm and convolutions are right (faults 0.1 to 0.8, 0.18, 0.19, 0.23).
"""

import importlib.util
import time
from functools import partial
from statistics import median

import experiment_data
import numpy as np
from common import TEST_ERROR, Experiment, Measure, Result, digits, learn, main, parser

import funcnn as fn

TIMES_PYTORCH = Measure("times PyTorch's speed", False, ".2f")


@fn.layer
def batch_norm_of_one_scale():
    """Batch norm as in the original: one scale and one shift for the whole layer, not for each feature."""
    norm, shared = fn.batch_norm(), ("scale", "shift")

    def init(shape, rng):
        params = norm.init(shape, rng)
        return params | {name: params[name][:1] for name in shared}

    def broadcast(params):
        return params | {name: np.broadcast_to(params[name], params["mean"].shape) for name in shared}

    def apply(params, x, rng=None):
        y, vjp = norm.apply(broadcast(params), x, rng)

        def vjp_fn(dy):
            grads, dx = vjp(dy)
            return grads | {name: grads[name].sum(keepdims=True) for name in shared}, dx

        return y, vjp_fn

    return fn.Layer(init, apply, measure=norm.measure)


def cnn(norm):
    return fn.serial(
        fn.conv2d(2, 3), fn.leaky_relu(), fn.max_pool2d(2), fn.conv2d(2, 3), fn.leaky_relu(),
        fn.flatten, norm(), fn.dense(128), fn.leaky_relu(), norm(), fn.dense(10), fn.softmax,
    )  # fmt: skip


def fcn(width, norm):
    hidden = [fn.dense(width), fn.leaky_relu(), norm()]
    return fn.serial(fn.flatten, *hidden, *hidden, fn.dense(10), fn.softmax)


def with_one_hot(parts):
    return [(x, fn.datasets.one_hot(labels, 10)) for x, labels in parts]


def images(network, n_train, n_test, options, reported):
    """Ten epochs of batches of 100."""
    if options.quick:
        n_train, n_test = 500, 200
    train, test = with_one_hot(digits(options, n_train, n_test))
    model, usual = network(batch_norm_of_one_scale), network(fn.batch_norm)
    result, fit = learn(
        model, fn.sgd(0.01 * 100), train, test, fn.mean_squared_error, epochs=1 if options.quick else 10,
        batch_size=100, measure=TEST_ERROR, reported=reported, metric=fn.metrics.error_rate, rng=options.seed,
    )  # fmt: skip
    count = fn.summary(usual, usual.init((28, 28, 1), 0), (28, 28, 1)).parameters
    print(f"  training error {fit.history[-1]['train_score']:.2%}, test error {result.score:.2%}")
    print(f"  {result.parameters:,} parameters with one scale and shift a batch norm, as there;", end=" ")
    print(f"{count:,} with fn.batch_norm, which has them for each feature")
    return result


def pooled_digits(options, n_test=1000):
    """1,000 training digits and some test digits, averaged over 2 x 2 pixels and standardized."""
    parts = digits(options, *((200, 200) if options.quick else (1000, n_test)))
    small = [(experiment_data.average_pool_images(x, 2), labels) for x, labels in parts]
    measured = fn.datasets.statistics(small[0][0], axis=None)
    return with_one_hot([(fn.datasets.standardize(x, measured), labels) for x, labels in small])


def pooled(options, reported):
    """1,000 images are memorized in a few epochs; weight decay and a decreasing rate help."""
    train, test = pooled_digits(options)
    epochs = 2 if options.quick else 40
    decreasing = fn.sgd(fn.cosine_decay(0.03 * 10, steps=epochs * 100))
    model, optimizer = fcn(128, batch_norm_of_one_scale), fn.chain(fn.add_decayed_weights(0.01), decreasing)
    result, fit = learn(
        model, optimizer, train, test, fn.mean_squared_error, epochs=epochs, batch_size=10, measure=TEST_ERROR,
        reported=reported, metric=fn.metrics.error_rate, rng=options.seed,
    )  # fmt: skip
    # The decay and the rate were chosen by the error on these test images; the others are independent of that.
    x, target = (part[len(test[0]) :] for part in pooled_digits(options, 10_000 if options.data else 2_000)[1])
    if len(x):
        error = fn.metrics.error_rate(fn.predict(model, fit.params, x), target)
        print(f"  decay and rate were chosen on these test images; on {len(x):,} others the test error is {error:.2%}")
    return result


def beside_pytorch(options, reported):
    """The same network, initial weights, batches, loss, rate and predictions in both; they train alternate epochs.

    Each runs on one thread, and CPU time is measured, so that other programs have little effect.
    """
    if importlib.util.find_spec("torch") is None:
        print("  PyTorch is not installed: nothing to compare with")
        return None
    train, test = pooled_digits(options)
    model, epochs = fcn(128, fn.batch_norm), 2 if options.quick else 200
    params = model.init((14, 14, 1), options.seed)
    sides = {"funcnn": funcnn_side(model, params, train, test), "PyTorch": pytorch_side(params, train, test)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    error = {}
    for epoch in range(epochs):
        batches = list(fn.batches(train, 10, rng=(options.seed, epoch)))
        for name, run_epoch in sides.items():
            started = time.process_time()
            with fn.use_threads(1):
                error[name] = run_epoch(batches)
            seconds[name].append(time.process_time() - started)
    for name in sides:
        print(f"  {name}: test error {error[name]:.2%}, {sum(seconds[name]):.1f} s,", end=" ")
        print(f"median {median(seconds[name]):.4f} s an epoch")
    times = median(seconds["PyTorch"]) / median(seconds["funcnn"])
    count = fn.summary(model, params, (14, 14, 1)).parameters
    return Result(times, count, epochs, median(seconds["funcnn"]))


def funcnn_side(model, params, train, test):
    params = fn.tree.map(np.copy, params)  # its own, since the steps write into them
    optimizer = fn.sgd(0.01 * 10)
    opt_state, gradient = optimizer.init(params), fn.value_and_grad(model, fn.mean_squared_error)

    def run_epoch(batches):
        nonlocal params, opt_state
        for step, (x, target) in enumerate(batches):
            _, grads = gradient(params, x, target, rng=step)
            params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        params = fn.calibrate(model, params, train[0])
        errors = [fn.metrics.error_rate(fn.predict(model, params, x), target) for x, target in (train, test)]
        return errors[-1]

    return run_epoch


def pytorch_side(params, train, test):
    import torch
    from torch import nn

    torch.set_num_threads(1)
    hidden = [[nn.Linear(inputs, 128), nn.LeakyReLU(0.01), nn.BatchNorm1d(128)] for inputs in (196, 128)]
    model = nn.Sequential(nn.Flatten(), *hidden[0], *hidden[1], nn.Linear(128, 10), nn.Softmax(1))
    linear = [module for module in model if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for i, module in enumerate(linear):
            module.weight.copy_(torch.from_numpy(params[f"dense_{i}"]["w"].T))
            module.bias.copy_(torch.from_numpy(params[f"dense_{i}"]["b"]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 * 10)
    whole = [tuple(map(torch.from_numpy, part)) for part in (train, test)]

    def run_epoch(batches):
        model.train()
        for x, target in batches:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(torch.from_numpy(x)), torch.from_numpy(target)).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            errors = [(model(x).argmax(1) != target.argmax(1)).float().mean().item() for x, target in whole]
        return errors[-1]

    return run_epoch


def disc(options, reported):
    """Is a point inside the disc? 2-s-s-2 with leaky relu; the options are those of the original command."""
    n, t, epochs = (200, 200, 5) if options.quick else (options.n, options.t, options.e)
    train, test = (experiment_data.disc(count, (options.seed, part)) for part, count in enumerate((n, t)))
    train, test = ((x, fn.datasets.one_hot(labels, 2)) for x, labels in (train, test))
    hidden = [fn.dense(options.s), fn.leaky_relu()]
    result, fit = learn(
        fn.serial(*hidden, *hidden, fn.dense(2), fn.softmax), fn.sgd(options.l * options.b), train, test,
        fn.mean_squared_error, epochs=epochs, batch_size=options.b, measure=TEST_ERROR, reported=reported,
        metric=fn.metrics.error_rate, rng=options.seed,
    )  # fmt: skip
    first, last = fit.history[0], fit.history[-1]
    print(f"  -e {epochs} -b {options.b} -s {options.s} -l {options.l} -n {n} -t {t}")
    for name, record in (("before training", first), ("after training", last)):
        print(
            f"  {name}: train error {record['train_score']:.2%}, test error {record['validation_score']:.2%},", end=" "
        )
        print(f"loss {record['train_loss']:.4f}")
    print(f"  training time {last['seconds']:.2f} s")
    return result


EXPERIMENTS = [
    Experiment(
        "CNN, 3,000 images", TEST_ERROR, Result(0.1022, 32_456, 10, 194.86), partial(images, cnn, 3_000, 10_000),
        "there on raw pixels; here on pixels in [0, 1]",
    ),
    Experiment(
        "FCN, 3,000 images", TEST_ERROR, Result(0.1747, 33_454, 10, 0.0957),
        partial(images, partial(fcn, 40), 3_000, 3_000), "there on raw pixels; here on pixels in [0, 1]",
    ),
    Experiment(
        "FCN 784-128-128-10", TEST_ERROR, Result(0.0289, None, 10, 5.65),
        partial(images, partial(fcn, 128), 60_000, 10_000), "there on raw pixels; here on pixels in [0, 1]",
    ),
    Experiment(
        "14x14 digits", TEST_ERROR, Result(0.117, None, 200, 18.5 / 200), pooled,
        "there the constant rate 0.01; here 0.03 with cosine decay, and weight decay 0.01, for 40 epochs",
    ),
    Experiment(
        "14x14 beside PyTorch", TIMES_PYTORCH, Result(5.2, None, 200, 18.5 / 200), beside_pytorch,
        "there PyTorch had another loss, one batch norm for two layers and two more predictions per epoch, so 5.2 is "
        "not a baseline; here both do the same work",
    ),
    Experiment("disc", TEST_ERROR, Result(None), disc, "no result was reported"),
]  # fmt: skip

if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("-e", type=int, default=200, help="disc: epochs (%(default)s)")
    options.add_argument("-b", type=int, default=10, help="disc: examples in a batch (%(default)s)")
    options.add_argument("-s", type=int, default=50, help="disc: units in each hidden layer (%(default)s)")
    options.add_argument("-l", type=float, default=0.003, help="disc: rate, per example of a batch (%(default)s)")
    options.add_argument("-n", type=int, default=1000, help="disc: training points (%(default)s)")
    options.add_argument("-t", type=int, default=1000, help="disc: test points (%(default)s)")
    main("s0 Apiquet", EXPERIMENTS, options.parse_args())
