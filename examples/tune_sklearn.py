"""scikit-learn tunes a network of funcnn beside its own ``MLPClassifier``, on digits of 8 x 8 pixels.

    python examples/tune_sklearn.py        98 % of the test digits for both, in a minute, and a picture

It needs ``pip install "funcnn[sklearn]"``. Both stand in a pipeline behind the same scaler; a grid search with three
folds chooses the number of hidden units and the learning rate, on two cores. The arguments of what makes a network are
parameters of the estimator: ``model__hidden`` is that of ``mlp``, ``optimizer__rate`` that of ``adam``.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import funcnn as fn

UNITS, RATES = (16, 128), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def searches(options):
    """For both kinds of networks a grid search over the same values, by the names that each has for them."""
    ours = fn.sklearn.NetworkClassifier(epochs=options.epochs, random_state=options.seed)
    theirs = MLPClassifier(
        max_iter=options.epochs, n_iter_no_change=options.epochs, alpha=0, random_state=options.seed
    ).set_params(batch_size=32)
    for name, network, units, rate in (
        ("funcnn", ours, "model__hidden", "optimizer__rate"),
        ("MLPClassifier", theirs, "hidden_layer_sizes", "learning_rate_init"),
    ):
        pipeline = Pipeline([("scale", StandardScaler()), ("network", network)])
        values = {f"network__{units}": [(n,) for n in UNITS], f"network__{rate}": RATES}
        yield name, GridSearchCV(pipeline, values, cv=3, n_jobs=2)


def main(options):
    warnings.simplefilter("ignore", ConvergenceWarning)  # MLPClassifier expects to stop before the last epoch
    x, labels = load_digits(return_X_y=True)
    x, test_x, labels, test_labels = train_test_split(
        x.astype(np.float32), labels, test_size=0.25, stratify=labels, random_state=0
    )
    tuned, curves = Figure(figsize=(10, 4), layout="constrained").subplots(1, 2)
    for (name, search), colour in zip(searches(options), ("#0072b2", "#d55e00"), strict=True):
        search.fit(x, labels)
        best = {key.removeprefix("network__"): value for key, value in search.best_params_.items()}
        accuracy = search.score(test_x, test_labels)
        print(f"{name}: {accuracy:.1%} of the test digits with {best}")

        scores = search.cv_results_["mean_test_score"].reshape(len(UNITS), len(RATES))
        for units, row, style in zip(UNITS, scores, ("o--", "s-"), strict=True):
            tuned.plot(RATES, row, style, color=colour, label=f"{name}, {units} units", markersize=4)
        curve = search.best_estimator_["network"].loss_curve_
        curves.plot(range(1, len(curve) + 1), curve, color=colour, label=f"{name}, test accuracy {accuracy:.1%}")
    tuned.set(xscale="log", xlabel="Learning rate", ylabel="Accuracy, mean of three folds")
    curves.set(yscale="log", xlabel="Epoch", ylabel="Training loss of the best network")
    curves.xaxis.get_major_locator().set_params(integer=True)
    for ax in (tuned, curves):
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    tuned.figure.savefig(out / "tuned.png", dpi=100)
    print(f"wrote {out / 'tuned.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Tune a network and an MLPClassifier.")
    parser.add_argument("--epochs", type=int, default=20, help="number of passes over the digits (%(default)s)")
    parser.add_argument("--out", metavar="DIR", default="runs/tune_sklearn", help="folder of the picture (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    main(parser.parse_args())
