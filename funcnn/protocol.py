"""A layer is a pair of stateless functions, and a model is the same pair.

``init(shape, rng) -> params`` makes the parameters. ``apply(params, x) -> (y, vjp_fn)`` computes the output, and
returns with it the backward pass: ``vjp_fn(dy) -> (dparams, dx)``. Everything else here describes such a pair.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import functools
import inspect
import itertools
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, overload

from funcnn import checks, contract, notebook, shapes, spellings
from funcnn.aliases import Apply, Array, Init, LayerApply, LayerInit, Params, Rng, Shape, Tree, Vjp
from funcnn.calls import explained
from funcnn.cores import set_inside
from funcnn.recorded import Call, arguments_of, changed_field, computing_fields, made, with_docstring
from funcnn.rng import check_rng
from funcnn.selection import selected
from funcnn.tree import below
from funcnn.wording import shown
from funcnn.wrapping import checked, declaring, with_own_blas_threads

__all__ = ["Apply", "Init", "Layer", "LayerLike", "Vjp", "as_layer", "layer", "named"]

Wiring: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """The pair, and what describes it; ``init, apply = layer`` unpacks it.

    Args:
        init: ``init(shape, rng) -> params``; ``shape`` is that of one example, without the batch axis.
        apply: ``apply(params, x, rng=None) -> (y, vjp_fn)`` with ``vjp_fn(dy, input_grad=True) -> (dparams, dx)``. A
            user's own is wrapped once: it may leave out ``rng`` and ``input_grad``, and what it returns is checked.
        kind: the name of the constructor, ``"dense"``; combinators name their children by kind and count.
        name: overrides that name; see ``named``.
        children: the layers inside, by name; combinators only.
        wiring: how they are wired, a tuple of (child, its inputs), in the order of computation. ``"input"`` is the
            combinator's own input, and the last row is its output; if that is called ``""``, the combinator itself
            merges these inputs, as ``add`` and ``concat`` do.
        call: the recorded call that made it.
        measure: ``measure(params, x) -> params`` for a layer that ``calibrate`` must show its input to.
        multiply_adds: ``multiply_adds(params, x, y) -> int``, how many products are added up to make y of x.
        chain_of: ``chain_of(children) -> layer``, the chain of some of the children; chains only.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> init, apply = fn.dense(3)
        >>> y, vjp_fn = apply(init((2,), 0), np.ones((5, 2), np.float32))
        >>> y.shape
        (5, 3)
    """

    init: LayerInit
    apply: LayerApply
    kind: str = "layer"
    name: str | None = None
    children: Mapping[str, Layer] = field(default_factory=dict)
    wiring: Wiring = ()
    call: Call | None = None
    measure: Callable[[Params, Array], Params] | None = None
    multiply_adds: Callable[[Params, Array, Array], int] | None = None
    chain_of: Callable[[Mapping[str, Layer]], Layer] | None = None

    if TYPE_CHECKING:  # what is passed may have fewer keywords than what the fields hold

        def __init__(
            self, init: Callable[[Any, Any], Params], apply: Apply, kind: str = ..., name: str | None = ...,
            children: Mapping[str, Layer] = ..., wiring: Wiring = ..., call: Call | None = ...,
            measure: Callable[[Params, Any], Params] | None = ...,
            multiply_adds: Callable[[Params, Any, Any], int] | None = ...,
            chain_of: Callable[[Mapping[str, Layer]], Layer] | None = ...,
        ) -> None: ...  # fmt: skip

    def __post_init__(self) -> None:
        checks.function("a layer", "init", self.init)
        checks.function("a layer", "apply", self.apply)
        apply = self.apply
        if declared(apply, "per_example") is None:
            checks.function("a layer", "init", self.init, "shape, rng")
            apply = checked(apply)
        if declared(apply, "forward") is None and declared(apply, "inside") is None:
            apply = with_own_blas_threads(apply)
        object.__setattr__(self, "apply", apply)
        # ``help`` shows the docstring of the constructor, or of the function of a layer that is ready.
        text = None if self.call is None else self.call.constructor.__doc__
        with_docstring(self, text or declared(apply, "docstring"))

    def __iter__(self) -> Iterator[Any]:
        return iter((self.init, self.apply))

    def __getitem__(self, which: str | int | slice) -> Layer:
        """A layer inside: ``model["encoder/conv2d_0"]``, ``model[0]``, or a part of a chain, ``model[:3]``.

        Names stay, so ``params["encoder"]`` are the parameters of ``model["encoder"]``, and those of a slice are the
        entries of its children; ``fn.part`` returns both.
        """
        found: Layer = selected(self, which, self.kind)
        return found

    if not TYPE_CHECKING:  # which knows of itself that a layer is not called, and what it has

        def __getattr__(self, name: str) -> Any:
            raise spellings.no_attribute(self, name)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Raise an error that says what to write: a layer is a pair of functions and is not called itself."""
            ready = self.call is None and getattr(sys.modules["funcnn"], self.kind, None) is self
            raise TypeError(spellings.not_called(self, shown(self), self.kind if ready else "", args, kwargs))

        __call__.only_raises = True

    def __repr__(self) -> str:
        return self.spelling() if self.name is None else f"named({self.name!r}, {self.spelling()})"

    def _repr_html_(self) -> str:
        return notebook.preformatted(notebook.outline(self))

    def spelling(self) -> str:
        """The call that made the layer, without a name of its own."""
        if changed := self.changed():
            return f"<a {self.kind} with another {changed}>"
        return self.kind if self.call is None else repr(self.call)

    def changed(self) -> str:
        """The field that is not what its call made, or not that of the ready layer of its kind; empty if none."""
        if self.call is not None:
            return self.call.changed(self)
        ready = getattr(sys.modules["funcnn"], self.kind, None)
        return changed_field(self, computing_fields(ready)) if isinstance(ready, Layer) else ""

    @property
    def around(self) -> Callable[[Layer, Any], Layer] | None:
        """``around(part, which)``: the layer that a child or a slice becomes, frozen for example; None if it stays."""
        found: Callable[[Layer, Any], Layer] | None = declared(self.apply, "around")
        return found

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What the constructor was called with; empty if there is no record."""
        return {} if self.call is None else self.call.arguments

    @property
    def constructor(self) -> Callable[..., Layer] | None:
        """The function that made the layer, or None."""
        return None if self.call is None else self.call.constructor

    def recorded_call(self, path: str = "") -> Call | None:
        """The record, or an error if it is that of another ``apply``: what would be saved is not what computes."""
        if self.call is not None and (changed := self.changed()):
            maker = self.call.constructor.__name__
            raise ValueError(
                f"layer {path or self.kind}: its {changed} is not the one that {maker} made, so the recorded call does "
                "not describe it; write a constructor of your own, decorated with @fn.layer"
            )
        return self.call

    def __reduce__(self) -> Any:
        return self.reduced("")

    def reduced(self, path: str) -> Any:
        """What ``__reduce__`` returns, or an error that names the path of the layer that has no valid record."""
        call = self.recorded_call(path)
        if call is not None:
            for name, child in given_children(self):
                if isinstance(child, Layer):
                    child.reduced(below(path, name))
            return _make, (call.constructor, dict(call.arguments), self.name)
        if not isinstance(getattr(sys.modules["funcnn"], self.kind, None), Layer) or self.changed():
            raise TypeError(
                f"layer {path or self.kind}: it has no recorded call, so it cannot be pickled or copied; write a "
                "function that returns the pair, decorate it with @fn.layer, and build the model with that"
            )
        return _ready, (self.kind, self.name)


LayerLike: TypeAlias = Layer | tuple[Callable[[Any, Any], Params], Apply]
"""What is taken as a layer: a ``Layer``, or the bare pair of its functions."""


def _make(constructor: Callable[..., Any], arguments: Mapping[str, Any], name: str | None) -> Layer:
    """The layer that a recorded call makes; for ``pickle`` and ``copy``."""
    found: Layer = made(constructor, arguments)
    return found if name is None else named(name, found)


def _ready(kind: str, name: str | None) -> Layer:
    """A layer of the library that is made already, like ``relu``; for ``pickle`` and ``copy``."""
    found: Layer = getattr(sys.modules["funcnn"], kind)
    return found if name is None else named(name, found)


def declared(function: Any, name: str) -> Any:
    """What a function declares of itself; None if nothing.

    ``functools.wraps`` copies declarations to functions that do something else, so those of a wrapper do not count.
    """
    return None if hasattr(function, "__wrapped__") else getattr(function, name, None)


def per_example(apply: F) -> F:
    """Declare that a function computes each example by itself, and need not be wrapped: those of this library."""
    apply.per_example = True  # type: ignore[attr-defined]
    return apply


def per_position(apply: F, holds: bool = True) -> F:
    """Declare whether y at each time step depends on x, (batch, time, ...), at that step only, when predicting."""
    apply.per_position = holds  # type: ignore[attr-defined]
    return apply


def is_after_time(axis: int) -> bool:
    """Whether an axis, counted with the batch, lies behind that of time in every (batch, time, ..., features)."""
    return axis == -1 or axis > 1


def is_per_position(layer: Layer) -> bool:
    """Whether a layer declares that; one that does not may read other positions."""
    return bool(declared(layer.apply, "per_position"))


def elements_of(x: Tree) -> int:
    """The working set of a layer that makes nothing larger than its input."""
    return sum(map(elements_of, x.values())) if isinstance(x, dict) else getattr(x, "size", 0)


@overload
def layer(constructor: Callable[P, LayerLike]) -> Callable[P, Layer]: ...
@overload
def layer(
    *, per_example: bool = False, per_position: bool = False
) -> Callable[[Callable[P, LayerLike]], Callable[P, Layer]]: ...
def layer(constructor: Any = None, *, per_example: bool = False, per_position: bool = False) -> Any:
    """Make a function that returns a pair into a constructor of described layers.

    Args:
        constructor: a function of any arguments that returns ``(init, apply)`` or a ``Layer``; ``apply`` may leave
            out ``rng``, its ``vjp_fn`` may leave out ``input_grad``. Its name is the kind of its layers; under the name
            of a layer of the library, they cannot be saved in a model file.
        per_example: whether ``apply`` computes each example by itself, so that a batch may be cut into microbatches.
            By default it is taken to look across the batch and gets all of it, which is safe; ``check_layer``
            refutes a false claim.
        per_position: whether, when predicting, y at each time step depends on x, (batch, time, ...), at that step only,
            so that ``cached`` may run the layer on new steps alone. ``check_layer`` refutes a false claim.

    Returns:
        The same function, whose layers know their kind and arguments.

    Raises:
        TypeError: ``constructor`` is not a function; or, when it is called, its arguments are not those of its
            signature, or it returns no pair.

    Example:
        >>> import numpy as np
        >>> @layer(per_example=True)
        ... def scale(start=1.0):
        ...     def init(shape, rng):
        ...         return {"w": np.full(shape, start, np.float32)}
        ...     def apply(params, x):
        ...         return x * params["w"], lambda dy: ({"w": (dy * x).sum(0)}, dy * params["w"])
        ...     return init, apply
        >>> scale(2.0)
        scale(start=2.0)
    """
    checks.flag("layer", "per_example", per_example)
    checks.flag("layer", "per_position", per_position)
    if constructor is None:
        return functools.partial(layer, per_example=per_example, per_position=per_position)
    if not inspect.isroutine(constructor) and not inspect.isclass(constructor):
        raise TypeError(f"layer: expected a function that returns (init, apply), got {shown(constructor)}")
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def build(*args: Any, **kwargs: Any) -> Layer:
        arguments = arguments_of(constructor, signature, args, kwargs)
        pair: Any = constructor(*args, **kwargs)
        result = as_layer(pair)
        # The record of a combinator whose apply was replaced does not say what computes.
        valid = result.call is not None and result.call.made is result.apply
        inner = result.call.inner or result.call if result.call and valid else None
        claims: dict[str, Any] = {"per_example": True} if per_example else {}
        if per_example and declared(result.apply, "written") is not None:
            claims["working_set"] = elements_of
        if per_position:
            claims["per_position"] = True
        if claims:
            result = replace(result, apply=declaring(result.apply, claims))
        call = Call(own(), arguments, result.apply, inner=inner, fields=computing_fields(result))
        return replace(result, kind=constructor.__name__, call=call)

    own: Any = weakref.ref(build)  # a closure that refers to itself would keep its constructor's arrays alive
    build.is_constructor = True  # type: ignore[attr-defined]
    return build


def as_layer(pair: LayerLike) -> Layer:
    """The ``Layer`` of a bare pair ``(init, apply)``; a ``Layer`` is returned as it is.

    Args:
        pair: a ``Layer``, or a tuple of two functions; ``apply`` may take ``(params, x)`` only.

    Returns:
        A ``Layer`` whose ``apply`` takes ``rng``.

    Raises:
        TypeError: ``pair`` is neither, for example a constructor that was not called.

    Example:
        >>> import numpy as np
        >>> double = (lambda shape, rng: {}, lambda params, x: (2 * x, lambda dy: ({}, 2 * dy)))
        >>> y, _ = as_layer(double).apply({}, np.ones(3), rng=0)
        >>> y
        array([2., 2., 2.])
    """
    if isinstance(pair, Layer):
        return pair
    if not is_pair(pair):
        hint = checks.not_a_layer(pair)
        if isinstance(pair, list | tuple) and any(is_pair(part) for part in pair):
            hint = "; pass several layers one by one: serial(*layers)"
        expected = "a layer is a Layer or a tuple of two functions (init, apply)"
        raise TypeError(f"{expected}, got {shown(pair)}{hint}")
    return Layer(*pair)


def is_pair(value: Any) -> bool:
    """Whether a value is a layer: a ``Layer``, or a tuple of two functions."""
    return isinstance(value, Layer) or (
        isinstance(value, tuple) and len(value) == 2 and all(map(checks.is_function, value))
    )


def original(apply: Callable[..., Any]) -> Callable[..., Any]:
    """A user's own function in place of the one that checks it."""
    found: Callable[..., Any] = declared(apply, "written") or apply
    return found


