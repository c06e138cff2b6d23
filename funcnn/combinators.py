"""A combinator makes one layer of several: composing functions forward composes their vjps backward.

``serial`` is the chain rule and nothing else: it applies its children in order and remembers each ``vjp_fn``; on the
way back it calls them in reverse, handing ``dx`` of one to the one before as its ``dy``.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from zlib import crc32

import numpy as np

from funcnn.aliases import Array, Key, Params, Rng, Shape
from funcnn.protocol import (
    Layer,
    Line,
    OtherParameters,
    Vjp,
    add_path,
    answer,
    as_layer,
    check_gradient,
    layer,
    pull_back,
)
from funcnn.engine.microbatch import Meeting, Piecework, added, cut, join, split_like, together
from funcnn.rng import as_key, fold

__all__ = ["add", "concat", "repeat", "residual", "serial"]


@layer
def serial(*layers: Any) -> Layer:
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
        >>> import funcnn as fn
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

    def init(shape: Shape, rng: Rng) -> Params:
        params, x, key = {}, probe(shape), as_key(rng)
        for name, child in children.items():
            with located(name, x):
                own = child.init(x.shape[1:], fold(key, name))
                x, _ = child.apply(own, x, key)
            if own:
                params[name] = own
        return params

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        check_children(params, children)
        key = None if rng is None else as_key(rng)
        pieces = cut(x)
        keys = [key if key is None or len(pieces) == 1 else fold(key, number) for number in range(len(pieces))]
        answers = together([_forward(children, params, *piece) for piece in zip(pieces, keys, strict=True)])
        y = join([y for y, _ in answers])

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            check_gradient("serial", dy, y)
            parts = split_like(dy, pieces)
            pulled = together([back(part, input_grad) for part, (_, back) in zip(parts, answers, strict=True)])
            grads = added([grads for grads, _ in pulled])
            dx = [dx for _, dx in pulled]
            # A lookup by numbers, which cannot move by small steps, has no gradient for them.
            return grads, join(dx) if input_grad and dx[0] is not None else None

        return y, vjp_fn

    def predict(params: Params, x: Array) -> Array:
        check_children(params, children)
        return join(together([_through(children, params, piece, None, None) for piece in cut(x)]))

    return Layer(init, apply, children=children, across_batch=any_across(children), predict=predict)


@layer
def residual(*layers: Any) -> Layer:
    """y = x + f(x): the children one after the other, and the input added to what they answer.

    Args:
        *layers: layers or pairs, as for ``serial``; together they keep the shape.

    Returns:
        A layer with the parameters of ``serial(*layers)``.

    Raises:
        ValueError: the children change the shape.

    Example:
        >>> import funcnn as fn
        >>> block = fn.residual(fn.dense(8), fn.relu, fn.dense(3))
        >>> y, _ = block.apply(block.init((3,), rng=0), np.ones((5, 3), np.float32))
        >>> y.shape
        (5, 3)

    Reference:
        He et al. 2016, "Deep residual learning for image recognition", arXiv 1512.03385, equation 1.
    """
    inner = serial(*layers)

    def plus(x: Array, y: Array) -> Array:
        if y.shape != x.shape:
            raise ValueError(
                f"residual: the input {x.shape} is added to what the layers answer, "
                f"so they must keep its shape, got {y.shape}"
            )
        return x + y

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        y, vjp = inner.apply(params, x, rng)
        total = plus(x, y)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            check_gradient("residual", dy, y)
            grads, dx = pull_back(vjp, dy, input_grad)
            return grads, None if dx is None else dx + dy

        return total, vjp_fn

    def predict(params: Params, x: Array) -> Array:
        return plus(x, answer(inner, params, x))

    return Layer(inner.init, apply, children=inner.children, across_batch=inner.across_batch, predict=predict)


@layer
def add(*layers: Any) -> Layer:
    """y = f_1(x) + ... + f_n(x): branches over one input, summed;  dx = the sum of their dx.

    Args:
        *layers: one or more layers or pairs that answer one shape.

    Returns:
        A layer.

    Raises:
        ValueError: the branches' shapes differ, or there are none.

    Example:
        >>> import funcnn as fn
        >>> model = fn.add(fn.identity, fn.relu)
        >>> y, _ = model.apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-1.,  4.]])
    """

    def merge(ys: list[Array]) -> tuple[Array, Callable[[Array], list[Array]]]:
        if len({y.shape for y in ys}) > 1:
            raise ValueError(f"add: the branches answer different shapes, {[y.shape for y in ys]}")
        total = ys[0]
        for y in ys[1:]:
            total = total + y
        return total, lambda dy: [dy] * len(ys)

    return _branches("add", layers, merge)


@layer
def concat(*layers: Any, axis: int = -1) -> Layer:
    """y = [f_1(x), ..., f_n(x)]: branches over one input, side by side;  dx = the sum of their dx.

    Args:
        *layers: one or more layers or pairs, whose answers differ in size along ``axis`` only.
        axis: where they are joined, counted with the batch axis; the channels by default. 0 is refused.

    Returns:
        A layer.

    Raises:
        ValueError: the answers do not fit together, there are no branches, or ``axis`` is the batch axis.

    Example:
        >>> import funcnn as fn
        >>> model = fn.concat(fn.identity, fn.relu)
        >>> y, _ = model.apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-1.,  2.,  0.,  2.]])
    """
    if axis == 0:
        raise ValueError("concat: axis 0 is the batch axis; examples are not joined, choose 1 or more, or -1")

    def merge(ys: list[Array]) -> tuple[Array, Callable[[Array], list[Array]]]:
        if -ys[0].ndim >= axis or axis >= ys[0].ndim:
            raise ValueError(f"concat: no axis {axis} to join in arrays of shape {ys[0].shape}")
        shapes = {(*y.shape[:axis], *y.shape[axis:][1:]) for y in ys}
        if len({y.ndim for y in ys}) > 1 or len(shapes) > 1:
            raise ValueError(f"concat: shapes {[y.shape for y in ys]} differ in more than axis {axis}")
        borders = np.cumsum([y.shape[axis] for y in ys])[:-1]
        return np.concatenate(ys, axis), lambda dy: np.split(dy, borders, axis)

    return _branches("concat", layers, merge)


def repeat(layer: Any, times: int) -> Layer:
    """``serial`` of one layer several times, each with parameters of its own.

    Args:
        layer: a layer or a pair.
        times: how often, ``>= 1``.

    Returns:
        A ``serial`` layer.

    Raises:
        ValueError: ``times`` is not a whole number ``>= 1``, or the layer has a name of its own.

    Example:
        >>> import funcnn as fn
        >>> fn.repeat(fn.dense(4, activation=fn.relu), 3)
        serial(dense(4, activation=relu), dense(4, activation=relu), dense(4, activation=relu))
    """
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise ValueError(f"repeat: times must be a whole number >= 1, got {times!r}")
    return serial(*[layer] * times)


def name_children(layers: tuple[Any, ...]) -> dict[str, Layer]:
    """Name each layer by kind and count among its siblings of that kind, unless it has a name of its own."""
    children: dict[str, Layer] = {}
    counts: dict[str, int] = {}
    for child in (as_layer(pair) for pair in layers):
        number = counts.get(child.kind, 0)
        counts[child.kind] = number + 1
        name = child.name or f"{child.kind}_{number}"
        if name in children:
            raise ValueError(f"two layers are called {name!r}; give one of them another name with named(...)")
        children[name] = child
    return children


def any_across(children: Mapping[str, Layer]) -> bool:
    """Whether one of the children looks across the batch, and hence the combinator does."""
    return any(child.across_batch for child in children.values())


def probe(shape: Shape) -> Array:
    """One example of zeros: running it through a layer tells the layer's output shape."""
    if not isinstance(shape, tuple | list) or not all(isinstance(n, int | np.integer) and n >= 0 for n in shape):
        raise TypeError(f"init: shape is that of one example, a tuple of ints such as (28, 28, 1), got {shape!r}")
    return np.zeros((1, *shape), np.float32)


