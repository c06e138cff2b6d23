"""Two towers: one network embeds the upper half of a digit, another one the lower half, and halves find each other.

    python examples/two_towers.py        the right half of 100 comes first for 80 % of digits, in 10 seconds

The towers never see a label. Of a batch, each half's own other half should be nearer than those of all others, which is
the loss ``info_nce``; then any image can be searched for by its vector. So are trained searches for texts and products.

Reference: Radford et al. 2021, "Learning transferable visual models from natural language supervision", figure 3.
"""

import argparse
from pathlib import Path

import numpy as np

import funcnn as fn


def tower():
    """Half an image, (14, 28, 1), as a vector."""
    return fn.serial(
        fn.conv2d(16, 3, activation="relu"), fn.max_pool2d(2), fn.conv2d(32, 3, activation="relu"), fn.flatten,
        fn.dense(64),
    )  # fmt: skip


def halves(images):
    return {"a": images[:, :14], "b": images[:, 14:]}


def main(options):
    (train, _), (test, _) = fn.datasets.digits()
    train, test = (images.astype(np.float32) / 255 for images in (train, test))
    train = train[: options.examples]
    steps = -(-len(train) // 128)
    model, loss = fn.parallel(a=tower(), b=tower()), fn.info_nce(temperature=0.1, symmetric=True)
    params = model.init(fn.specs(halves(train)), rng=options.seed)
    optimizer = fn.adam(fn.cosine_decay(2e-3, steps=steps * options.epochs))
    opt_state = optimizer.init(params)

    def train_step(params, opt_state, x):
        y, vjp = model.apply(params, x)
        value, dy = loss(y, None)
        grads, _ = vjp(dy, input_grad=False)
        params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        return params, opt_state, value

    history, losses = [], []
    for step, (images,) in enumerate(fn.batches((train,), 128, options.epochs, rng=(options.seed, 1))):
        params, opt_state, value = train_step(params, opt_state, halves(images))
        losses.append(value)
        if (step + 1) % steps == 0:
            epoch, train_loss = (step + 1) // steps, np.mean(losses)
            vectors = fn.predict(model, params, halves(test))
            tested = np.mean([loss(part, None)[0] for part in fn.batches(vectors, 128)])
            history.append({"epoch": epoch, "train_loss": train_loss, "validation_loss": tested})
            losses = []
            print(f"epoch {epoch}/{options.epochs}: train loss {train_loss:.3f}, test loss {tested:.3f}")

    vectors = fn.predict(model, params, halves(test))
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (vectors["a"], vectors["b"]))
    cosines = a.reshape(20, 100, -1) @ b.reshape(20, 100, -1).transpose(0, 2, 1)  # among 100 at a time
    better = (cosines > np.diagonal(cosines, axis1=1, axis2=2)[..., None]).sum(2)
    first, five = (better == 0).mean(), (better < 5).mean()
    print(f"of 100 lower halves, the right one is first in {first:.1%}, among the best five in {five:.1%}")

    nearest = cosines[0, :16].argmax(1)  # digits, and under each its upper half with the lower one that was found
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    found = np.concatenate([test[:16, :14], test[nearest, 14:]], 1)
    rows = np.concatenate([test[:8], found[:8], test[8:16], found[8:]])
    fn.plot.image_grid(rows).figure.savefig(out / "found.png")
    fn.plot.learning_curves(history).figure.savefig(out / "learning_curves.png")
    print(f"wrote found.png, learning_curves.png to {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train two networks that find the halves of handwritten digits.")
    parser.add_argument("--epochs", type=int, default=5, help="number of passes over the images (%(default)s)")
    parser.add_argument("--examples", type=int, default=10_000, help="number of training images (%(default)s)")
    parser.add_argument("--out", metavar="DIR", default="runs/two_towers", help="folder of the pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    main(parser.parse_args())
