"""A large batch is cut into microbatches, which go through the layers side by side, each on a core of its own.

Most layers compute each example by itself, so cutting changes no output. A layer that looks across the batch, and a
combinator that may hold one, is a coroutine: it yields an ``AllReduce`` with what it has of its microbatch, all
microbatches wait for each other there, and each goes on with what they have together. ``microbatched`` makes an
``apply`` of such a coroutine. A combinator cuts a large batch in front of the first child that is worth it; nothing
else cuts, and ``in_microbatches`` joins.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial, reduce
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Key, Params, Rng, Tree
from funcnn.cores import blas_threads, is_small, set_inside, with_blas_threads
from funcnn.engine import rounds, shards
from funcnn.engine.examples import (
    added,
    arrays_of,
    check_one_length,
    ends_of,
    filled,
    join,
    slices,
    split_at,
    split_like,
)
from funcnn.protocol import Layer, Vjp, declared, elements_of
from funcnn.rng import as_key, fold

__all__ = [
    "AllReduce", "Coroutine", "all_sum", "as_coroutine", "coroutine_of", "cut", "gathered", "in_microbatches",
    "microbatched", "microbatches", "of_sequences", "output", "run_all", "run_one",
]  # fmt: skip

T = TypeVar("T")

MIN_WORKING_SET = 512 * 1024
"""A batch whose largest array has fewer elements is not cut: it stays in a core's cache, and its calls are so short
that two threads would wait for each other longer than they compute."""

MICROBATCH_MAX, MICROBATCH_MIN = 64, 16
"""Examples in a microbatch: few enough that it and its windows stay in a core's cache, and enough for long runs."""

MIN_AXES_TO_CUT = 3
"""Plain rows are not cut: their channels and windows fit in a core's cache as they are."""

UFUNC_BUFFER = 512
"""Elements in NumPy's buffers. A ufunc that meets one number for a channel copies it out over a whole buffer, unless a
buffer is no longer than the run of pixels that the number is for; short buffers make it three times as fast."""

Cut: TypeAlias = Callable[[Tree], list[Tree]]
WorkingSet: TypeAlias = Callable[[Any], int]
_cut: ContextVar[Cut | None] = ContextVar("cut", default=None)


class AllReduce(NamedTuple):
    """What a coroutine yields: its value, and what becomes of the values of all microbatches, in order: one for each.

    Args:
        value: what this microbatch has.
        combine: ``combine(values) -> values``; it is called once, with the values of all microbatches.
    """

    value: Any
    combine: Callable[[list[Any]], Sequence[Any]]


Coroutine: TypeAlias = Generator[AllReduce, Any, T]
Backward: TypeAlias = Callable[[Any, bool], Coroutine[tuple[Params, Any]]]
Forward: TypeAlias = Callable[[Params, Any, Key | None, bool], Coroutine[tuple[Any, Backward]]]


def microbatched(
    forward: Forward,
    kind: str = "layer",
    working_set: WorkingSet | None = None,
    *,
    short_products: bool = False,
    whole: bool = False,
) -> Callable[..., tuple[Array, Vjp]]:
    """The ``apply`` of a layer whose forward pass is a coroutine; it carries the coroutine as ``apply.forward``.

    Args:
        forward: ``forward(params, x, key, keep) -> (y, backward)`` for one microbatch, where
            ``backward(dy, input_grad) -> (dparams, dx)`` is a coroutine too; without ``keep`` it may be None.
        kind: the layer's kind, for messages.
        working_set: as ``cut`` takes it, if a combinator shall cut a large batch in front of this layer.
        short_products: give BLAS one thread for images, whose many products are too short to be shared out.
        whole: never cut a batch.

    Returns:
        ``apply(params, x, rng=None) -> (y, vjp_fn)``.
    """

    def apply(params: Params, x: Any, rng: Rng | None = None) -> tuple[Any, Vjp]:
        xs = _parts(params, x, whole)
        one_thread = _needs_one_thread(xs, x, short_products)
        key = None if rng is None else as_key(rng)
        y, pull = with_blas_threads(blas_threads(one_thread), in_microbatches, forward, params, xs, key, True)
        y = contract.in_order_of(x, y)
        like = contract.form(y)

        def vjp_fn(dy: Any, input_grad: bool = True) -> tuple[Params, Any]:
            contract.gradient(kind, dy, like)
            grads, dx = with_blas_threads(blas_threads(one_thread), pull, dy, input_grad)
            return grads, contract.in_order_of(x, filled(dx, x)) if input_grad else None

        return y, vjp_fn

    apply.forward, apply.per_example, apply.working_set = forward, False, working_set  # type: ignore[attr-defined]
    apply.short_products = short_products  # type: ignore[attr-defined]
    return apply


