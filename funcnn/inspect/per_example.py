"""A vjp whose gradients of the parameters have a leading batch axis: each example by itself, nothing is summed.

The plain way is a loop, in which each example is a batch of its own. A chain of layers that predict goes through the
whole batch at once instead; the gradient of a weight of example i is then the product of its own rows and its own dz.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Params, Rng, Tree
from funcnn.combinators.parameters import frozen_paths
from funcnn.engine.examples import join
from funcnn.engine.microbatch import output
from funcnn.inspect.traverse import every_layer
from funcnn.layers.activation.choice import as_activation
from funcnn.layers.conv import conv1d, conv2d, conv3d
from funcnn.layers.dense import dense
from funcnn.layers.unfold import unfold
from funcnn.protocol import Layer, declared
from funcnn.rng import fold
from funcnn.tree import below, is_below

__all__ = ["ExamplesVjp", "each_example", "is_alone"]

ExamplesVjp: TypeAlias = Callable[[Tree, bool], tuple[Tree, Tree]]
"""``pull(dy, input_grad) -> (dparams, dx)``, where each leaf of dparams has the batch axis in front."""


def each_example(
    kind: str, layer: Layer, params: Params, x: Tree, rng: Rng | None, first: int = 0
) -> tuple[Tree, ExamplesVjp]:
    """The pair ``apply`` for gradients of each example: the outputs of all, and their vjp.

    Args:
        kind: who asks, for messages.
        layer: the model.
        params: its parameters.
        x: the examples, a tree that is checked.
        rng: as for ``apply``.
        first: the number of the first example, for its key.
    """
    n = len(tree.leaves(x)[0])
    if n == 0:
        y, vjp_fn = layer.apply(params, x)
        return y, lambda dy, input_grad: _empty(*vjp_fn(dy, input_grad))
    if rng is not None:
        _check_no_statistics(kind, layer)
    else:
        output(layer, params, _part(x, slice(1)))  # whatever is wrong, the model itself says it
        steps = _steps(layer, params)
        if steps is not None:
            return _chained(steps, params, x)
    keys = [None] * n if rng is None else [fold(rng, first + i) for i in range(n)]
    done = [layer.apply(params, _part(x, slice(i, i + 1)), key) for i, key in enumerate(keys)]

    def pull(dy: Tree, input_grad: bool) -> tuple[Tree, Tree]:
        pulled = [vjp_fn(_part(dy, slice(i, i + 1)), input_grad) for i, (_, vjp_fn) in enumerate(done)]
        return _stacked([grads for grads, _ in pulled]), join([dx for _, dx in pulled])

    return join([y for y, _ in done]), pull


def _part(data: Tree, part: slice) -> Tree:
    """Some examples of an array or of a tree."""
    return data[part] if type(data) is np.ndarray else tree.map(lambda leaf: leaf[part], data)


def _empty(grads: Tree, dx: Tree) -> tuple[Tree, Tree]:
    """The gradients of no example."""
    return tree.map(lambda g: np.zeros((0, *g.shape), g.dtype), grads), dx


def _stacked(trees: list[Tree]) -> Tree:
    """Trees as one, with a leading axis on each leaf."""
    return tree.map(lambda *leaves: np.stack(leaves), *trees)


def _check_no_statistics(kind: str, layer: Layer) -> None:
    """Raise if a layer trains on statistics of the batch, which one example does not have."""
    frozen = frozen_paths(layer)
    for path, inner in every_layer(layer):
        if inner.measure is not None and not inner.children and not any(is_below(path, above) for above in frozen):
            raise ValueError(
                f"{kind}: layer {path or inner.kind} trains on the statistics of the whole batch, so one example has "
                "no gradient of its own; leave out rng, and it uses the measured ones, or use layer_norm or group_norm"
            )


def is_alone(layer: Layer) -> bool:
    """Whether each example is known to be predicted by itself; of a user's own pair it is not."""
    if layer.children:
        return all(map(is_alone, layer.children.values()))
    return bool(declared(layer.apply, "per_example")) or layer.measure is not None


