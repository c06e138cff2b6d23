"""A convolutional autoencoder that removes noise: it sees a digit with noise, and is trained to return the clean one.

    python examples/denoise.py        a squared error of 0.015 where the noisy images have 0.25, in 10 seconds

Each step draws new noise. The picture shows digits that were not trained on: clean, noisy, and denoised.

Reference: Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders", section 2.3.
"""

import argparse
from pathlib import Path

import numpy as np

import funcnn as fn

model = fn.serial(
    fn.conv2d(16, 3, stride=2, padding="same", activation="relu"),
    fn.conv2d(32, 3, stride=2, padding="same", activation="relu"),
    fn.conv2d(32, 3, padding="same", activation="relu"),
    fn.conv_transpose2d(16, 2, stride=2, activation="relu"),
    fn.conv_transpose2d(1, 2, stride=2),
)  # from (28, 28, 1) by (7, 7, 32) to logits of (28, 28, 1)


def noisy(images, rng, std=0.5):
    """The images with normal noise, not clipped, so that it has no limits to be guessed from."""
    return images + std * fn.rng.generator(rng).standard_normal(images.shape, np.float32)


def main(options):
    (train, _), (test, _) = fn.datasets.digits()
    train, test = (images.astype(np.float32) / 255 for images in (train, test))
    train = train[: options.examples]
    params = model.init((28, 28, 1), rng=options.seed)
    steps = -(-len(train) // 64)
    optimizer = fn.adam(fn.cosine_decay(3e-3, steps=steps * options.epochs))
    opt_state = optimizer.init(params)

    def train_step(params, opt_state, x, clean):
        logits, vjp = model.apply(params, x)
        loss, dlogits = fn.sigmoid_cross_entropy(logits, clean)
        grads, _ = vjp(dlogits, input_grad=False)
        params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        return params, opt_state, loss

    def denoised(x):
        return fn.predict(fn.sigmoid, {}, fn.predict(model, params, x))

    seen = noisy(test, (options.seed, 1))
    print(f"noisy images: mean squared error {np.mean((seen - test) ** 2):.4f}")
    history, losses = [], []
    for step, (clean,) in enumerate(fn.batches((train,), 64, options.epochs, rng=(options.seed, 2))):
        params, opt_state, loss = train_step(params, opt_state, noisy(clean, (options.seed, 3, step)), clean)
        losses.append(loss)
        if (step + 1) % steps == 0:
            epoch, error = (step + 1) // steps, np.mean((denoised(seen) - test) ** 2)
            found = fn.evaluate(model, params, (seen, test), fn.sigmoid_cross_entropy)["loss"]
            history.append({"epoch": epoch, "train_loss": np.mean(losses), "validation_loss": found})
            losses = []
            print(f"epoch {epoch}/{options.epochs}: test loss {found:.4f}, mean squared error {error:.4f}")

    rows = np.concatenate([test[:8], np.clip(seen[:8], 0, 1), denoised(seen[:8])])
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    fn.plot.image_grid(rows).figure.savefig(out / "denoised.png")
    fn.plot.learning_curves(history).figure.savefig(out / "learning_curves.png")
    print(f"wrote denoised.png, learning_curves.png to {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a network that removes noise from handwritten digits.")
    parser.add_argument("--epochs", type=int, default=5, help="number of passes over the images (%(default)s)")
    parser.add_argument("--examples", type=int, default=10_000, help="number of training images (%(default)s)")
    parser.add_argument("--out", metavar="DIR", default="runs/denoise", help="folder of the pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    main(parser.parse_args())
