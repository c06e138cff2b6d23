"""The loop of ``fit``: steps, evaluations, and the end of a run, regular or by an error.

The run is a value, of which each step makes the next. After an evaluation the first step makes new arrays, and those
after it write into them: what callbacks, files and ``.result`` were given stays what it was.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Data, Key, Params, Tree
from funcnn.engine.memory import empty_like
from funcnn.inspect.calibrate import calibrated
from funcnn.inspect.nonfinite import NonFiniteError, debug_nonfinite
from funcnn.inspect.traverse import every_layer
from funcnn.optim import Optimizer, current_rate
from funcnn.optim.state import aligned
from funcnn.protocol import Layer
from funcnn.rng import fold, generator
from funcnn.training.batching import check_data, take
from funcnn.training.evaluate import CheckedLoss, Metric, Record, predict, scores
from funcnn.training.interrupts import Deferral
from funcnn.training.ranks import Ranks
from funcnn.training.run import Callback, Decision, Fit, NonFiniteLossError, Run, decide
from funcnn.training.run_file import save_run
from funcnn.training.sharded import loss_and_grads, sharded_predict
from funcnn.training.stream import UNKNOWN

__all__ = ["Loop", "Store", "attach"]

CALIBRATION_EXAMPLES = 1000
"""The number of training examples on which ``fit`` calibrates batch norm."""


@dataclass(frozen=True)
class Store:
    """Where a run is saved, and every how many epochs; the fingerprint says what the run is of."""

    path: Path
    every: int
    fingerprint: Mapping[str, str]


@dataclass
class Loop:
    """One call of ``fit``.

    Args:
        layer, optimizer, loss, metrics, parts, key, batch_size, epochs, evaluate_every, callbacks: as given to ``fit``,
            checked; ``parts`` are the training data and perhaps validation data, by name.
        store: where to save the run.
        report: called with each record and the one before it, before the callbacks.
        deferral: surrounds what Ctrl-C may not interrupt.
        steps: the number of steps in an epoch.
        run: where the loop starts.
        history: the records before that.
        seconds: how long the run has been going on before that.
        chosen: what ``fit`` returns if the run does not go on from there.
        ranks: those that train together; the callbacks run on rank 0, whose decisions all follow.
    """

    layer: Layer
    optimizer: Optimizer
    loss: CheckedLoss
    metrics: Mapping[str, Metric]
    parts: Mapping[str, Data]
    key: Key
    batch_size: int
    epochs: int
    evaluate_every: int
    callbacks: Sequence[Any]
    store: Store | None
    report: Callable[[Record, Record | None], None]
    deferral: Deferral
    steps: int
    run: Run
    history: list[Record]
    seconds: float = 0.0
    chosen: Fit | None = None
    ranks: Ranks | None = None

    def __post_init__(self) -> None:
        examples = check_data("fit", self.parts["train"])
        # Random examples: the first ones may all be of one class.
        self.sample = generator(fold(self.key, "calibrate")).permutation(examples)[:CALIBRATION_EXAMPLES]
        # Those that are not finite at first, such as the rate of the last step before there was one.
        self.undefined = frozenset(self.nonfinite_state())
        self.started = time.perf_counter() - self.seconds
        self.first = self.run.step
        self.measures = any(layer.measure is not None for _, layer in every_layer(self.layer))
        # The run at its last evaluation, as others know it; none of its arrays is ever written to.
        self.evaluated, self.good = self.run, Fit(self.run.params, self.run.opt_state, self.history)
        self.good_step = self.first
        self.decision = Decision(self.run.stopped, self.chosen or self.good)
        self.saved: Run | None = None
        self.states = [*self.run.states]  # newer than those of the run if a callback after the first has raised
        self.ends = self.each_end()  # one iterator, so that each is called once, also after an error in one of them
        # Whether the arrays of the run are the loop's own, and whether a step is writing into them.
        self.owned = self.writing = False
        # A loop of one's own may not have measured the statistics of batch norm, which are NaN until then.
        self.unmeasured = frozenset(_nonfinite_paths(self.run.params)) if self.first else frozenset[str]()

    # The run

    def step(self, x: Tree, target: Tree, weights: Array | None = None) -> float:
        """Make one step, and return the loss before it."""
        run, key = self.run, fold(self.key, self.run.step)
        try:
            value, grads = self.loss_and_grads(run.params, (x, target, weights), key)
        except _NonFiniteLoss as error:
            raise self.diverged(str(error), run, self.repeated(run.params, (x, target, weights), key)) from None
        if path := _first_nonfinite(run.params, grads, grads):
            repeat = self.repeated(run.params, (x, target, weights), key)
            raise self.diverged(f"the gradient of {path} is not finite", run, repeat)
        with self.deferral:
            params, opt_state = run.params, run.opt_state
            if not self.owned and self.optimizer.donates:
                params, opt_state, self.owned = tree.map(_copied, params), tree.map(_copied, opt_state), True
            self.writing = self.owned
            params, opt_state = self.optimizer.step(grads, opt_state, params, donate=self.owned)
            self.run = Run(params, opt_state, run.step + 1, run.states, run.records)
            self.writing = False
        if path := _first_nonfinite(params, params, grads, self.unmeasured):
            raise self.diverged(f"the parameter {path} is not finite after the update", run)
        return value

    def loss_and_grads(self, params: Params, batch: tuple[Tree, Tree, Array | None], key: Key) -> tuple[float, Params]:
        """The loss and the gradients of a batch, or of the batch of which each rank has a shard."""
        if self.ranks is not None:
            return loss_and_grads(self.ranks, self.layer, self.finite_loss, params, batch, key)
        x, target, weights = batch
        y, vjp_fn = self.layer.apply(params, x, key)
        value, dy = self.finite_loss(y, target, weights)
        grads, _ = vjp_fn(dy, input_grad=False)
        return value, grads

    def on_first(self, what: str, compute: Callable[[], Any]) -> Any:
        """What rank 0 computes, on all ranks; without ranks, what is computed."""
        return compute() if self.ranks is None else self.ranks.from_first(what, compute)

    def epoch_ended(self) -> None:
        """Evaluate and save, if this is the end of an epoch in which that is due."""
        epoch, rest = divmod(self.run.step, self.steps)
        if rest:
            return
        due = epoch % self.evaluate_every == 0 or epoch == self.epochs
        if due and not (self.history and self.history[-1]["epoch"] == epoch):
            self.evaluate(epoch)
        if self.store is not None and epoch % self.store.every == 0:
            with self.deferral:
                self.save()

    def evaluate(self, epoch: int) -> None:
        """Calibrate, record the scores, and let the callbacks decide."""
        run = self.run
        outputs = predict if self.ranks is None else partial(sharded_predict, self.ranks)
        try:
            params = run.params
            if self.measures:
                params = self.on_first("calibration", lambda: self.calibrated(run.params))
            seconds = self.on_first("clock", lambda: time.perf_counter() - self.started)
            record: Record = {"epoch": epoch, "step": run.step, "seconds": seconds}
            for part, data in self.parts.items():
                found = scores(self.layer, params, data, self.finite_loss, self.metrics, self.batch_size, outputs)
                record |= {f"{part}_{name}": value for name, value in found.items()}
        except _NonFiniteLoss as error:
            raise self.diverged(f"{error} after epoch {epoch}", None, self.predicted(run.params)) from None
        if path := next((path for path in self.nonfinite_state() if path not in self.undefined), ""):
            raise self.diverged(f"{path} in the optimizer state is not finite after epoch {epoch}", None)
        self.report(record, self.history[-1] if self.history else None)
        self.history.append(record | _rate(run.opt_state))
        self.good, self.good_step = Fit(params, run.opt_state, self.history), run.step
        self.decision, stopped = self.decided()
        opt_state = run.opt_state if self.decision.opt_state is None else self.decision.opt_state
        self.run = Run(params, opt_state, run.step, tuple(self.states), len(self.history), stopped)
        self.evaluated = self.run
        self.owned, self.unmeasured = False, frozenset()

    def decided(self) -> tuple[Decision, bool]:
        """What the callbacks decide, and whether one with a state has stopped the run; on rank 0 for all."""
        chosen: Fit | None = self.good

        def follow() -> tuple[bool, Tree | None, bool]:
            nonlocal chosen
            (stop, chosen, opt_state), stopped = decide(self.callbacks, self.states, self.good)
            return stop, opt_state, stopped

        stop, opt_state, stopped = self.on_first("callbacks", follow)
        return Decision(stop, chosen, opt_state), stopped

    def calibrated(self, params: Params) -> Params:
        """The parameters with calibrated batch norms, ready for inference."""
        train, size = self.parts["train"], self.batch_size

        def batch(start: int) -> Any:
            return take(train, self.sample[start : start + size])

        try:
            return calibrated(self.layer, params, lambda start: batch(start)[0], range(0, len(self.sample), size))
        except ValueError:
            # To a batch norm, values that overflowed look like statistics that nobody has measured; in training the
            # loss is NaN then.
            x, *rest = batch(0)
            self.finite_loss(self.layer.apply(params, x, self.key)[0], *rest)
            raise

    # The end

    def end(self) -> Fit:
        """Save what is not saved yet, tell the callbacks, and return what they chose."""
        with self.deferral:
            self.save()
            for end, state in self.ends:
                end(state)
        result: Fit = self.on_first("result", lambda: self.decision.result)
        return result

    def rescue(self, error: BaseException) -> None:
        """After an error or Ctrl-C: the error carries the last result, and what was to be saved is saved.

        Another Ctrl-C waits for the files; then it takes the place of the error, and carries the same.
        """
        broken = self.writing or isinstance(error, NonFiniteLossError)
        run = self.evaluated if broken else self.run
        as_evaluated = run.step == self.good_step
        result = self.good if as_evaluated else Fit(run.params, run.opt_state, self.history)
        try:
            with self.deferral:
                self.keep(error, run, result)
            if not as_evaluated:
                _noting(
                    error, "the batch norms in .result are not calibrated",
                    lambda: attach(error, result._replace(params=self.calibrated(run.params))),
                )  # fmt: skip
        except KeyboardInterrupt as interrupt:
            attach(interrupt, result)
            raise

    def keep(self, error: BaseException, run: Run, result: Fit) -> None:
        """Attach the result to the error, save the run, and tell the callbacks."""
        attach(error, result)
        if run.step > self.first and not isinstance(error, NonFiniteLossError):
            of_all = "" if self.steps == UNKNOWN else f" of {self.steps * self.epochs}"
            error.add_note(
                f"fit: what training had reached after step {run.step}{of_all} is in this "
                "error's .result: parameters, optimizer state and history"
            )
        # The file may be newer than the last evaluation.
        if self.store is not None and run.step > self.first and (self.saved is None or run.step >= self.saved.step):
            _noting(error, f"the run is not saved in {self.store.path}", self.save, run)
        for end, state in self.ends:
            _noting(error, "a callback could not end", end, state)

    def save(self, run: Run | None = None) -> None:
        """Save the run, its current state by default; at its end, with what ``fit`` returns if that is another one."""
        run = self.run if run is None else run
        if self.store is not None and run is not self.saved:
            ended = run.stopped or run.step == self.steps * self.epochs
            result = self.decision.result if ended else None
            seconds = time.perf_counter() - self.started
            history = self.history[: run.records]
            save_run(self.store.path, self.store.fingerprint, run, history, seconds, self.steps, result)
            self.saved = run

    def each_end(self) -> Iterator[tuple[Callable[[Any], None], Any]]:
        """What the callbacks do in the end, and their states."""
        pairs = (callback for callback in self.callbacks if isinstance(callback, Callback))
        for callback, state in zip(pairs, self.states, strict=True):
            if callback.end is not None:
                yield callback.end, state

    # What is not finite

    def nonfinite_state(self) -> Iterator[str]:
        """The paths of what is not finite in the optimizer state; what that of another library holds is not known."""
        return _nonfinite_paths(self.run.opt_state) if self.optimizer.donates else iter(())

    def finite_loss(self, y: Tree, target: Tree, weights: Array | None = None) -> tuple[float, Tree]:
        """The loss, but it raises if its value is NaN or infinite, before the parameters become so."""
        value, dy = self.loss(y, target, weights)
        if not math.isfinite(value):
            raise _NonFiniteLoss(f"the loss is {value}")
        return value, dy

    def diverged(self, what: str, run: Run | None, repeat: Callable[[Layer], Any] | None = None) -> NonFiniteLossError:
        """The error of a run that diverged, in a step of a run or in an evaluation; ``repeat`` finds the layer."""
        where = "" if run is None else f" in step {run.step} of epoch {run.step // self.steps + 1}"
        origin = "" if repeat is None else self.origin(repeat)
        return NonFiniteLossError(
            f"{what}{where}{origin}; try a smaller learning rate or chain(clip_by_global_norm(1.0), ...), or look for "
            "NaN in the data. The parameters, optimizer state and history of the last evaluation before are in this "
            "error's .result",
            self.good,
        )

    def origin(self, repeat: Callable[[Layer], Any]) -> str:
        """The first layer that made NaN or infinity, for a message; empty if that does not happen again."""
        try:
            with np.errstate(all="ignore"):
                repeat(debug_nonfinite(self.layer))
        except NonFiniteError as error:
            return f"; first in {error}"
        except Exception:  # such as that of a batch norm without statistics; the first error is the one to report
            return ""
        return ""

    def repeated(self, params: Params, batch: tuple[Tree, Tree, Array | None], key: Key) -> Callable[[Layer], Any]:
        """The forward and the backward pass of a step once more, of a model that checks each layer."""
        x, target, weights = batch

        def repeat(layer: Layer) -> None:
            y, vjp_fn = layer.apply(params, x, key)
            vjp_fn(self.loss(y, target, weights)[1], input_grad=False)

        return repeat

    def predicted(self, params: Params) -> Callable[[Layer], Any]:
        """The predictions of an evaluation once more, of a model that checks each layer."""
        return lambda layer: [
            scores(layer, self.calibrated(params), data, self.loss, {}, self.batch_size) for data in self.parts.values()
        ]


class _NonFiniteLoss(Exception):
    """The loss is NaN or infinite."""


def _first_nonfinite(params: Params, values: Tree, grads: Tree, known: frozenset[str] = frozenset()) -> str:
    """The path of the first of some values, in the order of the parameters, that is not finite and has a gradient."""
    leaves = aligned(params, values)
    gradients = leaves if values is grads else aligned(params, grads)
    if leaves is None or gradients is None:  # the optimizer says in what they differ
        return ""
    pairs = zip(leaves, gradients, strict=True)
    if all(g is None or type(leaf) is not np.ndarray or _finite(leaf) for leaf, g in pairs):
        return ""
    paths = [path or "the model" for path in _paths(params)]
    for path, leaf, g in zip(paths, leaves, gradients, strict=True):
        if g is not None and type(leaf) is np.ndarray and not _finite(leaf) and path not in known:
            return path
    return ""


def _nonfinite_paths(params: Params) -> Iterator[str]:
    """The paths of the parameters that are not finite."""
    for path, leaf in tree.flatten(params).items():
        if type(leaf) is np.ndarray and not _finite(leaf):
            yield path


def _paths(params: Params) -> list[str]:
    """The paths of all leaves in the order of the tree, which is that of the layers."""
    paths: list[str] = []
    tree.map_with_path(lambda path, leaf: paths.append(path), params)
    return paths


def _finite(leaf: Array) -> bool:
    """Whether all elements are finite. Their sum of squares says so fast; if it overflows, look closer."""
    flat = leaf.ravel("K")
    return math.isfinite(np.vdot(flat, flat)) or bool(np.isfinite(leaf).all())


def _rate(opt_state: Tree) -> Record:
    """The learning rate of the last step, for the record; empty before the first step, and if it is not known."""
    while isinstance(opt_state, dict) and "scale_by_rate" not in opt_state:
        opt_state = opt_state.get("optimizer")  # that in accumulate or skip_non_finite
    known = isinstance(opt_state, dict)
    rate = current_rate(opt_state) if known else math.nan
    return {} if math.isnan(rate) else {"rate": rate}


def _copied(leaf: Any) -> Any:
    """A copy of an array; what is not a plain array is left to the checks of the optimizer."""
    if type(leaf) is not np.ndarray:
        return leaf
    copy = empty_like(leaf)
    copy[...] = leaf
    return copy


def attach(error: BaseException, result: Fit) -> None:
    """Give an error its ``.result``."""
    try:
        error.result = result  # type: ignore[attr-defined]
    except (AttributeError, TypeError):  # an exception with slots, or one whose ``result`` is something of its own
        error.add_note("fit: this exception cannot carry a .result")


def _noting(error: BaseException, failed: str, work: Callable[..., Any], *args: Any) -> None:
    """Do something after an error, which gets a note if that fails too."""
    try:
        work(*args)
    except Exception as another:
        error.add_note(f"fit: {failed}: {type(another).__name__}: {another}")
