"""Primitives are compiled once for a shape, kept while there is room, and run on arrays by any thread.

What oneDNN creates has a ``Handle``, which destroys it when it is deleted. Each call runs on one thread, the caller's;
so the bits do not depend on a number of threads, and no team of threads exists that a forked child would wait for. What
a primitive is compiled by is guarded by a lock that is held during a fork; what a call needs of its own it takes from a
free list.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

import funcnn.kernels.onednn.codes as codes
from funcnn.aliases import Array
from funcnn.cores import hold_during_fork
from funcnn.engine.memory import empty
from funcnn.kernels.onednn.library import Library, OneDnnError, Unimplemented, failure, load

__all__ = ["Handle", "Primitive", "attributes", "compiled", "description", "descriptor", "dims", "reordering"]

K = ParamSpec("K")
T = TypeVar("T")

MAX_PRIMITIVES = 256
"""How many shapes each kernel keeps primitives for; those that were not used for longest are destroyed."""

HEADER = object.__basicsize__
"""Bytes before what an object of CPython has of its own."""

_lock = threading.RLock()
hold_during_fork(_lock, lambda: None)


class Handle:
    """Something of oneDNN's, destroyed with this object; ctypes passes it by its pointer.

    Args:
        kind: what it is, the first part of the names of its functions, such as ``"memory"``.
        create: the function that creates it; by default ``kind`` with ``_create``.
        *args: its arguments.
    """

    __slots__ = ("_as_parameter_", "_destroy")

    def __init__(self, kind: str, *args: Any, create: str = "") -> None:
        self._destroy: Any = None
        own, pointer = load(), ctypes.c_void_p()
        own.call(create or f"{kind}_create", ctypes.byref(pointer), *args)
        self._as_parameter_, self._destroy = pointer, getattr(own.short, f"dnnl_{kind}_destroy")

    def __del__(self) -> None:
        destroy = getattr(self, "_destroy", None)  # an interrupt may have come before there was one
        if destroy is not None:
            destroy(self._as_parameter_)


@cache
def engine() -> ctypes.c_void_p:
    """The CPU, which lives as long as the process."""
    pointer = ctypes.c_void_p()
    load().call("engine_create", ctypes.byref(pointer), codes.CPU, 0)
    return pointer


def dims(values: Sequence[int]) -> Any:
    """Sizes as oneDNN takes them."""
    return (ctypes.c_int64 * 12)(*values)


def descriptor(sizes: Sequence[int], strides: Sequence[int] | None = None) -> Handle:
    """The descriptor of float32 elements with these strides, counted in elements; in any order without strides."""
    if strides is None:
        create, order = "memory_desc_create_with_tag", codes.ANY_ORDER
    else:
        create, order = "memory_desc_create_with_strides", dims(strides)
    return Handle("memory_desc", len(sizes), dims(sizes), codes.FLOAT32, order, create=create)


def attributes(*operations: tuple[Any, ...]) -> Handle:
    """The attributes of a primitive that gets its scratch memory from us, and then does some post-ops.

    Args:
        *operations: the name of a post-op, such as ``"eltwise"``, and its arguments.
    """
    own, made, after = load(), Handle("primitive_attr"), Handle("post_ops")
    own.call("primitive_attr_set_scratchpad_mode", made, codes.USER_SCRATCHPAD)
    for name, *args in operations:
        own.call(f"post_ops_append_{name}", after, *args)
    own.call("primitive_attr_set_post_ops", made, after)
    return made


def description(kind: str, *args: Any, after: Sequence[tuple[Any, ...]] = ()) -> Handle:
    """The description of a primitive such as ``"convolution_forward"``, without the engine, and its post-ops."""
    return Handle("primitive_desc", engine(), *args, attributes(*after), create=f"{kind}_primitive_desc_create")


class Primitive:
    """A compiled primitive.

    Args:
        described: its description.
        arguments: the descriptors of its arrays by their places, or numbers of queries that return them, in the order
            in which they are passed.

    Raises:
        Unimplemented: oneDNN has only its reference kernel for this, which is hundreds of times slower.
    """

    def __init__(self, described: Handle, arguments: Mapping[int, Any]) -> None:
        own, name = load(), ctypes.c_char_p()
        self._library, self._description = own, described
        own.call("primitive_desc_query", described, codes.QUERY_IMPLEMENTATION, 0, ctypes.byref(name))
        self.implementation = (name.value or b"").decode()
        if self.implementation.startswith("ref"):
            raise Unimplemented(f"oneDNN: there is only a reference kernel, {self.implementation}")
        self._primitive = Handle("primitive", self._description)
        self._execute = own.long.dnnl_primitive_execute
        self._arguments = {
            place: self.queried(found) if isinstance(found, int) else found for place, found in arguments.items()
        }
        scratch = self.queried(codes.QUERY_SCRATCHPAD)
        self._scratch = self.size(scratch)
        if self._scratch:
            self._arguments[codes.SCRATCHPAD] = scratch
        self._free: deque[_Arguments] = deque()

    def queried(self, what: int) -> Any:
        """The pointer of a descriptor, which lives as long as this primitive."""
        return ctypes.c_void_p(self._library.short.dnnl_primitive_desc_query_md(self._description, what, 0))

    def size(self, described: Any) -> int:
        """The bytes of a descriptor; 0 if there is none."""
        pointer = getattr(described, "_as_parameter_", described)
        return self._library.short.dnnl_memory_desc_get_size(pointer) if pointer else 0

    def __call__(self, *arrays: Array) -> None:
        """Run it on C-contiguous arrays, in the order of its arguments; outputs are written to."""
        if self._scratch:
            arrays += (empty((self._scratch,), np.uint8),)
        try:
            own = self._free.pop()
        except IndexError:
            own = _Arguments(self._arguments)
        own.set(self._library, arrays)
        status = self._library.on_one_thread(self._execute, self._primitive, own.stream, len(arrays), own.address)
        if status:
            shapes = [array.shape for array in arrays]
            raise failure(status, "primitive_execute", f"{self.implementation} of {shapes}")
        self._free.append(own)


class _Arguments:
    """What one call of a primitive needs for itself: a stream, and a memory object for each of its arrays."""

    def __init__(self, descriptors: Mapping[int, Any]) -> None:
        self.stream = Handle("stream", engine(), codes.IN_ORDER)
        self.memories = [Handle("memory", described, engine(), None) for described in descriptors.values()]
        self.pointers = [memory._as_parameter_ for memory in self.memories]
        self.places: list[int | None] = [None] * len(self.pointers)  # where the elements of the last call's arrays were
        arguments = zip(descriptors, self.pointers, strict=True)
        self.list = (_Argument * len(descriptors))(*[_Argument(place, pointer) for place, pointer in arguments])
        self.address = ctypes.addressof(self.list)

    def set(self, own: Library, arrays: Sequence[Array]) -> None:
        """Let the memory objects refer to these arrays; many are where those of the last call were."""
        for number, array in enumerate(arrays):
            address = address_of(array)
            if address != self.places[number]:
                own.short.dnnl_memory_set_data_handle(self.pointers[number], address)
                self.places[number] = address


def address_of(array: Array) -> int | None:
    """Where the elements of an array are: NumPy's objects keep that first, behind the header that all objects have.

    ``array.__array_interface__`` says the same, but takes ten times as long, half of the time of a small call.
    """
    return ctypes.c_void_p.from_address(id(array) + HEADER).value


class _Argument(ctypes.Structure):
    _fields_ = (("place", ctypes.c_int), ("memory", ctypes.c_void_p))


def compiled(build: Callable[K, T]) -> Callable[K, T | None]:
    """Keep what a function of shapes has compiled for the last shapes; None where oneDNN has no fast implementation."""

    @lru_cache(maxsize=MAX_PRIMITIVES)
    def kept(*key: Any) -> T | None:
        with _lock:
            try:
                found: T = load().on_one_thread(build, *key)
                return found
            except Unimplemented:
                return None
            except OneDnnError as error:
                raise OneDnnError(f"{error} ({build.__name__.strip('_')} of {key})") from None

    return wraps(build)(kept)  # type: ignore[return-value]


def reordering(source: Any, target: Any) -> Primitive | None:
    """The primitive that copies an array from one order of memory to another; None if they are the same."""
    pointers = [getattr(described, "_as_parameter_", described) for described in (source, target)]
    if load().short.dnnl_memory_desc_equal(*pointers):
        return None
    args = source, engine(), target, engine(), attributes()
    described = Handle("primitive_desc", *args, create="reorder_primitive_desc_create")
    return Primitive(described, {codes.SRC: source, codes.DST: target})
