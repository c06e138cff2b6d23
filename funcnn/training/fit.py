"""The training loop: run the model, compute the gradient, let the optimizer update the parameters.

A step is a pure function of (parameters, optimizer state, batch, key), and ``fit`` is a loop over it that keeps a
record. Where you need another loop, write it with ``value_and_grad``, ``batches`` and ``evaluate``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Data, DataOrBatches, Key, Params, Rng, Tree
from funcnn.calls import explained
from funcnn.interchange.files import check_replaceable
from funcnn.losses import Loss
from funcnn.optim import Optimizer, OptimizerLike, as_optimizer, current_step
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.rng import as_key, fold
from funcnn.training.batching import (
    batches,
    check_augment,
    check_data,
    made_batch,
    split,
    weights_of,
)
from funcnn.training.evaluate import Metric, check_metrics, check_takes_weights, checked_loss
from funcnn.training.interrupts import Deferral, interrupts_deferrable
from funcnn.training.loop import CALIBRATION_EXAMPLES, Loop, Store, attach
from funcnn.training.prefetch import in_order
from funcnn.training.printed import Printed
from funcnn.training.ranks import digest_of, on_all_ranks, ranks_of
from funcnn.training.run import (
    Callback,
    CallbackLike,
    Decision,
    Fit,
    NonFiniteLossError,
    Run,
    Saved,
    as_callbacks,
    begin,
    first_states,
)
from funcnn.training.run_file import fingerprint_of, load_run
from funcnn.training.sharded import sharded_batches
from funcnn.training.sources import readable
from funcnn.training.stream import UNKNOWN, Stream, is_stream

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

__all__ = ["Callback", "CallbackLike", "Decision", "Fit", "NonFiniteLossError", "fit"]


@on_all_ranks
@explained
def fit(
    model: LayerLike,
    params: Params,
    optimizer: OptimizerLike,
    train: DataOrBatches,
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
    callbacks: Sequence[CallbackLike] = (),
    checkpoint: str | Path | None = None,
    every: int = 1,
    resume: str | Path | None = None,
    augment: Callable[..., Any] | None = None,
    workers: int = 0,
    *,
    comm: Intracomm | None = None,
) -> Fit:
    """Train a model and record its losses and metrics.

    Args:
        model: a layer or a pair.
        params: the parameters to start from; ``model.init(shape, rng)``.
        optimizer: ``adam(1e-3)``, for example, or a pair ``(init, update)`` of your own.
        train: ``(x, target)``; each is an array or, for several inputs or outputs, a nested dict of arrays. Or
            ``(x, target, weights)``: weights are an array of shape (n,), or of more leading axes of y, and say how much
            each example counts. They go to the loss and the metrics as their keyword ``weights``, those of a batch in
            each step. A batch whose weights are all 0 has a loss and a gradient of 0. Arrays may lie in files and be
            larger than memory, as in ``batches``; their targets and weights are read whole for an evaluation. Or an
            iterable of such batches, which starts again for each epoch, or an iterator of them for one epoch: they are
            trained on as they come, ``batch_size`` is that of evaluations, and the records are of the first 1000
            examples in place of all. With ``resume`` the batches before are passed over.
        loss: ``loss(y, target) -> (value, dy)``, with dy like y.
        epochs: the number of passes over the training data, ``>= 0``.
        batch_size: the number of examples in a step.
        rng: the key of everything random: the split, the batches, and step s trains under ``fold(rng, s)``.
        metrics: ``{name: metric}``, evaluated together with the loss; each is ``metric(y, target) -> number``.
        validation: ``(x, target)`` or ``(x, target, weights)`` to evaluate on, not to train on.
        validation_split: instead, the fraction of ``train`` to split off for validation, as ``split`` does: stratified
            by class if the target is an array of classes, and with its weights if there are some.
        opt_state: to go on after a loop of your own, the optimizer state it ended with; ``optimizer.init(params)`` by
            default.
        start: to go on after a loop of your own, the number of steps it made, which is also that of ``opt_state``.
        evaluate_every: the number of epochs between evaluations; there is always one before training and one at the
            end.
        verbose: whether to print a line for each evaluation and one about the best epoch at the end, and to show the
            progress on a terminal and in a notebook. Without it, nothing is printed, also no warnings of NumPy.
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
        augment: ``augment(batch, rng) -> batch``, for each batch to train on, as in ``batches``: one of
            ``funcnn.augment``, for example. Evaluations are on the data as they are.
        workers: the number of threads that read and augment batches ahead of training, ``>= 0``. It changes no bit.
        comm: a communicator of mpi4py whose ranks train together, ``MPI.COMM_WORLD``; all call ``fit`` with the same
            arguments, and each computes a shard of each batch and of each evaluation. The result is the same on all
            ranks and, to rounding, for any number of them; ``distributed.value_and_grad`` says more. Rank 0 alone
            prints, calls the callbacks, whose decisions all follow, and reads and writes the files.

    Returns:
        ``Fit(params, opt_state, history)``, whose ``best`` is the record of the best epoch. A record has ``epoch``,
        ``step``, ``seconds`` since the start, ``train_loss``, ``train_<metric>`` and the same for ``validation_``, all
        evaluated in inference mode on all examples, and the learning ``rate`` of the last step, without the scale of
        ``reduce_on_plateau``, if the optimizer is a chain with one, also inside ``accumulate`` or ``skip_non_finite``.
        For each evaluation, and for the parameters returned, layers such as ``batch_norm`` are calibrated on training
        examples. Both take ``batch_size`` examples at a time.

    Raises:
        NonFiniteLossError: the loss, a gradient or a parameter became NaN or infinite, or so did the optimizer state,
            which is checked at each evaluation. Its ``result`` is the ``Fit`` of the last evaluation before that, or
            what the run started from.
        TypeError: the data are not pairs of arrays or of nested dicts of arrays, the metrics are not a dict, the
            optimizer is not one, the loss, a metric or a callback is not a function or returns something else, or the
            loss or a metric takes no weights where the data have some.
        ValueError: lengths differ, there is no example, a number is out of range, weights are negative, not finite or
            all zero, both kinds of validation data are given, ``start`` is not the step of ``opt_state``, or the file
            holds another run, or the ranks differ; the message says in what.
        RankError: another rank has raised an error or has ended.
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
    layer = as_layer(model)
    tree.check_parameters(params, "fit", "fit(model, params, optimizer, (x, target), loss, epochs)")
    optimizer = as_optimizer(optimizer, "fit: expected an optimizer such as adam(1e-3)")
    key, followers = as_key(rng), as_callbacks(callbacks)
    epochs, start = checks.size("fit", "epochs", epochs, 0), checks.size("fit", "start", start, 0)
    stream = _stream(train, epochs, validation_split, comm) if is_stream(train) else None
    data, validation = readable("fit", stream.sample if stream else train), readable("fit, validation", validation)
    parts = _parts(data, validation, validation_split, key)
    ranks = None if comm is None else ranks_of("fit", comm)
    if ranks is not None and ranks.rank:  # rank 0 reads, writes, prints and calls the callbacks for all
        checkpoint, every, resume, verbose, followers = None, 1, None, False, ()
    verbose = checks.flag("fit", "verbose", verbose)
    checked, metrics = checked_loss("fit", loss), check_metrics("fit", metrics)
    if any(weights_of(part) is not None for part in parts.values()):
        check_takes_weights("fit", loss, metrics)
    evaluate_every, every = checks.size("fit", "evaluate_every", evaluate_every), checks.size("fit", "every", every)
    batch_size, workers = checks.size("fit", "batch_size", batch_size), checks.size("fit", "workers", workers, 0)
    augmented = {} if check_augment("fit", augment) is None else {"augment": augment}
    steps = UNKNOWN if stream else math.ceil(check_data("fit", parts["train"]) / batch_size)
    store, source = _files(checkpoint, every, resume)
    fingerprint: Mapping[str, str] = {}
    if store is not None or source is not None or ranks is not None:
        fingerprint = fingerprint_of(
            key, params, {"train": data, "validation": validation}, followers, model=layer, optimizer=optimizer,
            loss=loss, metrics=list(metrics), batch_size=batch_size, validation_split=float(validation_split),
            evaluate_every=evaluate_every, **augmented,
        )  # fmt: skip
    saved = _saved(source, fingerprint, params, optimizer, opt_state, start, followers, steps, epochs)
    begin(followers)
    if ranks is not None:
        ranks.check_same("fit", _digest(layer, params, fingerprint, epochs, start))
        saved = ranks.from_first("run", lambda: saved)
        saved = saved if followers else saved._replace(run=saved.run._replace(states=()))
    printed = Printed(verbose, epochs, saved.run.step, stream.steps if stream else steps * epochs)

    def loop(deferral: Deferral) -> Loop:
        made = Loop(
            layer, optimizer, checked, metrics, parts, key, batch_size, epochs, evaluate_every, followers,
            None if store is None else Store(store, every, fingerprint), printed.record, deferral, steps, *saved,
            ranks=ranks,
        )  # fmt: skip
        made.saved = saved.run if store == source else None
        return made

    def drawn(first: int) -> Generator[Any, None, None]:
        order = fold(key, "batches")
        if stream:
            return in_order(partial(_prepared, augment, order), stream.tasks(first), workers)
        cut = batches if ranks is None else partial(sharded_batches, ranks)
        return cut(parts["train"], batch_size, epochs, order, first, augment, workers)

    return _run(loop, drawn, printed, evaluate_first=not start, quiet=not verbose)


