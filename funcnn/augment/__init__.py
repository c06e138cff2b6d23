"""Augmentation: random changes of the batches to train on, each a function ``augment(batch, rng) -> batch`` of a key.

``batches`` and ``fit`` call it as ``augment``; the same key changes a batch in the same way, so that a run can be
resumed at any batch. ``images`` moves and covers pixels, ``mixing`` makes one example of two. A new augmentation is a
function that takes its options and returns such a function.
"""

from funcnn.augment.images import crop, cutout, flip, noise, rotate, shift
from funcnn.augment.mixing import cutmix, mixup
from funcnn.augment.parts import compose

__all__ = ["compose", "crop", "cutmix", "cutout", "flip", "mixup", "noise", "rotate", "shift"]
