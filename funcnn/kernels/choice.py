"""Who wants other kernels than NumPy's asks for them: by ``use_kernels``, or by an environment variable.

Nothing is chosen unasked, since another implementation rounds in another way.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple

from funcnn.calls import explained
from funcnn.kernels.implementations import calls, replace_kernels
from funcnn.wording import shown

__all__ = ["kernels_report", "use_kernels"]

VARIABLE = "FUNCNN_KERNELS"


class _Choice(NamedTuple):
    """What was chosen.

    Args:
        name: "numpy" or "onednn".
        by: who chose it, in words.
    """

    name: str
    by: str


_choice = _Choice("numpy", "the default")


@explained
def use_kernels(name: str) -> AbstractContextManager[object]:
    """Choose the kernels that compute from now on, in the whole process: NumPy's, or those of oneDNN where it has them.

    oneDNN is a library of compiled kernels for the CPU. It computes in float32 what it can: convolutions, pooling,
    batch norm, dense layers and others. NumPy computes the rest, and everything in float64. Values are the same to
    rounding; the bits differ. Each call uses one thread, so the bits do not depend on the number of threads, and large
    batches are computed on several cores as ever.

    The environment variable ``FUNCNN_KERNELS`` chooses at the start. oneDNN is found by ``FUNCNN_ONEDNN``, the path of
    ``libdnnl.so.3``, or else by the system's loader, in the environment of Python (conda), or in the wheel that
    ``pip install "funcnn[onednn]"`` brings on x86-64 Linux.

    Args:
        name: ``"numpy"`` or ``"onednn"``.

    Returns:
        A context manager. Used in a ``with``, it restores what was chosen before; without it the choice stays.

    Raises:
        ValueError: there are no kernels of that name.
        ImportError: there is no oneDNN of version 3; the message says how to get it.

    Example:
        >>> with use_kernels("numpy"):
        ...     print(kernels_report())
        kernels "numpy", chosen by use_kernels: NumPy computes everything

    Reference:
        oneAPI Deep Neural Network Library, https://github.com/oneapi-src/oneDNN.
    """
    before = _choose(name, "use_kernels")
    stack = ExitStack()
    stack.callback(_choose, *before)
    return stack


@explained
def kernels_report() -> str:
    """Say which kernels compute, who chose them, and what they have computed since.

    Returns:
        A text of one or more lines: the choice; for oneDNN also its version, the file, how that was found, and for each
        kernel how many calls oneDNN took and how many it left to NumPy.

    Example:
        >>> with use_kernels("numpy"):
        ...     kernels_report()
        'kernels "numpy", chosen by use_kernels: NumPy computes everything'
    """
    name, by = _choice
    who = f'kernels "{name}", {by if by == "the default" else f"chosen by {by}"}'
    if name == "numpy":
        return f"{who}: NumPy computes everything"
    from funcnn.kernels import onednn

    counts = calls()
    kernels = sorted({kernel for kernel, _ in counts})
    lines = [f"  {kernel}: {counts[kernel, True]} oneDNN, {counts[kernel, False]} NumPy" for kernel in kernels]
    return "\n".join([f"{who}: {onednn.description()}", "calls since then:", *(lines or ["  none"])])


def _choose(name: str, by: str) -> _Choice:
    """Let these kernels compute; what was chosen before is returned."""
    global _choice
    if name not in ("numpy", "onednn"):
        raise ValueError(f'{by}: expected "numpy" or "onednn", got {shown(name)}')
    kernels = {}
    if name == "onednn":
        from funcnn.kernels import onednn

        kernels = onednn.kernels()
    replace_kernels(kernels)
    before, _choice = _choice, _Choice(name, by)
    return before


if asked := os.environ.get(VARIABLE):
    _choose(asked, VARIABLE)
