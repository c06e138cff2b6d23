"""The parts of augmentations: several in turn, and one that changes the images of a batch.

A batch is ``x``, ``(x, target)`` or ``(x, target, weights)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Rng
from funcnn.recorded import recorded
from funcnn.rng import fold, generator
from funcnn.wording import what

__all__ = ["Augmentation", "compose", "of_x"]

Augmentation: TypeAlias = Callable[[Any, Rng], Any]
"""``augment(batch, rng) -> batch``; nothing that is passed in is written to."""


@recorded
def compose(*augmentations: Augmentation) -> Augmentation:
    """Several augmentations, one after the other; number i gets the key ``fold(rng, i)``.

    Args:
        *augmentations: functions ``augment(batch, rng) -> batch``, those of ``funcnn.augment`` or of your own.

    Returns:
        A function of the same kind.

    Raises:
        TypeError: an augmentation is not a function of a batch and a key.

    Example:
        >>> import funcnn as fn
        >>> augment = compose(fn.augment.flip(), fn.augment.noise(0.1))
        >>> augment(np.zeros((2, 4, 4, 1), np.float32), 0).shape
        (2, 4, 4, 1)
    """
    for number, augmentation in enumerate(augmentations):
        checks.function("compose", f"augmentation {number}", augmentation, "batch, rng")

    def composed(batch: Any, rng: Rng) -> Any:
        for number, augmentation in enumerate(augmentations):
            batch = augmentation(batch, fold(rng, number))
        return batch

    return composed


def of_x(kind: str, change: Callable[[Array, np.random.Generator], Array], dtypes: str = "fiu") -> Augmentation:
    """An augmentation that changes the images of a batch, (n, height, width, channels), and leaves the rest."""

    def augment(batch: Any, rng: Rng) -> Any:
        x, *rest = batch if isinstance(batch, tuple) else (batch,)
        check_images(kind, x, dtypes)
        changed = change(x, generator(rng))
        return (changed, *rest) if isinstance(batch, tuple) else changed

    return augment


def check_images(kind: str, x: Any, dtypes: str = "fiu") -> None:
    """Raise if x is not an array of images."""
    expected = f"{kind}: expected x as an array of images, (n, height, width, channels)"
    if isinstance(x, dict):
        raise TypeError(
            f"{expected}, got a dict of {sorted(x)}; write a function of the batch that changes one of them"
        )
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{expected}, got {what(x)}")
    checks.plain(kind, x, "x")
    if x.ndim != 4:
        one = "; of one image, use x[None]" if x.ndim == 3 else ""
        raise ValueError(f"{expected}, got shape {x.shape}{one}")
    if x.dtype.kind not in dtypes:
        fix = "; use x.astype(np.float32) / 255" if x.dtype.kind in "iu" else ""
        raise TypeError(f"{expected}, of {'floats' if dtypes == 'f' else 'numbers'}, got {x.dtype}{fix}")
