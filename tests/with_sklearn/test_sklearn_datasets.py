from typing import Any

import numpy as np
import pytest

from funcnn import datasets


@pytest.mark.parametrize("n", [2, 7, 100])
@pytest.mark.parametrize("name", ["circles", "moons"])
def test_points_are_those_of_sklearn(name: str, n: int) -> None:
    import sklearn.datasets

    expected, expected_labels = getattr(sklearn.datasets, f"make_{name}")(n, shuffle=False)
    x, labels = getattr(datasets, name)(n)

    def in_order(x: Any, labels: Any) -> Any:
        rows = np.column_stack([labels, x]).astype(np.float64)
        return rows[np.lexsort(rows.round(5).T)]

    # float32 against float64, on coordinates of about 1.
    np.testing.assert_allclose(in_order(x, labels), in_order(expected, expected_labels), atol=1e-6)
