"""Every plot of funcnn, of a small network trained on digits and of one trained on points in the plane.

    python examples/pictures.py --out DIR

It writes a .png file for each plot, which ``docs/guide/plots.md`` shows, and ``front.png``, the picture of the README.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image  # matplotlib brings it

import funcnn as fn

digit_model = fn.serial(
    fn.conv2d(8, 5, activation=fn.relu), fn.max_pool2d(2),
    fn.residual(fn.conv2d(8, 3, padding="same"), fn.relu), fn.dropout(0.2),
    fn.conv2d(32, 5, activation=fn.relu), fn.global_avg_pool2d, fn.dense(10),
)  # fmt: skip
plane_model = fn.serial(fn.dense(24, activation=fn.tanh), fn.dense(24, activation=fn.tanh), fn.dense(1))
branching_model = fn.serial(
    fn.conv2d(8, 3, padding="same", activation=fn.relu),
    fn.concat(
        fn.serial(fn.conv2d(4, 3, padding="same"), fn.batch_norm(activation=fn.relu)),
        fn.conv2d(4, 1),
        fn.max_pool2d(3, stride=1, padding="same"),
    ),
    fn.residual(fn.conv2d(16, 3, padding="same"), fn.relu),
    fn.global_avg_pool2d,
    fn.dense(10),
)
front_model = fn.serial(
    fn.conv2d(8, 3), fn.relu, fn.max_pool2d(2),
    fn.conv2d(16, 3), fn.relu, fn.max_pool2d(2),
    fn.flatten, fn.dropout(0.2), fn.dense(10),
)  # fmt: skip
sobel = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])


def main(options):
    """Train for a few epochs, then draw all plots."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    train, test = ((images.astype(np.float32) / 255, labels) for images, labels in fn.datasets.digits())
    if options.quick:
        train, test = ((images[:500], labels[:500]) for images, labels in (train, test))

    def write(name, ax):
        picture = io.BytesIO()
        ax.figure.savefig(picture, dpi=100)
        # 256 colours are enough, and halve the size of the file.
        Image.open(picture).convert("RGB").quantize(256).save(out / f"{name}.png", optimize=True)
        print(f"wrote {out / name}.png")

    write("front", front(train, test))

    params = digit_model.init((28, 28, 1), rng=options.seed)
    params, gradients, updates = learn(params, train, epochs=3, rng=options.seed)
    images, labels = test
    logits = fn.predict(digit_model, params, images)
    predicted = logits.argmax(axis=1)
    kernels = params["conv2d_0"]["w"]

    write("norms", fn.plot.norms(gradients))
    write("update_norms", fn.plot.norms(updates, "update"))
    write("confusion_matrix", fn.plot.confusion_matrix(fn.metrics.confusion_matrix(logits, labels)))
    write("roc_curve", fn.plot.roc_curve(fn.predict(fn.softmax, {}, logits), labels))
    write("precision_recall_curve", fn.plot.precision_recall_curve(fn.predict(fn.softmax, {}, logits), labels))
    write("calibration_curve", fn.plot.calibration_curve(fn.predict(fn.softmax, {}, logits), labels))
    wrong, right = (np.flatnonzero(found)[:8] for found in (predicted != labels, predicted == labels))
    shown = np.sort(np.concatenate([wrong, right]))
    write("image_grid", fn.plot.image_grid(images[shown], labels[shown], predicted[shown]))
    write("filters", fn.plot.filters(kernels))
    by_hand = {"Sobel, by hand": sobel, "filter 0, learned": kernels[..., 0], "filter 1, learned": kernels[..., 1]}
    write("filtered_image", fn.plot.filtered_image(images[0], by_hand))
    write("feature_maps", fn.plot.feature_maps(digit_model, params, images[0], rng=0))
    write("diagram", fn.plot.diagram(branching_model, branching_model.init((28, 28, 1), 0), (28, 28, 1)))

    left, right = Figure(figsize=(9, 4), layout="constrained").subplots(1, 2)
    gradient = fn.saliency(digit_model, params, images[:1], predicted[0])
    fn.plot.heat_map(images[0], gradient[0], left).set_title(f"Saliency of a {predicted[0]}")
    heat = fn.grad_cam(digit_model, params, images[:1], predicted[0], "conv2d_1")
    fn.plot.heat_map(images[0], heat[0], right).set_title(f"Grad-CAM of a {predicted[0]} at conv2d_1")
    write("heat_map", left)

    linear = fn.serial(fn.flatten, fn.dense(10))
    result = train_quietly(linear, train, fn.softmax_cross_entropy, 5, options.seed, fn.adamw(1e-3, 0.1))
    write("dense_weights", fn.plot.dense_weights(result.params["dense_0"]["w"], (28, 28)))
    write("accuracy_curves", fn.plot.learning_curves(result.history, "accuracy"))

    decays = np.logspace(-3, 1, 5)
    training, held_out = cross_validated(linear, tuple(part[:300] for part in train), decays, options.seed)
    write("validation_curve", fn.plot.validation_curve(decays, training, held_out, "weight decay"))

    x, classes = fn.datasets.moons(300, noise=0.15, rng=options.seed)
    targets = classes.reshape(-1, 1).astype(np.float32)
    epochs = 20 if options.quick else 200
    result = train_quietly(plane_model, (x, targets), fn.sigmoid_cross_entropy, epochs, options.seed, fn.adam(1e-2))
    names = ["upper moon", "lower moon"]
    write("scatter", fn.plot.scatter(x, classes, names))
    write("decision_boundary", fn.plot.decision_boundary(plane_model, result.params, x, classes, names))


