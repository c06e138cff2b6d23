"""A layer is a pair of stateless functions, and a model is the same pair.

``init(shape, rng) -> params`` makes the parameters, ``apply(params, x) -> (y, vjp_fn)`` runs the layer and returns
with the answer the way back: ``vjp_fn(dy) -> (dparams, dx)``. Everything else here only describes such a pair.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, ParamSpec, TypeAlias

import numpy as np

from funcnn.aliases import Array, Params, Rng, Shape
from funcnn.memory import empty_like

__all__ = ["Layer", "Vjp", "as_layer", "elementwise", "layer", "named"]

Vjp: TypeAlias = Callable[..., tuple[Params, Array | None]]
Init: TypeAlias = Callable[[Shape, Rng], Params]
Apply: TypeAlias = Callable[..., tuple[Array, Vjp]]
P = ParamSpec("P")

PATH_NOTE = "in layer "


class OtherParameters(ValueError):
    """The parameters are not those of this layer or model, whatever the input may be."""


class Line(NamedTuple):
    """What a layer does when it predicts, if that is y = activate(x * gain + shift) for each channel.

    A convolution before it takes the numbers into its weights, and activates its own answer while that is in the cache.
    """

    gain: Array
    shift: Array
    activate: Callable[[Array], Any]


@dataclass(frozen=True)
class InPlace:
    """An activation that may overwrite its input, since going back it needs its output only.

    Args:
        write: ``write(z, out)`` computes y; ``out`` may be ``z``.
        slope: ``slope(y) -> dy/dz``, as floats or, where it is 0 or 1, as bools.
    """

    write: Callable[[Array, Array], Any]
    slope: Callable[[Array], Array]


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """The pair, and what describes it; ``init, apply = layer`` unpacks it.

    Args:
        init: ``init(shape, rng) -> params``; ``shape`` is that of one example, without the batch axis.
        apply: ``apply(params, x, rng=None) -> (y, vjp_fn)`` with ``vjp_fn(dy, input_grad=True) -> (dparams, dx)``.
        kind: the name of the constructor, ``"dense"``; combinators name their children by kind and count.
        name: overrides that name; see ``named``.
        children: the layers inside, by name; combinators only.
        arguments: what the constructor was called with, for ``repr``, summaries and model files.
        constructor: rebuilds the layer, as ``constructor(*children, **options)`` in the case of a combinator.
        inner: the combinator that the constructor returned, if it built its layer of others; ``rebuild`` needs it.
        measure: ``measure(params, x) -> params`` for a layer that ``calibrate`` must show its input to.
        across_batch: whether an example's answer may depend on the others; a bare pair might, so it is taken to.
        in_place: of an activation whose slope its answer alone tells; layers with ``activation=`` then fuse it.
        piecework: the same as ``apply``, as a coroutine that works on a piece of the batch; see ``funcnn.pieces``.
        predict: ``predict(params, x) -> y`` of a combinator, which then keeps nothing that only its vjp would need.
        predict_line: ``predict_line(params, x, line) -> y`` predicts with a ``Line`` after it as well.
        line: ``line(params, earlier) -> Line`` for ``predict_line`` of the layer before, whose parameters are
            ``earlier``; or None if ``apply`` should have the answer, perhaps to refuse it.

    Example:
        >>> import funcnn as fn
        >>> init, apply = fn.dense(3)
        >>> y, vjp_fn = apply(init((2,), 0), np.ones((5, 2), np.float32))
        >>> y.shape
        (5, 3)
    """

    init: Init
    apply: Apply
    kind: str = "layer"
    name: str | None = None
    children: Mapping[str, Layer] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    constructor: Callable[..., Layer] | None = None
    inner: Layer | None = None
    measure: Callable[[Params, Array], Params] | None = None
    across_batch: bool = False
    in_place: InPlace | None = None
    piecework: Callable[..., Any] | None = None
    predict: Callable[[Params, Array], Array] | None = None
    predict_line: Callable[[Params, Array, Line], Array] | None = None
    line: Callable[[Params, Params], Line | None] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.init, self.apply))

    def __repr__(self) -> str:
        if self.constructor is None:
            return self.kind
        return f"{self.kind}({describe(self.constructor, self.arguments)})"


def layer(constructor: Callable[P, Any]) -> Callable[P, Layer]:
    """Make a function that returns a pair into a constructor of described layers.

    Args:
        constructor: a function of any arguments that returns ``(init, apply)`` or a ``Layer``; ``apply`` may leave
            out ``rng``, its ``vjp_fn`` may leave out ``input_grad``.

    Returns:
        The same function, whose layers know their kind and arguments.

    Example:
        >>> @layer
        ... def scale(start=1.0):
        ...     def init(shape, rng):
        ...         return {"w": np.full(shape, start, np.float32)}
        ...     def apply(params, x):
        ...         return x * params["w"], lambda dy: ({"w": (dy * x).sum(0)}, dy * params["w"])
        ...     return init, apply
        >>> scale(2.0)
        scale(start=2.0)
    """
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def build(*args: P.args, **kwargs: P.kwargs) -> Layer:
        arguments = signature.bind(*args, **kwargs).arguments
        pair = as_layer(constructor(*args, **kwargs))
        inner = pair if pair.children and pair.constructor is not None else None
        return replace(pair, kind=constructor.__name__, arguments=arguments, constructor=build, inner=inner)

    return build


def as_layer(pair: Any) -> Layer:
    """The ``Layer`` of a bare pair ``(init, apply)``; a ``Layer`` is returned as it is.

    Args:
        pair: a ``Layer``, or a tuple of two functions; ``apply`` may take ``(params, x)`` only.

    Returns:
        A ``Layer`` whose ``apply`` takes ``rng``.

    Raises:
        TypeError: ``pair`` is neither, for example a constructor that was not called.

    Example:
        >>> double = (lambda shape, rng: {}, lambda params, x: (2 * x, lambda dy: ({}, 2 * dy)))
        >>> y, _ = as_layer(double).apply({}, np.ones(3), rng=0)
        >>> y
        array([2., 2., 2.])
    """
    if isinstance(pair, Layer):
        return pair
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(callable(part) for part in pair)):
        hint = f"; call it: {pair.__name__}(...)" if inspect.isfunction(pair) else ""
        raise TypeError(f"a layer is a Layer or a tuple of two functions (init, apply), got {pair!r}{hint}")
    init, apply = pair
    full = apply if _takes_rng(apply) else lambda params, x, rng=None: apply(params, x)
    return Layer(init, full, across_batch=True)


def named(name: str, layer: Any) -> Layer:
    """The layer under a name of your own, in place of kind and count.

    Args:
        name: any string that is not empty and has no ``/``.
        layer: a ``Layer`` or a pair.

    Returns:
        The same layer; its combinator keeps its parameters under ``name``.

    Raises:
        ValueError: the name could not be part of a path.

    Example:
        >>> import funcnn as fn
        >>> list(fn.serial(fn.named("head", fn.dense(2))).init((3,), 0))
        ['head']
    """
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(f"a layer's name is a string that is not empty and has no '/', got {name!r}")
    return replace(as_layer(layer), name=name)


def elementwise(
    forward: Callable[[Array], Array],
    derivative: Callable[[Array, Array], Array],
    name: str = "elementwise",
) -> Layer:
    """y = f(x) for each number alone;  dx = dy * f'(x).

    Args:
        forward: ``x -> y``, of any shape.
        derivative: ``(x, y) -> f'(x)``; many derivatives are simplest in ``y``, which is there already.
        name: the layer's kind.

    Returns:
        A layer without parameters.

    Example:
        >>> sine = elementwise(np.sin, lambda x, y: np.cos(x), name="sine")
        >>> y, vjp_fn = sine.apply({}, np.zeros((1, 2)))
        >>> vjp_fn(np.ones((1, 2)))[1]
        array([[1., 1.]])
    """

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        check_float(name, x)
        y = forward(x)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            check_gradient(name, dy, y)
            return {}, np.multiply(dy, derivative(x, y), out=empty_like(y)) if input_grad else None

        return y, vjp_fn

    return Layer(no_params, apply, kind=name)


def no_params(shape: Shape, rng: Rng) -> Params:
    """The ``init`` of every layer that has no parameters."""
    return {}


def pull_back(vjp_fn: Vjp, dy: Array, input_grad: bool) -> tuple[Params, Array | None]:
    """Call a ``vjp_fn``, which need not know the keyword ``input_grad`` if it is a user's own."""
    if input_grad:
        return vjp_fn(dy)
    if _takes_input_grad(vjp_fn):
        return vjp_fn(dy, input_grad=False)
    return vjp_fn(dy)[0], None


