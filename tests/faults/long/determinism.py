"""The same training gives the same bits on 1, 2 and 4 threads, with any hash seed and any setting of BLAS.

Each combination of settings is an interpreter of its own. Plain rows are the exception: BLAS multiplies them on as many
threads as funcnn has, and their bits may depend on this number, unless ``use_threads(1)`` is chosen.
"""

import itertools
from collections.abc import Iterator

import funcnn as fn
from tests.faults.long.networks import TASKS
from tests.faults.long.outcome import Outcome, Verdict, judged
from tests.faults.long.processes import side_by_side, values_of

THREADS = ("1", "2", "4")
BLAS = ({}, *({"OPENBLAS_NUM_THREADS": threads} for threads in THREADS))
SETTINGS = list(itertools.product(THREADS, BLAS))
ROWS = {"mlp"}
"""The networks whose products are left to BLAS."""


def scenario(count: int) -> Outcome:
    """Try ``count`` combinations, each with another hash seed."""
    expected: dict[str, str] = {}
    return judged(compared(expected, *found) for found in side_by_side(computed, range(count)))


def computed(seed: int) -> tuple[str, dict[str, str], Verdict]:
    """The settings of one combination, the digests by what must be equal, and what went wrong."""
    threads, blas = SETTINGS[seed % len(SETTINGS)]
    settings = {"FUNCNN_NUM_THREADS": threads, "PYTHONHASHSEED": str(seed), **blas}
    values, problem = values_of(compute, **settings)
    name = " ".join(f"{key}={value}" for key, value in settings.items())
    if problem is None and len(values) != 2 * len(TASKS):
        problem = "not all was computed"
    return name, {f"{what} on {threads}" if what in ROWS else what: digest for what, digest in values}, problem


def compute() -> Iterator[tuple[str, str]]:
    """The digest of each network, by its name, and the same on one thread."""
    for name, task in TASKS.items():
        yield name, task()
    with fn.use_threads(1):
        for name, task in TASKS.items():
            yield f"{name} in use_threads(1)", task()


def compared(expected: dict[str, str], settings: str, digests: dict[str, str], problem: Verdict) -> Verdict:
    """Compare what one combination computed with what was first computed under the same name."""
    different = [name for name, digest in digests.items() if expected.setdefault(name, digest) != digest]
    return problem or (f"{settings}: other bits of {', '.join(different)}" if different else None)