def _run(
    make_loop: Callable[[Deferral], Loop],
    drawn: Callable[[int], Generator[Any, None, None]],
    printed: Printed,
    evaluate_first: bool,
    quiet: bool,
) -> Fit:
    """The run from its start to its end; an error or an interrupt carries what was reached.

    Args:
        make_loop: makes the loop, with what defers an interrupt.
        drawn: ``drawn(step)``, the batches from a step on.
        printed: what is printed.
        evaluate_first: whether there may be an evaluation before the first step.
        quiet: whether NumPy's warnings are silenced.
    """
    # NumPy need not warn of an overflow: if it matters, it becomes an error of fit.
    silenced: Any = {kind: "ignore" for kind, mode in np.geterr().items() if mode == "warn" and quiet}
    result: Fit | None = None
    try:
        with interrupts_deferrable() as deferral, np.errstate(**silenced):
            loop = make_loop(deferral)
            try:
                if evaluate_first:
                    loop.epoch_ended()
                _make_steps(loop, drawn(loop.run.step), printed)
                result = loop.end()
                printed.end(result)
                return result
            except BaseException as error:
                loop.rescue(error)
                raise
    except KeyboardInterrupt as error:
        if result is not None:  # it came after the end of the run
            attach(error, result)
        raise


def _make_steps(loop: Loop, drawn: Generator[Any, None, None], printed: Printed) -> None:
    """A step for each batch, and what is due at the end of an epoch, until a callback stops the run."""
    with closing(drawn):  # after an error, its threads would live on
        for batch in drawn:
            if loop.decision.stop:
                break
            if isinstance(batch, int):  # the end of a pass over a stream
                loop.steps = batch
                loop.epoch_ended()
                continue
            value = loop.step(*batch)
            printed.step(loop.run.step, value)
            loop.epoch_ended()


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
        for name, part in {"train": train, "validation": validation}.items():  # one may have all weights that are not 0
            check_data(f"fit, validation_split, the {name} part", part)
    return {"train": train} | ({} if validation is None else {"validation": validation})


