"""The order of the features of an image in PyTorch, which has the channels first where funcnn has them last.

``flatten`` makes a row of features of an image, and ``reshape`` an image of a row. The order of such a row is followed
through all layers that keep each feature at its place, up to the dense layers around them: one that takes the row has
the rows of its ``w`` reordered, one that makes it the columns. The model runs once, on an example of zeros, to find
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from funcnn import layers
from funcnn.aliases import Array, Params, Shapes
from funcnn.inspect.traverse import Visit, every_layer, trace
from funcnn.interchange.units import Unit, core
from funcnn.layers import activation
from funcnn.protocol import Layer, declared
from funcnn.shapes import checked, probe

__all__ = ["FeatureOrder", "feature_order"]

RESHAPING = {"flatten", "reshape", "unflatten"}
SEVERAL_AXES = {"layer_norm", "rms_norm"}
HALVES = {"glu", "geglu", "reglu", "swiglu", "maxout"}
KEEPING = (
    {name for name in vars(activation) if name.islower()} - HALVES
    | {"dropout", "spatial_dropout", "drop_path", "alpha_dropout", "gaussian_dropout", "gaussian_noise", "identity"}
    | {"batch_norm", "layer_norm", "rms_norm", "l2_normalize", "scale_and_shift"}
)
"""Layers that keep each feature at its place; what they learn is one number for each."""

CHANNELS_FIRST = {"batch_norm", "group_norm", "instance_norm", "local_response_norm", "spatial_dropout"}
"""Layers that have the channels first in PyTorch if there are pixels too, besides those with a rank, as conv2d."""

CHANNELS_LAST = {"dense", "rnn", "gru", "lstm", "attention", "multi_head_attention", "embedding", "positions"}


@dataclass(frozen=True)
class FeatureOrder:
    """How the features of some layers are ordered in PyTorch: ``order[j]`` is the place there of our feature j.

    Args:
        inputs: the order of the inputs of dense layers, by path.
        outputs: that of their outputs, and of what other layers have for each feature.
        images: the paths of norms over all axes of an image, whose parameters have the channels first in PyTorch.
    """

    inputs: Mapping[str, Array] = field(default_factory=dict)
    outputs: Mapping[str, Array] = field(default_factory=dict)
    images: frozenset[str] = frozenset()

    def seen(self, unit: Unit) -> Unit:
        """A unit whose leaves have the axes in the order in which PyTorch has them."""
        if unit.path not in self.images:
            return unit
        return replace(unit, shapes={name: (size[-1], *size[:-1]) for name, size in unit.shapes.items()})

    def ours(self, unit: Unit, leaves: Mapping[str, Array]) -> dict[str, Array]:
        """Leaves in PyTorch's order of features in our order."""
        return self._ordered(unit, leaves, lambda order: order, lambda array: np.moveaxis(array, 0, -1))

    def theirs(self, unit: Unit, leaves: Mapping[str, Array]) -> dict[str, Array]:
        """Leaves in our order of features in PyTorch's order."""
        return self._ordered(unit, leaves, np.argsort, lambda array: np.moveaxis(array, -1, 0))

    def _ordered(self, unit: Unit, leaves: Mapping[str, Array], of: Any, moved: Any) -> dict[str, Array]:
        found = dict(leaves)
        for name, leaf in leaves.items():
            if unit.path in self.images:
                leaf = moved(leaf)
            if unit.path in self.inputs and name in ("w", "v"):
                leaf = leaf[of(self.inputs[unit.path])]
            if unit.path in self.outputs and leaf.shape[-1] == len(self.outputs[unit.path]):
                leaf = leaf[..., of(self.outputs[unit.path])]
            found[name] = leaf
        return found


def feature_order(kind: str, model: Layer, shape: Shapes | None, params: Params | None = None) -> FeatureOrder:
    """The orders of features of a model for examples of this shape, or an error where they cannot be followed.

    ``params`` are those that ``init`` makes for the shape, if they are there already.
    """
    needing = [
        (path, layer.kind)
        for path, layer in ((path, core(layer, path)[0]) for path, layer in every_layer(model))
        if layer.kind in RESHAPING or (layer.kind in SEVERAL_AXES and layer.arguments.get("axes", 1) != 1)
    ]
    if not needing:
        return FeatureOrder()
    if shape is None:
        path, name = needing[0]
        raise ValueError(
            f"{kind}: the model has {name} at {path or 'its root'}, and PyTorch has the channels of an image first: "
            "pass the shape of one example, such as shape=(28, 28, 1), so that the weights after it can be reordered"
        )
    params = model.init(shape, 0) if params is None else params
    return _Rows(kind, trace(model, params, probe(checked(kind, shape)), 0)).orders()


