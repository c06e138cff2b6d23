"""The training loop: run the model, compute the gradient, let the optimizer update the parameters.

A step is a pure function of (parameters, optimizer state, batch, key), and ``fit`` is a loop over it that keeps a
record. Where you need another loop, write it with ``value_and_grad``, ``batches`` and ``evaluate``.
"""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Params, Rng, Tree
from funcnn.engine.memory import empty_like
from funcnn.inspect.calibrate import calibrate
from funcnn.losses import Loss
from funcnn.optim import as_optimizer, current_rate
from funcnn.protocol import Layer, as_layer
from funcnn.rng import as_key, fold, generator
from funcnn.training.batching import Data, batches, check_data, split, take
from funcnn.training.evaluate import Metric, Record, check_metrics, evaluate, value_and_grad

__all__ = ["Decision", "Fit", "NonFiniteLossError", "fit", "format_record", "progress"]

CALIBRATION_EXAMPLES = 1000
"""The number of training examples on which ``fit`` calibrates batch norm."""


class Fit(NamedTuple):
    """What ``fit`` returns: the parameters, the optimizer's state, and a record for each evaluated epoch."""

    params: Params
    opt_state: Tree
    history: list[Record]


class Decision(NamedTuple):
    """What a callback may return: whether training stops here, and what ``fit`` returns if it stops here."""

    stop: bool
    result: Fit


Callback: TypeAlias = Callable[[Record, Fit], bool | Decision | None]
"""Called after each evaluation, with its record and with what ``fit`` would return if it stopped there.

It returns True to stop, None or False to continue, or a ``Decision``. If several choose a result, the last one counts.
"""


class NonFiniteLossError(FloatingPointError):
    """The loss or a gradient became NaN or infinite; ``result`` is the ``Fit`` of the last evaluation before that."""

    def __init__(self, message: str, result: Fit) -> None:
        super().__init__(message)
        self.result = result


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
    callbacks: Sequence[Callback] = (),
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
        opt_state: to resume a run, the optimizer state it ended with; ``optimizer.init(params)`` by default.
        start: to resume a run, the number of steps it made: the result has the bits of an uninterrupted run.
        evaluate_every: the number of epochs between evaluations; there is always one before training and one at the
            end.
        verbose: whether to print a line for each evaluation, and a progress line on a terminal.
        callbacks: functions ``callback(record, result)``, called after each evaluation, where ``result`` is the Fit so
            far; training stops if one returns True. ``funcnn.callbacks`` has some.

    Returns:
        ``Fit(params, opt_state, history)``. A record has ``epoch``, ``step``, ``seconds`` since the start,
        ``train_loss``, ``train_<metric>`` and the same for ``validation_``, all evaluated in inference mode on all
        examples, and the learning ``rate`` of the last step, if the optimizer's state contains it. For each evaluation,
        and for the parameters returned, layers such as ``batch_norm`` are calibrated on training examples.

    Raises:
        NonFiniteLossError: the loss or a gradient became NaN or infinite. Its ``result`` is the ``Fit`` of the last
            evaluation before that, or what the run started from.
        TypeError: the data are not pairs of arrays or of nested dicts of arrays, the metrics are not a dict, the
            optimizer is not one, the loss or a callback is not a function, or a callback returns something else.
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
    run, key, loss = as_layer(model), as_key(rng), checks.function("fit", "loss", loss)
    metrics, callbacks = check_metrics("fit", metrics), _check_callbacks(callbacks)
    parts = _parts(train, validation, validation_split, key)
    train, sample = parts["train"], _calibration_sample(parts["train"], key)
    epochs, start = checks.size("fit", "epochs", epochs, 0), checks.size("fit", "start", start, 0)
    evaluate_every = checks.size("fit", "evaluate_every", evaluate_every)
    batch_size = checks.size("fit", "batch_size", batch_size)
    per_epoch = math.ceil(check_data("fit", train) / batch_size)
    stream = batches(train, batch_size, epochs, fold(key, "batches"), start)
    optimizer = as_optimizer(optimizer, "fit: expected an optimizer such as adam(1e-3)")
    opt_state = _first_state(optimizer.init, params, start) if opt_state is None else opt_state
    show = progress(per_epoch * epochs - start) if verbose else None
    started, history = time.perf_counter(), list[Record]()
    # The last Fit that others know; once a step has made new arrays, `owned`, the steps after it may write into them.
    good, owned = Fit(params, opt_state, history), False
    decision = Decision(stop=False, result=good)

    def record(epoch: int) -> None:
        nonlocal params, good, owned, decision
        finite_loss = _finite(loss, f"after epoch {epoch}", good)
        params = _calibrated(run, params, sample, finite_loss, key)
        scores: Record = {"epoch": epoch, "step": epoch * per_epoch, "seconds": time.perf_counter() - started}
        for part, data in parts.items():
            found = evaluate(run, params, data, finite_loss, metrics)
            scores |= {f"{part}_{name}": value for name, value in found.items()}
        history.append(scores | _rate(opt_state))
        if show is not None:
            show(0, "")
            print(f"epoch {epoch}/{epochs}  {format_record(scores)}", flush=True)
        good, owned = Fit(params, opt_state, history), False
        decision = _decide(callbacks, good)

    if not start:
        record(0)
    for step, (x, target) in enumerate(stream, start):
        if decision.stop:
            break
        gradient = value_and_grad(run, _finite(loss, f"in step {step}", good))
        value, grads = gradient(params, x, target, fold(key, step))
        _check_finite(grads, f"in step {step} of epoch {step // per_epoch + 1}", good)
        with _interrupts_deferred():
            if optimizer.donates and not owned:
                params, opt_state, owned = tree.map(_copied, params), tree.map(_copied, opt_state), True
            params, opt_state = optimizer.step(grads, opt_state, params, donate=owned)
        if show is not None:
            show(step + 1 - start, f"loss {value:.4f}")
        epoch, rest = divmod(step + 1, per_epoch)
        if not rest and (epoch % evaluate_every == 0 or epoch == epochs):
            record(epoch)
    return decision.result