def answer(layer: Layer, params: Params, x: Array) -> Array:
    """What a layer predicts, without the way back and all that it would hold in memory."""
    if layer.predict is not None:
        return layer.predict(params, x)
    y, _ = layer.apply(params, x)
    return y


def add_path(error: Exception, name: str, x: Any) -> None:
    """Put a child's name before the path that a passing error carries, or begin that path."""
    notes = getattr(error, "__notes__", [])
    if notes and notes[-1].startswith(PATH_NOTE):
        notes[-1] = f"{PATH_NOTE}{name}/{notes[-1].removeprefix(PATH_NOTE)}"
    else:
        error.add_note(f"{PATH_NOTE}{name}, which was given an array of shape {np.shape(x)}")


def parameter(kind: str, params: Params, name: str, shape: tuple[int | None, ...]) -> Array:
    """One of a layer's parameters, or an error that says whose parameters these may be.

    Args:
        kind: the layer's kind, for the message.
        params: the layer's parameters.
        name: which of them.
        shape: what it must be, with None where any size will do.
    """
    if name not in params:
        raise OtherParameters(
            f"{kind}: expected a parameter {name!r}, got {sorted(params)}; are these parameters of another model?"
        )
    value = np.asarray(params[name])
    if len(value.shape) != len(shape) or any(n not in (None, m) for n, m in zip(shape, value.shape, strict=True)):
        expected = tuple("any" if n is None else n for n in shape)
        raise OtherParameters(
            f"{kind}: expected parameter {name!r} of shape {expected}, got {value.shape}; "
            "are these parameters of another model?"
        )
    return value


