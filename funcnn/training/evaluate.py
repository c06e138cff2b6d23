"""Prediction and evaluation: a model is run without a key, some examples at a time, and its outputs are judged.

The loss and the metrics see the outputs of all examples at once, so that no mean over batches is taken of a mean.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array, Params, Rng
from funcnn.losses import Loss
from funcnn.protocol import as_layer, pull_back
from funcnn.training.batching import Data, check_data, check_whole

__all__ = ["evaluate", "predict", "value_and_grad"]

Metric: TypeAlias = Callable[[Array, Array], float]
Record: TypeAlias = dict[str, float]


def value_and_grad(model: Any, loss: Loss) -> Callable[..., tuple[float, Params]]:
    """The function that gives a model's loss and its gradient by the parameters.

    Args:
        model: a layer or a pair.
        loss: ``loss(y, target) -> (value, dy)``.

    Returns:
        ``f(params, x, target, rng=None) -> (value, grads)``; with ``rng``, in training mode.

    Example:
        >>> import funcnn as fn
        >>> model = fn.dense(1)
        >>> params = {"w": np.array([[2.0]]), "b": np.array([0.0])}
        >>> value, grads = value_and_grad(model, fn.mean_squared_error)(params, np.ones((1, 1)), np.zeros((1, 1)))
        >>> value, grads["w"]
        (4.0, array([[4.]]))
    """
    apply = as_layer(model).apply

    def f(params: Params, x: Array, target: Array, rng: Rng | None = None) -> tuple[float, Params]:
        y, vjp_fn = apply(params, x, rng)
        value, dy = loss(y, target)
        grads, _ = pull_back(vjp_fn, dy, input_grad=False)
        return value, grads

    return f


def predict(model: Any, params: Params, x: Array, batch_size: int = 256) -> Array:
    """y for any number of examples, some at a time.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (n, *shape), also with n = 1 or 0.
        batch_size: examples at a time; a matter of memory only.

    Returns:
        y: (n, ...).

    Example:
        >>> import funcnn as fn
        >>> predict(fn.relu, {}, np.array([[-1.0], [1.0]]), batch_size=1)
        array([[0.],
               [1.]])
    """
    layer = as_layer(model)
    step = check_whole("batch_size", batch_size, 1)
    return np.concatenate([answer(layer, params, x[i : i + step]) for i in range(0, max(len(x), 1), step)])


def evaluate(
    model: Any,
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
        data: ``(x, target)``.
        loss: ``loss(y, target) -> (value, dy)``.
        metrics: ``{name: metric}``, each ``metric(y, target) -> number``.
        batch_size: examples predicted at a time.

    Returns:
        ``{"loss": ..., name: ...}``.

    Raises:
        TypeError: the data are no pair of arrays, or the metrics no dict.
        ValueError: lengths differ, there is no example, or a metric is called "loss".

    Example:
        >>> import funcnn as fn
        >>> data = np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]])
        >>> evaluate(fn.identity, {}, data, fn.mean_squared_error)
        {'loss': 2.0}
    """
    x, target = check_data("evaluate", data)
    metrics = check_metrics(metrics)
    y = predict(model, params, x, batch_size)
    # The loss comes first: where it is no number, a metric may have no answer.
    return {"loss": float(loss(y, target)[0])} | {name: float(metric(y, target)) for name, metric in metrics.items()}


def check_metrics(metrics: Mapping[str, Metric] | None) -> Mapping[str, Metric]:
    """Refuse metrics without a name, and one whose number would take the place of the loss."""
    metrics = {} if metrics is None else metrics
    if not isinstance(metrics, Mapping):
        raise TypeError(f'expected metrics as a dict {{"accuracy": accuracy}}, got a {type(metrics).__name__}')
    if "loss" in metrics:
        raise ValueError("a metric may not be called 'loss': the loss is recorded under that name")
    return metrics