def output(layer: Layer, params: Params, x: Any) -> Any:
    """y without the backward pass and all that it would keep in memory; the bits are those of ``apply``.

    Example:
        >>> import funcnn as fn
        >>> output(fn.relu, {}, np.array([[-1.0, 2.0]]))
        array([[0., 2.]])
    """
    forward = declared(layer.apply, "forward")
    if forward is None:
        return layer.apply(params, x)[0]
    xs = _parts(params, x)
    one_thread = _needs_one_thread(xs, x, declared(layer.apply, "short_products"))
    y, _ = with_blas_threads(blas_threads(one_thread), in_microbatches, forward, params, xs, None, False)
    return contract.in_order_of(x, y)


def _needs_one_thread(xs: Sequence[Any], x: Any, short_products: bool) -> bool:
    """Whether BLAS needs one thread only for a batch x, cut into xs."""
    if len(xs) > 1 or is_small(x):
        return True
    return short_products and any(leaf.ndim >= MIN_AXES_TO_CUT for leaf in arrays_of(x))


def in_microbatches(
    forward: Forward, params: Params, xs: Sequence[Any], key: Key | None, keep: bool
) -> tuple[Any, Callable[[Any, Any], tuple[Params, Any]]]:
    """The forward pass of microbatches side by side, and the backward pass likewise.

    What is cut has the same bits on any number of threads, since each microbatch has one thread of BLAS.

    Args:
        forward: as in ``microbatched``.
        params: the parameters.
        xs: the microbatches, or the whole batch alone, whose key is ``key`` itself.
        key: as in ``forward``.
        keep: as in ``forward``.

    Returns:
        ``(y, pull)``, the output of the whole batch and ``pull(dy, input_grad) -> (grads, dx)``.
    """
    if len(xs) == 1:
        return _uncut(forward, params, xs[0], key, keep)
    keys = [key] * len(xs) if key is None else [fold(key, number) for number in range(len(xs))]
    ends, places = ends_of(xs), shards.cut([len(arrays_of(x)[0]) for x in xs], key)
    done = run_all([forward(params, x, own, keep) for x, own in zip(xs, keys, strict=True)], places)

    def pull(dy: Any, input_grad: Any) -> tuple[Params, Any]:
        parts = split_at(dy, ends)
        pulled = run_all([back(part, input_grad) for part, (_, back) in zip(parts, done, strict=True)], places)
        return added([grads for grads, _ in pulled]), join([dx for _, dx in pulled])

    return join([y for y, _ in done]), pull


def _uncut(
    forward: Forward, params: Params, x: Any, key: Key | None, keep: bool
) -> tuple[Any, Callable[[Any, Any], tuple[Params, Any]]]:
    """``in_microbatches`` of a batch that is not cut."""
    run = run_one if type(x) is np.ndarray and x.ndim < MIN_AXES_TO_CUT else _run_with_short_buffers
    y, back = run(forward(params, x, key, keep))
    return y, lambda dy, input_grad: run(back(dy, input_grad))


def coroutine_of(layer: Layer) -> tuple[Callable[..., Any], bool]:
    """How a combinator runs a child on one microbatch: a function, and whether it is a coroutine.

    A layer that is declared ``per_example`` is called; any other one without a coroutine gets the whole batch.
    """
    forward = declared(layer.apply, "forward")
    if forward is not None:
        return forward, True
    # BLAS has the number of threads that the combinator needs.
    apply = declared(layer.apply, "inside") or layer.apply
    return (apply, False) if declared(layer.apply, "per_example") else (gathered(apply), True)


