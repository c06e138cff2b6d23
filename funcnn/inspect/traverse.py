"""One traversal of a model serves all that look inside: summaries, calibration, pictures of what each layer computes.

A model cannot be stopped half-way, but it can be built again: ``rebuild`` puts another layer in place of each one, for
example one that does the same and records it. No hooks, no modes; the model itself is left as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from funcnn.aliases import Array, Key, Params, Rng
from funcnn.engine.microbatch import AllReduce, Backward, Coroutine, Forward, as_coroutine, join, microbatched
from funcnn.protocol import Layer, as_layer, declared, is_pair, layers_among, named
from funcnn.recorded import made

__all__ = ["Visit", "outputs", "rebuild", "trace"]


@dataclass(frozen=True, eq=False)
class Visit:
    """The input and the output of one layer; the root has the path ``""``."""

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

    Raises:
        ValueError: a layer inside was changed, and its combinator does not record how to put another one in place.

    Example:
        >>> import funcnn as fn
        >>> seen = []
        >>> _ = rebuild(fn.serial(fn.dense(2), fn.relu), lambda path, layer: seen.append(path) or layer)
        >>> seen
        ['dense_0', 'relu_0', '']
        >>> rebuild(fn.serial(fn.dense(2), fn.relu), lambda path, layer: fn.tanh if layer is fn.relu else layer)
        serial(dense(2), named('relu_0', tanh))
    """
    layer = as_layer(model)
    children = {name: rebuild(child, change, below(path, name)) for name, child in layer.children.items()}
    if any(children[name] is not child for name, child in layer.children.items()):
        layer = _with_children(layer, children, path)
    return change(path, layer)


def wrapped(layer: Layer, around: Callable[[Forward], Forward]) -> Layer:
    """The layer with another forward pass around its own, one microbatch at a time.

    Args:
        layer: any layer.
        around: makes a coroutine function of the layer's own, which it may call with ``yield from``.

    Returns:
        A layer that is cut exactly as the original is, alone and inside a model.
    """
    forward = around(as_coroutine(layer))
    # A layer that is called as a whole at the root is not cut there.
    whole = declared(layer.apply, "forward") is None
    return replace(layer, apply=microbatched(forward, layer.kind, whole=whole))


def trace(model: Any, params: Params, x: Array, rng: Rng | None = None) -> list[Visit]:
    """Run a model and return the input and the output of each layer.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape).
        rng: as for ``apply``.

    Returns:
        A ``Visit`` per layer, in the order in which they finished: a combinator comes after its children. The values
        are those of ``apply``, what is drawn included.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.dense(4), fn.relu)
        >>> visits = trace(model, model.init((3,), 0), np.ones((5, 3), np.float32))
        >>> [(visit.path, visit.y.shape) for visit in visits]
        [('dense_0', (5, 4)), ('relu_0', (5, 4)), ('', (5, 4))]
    """
    visits: list[Visit] = []
    layers = dict(every_layer(model))

    def recording(path: str, layer: Layer) -> Layer:
        def around(inner: Forward) -> Forward:
            def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
                y, backward = yield from inner(params, x, key, keep)

                def record(parts: list[tuple[Any, Any]]) -> list[None]:
                    xs, ys = zip(*parts, strict=True)
                    visits.append(Visit(path, layers[path], params, join(xs), join(ys)))
                    return [None] * len(parts)

                yield AllReduce((x, y), record)
                return y, backward

            return forward

        return wrapped(layer, around)

    rebuild(model, recording).apply(params, x, rng)
    return visits


def outputs(model: Any, params: Params, x: Array, rng: Rng | None = None) -> dict[str, Array]:
    """The output of each layer by its path: ``outputs(model, params, x)["residual_0/conv2d_1"]`` is that of one.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape).
        rng: as for ``apply``.

    Returns:
        ``{path: y}``; the model's own output has the path ``""``.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> outputs(fn.serial(fn.relu, fn.flatten), {}, np.array([[-1.0, 2.0]]))["relu_0"]
        array([[0., 2.]])
    """
    return {visit.path: visit.y for visit in trace(model, params, x, rng)}


def every_layer(model: Any, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Each layer of a model with its path, a combinator after its children."""
    layer = as_layer(model)
    for name, child in layer.children.items():
        yield from every_layer(child, below(path, name))
    yield path, layer


def below(path: str, name: str) -> str:
    """The path of a child."""
    return f"{path}/{name}" if path else name


def _with_children(layer: Layer, children: Mapping[str, Layer], path: str) -> Layer:
    """A combinator with other children, made by the recorded call with these in place of the layers in its arguments.

    If a constructor of a user's put layers together, the combinator that it returned is made again, under its name.
    """
    call = layer.recorded_call(path)
    if call is not None and call.inner is not None:
        call = call.inner
    found = [] if call is None else list(layers_among(list(call.arguments.values())))
    inside = as_layer(found[0]) if len(found) == 1 else None
    transparent = inside is not None and inside.children.keys() == layer.children.keys()
    if inside is not None and transparent and all(inside.children[name] is layer.children[name] for name in children):
        # A combinator around one layer, whose children are its own.
        new = iter([_with_children(inside, children, path)])
    elif call is not None and len(found) == len(children):
        new = iter(_under_their_names(layer.children, children))
    else:
        raise ValueError(
            f"layer {path or layer.kind}: it does not record how its children are put together, so none can be "
            "replaced; let a constructor decorated with @fn.layer take exactly these layers as arguments, in order"
        )
    assert call is not None
    again: Layer = made(call.constructor, {name: _replaced(value, new) for name, value in call.arguments.items()})
    return replace(again, name=layer.name, measure=layer.measure)


def _under_their_names(old: Mapping[str, Layer], new: Mapping[str, Layer]) -> list[Layer]:
    """Layers that a combinator will call as it called those before them."""
    counts: Counter[str] = Counter()
    before: Counter[str] = Counter()
    layers = []
    for name, layer in new.items():
        default, default_before = f"{layer.kind}_{counts[layer.kind]}", f"{old[name].kind}_{before[old[name].kind]}"
        counts[layer.kind] += 1
        before[old[name].kind] += 1
        wanted = name if old[name].name is not None or (default_before == name and default != name) else None
        layers.append(layer if layer.name == wanted else named(name, layer) if wanted else replace(layer, name=None))
    return layers


def _replaced(value: Any, new: Iterator[Layer]) -> Any:
    """An argument with other layers in the place of its own."""
    if is_pair(value):
        return next(new)
    if isinstance(value, list | tuple):
        return type(value)(_replaced(item, new) for item in value)
    if isinstance(value, dict):
        return {name: _replaced(item, new) for name, item in value.items()}
    return value
