"""An ``activation=`` argument: None, a layer without parameters or its name, applied to what another layer computes.

Each name stands for the ready layer of that name, or for what the constructor of that name makes of its defaults. What
can be done to a part of the output while it is in the cache becomes the activation of an epilogue.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

import funcnn.layers.activation.exponential as exponential_rows
import funcnn.layers.activation.gated as gated_rows
import funcnn.layers.activation.last_axis as last_axis_rows
import funcnn.layers.activation.piecewise as piecewise_rows
import funcnn.layers.activation.self_gated as self_gated_rows
import funcnn.layers.activation.smooth as smooth_rows
from funcnn import spellings
from funcnn.aliases import Array
from funcnn.kernels import epilogue
from funcnn.layers.activation.piecewise import identity
from funcnn.layers.activation.row import Pull, row_of, same
from funcnn.protocol import Layer, LayerLike, as_layer, declared, is_per_position
from funcnn.signals import reraise_if_of_a_handler
from funcnn.wording import shown

__all__ = ["Activation"]

ActivationName: TypeAlias = Literal[
    "celu", "elu", "exp", "geglu", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_swish", "hard_tanh", "identity",
    "leaky_relu", "log_sigmoid", "log_softmax", "mish", "quick_gelu", "reglu", "relu", "relu6", "relu_squared", "selu",
    "sigmoid", "silu", "sine", "soft_shrink", "softmax", "softmin", "softplus", "softsign", "sparsemax", "square",
    "swiglu", "swish", "tanh", "tanh_shrink",
]  # fmt: skip
Activation: TypeAlias = LayerLike | ActivationName | None
"""What is taken as an activation: a layer without parameters, the name of one, or None for none."""

FILES = (exponential_rows, gated_rows, last_axis_rows, piecewise_rows, self_gated_rows, smooth_rows)


@cache
def by_name() -> dict[str, Layer]:
    """The activations of this package that need no arguments, by name."""
    found = {}
    for file in FILES:
        for name in file.__all__:
            value: Any = getattr(file, name)
            if isinstance(value, Layer):
                found[name] = value
            elif all(p.default is not p.empty for p in inspect.signature(value).parameters.values()):
                found[name] = value()
    return dict(sorted(found.items()))


def as_activation(kind: str, activation: Activation) -> Layer:
    """The layer behind an ``activation=`` argument.

    Args:
        kind: the kind of the layer that takes the argument, for messages.
        activation: None for the identity, a layer without parameters such as ``relu``, or its name.

    Returns:
        The layer.

    Raises:
        ValueError: no activation has that name, or the layer has parameters or takes an rng.
        TypeError: it is neither a layer nor a name.

    Example:
        >>> as_activation("dense", "relu"), as_activation("dense", "elu")
        (relu, elu())
    """
    if activation is None:
        return identity
    if not isinstance(activation, str):
        try:
            chosen = as_layer(activation)
        except TypeError as error:
            raise TypeError(f"{kind}: expected an activation, a layer or its name; {error}") from None
        if not _is_plain(chosen):
            raise ValueError(
                f"{kind}: expected an activation without parameters that draws nothing, got {shown(activation)}, which "
                f"gets neither parameters nor rng here; put it after {kind} in a serial"
            )
        return chosen
    name: str = activation
    known = by_name()
    if name not in known:
        raise ValueError(f"{kind}: unknown activation {name!r}, expected one of {[*known]}{_meant(name, known)}")
    return known[name]


def _meant(name: str, known: dict[str, Layer]) -> str:
    """The end of a message about an unknown name: how other libraries' names are written here, or what is near."""
    plain = "identity" if name.lower() == "linear" else name.lower()  # Keras's; elsewhere it is the dense layer
    if plain != "identity" and (write := spellings.name(name)):
        return f"; write {write}"
    close = difflib.get_close_matches(plain, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _is_plain(layer: Layer) -> bool:
    """Whether a layer has no parameters and draws nothing, and so needs to be given neither."""
    if layer.children:
        return all(map(_is_plain, layer.children.values()))
    if declared(layer.apply, "written") is None:
        return bool(declared(layer.apply, "is_stateless"))
    try:
        return not (layer.apply.takes_rng or layer.init((1,), 0))  # type: ignore[attr-defined]
    except Exception as error:  # an init of one's own that wants another shape has something to make of it
        reraise_if_of_a_handler(error)
        return False


class Fused(NamedTuple):
    """An activation at the end of another layer, which owns z and lets it be overwritten.

    Args:
        in_place: what can be done to a part of z while it is in the cache, by ``in_place(z)``; None for nothing. It is
            the ``activation`` of an epilogue.
        complete: ``complete(z) -> (y, pull)`` does the rest to the whole; ``pull(dy) -> dz`` is the backward pass.
        per_position: whether the activation is ``per_position``.
    """

    in_place: epilogue.Activation | None
    complete: Callable[[Array], tuple[Array, Pull]]
    per_position: bool

    def __call__(self, z: Array) -> tuple[Array, Pull]:
        """Both, one after the other."""
        if self.in_place is not None:
            self.in_place(z)
        return self.complete(z)


def fuse(kind: str, activation: Activation) -> Fused:
    """What an ``activation=`` argument does to a layer's z; the arguments are those of ``as_activation``."""
    chosen = as_activation(kind, activation)
    row, is_own = row_of(chosen), is_per_position(chosen)
    if chosen is identity:
        return Fused(None, lambda z: (z, same), is_own)
    if row is not None and row.in_place and (derivative := row.derivative):
        return Fused(
            epilogue.Activation(chosen.kind, row.function, row.constants),
            lambda y: (y, lambda dy: row.gradient(dy, derivative(y, y), y)),
            is_own,
        )

    # The layer that has the activation is called from outside; it has chosen BLAS's threads, and keeps what it needs.
    apply = declared(chosen.apply, "inside") or chosen.apply

    def complete(z: Array) -> tuple[Array, Pull]:
        y, vjp_fn = apply({}, z)
        return y, lambda dy: vjp_fn(dy)[1]

    return Fused(None, complete, is_own)
