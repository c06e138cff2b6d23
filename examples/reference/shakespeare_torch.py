"""PyTorch beside ``gpt.py`` and ``char_lstm.py``: the same model, start, batches, rule and validation, in float32.

    python examples/reference/shakespeare_torch.py gpt --data FILE --steps 3000 --ours runs/gpt

All options of the example hold here too. With ``--ours``, the folder of a run of it, the last line compares both, and a
picture shows both validation losses.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import char_lstm
import gpt
import shakespeare

import funcnn as fn

f = torch.nn.functional


def gpt_logits(p: dict[str, Any], x: Any, state: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """The logits of the GPT, with our parameters by their paths; it has no state."""
    h = p["embedding_0/w"][x]
    cos, sin = rotary(x.shape[1], options.width // options.heads, h.dtype)
    for block in range(options.blocks):
        path = f"transformer_encoder_layer_{block}"
        z = normalized(p, f"{path}/attention/layer_norm_0", h)
        q, k, v = (
            affine(p, f"{path}/attention/heads/{name}_", z).unflatten(2, (options.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        read = f.scaled_dot_product_attention(turned(q, cos, sin), turned(k, cos, sin), v, is_causal=True)
        h = h + affine(p, f"{path}/attention/heads/output_", read.transpose(1, 2).flatten(2))
        z = normalized(p, f"{path}/feed_forward/layer_norm_0", h)
        hidden = f.gelu(affine(p, f"{path}/feed_forward/serial_0/dense_0/", z))
        h = h + affine(p, f"{path}/feed_forward/serial_0/dense_1/", hidden)
    return normalized(p, "layer_norm_0", h) @ p["embedding_0/w"].T, state


def affine(p: dict[str, Any], path: str, x: Any) -> Any:
    return f.linear(x, p[f"{path}w"].T, p[f"{path}b"])


def normalized(p: dict[str, Any], path: str, x: Any) -> Any:
    return f.layer_norm(x, x.shape[-1:], p[f"{path}/scale"], p[f"{path}/shift"])


def rotary(length: int, width: int, dtype: Any) -> tuple[Any, Any]:
    """cos and sin of the angles of all places, (length, width / 2)."""
    angles = torch.arange(length, dtype=torch.float64)[:, None] * 10000.0 ** (-torch.arange(0, width, 2) / width)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def turned(x: Any, cos: Any, sin: Any) -> Any:
    """The halves of the features as points of planes, turned by the angles of their places."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def lstm_logits(p: dict[str, Any], x: Any, state: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """The logits of the LSTM and its next state. PyTorch adds two biases, of which one is zero here."""
    h = p["on_0/x/w"][x]
    zeros = h.new_zeros((1, len(x), options.units))
    weights = [p["lstm_0/w"].T, p["lstm_0/w_h"].T, p["lstm_0/b"], torch.zeros_like(p["lstm_0/b"])]
    y, *state = torch.lstm(h, state or (zeros, zeros), weights, True, 1, 0.0, True, False, True)
    return affine(p, "on_2/x/", y), [s.detach() for s in state]


def gpt_data(train: Any, validation: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """A function from a step to its batch, and the batches of the validation."""
    x, target = gpt.cut(validation, options.length)
    tested = [(x[i : i + options.batch], target[i : i + options.batch]) for i in range(0, len(x), options.batch)]
    return lambda step: (*gpt.drawn(train, options.batch, options.length, (options.seed, 1, step)), False), tested


def lstm_data(train: Any, validation: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """The same for the streams; a batch also says whether it continues the one before."""
    x, target = char_lstm.streams(train, options.batch, options.length)
    tested = [*zip(*char_lstm.streams(validation, options.batch, options.length), strict=True)]
    return lambda step: (x[step % len(x)], target[step % len(x)], step % len(x) > 0), tested


def gpt_rule(leaves: dict[str, Any], options: argparse.Namespace) -> Any:
    """AdamW, which decays matrices only."""
    groups = [[p for p in leaves.values() if (p.ndim > 1) == matrix] for matrix in (True, False)]
    own = [{"params": group, "weight_decay": decay} for group, decay in zip(groups, (options.decay, 0.0), strict=True)]
    return torch.optim.AdamW(own, betas=(0.9, 0.99))


def lstm_rule(leaves: dict[str, Any], options: argparse.Namespace) -> Any:
    return torch.optim.Adam(leaves.values())


MODELS = {
    "gpt": (gpt, gpt_logits, gpt_data, gpt_rule),
    "char_lstm": (char_lstm, lstm_logits, lstm_data, lstm_rule),
}


def learn(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The whole loop, and its records as those of the example."""
    example, logits, data, rule = MODELS[name]
    symbols, train, validation = shakespeare.read(options.data)
    batch, tested = data(train, validation, options)
    start = example.initial(example.network(len(symbols), options), options)
    leaves = {path: torch.tensor(leaf, requires_grad=True) for path, leaf in fn.tree.flatten(start).items()}
    optimizer, rate = rule(leaves, options), example.rate(options)
    history: list[dict[str, Any]] = []
    state, losses, started = None, [], time.perf_counter()
    for step in range(options.steps):
        x, target, continues = batch(step)
        y, state = logits(leaves, torch.tensor(x), state if continues else None, options)
        loss = f.cross_entropy(y.flatten(0, 1), torch.tensor(target).flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(leaves.values(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % options.every == 0 or step + 1 == options.steps:
            found = validate(leaves, logits, tested, options)
            seconds = time.perf_counter() - started
            history = shakespeare.recorded(history, step + 1, losses, found, seconds, options.steps)
            losses = []
    return history


@torch.no_grad()
def validate(leaves: dict[str, Any], logits: Any, tested: Any, options: argparse.Namespace) -> float:
    """The mean loss of all validation batches."""
    state, total = None, 0.0
    for x, target in tested:
        y, state = logits(leaves, torch.tensor(x), state, options)
        total += f.cross_entropy(y.flatten(0, 1), torch.tensor(target).flatten(), reduction="sum").item()
    return total / sum(target.size for _, target in tested)


def beside(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], path: Path) -> None:
    """Both last validation losses in one line, and all of them in a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    ax = figure.subplots()
    for label, style, history in (("funcnn", "o-", ours), ("PyTorch", "s--", theirs)):
        steps, losses = ([record[key] for record in history] for key in ("epoch", "validation_loss"))
        ax.plot(steps, losses, style, label=label, markersize=4, markevery=max(1, len(steps) // 20))
    ax.set(xlabel="Step", ylabel="Validation loss, nats a character")
    ax.grid(alpha=0.3)
    ax.legend()
    figure.savefig(path)
    print(
        f"validation loss after {theirs[-1]['epoch']} steps: funcnn {ours[-1]['validation_loss']:.3f}, "
        f"PyTorch {theirs[-1]['validation_loss']:.3f} nats a character; the picture is {path}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Train a language model of the examples in PyTorch.", allow_abbrev=False,
        epilog="All other options are those of the example.",
    )  # fmt: skip
    parser.add_argument("name", choices=MODELS, help="the example")
    parser.add_argument("--ours", metavar="DIR", help="the folder of a run of the example, to compare with")
    own, rest = parser.parse_known_args()
    options = MODELS[own.name][0].arguments(rest)
    if options.dropout:
        parser.error("what PyTorch drops cannot be what funcnn drops; leave out --dropout")
    history = learn(own.name, options)
    if own.ours:
        saved = fn.load(Path(own.ours) / "training.npz")
        beside(shakespeare.read_text(saved["history"]), history, Path(own.ours) / "beside_torch.png")


if __name__ == "__main__":
    main()
