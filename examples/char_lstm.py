"""A character LSTM that writes like Shakespeare: it reads a text one character at a time, and predicts the next one.

    python examples/char_lstm.py                              an excerpt of 98,000 characters, in a minute
    python examples/char_lstm.py --data FILE --steps 2450     all of Shakespeare: 1.50 nats a character, in 4 minutes

The text is cut into 32 streams that are read side by side. A step reads the next 64 characters of each, starts in the
state in which the last step ended, and differentiates through its own characters only (truncated backpropagation
through time). The model is a chain of layers on the tree ``{"x": characters, "state": {"h": h, "c": c}}``.

It may be killed at any time: ``--resume`` continues after the last record, and ends with the same bits.

Reference: Hochreiter & Schmidhuber 1997, "Long short-term memory"; Williams & Peng 1990, "An efficient gradient-based
algorithm for on-line training of recurrent network trajectories", for the truncation.
"""

import time

import numpy as np
import shakespeare

import funcnn as fn

loss = fn.softmax_cross_entropy


def network(symbols, options):
    """From characters (batch, time) to logits of the one that follows each, and from a state to the next one."""
    return fn.serial(
        fn.on("x", fn.embedding(symbols, 64)), fn.lstm(options.units), fn.on("x", fn.dropout(options.dropout)),
        fn.on("x", fn.dense(symbols)),
    )  # fmt: skip


def initial(model, options):
    return model.init({"x": fn.spec((options.length,), int), "state": {}}, rng=(options.seed, 0))


def rate(options):
    """The rate falls along a cosine to a tenth."""
    return fn.cosine_decay(options.rate, options.steps, final=options.rate / 10)


def rule(options):
    """Adam with gradients of at most norm 1."""
    return fn.chain(fn.clip_by_global_norm(1.0), fn.adam(rate(options)))


def streams(tokens, batch, length):
    """``(x, target)``, each (parts, batch, length): part after part of as many streams as are read side by side."""
    parts = (len(tokens) - 1) // (batch * length)
    each = parts * length
    x, target = (tokens[i : i + batch * each].reshape(batch, parts, length).swapaxes(0, 1) for i in (0, 1))
    return x, target


def validate(model, params, x, target):
    """The mean loss over streams that are read from the start to the end."""
    state: fn.Params = {}
    losses = []
    for part, following in zip(x, target, strict=True):
        y = fn.predict(model, params, {"x": part, "state": state})
        state = y["state"]
        losses.append(loss(y["x"], following)[0])
    return float(np.mean(losses))


def write(model, params, tokens, steps, temperature, rng):
    """Texts (batch, time) and what the model continues them with: the state holds all that came before."""
    state: fn.Params = {}
    new = tokens
    for step in range(steps):
        y = fn.predict(model, params, {"x": new, "state": state})
        state = y["state"]
        # The largest of scores plus Gumbel noise is a draw from their softmax.
        scores = y["x"][:, -1] / temperature
        new = (scores + fn.rng.generator((*rng, step)).gumbel(size=scores.shape)).argmax(1)[:, None]
        tokens = np.concatenate([tokens, new], 1)
    return tokens


def learn(model, optimizer, train, validation, options):
    """The whole loop, and its checkpoints."""
    out, run, saved = shakespeare.begin(options, model, optimizer, train)
    x, target = streams(train, options.batch, options.length)
    tested = streams(validation, options.batch, options.length)
    params = initial(model, options)
    opt_state, state, history = optimizer.init(params), {}, []
    print(f"{sum(leaf.size for leaf in fn.tree.leaves(params)):,} parameters, {len(train):,} characters to train on")
    if saved is not None:
        params, opt_state, state, history = (saved[name] for name in ("params", "opt_state", "state", "history"))

    def train_step(params, opt_state, state, x, target, rng):
        y, vjp = model.apply(params, {"x": x, "state": state}, rng)
        value, dlogits = loss(y["x"], target)
        grads, _ = vjp({"x": dlogits, "state": None}, input_grad=False)
        params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
        return params, opt_state, y["state"], value

    start, before = int(fn.current_step(opt_state)), history[-1]["seconds"] if history else 0.0
    show, started, losses = fn.progress(options.steps - start), time.perf_counter(), []
    for step in range(start, options.steps):
        part = step % len(x)
        params, opt_state, state, value = train_step(
            params, opt_state, state if part else {}, x[part], target[part], rng=(options.seed, 1, step)
        )
        losses.append(value)
        show(step + 1 - start, f"loss {value:.4f}")
        if (step + 1) % options.every == 0 or step + 1 == options.steps:
            found = validate(model, params, *tested)
            seconds = before + time.perf_counter() - started
            history = shakespeare.recorded(history, step + 1, losses, found, seconds, options.steps)
            losses = []
            shakespeare.keep(out, run, history, params=params, opt_state=opt_state, state=state)
    return params, history, out


def main(options):
    symbols, train, validation = shakespeare.read(options.data, options.batch * options.length)
    model = network(len(symbols), options)
    params, history, out = learn(model, rule(options), train, validation, options)
    fn.save_model(out / "char_lstm.npz", model, params)
    shakespeare.draw(history, out / "learning_curves.png")

    # The first symbol, a line break, starts each text.
    texts = write(model, params, np.zeros((3, 1), int), 200, options.temperature, rng=(options.seed, 2))
    shakespeare.show(symbols, texts)
    print(f"wrote {', '.join(sorted(path.name for path in out.iterdir()))} to {out}")


def arguments(given=None):
    parser = shakespeare.parser(
        "Train a character LSTM on Shakespeare.", "runs/char_lstm", steps=430, batch=32, length=64
    )
    parser.add_argument("--units", type=int, default=256, help="number of elements of the state (%(default)s)")
    parser.add_argument("--dropout", type=float, default=0.0, help="probability of dropping a unit (%(default)s)")
    parser.add_argument("--rate", type=float, default=5e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="of the texts it writes (%(default)s)")
    return parser.parse_args(given)


if __name__ == "__main__":
    main(arguments())