def _prepared(augment: Callable[..., Any] | None, key: Key, task: Any) -> Any:
    """A batch of a stream to train on; the end of a pass as it is."""
    step, batch = task
    return batch if step is None else made_batch(step, lambda: batch, augment, key)


def _digest(layer: Layer, params: Params, fingerprint: Mapping[str, str], epochs: int, start: int) -> dict[str, str]:
    """What ranks must have in common, by path; rank 0 alone needs callbacks."""
    digest = digest_of(layer, {"params": params}, epochs=epochs, start=start)
    replaced = ("model", "initial parameters", "callbacks with a state")
    return digest | {name: text for name, text in fingerprint.items() if name not in replaced}


def _files(checkpoint: Any, every: int, resume: Any) -> tuple[Path | None, Path | None]:
    """The file to save to and the file to read."""
    if checkpoint is None and every != 1:
        raise ValueError(f"fit: {every=} is the number of epochs between checkpoints; give checkpoint=path too")
    store = None if checkpoint is None else checks.path("fit", checkpoint, "checkpoint")
    if store is not None:
        check_replaceable(store)
    return store, None if resume is None else checks.path("fit", resume, "resume")


def _stream(train: Any, epochs: int, validation_split: float, comm: Any) -> Stream:
    """The batches of an iterable, or an error where all examples are needed at once."""
    stream = Stream(train, epochs, CALIBRATION_EXAMPLES)
    if validation_split:
        raise ValueError("fit: validation_split needs all examples; with an iterator give validation=(x, target)")
    if comm is not None:
        raise ValueError("fit: comm needs data that can be indexed, of which ranks read shards, got an iterator")
    return stream


def _saved(
    source: Path | None, fingerprint: Mapping[str, str], params: Params, optimizer: Optimizer, opt_state: Tree | None,
    start: int, followers: Sequence[Any], steps: int, epochs: int,
) -> Saved:  # fmt: skip
    """Where the run starts, at its beginning or as a file has it; an error if that is another run or a longer one."""
    if source is None:
        first = _first_state(optimizer, params, opt_state, start)
        return Saved(Run(params, first, start, first_states(followers)), [])
    if start or opt_state is not None:
        raise ValueError("fit: give resume, or opt_state and start, not both; the file of a run holds all of it")
    known = optimizer.init(params) if optimizer.donates else None  # states of one's own may change their shape
    saved = load_run(source, fingerprint, params, known, followers)
    if saved.run.step > steps * epochs:
        raise ValueError(f"fit: {source} holds {saved.run.step} steps, more than the {steps * epochs} of {epochs=}")
    return saved


def _first_state(optimizer: Optimizer, params: Params, opt_state: Tree | None, start: int) -> Tree:
    """The state of the optimizer, or an error if the one given is not that after this number of steps."""
    if opt_state is None and not start:
        return optimizer.init(params)
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
