"""The run whose file is kept: exact numbers as data and parameters, so that its fingerprint is the same everywhere.

``python -m tests.golden.run`` writes the file of today's version, after two epochs of four.
"""

from pathlib import Path
from typing import Any

import numpy as np

import funcnn as fn
from funcnn.training.run_file import VERSION

FOLDER = Path(__file__).parent


def run(epochs: int, **options: Any) -> fn.Fit:
    """Train for so many epochs of three steps, with a callback that has a state."""
    x = (np.arange(12 * 3, dtype=np.float32).reshape(12, 3) % 7 - 3) / 4
    params = {"dense_0": {"w": (np.arange(6, dtype=np.float32).reshape(3, 2) - 2) / 8, "b": np.zeros(2, np.float32)}}
    return fn.fit(
        fn.serial(fn.dense(2)), params, fn.adam(1 / 64), (x, np.arange(12) % 2), fn.softmax_cross_entropy, epochs, 4,
        rng=5, verbose=False, callbacks=[fn.callbacks.early_stopping("train_loss", 3)], **options,
    )  # fmt: skip


if __name__ == "__main__":
    run(2, checkpoint=FOLDER / f"run_v{VERSION}.npz")
