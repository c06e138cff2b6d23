"""Training is a loop over a step: run the model, ask for the gradient, let the optimizer move the parameters.

The step is a pure function of (parameters, optimizer state, batch, key), so ``fit`` is only that loop with a record of
how it went; replace it by your own whenever you want something else.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from funcnn.aliases import Array, Params, Rng, Tree
from funcnn.training.batching import Data, batches, check_data, check_whole, split
from funcnn.protocol import Layer, answer, as_layer, pull_back
from funcnn.optim import Optimizer, apply_updates, current_rate
from funcnn.rng import as_key, fold, generator
from funcnn.inspect.traverse import calibrate

__all__ = [
    "Decision", "Fit", "NonFiniteLossError", "evaluate", "fit", "predict", "progress", "value_and_grad",
]  # fmt: skip

Loss: TypeAlias = Callable[[Array, Array], tuple[float, Array]]
Metric: TypeAlias = Callable[[Array, Array], float]
Record: TypeAlias = dict[str, float]

CALIBRATION_EXAMPLES = 1000
"""On so many examples ``fit`` measures what batch norm predicts with; DESIGN.md, "Batch norm", has the numbers."""


class Fit(NamedTuple):
    """What ``fit`` returns: the parameters, the optimizer's state, and a record for each evaluated epoch."""

    params: Params
    opt_state: Tree
    history: list[Record]


class Decision(NamedTuple):
    """What a callback may answer: whether training ends here, and what ``fit`` returns if this is where it ends."""

    stop: bool
    result: Fit