def child_key(key: Key | None, name: str) -> Key | None:
    """``fold(key, name)`` for a key that has been checked, or None: inference stays inference all the way down."""
    return None if key is None else (*key, crc32(name.encode()))


def check_children(params: Params, children: Mapping[str, Layer]) -> None:
    """Refuse parameters under a name that no child has: they are another model's."""
    unknown = [name for name in params if name not in children]
    if unknown:
        raise OtherParameters(f"parameters of another model: no layer is called {unknown}, there are {[*children]}")


@contextmanager
def located(name: str, x: Array) -> Iterator[None]:
    """Errors that pass carry the name of the child they come from."""
    try:
        yield
    except Exception as error:
        add_path(error, name, x)
        raise


def _branches(
    kind: str,
    layers: tuple[Any, ...],
    merge: Callable[[list[Array]], tuple[Array, Callable[[Array], list[Array]]]],
) -> Layer:
    """Several layers over one input, merged; ``merge(ys) -> (y, split)``, where ``split`` takes ``dy`` apart."""
    children = name_children(layers)
    if not children:
        raise ValueError(f"{kind}: expected at least one layer")

    def init(shape: Shape, rng: Rng) -> Params:
        key, x, params = as_key(rng), probe(shape), {}
        for name, child in children.items():
            with located(name, x):
                own = child.init(shape, fold(key, name))
            if own:
                params[name] = own
        return params

    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        check_children(params, children)
        key = None if rng is None else as_key(rng)
        answers = []
        for name, child in children.items():
            with located(name, x):
                answers.append(child.apply(params.get(name, {}), x, child_key(key, name)))
        y, split = merge([answer for answer, _ in answers])

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            check_gradient(kind, dy, y)
            grads: Params = {}
            total: Array | None = None
            for (name, _), (_, vjp), part in zip(children.items(), answers, split(dy), strict=True):
                with located(name, part):
                    own, dx = pull_back(vjp, part, input_grad)
                if own:
                    grads[name] = own
                if dx is not None:
                    total = dx if total is None else total + dx
            return grads, total

        return y, vjp_fn

    return Layer(init, apply, children=children, across_batch=any_across(children))


