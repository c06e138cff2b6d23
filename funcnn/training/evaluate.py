"""Prediction and evaluation: a model runs in inference mode, batch by batch, and its outputs are compared with targets.

The loss and the metrics are computed over the outputs of all examples at once; the mean of the means of batches would
be another number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, overload

import numpy as np

from funcnn import checks, contract, spellings, tree
from funcnn.aliases import Array, Arrays, Data, Number, Params, Rng, Tree
from funcnn.calls import explained
from funcnn.engine.examples import filled, join
from funcnn.engine.microbatch import output
from funcnn.losses import Loss
from funcnn.protocol import LayerLike, as_layer
from funcnn.recorded import spelled
from funcnn.training.batching import check_data, check_examples, take, weights_of
from funcnn.training.sources import readable
from funcnn.wording import not_parameters, shown

__all__ = ["Metric", "Record", "evaluate", "predict", "value_and_grad"]


class Metric(Protocol):
    """The type ``metric(y, target) -> number``: a function of the outputs and the targets of all examples."""

    def __call__(self, y: Any, target: Any, /) -> Number:
        """The number that is recorded."""


GRADIENT = (
    "dy is the gradient of the value by y, an array like y: a mean of (y - target)**2 returns with it "
    "2 * (y - target) / y.size"
)
"""What a loss without a gradient lacks."""

Record: TypeAlias = dict[str, float]
"""The numbers of one evaluation by name."""


CheckedLoss: TypeAlias = Callable[[Tree, Tree, Array | None], tuple[float, Tree]]
"""A loss of y, target and weights, or None, whose results are checked."""


class LossAndGrads(Protocol):
    """What ``value_and_grad`` returns."""

    def __call__(
        self, params: Params, x: Arrays, target: Arrays, rng: Rng | None = None, *, weights: Array | None = None
    ) -> tuple[float, Params]:
        """The loss and the gradients of the parameters."""


class LossGradsAndOutput(Protocol):
    """What ``value_and_grad`` returns with ``with_output``."""

    def __call__(
        self, params: Params, x: Arrays, target: Arrays, rng: Rng | None = None, *, weights: Array | None = None
    ) -> tuple[float, Params, Tree]:
        """The loss, the gradients of the parameters, and y."""


@overload
def value_and_grad(model: LayerLike, loss: Loss, with_output: Literal[False] = False) -> LossAndGrads: ...
@overload
def value_and_grad(model: LayerLike, loss: Loss, with_output: Literal[True]) -> LossGradsAndOutput: ...
@explained
def value_and_grad(model: LayerLike, loss: Loss, with_output: bool = False) -> Any:
    """The function that computes a model's loss and its gradient with respect to the parameters.

    Args:
        model: a layer or a pair.
        loss: ``loss(y, target) -> (value, dy)``. For a model with several outputs y is a dict, and dy is a dict like it
            with None, that is zero, for an output that the loss does not depend on.
        with_output: whether the function returns y too, for a metric of the batch or a state that the next one needs.

    Returns:
        ``f(params, x, target, rng=None, *, weights=None) -> (value, grads)``, or ``(value, grads, y)`` with
        ``with_output``; with ``rng``, in training mode. x and target are arrays or nested dicts of arrays; weights say
        how much each example counts, and go to the loss. Where all of them are 0, so are the value and the gradients.

    Raises:
        TypeError: the model is not a layer, or the loss is not a function; or, once it is called, the loss returns
            something else than a number and a gradient of y's dtype.
        ValueError: once it is called, the loss returns a gradient of another shape than y's.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.dense(1)
        >>> params = {"w": np.array([[2.0]]), "b": np.array([0.0])}
        >>> value, grads = value_and_grad(model, fn.mean_squared_error)(params, np.ones((1, 1)), np.zeros((1, 1)))
        >>> value, grads["w"]
        (4.0, array([[4.]]))
    """
    apply, checked = as_layer(model).apply, checked_loss("value_and_grad", loss)
    takes_weights = checks.takes_keyword(loss, "weights")

    def f(params: Params, x: Tree, target: Tree, rng: Rng | None = None, *, weights: Array | None = None) -> Any:
        if weights is not None and not takes_weights:
            check_takes_weights("value_and_grad", loss, {})
        y, vjp_fn = apply(params, x, rng)
        value, dy = checked(y, target, weights)
        grads, _ = vjp_fn(dy, input_grad=False)
        return (value, grads, y) if with_output else (value, grads)

    return f


@explained
def predict(model: LayerLike, params: Params, x: Arrays, batch_size: int = 256) -> Tree:
    """The outputs y for any number of examples, computed batch by batch.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (n, *shape), also with n = 1 or 0; or a nested dict of such arrays.
        batch_size: the number of examples at a time; it affects memory only.

    Returns:
        y: (n, ...), or a nested dict of such arrays.

    Raises:
        TypeError: x is neither an array nor a nested dict of arrays, or the parameters are not a dict.
        ValueError: ``batch_size`` is not a whole number ``>= 1``, or the arrays of x differ in length.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> predict(fn.relu, {}, np.array([[-1.0], [1.0]]), batch_size=1)
        array([[0.],
               [1.]])
    """
    layer = as_layer(model)
    if not isinstance(params, dict):
        hint = not_parameters(params, "predict(model, params, x)")
        raise TypeError(f"predict: expected a dict of parameters, got {checks.what(params)}{hint}")
    step = checks.size("predict", "batch_size", batch_size)
    if type(x) is np.ndarray and x.ndim and len(x) <= step:  # one batch: nothing to cut
        return output(layer, params, x)
    x = readable("predict", x)
    n = check_examples("predict", (x,), least=0)
    return join([output(layer, params, take(x, slice(i, i + step))) for i in range(0, max(n, 1), step)])


@explained
def evaluate(
    model: LayerLike,
    params: Params,
    data: Data,
    loss: Loss,
    metrics: Mapping[str, Metric] | None = None,
    batch_size: int = 256,
) -> Record:
    """The loss and the metrics of a model's predictions, over all examples at once.

    Args:
        model: a layer or a pair.
        params: its parameters.
        data: ``(x, target)``, arrays or nested dicts of arrays, or ``(x, target, weights)`` with an array that says how
            much each example counts.
        loss: ``loss(y, target) -> (value, dy)``; with weights in the data, ``loss(y, target, weights=...)``.
        metrics: ``{name: metric}``, each ``metric(y, target) -> number``, with ``weights=...`` likewise.
        batch_size: the number of examples predicted at a time.

    Returns:
        ``{"loss": ..., name: ...}``.

    Raises:
        TypeError: the data are not a pair of arrays or of nested dicts of arrays, perhaps with weights, the metrics are
            not a dict of functions, or the loss or a metric returns something else or takes no weights.
        ValueError: lengths differ, there is no example, weights are negative, not finite or all zero, or a metric is
            called "loss".

    Example:
        >>> import funcnn as fn, numpy as np
        >>> data = np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]])
        >>> evaluate(fn.identity, {}, data, fn.mean_squared_error)
        {'loss': 2.0}
    """
    data = readable("evaluate", data)
    check_data("evaluate", data)
    checked, metrics = checked_loss("evaluate", loss, gradient=False), check_metrics("evaluate", metrics)
    if weights_of(data) is not None:
        check_takes_weights("evaluate", loss, metrics)
    return scores(model, params, data, checked, metrics, batch_size)


def scores(
    model: LayerLike, params: Params, data: Data, loss: CheckedLoss, metrics: Mapping[str, Metric], batch_size: int,
    outputs: Callable[[LayerLike, Params, Tree, int], Tree] = predict,
) -> Record:  # fmt: skip
    """The same with arguments that are checked already, and ``outputs`` in place of ``predict``."""
    x, target, weights = data[0], tree.map(np.asarray, data[1]), weights_of(data)
    y = outputs(model, params, x, batch_size)
    # The loss comes first: if it is NaN, a metric may raise an error.
    found = {"loss": loss(y, target, weights)[0]}
    for key, metric in metrics.items():
        name = f"the metric {key!r}"
        found[key] = checks.returned_number(name, called(name, metric, y, target, **_keyword(weights)))
    return found


def _keyword(weights: Array | None) -> dict[str, Array]:
    """The keyword of a loss or a metric, which need not know it if there are no weights."""
    return {} if weights is None else {"weights": weights}


def checked_loss(kind: str, loss: Loss, gradient: bool = True) -> CheckedLoss:
    """The same loss, but an error names it if it does not return a number and, where it is used, a gradient like y."""
    function, name = _of_y_and_target(kind, "loss", loss), f"the loss {spelled(loss)}"

    def checked(y: Tree, target: Tree, weights: Array | None = None) -> tuple[float, Tree]:
        if weights is not None and not np.any(weights):  # a batch of examples that do not count
            return 0.0, filled(None, y)
        returned = called(name, function, y, target, **_keyword(weights))
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(f"{name} must return a pair (value, dy), got {checks.what(returned)}; {GRADIENT}")
        value, dy = returned
        if gradient and dy is None:
            raise TypeError(f"the dy that {name} returns is None; {GRADIENT}")
        if type(value) is not float:
            value = checks.returned_number(f"the first item that {name} returns", value)
        like_y = type(dy) is np.ndarray and type(y) is np.ndarray and dy.shape == y.shape and dy.dtype == y.dtype
        if gradient and not like_y:
            checks.plain(name, dy, "dy")
            contract.gradient(f"the dy that {name} returns", dy, contract.form(y))
        return value, dy

    return checked


def called(name: str, function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Call a function of the user; an error in it gets a note that says which one it was."""
    try:
        return function(*args, **keywords)
    except Exception as error:
        error.add_note(f"in {name}")
        raise


