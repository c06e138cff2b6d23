import numpy as np
import pytest

from funcnn.aliases import Array
from funcnn.losses.targets import class_weights, from_one_hot, one_hot_rows


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_class_weights_by_hand(dtype: type) -> None:
    labels: Array = np.array([2, 0, 2, 2, 1, 2], dtype)
    per_class = class_weights(labels, 3)
    np.testing.assert_array_equal(per_class, [2.0, 2.0, 0.5])
    # Each class weighs a third of all.
    np.testing.assert_allclose(np.bincount(labels, per_class[labels]), [2, 2, 2])
    assert per_class[labels].mean() == 1


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 2]), ValueError, "class 1 of 3 has no example"),
        (np.array([], int), ValueError, "class 0 of 3 has no example"),
        (np.array([0, 3]), ValueError, "labels from 0 to 2, got 3"),
        (np.array([0.0, 1.0]), TypeError, "expected integer labels, got float64"),
        (np.eye(3, dtype=int), ValueError, r"labels of shape \(n,\), got \(3, 3\).*labels.argmax\(1\) for one-hot"),
    ],
)
def test_class_weights_raise_for_invalid_labels(labels: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        class_weights(labels, 3)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_one_hot_rows_and_back(dtype: type) -> None:
    labels = np.array([2, 0, 1, 2])
    rows = one_hot_rows(labels, 3)
    np.testing.assert_array_equal(rows, np.eye(3, dtype=bool)[labels])
    np.testing.assert_array_equal(from_one_hot(rows.astype(dtype)), labels)


@pytest.mark.parametrize("row", [[1, 1], [0, 0], [0.5, 0.5], [2, 0], [-1, 1], [np.nan, 1], [1, np.nan]])
def test_rows_that_are_not_one_hot(row: list[float]) -> None:
    assert from_one_hot(np.array([[0, 1], row])) is None
