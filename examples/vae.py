"""A variational autoencoder of the digits: it learns a code of a few numbers, and draws new digits from random codes.

    python examples/vae.py        112 nats for an unseen image after 40 epochs, 15 seconds; samples and curves

The encoder says where the code z of an image lies, as a normal distribution; the decoder makes an image of a z that is
drawn there. The loss is the number of nats in which an image is described: those of its pixels given z, and those of z
beside a standard normal distribution. Both are differentiated by hand in ``train_step``.

Reference: Kingma & Welling 2014, "Auto-encoding variational Bayes", arXiv 1312.6114, equation 10 and appendix B.
"""

import argparse
from pathlib import Path

import numpy as np

import funcnn as fn


def networks(codes):
    """The encoder, from images to the mean and the logarithm of the variance of z; and the decoder, to logits."""
    encoder = fn.serial(
        fn.flatten, fn.dense(256, activation="relu"), fn.branch(mean=fn.dense(codes), log_var=fn.dense(codes))
    )
    decoder = fn.serial(fn.dense(256, activation="relu"), fn.dense(784), fn.reshape(28, 28, 1))
    return encoder, decoder


def bound(encoder, decoder, params, x, rng):
    """The negative evidence lower bound in nats an image, and its gradients, which are not computed until asked for."""
    n = len(x)
    code, encoder_vjp = encoder.apply(params["encoder"], x)
    mean, std = code["mean"], np.exp(code["log_var"] / 2)
    noise = fn.rng.generator(rng).standard_normal(mean.shape, np.float32)
    logits, decoder_vjp = decoder.apply(params["decoder"], mean + std * noise)
    pixels, dlogits = fn.sigmoid_cross_entropy(logits, x, reduction="sum")
    divergence = float((mean**2 + std**2 - 1 - code["log_var"]).sum()) / 2

    def gradients():
        ddecoder, dz = decoder_vjp(dlogits / n)
        dcode = {"mean": dz + mean / n, "log_var": dz * noise * std / 2 + (std**2 - 1) / (2 * n)}
        dencoder, _ = encoder_vjp(dcode, input_grad=False)
        return {"encoder": dencoder, "decoder": ddecoder}

    return (pixels + divergence) / n, gradients


def main(options):
    (train, _), (test, _) = fn.datasets.digits()
    train, test = (images.astype(np.float32) / 255 for images in (train, test))
    train = train[: options.examples]
    encoder, decoder = networks(options.codes)
    params = {
        "encoder": encoder.init((28, 28, 1), rng=(options.seed, 0)),
        "decoder": decoder.init((options.codes,), rng=(options.seed, 1)),
    }
    optimizer = fn.adam(1e-3)
    opt_state = optimizer.init(params)

    def train_step(params, opt_state, x, rng):
        nats, gradients = bound(encoder, decoder, params, x, rng)
        params, opt_state = optimizer.step(gradients(), opt_state, params, donate=True)
        return params, opt_state, nats

    steps = -(-len(train) // 128)
    history, total = [], 0.0
    for step, (x,) in enumerate(fn.batches((train,), 128, options.epochs, rng=(options.seed, 2))):
        params, opt_state, nats = train_step(params, opt_state, x, rng=(options.seed, 3, step))
        total += nats / steps
        if (step + 1) % steps == 0:
            tested, _ = bound(encoder, decoder, params, test, rng=(options.seed, 4))
            print(f"epoch {(step + 1) // steps}/{options.epochs}: train {total:.1f} nats, test {tested:.1f} nats")
            history.append({"epoch": (step + 1) // steps, "train_loss": total, "validation_loss": tested})
            total = 0.0

    z = fn.rng.generator((options.seed, 5)).standard_normal((64, options.codes), np.float32)
    samples = fn.predict(fn.serial(decoder, fn.sigmoid), {"serial_0": params["decoder"]}, z)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    fn.plot.image_grid(samples).figure.savefig(out / "samples.png")
    curves = fn.plot.learning_curves(history)
    curves.set_ylabel("Nats an image")
    curves.figure.savefig(out / "learning_curves.png")
    print(f"wrote learning_curves.png, samples.png to {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a variational autoencoder on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=40, help="number of passes over the images (%(default)s)")
    parser.add_argument("--examples", type=int, default=10_000, help="number of training images (%(default)s)")
    parser.add_argument("--codes", type=int, default=16, help="number of elements of z (%(default)s)")
    parser.add_argument("--out", metavar="DIR", default="runs/vae", help="folder of the pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    main(parser.parse_args())
