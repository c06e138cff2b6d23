"""One traversal of a model serves all tools that look inside: summaries, calibration, pictures of each layer's output.

``rebuild`` builds the model again with another layer in place of each one, for example one that computes the same and
records its input and output. There are no hooks and no modes; the model itself is not changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Arrays, Key, Params, Rng, Shapes
from funcnn.calls import explained
from funcnn.cores import set_inside
from funcnn.engine.children import probing
from funcnn.engine.examples import join
from funcnn.engine.microbatch import AllReduce, Backward, Coroutine, Forward, as_coroutine, microbatched
from funcnn.protocol import Layer, LayerLike, Place, as_layer, declared, is_same, layers_among, named
from funcnn.recorded import Call, made
from funcnn.shapes import checked, probe
from funcnn.tree import below, is_below

__all__ = ["Visit", "outputs", "rebuild", "trace"]

PARAMETERS_DECLARED = ("around", "computes", "constants", "expand", "frozen", "per_position", "streams", "ties")
"""What a layer declares of its parameters, which holds whatever is wrapped around it."""


@dataclass(frozen=True, eq=False)
class Visit:
    """The input and the output of one layer; the root has the path ``""``.

    Args:
        path: the layer's, ``"residual_0/conv2d_1"``.
        layer: the layer itself.
        params: its parameters.
        x: its input.
        y: its output.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> visit = trace(fn.serial(fn.relu), {}, np.array([[-1.0, 2.0]]))[0]
        >>> visit.path, visit.y
        ('relu_0', array([[0., 2.]]))
    """

    path: str
    layer: Layer
    params: Params
    x: Array
    y: Array


@explained
def rebuild(model: LayerLike, change: Callable[[str, Layer], Layer], path: str = "") -> Layer:
    """The same model with ``change(path, layer)`` in place of each layer.

    Args:
        model: a layer or a pair.
        change: gets each layer after its children have been changed; the root has the path ``""``.
        path: the path of ``model`` itself.

    Returns:
        A model with the same names and parameters. Nothing of ``model`` is changed.

    Raises:
        ValueError: a layer inside was changed, and the recorded call of its combinator does not have it as an argument.

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
    checks.function("rebuild", "change", change, "path, layer")
    if not isinstance(path, str):
        raise TypeError(f"rebuild: expected path as a str, got {checks.what(path)}")
    children = {name: rebuild(child, change, below(path, name)) for name, child in layer.children.items()}
    if any(children[name] is not child for name, child in layer.children.items()):
        layer = _with_children(layer, children, path)
    changed = change(path, layer)
    if not isinstance(changed, Layer):
        raise TypeError(f"rebuild: change must return a layer, got {checks.what(changed)} for {path or 'the model'}")
    return changed


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
    working_set, short = declared(layer.apply, "working_set"), declared(layer.apply, "short_products")
    apply: Any = microbatched(forward, layer.kind, working_set, short_products=bool(short), whole=whole)
    for name in PARAMETERS_DECLARED:
        setattr(apply, name, declared(layer.apply, name))
    return replace(layer, apply=apply)


@explained
def trace(model: LayerLike, params: Params, x: Arrays, rng: Rng | None = None) -> list[Visit]:
    """Run a model and return the input and the output of each layer.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape).
        rng: as for ``apply``.

    Returns:
        A ``Visit`` per layer, in the order in which they finished: a combinator comes after its children. The values
        have the bits of ``apply``, random numbers included.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.dense(4), fn.relu)
        >>> visits = trace(model, model.init((3,), 0), np.ones((5, 3), np.float32))
        >>> [(visit.path, visit.y.shape) for visit in visits]
        [('dense_0', (5, 4)), ('relu_0', (5, 4)), ('', (5, 4))]
    """
    layers = dict(every_layer(model))

    def recording(path: str, layer: Layer) -> Layer:
        def around(inner: Forward) -> Forward:
            def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
                # A user's combinator that is declared per_example calls its children on one microbatch, alone.
                inside: list[Visit] = []
                if calls_children:
                    with set_inside(_visits, inside):
                        y, backward = yield from inner(params, x, key, keep)
                else:
                    y, backward = yield from inner(params, x, key, keep)
                yield AllReduce([*inside, Visit(path, layers[path], params, x, y)], _record)
                return y, backward

            return forward

        calls_children = bool(layer.children) and bool(declared(layer.apply, "per_example"))
        return wrapped(layer, around)

    traced = rebuild(model, recording)
    visits: list[Visit] = []
    with set_inside(_visits, visits):
        traced.apply(params, x, rng)
    return visits


def trace_shapes(kind: str, model: LayerLike, params: Params, shape: Shapes) -> list[Visit]:
    """The visits for one example of zeros, which tell the shapes in a model.

    It runs in training mode: a batch norm that is not measured yet has a shape all the same.
    """
    shape = checked(kind, shape)
    tree.check_parameters(params, kind, f"{kind}(model, params, shape)")
    with probing():
        return trace(model, tree.cast(params, np.float32), probe(shape), rng=0)


