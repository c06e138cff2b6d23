"""The shared library of oneDNN: where it is found, whether it is one that works here, and how its functions are called.

Its C interface is called through ``ctypes``. Short functions keep the global interpreter lock; those that compile or
compute release it. A function that fails raises, with its name and what the status means.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import funcnn.kernels.onednn.codes as codes

__all__ = ["Library", "OneDnnError", "Unimplemented", "failure", "load"]

WHEEL = "onednn-cpu-gomp"
FILES = {"darwin": "libdnnl.3.dylib", "win32": "dnnl.dll"}
"""The library's name on other systems than Linux."""

USABLE_RUNTIMES = ("sequential", "OpenMP")
"""Those whose calls can be held to one thread."""

INSTALL = (
    'install it with pip install "funcnn[onednn]" (x86-64 Linux) or conda install -c conda-forge onednn, or set '
    "FUNCNN_ONEDNN to the path of libdnnl.so.3"
)


class OneDnnError(RuntimeError):
    """A function of oneDNN failed."""


class Unimplemented(OneDnnError):
    """oneDNN has no implementation of what was asked for."""


class _Version(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int), ("hash", ctypes.c_char_p),
        ("cpu_runtime", ctypes.c_uint), ("gpu_runtime", ctypes.c_uint),
    )  # fmt: skip


class Library(NamedTuple):
    """A loaded library.

    Args:
        path: the file, or the name under which the system's loader found it.
        source: who named it: the environment variable, the system's loader, the environment of Python or the wheel.
        version: such as "3.2.0".
        runtime: "OpenMP" or "sequential".
        short: its functions, called with the global interpreter lock.
        long: the same, called without it.
    """

    path: str
    source: str
    version: str
    runtime: str
    short: Any
    long: Any

    def call(self, name: str, *args: Any) -> None:
        """Call a function that returns a status; its arguments are objects of ctypes or have a handle."""
        if status := getattr(self.long, f"dnnl_{name}")(*args):
            raise failure(status, name)

    def on_one_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function while OpenMP has one thread here, so that it starts no team, which a fork would not survive.

        The calling thread alone has another number meanwhile, and then what it had.
        """
        if self.runtime != "OpenMP":
            return function(*args)
        before = self.short.omp_get_max_threads()
        self.short.omp_set_num_threads(1)
        try:
            return function(*args)
        finally:
            self.short.omp_set_num_threads(before)


def failure(status: int, name: str, what: str = "") -> OneDnnError:
    """The error of a function that did not succeed."""
    kind, of = Unimplemented if status == codes.UNIMPLEMENTED else OneDnnError, f" ({what})" if what else ""
    return kind(f"oneDNN: dnnl_{name} failed: {codes.STATUS.get(status, f'unknown status {status}')}{of}")


@cache
def load() -> Library:
    """The library, loaded once.

    Raises:
        ImportError: there is none, or none that works here; the message says what was found and what to install.
    """
    found = []
    for source, path in _places():
        try:
            return _loaded(source, path)
        except (OSError, ImportError) as error:
            found.append(f"{source}: {error}")
        if source == "FUNCNN_ONEDNN":  # who names a file wants that one
            break
    raise ImportError(f"the kernels 'onednn' need oneDNN 3 ({'; '.join(found)}); {INSTALL}")


def _places() -> Iterator[tuple[str, str]]:
    """Where the library may be, in the order in which it is looked for, and who says so."""
    if named := os.environ.get("FUNCNN_ONEDNN"):
        yield "FUNCNN_ONEDNN", named
    name = FILES.get(sys.platform, "libdnnl.so.3")
    yield "the system's loader", name
    for folder in ("lib", "Library/bin"):
        inside = Path(sys.prefix, folder, name)
        if inside.exists() and not _in_wheel(inside):
            yield "the environment of Python", str(inside)
    for file in _wheel_files():
        if file.name == name:
            yield f"the wheel {WHEEL}", str(file)


def _in_wheel(file: Path) -> bool:
    """Whether a file was installed by the wheel, which puts it into the folder of the environment's libraries."""
    return any(own.exists() and own.samefile(file) for own in _wheel_files())


def _wheel_files() -> list[Path]:
    """The files of the wheel, if it is installed."""
    from importlib import metadata  # takes a while, and only the wheel needs it

    try:
        wheel = metadata.distribution(WHEEL)
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in wheel.files or ()]