def check_float(kind: str, x: Array) -> None:
    """Refuse what is not an array of floats: integer images would train on a scale of 0 to 255."""
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{kind}: expected an array, got {type(x).__name__}; use np.asarray(x, np.float32)")
    if x.dtype.kind != "f":
        raise TypeError(f"{kind}: expected floats, got {x.dtype}; scale images first: x.astype(np.float32) / 255")
    if x.ndim == 0:
        raise ValueError(f"{kind}: expected an array with a batch axis, got a single number")


def check_input(kind: str, x: Array, axes: str, w: Array, channels: int) -> None:
    """Refuse an input whose rank, last axis or dtype does not fit the parameters, before any work is done.

    Args:
        kind: the layer's kind, for the message.
        x: the input.
        axes: its expected axes in words, ``"batch, height, width, channels"``; ``"batch, ..."`` allows any rank.
        w: a parameter, whose dtype the input must have.
        channels: the size that the last axis must have.
    """
    check_float(kind, x)
    rank = len(axes.split(","))
    if (x.ndim < 2) if "..." in axes else (x.ndim != rank):
        raise ValueError(f"{kind}: expected an input of axes ({axes}), got shape {x.shape}")
    if x.shape[-1] != channels:
        raise ValueError(
            f"{kind}: expected {channels} channels on the last axis (the parameters have that many), "
            f"got {x.shape[-1]} in an input of shape {x.shape}"
        )
    if x.dtype != w.dtype:
        raise TypeError(
            f"{kind}: input is {x.dtype}, parameters are {w.dtype}; "
            f"use x.astype(np.{w.dtype}) or tree.cast(params, np.{x.dtype})"
        )


def check_gradient(kind: str, dy: Array, y: Array) -> None:
    """Refuse a ``dy`` that is not like ``y``: broadcasting would hide the mistake."""
    if np.shape(dy) != y.shape:
        raise ValueError(f"{kind}: vjp_fn expects dy like y, of shape {y.shape}, got {np.shape(dy)}")
    if dy.dtype != y.dtype:
        raise TypeError(f"{kind}: vjp_fn expects dy like y, of dtype {y.dtype}, got {dy.dtype}")


def _takes_rng(apply: Callable[..., Any]) -> bool:
    """Whether a user's ``apply`` takes a third argument."""
    try:
        inspect.signature(apply).bind(None, None, None)
    except TypeError:
        return False
    return True


def _takes_input_grad(vjp_fn: Vjp) -> bool:
    """Whether a ``vjp_fn`` knows the keyword; read off the code object, since this is asked at each step."""
    code = getattr(vjp_fn, "__code__", None)
    if code is None:
        return "input_grad" in inspect.signature(vjp_fn).parameters
    return "input_grad" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def describe(constructor: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """The arguments of a call as one would write them: positions without keyword, options with theirs."""
    parameters = inspect.signature(constructor).parameters
    words = []
    for name, value in arguments.items():
        if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            words += [repr(item) for item in value]
        elif parameters[name].default is inspect.Parameter.empty:
            words.append(repr(value))
        elif value is not parameters[name].default:
            words.append(f"{name}={value.__name__ if inspect.isfunction(value) else repr(value)}")
    return ", ".join(words)
