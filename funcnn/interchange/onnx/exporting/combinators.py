"""Combinators: their wiring says what is computed of what, and one function each how the results are merged."""

from __future__ import annotations

from typing import Any

from funcnn import combinators as fn
from funcnn.aliases import Tree
from funcnn.engine.children import INPUT
from funcnn.interchange.onnx.exporting.graph import Tensor
from funcnn.interchange.onnx.exporting.site import Converter, Site
from funcnn.layers import merge
from funcnn.protocol import as_layer, declared

__all__ = ["CONVERTERS"]


def _wired(at: Site, x: Tree) -> dict[str, Tree]:
    """The values of a wiring by name; the inputs of the merge at its end, if there is one, are among them."""
    values: dict[str, Tree] = {INPUT: x}
    for name, inputs in at.layer.wiring:
        for source in inputs:
            if source not in values:
                values[source] = _leaf(x, source)
        if name:
            several = {source: values[source] for source in inputs}
            values[name] = at.child(name, values[inputs[0]] if len(inputs) == 1 else several)
    return values


def _leaf(x: Tree, path: str) -> Tree:
    for name in path.split("/")[1:]:
        x = x[name]
    return x


def _last(at: Site, x: Tree, **_: Any) -> Tree:
    values = _wired(at, x)
    return values[at.layer.wiring[-1][0]] if at.layer.wiring else x


def _merged(at: Site, x: Tree) -> list[Tree]:
    values = _wired(at, x)
    return [values[source] for source in at.layer.wiring[-1][1]]


def _residual(at: Site, x: Tree, **_: Any) -> Tree:
    one, other = _merged(at, x)
    return one._replace(name=at.elementwise("Add", one.name, other.name))


def _sum(at: Site, xs: list[Tensor]) -> Tensor:
    total = xs[0]
    for x in xs[1:]:
        total = total._replace(name=at.elementwise("Add", total.name, x.name))
    return total


def _add(at: Site, x: Tree, **_: Any) -> Tree:
    return _sum(at, _merged(at, x))


def _joined(at: Site, xs: list[Tensor], axis: int) -> Tensor:
    place = axis % (len(xs[0].shape) + 1)
    shape = list(xs[0].shape)
    shape[place - 1] = sum(x.shape[place - 1] for x in xs)
    return Tensor(at.op("Concat", *(x.name for x in xs), axis=place), tuple(shape), xs[0].dtype)


def _concat(at: Site, x: Tree, axis: int, **_: Any) -> Tree:
    return _joined(at, _merged(at, x), axis)


def _named(at: Site, x: Tree, **_: Any) -> Tree:
    return dict(zip(at.layer.wiring[-1][1], _merged(at, x), strict=True))


def _on(at: Site, x: Tree, name: str, **_: Any) -> Tree:
    before, y = _merged(at, x)
    return {**before, name: y}


def _select(at: Site, x: Tree, name: str) -> Tree:
    return x[name]


def _transparent(at: Site, x: Tree, layer: Any, **_: Any) -> Tree:
    """The layer inside, with the parameters that are made of those that are stored."""
    inner_params = declared(at.layer.apply, "inner_params")
    params = at.params if inner_params is None else inner_params(at.params)
    return at.convert(as_layer(layer), params, x, at.path)


def _merge(at: Site, x: Tree, how: str, names: tuple[str, ...]) -> Tree:
    xs = [x[name] for name in names or sorted(x)]
    if how == "concat":
        return _joined(at, xs, -1)
    if how == "average":
        return at.elementwise("Div", _sum(at, xs).name, at.number(len(xs), xs[0]))
    if how == "add":
        return _sum(at, xs)
    product = xs[0].name
    for each in xs[1:]:
        product = at.elementwise("Mul", product, each.name)
    return at.reduce("ReduceSum", product, [len(xs[0].shape)]) if how == "dot" else product


CONVERTERS: dict[Any, Converter] = {
    fn.serial: _last,
    fn.graph: _last,
    fn.residual: _residual,
    fn.add: _add,
    fn.concat: _concat,
    fn.parallel: _named,
    fn.branch: _named,
    fn.on: _on,
    fn.select: _select,
    fn.frozen: _transparent,
    fn.remat: _transparent,
    fn.tied: _transparent,
    fn.weight_norm: _transparent,
    fn.spectral_norm: _transparent,
    merge: _merge,
}
