"""The children of a combinator: what they are called, how they get parameters, and how one of them is run.

Parameters stand under the names of the children only. Errors that pass a combinator carry the name of the child.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from funcnn import contract
from funcnn.aliases import Key, Params, Tree
from funcnn.cores import set_inside
from funcnn.engine.microbatch import Coroutine, as_coroutine
from funcnn.protocol import Layer, as_layer, unprobed
from funcnn.rng import fold
from funcnn.shapes import specs
from funcnn.tree import check_parameters

__all__ = ["INPUT", "Children", "check_children", "initialized", "is_probing", "name_children", "probing"]

INPUT = "input"
"""What the combinator's own input is called in a wiring; ``"input/mask"`` is one leaf of it."""

_probing: ContextVar[bool] = ContextVar("probing", default=False)


def is_probing() -> bool:
    """Whether only shapes are asked for: nothing has been measured then, and frozen layers run as in training."""
    return _probing.get()


@contextmanager
def probing() -> Iterator[None]:
    """Run a model on one example to learn the shapes of its outputs."""
    with set_inside(_probing, True):
        yield


class Children:
    """The children of a layer as coroutines, each with its own parameters and key, and errors with its name."""

    def __init__(self, children: Mapping[str, Layer]) -> None:
        self.runs = {name: as_coroutine(child) for name, child in children.items()}

    def forward(self, name: str, params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Any]]:
        """``(y, backward)`` of a child."""
        own = None if key is None else fold(key, name)
        y, back = yield from _located(name, x, self.runs[name](params.get(name, {}), x, own, keep))
        return y, lambda dy, input_grad: _located(name, dy, back(dy, input_grad))


def _located(name: str, x: Any, coroutine: Coroutine[Any]) -> Coroutine[Any]:
    """What a coroutine of a child returns; errors carry the child's name."""
    try:
        return (yield from coroutine)
    except Exception as error:
        contract.add_path(error, name, x)
        raise


def initialized(name: str, child: Layer, x: Tree, key: Key) -> tuple[Params, Any]:
    """The parameters of a child, and its output for one example; errors carry its name."""
    try:
        with unprobed():
            own = child.init(specs(x), fold(key, name))
        check_parameters(own, "init")
        with probing():
            return own, child.apply(own, x, key)[0]
    except Exception as error:
        contract.add_path(error, name, x)
        raise


def name_children(layers: Sequence[Any]) -> dict[str, Layer]:
    """Name each layer by kind and count among its siblings of that kind, unless it has a name of its own."""
    children: dict[str, Layer] = {}
    counts: dict[str, int] = {}
    for child in (as_layer(pair) for pair in layers):
        number = counts.get(child.kind, 0)
        counts[child.kind] = number + 1
        name = child.name or f"{child.kind}_{number}"
        if name == INPUT:
            raise ValueError(f"a layer may not be called {INPUT!r}: that is the combinator's own input")
        if name in children:
            raise ValueError(f"two layers are called {name!r}; give one of them another name with named(...)")
        children[name] = child
    return children


def check_children(params: Params, children: Mapping[str, Layer]) -> None:
    """Raise if there are parameters under a name that no child has: they are another model's."""
    if type(params) is not dict:
        contract.params_dict("", params)
    if not params.keys() <= children.keys():
        unknown = [name for name in params if name not in children]
        raise contract.OtherParameters(
            f"parameters of another model: no layer is called {unknown}, there are {[*children]}"
        )
