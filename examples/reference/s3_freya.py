"""The experiment of Pérez, "Create your own Deep Learning framework using Numpy" (Freya), with funcnn.

    python examples/reference/s3_freya.py            ten runs on circles, ten on moons, and their pictures in --out
    python examples/reference/s3_freya.py --quick    a few seconds

Kept: 5,000 points with noise 0.04, the network 2-5-2-1 (relu, relu, sigmoid), the binary cross-entropy, ten runs.
Corrected: weights are centred and scaled to their fan (all positive there), biases learn at full speed (5,000 times too
slowly there), and so 40 epochs of Adam in batches of 100 replace 9,000 steps of gradient descent on all points (faults
3.1 and 3.4). Their score is the balanced accuracy of hard labels on the training data; ours is measured on held-out
points, together with the area under the ROC curve, which is computed from scores instead of labels (fault 3.6).
"""

from functools import partial
from pathlib import Path

import numpy as np
from common import Experiment, Measure, Result, learn, main, parser

import funcnn as fn

BALANCED = Measure("balanced accuracy, mean of 10", False, ".4f")

model = fn.serial(fn.dense(5, activation="relu"), fn.dense(2, activation="relu"), fn.dense(1, activation="sigmoid"))


def balanced(y, target):
    """The balanced accuracy of probabilities (n, 1)."""
    return fn.metrics.balanced_accuracy(y[:, 0], target[:, 0].astype(int), threshold=0.5)


def ten_runs(name, options, reported):
    """Ten runs of the same network with different keys and points; the plots are those of the best run."""
    runs, n, epochs = (2, 400, 3) if options.quick else (10, 5_000, 40)
    scores, areas, results, fits = [], [], [], []
    for run in range(runs):
        key = (options.seed, run)
        x, labels = getattr(fn.datasets, name)(n, 0.04, key)
        train, test = fn.split((x, labels[:, None].astype(np.float32)), fraction=0.2, rng=(*key, 1))
        result, fit = learn(
            model, fn.adam(fn.cosine_decay(0.02, epochs * len(train[0]) // 100)), train, test, fn.binary_cross_entropy,
            epochs=epochs, batch_size=100, measure=BALANCED, reported=reported, metric=balanced, rng=key,
        )  # fmt: skip
        y = fn.predict(model, fit.params, test[0])[:, 0]
        areas.append(fn.metrics.roc_auc(y, test[1][:, 0].astype(int)))
        scores.append(fit.history[-1]["validation_score"])
        results.append(result)
        fits.append((fit, test))
        print(f"  run {run}: balanced accuracy {scores[-1]:.4f}, ROC AUC {areas[-1]:.4f}, held out", flush=True)
    print(f"  mean of {runs} runs: balanced accuracy {np.mean(scores):.4f}, ROC AUC {np.mean(areas):.4f}")
    fit, test = fits[int(np.argmax(areas))]
    draw(name, fit, test, Path(options.out))
    seconds = float(np.mean([result.seconds_per_epoch or 0.0 for result in results]))
    return Result(float(np.mean(scores)), results[0].parameters, epochs, seconds)


def draw(name, fit, test, out):
    """The loss curve, the points and the decision boundary."""
    out.mkdir(parents=True, exist_ok=True)
    x, labels = test[0], test[1][:, 0].astype(int)
    pictures = {
        "loss": fn.plot.learning_curves(fit.history, "loss"),
        "points": fn.plot.scatter(x, labels),
        "boundary": fn.plot.decision_boundary(model, fit.params, x, labels, threshold=0.5),
    }
    for kind, ax in pictures.items():
        ax.figure.savefig(out / f"{name}_{kind}.png")
    print(f"  wrote {', '.join(f'{name}_{kind}.png' for kind in pictures)} to {out}")


EXPERIMENTS = [
    Experiment("circles, 2-5-2-1", BALANCED, Result(0.8061, None, 9_000), partial(ten_runs, "circles")),
    Experiment("moons, 2-5-2-1", BALANCED, Result(None), partial(ten_runs, "moons"), "no result was reported"),
]

if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--out", metavar="DIR", default="runs/s3_freya", help="folder of the plots (%(default)s)")
    main("s3 Freya", EXPERIMENTS, options.parse_args())