def _loaded(source: str, path: str) -> Library:
    """Load a file, and check that it is oneDNN 3 for a runtime whose threads can be limited."""
    long, short = ctypes.CDLL(path), ctypes.PyDLL(path)
    try:
        long.dnnl_version.restype = ctypes.POINTER(_Version)
        version = long.dnnl_version().contents
    except AttributeError:
        raise ImportError(f"{path} is not oneDNN: it has no function dnnl_version") from None
    number = f"{version.major}.{version.minor}.{version.patch}"
    if version.major != 3:
        raise ImportError(f"{path} is oneDNN {number}, expected version 3")
    runtime = codes.RUNTIMES.get(version.cpu_runtime, f"an unknown runtime {version.cpu_runtime}")
    if runtime not in USABLE_RUNTIMES:
        raise ImportError(f"{path} is built for {runtime}, expected a build for OpenMP, or a sequential one")
    _declare(long)
    _declare(short)
    return Library(path, source, number, runtime, short, long)


P, N, U, F = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint, ctypes.c_float
DIMS, OUT = ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(P)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "engine_create": (OUT, N, ctypes.c_size_t),
    "stream_create": (OUT, P, U),
    "stream_destroy": (P,),
    "memory_desc_create_with_strides": (OUT, N, DIMS, N, DIMS),
    "memory_desc_create_with_tag": (OUT, N, DIMS, N, N),
    "memory_desc_destroy": (P,),
    "memory_create": (OUT, P, P, P),
    "memory_destroy": (P,),
    "memory_set_data_handle": (P, P),
    "primitive_attr_create": (OUT,),
    "primitive_attr_destroy": (P,),
    "primitive_attr_set_scratchpad_mode": (P, N),
    "primitive_attr_set_post_ops": (P, P),
    "post_ops_create": (OUT,),
    "post_ops_destroy": (P,),
    "post_ops_append_eltwise": (P, N, F, F),
    "primitive_desc_query": (P, N, N, P),
    "primitive_desc_destroy": (P,),
    "primitive_create": (OUT, P),
    "primitive_destroy": (P,),
    "primitive_execute": (P, P, N, P),
    "reorder_primitive_desc_create": (OUT, P, P, P, P, P),
    "convolution_forward_primitive_desc_create": (OUT, P, N, N, P, P, P, P, DIMS, DIMS, DIMS, DIMS, P),
    "convolution_backward_data_primitive_desc_create": (OUT, P, N, P, P, P, DIMS, DIMS, DIMS, DIMS, P, P),
    "convolution_backward_weights_primitive_desc_create": (OUT, P, N, P, P, P, P, DIMS, DIMS, DIMS, DIMS, P, P),
    "pooling_forward_primitive_desc_create": (OUT, P, N, N, P, P, DIMS, DIMS, DIMS, DIMS, DIMS, P),
    "pooling_backward_primitive_desc_create": (OUT, P, N, P, P, DIMS, DIMS, DIMS, DIMS, DIMS, P, P),
    "batch_normalization_forward_primitive_desc_create": (OUT, P, N, P, P, F, U, P),
    "batch_normalization_backward_primitive_desc_create": (OUT, P, N, P, P, P, F, U, P, P),
    "layer_normalization_forward_primitive_desc_create": (OUT, P, N, P, P, P, F, U, P),
    "layer_normalization_backward_primitive_desc_create": (OUT, P, N, P, P, P, P, F, U, P, P),
    "softmax_forward_primitive_desc_create": (OUT, P, N, N, P, P, N, P),
    "matmul_primitive_desc_create": (OUT, P, P, P, P, P, P),
}
"""The types of the arguments of each function; all return a status."""


def _declare(functions: Any) -> None:
    """Tell ctypes the types, so that a wrong argument is an error and not a crash."""
    for name, types in SIGNATURES.items():
        function = getattr(functions, f"dnnl_{name}")
        function.argtypes, function.restype = types, N
    functions.dnnl_primitive_desc_query_md.argtypes = (P, N, N)
    functions.dnnl_primitive_desc_query_md.restype = P
    functions.dnnl_memory_desc_get_size.argtypes = (P,)
    functions.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
    functions.dnnl_memory_desc_equal.argtypes = (P, P)
    functions.dnnl_memory_desc_equal.restype = N