Callback: TypeAlias = Callable[[Record, Fit], bool | Decision | None]
"""Called after each evaluation, with its record and with what ``fit`` would return if it ended there.

It answers True to stop, nothing to go on, or a ``Decision``. Where several decide on the result, the last one counts.
"""


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite; ``result`` holds the last parameters, state and history that were good."""

    def __init__(self, message: str, result: Fit) -> None:
        super().__init__(message)
        self.result = result


def fit(
    model: Any,
    params: Params,
    optimizer: Optimizer,
    train: Data,
    loss: Loss,
    epochs: int,
    batch_size: int = 32,
    rng: Rng = 0,
    metrics: Mapping[str, Metric] | None = None,
    validation: Data | None = None,
    validation_split: float = 0.0,
    opt_state: Tree | None = None,
    start: int = 0,
    show_every: int = 1,
    verbose: bool = True,
    callbacks: Sequence[Callback] = (),
) -> Fit:
    """Train a model, and keep a record of how it went.

    Args:
        model: a layer or a pair.
        params: where to start from; ``model.init(shape, rng)``.
        optimizer: ``adam(1e-3)``, for example.
        train: ``(x, target)``.
        loss: ``loss(y, target) -> (value, dy)``.
        epochs: passes over the training data, ``>= 0``.
        batch_size: examples in a step.
        rng: the key of everything random: the split, the batches, and step s trains under ``fold(rng, s)``.
        metrics: ``{name: metric}``, evaluated beside the loss.
        validation: ``(x, target)`` that are not trained on.
        validation_split: instead, the share of ``train`` to split off for it, shuffled, class by class.
        opt_state: to go on with an earlier run, the state it ended with; ``optimizer.init(params)`` by default.
        start: to go on with an earlier run, how many steps it made: the result is that of one run, to the bit.
        show_every: epochs between evaluations; the first, before training, and the last are always made.
        verbose: whether to print a line for each evaluation, and a progress line if the output is a terminal.
        callbacks: functions ``callback(record, result)``, called after each evaluation, where ``result`` is the Fit up
            to then; one that answers True ends the training. ``funcnn.callbacks`` has some.

    Returns:
        ``Fit(params, opt_state, history)``. A record has ``epoch``, ``step``, ``seconds`` since the start,
        ``train_loss``, ``train_<metric>`` and the same for ``validation_``, all evaluated in prediction mode on all
        examples, and the learning ``rate`` of the last step, if the optimizer's state tells; layers like ``batch_norm``
        are calibrated for it on training examples, and so are the parameters returned.

    Raises:
        NonFiniteLossError: the loss became NaN or infinite; its ``result`` is the last good state.
        TypeError: the data are no pairs of arrays, the metrics no dict, the optimizer is none, or a callback is no
            function or answers something else.
        ValueError: lengths differ, there is no example, a number is out of range, both kinds of validation data are
            given, or ``start`` without ``opt_state``.

    Example:
        >>> import funcnn as fn
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> model = fn.dense(1)
        >>> result = fit(model, model.init((1,), 0), fn.adam(0.1), (x, 2 * x), fn.mean_squared_error, 50, verbose=False)
        >>> result.history[-1]["train_loss"] < 1e-3
        True
    """
    run, key, metrics, callbacks = as_layer(model), as_key(rng), check_metrics(metrics), _check_callbacks(callbacks)
    parts = _parts(train, validation, validation_split, key)
    train, sample = parts["train"], _calibration_sample(parts["train"], key)
    epochs, start = check_whole("epochs", epochs, 0), check_whole("start", start, 0)
    every = check_whole("show_every", show_every, 1)
    per_epoch = math.ceil(len(train[0]) / check_whole("batch_size", batch_size, 1))
    stream = batches(train, batch_size, epochs, fold(key, "batches"), start)
    opt_state = _first_state(optimizer, params, start) if opt_state is None else opt_state
    show = progress(per_epoch * epochs - start) if verbose else None
    begun, history = time.perf_counter(), list[Record]()
    good = Fit(params, opt_state, history)
    decision = Decision(stop=False, result=good)

    def record(epoch: int) -> None:
        nonlocal params, decision
        finite_loss = _finite(loss, f"after epoch {epoch}", good)
        params = _calibrated(run, params, sample, finite_loss, key)
        scores: Record = {"epoch": epoch, "step": epoch * per_epoch, "seconds": time.perf_counter() - begun}
        for part, data in parts.items():
            found = evaluate(run, params, data, finite_loss, metrics)
            scores |= {f"{part}_{name}": value for name, value in found.items()}
        history.append(scores | _rate(opt_state))
        if show is not None:
            show(0, "")
            print(f"epoch {epoch}/{epochs}  {describe(scores)}", flush=True)
        decision = _ask(callbacks, Fit(params, opt_state, history))

    if not start:
        record(0)
    for step, (x, target) in enumerate(stream, start):
        if decision.stop:
            break
        gradient = value_and_grad(run, _finite(loss, f"in step {step}", good))
        value, grads = gradient(params, x, target, fold(key, step))
        good = Fit(params, opt_state, history)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = apply_updates(params, updates)
        if show is not None:
            show(step + 1 - start, f"loss {value:.4f}")
        epoch, rest = divmod(step + 1, per_epoch)
        if not rest and (epoch % every == 0 or epoch == epochs):
            record(epoch)
    return decision.result


def progress(total: int, stream: Any = None) -> Callable[[int, str], None]:
    """One line that says how far a loop has come, how fast it goes and how long it will take.

    Args:
        total: how many steps the loop has.
        stream: where to write; ``sys.stderr`` by default. Nothing is written unless it is a terminal.

    Returns:
        ``show(done, text)``, to be called after each step; it writes ten times a second at most, and wipes its line
        after the last step, or if ``text`` is empty.

    Example:
        >>> show = progress(100)
        >>> show(1, "loss 2.3026")
    """
    out = sys.stderr if stream is None else stream
    begun = shown = time.perf_counter()

    def show(done: int, text: str) -> None:
        nonlocal shown
        now, running = time.perf_counter(), done < total and text != ""
        if not out.isatty() or (running and now - shown < 0.1):
            return
        shown = now
        rate = done / max(now - begun, 1e-9)
        left = round((total - done) / rate) if rate else 0
        line = f"step {done}/{total}  {text}  {rate:.1f} steps/s  {left // 60}:{left % 60:02d} left"
        out.write(f"\r{line if running else '':<79}\r")
        out.flush()

    return show


def describe(record: Record) -> str:
    """A record as one line: losses and metrics with four digits, and the time.

    Example:
        >>> describe({"epoch": 1, "seconds": 2.0, "train_loss": 0.25, "train_accuracy": 0.9})
        'train loss 0.2500, train accuracy 0.9000; 2.0 s'
    """
    words = [
        f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in record.items()
        if name not in ("epoch", "step", "seconds")
    ]
    return ", ".join(words) + f"; {record['seconds']:.1f} s"


def _check_callbacks(callbacks: Sequence[Callback]) -> Sequence[Callback]:
    """Refuse callbacks that are no functions."""
    if not isinstance(callbacks, tuple | list) or not all(callable(callback) for callback in callbacks):
        raise TypeError(
            f"fit: expected callbacks as a tuple of functions (record, result) -> answer, got {callbacks!r}"
        )
    return callbacks


def _ask(callbacks: Sequence[Callback], latest: Fit) -> Decision:
    """What all callbacks together decide."""
    decision = Decision(False, latest)
    for callback in callbacks:
        answer = callback(latest.history[-1], latest)
        if not isinstance(answer, Decision):
            if not isinstance(answer, bool | np.bool_ | None):
                raise TypeError(f"a callback answers True, a Decision or nothing, but {callback!r} answered {answer!r}")
            answer = Decision(bool(answer), decision.result)
        decision = Decision(decision.stop or answer.stop, answer.result)
    return decision


def _rate(opt_state: Tree) -> Record:
    """The learning rate of the last step, for the record; before the first and in some states there is none."""
    known = isinstance(opt_state, dict) and "scale_by_rate" in opt_state
    rate = current_rate(opt_state) if known else math.nan
    return {} if math.isnan(rate) else {"rate": rate}


def _parts(train: Data, validation: Data | None, share: float, rng: Rng) -> dict[str, Data]:
    """The data to train on and, if any, those to validate on."""
    check_data("fit", train)
    if validation is not None:
        check_data("fit, validation", validation)
        if share:
            raise ValueError("fit: give validation data or validation_split, not both")
    elif share:
        train, validation = split(train, share, fold(rng, "split"))
    return {"train": train} | ({} if validation is None else {"validation": validation})


def _first_state(optimizer: Optimizer, params: Params, start: int) -> Tree:
    """The state of an optimizer that has not made a step."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"fit: expected an optimizer such as adam(1e-3), got {optimizer!r}")
    if start:
        raise ValueError(f"fit: start={start} goes on with an earlier run, so it needs the opt_state of that run too")
    return optimizer.init(params)


def _calibration_sample(data: Data, rng: Rng) -> Data:
    """Some training examples at random: the first ones may all be of one class."""
    x, target = data
    index = generator(fold(rng, "calibrate")).permutation(len(x))[:CALIBRATION_EXAMPLES]
    return x[index], target[index]


def _calibrated(model: Layer, params: Params, sample: Data, finite_loss: Loss, rng: Rng) -> Params:
    """The parameters, ready to predict with."""
    x, target = sample
    try:
        return calibrate(model, params, x)
    except ValueError:
        # What became NaN looks to a batch norm like what was never measured; then the loss in training says so.
        finite_loss(model.apply(params, x, rng)[0], target)
        raise


def _finite(loss: Loss, when: str, good: Fit) -> Loss:
    """The same loss, but it stops where its value is no number, before that spoils the parameters."""

    def finite_loss(y: Array, target: Array) -> tuple[float, Array]:
        value, dy = loss(y, target)
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"the loss is {value} {when}; try a smaller learning rate or chain(clip_by_global_norm(1.0), ...), or "
                "look for NaN in the data. The last good parameters, optimizer state and history are in this error's "
                ".result",
                good,
            )
        return value, dy

    return finite_loss
