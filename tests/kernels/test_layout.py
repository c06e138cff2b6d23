"""Memory order: images of one to three axes on their way into the kernels' order, and back."""

import numpy as np
import oracle
import pytest
from hypothesis import given, settings

from funcnn.kernels.layout import as_image, as_volume, batch_first, batch_innermost

SHAPE = (2, 3, 4, 5, 6)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("layout", oracle.LAYOUTS)
def test_the_batch_lies_innermost_and_the_rows_outermost(rank: int, layout: str) -> None:
    shape = SHAPE[: rank + 2]
    x = oracle.arranged(np.random.default_rng(0).standard_normal(shape), layout)
    memory = batch_innermost(x)
    n, d, h, w, c = as_volume(x).shape
    assert memory.shape == (h, c, d, w, n)
    assert memory.flags.c_contiguous
    assert memory[-1, -2, -1, -1, -1] == x[-1, ..., -2].ravel()[-1]
    back = batch_first(memory, rank)
    np.testing.assert_array_equal(back, x)
    # What lies so already is not copied.
    assert np.shares_memory(batch_innermost(back), back)
    assert batch_innermost(back).flags.c_contiguous


@settings(max_examples=50)
@given(oracle.ranks)
def test_a_volume_is_a_view_with_axes_of_one(rank: int) -> None:
    x = np.zeros(SHAPE[: rank + 2])
    volume = as_volume(x)
    assert volume.ndim == 5
    assert np.shares_memory(volume, x)
    assert as_image(volume, rank).shape == x.shape