def front(train, test):
    """Run the lines of the README: the loss of each batch, the learned kernels, and predictions of unseen digits."""
    params = front_model.init((28, 28, 1), rng=0)
    optimizer = fn.adam(3e-3)
    opt_state, losses = optimizer.init(params), []
    for step, (x, labels) in enumerate(fn.batches(train, 64, epochs=3, rng=0)):
        logits, vjp_fn = front_model.apply(params, x, rng=(0, step))
        loss, dlogits = fn.softmax_cross_entropy(logits, labels)
        grads, _ = vjp_fn(dlogits, input_grad=False)
        params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        losses.append(loss)
    images, labels = (part[:8] for part in test)
    axes = Figure(figsize=(10, 3.4), layout="constrained").subplot_mosaic("lk;ld", width_ratios=(1, 1.4))
    axes["l"].plot(losses, color="#0072B2", linewidth=1)
    axes["l"].set(title="Loss of each batch", xlabel="step", ylim=(0, None))
    axes["l"].spines[["top", "right"]].set_visible(False)
    fn.plot.filters(params["conv2d_0"]["w"], axes["k"]).set_title("The kernels of the first layer")
    predicted = fn.predict(front_model, params, images).argmax(axis=1)
    fn.plot.image_grid(images, labels, predicted, ax=axes["d"]).set_title("Unseen digits, and what it says they are")
    return axes["l"]


def learn(params, train, epochs, rng):
    """The training loop, with a record of the norms of gradients and updates."""
    optimizer = fn.adam(3e-3)
    opt_state = optimizer.init(params)
    step_gradients = fn.value_and_grad(digit_model, fn.softmax_cross_entropy)
    gradients, updates = [], []
    for step, (x, labels) in enumerate(fn.batches(train, 64, epochs, rng=(rng, 0))):
        _, grads = step_gradients(params, x, labels, rng=(rng, 1, step))
        update, opt_state = optimizer.update(grads, opt_state, params, donate=True)
        params = fn.apply_updates(params, update, donate=True)
        if step % 12 == 0:
            gradients.append({"step": step, **fn.tree.norms(grads)})
            updates.append({"step": step, **fn.tree.norms(update)})
    return params, gradients, updates


def cross_validated(model, data, decays, seed):
    """The losses of four folds, (decays, folds), on their training and on their validation data."""
    params, loss, losses = model.init(data[0].shape[1:], rng=seed), fn.softmax_cross_entropy, []
    for decay in decays:
        optimizer = fn.adamw(1e-2, weight_decay=decay)
        for fold in fn.k_fold(data, 4, rng=seed):
            result = fn.fit(model, params, optimizer, fold[0], loss, 30, validation=fold[1], verbose=False)
            losses.append([result.history[-1][f"{part}_loss"] for part in ("train", "validation")])
    return np.array(losses).reshape(len(decays), -1, 2).transpose(2, 0, 1)


def train_quietly(model, data, loss, epochs, seed, optimizer):
    params = model.init(data[0].shape[1:], rng=seed)
    metrics = {"accuracy": fn.metrics.accuracy} if loss is fn.softmax_cross_entropy else None
    return fn.fit(
        model, params, optimizer, data, loss, epochs, metrics=metrics, rng=seed, validation_split=0.2, verbose=False
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Every plot of funcnn.")
    parser.add_argument(
        "--out", metavar="DIR", default="runs/pictures", help="folder of the output files (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a few seconds: fewer digits, shorter training")
    main(parser.parse_args())
