"""A small GPT that writes like Shakespeare: a transformer that predicts the next character from those before it.

    python examples/gpt.py                              an excerpt of 98,000 characters, in a minute
    python examples/gpt.py --data FILE --steps 3000     all of Shakespeare: 1.55 nats a character, in 8 minutes

A step takes texts from random places. The output layer is the embedding, transposed. At the end the model writes texts
of its own: each character that is drawn goes in as the next input, and of those before it only the keys and values are
needed, which the model returns as a cache.

It may be killed at any time: ``--resume`` continues after the last record, and ends with the same bits.

Reference: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3.
"""

import time

import numpy as np
import shakespeare

import funcnn as fn

loss = fn.softmax_cross_entropy


def network(symbols, options):
    """From characters (batch, time) to logits of the one that follows each, (batch, time, symbols)."""
    block = fn.transformer_encoder_layer(
        options.width, options.heads, dropout=options.dropout, activation="gelu", causal=True, positions="rotary"
    )
    model = fn.cached(
        fn.embedding(symbols, options.width, fn.initializers.normal(0.02)), fn.dropout(options.dropout),
        *[block] * options.blocks, fn.layer_norm(), fn.dense(symbols, bias=False),
    )  # fmt: skip
    return fn.tied(model, {"dense_0/w": "embedding_0/w"}, transpose=True)


def initial(model, options):
    return model.init(fn.spec((options.length,), int), rng=(options.seed, 0))


def rate(options):
    """The rate rises during the first twentieth of the steps, then it falls along a cosine to a tenth."""
    return fn.warmup_cosine(options.rate, max(1, options.steps // 20), options.steps, final=options.rate / 10)


def rule(options):
    """AdamW with gradients of at most norm 1."""
    return fn.chain(fn.clip_by_global_norm(1.0), fn.adamw(rate(options), b2=0.99, weight_decay=options.decay))


def drawn(tokens, batch, length, rng):
    """Texts from random places, (batch, length), and the characters that follow each of theirs."""
    starts = fn.rng.generator(rng).integers(len(tokens) - length, size=batch)
    places = starts[:, None] + np.arange(length)
    return tokens[places], tokens[places + 1]


def cut(tokens, length):
    """The whole text in texts of this length, one after the other, and the characters that follow each of theirs."""
    n = (len(tokens) - 1) // length
    return tokens[: n * length].reshape(n, length), tokens[1 : n * length + 1].reshape(n, length)


def learn(model, optimizer, train, validation, options):
    """The whole loop, and its checkpoints."""
    out, run, saved = shakespeare.begin(options, model, optimizer, train)
    params = initial(model, options)
    opt_state, history = optimizer.init(params), []
    print(f"{sum(leaf.size for leaf in fn.tree.leaves(params)):,} parameters, {len(train):,} characters to train on")
    if saved is not None:
        params, opt_state, history = (saved[name] for name in ("params", "opt_state", "history"))

    def train_step(params, opt_state, x, target, rng):
        logits, vjp = model.apply(params, x, rng)
        value, dlogits = loss(logits, target)
        grads, _ = vjp(dlogits, input_grad=False)
        params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        return params, opt_state, value

    start, before = int(fn.current_step(opt_state)), history[-1]["seconds"] if history else 0.0
    show, started, losses = fn.progress(options.steps - start), time.perf_counter(), []
    for step in range(start, options.steps):
        x, target = drawn(train, options.batch, options.length, rng=(options.seed, 1, step))
        params, opt_state, value = train_step(params, opt_state, x, target, rng=(options.seed, 2, step))
        losses.append(value)
        show(step + 1 - start, f"loss {value:.4f}")
        if (step + 1) % options.every == 0 or step + 1 == options.steps:
            found = fn.evaluate(model, params, cut(validation, options.length), loss, batch_size=options.batch)
            seconds = before + time.perf_counter() - started
            history = shakespeare.recorded(history, step + 1, losses, found["loss"], seconds, options.steps)
            losses = []
            shakespeare.keep(out, run, history, params=params, opt_state=opt_state)
    return params, history, out


def main(options):
    symbols, train, validation = shakespeare.read(options.data, options.length)
    model = network(len(symbols), options)
    params, history, out = learn(model, rule(options), train, validation, options)
    fn.save_model(out / "gpt.npz", model, params)
    shakespeare.draw(history, out / "learning_curves.png")

    # The first symbol, a line break, starts each text; longer ones would have places that it has never seen.
    start = np.zeros((3, 1), int)
    texts = fn.generate(model, params, start, options.length - 1, options.temperature, rng=(options.seed, 3))
    shakespeare.show(symbols, texts)
    print(f"wrote {', '.join(sorted(path.name for path in out.iterdir()))} to {out}")


def arguments(given=None):
    parser = shakespeare.parser("Train a small GPT on Shakespeare.", "runs/gpt", steps=500, batch=8, length=128)
    parser.add_argument("--width", type=int, default=128, help="number of features of a character (%(default)s)")
    parser.add_argument("--heads", type=int, default=4, help="number of heads of the attention (%(default)s)")
    parser.add_argument("--blocks", type=int, default=4, help="number of transformer layers (%(default)s)")
    parser.add_argument("--dropout", type=float, default=0.0, help="probability of dropping a unit (%(default)s)")
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--decay", type=float, default=0.1, help="weight decay (%(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="of the texts it writes (%(default)s)")
    return parser.parse_args(given)


if __name__ == "__main__":
    main(arguments())