def progress(total: int, stream: Any = None) -> Callable[[int, str], None]:
    """One line that shows the step, the speed and the remaining time of a loop.

    Args:
        total: the number of steps of the loop.
        stream: the stream to write to; ``sys.stderr`` by default. Nothing is written unless it is a terminal.

    Returns:
        ``show(done, text)``, to be called after each step; it writes ten times a second at most, and clears its line
        after the last step, or if ``text`` is empty.

    Example:
        >>> show = progress(100)
        >>> show(1, "loss 2.3026")
    """
    out = sys.stderr if stream is None else stream
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
        out.write(f"\r{line if running else '':<79}\r")
        out.flush()

    return show


def format_record(record: Record) -> str:
    """A record as one line: losses and metrics with four decimals, and the time.

    Example:
        >>> format_record({"epoch": 1, "seconds": 2.0, "train_loss": 0.25, "train_accuracy": 0.9})
        'train loss 0.2500, train accuracy 0.9000; 2.0 s'
    """
    words = [
        f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in record.items()
        if name not in ("epoch", "step", "seconds")
    ]
    return ", ".join(words) + f"; {record['seconds']:.1f} s"


def _check_callbacks(callbacks: Sequence[Callback]) -> Sequence[Callback]:
    """The callbacks, or an error if they are not functions."""
    if not isinstance(callbacks, tuple | list) or not all(callable(callback) for callback in callbacks):
        raise TypeError(f"fit: expected callbacks as a tuple of functions callback(record, result), got {callbacks!r}")
    return callbacks


def _decide(callbacks: Sequence[Callback], latest: Fit) -> Decision:
    """Call all callbacks: one is enough to stop, and the last result that one chose counts."""
    decision = Decision(False, latest)
    for callback in callbacks:
        returned = callback(latest.history[-1], latest)
        if not isinstance(returned, Decision):
            if not isinstance(returned, bool | np.bool_ | None):
                raise TypeError(
                    f"fit: a callback must return True, a Decision or None, but {callback!r} returned {returned!r}"
                )
            returned = Decision(bool(returned), decision.result)
        decision = Decision(decision.stop or returned.stop, returned.result)
    return decision