def _forward(
    children: Mapping[str, Layer], params: Params, x: Array, key: Key | None
) -> Piecework[tuple[Array, Callable[[Array, bool], Piecework[tuple[Params, Array]]]]]:
    """One piece of the batch through all children, and the coroutine that brings its gradient back."""
    vjps: list[Any] = []
    x = yield from _through(children, params, x, key, vjps)
    # Before the first child with parameters there is nothing to learn, only the input's gradient to pass on.
    first = next((i for i, name in enumerate(children) if name in params), len(vjps))

    def backward(dy: Array, input_grad: bool) -> Piecework[tuple[Params, Array]]:
        grads: Params = {}
        gradient: Any = dy
        for i, (name, child) in reversed(list(enumerate(children.items()))):
            if i < first and not input_grad:
                break
            wanted = input_grad or i > first
            try:
                if child.across_batch:
                    own, gradient = yield from vjps[i](gradient, wanted)
                else:
                    own, gradient = pull_back(vjps[i], gradient, wanted)
            except Exception as error:
                add_path(error, name, gradient)
                raise
            if own:
                grads[name] = own
        return {name: grads[name] for name in params if name in grads}, gradient

    return x, backward


def _through(
    children: Mapping[str, Layer], params: Params, x: Array, key: Key | None, vjps: list[Any] | None
) -> Piecework[Array]:
    """One piece of the batch through all children; the ways back go into a list, or at once if there is none."""
    coming = list(children.items())[::-1]
    while coming:
        name, child = coming.pop()
        own, own_key, vjp = params.get(name, {}), child_key(key, name), None
        try:
            if child.across_batch:
                x, vjp = yield from (child.piecework or _gathered(child))(own, x, own_key)
            elif vjps is not None:
                x, vjp = child.apply(own, x, own_key)
            elif child.predict_line is not None and (line := _line(coming, params, own)) is not None:
                x = child.predict_line(own, x, line)
                coming.pop()
            else:
                x = answer(child, own, x)
        except Exception as error:
            add_path(error, name, x)
            raise
        if vjps is not None:
            vjps.append(vjp)
    return x


def _line(coming: list[tuple[str, Layer]], params: Params, earlier: Params) -> Line | None:
    """What the child that comes next does, if a layer whose parameters are ``earlier`` can do it in its place."""
    name, child = coming[-1] if coming else ("", None)
    return child.line(params.get(name, {}), earlier) if child and child.line else None


def _gathered(child: Layer) -> Callable[..., Piecework[Any]]:
    """A child that looks across the batch and does not say how: all pieces wait until it has seen the whole."""

    def piecework(params: Params, x: Array, key: Key | None) -> Piecework[Any]:
        def apply(pieces: list[tuple[Array, Key | None]]) -> list[tuple[Array, Vjp]]:
            y, vjp = child.apply(params, join([piece for piece, _ in pieces]), pieces[0][1])
            return [(part, vjp) for part in split_like(y, [piece for piece, _ in pieces])]

        y, vjp = yield Meeting((x, key), apply)

        def backward(dy: Array, input_grad: bool) -> Piecework[tuple[Params, Array | None]]:
            def pull(pieces: list[Array]) -> list[tuple[Params, Array | None]]:
                grads, dx = pull_back(vjp, join(pieces), input_grad)
                parts = [None] * len(pieces) if dx is None else split_like(dx, pieces)
                # The gradient is that of the whole batch, so one piece brings it for all.
                return [(grads if number == 0 else {}, part) for number, part in enumerate(parts)]

            own: tuple[Params, Array | None] = yield Meeting(dy, pull)
            return own

        return y, backward

    return piecework
