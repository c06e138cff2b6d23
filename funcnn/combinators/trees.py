"""Trees of arrays through layers: several inputs, several outputs, one leaf at a time.

A model with two inputs gets a dict of arrays, a model with two heads returns one. Each combinator here is a wiring too;
its last step puts the outputs into a dict.
"""

from __future__ import annotations

from typing import Any

from funcnn.aliases import Tree
from funcnn.combinators.wiring import Merge, wired
from funcnn.contract import shape_of
from funcnn.engine.children import INPUT
from funcnn.engine.examples import filled
from funcnn.protocol import Layer, LayerLike, as_layer, layer, named, stateless
from funcnn.wording import shown

__all__ = ["branch", "on", "parallel", "select"]


@layer
def parallel(**layers: LayerLike) -> Layer:
    """y = {name: f_name(x[name])}: a dict of inputs, each through its own layer.

    Args:
        **layers: layers or pairs by the names of the inputs; the input must have exactly these names.

    Returns:
        A layer from a dict of arrays to a dict of arrays. The parameters stand under the same names.

    Raises:
        ValueError: there are no layers, or a name could not be part of a path; or, from ``apply``, the input has other
            names.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.parallel(image=fn.flatten, table=fn.relu), fn.merge("concat"), fn.dense(2))
        >>> x = {"image": np.ones((5, 4, 4), np.float32), "table": np.ones((5, 3), np.float32)}
        >>> params = model.init(fn.specs(x), rng=0)
        >>> model.apply(params, x)[0].shape
        (5, 2)
    """
    children = _children("parallel", layers)
    wiring = tuple((name, (f"{INPUT}/{name}",)) for name in children)
    return wired("parallel", children, (*wiring, ("", tuple(children))), _dict_of(children), only=list(children))


@layer
def branch(**layers: LayerLike) -> Layer:
    """y = {name: f_name(x)}: one input through several layers, a dict of outputs.

    Args:
        **layers: layers or pairs by the names of the outputs.

    Returns:
        A layer to a dict of arrays. The parameters stand under the same names. In the backward pass ``dy`` is such a
        dict; None stands for an output that the loss does not depend on.

    Raises:
        ValueError: there are no layers, or a name could not be part of a path.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> heads = fn.branch(digit=fn.dense(10), colour=fn.dense(3))
        >>> y, _ = heads.apply(heads.init((4,), rng=0), np.ones((5, 4), np.float32))
        >>> {name: leaf.shape for name, leaf in y.items()}
        {'digit': (5, 10), 'colour': (5, 3)}
    """
    children = _children("branch", layers)
    wiring = tuple((name, (INPUT,)) for name in children)
    return wired("branch", children, (*wiring, ("", tuple(children))), _dict_of(children))


@layer
def on(name: str, layer: LayerLike) -> Layer:
    """y = x with f(x[name]) in place of x[name]: one leaf through a layer, the rest passes.

    Args:
        name: the leaf.
        layer: a layer or a pair.

    Returns:
        A layer from a dict of arrays to a dict of arrays. The parameters stand under ``name``.

    Raises:
        ValueError: the name could not be part of a path; or, from ``apply``, the input has no such leaf.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> y, _ = fn.on("x", fn.relu).apply({}, {"x": np.array([[-1.0]]), "mask": np.array([[True]])})
        >>> y
        {'x': array([[0.]]), 'mask': array([[ True]])}
    """
    named(name, layer)  # raises if the name could not be part of a path, or the key of a dict
    children = _children("on", {name: layer})

    def put(values: list[Any]) -> tuple[Tree, Any]:
        x, y = values

        def split(dy: Tree) -> list[Any]:
            return [{other: None if other == name else leaf for other, leaf in dy.items()}, dy[name]]

        return {**x, name: y}, split

    return wired("on", children, ((name, (f"{INPUT}/{name}",)), ("", (INPUT, name))), put)


@layer
def select(name: str) -> Layer:
    """y = x[name]: one leaf of a dict;  dx is dy there and zero at all others.

    Args:
        name: the leaf.

    Returns:
        A layer without parameters, from a dict of arrays to an array or to a dict.

    Raises:
        TypeError: the name is not a string.
        ValueError: the input has no such leaf.

    Example:
        >>> import numpy as np
        >>> select("a").apply({}, {"a": np.ones((1, 2)), "b": np.zeros((1, 3))})[0]
        array([[1., 1.]])
    """
    if not isinstance(name, str):
        raise TypeError(f"select: expected the name of a leaf, got {shown(name)}")

    def forward(x: Tree) -> tuple[Any, Any]:
        if not isinstance(x, dict) or name not in x:
            raise ValueError(f"select: expected an input with {name!r}, got {shape_of(x)}")
        return x[name], lambda dy: filled({other: dy if other == name else None for other in x}, x)

    return stateless("select", forward, floats=False, per_position=True)


def _children(kind: str, layers: dict[str, Any]) -> dict[str, Layer]:
    """The layers by names that may be part of a path."""
    if not layers:
        raise ValueError(f"{kind}: expected at least one layer, by name")
    for name, inner in layers.items():
        named(name, inner)  # raises if the name could not be part of a path
    children = {name: as_layer(inner) for name, inner in layers.items()}
    if INPUT in children:
        raise ValueError(f"{kind}: a layer may not be called {INPUT!r}: that is the combinator's own input")
    return children


def _dict_of(children: dict[str, Layer]) -> Merge:
    """The outputs by name, and their gradients out of a dict."""
    names = list(children)
    return lambda ys: (dict(zip(names, ys, strict=True)), lambda dy: [dy[name] for name in names])
