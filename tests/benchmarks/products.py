"""The bare matrix products of a step: how far NumPy is from its own limit.

The products are not guessed from the network: during one step every call of ``np.matmul`` and every product of two
matrices by ``np.dot`` is recorded, with the memory layout of its operands, the number of BLAS's threads, and whether a
microbatch made it. The same calls are then timed alone, on arrays that are ready: those of microbatches on as many
threads as the step uses, and the others one after the other. A convolution is recorded as its kernels compute it, which
is the product of a kernel with blocks of windows, in the overlapping layout that they have in the buffer; forward, for
the kernel's gradient and for the input's. Equal calls share their arrays, which stay in the cache, so this is the least
that the products can take.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController, threadpool_limits

import funcnn as fn
from tests.benchmarks.worker import Step


class Layout(NamedTuple):
    """How an operand lies in memory, with steps in bytes."""

    shape: tuple[int, ...]
    steps: tuple[int, ...]


class Product(NamedTuple):
    """A product of matrices.

    Args:
        blas_threads: how many threads BLAS had.
        in_task: whether it was made by one of several tasks that run side by side.
        a: the layout of the left operand.
        b: of the right one.
        y: of the result.
    """

    blas_threads: int
    in_task: bool
    a: Layout
    b: Layout
    y: Layout

    @property
    def multiply_adds(self) -> int:
        """The multiplications, of which each has an addition."""
        return int(np.prod(self.y.shape)) * self.a.shape[-1]


def bare_products(step: Step) -> Callable[[float], float | None]:
    """The function ``measure(seconds)`` that times the bare products of a step, for about this many seconds.

    It returns the seconds that the products of one step take, or None if the step has none.
    """
    made: list[_Group] = []

    def measure(seconds: float) -> float | None:
        if not made:
            made.extend(grouped(recorded(step)))
        return sum(group.seconds(seconds / len(made)) for group in made) if made else None

    return measure


def recorded(step: Step) -> list[Product]:
    """The products of one step, after one in which plans and buffers are made."""
    step(0)
    products: list[Product] = []
    with _matmul_recorded(products):
        step(0)
    return products


@contextmanager
def _matmul_recorded(products: list[Product]) -> Iterator[None]:
    """Append each product to a list; all products of funcnn are calls of ``np.matmul`` or ``np.dot``."""
    matmul, dot, threads = np.matmul, np.dot, fn.num_threads()
    libraries = [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]

    def recording(function: Any, a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
        y = function(a, b, *args, **kwargs)
        if function is dot and min(a.ndim, b.ndim) < 2:
            return y
        blas_threads = max(library.num_threads for library in libraries)
        # A task may not use several threads itself.
        in_task = fn.num_threads() < threads
        products.append(Product(blas_threads, in_task, *(Layout(array.shape, array.strides) for array in (a, b, y))))
        return y

    np.matmul, np.dot = partial(recording, matmul), partial(recording, dot)
    try:
        yield
    finally:
        np.matmul, np.dot = matmul, dot


class _Group:
    """Products that ran on the same threads, with their arrays; each thread has its own."""

    def __init__(self, products: list[Product]) -> None:
        self.blas_threads, self.in_task = products[0][:2]
        threads = fn.num_threads() if self.in_task else 1
        # The large ones first: then every thread gets about as much work.
        products = sorted(products, key=lambda product: product.multiply_adds, reverse=True)
        self.shares = [with_arrays(products[i::threads]) for i in range(threads)]
        self.expected: float | None = None

    def seconds(self, duration: float) -> float:
        """The seconds of all products once, measured for about this long."""
        with threadpool_limits(self.blas_threads, "blas"), ThreadPoolExecutor(len(self.shares)) as pool:
            if self.expected is None:
                self._run(pool, 1)
                self.expected = self._run(pool, 1)
            return self._run(pool, max(round(duration / self.expected), 2))

    def _run(self, pool: ThreadPoolExecutor, count: int) -> float:
        """The seconds of all products once, if they are computed several times."""
        started = time.perf_counter()
        if len(self.shares) == 1:
            multiply(self.shares[0], count)
        else:
            for done in [pool.submit(multiply, share, count) for share in self.shares]:
                done.result()
        return (time.perf_counter() - started) / count


def grouped(products: list[Product]) -> list[_Group]:
    """The products, those on the same threads together."""

    def kind(product: Product) -> tuple[int, bool]:
        return product[:2]

    return [_Group(list(alike)) for _, alike in groupby(sorted(products, key=kind), kind)]


def with_arrays(products: list[Product]) -> list[tuple[Any, Any, Any]]:
    """The operands and the result of each product; equal layouts share an array."""
    arrays: dict[tuple[str, Layout], Any] = {}
    for product in products:
        for role in ("a", "b", "y"):
            layout = getattr(product, role)
            if (role, layout) not in arrays:
                arrays[role, layout] = array_of(layout)
    return [tuple(arrays[role, getattr(product, role)] for role in ("a", "b", "y")) for product in products]


def array_of(layout: Layout) -> Any:
    """An array of ones in this layout, which may overlap itself or repeat elements."""
    itemsize = np.dtype(np.float32).itemsize
    spans = [(n - 1) * step // itemsize for n, step in zip(layout.shape, layout.steps, strict=True)]
    memory = np.ones(sum(map(abs, spans)) + 1, np.float32)
    first = sum(-span for span in spans if span < 0)
    return np.lib.stride_tricks.as_strided(memory[first:], layout.shape, layout.steps)


def multiply(operands: list[tuple[Any, Any, Any]], count: int) -> None:
    """Compute all products, several times."""
    for _ in range(count):
        for a, b, y in operands:
            np.matmul(a, b, out=y)
