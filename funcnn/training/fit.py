"""The training loop: run the model, compute the gradient, let the optimizer update the parameters.

A step is a pure function of (parameters, optimizer state, batch, key), and ``fit`` is a loop over it that keeps a
record. Where you need another loop, write it with ``value_and_grad``, ``batches`` and ``evaluate``.
"""

import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from funcnn import checks, tree
from funcnn.aliases import Key, Params, Rng, Tree
from funcnn.interchange.files import check_replaceable
from funcnn.losses import Loss
from funcnn.optim import as_optimizer, current_step
from funcnn.protocol import as_layer
from funcnn.rng import as_key, fold
from funcnn.training.batching import Data, batches, check_data, split
from funcnn.training.evaluate import Metric, Record, check_metrics, checked_loss
from funcnn.training.interrupts import interrupts_deferrable
from funcnn.training.loop import Loop, Store
from funcnn.training.run import (
    Callback,
    Decision,
    Fit,
    Follower,
    NonFiniteLossError,
    Run,
    Saved,
    as_callbacks,
    first_states,
)
from funcnn.training.run_file import fingerprint_of, load_run

__all__ = ["Callback", "Decision", "Fit", "NonFiniteLossError", "fit", "format_record", "progress"]


def fit(
    model: Any,
    params: Params,
    optimizer: Any,
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
    evaluate_every: int = 1,
    verbose: bool = True,
    callbacks: Sequence[Follower] = (),
    checkpoint: str | Path | None = None,
    every: int = 1,
    resume: str | Path | None = None,
) -> Fit:
    """Train a model and record its losses and metrics.

    Args:
        model: a layer or a pair.
        params: the parameters to start from; ``model.init(shape, rng)``.
        optimizer: ``adam(1e-3)``, for example, or a pair ``(init, update)`` of your own.
        train: ``(x, target)``; each is an array or, for several inputs or outputs, a nested dict of arrays.
        loss: ``loss(y, target) -> (value, dy)``, with dy like y.
        epochs: the number of passes over the training data, ``>= 0``.
        batch_size: the number of examples in a step.
        rng: the key of everything random: the split, the batches, and step s trains under ``fold(rng, s)``.
        metrics: ``{name: metric}``, evaluated together with the loss; each is ``metric(y, target) -> number``.
        validation: ``(x, target)`` to evaluate on, not to train on.
        validation_split: instead, the fraction of ``train`` to split off for validation, as ``split`` does: stratified
            by class if the target is an array of classes.
        opt_state: to go on after a loop of your own, the optimizer state it ended with; ``optimizer.init(params)`` by
            default.
        start: to go on after a loop of your own, the number of steps it made, which is also that of ``opt_state``.
        evaluate_every: the number of epochs between evaluations; there is always one before training and one at the
            end.
        verbose: whether to print a line for each evaluation, and a progress line on a terminal.
        callbacks: functions ``callback(record, result)``, called after each evaluation, where ``result`` is the Fit so
            far; training stops if one returns True. One with a state is a pair ``(init, update)``, see ``Callback``.
            ``funcnn.callbacks`` has some.
        checkpoint: the file in which the run is saved: before the first step, every few epochs, at the end, and on an
            error or Ctrl-C, then with the steps of the unfinished epoch. A run from the start replaces it.
        every: the number of epochs between two versions of that file.
        resume: a file that ``checkpoint`` named, with which the run goes on: all other arguments are those of the call
            that wrote it, and the result and the history are those of a run that was not interrupted, bit for bit.
            Others are allowed for ``epochs``, not fewer than were made, for ``checkpoint``, ``every``, ``verbose``
            and for callbacks that are functions. A run that a callback with a state has stopped is not trained on.
            Functions of your own are compared by name, not by what they do; and where ``evaluate_every`` is not 1, the
            record of the last epoch of a run stays if it goes on for more.

    Returns:
        ``Fit(params, opt_state, history)``. A record has ``epoch``, ``step``, ``seconds`` since the start,
        ``train_loss``, ``train_<metric>`` and the same for ``validation_``, all evaluated in inference mode on all
        examples, and the learning ``rate`` of the last step, if the optimizer's state contains it. For each evaluation,
        and for the parameters returned, layers such as ``batch_norm`` are calibrated on training examples. Both take
        ``batch_size`` examples at a time.

    Raises:
        NonFiniteLossError: the loss, a gradient or a parameter became NaN or infinite, or, at an evaluation, the
            optimizer state has. Its ``result`` is the ``Fit`` of the last evaluation before that, or what the run
            started from.
        TypeError: the data are not pairs of arrays or of nested dicts of arrays, the metrics are not a dict, the
            optimizer is not one, the loss, a metric or a callback is not a function or returns something else.
        ValueError: lengths differ, there is no example, a number is out of range, both kinds of validation data are
            given, ``start`` is not the step of ``opt_state``, or the file holds another run; the message says in what
            it differs.
        FileNotFoundError: there is no file to resume, or no folder for the checkpoint.
        BaseException: any other error, and Ctrl-C, has a ``result`` too: the ``Fit`` of the last step.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> model = fn.dense(1)
        >>> result = fit(model, model.init((1,), 0), fn.adam(0.1), (x, 2 * x), fn.mean_squared_error, 50, verbose=False)
        >>> result.history[-1]["train_loss"] < 1e-3
        True
    """
    layer, key, followers = as_layer(model), as_key(rng), as_callbacks(callbacks)
    checked, metrics = checked_loss("fit", loss), check_metrics("fit", metrics)
    tree.check_parameters(params, "fit")
    parts = _parts(train, validation, validation_split, key)
    verbose = checks.flag("fit", "verbose", verbose)
    epochs, start = checks.size("fit", "epochs", epochs, 0), checks.size("fit", "start", start, 0)
    evaluate_every, every = checks.size("fit", "evaluate_every", evaluate_every), checks.size("fit", "every", every)
    batch_size = checks.size("fit", "batch_size", batch_size)
    steps = math.ceil(check_data("fit", parts["train"]) / batch_size)
    optimizer = as_optimizer(optimizer, "fit: expected an optimizer such as adam(1e-3)")
    store, source = _files(checkpoint, every, resume)
    if store is not None or source is not None:
        fingerprint = fingerprint_of(
            key, params, {"train": train, "validation": validation}, followers, model=layer, optimizer=optimizer,
            loss=loss, metrics=list(metrics), batch_size=batch_size, validation_split=float(validation_split),
            evaluate_every=evaluate_every,
        )  # fmt: skip
    if source is None:
        opt_state = optimizer.init(params) if opt_state is None and not start else opt_state
        saved = Saved(Run(params, _checked_state(opt_state, start), start, first_states(followers)), [])
    elif start or opt_state is not None:
        raise ValueError("fit: give resume, or opt_state and start, not both; the file of a run holds all of it")
    else:
        known = optimizer.init(params) if optimizer.donates else None  # states of one's own may change their shape
        saved = load_run(source, fingerprint, params, known, followers)
        if saved.run.step > steps * epochs:
            raise ValueError(f"fit: {source} holds {saved.run.step} steps, more than the {steps * epochs} of {epochs=}")
    first = saved.run.step
    show = progress(steps * epochs - first) if verbose else None

    def report(record: Record) -> None:
        if show is not None:
            show(0, "")
            print(f"epoch {record['epoch']}/{epochs}  {format_record(record)}", flush=True)

    with interrupts_deferrable() as deferral:
        loop = Loop(
            layer, optimizer, checked, metrics, parts, key, batch_size, epochs, evaluate_every, followers,
            None if store is None else Store(store, every, fingerprint), report, deferral, *saved,
        )  # fmt: skip
        loop.saved = saved.run if store == source else None
        try:
            if not start:
                loop.epoch_ended()
            for x, target in batches(parts["train"], batch_size, epochs, fold(key, "batches"), first):
                if loop.decision.stop:
                    break
                value = loop.step(x, target)
                if show is not None:
                    show(loop.run.step - first, f"loss {value:.4f}")
                loop.epoch_ended()
            return loop.end()
        except BaseException as error:
            loop.rescue(error)
            raise