def as_coroutine(layer: Layer) -> Forward:
    """The forward pass of any layer as a coroutine."""
    run, is_coroutine = coroutine_of(layer)
    if is_coroutine:
        return run

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        y, vjp_fn = run(params, x, key)
        return y, lambda dy, input_grad: _returned(vjp_fn, dy, input_grad)
        yield  # makes this function a coroutine

    return forward


def _returned(function: Callable[..., Any], *args: Any) -> Coroutine[Any]:
    """A coroutine that calls a function and waits for nothing."""
    return function(*args)
    yield


def gathered(apply: Callable[..., Any]) -> Forward:
    """The coroutine of an ``apply`` that wants to see the whole batch: all microbatches wait until it has."""

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        def on_all(parts: list[tuple[Any, Key | None]]) -> list[tuple[Any, Vjp]]:
            xs = [part for part, _ in parts]
            y, vjp = apply(params, join(xs), parts[0][1])
            return [(part, vjp) for part in split_like(y, xs)]

        y, vjp = yield AllReduce((x, shards.whole_key(key)), on_all)

        def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
            def pull(parts: list[Any]) -> list[tuple[Params, Any]]:
                grads, dx = vjp(join(parts), input_grad)
                dxs = [None] * len(parts) if dx is None else split_like(dx, parts)
                # The gradient is that of the whole batch, so one microbatch brings it for all.
                return [(grads if number == 0 else {}, part) for number, part in enumerate(dxs)]

            own: tuple[Params, Any] = yield AllReduce(dy, pull)
            return own

        return y, backward

    return forward


def all_sum(values: tuple[Array, ...]) -> AllReduce:
    """Yield this to get the sums of some arrays over all microbatches, added in their order.

    Example:
        >>> def total(x):
        ...     return (yield all_sum((x.sum(),)))
        >>> [float(total) for (total,) in run_all([total(np.ones(2)), total(np.ones(3))])]
        [5.0, 5.0]
    """
    return AllReduce(values, _summed)


def _summed(parts: list[tuple[Array, ...]]) -> list[list[Array]]:
    """The sums, for each microbatch."""
    return [[reduce(np.add, column) for column in zip(*parts, strict=True)]] * len(parts)


@contextmanager
def microbatches(examples: int | None) -> Iterator[None]:
    """Cut every batch inside the ``with`` into microbatches of this size, or none at all; for tests.

    Args:
        examples: the number of examples in each, ``>= 1``; None to cut nothing.

    Returns:
        A context manager, for the calling thread only.

    Example:
        >>> with microbatches(2):
        ...     [len(part) for part in cut(np.zeros((5, 3)))]
        [2, 2, 1]
    """
    size = None if examples is None else checks.size("microbatches", "examples", examples)

    def chosen(x: Tree) -> list[Tree]:
        return [x] if size is None else slices(x, size)

    with set_inside(_cut, chosen):
        yield