class _Rows:
    """The values of a traced model, in groups that have their features in one order."""

    def __init__(self, kind: str, visits: list[Visit]) -> None:
        self.kind, self.visits = kind, visits
        self.leaves = [(visit, *_kind(visit)) for visit in visits if not core(visit.layer)[0].children]
        self.group: dict[int, int] = {}
        self.order: dict[int, Array] = {}
        for visit, name, _ in self.leaves:
            if name in KEEPING:
                self.join(visit.x, visit.y)
        for visit in visits:
            for source in _added(visit, visits):
                self.join(source, visit.y)
        self.layouts = self._layouts()

    def find(self, value: Any) -> int:
        """The group of a value."""
        place = id(value)
        while place in self.group:
            place = self.group[place]
        return place

    def join(self, one: Any, other: Any) -> None:
        """Put two values in one group, if they are arrays of one shape."""
        same = isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.shape == other.shape
        if same and self.find(one) != self.find(other):
            self.group[self.find(one)] = self.find(other)

    def _layouts(self) -> dict[int, set[str]]:
        """Where the channels of each group stand in PyTorch, first or last, as far as the layers say."""
        found: dict[int, set[str]] = {}
        for visit, name, _ in self.leaves:
            for value in (visit.x, visit.y):
                pixels = isinstance(value, np.ndarray) and value.ndim > 2
                if pixels and (name in CHANNELS_FIRST or name[-2:] in ("1d", "2d", "3d")):
                    found.setdefault(self.find(value), set()).add("first")
                elif pixels and name in CHANNELS_LAST:
                    found.setdefault(self.find(value), set()).add("last")
        return found

    def is_first(self, image: Array, path: str) -> bool:
        """Whether the channels of an image stand first in PyTorch: those of what no layer tells, if it has pixels."""
        found = self.layouts.get(self.find(image), {"first" if image.ndim > 3 else "last"})
        if len(found) > 1:
            raise ValueError(
                f"{self.kind}: {path} reads what one layer has with channels first in PyTorch, and another one with "
                "channels last; say in the model how it is permuted, and load the layers around it by themselves"
            )
        return found == {"first"}

    def orders(self) -> FeatureOrder:
        """The orders of all layers."""
        for visit, name, _ in self.leaves:
            if name in RESHAPING:
                self._reshaped(visit)
        for visit in self.visits:
            self._concatenated(visit)
        inputs, outputs = dict(self._used("x")), dict(self._used("y"))
        images = frozenset(
            visit.path
            for visit, name, arguments in self.leaves
            if name in SEVERAL_AXES
            and 1 < arguments.get("axes", 1) == visit.x.ndim - 1
            and self.is_first(visit.x, visit.path)
        )
        return FeatureOrder(inputs, outputs, images)

    def _reshaped(self, visit: Visit) -> None:
        """The order of the row that a layer makes from an image, or of one that it makes an image from."""
        x, y = visit.x, visit.y
        if x.shape == y.shape:
            self.join(x, y)
        elif y.ndim == 2 and x.ndim > 2:
            self._set(visit.path, y, x)
        elif x.ndim == 2 and y.ndim > 2:
            self._set(visit.path, x, y)

    def _set(self, path: str, row: Array, image: Array) -> None:
        """A row has the features of an image."""
        order = np.arange(row.shape[1])
        if self.is_first(image, path):
            places = order.reshape(image.shape[-1], *image.shape[1:-1])
            order = np.moveaxis(places, 0, -1).reshape(-1)
        self._fix(path, row, order)

    def _fix(self, path: str, row: Any, order: Array) -> None:
        """A group has this order, and no other one."""
        before = self.order.setdefault(self.find(row), order)
        if not np.array_equal(before, order):
            raise ValueError(
                f"{self.kind}: {path}: what stands here in one order of features in PyTorch is added to another"
            )

    def _concatenated(self, visit: Visit) -> None:
        """The order of rows one after the other, of which some come from images."""
        parts = _parts(visit, self.visits)
        if not any(self.find(part) in self.order for part in parts):
            return
        start, orders = 0, []
        for part in parts:
            orders.append(start + self.order.get(self.find(part), np.arange(part.shape[-1])))
            start += part.shape[-1]
        self._fix(visit.path, visit.y, np.concatenate(orders))

    def _used(self, side: str) -> Iterator[tuple[str, Array]]:
        """The layers with weights for a row that has an order, and that."""
        for visit, name, _ in self.leaves:
            order = self.order.get(self.find(getattr(visit, side)))
            if order is None or np.array_equal(order, np.arange(len(order))) or name in (*RESHAPING, "merge"):
                continue
            if name == "dense":
                yield visit.path, order
            elif name in KEEPING:
                if side == "y":
                    yield visit.path, order
            else:
                where = "reads" if side == "x" else "makes"
                raise ValueError(
                    f"{self.kind}: {visit.path} ({visit.layer.kind}) {where} features that PyTorch has in another "
                    "order, since they are those of an image with channels first; only dense layers and layers that "
                    "keep each feature at its place can be there"
                )


def _kind(visit: Visit) -> tuple[str, Mapping[str, Any]]:
    """The kind and the arguments of a layer, without what is around it; ``""`` for one of the user's."""
    inner = core(visit.layer)[0]
    if declared(inner.apply, "nonlinearity") is not None:
        return "elementwise", inner.arguments
    own = inner.constructor in (None, getattr(layers, inner.kind, None))
    return (inner.kind if own else "", inner.arguments)


def _sources(visit: Visit, visits: list[Visit]) -> list[Any]:
    """The values that a combinator merges itself."""
    if not visit.layer.wiring or visit.layer.wiring[-1][0]:
        return []
    prefix = f"{visit.path}/" if visit.path else ""
    inside = {one.path: one.y for one in visits}
    return [visit.x if source == "input" else inside.get(prefix + source) for source in visit.layer.wiring[-1][1]]


def _added(visit: Visit, visits: list[Visit]) -> list[Any]:
    """The summands of an output."""
    if visit.layer.kind == "merge":
        x: Any = visit.x
        return [] if visit.layer.arguments["how"] in ("concat", "dot") else [*x.values()]
    return [] if visit.layer.kind == "concat" else _sources(visit, visits)


def _parts(visit: Visit, visits: list[Visit]) -> list[Any]:
    """The rows of which an output consists; none if they are more than rows."""
    if visit.layer.kind == "merge" and visit.layer.arguments["how"] == "concat":
        x: Any = visit.x
        parts = [x[name] for name in visit.layer.arguments.get("names") or x]
    else:
        parts = _sources(visit, visits) if visit.layer.kind == "concat" else []
    return parts if all(isinstance(part, np.ndarray) and part.ndim == 2 for part in parts) else []