def progress(total: int, stream: Any = None) -> Callable[[int, str], None]:
    """One line that shows the step, the speed and the remaining time of a loop.

    Args:
        total: the number of steps of the loop.
        stream: the stream to write to; ``sys.stderr`` by default. Nothing is written unless it is a terminal.

    Returns:
        ``show(done, text)``, to be called after each step; it writes ten times a second at most, one row of the
        terminal, and clears it after the last step, or if ``text`` is empty.

    Raises:
        ValueError: ``total`` is not a whole number ``>= 0``.

    Example:
        >>> show = progress(100)
        >>> show(1, "loss 2.3026")
    """
    total, out = checks.size("progress", "total", total, 0), sys.stderr if stream is None else stream
    started = shown = time.perf_counter()

    def show(done: int, text: str) -> None:
        nonlocal shown
        now, running = time.perf_counter(), done < total and text != ""
        if not out.isatty() or (running and now - shown < 0.1):
            return
        shown = now
        rate = done / max(now - started, 1e-9)
        left = round((total - done) / rate) if rate else 0
        line = f"step {done}/{total}  {text}  {rate:.1f} steps/s  {left // 60}:{left % 60:02d} left"
        width = max(shutil.get_terminal_size().columns - 1, 1)  # a character in the last column may begin a new row
        out.write(f"\r{line[:width] if running else '':<{width}}\r")
        out.flush()

    return show


