import numpy as np
import pytest

from funcnn.datasets import one_hot


def test_one_hot() -> None:
    y = one_hot(np.array([[2, 0], [1, 1]], np.uint8), 3)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [[[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]]])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 3]), ValueError, "labels from 0 to 2, got 3"),
        (np.array([0, -1]), ValueError, "labels from 0 to 2, got -1"),
        (np.array([0.0, 1.0]), TypeError, "expected integer labels, got float64"),
        (np.array([True, False]), TypeError, "expected integer labels, got bool"),
    ],
)
def test_one_hot_refuses_what_is_no_class(labels: np.ndarray, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        one_hot(labels, 3)
