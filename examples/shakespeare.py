"""What the language models beside this file share, ``gpt.py`` and ``char_lstm.py``: the text, its split, the records.

``shakespeare.txt`` is the start of the plays that Karpathy collected for "The unreasonable effectiveness of recurrent
neural networks" (2015). All of them are 1,115,394 characters, 65 different ones; ``--data`` reads these, or any text.
"""

import argparse
import sys
import zlib
from pathlib import Path

import numpy as np
from mnist_cnn import as_text, read_text, resumed

import funcnn as fn

EXCERPT = Path(__file__).with_name("shakespeare.txt")


def read(path, least=1):
    """The different characters of a text, and the text as their numbers: 90 % of it to train on, then 10 %."""
    text = Path(path or EXCERPT).read_text(encoding="utf-8")
    symbols = "".join(sorted(set(text)))
    train, validation = np.split(encoded(symbols, text), [len(text) * 9 // 10])
    if len(validation) <= least:
        sys.exit(
            f"the text is too short: a tenth of it is {len(validation)} characters, and {least + 1} are needed; "
            "give a longer one, or a smaller --batch or --length"
        )
    return symbols, train, validation


def encoded(symbols, text):
    """Each character as its place among the symbols, which are in order."""
    return np.searchsorted([*map(ord, symbols)], [*map(ord, text)])


def decoded(symbols, tokens):
    return "".join(symbols[token] for token in tokens)


def parser(description, out, steps, batch, length):
    """The options of both models."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--data", metavar="FILE", help="a text; by default the excerpt in shakespeare.txt")
    found.add_argument("--steps", type=int, default=steps, help="number of training steps (%(default)s)")
    found.add_argument("--every", type=int, default=100, help="number of steps between evaluations (%(default)s)")
    found.add_argument("--batch", type=int, default=batch, help="number of texts in a step (%(default)s)")
    found.add_argument("--length", type=int, default=length, help="number of characters of each (%(default)s)")
    found.add_argument("--out", metavar="DIR", default=out, help="folder of the output files (%(default)s)")
    found.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    found.add_argument("--resume", action="store_true", help="resume the run in the folder --out")
    return found


def begin(options, model, optimizer, tokens):
    """The folder of a run, what a checkpoint of it must say, and the checkpoint that is to be resumed, or None."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    run = {
        "model": repr(model), "optimizer": repr(optimizer), "steps": options.steps, "every": options.every,
        "batch": options.batch, "length": options.length, "seed": options.seed,
        "data": f"{len(tokens)} characters, checksum {zlib.crc32(tokens.data):08x}",
    }  # fmt: skip
    saved = resumed(out / "training.npz", run) if options.resume else None
    if saved is not None:
        saved["history"] = read_text(saved["history"])
    return out, run, saved


def keep(out, run, history, **trees):
    """Write a checkpoint: it holds everything that decides the future, and says what it is of."""
    fn.save(out / "training.npz", {**trees, "history": as_text(history), "run": as_text(run)})


def recorded(history, step, losses, validation_loss, seconds, steps):
    """The history with one more record, which is printed: the mean of the losses since the last one, and the other."""
    train_loss = float(np.mean(losses))
    print(
        f"step {step}/{steps}: train loss {train_loss:.3f}, validation loss {validation_loss:.3f} nats a character, "
        f"{seconds:.0f} s",
        flush=True,
    )
    record = {"epoch": step, "seconds": seconds, "train_loss": train_loss, "validation_loss": validation_loss}
    return [*history, record]


def draw(history, path):
    """The learning curves, in nats a character by step, as a picture."""
    curves = fn.plot.learning_curves(history)
    curves.set(xlabel="Step", ylabel="Loss, nats a character")
    curves.figure.savefig(path)


def show(symbols, texts):
    """Texts, each below a line."""
    for text in texts:
        print("-" * 40, decoded(symbols, text), sep="\n")
    print("-" * 40)
