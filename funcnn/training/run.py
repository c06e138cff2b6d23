"""A run of ``fit`` as a value: what it returns, what decides its future, and the callbacks that follow it.

A callback with a state is a pair of functions, as a layer and an optimizer are: ``fit`` passes the state from one
evaluation to the next, so that it is saved and resumed with everything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from funcnn import checks, notebook, spellings
from funcnn.aliases import Params, Tree
from funcnn.recorded import Call, described, reduced, spelled
from funcnn.training.evaluate import Record, called
from funcnn.wording import shown, uncalled

__all__ = [
    "Callback", "CallbackLike", "Decision", "Fit", "Mode", "NonFiniteLossError", "Run", "Saved", "as_callbacks",
    "begin", "decide", "first_states",
]  # fmt: skip


Mode: TypeAlias = Literal["min", "max"]
"""Whether lower or higher is better."""


class _Fit(NamedTuple):
    """The three that a ``Fit`` is unpacked to."""

    params: Params
    opt_state: Tree
    history: list[Record]


class Fit(_Fit):
    """What ``fit`` returns: ``params, opt_state, history = fit(...)``; in a notebook it shows its curves.

    Args:
        params: the parameters.
        opt_state: the optimizer's state.
        history: a record for each evaluated epoch.
        by: the metric whose best epoch a callback has chosen for the parameters, and its mode: ``("validation_loss",
            "min")``; None if they are those of the last step.

    Example:
        >>> result = Fit({}, {}, [{"epoch": 0, "train_loss": 0.3}, {"epoch": 1, "train_loss": 0.1}])
        >>> result.best
        {'epoch': 1, 'train_loss': 0.1}
        >>> result
        <Fit: epoch 1, best epoch 1 by train loss 0.1000>
    """

    by: tuple[str, Mode] | None = None

    def __new__(cls, params: Params, opt_state: Tree, history: list[Record], by: tuple[str, Mode] | None = None) -> Fit:
        """Make the tuple of three, with ``by`` beside it."""
        self = super().__new__(cls, params, opt_state, history)
        self.by = by
        return self

    def _replace(self, **changes: Any) -> Fit:
        return Fit(**(self._asdict() | {"by": self.by} | changes))

    @property
    def criterion(self) -> tuple[str, Mode]:
        """By which metric an epoch is the best: ``by``, or the lowest validation loss, or else training loss."""
        if self.by is not None:
            return self.by
        validated = any("validation_loss" in record for record in self.history)
        return "validation_loss" if validated else "train_loss", "min"

    @property
    def best(self) -> Record:
        """The record of the best epoch, the first of equal ones; empty if none has a number of the metric."""
        metric, mode = self.criterion
        scored = [record for record in self.history if not math.isnan(record.get(metric, math.nan))]
        return (min if mode == "min" else max)(scored, key=itemgetter(metric), default={})

    if not TYPE_CHECKING:  # which knows of itself what a result has

        def __getattr__(self, name: str) -> Any:
            raise spellings.no_attribute(self, name)

    def __repr__(self) -> str:
        best, metric = self.best, self.criterion[0]
        if not best:
            return "<Fit: not evaluated>"
        last = self.history[-1]
        time = f", total {last['seconds']:.1f} s" if "seconds" in last else ""
        return (
            f"<Fit: epoch {last.get('epoch')}{time}, best epoch {best.get('epoch')} by {metric.replace('_', ' ')} "
            f"{best[metric]:.4f}>"
        )

    def _repr_html_(self) -> str:
        line = notebook.preformatted(repr(self))
        if not self.best:
            return line
        png = notebook.png(notebook.plotted("curves.all_curves", self.history))
        return f'{line}<img src="data:image/png;base64,{png}" alt="learning curves">'


class Decision(NamedTuple):
    """What a callback may return: whether training stops here, and what ``fit`` returns if it stops here.

    ``result`` is None to keep what another callback chose, or else the latest result. ``opt_state``, if it is not None,
    is the state with which the optimizer goes on.

    Example:
        >>> def first_epoch_only(record, result):
        ...     return Decision(stop=True, result=result)
        >>> first_epoch_only({"epoch": 1}, Fit({}, {}, [])).stop
        True
    """

    stop: bool
    result: Fit | None = None
    opt_state: Tree | None = None


Verdict: TypeAlias = bool | np.bool_ | Decision | None
"""True to stop, None or False to continue, or a ``Decision``. If several choose a result, the last one counts."""


@dataclass(frozen=True, eq=False, repr=False)
class Callback:
    """A callback with a state; ``init, update = callback`` unpacks it, and ``fit`` takes such a bare pair too.

    Args:
        init: ``init() -> state``, the state before the first evaluation: a tree of arrays, or a number.
        update: ``update(state, record, result) -> (state, decision)``, called after each evaluation. ``result`` is what
            ``fit`` would return if it stopped there; the decision is True to stop, None or False to continue, or a
            ``Decision``.
        end: ``end(state)``, called once when training ends, also by an error or by Ctrl-C.
        call: the recorded call that made it, which ``repr``, ``pickle`` and ``copy`` read.
        like: ``like(state, result) -> tree``, what the state of a run that is resumed must be like, where ``result``
            holds the parameters and the history of that run. A state that differs raises before training.
        begin: ``begin()``, called once before training; it raises an error if the callback could not do its work, write
            a file for example. A callback that is a function may have it as its attribute.

    Example:
        >>> def update(state, record, result):
        ...     return state + 1, bool(state + 1 >= 3)
        >>> three_evaluations = Callback(lambda: 0, update)
        >>> state = three_evaluations.init()
        >>> three_evaluations.update(state, {"epoch": 0}, Fit({}, {}, []))
        (1, False)
    """

    init: Callable[[], Tree]
    update: Callable[[Any, Record, Fit], tuple[Any, Verdict]]
    end: Callable[[Any], None] | None = None
    call: Call | None = None
    like: Callable[[Any, Fit], Tree] | None = None
    begin: Callable[[], None] | None = None
    kept: list[Any] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.init, self.update))

    def __call__(self, record: Record, result: Fit) -> Verdict:
        """Follow a loop of your own: the state is kept in this object, and a history of one record starts it anew."""
        state = self.kept[0] if self.kept and len(result.history) > 1 else self.init()
        state, verdict = self.update(state, record, result)
        self.kept[:] = [state]
        return verdict

    def __repr__(self) -> str:
        return described(self, f"the pair of {spelled(self.update)}")

    def __reduce__(self) -> Any:
        return reduced(self, repr(self))


CallbackLike: TypeAlias = (
    Callback
    | Callable[[Record, Fit], Verdict]
    | tuple[Callable[[], Any], Callable[[Any, Record, Fit], tuple[Any, Verdict]]]
)
"""What ``fit`` takes as a callback: a ``Callback``, a pair ``(init, update)``, or a function without a state."""


class NonFiniteLossError(FloatingPointError):
    """The loss, a gradient or a parameter became NaN or infinite; ``result`` is the ``Fit`` of the last evaluation.

    Example:
        >>> error = NonFiniteLossError("the loss is nan at step 3", Fit({"w": np.ones(2)}, {}, []))
        >>> error.result.params
        {'w': array([1., 1.])}
    """

    def __init__(self, message: str, result: Fit) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> Any:
        return type(self), (*self.args, self.result), vars(self)


class Run(NamedTuple):
    """Everything that decides what a run does next, beside the arguments of ``fit``; each step makes a new one.

    Args:
        params: the parameters.
        opt_state: the optimizer's state.
        step: how many steps have been made.
        states: the state of each callback that has one, in their order.
        records: how many records the callbacks have been given.
        stopped: whether a callback with a state has stopped the run.
    """

    params: Params
    opt_state: Tree
    step: int
    states: tuple[Any, ...]
    records: int = 0
    stopped: bool = False


class Saved(NamedTuple):
    """A run with what led to it: where a call of ``fit`` starts.

    Args:
        run: its state.
        history: its records.
        seconds: how long it has been going on.
        result: what ``fit`` returns if the run does not go on.
    """

    run: Run
    history: list[Record]
    seconds: float = 0.0
    result: Fit | None = None


def as_callbacks(callbacks: Sequence[CallbackLike]) -> tuple[Callback | Callable[[Record, Fit], Verdict], ...]:
    """The callbacks, with a ``Callback`` for each bare pair, or an error if they are not callbacks."""
    expected = "fit: expected callbacks as a tuple of functions callback(record, result) or pairs (init, update)"
    if not isinstance(callbacks, tuple | list):
        hint = "; write callbacks=[callback]" if _is_callback(callbacks) else ""
        if checks.is_constructor(callbacks):
            hint = f"; write callbacks=[{spelled(callbacks)}(...)]"
        raise TypeError(f"{expected}, got {shown(callbacks)}{hint}")
    for callback in callbacks:
        if checks.is_constructor(callback) or isinstance(callback, type):
            raise TypeError(f"{expected}, got {callback.__name__}, which makes one{uncalled(callback)}")
        if not _is_callback(callback):
            write = spellings.name(callback)
            raise TypeError(f"{expected}, got {shown(callbacks)}" + (f"; write {write}" if write else ""))
    return tuple(Callback(*callback) if isinstance(callback, tuple) else callback for callback in callbacks)


def begin(callbacks: Sequence[Any]) -> None:
    """Let each callback raise an error before training, and not after its first epoch."""
    for callback in callbacks:
        check = getattr(callback, "begin", None)
        if check is not None:
            called(f"the callback {callback!r}", check)


def first_states(callbacks: Sequence[Any]) -> tuple[Any, ...]:
    """The states of the callbacks that have one, before the first evaluation."""
    return tuple(
        called(f"the init of the callback {callback!r}", callback.init)
        for callback in callbacks
        if isinstance(callback, Callback)
    )


def decide(callbacks: Sequence[Any], states: list[Any], latest: Fit) -> tuple[Decision, bool]:
    """Call all callbacks: one is enough to stop, and the last result that one chose counts.

    Args:
        callbacks: as ``as_callbacks`` returns them.
        states: the states of those that have one; each is replaced by the next one.
        latest: the result so far.

    Returns:
        The decision, and whether a callback with a state has stopped the run.
    """
    numbers, decision, stopped = count(), Decision(False, latest), False
    for callback in callbacks:
        name, record = f"the callback {callback!r}", latest.history[-1]
        if isinstance(callback, Callback):
            number = next(numbers)
            returned = called(name, callback.update, states[number], record, latest)
            if not isinstance(returned, tuple) or len(returned) != 2 or isinstance(returned, Decision):
                raise TypeError(f"fit: {name} must return a pair (state, decision), but it returned {shown(returned)}")
            states[number], verdict = returned
        else:
            verdict = called(name, callback, record, latest)
        chosen = _decision(name, verdict, decision.result)
        stopped |= chosen.stop and isinstance(callback, Callback)
        opt_state = decision.opt_state if chosen.opt_state is None else chosen.opt_state
        decision = Decision(decision.stop or chosen.stop, chosen.result, opt_state)
        if chosen.opt_state is not None:  # the next callback sees it
            latest = latest._replace(opt_state=chosen.opt_state)
    return decision, stopped


def _is_callback(value: Any) -> bool:
    """Whether this is a function, a ``Callback`` or a pair of functions."""
    is_pair = isinstance(value, tuple) and len(value) == 2
    return all(map(checks.is_function, value)) if is_pair else checks.is_function(value)


def _decision(name: str, verdict: Any, result: Fit | None) -> Decision:
    """What a callback returned, as a decision; ``result`` is what was chosen before."""
    if isinstance(verdict, bool | np.bool_ | None):
        return Decision(bool(verdict), result)
    if not isinstance(verdict, Decision):
        raise TypeError(f"fit: {name} must return True, a Decision or None, but it returned {shown(verdict)}")
    if not isinstance(verdict.result, Fit | None) or not isinstance(verdict.stop, bool | np.bool_):
        raise TypeError(
            f"fit: {name} must return Decision(stop, result) of a bool and a Fit, but returned {shown(verdict)}"
        )
    return Decision(bool(verdict.stop), result if verdict.result is None else verdict.result, verdict.opt_state)