def _rate(opt_state: Tree) -> Record:
    """The learning rate of the last step, for the record; empty before the first step, and if it is not known."""
    known = isinstance(opt_state, dict) and "scale_by_rate" in opt_state
    rate = current_rate(opt_state) if known else math.nan
    return {} if math.isnan(rate) else {"rate": rate}


def _parts(train: Data, validation: Data | None, validation_split: float, rng: Rng) -> dict[str, Data]:
    """The training data and, if there are any, the validation data."""
    check_data("fit", train)
    if validation is not None:
        check_data("fit, validation", validation)
        if validation_split:
            raise ValueError("fit: give validation data or validation_split, not both")
    elif validation_split:
        fraction = checks.proper_fraction("fit", "validation_split", validation_split)
        train, validation = split(train, fraction, fold(rng, "split"))
    return {"train": train} | ({} if validation is None else {"validation": validation})


def _first_state(init: Callable[..., Any], params: Params, start: int) -> Tree:
    """The state of an optimizer before its first step."""
    if start:
        raise ValueError(f"fit: start={start} goes on with an earlier run, so it needs the opt_state of that run too")
    return init(params)


def _calibration_sample(data: Data, rng: Rng) -> Data:
    """Random training examples: the first ones may all be of one class."""
    index = generator(fold(rng, "calibrate")).permutation(check_data("fit", data))[:CALIBRATION_EXAMPLES]
    sample: Data = take(data, index)
    return sample


def _calibrated(model: Layer, params: Params, sample: Data, finite_loss: Loss, rng: Rng) -> Params:
    """The parameters with calibrated batch norms, ready for inference."""
    x, target = sample
    try:
        return calibrate(model, params, x)
    except ValueError:
        # To a batch norm, NaN parameters look like those that were never calibrated; then the training loss is NaN too.
        finite_loss(model.apply(params, x, rng)[0], target)
        raise


def _finite(loss: Loss, when: str, good: Fit) -> Loss:
    """The same loss, but it raises if its value is NaN or infinite, before the parameters become so."""

    def finite_loss(y: Tree, target: Tree) -> tuple[float, Tree]:
        value, dy = loss(y, target)
        if not math.isfinite(value):
            raise _diverged(f"the loss is {value} {when}", good)
        return value, dy

    return finite_loss


def _check_finite(grads: Tree, when: str, good: Fit) -> None:
    """Raise if a gradient has an element that is NaN or infinite."""
    with np.errstate(all="ignore"):
        for path, g in tree.flatten(grads).items():
            # A finite sum has finite terms only, and takes half the time; a sum may overflow.
            if g is not None and not math.isfinite(np.sum(g)) and not np.isfinite(g).all():
                raise _diverged(f"the gradient of {path or 'the parameter'} is not finite {when}", good)


def _diverged(what: str, good: Fit) -> NonFiniteLossError:
    """The error of a run that diverged."""
    return NonFiniteLossError(
        f"{what}; try a smaller learning rate or chain(clip_by_global_norm(1.0), ...), or look for NaN in the data. "
        "The parameters, optimizer state and history of the last evaluation before are in this error's .result",
        good,
    )


def _copied(leaf: Any) -> Any:
    """A copy of an array; what is not a plain array is left to the checks of the optimizer."""
    if type(leaf) is not np.ndarray:
        return leaf
    copy = empty_like(leaf)
    copy[...] = leaf
    return copy


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C wait for the end of a step, so that nobody, not even a debugger, finds arrays that are half written.

    Only where Python's own handler would raise ``KeyboardInterrupt`` here: in the main thread.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interrupts: list[Any] = []
    signal.signal(signal.SIGINT, lambda *interrupt: interrupts.append(interrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if interrupts:
            signal.default_int_handler(*interrupts[0])
