"""Patches against slices of the image."""

import numpy as np

from funcnn.kernels.patches import folded, unfolded
from funcnn.kernels.tuning import Tuning
from funcnn.kernels.windows import Window

WINDOW = Window((3, 2), (2, 1), (1, 2), ((1, 0), (0, 2)))


def test_patches_are_those_under_each_window_and_folding_is_the_transpose() -> None:
    random = np.random.default_rng(0)
    x, geometry = random.standard_normal((2, 6, 5, 3)), WINDOW.fit("unfold", (6, 5, 3))
    padded = np.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)))
    rows = [
        padded[:, top : top + 3, left : left + 3 : 2].transpose(0, 3, 1, 2).reshape(2, -1)
        for top in range(0, 5, 2)
        for left in range(5)
    ]
    patches = unfolded(x, geometry)
    np.testing.assert_array_equal(patches, np.stack(rows, 1))
    # One example at a time.
    np.testing.assert_array_equal(unfolded(x, geometry, Tuning(block_bytes=1)), patches)
    dy = random.standard_normal(patches.shape)
    np.testing.assert_allclose((folded(dy, geometry) * x).sum(), (dy * patches).sum(), rtol=1e-12)
    np.testing.assert_array_equal(folded(dy, geometry, Tuning(block_bytes=1)), folded(dy, geometry))
    assert folded(dy[:0], geometry).shape == (0, 6, 5, 3)