# A chain of layers on the whole batch

Step: TypeAlias = tuple[str, Layer, Params]
"""The path, the layer and its parameters. A layer with parameters has no activation, which is a step of its own."""

CONVOLUTIONS = (conv1d, conv2d, conv3d)


def _steps(layer: Layer, params: Params, path: str = "") -> list[Step] | None:
    """A chain, flat; None if the model is not one, or another combinator in it has parameters."""
    if layer.chain_of is not None and layer.around is None:
        parts = [_steps(child, params.get(name, {}), below(path, name)) for name, child in layer.children.items()]
        found = [part for part in parts if part is not None]
        return [step for part in found for step in part] if len(found) == len(parts) else None
    if not is_alone(layer) or (layer.children and params):
        return None
    activation = layer.arguments.get("activation") if layer.constructor in (dense, *CONVOLUTIONS) else None
    if activation is None or layer.changed():
        return [(path, layer, params)]
    bare = layer.constructor(**{**layer.arguments, "activation": None})  # type: ignore[misc]
    return [(path, bare, params), ("", as_activation(layer.kind, activation), {})]


def _chained(steps: list[Step], params: Params, x: Tree) -> tuple[Tree, ExamplesVjp]:
    """The chain rule over the whole batch, where only the gradients of parameters go example by example."""
    seen = []
    for _, layer, own in steps:
        y, vjp_fn = layer.apply(own, x)
        seen.append((x, vjp_fn))
        x = y

    def pull(dy: Tree, input_grad: bool) -> tuple[Tree, Tree]:
        flat: dict[str, Any] = {}
        learned = [number for number, (_, _, own) in enumerate(steps) if own]
        last = 0 if input_grad else min(learned, default=len(steps))
        for number in reversed(range(last, len(steps))):
            (path, layer, own), (x, vjp_fn) = steps[number], seen[number]
            if own:
                grads = tree.flatten(_own_grads(layer, own, x, dy))
                flat |= {below(path, name): leaf for name, leaf in grads.items()}
            if input_grad or number > last:
                dy = vjp_fn(dy, True)[1]
        return tree.map_with_path(lambda path, _: flat[path], params), dy if input_grad else None

    return x, pull


def _own_grads(layer: Layer, params: Params, x: Tree, dy: Tree) -> Tree:
    """The gradients of one layer's parameters, for each example."""
    rows = _rows(layer, params, x)
    if rows is None:
        alone = [slice(i, i + 1) for i in range(len(tree.leaves(x)[0]))]
        return _stacked([layer.apply(params, _part(x, i))[1](_part(dy, i), False)[0] for i in alone])
    w, dz = params["w"], dy.reshape(len(dy), -1, dy.shape[-1])
    # The sum over the places of one example; over one place alone BLAS has nothing to add.
    dw = np.matmul(rows.transpose(0, 2, 1), dz) if dz.shape[1] > 1 else rows[:, 0, :, None] * dz
    grads = {"w": np.moveaxis(dw.reshape(len(x), w.shape[-2], *w.shape[:-2], w.shape[-1]), 1, -2)}
    return {name: grads["w"] if name == "w" else dz.sum(1) for name in params}


def _rows(layer: Layer, params: Params, x: Array) -> Array | None:
    """The rows (batch, places, inputs) whose product with ``w`` is y, before the bias; None if that is not known."""
    if layer.constructor is None or layer.changed():
        return None
    if layer.constructor is dense:
        return x.reshape(len(x), -1, x.shape[-1])
    if layer.constructor not in CONVOLUTIONS:
        return None
    call = inspect.signature(layer.constructor).bind(**layer.arguments)
    call.apply_defaults()
    given = call.arguments
    if given["groups"] != 1 or given["pad_mode"] != "zero":
        return None
    size = params["w"].shape[:-2]
    rows: Array = unfold(size, given["stride"], given["padding"], given["dilation"]).apply({}, x)[0]
    return rows