def cut(x: Tree, working_set: WorkingSet = elements_of) -> list[Tree]:
    """Cut a batch into microbatches. Where depends on shapes alone, never on dtype, memory order or threads.

    Args:
        x: (batch, ...), or a tree of such arrays.
        working_set: ``working_set(x)``, the number of elements of the largest array that a layer works on; by default
            all elements of ``x``.

    Returns:
        An even number of microbatches, views of ``x``; or ``x`` itself if the working set or the batch is small.

    Example:
        >>> [len(part) for part in cut(np.zeros((150, 28, 28, 8), np.float32))]
        [38, 38, 38, 36]
    """
    chosen = _cut.get()
    if chosen is not None:
        return chosen(x)
    if type(x) is np.ndarray and x.ndim < MIN_AXES_TO_CUT:
        return [x]
    leaves = arrays_of(x)
    n = len(leaves[0]) if leaves else 0
    fewest, most = (1, 1) if declared(working_set, "of_sequences") else (MICROBATCH_MIN, MICROBATCH_MAX)
    if n < 2 * fewest or all(leaf.ndim < MIN_AXES_TO_CUT for leaf in leaves):
        return [x]
    elements = working_set(x)
    if elements < MIN_WORKING_SET:
        return [x]
    # However narrow its examples are, a microbatch has half of the least working set.
    most = max(most, MIN_WORKING_SET * n // (2 * elements))
    return slices(x, -(-n // (2 * -(-n // (2 * most)))))


def of_sequences(working_set: WorkingSet) -> WorkingSet:
    """Declare a working set that of layers which take sequences as matrices, with the batch outermost in memory.

    Images lie with the batch innermost, so that few of them make short runs; of sequences, one is enough.

    Example:
        >>> [len(part) for part in cut(np.zeros((3, 512, 1024), np.float32), of_sequences(elements_of))]
        [1, 1, 1]
    """

    def elements(x: Any) -> int:
        return working_set(x)

    elements.of_sequences = True  # type: ignore[attr-defined]
    return elements


def run_all(coroutines: Sequence[Coroutine[T]], places: Sequence[shards.Shard | None] = ()) -> list[T]:
    """Run the microbatches' coroutines side by side, from one all-reduce to the next, to their ends.

    Args:
        coroutines: one for each microbatch; all of them reach the same all-reduces.
        places: where each of them stands in a batch that is computed in shards.

    Returns:
        What they returned, in order.
    """

    def combine(reached: list[Any]) -> Sequence[Any] | None:
        if isinstance(reached[0], _Done):
            return None
        try:
            return shards.combined(reached[0].combine, [request.value for request in reached])
        except Exception as error:
            # Raised where the first microbatch waits, the error gets its path on the way out.
            coroutines[0].throw(error)
            raise

    # What a microbatch sets for itself, NumPy's buffers and that it is one, ends with the context of the threads.
    own = zip(coroutines, places or [None] * len(coroutines), strict=True)
    return [done.value for done in rounds.run([partial(_advance, *pair) for pair in own], combine)]


def run_one(coroutine: Coroutine[T]) -> T:
    """Run the coroutine of a batch that is not cut.

    Example:
        >>> def doubled(x):
        ...     return 2 * (yield all_sum((x,)))[0]
        >>> run_one(doubled(np.ones(2)))
        array([2., 2.])
    """
    received = None
    try:
        while True:
            request = coroutine.send(received)
            received = None  # what was received is used up, and must not stay alive while the next layer runs
            try:
                (received,) = shards.combined(request.combine, [request.value])
            except Exception as error:
                coroutine.throw(error)
    except StopIteration as stop:
        result: T = stop.value
        return result


class _Done(NamedTuple):
    """What a coroutine returned."""

    value: Any


def _advance(coroutine: Coroutine[T], place: shards.Shard | None, received: Any) -> AllReduce | _Done:
    """Let a coroutine run to its next all-reduce, or to its end; a microbatch is not cut again inside."""
    np.setbufsize(UFUNC_BUFFER)
    shards.enter(place)
    _cut.set(lambda x: [x])
    try:
        return coroutine.send(received)
    except StopIteration as stop:
        return _Done(stop.value)


def _run_with_short_buffers(coroutine: Coroutine[T]) -> T:
    """Run the coroutine of images that are not cut, in a context of its own."""
    return copy_context().run(_with_short_buffers, coroutine)


def _with_short_buffers(coroutine: Coroutine[T]) -> T:
    """Run it in this context."""
    np.setbufsize(UFUNC_BUFFER)
    return run_one(coroutine)


def _parts(params: Params, x: Tree, whole: bool = False) -> list[Tree]:
    """The batch alone, or its microbatches for tests; an error if its arrays have different numbers of examples."""
    if isinstance(x, dict):
        contract.params_dict("", params)
        check_one_length(x)
    chosen = None if whole else _cut.get()
    return [x] if chosen is None else chosen(x)
