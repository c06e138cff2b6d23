"""One walk over a model serves all who look inside: summaries, calibration, pictures of what each layer sees.

A model cannot be stopped half-way, but it can be built again: ``rebuild`` puts another layer in place of each one, for
example one that does the same and takes a note. No hooks, no modes; the model that was walked is left as it was.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from funcnn import tree
from funcnn.aliases import Array, Params, Rng
from funcnn.protocol import Layer, Vjp, as_layer, named

__all__ = ["Visit", "calibrate", "outputs", "rebuild", "trace"]


@dataclass(frozen=True, eq=False)
class Visit:
    """What one layer was given and what it answered; the root has the path ``""``."""

    path: str
    layer: Layer
    params: Params
    x: Array
    y: Array


def rebuild(model: Any, change: Callable[[str, Layer], Layer], path: str = "") -> Layer:
    """The same model with ``change(path, layer)`` in place of each layer.

    Args:
        model: a layer or a pair.
        change: gets each layer after its children have been changed; the root has the path ``""``.
        path: the path of ``model`` itself.

    Returns:
        A model with the same names and parameters. Nothing of ``model`` is changed.

    Example:
        >>> import funcnn as fn
        >>> seen = []
        >>> _ = rebuild(fn.serial(fn.dense(2), fn.relu), lambda path, layer: seen.append(path) or layer)
        >>> seen
        ['dense_0', 'relu_0', '']
    """
    root = as_layer(model)
    combinator = root
    while combinator.inner is not None:
        combinator = combinator.inner
    if combinator.children and combinator.constructor is not None:
        children = [
            named(name, rebuild(child, change, f"{path}/{name}" if path else name))
            for name, child in root.children.items()
        ]
        options = {name: value for name, value in combinator.arguments.items() if name != "layers"}
        described = {field: getattr(root, field) for field in ("kind", "name", "arguments", "constructor", "inner")}
        root = replace(combinator.constructor(*children, **options), **described)
    return change(path, root)


def watched(layer: Layer, apply: Callable[..., Any]) -> Layer:
    """The layer with another ``apply``, which is shown the batch as a whole and not in pieces."""
    return replace(layer, apply=apply, across_batch=True, piecework=None, predict=None, predict_line=None, line=None)


def trace(model: Any, params: Params, x: Array, rng: Rng | None = None) -> list[Visit]:
    """Run a model and return what each layer was given and answered.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape).
        rng: as for ``apply``.

    Returns:
        A ``Visit`` per layer, in the order in which they finished: a combinator comes after its children.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.dense(4), fn.relu)
        >>> visits = trace(model, model.init((3,), 0), np.ones((5, 3), np.float32))
        >>> [(visit.path, visit.y.shape) for visit in visits]
        [('dense_0', (5, 4)), ('relu_0', (5, 4)), ('', (5, 4))]
    """
    visits: list[Visit] = []

    def noting(path: str, layer: Layer) -> Layer:
        def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
            y, vjp_fn = layer.apply(params, x, rng)
            visits.append(Visit(path, layer, params, x, y))
            return y, vjp_fn

        return watched(layer, apply)

    rebuild(model, noting).apply(params, x, rng)
    return visits


def outputs(model: Any, params: Params, x: Array, rng: Rng | None = None) -> dict[str, Array]:
    """What each layer answers, by its path: ``outputs(model, params, x)["residual_0/conv2d_1"]`` probes one.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape).
        rng: as for ``apply``.

    Returns:
        ``{path: y}``; the model's own answer has the path ``""``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> outputs(fn.serial(fn.relu, fn.flatten), {}, np.array([[-1.0, 2.0]]))["relu_0"]
        array([[0., 2.]])
    """
    return {visit.path: visit.y for visit in trace(model, params, x, rng)}
