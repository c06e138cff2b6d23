"""NaN and infinity spread from the layer that makes them to all that follow; the first layer is the one to mend.

``debug_nonfinite`` builds a model again so that each layer checks what it returns, forward and backward. The model
itself is not changed, and does no work for it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Key, Params, Tree
from funcnn.calls import explained
from funcnn.engine.examples import added, join
from funcnn.engine.microbatch import AllReduce, Backward, Coroutine, Forward
from funcnn.inspect.traverse import rebuild, wrapped
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.tree import below

__all__ = ["NonFiniteError", "debug_nonfinite"]


class NonFiniteError(FloatingPointError):
    """A layer made NaN or infinity of finite values; ``path`` is that of the layer, ``""`` for the model itself.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.relu, fn.elementwise(lambda x: x / 0, lambda x, y: 1, name="broken"))
        >>> with np.errstate(all="ignore"):
        ...     try:
        ...         debug_nonfinite(model).apply({}, np.ones((1, 2)))
        ...     except NonFiniteError as error:
        ...         print(error.path)
        broken_0
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


@explained
def debug_nonfinite(model: LayerLike) -> Layer:
    """The same model, which raises at the first layer that makes NaN or infinity of finite values.

    It computes the bits of ``model`` and takes its parameters. Each layer reads what it returns once more, so that it
    is slower: use it to repeat a step that failed, with the same parameters, batch and ``rng``.

    Args:
        model: a layer or a pair. A combinator that cannot be built again, see ``rebuild``, is checked as one layer.

    Returns:
        A model. Its ``apply`` raises if the output of a layer is not finite and its input was, its ``vjp_fn`` if the
        gradient of a parameter or of the input is not finite and ``dy`` was; both raise if what they are called with
        is not finite.

    Raises:
        NonFiniteError: from ``apply`` and ``vjp_fn``, with the ``path`` of the layer. The message says whether it was
            forward or backward, how many elements are NaN or infinite, and which parameters were so before.

    Example:
        >>> import funcnn as fn
        >>> root = fn.elementwise(np.sqrt, lambda x, y: 0.5 / y, name="root")
        >>> y, vjp_fn = debug_nonfinite(fn.serial(fn.relu, root)).apply({}, np.array([[-1.0, 4.0]]))
        >>> with np.errstate(divide="ignore"):
        ...     try:
        ...         vjp_fn(np.ones_like(y))
        ...     except NonFiniteError as error:
        ...         print(error)
        layer root_0, backward: dx has 1 inf among 2 elements; dy was finite
    """
    return _watched(as_layer(model), "")


def _watched(layer: Layer, path: str) -> Layer:
    """The layer at a path, which checks what it returns, with children that do the same."""
    places = {below(path, name): child for name, child in layer.children.items()}
    children = {place: _watched(child, place) for place, child in places.items()}
    try:
        again = rebuild(layer, lambda place, own: children.get(place, own), path)
    except ValueError:  # its recorded call does not have its children
        again = layer
    return wrapped(again, partial(_checking, path, layer))


def _checking(path: str, layer: Layer, inner: Forward) -> Forward:
    """The forward pass of a layer, with checks of what goes in at the root and of what comes out everywhere."""
    name = f"layer {path}" if path else f"the model, {layer.kind}"

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        def check_output(parts: list[Any]) -> None:
            xs, ys = zip(*parts, strict=True)
            if (found := _faults(y=join(ys))) and not _faults(x=join(xs)):
                before = "; ".join(_faults(parameter=params)) or "its parameters were finite"
                raise NonFiniteError(f"{name}, forward: {'; '.join(found)}; its input was finite; {before}", path)

        if not path:
            yield _check(x, partial(_check_given, name, "its input x"))
        y, back = yield from inner(params, x, key, keep)
        yield _check((x, y), check_output)

        def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
            def check_gradients(parts: list[Any]) -> None:
                dys, grads, dxs = zip(*parts, strict=True)
                # Of a batch in microbatches, the sum of their gradients is the gradient.
                if (found := _faults(dparams=added(grads), dx=join(dxs))) and not _faults(dy=join(dys)):
                    before = "".join(f"; {fault}" for fault in _faults(parameter=params))
                    raise NonFiniteError(f"{name}, backward: {'; '.join(found)}; dy was finite{before}", path)

            if not path:
                yield _check(dy, partial(_check_given, name, "the gradient dy of its output"))
            grads, dx = yield from back(dy, input_grad)
            yield _check((dy, grads, dx), check_gradients)
            return grads, dx

        return y, backward

    return forward


def _check(value: Any, check: Any) -> AllReduce:
    """Call a function with the values of all microbatches, which go on with nothing."""

    def combine(parts: list[Any]) -> list[None]:
        check(parts)
        return [None] * len(parts)

    return AllReduce(value, combine)


def _check_given(name: str, what: str, parts: list[Any]) -> None:
    """Raise if a model is called with values that are not finite."""
    if found := _faults(value=join(parts)):
        raise NonFiniteError(f"{name}: {what} is not finite before any layer has run: {'; '.join(found)}")


def _faults(**trees: Tree) -> list[str]:
    """What is not finite in some trees, a text for each leaf; integers, booleans and None are."""
    found = []
    for name, values in trees.items():
        for path, leaf in tree.flatten(values).items():
            if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
                counts = {"NaN": np.isnan(leaf).sum(), "inf": np.isinf(leaf).sum()}
                words = " and ".join(f"{count} {word}" for word, count in counts.items() if count)
                found.append(f"{name}{path and f' {path}'} has {words} among {leaf.size} elements")
    return found