Place: TypeAlias = tuple[Any, ...]
"""Where a layer is among the arguments of a call: the name of the argument, then indices and keys."""


def layers_among(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """The layers and pairs among arguments, with their places, in order."""
    if is_pair(value):
        yield place, value
    elif isinstance(value, list | tuple | Mapping):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from layers_among(item, (*place, key))


def is_same(pair: Any, child: Layer) -> bool:
    """Whether a child is this layer of the arguments, perhaps under another name, or this bare pair, wrapped."""
    init, apply = pair
    return init is child.init and original(apply) is original(child.apply)


def given_children(layer: Layer) -> list[tuple[str, Any]]:
    """The children that are among the arguments of the recorded call, as layers or as pairs, each with its name."""
    given = [pair for _, pair in layers_among(layer.arguments)]
    found = []
    for name, child in layer.children.items():
        same = (pair for pair in given if is_same(pair, child))
        found += [(name, pair) for pair in itertools.islice(same, 1)]
    return found


@explained
def named(name: str, layer: LayerLike) -> Layer:
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
        raise ValueError(f"a layer's name is a string that is not empty and has no '/', got {shown(name)}")
    return replace(as_layer(layer), name=name)


def probed(init: Callable[[Any, Rng], Params], apply: Apply) -> LayerInit:
    """An ``init`` that also raises for a shape that ``apply`` cannot take: it runs the layer on one example."""

    def tried(shape: Any, rng: Rng) -> Params:
        params = init(shape, rng)
        if not _unprobed.get():
            apply(params, shapes.probe(shape))
        return params

    return tried


_unprobed: ContextVar[bool] = ContextVar("unprobed", default=False)


def unprobed() -> AbstractContextManager[None]:
    """Let no ``init`` run its layer, in a combinator that runs its children itself."""
    return set_inside(_unprobed, True)


def without_params(apply: Apply, kind: str = "layer") -> Layer:
    """The layer of an ``apply`` that has no parameters."""

    def init(shape: Shape, rng: Rng) -> Params:
        check_rng(rng)
        return {}

    apply.has_params = False  # type: ignore[attr-defined]
    return Layer(probed(init, apply), apply, kind=kind)


def stateless(
    kind: str,
    forward: Callable[..., tuple[Array, Callable[[Array], Array]]],
    *,
    floats: bool = True,
    draws: bool = False,
    working_set: Callable[[Any], int] | None = None,
    per_position: bool = False,
) -> Layer:
    """The one maker of layers that have no parameters.

    Args:
        kind: the layer's kind.
        forward: ``forward(x) -> (y, pull)`` with ``pull(dy) -> dx``; its docstring is that of the layer.
        draws: whether it draws random numbers, and is ``forward(x, rng)``.
        floats: whether x must be an array of floats; if not, it may be a tree of arrays of any numbers.
        working_set: ``working_set(x)``, the number of elements of the largest array that it works on, for a layer whose
            time goes into passes over memory. A batch for which that is large is cut into microbatches.
        per_position: whether y at each time step depends on x at that step only.

    Returns:
        A layer.
    """

    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        contract.no_params(kind, params)
        if floats:
            checks.float_array(kind, x)
        else:
            contract.tree_of_arrays(kind, x)
        check_rng(rng)
        y, pull = forward(x, rng) if draws else forward(x)
        like = contract.form(y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            contract.gradient(kind, dy, like)
            return {}, pull(dy) if input_grad else None

        return y, vjp_fn

    apply.is_stateless, apply.working_set = not draws, working_set  # type: ignore[attr-defined]
    apply.docstring, apply.per_position = forward.__doc__, per_position  # type: ignore[attr-defined]
    return without_params(apply, kind)
