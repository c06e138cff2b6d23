"""Tables: a regressor and a classifier of rows with columns of several scales, a category and missing values.

    python examples/tabular.py        R2 of 0.98 and 95 % correct, in 2 seconds, and pictures

The table is made up: houses with area, age, distance and quarter. What a network needs is done here in the open:
columns are standardized with statistics of the training rows alone, a missing value becomes 0, the mean, with a column
that says so, and the category becomes one-hot columns. The regressor tells the price, the classifier whether it sells.
"""

import argparse
from pathlib import Path

import numpy as np

import funcnn as fn

QUARTERS = 5


def houses(n, rng):
    """Rows of (area, age, distance), quarters, and the targets (price in thousands, whether it sells)."""
    random = fn.rng.generator(rng)
    area, age, distance = random.gamma(9, 12, n), random.uniform(0, 100, n), random.exponential(4, n)
    quarter = random.integers(QUARTERS, size=n)
    worth = np.array([0.7, 0.9, 1.0, 1.2, 1.6])[quarter] * area * (1 + 0.4 * np.cos(age / 16)) * np.exp(-distance / 20)
    price = 3 * worth + random.normal(0, 12, n)
    sells = random.random(n) < 1 / (1 + np.exp(-(price - 3.2 * area - 4 * distance + 40) / 8))
    columns = np.stack([area, age, distance], 1)
    columns[random.random(columns.shape) < 0.02] = np.nan
    return columns, quarter, price[:, None].astype(np.float32), sells[:, None].astype(np.float32)


def features(columns, quarter, mean, std):
    """What the network sees of rows, float32."""
    missing = np.isnan(columns)
    standard = np.where(missing, 0, (columns - mean) / std)
    return np.concatenate([standard, missing, fn.datasets.one_hot(quarter, QUARTERS)], 1).astype(np.float32)


def train(model, loss, data, test, epochs, seed):
    """The whole loop, with a rate that falls to 0; and its records."""
    params = model.init(data[0].shape[1:], rng=(seed, 0))
    steps = -(-len(data[0]) // 64)
    optimizer = fn.adamw(fn.cosine_decay(5e-3, steps=steps * epochs), weight_decay=1e-4)
    opt_state, history = optimizer.init(params), []

    def train_step(params, opt_state, x, target, rng):
        y, vjp = model.apply(params, x, rng)
        value, dy = loss(y, target)
        grads, _ = vjp(dy, input_grad=False)
        params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        return params, opt_state, value

    for step, (x, target) in enumerate(fn.batches(data, 64, epochs, rng=(seed, 1))):
        params, opt_state, _ = train_step(params, opt_state, x, target, rng=(seed, 2, step))
        if (step + 1) % steps == 0:
            losses = [fn.evaluate(model, params, part, loss)["loss"] for part in (data, test)]
            history.append({"epoch": (step + 1) // steps, "train_loss": losses[0], "validation_loss": losses[1]})
    return params, history


def main(options):
    columns, quarter, price, sells = houses(6000, (options.seed, 0))
    rest, test = slice(0, 5000), slice(5000, None)
    mean, std = np.nanmean(columns[rest], 0), np.nanstd(columns[rest], 0)
    x = features(columns, quarter, mean, std)
    model = fn.serial(fn.dense(64, activation="silu"), fn.dense(64, activation="silu"), fn.dense(1))

    # A target of mean 0 and standard deviation 1 is learned at the rates that are usual.
    centre, scale = price[rest].mean(), price[rest].std()
    learned, unseen = ((x[part], (price[part] - centre) / scale) for part in (rest, test))
    regressor, price_history = train(model, fn.huber(), learned, unseen, options.epochs, options.seed)
    predicted = centre + scale * fn.predict(model, regressor, x[test])
    error = fn.mean_absolute_error(predicted, price[test])[0]
    print(f"price: R2 {fn.metrics.r2(predicted, price[test]):.3f}, mean absolute error {error:.1f} thousand")

    learned, unseen = ((x[part], sells[part]) for part in (rest, test))
    classifier, sells_history = train(model, fn.sigmoid_cross_entropy, learned, unseen, options.epochs, options.seed)
    chance = fn.predict(fn.sigmoid, {}, fn.predict(model, classifier, x[test]))
    auc = fn.metrics.roc_auc(chance[:, 0], sells[test][:, 0])
    print(f"sells: accuracy {np.mean((chance > 0.5) == sells[test]):.1%}, area below the ROC curve {auc:.3f}")

    from matplotlib.figure import Figure

    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    left, right = Figure(figsize=(10, 4.5), layout="constrained").subplots(1, 2)
    left.plot(price[test], price[test], color="0.7", linewidth=1)
    left.plot(price[test], predicted, ".", markersize=3)
    left.set(title="Price", xlabel="Price, thousand", ylabel="Predicted price, thousand")
    fn.plot.calibration_curve(chance[:, 0], sells[test][:, 0].astype(int), ax=right)
    left.figure.savefig(out / "tabular.png")
    left, right = Figure(figsize=(10, 4.5), layout="constrained").subplots(1, 2)
    fn.plot.learning_curves(price_history, ax=left).set_title("Price", loc="left")
    fn.plot.learning_curves(sells_history, ax=right).set_title("Whether it sells", loc="left")
    left.figure.savefig(out / "learning_curves.png")
    print(f"wrote learning_curves.png, tabular.png to {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a regressor and a classifier of a table.")
    parser.add_argument("--epochs", type=int, default=20, help="number of passes over the rows (%(default)s)")
    parser.add_argument("--out", metavar="DIR", default="runs/tabular", help="folder of the pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    main(parser.parse_args())