_visits: ContextVar[list[Visit] | None] = ContextVar("visits", default=None)
"""The visits of the trace that runs, or of one microbatch in a layer that calls its children."""


def _record(parts: list[list[Visit]]) -> list[None]:
    """Join the visits of all microbatches, and add them to those of the trace."""
    visits = _visits.get()
    assert visits is not None
    for same in zip(*parts, strict=True):
        x, y = join([visit.x for visit in same]), join([visit.y for visit in same])
        visits.append(replace(same[0], x=x, y=y))
    return [None] * len(parts)


@explained
def outputs(model: LayerLike, params: Params, x: Arrays, rng: Rng | None = None) -> dict[str, Array]:
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


def every_layer(model: LayerLike, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Each layer of a model with its path, a combinator after its children."""
    layer = as_layer(model)
    for name, child in layer.children.items():
        yield from every_layer(child, below(path, name))
    yield path, layer


def all_ties(model: LayerLike) -> dict[str, str]:
    """``{target: source}`` of all tied parameters in a model, as paths from its root."""
    return {
        below(path, target): below(path, source)
        for path, layer in every_layer(model)
        for target, source in (declared(layer.apply, "ties") or {}).items()
    }


def untied(path: str, ties: Mapping[str, str]) -> str:
    """The path at which parameters stand that are used at this path."""
    for target, source in ties.items():
        if is_below(path, target):
            return untied(source + path.removeprefix(target), ties)
    return path


def _with_children(layer: Layer, children: Mapping[str, Layer], path: str) -> Layer:
    """A combinator with other children: its recorded call again, with these in place of the layers in its arguments.

    If a user's constructor returned the layer of another combinator, that combinator is called again, under its name.
    """
    call = layer.recorded_call(path)
    if call is not None and call.inner is not None and call.inner.made is layer.apply:
        call = call.inner
    inside = _inside(call, layer)
    if call is not None and inside is not None:
        # A combinator around one layer, with the children of that layer.
        place, around = inside
        again: Layer = made(
            call.constructor, _replaced(call.arguments, {place: _with_children(around, children, path)})
        )
        return replace(again, name=layer.name, measure=layer.measure and again.measure)
    places = None if call is None else _places(call, layer.children)
    if call is None or places is None:
        raise ValueError(
            f"layer {path or layer.kind}: its recorded call, {layer.spelling()}, does not have each of its children as "
            "one argument, so they cannot be replaced; decorate its constructor with @fn.layer and let it take exactly "
            "these layers as arguments, alone or in a list or a dict"
        )
    new = iter(_under_their_names(layer.children, children).values())
    by_place = {place: next(new) for place in places}
    again = made(call.constructor, _replaced(call.arguments, by_place))
    if [*again.children] != [*layer.children]:
        raise ValueError(
            f"layer {path or layer.kind}: with other children it calls them {[*again.children]}, not "
            f"{[*layer.children]}, so the parameters would no longer fit"
        )
    return replace(again, name=layer.name, measure=layer.measure)


def _inside(call: Call | None, layer: Layer) -> tuple[Place, Layer] | None:
    """The one layer among the arguments whose children a combinator has; None if it has its own."""
    found = [] if call is None else list(layers_among(call.arguments))
    if len(found) != 1:
        return None
    place, inner = found[0][0], as_layer(found[0][1])
    same = inner.children.keys() == layer.children.keys()
    return (place, inner) if same and all(inner.children[n] is child for n, child in layer.children.items()) else None


def _places(call: Call, children: Mapping[str, Layer]) -> list[Place] | None:
    """The place of each child among the arguments, in the order of the children; None if that is not one place each."""
    layers = children.values()
    found = {place: pair for place, pair in layers_among(call.arguments) if any(is_same(pair, one) for one in layers)}
    places: list[Place] = []
    for child in layers:
        place = next((place for place, pair in found.items() if is_same(pair, child)), None)
        if place is None:
            return None
        del found[place]
        places.append(place)
    return None if found else places


def _under_their_names(old: Mapping[str, Layer], new: Mapping[str, Layer]) -> dict[str, Layer]:
    """New layers that a combinator will call by the names of the old ones."""
    counts: Counter[str] = Counter()
    before: Counter[str] = Counter()
    layers = {}
    for name, layer in new.items():
        default, default_before = f"{layer.kind}_{counts[layer.kind]}", f"{old[name].kind}_{before[old[name].kind]}"
        counts[layer.kind] += 1
        before[old[name].kind] += 1
        wanted = name if old[name].name is not None or (default_before == name and default != name) else None
        layers[name] = layer if layer.name == wanted else named(name, layer) if wanted else replace(layer, name=None)
    return layers


def _replaced(value: Any, new: Mapping[Place, Layer], place: Place = ()) -> Any:
    """Arguments with other layers at some places."""
    if place in new:
        return new[place]
    if isinstance(value, Mapping):
        return {key: _replaced(item, new, (*place, key)) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(item, new, (*place, number)) for number, item in enumerate(value))
    return value
