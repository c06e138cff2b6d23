"""Sums as products with ones."""

import numpy as np
import pytest

from funcnn.kernels.products import last_axis_sum, row_sum


@pytest.mark.parametrize("columns", [0, 1, 5, 8, 9, 64, 1001])
@pytest.mark.parametrize("order", ["C", "F"])
def test_last_axis_sum(columns: int, order: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, columns))
    found = last_axis_sum(np.asarray(x, order=order))  # type: ignore[call-overload]
    assert found.shape == (3, 2, 1)
    np.testing.assert_allclose(found, x.sum(-1, keepdims=True), rtol=1e-12, atol=1e-13)


def test_a_missing_number_stays_in_its_row() -> None:
    x = np.ones((3, 20), np.float32)
    x[1, 7], x[2, 3] = np.nan, np.inf
    np.testing.assert_array_equal(last_axis_sum(x), [[20], [np.nan], [np.inf]])


def test_row_sum() -> None:
    np.testing.assert_array_equal(row_sum(np.arange(12.0).reshape(4, 3)), [18, 22, 26])
