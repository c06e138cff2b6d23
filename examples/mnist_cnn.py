"""Train a small convolutional network on handwritten digits, with an explicit training loop.

    python examples/mnist_cnn.py                          the 10,000 digits that come with funcnn: 98 % in half a minute
    python examples/mnist_cnn.py --data DIR --epochs 6    all 60,000 of MNIST, as .gz files in DIR: 99 %

It may be killed at any time: ``--resume`` continues after the last finished epoch, and ends with the same bits. The
options must be those of the run in the folder ``--out``; if there is none, it starts.
"""

import argparse
import json
import sys
import time
import zlib
from pathlib import Path

import numpy as np

import funcnn as fn

model = fn.serial(
    fn.conv2d(12, 5, activation=fn.relu), fn.max_pool2d(2),
    fn.conv2d(32, 5, activation=fn.relu), fn.max_pool2d(2),
    fn.flatten, fn.dropout(0.2), fn.dense(128, activation=fn.relu), fn.dropout(0.2), fn.dense(10),
)  # fmt: skip
metrics = {"accuracy": fn.metrics.accuracy}


def main(options):
    """Train, test, save, draw, and load again."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    train, test = fn.datasets.mnist(options.data) if options.data else fn.datasets.digits()
    train, test = ((images.astype(np.float32) / 255, labels) for images, labels in (train, test))
    run = {
        "model": repr(model), "seed": options.seed, "batch": options.batch, "rate": options.rate,
        "epochs": options.epochs, "data": f"{len(train[0])} images, checksum {zlib.crc32(train[0].data):08x}",
    }  # fmt: skip
    train, validation = fn.split(train, fraction=0.1, rng=(options.seed, 1))
    saved = resumed(out / "training.npz", run) if options.resume else None
    params = model.init((28, 28, 1), rng=options.seed)
    fn.summary(model, params, (28, 28, 1)).show()
    params, history, seconds = learn(params, train, validation, options, out / "training.npz", run, saved)

    logits = fn.predict(model, params, test[0])
    accuracy = fn.metrics.accuracy(logits, test[1])
    confusion = fn.metrics.confusion_matrix(logits, test[1])
    print(f"\ntest accuracy {accuracy:.2%} on {len(test[0]):,} images, after {seconds:.1f} s of training")
    print("confusion matrix (rows: true digit, columns: predicted)")
    print(confusion)

    fn.save_model(out / "digits.npz", model, params)
    curves = fn.plot.learning_curves(history, "loss")
    curves.set_yscale("log")
    curves.figure.savefig(out / "learning_curves.png")
    fn.plot.learning_curves(history, "accuracy").figure.savefig(out / "accuracy.png")
    fn.plot.confusion_matrix(confusion).figure.savefig(out / "confusion_matrix.png")
    same = np.array_equal(fn.predict(*fn.load_model(out / "digits.npz"), test[0]), logits)
    print(f"wrote {', '.join(sorted(path.name for path in out.iterdir()))} to {out}")
    print(f"the model file, loaded again, predicts {'the same bits' if same else 'SOMETHING ELSE'}")


def learn(params, train, validation, options, checkpoint, run, saved):
    """The complete training loop. A checkpoint holds everything that decides the future, and says what it is of."""
    steps = -(-len(train[0]) // options.batch)
    optimizer = fn.adam(fn.cosine_decay(options.rate, steps=steps * options.epochs))
    opt_state = optimizer.init(params)

    def train_step(params, opt_state, x, labels, rng):
        logits, vjp = model.apply(params, x, rng)
        loss, dlogits = fn.softmax_cross_entropy(logits, labels)
        grads, _ = vjp(dlogits, input_grad=False)
        params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        return params, opt_state, loss

    def record(epoch, seconds, before=None):
        scores = {"epoch": epoch, "seconds": seconds}
        for name, data in (("train", train), ("validation", validation)):
            found = fn.evaluate(model, params, data, fn.softmax_cross_entropy, metrics)
            scores |= {f"{name}_{key}": value for key, value in found.items()}
        print(fn.format_record(scores, before, head=f"epoch {epoch}/{options.epochs} "), flush=True)
        return scores

    if saved is None:
        history = [record(0, 0.0)]
    else:
        params, opt_state, history = saved["params"], saved["opt_state"], read_text(saved["history"])
    start, before = int(fn.current_step(opt_state)), history[-1]["seconds"]
    started = time.perf_counter()
    show = fn.progress(steps * options.epochs - start)
    stream = fn.batches(train, options.batch, options.epochs, rng=(options.seed, 2), start=start)
    for step, (x, labels) in enumerate(stream, start):
        x = jitter(x, rng=(options.seed, 3, step))
        params, opt_state, loss = train_step(params, opt_state, x, labels, rng=(options.seed, 4, step))
        show(step + 1 - start, f"loss {loss:.4f}")
        if (step + 1) % steps == 0:
            seconds = before + time.perf_counter() - started
            history.append(record((step + 1) // steps, seconds, history[-1]))
            texts = {"history": as_text(history), "run": as_text(run)}
            fn.save(checkpoint, {"params": params, "opt_state": opt_state, **texts})
    return params, history, history[-1]["seconds"]


def jitter(images, rng):
    """Data augmentation: each image is shifted by at most one pixel, up or down and left or right."""
    rows, columns = fn.rng.generator(rng).integers(0, 3, (2, len(images)))
    border = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(border, images.shape[1:3], axis=(1, 2))
    return np.ascontiguousarray(windows[np.arange(len(images)), rows, columns].transpose(0, 2, 3, 1))


def resumed(checkpoint, run):
    """What a checkpoint holds, if it is of this run; None if there is no checkpoint."""
    if not checkpoint.exists():
        print(f"there is no {checkpoint}: a new run starts")
        return None
    try:
        saved = fn.load(checkpoint)
        found = read_text(saved["run"])
    except (OSError, KeyError, ValueError) as error:
        sys.exit(
            f"cannot resume: {checkpoint} holds no run of this program ({error}); choose another folder with --out"
        )
    differences = [f"{name} is {run[name]} and was {found.get(name)}" for name in run if found.get(name) != run[name]]
    if differences:
        sys.exit(
            f"cannot resume: {checkpoint} is of another run: {'; '.join(differences)}. "
            "Give the options of that run, or leave out --resume to start a new one"
        )
    return saved


def as_text(value):
    """A value as a text in an array, which is what a checkpoint holds."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def read_text(array):
    """The value that such a text stands for."""
    return json.loads(array.tobytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a small convolutional network on handwritten digits.")
    parser.add_argument(
        "--epochs", type=int, default=10, help="number of passes over the training images (%(default)s)"
    )
    parser.add_argument("--batch", type=int, default=64, help="number of images in a training step (%(default)s)")
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate at the start (%(default)s)")
    parser.add_argument(
        "--data", metavar="DIR", help="a folder with MNIST's four .gz files; by default the embedded digits"
    )
    parser.add_argument(
        "--out", metavar="DIR", default="runs/mnist_cnn", help="folder of the output files (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="resume the run in the folder --out")
    main(parser.parse_args())