def check_takes_weights(kind: str, loss: Loss, metrics: Mapping[str, Metric]) -> None:
    """Raise if the loss or a metric lacks the keyword for the weights that stand beside the data."""
    functions: dict[str, Callable[..., Any]] = {f"the loss {spelled(loss)}": loss}
    functions |= {f"the metric {name!r}": metric for name, metric in metrics.items()}
    for name, function in functions.items():
        if not checks.takes_keyword(function, "weights"):
            raise TypeError(
                f"{kind}: the examples have weights, but {name} takes none; let it be a function of "
                "(y, target, weights=None), or leave the weights out"
            )


def check_metrics(kind: str, metrics: Mapping[str, Metric] | None) -> Mapping[str, Metric]:
    """The metrics by name, or an error if they are not a dict of functions or one would overwrite the loss."""
    metrics = {} if metrics is None else metrics
    if not isinstance(metrics, Mapping):
        first = next(iter(metrics), None) if isinstance(metrics, list | tuple | set) else metrics
        name = first if isinstance(first, str) else getattr(first, "__name__", "accuracy")
        write = f"{{{name!r}: {spellings.name(name) or 'fn.metrics.accuracy'}}}"
        got = f"got {checks.what(metrics)}; write metrics={write}"
        raise TypeError(f'{kind}: expected metrics as a dict {{"accuracy": accuracy}}, {got}')
    for name, metric in metrics.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"{kind}: expected the names of metrics as texts, got {shown(name)}")
        _of_y_and_target(kind, f"the metric {name!r}", metric)
    if "loss" in metrics:
        raise ValueError(f"{kind}: a metric may not be called 'loss': the loss is recorded under that name")
    return metrics


def _of_y_and_target(kind: str, name: str, function: Any) -> Any:
    """A loss or a metric, or an error if it takes other arguments; an object with ``__call__`` may take any."""
    return checks.function(kind, name, function, "y, target" if checks.is_function(function) else "")
