"""A generative adversarial network of the digits: one network draws images, another one tells them from real ones.

    python examples/gan.py        samples and curves after 12 epochs, two minutes

A step trains the discriminator on a batch of real and a batch of drawn images, then the generator, whose gradient is
that of the discriminator's score by its input. A discriminator that guesses has a loss of 1.39, and then that of the
generator is 0.69. The curves show both losses: neither falls to 0, since each network makes the other one's task hard.

Reference: Goodfellow et al. 2014, "Generative adversarial nets", arXiv 1406.2661, algorithm 1, with the loss of section
3 that does not saturate; Radford et al. 2016, arXiv 1511.06434, for the rates and momentum of Adam.
"""

import argparse
from pathlib import Path

import numpy as np

import funcnn as fn

CODES = 32
generator = fn.serial(
    fn.dense(7 * 7 * 32, activation="relu"), fn.reshape(7, 7, 32), fn.group_norm(8),
    fn.conv_transpose2d(32, 4, stride=2, padding="same", activation="relu"), fn.group_norm(8),
    fn.conv_transpose2d(1, 4, stride=2, padding="same", activation="sigmoid"),
)  # fmt: skip
leaky = fn.leaky_relu(0.2)
discriminator = fn.serial(
    fn.conv2d(32, 4, stride=2, padding="same", activation=leaky),
    fn.conv2d(64, 4, stride=2, padding="same", activation=leaky), fn.flatten, fn.dropout(0.3), fn.dense(1),
)  # fmt: skip


def score_loss(params, images, real, rng):
    """How wrong the discriminator is about images, and its vjp of that: to its parameters and to the images."""
    scores, vjp = discriminator.apply(params, images, rng)
    value, dscores = fn.sigmoid_cross_entropy(scores, np.full(scores.shape, real))
    return value, lambda **options: vjp(dscores, **options)


def main(options):
    (train, _), _ = fn.datasets.digits()
    train = (train.astype(np.float32) / 255)[: options.examples]
    params = {"g": generator.init((CODES,), (options.seed, 0)), "d": discriminator.init((28, 28, 1), (options.seed, 1))}
    optimizer = fn.adam(3e-4, b1=0.5)
    state = {name: optimizer.init(own) for name, own in params.items()}

    def train_step(params, state, images, rng):
        z = fn.rng.generator((*rng, 0)).standard_normal((len(images), CODES), np.float32)
        drawn, generator_vjp = generator.apply(params["g"], z, (*rng, 1))

        real, real_vjp = score_loss(params["d"], images, 1.0, (*rng, 2))
        fake, fake_vjp = score_loss(params["d"], drawn, 0.0, (*rng, 3))
        grads = fn.tree.map(np.add, real_vjp(input_grad=False)[0], fake_vjp(input_grad=False)[0])
        d, d_state = optimizer.step(grads, state["d"], params["d"])

        fooled, fooled_vjp = score_loss(d, drawn, 1.0, (*rng, 4))
        grads, _ = generator_vjp(fooled_vjp()[1], input_grad=False)
        g, g_state = optimizer.step(grads, state["g"], params["g"])
        return {"g": g, "d": d}, {"g": g_state, "d": d_state}, (real + fake, fooled)

    steps = -(-len(train) // 64)
    history, recent = [], []
    for step, (images,) in enumerate(fn.batches((train,), 64, options.epochs, rng=(options.seed, 2))):
        params, state, losses = train_step(params, state, images, (options.seed, 3, step))
        recent.append(losses)
        if (step + 1) % steps == 0:
            wrong, fooled = np.mean(recent, 0)
            history.append((wrong, fooled))
            recent = []
            print(f"epoch {(step + 1) // steps}/{options.epochs}: discriminator {wrong:.2f}, generator {fooled:.2f}")

    z = fn.rng.generator((options.seed, 4)).standard_normal((64, CODES), np.float32)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    fn.plot.image_grid(fn.predict(generator, params["g"], z)).figure.savefig(out / "samples.png")
    draw(history, out / "learning_curves.png")
    print(f"wrote learning_curves.png, samples.png to {out}")


def draw(history, path):
    """The mean losses of each epoch, with those of a discriminator that guesses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    ax = figure.subplots()
    epochs = range(1, len(history) + 1)
    for part, (label, guess) in enumerate({"discriminator": 1.39, "generator": 0.69}.items()):
        losses = [record[part] for record in history]
        ax.plot(epochs, losses, "o-", label=label, markersize=4, color=f"C{part}")
        ax.axhline(guess, linestyle=":", label=f"{label}, guessing", color=f"C{part}")
    ax.set(xlabel="Epoch", ylabel="Loss")
    ax.grid(alpha=0.3)
    ax.legend()
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a generative adversarial network on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=12, help="number of passes over the images (%(default)s)")
    parser.add_argument("--examples", type=int, default=10_000, help="number of training images (%(default)s)")
    parser.add_argument("--out", metavar="DIR", default="runs/gan", help="folder of the pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    main(parser.parse_args())
