"""Layers one after the other, beside each other, or in any acyclic graph: each combinator here is a wiring.

``serial`` is the chain rule and nothing else; the others only say which values are the inputs of which layers. How a
wiring runs, forward and backward, is in ``wiring.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any

from funcnn import checks
from funcnn.aliases import Array, Size
from funcnn.calls import explained
from funcnn.combinators.wiring import Merge, chain, wired
from funcnn.engine.children import INPUT, name_children
from funcnn.layers.merge import Merged, check_one_dtype
from funcnn.layers.merge import add as add_all
from funcnn.layers.merge import concat as concat_all
from funcnn.protocol import Layer, LayerLike, as_layer, is_after_time, is_per_position, layer, named, per_position
from funcnn.wording import shown

__all__ = ["add", "concat", "graph", "repeat", "residual", "serial"]


@layer
def serial(*layers: LayerLike) -> Layer:
    """y = f_n(... f_2(f_1(x))): the children one after the other.

    Args:
        *layers: layers or pairs. A child is called by kind and count among its siblings of that kind, ``conv2d_0``,
            ``conv2d_1``, ``dense_0``, or by the name that ``named`` gave it; its parameters stand under that name.

    Returns:
        A layer. ``init`` learns every shape by running each child once on one example of zeros.

    Raises:
        TypeError: an argument is not a layer.
        ValueError: two children have one name; or, from ``apply``, the parameters are another model's.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.dense(4), fn.relu, fn.dense(2))
        >>> params = model.init((3,), rng=0)
        >>> fn.tree.paths(params)
        ['dense_0/b', 'dense_0/w', 'dense_1/b', 'dense_1/w']
        >>> y, vjp_fn = model.apply(params, np.ones((5, 3), np.float32))
        >>> grads, dx = vjp_fn(np.ones_like(y))
        >>> y.shape, dx.shape
        ((5, 2), (5, 3))
    """
    children = name_children(layers)
    return replace(wired("serial", children, chain(children)), chain_of=_chain_of)


@layer
def residual(*layers: LayerLike) -> Layer:
    """y = x + f(x): the children one after the other, and the input added to their output.

    Args:
        *layers: layers or pairs, as for ``serial``; together they keep the shape.

    Returns:
        A layer with the parameters of ``serial(*layers)``.

    Raises:
        ValueError: the children change the shape.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> block = fn.residual(fn.dense(8), fn.relu, fn.dense(3))
        >>> y, _ = block.apply(block.init((3,), rng=0), np.ones((5, 3), np.float32))
        >>> y.shape
        (5, 3)

    Reference:
        He et al. 2016, "Deep residual learning for image recognition", arXiv 1512.03385, equation 1.
    """
    children = name_children(layers)

    def plus(xs: list[Array]) -> Merged:
        x, y = xs
        check_one_dtype("residual", {"x": x, "f(x)": y})
        if y.shape != x.shape:
            raise ValueError(
                f"residual: the input {x.shape} is added to the output of the layers, "
                f"so they must keep its shape, got {y.shape}"
            )
        return x + y, lambda dy: [dy, dy]

    steps = chain(children)
    last = steps[-1][0] if steps else INPUT
    return wired("residual", children, (*steps, ("", (INPUT, last))), plus)


@layer
def add(*layers: LayerLike) -> Layer:
    """y = f_1(x) + ... + f_n(x): branches over one input, summed;  dx = the sum of their dx.

    Args:
        *layers: one or more layers or pairs whose outputs have one shape.

    Returns:
        A layer.

    Raises:
        TypeError: the branches' dtypes differ.
        ValueError: the branches' shapes differ, or there are none.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.add(fn.identity, fn.relu)
        >>> y, _ = model.apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-1.,  4.]])
    """
    return _branches("add", layers, partial(add_all, "add"))


@layer
def concat(*layers: LayerLike, axis: int = -1) -> Layer:
    """y = [f_1(x), ..., f_n(x)]: branches over one input, side by side;  dx = the sum of their dx.

    Args:
        *layers: one or more layers or pairs, whose outputs differ in size along ``axis`` only.
        axis: where they are joined, counted with the batch axis; the channels by default, never 0.

    Returns:
        A layer.

    Raises:
        TypeError: the outputs are of different dtypes.
        ValueError: the outputs do not fit together, there are no branches, or ``axis`` is not a whole number or is the
            batch axis.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.concat(fn.identity, fn.relu)
        >>> y, _ = model.apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-1.,  2.,  0.,  2.]])
    """
    axis = checks.size("concat", "axis", axis, None)
    if axis == 0:
        raise ValueError("concat: axis 0 is the batch axis; examples are not joined, choose 1 or more, or -1")

    made = _branches("concat", layers, partial(concat_all, "concat", axis=axis))
    per_position(made.apply, is_per_position(made) and is_after_time(axis))
    return made


@layer
def graph(nodes: Mapping[str, tuple[LayerLike, Sequence[str]]], output: str) -> Layer:
    """Any acyclic model: each node is a layer and the names of its inputs.

    ``serial``, ``residual``, ``add`` and ``concat`` are graphs that are used often.

    Args:
        nodes: ``{name: (layer, inputs)}``, in any order. ``inputs`` is the name of a node, ``"input"`` for the graph's
            own input, ``"input/mask"`` for a leaf of it, or a tuple of names; a layer with several inputs gets a dict
            of arrays, by these names.
        output: the node whose output is the graph's.

    Returns:
        A layer. The parameters of a node stand under its name.

    Raises:
        TypeError: a node is not a pair of a layer and its inputs, which are names.
        ValueError: a name is unknown or cannot be part of a path, there is a cycle, or the output does not depend on a
            node.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> product = fn.merge("multiply")
        >>> model = fn.graph({"a": (fn.relu, "input"), "b": (fn.tanh, "a"), "y": (product, ("a", "b"))}, output="y")
        >>> y, _ = model.apply({}, np.array([[-1.0, 1.0]]))
        >>> y.round(4)
        array([[0.    , 0.7616]])
    """
    if not isinstance(nodes, Mapping) or not nodes:
        raise TypeError(f"graph: expected nodes as a dict {{name: (layer, inputs)}}, got {shown(nodes)}")
    inputs: dict[str, tuple[str, ...]] = {}
    children: dict[str, Layer] = {}
    for name, node in nodes.items():
        if not isinstance(node, tuple) or len(node) != 2:
            raise TypeError(f"graph: node {name!r} must be a pair (layer, inputs), got {shown(node)}")
        if not isinstance(name, str) or not name or "/" in name or name == INPUT:
            raise ValueError(f"graph: a node's name is a string without '/' and not {shown(INPUT)}, got {shown(name)}")
        children[name] = as_layer(node[0])
        sources = (node[1],) if isinstance(node[1], str) else node[1]
        if not isinstance(sources, tuple | list) or not all(isinstance(source, str) for source in sources):
            raise TypeError(
                f"graph: node {name!r} must have a name or a tuple of names as its inputs, got {shown(sources)}"
            )
        inputs[name] = tuple(sources)
        if len(set(inputs[name])) < len(inputs[name]):
            raise ValueError(f"graph: node {name!r} names an input twice, {inputs[name]}; put an identity between")
    wiring = tuple((name, inputs[name]) for name in _in_order(inputs, output))
    return replace(wired("graph", children, wiring), chain_of=_chain_of if wiring == chain(children) else None)


@explained
def repeat(layer: LayerLike, times: Size) -> Layer:
    """``serial`` of one layer several times, each with parameters of its own.

    Args:
        layer: a layer or a pair.
        times: how often, ``>= 1``.

    Returns:
        A ``serial`` layer.

    Raises:
        ValueError: ``times`` is not a whole number ``>= 1``, or the layer has a name of its own.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> fn.repeat(fn.dense(4, activation=fn.relu), 3)
        serial(dense(4, activation=relu), dense(4, activation=relu), dense(4, activation=relu))
    """
    return serial(*[layer] * checks.size("repeat", "times", times))


def _chain_of(children: Mapping[str, Layer]) -> Layer:
    """The ``serial`` of children under the names that they have."""
    plain = serial(*children.values())
    if [*plain.children] == [*children]:
        return plain
    # Counted from the start of the part, a name would be another.
    return serial(*(named(name, child) for name, child in children.items()))


def _branches(kind: str, layers: tuple[Any, ...], merge: Merge) -> Layer:
    """Several layers over one input, merged."""
    children = name_children(layers)
    if not children:
        raise ValueError(f"{kind}: expected at least one layer")
    wiring = tuple((name, (INPUT,)) for name in children)

    def checked(ys: list[Any]) -> Merged:
        check_one_dtype(kind, dict(zip(children, ys, strict=True)))
        return merge(ys)

    return wired(kind, children, (*wiring, ("", tuple(children))), checked)


def _in_order(inputs: Mapping[str, tuple[str, ...]], output: str) -> list[str]:
    """The nodes of a graph in an order of computation that ends with its output."""
    for name, sources in inputs.items():
        if unknown := [source for source in sources if not _is_input(source) and source not in inputs]:
            raise ValueError(f"graph: node {name!r} has unknown inputs {unknown}; there are {[INPUT, *inputs]}")
        if not sources:
            raise ValueError(f"graph: node {name!r} has no inputs; {INPUT!r} is the graph's own")
    if not isinstance(output, str) or output not in inputs:
        raise ValueError(f"graph: the output {shown(output)} is not a node; there are {list(inputs)}")
    before = {name: [source for source in sources if not _is_input(source)] for name, sources in inputs.items()}
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        raise ValueError(f"graph: there is a cycle through {error.args[1]}") from None
    used, waiting = {output}, [output]
    while waiting:
        new = set(before[waiting.pop()]) - used
        used |= new
        waiting += new
    if unused := [name for name in inputs if name not in used]:
        raise ValueError(f"graph: the output {output!r} does not depend on {unused}")
    return order


def _is_input(source: str) -> bool:
    """Whether a name stands for the graph's input or for a leaf of it."""
    return source == INPUT or source.startswith(f"{INPUT}/")