def format_record(record: Record) -> str:
    """A record as one line: losses and metrics with four decimals, and the time.

    Raises:
        TypeError, ValueError: the record is not a dict with ``seconds``, or has something else than numbers.

    Example:
        >>> format_record({"epoch": 1, "seconds": 2.0, "train_loss": 0.25, "train_accuracy": 0.9})
        'train loss 0.2500, train accuracy 0.9000; 2.0 s'
    """
    if not isinstance(record, Mapping):
        raise TypeError(f"format_record: expected a record of fit, a dict of numbers, got {checks.what(record)}")
    if "seconds" not in record:
        raise ValueError(f"format_record: expected a record of fit with 'seconds', got one with {[*record]}")
    record = {name: checks.real("format_record", str(name), value) for name, value in record.items()}
    words = [
        f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in record.items()
        if name not in ("epoch", "step", "seconds")
    ]
    return ", ".join(words) + f"; {record['seconds']:.1f} s"


def _parts(train: Data, validation: Data | None, validation_split: float, rng: Key) -> dict[str, Data]:
    """The training data and, if there are any, the validation data."""
    check_data("fit", train)
    if validation is not None:
        check_data("fit, validation", validation)
        if validation_split:
            raise ValueError("fit: give validation data or validation_split, not both")
    elif checks.real("fit", "validation_split", validation_split):
        fraction = checks.proper_fraction("fit", "validation_split", validation_split)
        train, validation = split(train, fraction, fold(rng, "split"))
    return {"train": train} | ({} if validation is None else {"validation": validation})


def _files(checkpoint: Any, every: int, resume: Any) -> tuple[Path | None, Path | None]:
    """The file to save to and the file to read."""
    if checkpoint is None and every != 1:
        raise ValueError(f"fit: {every=} is the number of epochs between checkpoints; give checkpoint=path too")
    store = None if checkpoint is None else checks.path("fit", checkpoint, "checkpoint")
    if store is not None:
        check_replaceable(store)
    return store, None if resume is None else checks.path("fit", resume, "resume")


def _checked_state(opt_state: Tree | None, start: int) -> Tree:
    """The state of the optimizer, or an error if it is not that after this number of steps."""
    if opt_state is None:
        raise ValueError(f"fit: start={start} goes on with an earlier run, so it needs the opt_state of that run too")
    try:
        step = current_step(opt_state)
    except ValueError:  # nothing in it counts steps
        return opt_state
    if step != start:
        raise ValueError(
            f"fit: start={start}, but opt_state is that after step {step}; pass start=current_step(opt_state) to go on "
            "with that run, or leave out opt_state to start a new one"
        )
    return opt_state
