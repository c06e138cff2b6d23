"""A residual network on colour images of 32 x 32 pixels, with batch norm in its blocks, and folded for predicting.

    python examples/residual.py               images made by formula: 99 % of eight shapes, in a minute
    python examples/residual.py --data DIR --epochs 30 --depth 20    CIFAR-10, its six .bin files in DIR

A block adds its input to the output of two convolutions, so that the gradient reaches all blocks; where the image is
halved, a convolution of size 1 takes the place of the input. Batch norm trains on the statistics of a batch, and
predicts with those that ``calibrate`` measures. At the end ``fold_batch_norm`` multiplies it into the convolutions.

Reference: He et al. 2016, "Deep residual learning for image recognition", arXiv 1512.03385, section 4.2.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import funcnn as fn

SHAPES = ["disc", "ring", "square", "frame", "triangle", "cross", "bars", "checks"]
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def block(channels, stride=1):
    """y = relu(x + f(x)), or with a stride y = relu(g(x) + f(x)), where g is a convolution of size 1."""
    layers = (
        fn.conv2d(channels, 3, stride=stride, padding="same", bias=False), fn.batch_norm(activation="relu"),
        fn.conv2d(channels, 3, padding="same", bias=False), fn.batch_norm(),
    )  # fmt: skip
    if stride == 1:
        return fn.serial(fn.residual(*layers), fn.relu)
    shortcut = fn.serial(fn.conv2d(channels, 1, stride=stride, bias=False), fn.batch_norm())
    return fn.serial(fn.add(fn.serial(*layers), shortcut), fn.relu)


def network(depth, classes):
    """6 n + 2 layers: three groups of n blocks, with 16, 32 and 64 channels."""
    n = (depth - 2) // 6
    blocks = [block(c, 1 if c == 16 or i else 2) for c in (16, 32, 64) for i in range(n)]
    stem = fn.conv2d(16, 3, padding="same", bias=False), fn.batch_norm(activation="relu")
    return fn.serial(*stem, *blocks, fn.global_avg_pool2d, fn.dense(classes))


def shapes(n, rng):
    """Images (n, 32, 32, 3) of bytes, and which shape each shows: turned, in any two colours, with noise."""
    random = fn.rng.generator(rng)
    labels = random.integers(len(SHAPES), size=n)
    places = np.mgrid[:32, :32].astype(np.float32)[:, None]
    size, angle = random.uniform(6, 11, (n, 1, 1)), random.uniform(0, 2 * np.pi, (n, 1, 1))
    y, x = (places - random.uniform(12, 20, (2, n, 1, 1))) / size
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    distance, square = np.hypot(x, y), np.maximum(abs(x), abs(y))
    inside = np.choose(labels[:, None, None], [
        distance < 1, (distance < 1) & (distance > 0.6), square < 0.9, (square < 0.9) & (square > 0.5),
        (y > -0.5) & (abs(x) * np.sqrt(3) < 1 - y), (np.minimum(abs(x), abs(y)) < 0.3) & (square < 1),
        (square < 0.9) & (np.floor((x + 0.9) / 0.36) % 2 == 0),
        (square < 0.9) & (np.floor((x + 0.9) / 0.6) % 2 == np.floor((y + 0.9) / 0.6) % 2),
    ])  # fmt: skip
    paper = random.uniform(0, 256, (n, 1, 1, 3))
    ink = (paper + random.uniform(64, 192, (n, 1, 1, 3))) % 256
    images = np.where(inside[..., None], ink, paper) + random.normal(0, 20, (n, 32, 32, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def learn(model, train, validation, options):
    """The whole loop, and its records."""
    params = model.init((32, 32, 3), rng=(options.seed, 0))
    steps = -(-len(train[0]) // options.batch)
    rate = fn.warmup_cosine(options.rate, steps, steps * (options.epochs + 1))
    optimizer = fn.sgd(rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    opt_state, losses = optimizer.init(params), []
    history: list[fn.Record] = []

    def train_step(params, opt_state, x, labels, rng):
        logits, vjp = model.apply(params, x, rng)
        loss, dlogits = fn.softmax_cross_entropy(logits, labels)
        grads, _ = vjp(dlogits, input_grad=False)
        params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        return params, opt_state, loss, fn.metrics.accuracy(logits, labels)

    started, show = time.perf_counter(), fn.progress(steps * options.epochs)
    moved = fn.augment.compose(fn.augment.crop(4), fn.augment.flip())
    drawn = fn.batches(train, options.batch, options.epochs, rng=(options.seed, 1), augment=moved)
    for step, (x, labels) in enumerate(drawn):
        params, opt_state, *scores = train_step(params, opt_state, x, labels, rng=(options.seed, 3, step))
        losses.append(scores)
        show(step + 1, f"loss {scores[0]:.3f}")
        if (step + 1) % steps == 0:
            params = fn.calibrate(model, params, train[0][:2000])
            found = fn.evaluate(model, params, validation, fn.softmax_cross_entropy, {"accuracy": fn.metrics.accuracy})
            loss, accuracy = np.mean(losses, 0).tolist()
            record = {"epoch": (step + 1) // steps, "seconds": time.perf_counter() - started}
            record |= {"train_loss": loss, "train_accuracy": accuracy}
            record |= {f"validation_{name}": value for name, value in found.items()}
            head = f"epoch {record['epoch']}/{options.epochs} "
            print(fn.format_record(record, history[-1] if history else None, head), flush=True)
            history, losses = [*history, record], []
    return params, history


def main(options):
    if options.data:
        names, (train, test) = CIFAR, fn.datasets.cifar10(options.data)
    else:
        names, n = SHAPES, options.examples
        train, test = shapes(n, (options.seed, 4)), shapes(n // 3, (options.seed, 5))
    measured = fn.datasets.statistics(train[0], axis=(0, 1, 2))
    pictures = test[0][:32]
    train, test = ((fn.datasets.standardize(x, measured), labels) for x, labels in (train, test))
    train, validation = fn.split(train, fraction=0.1, rng=(options.seed, 6))
    model = network(options.depth, len(names))
    params, history = learn(model, train, validation, options)

    folded, folded_params = fn.fold_batch_norm(model, params)
    logits, same = fn.predict(model, params, test[0]), fn.predict(folded, folded_params, test[0])
    counts = [sum(leaf.size for leaf in fn.tree.leaves(found)) for found in (params, folded_params)]
    print(f"test accuracy {fn.metrics.accuracy(logits, test[1]):.1%} on {len(logits):,} images")
    print(
        f"folded: {fn.metrics.accuracy(same, test[1]):.1%}, logits differ by {abs(logits - same).max():.1e}, "
        f"{counts[1]:,} parameters in place of {counts[0]:,}"
    )

    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    fn.save_model(out / "residual.npz", folded, folded_params)
    fn.plot.learning_curves(history, "loss").figure.savefig(out / "learning_curves.png")
    fn.plot.learning_curves(history, "accuracy").figure.savefig(out / "accuracy.png")
    grid = fn.plot.image_grid(pictures, test[1][:32], logits[:32].argmax(1), names)
    grid.figure.savefig(out / "predictions.png")
    matrix = fn.metrics.confusion_matrix(logits, test[1])
    fn.plot.confusion_matrix(matrix, names).figure.savefig(out / "confusion_matrix.png")
    print(f"wrote {', '.join(sorted(path.name for path in out.iterdir()))} to {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a residual network on small colour images.")
    parser.add_argument("--data", metavar="DIR", help="a folder with CIFAR-10's .bin files; by default made images")
    parser.add_argument("--examples", type=int, default=6000, help="number of images made to train on (%(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="number of passes over the images (%(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="number of images in a step (%(default)s)")
    parser.add_argument("--depth", type=int, default=8, choices=range(8, 111, 6), help="of the network (%(default)s)")
    parser.add_argument("--rate", type=float, default=0.05, help="highest learning rate (%(default)s)")
    parser.add_argument(
        "--out", metavar="DIR", default="runs/residual", help="folder of the output files (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    main(parser.parse_args())
