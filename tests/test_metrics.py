import numpy as np
import pytest

from funcnn.aliases import Array
from funcnn.metrics import accuracy, confusion_matrix, error_rate

SCORES = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]], np.float32)
LABELS = np.array([1, 0, 2, 1])
METRICS = [accuracy, error_rate, confusion_matrix]


def test_three_of_four_right() -> None:
    assert accuracy(SCORES, LABELS) == 0.75
    assert error_rate(SCORES, LABELS) == 0.25
    matrix = confusion_matrix(SCORES, LABELS)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, [[1, 0, 0], [1, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_type_do_not_overflow(dtype: type) -> None:
    y = np.eye(100, dtype=np.float32)
    np.testing.assert_array_equal(confusion_matrix(y, np.arange(100, dtype=dtype)), np.eye(100))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_one_hot_labels_say_the_same(dtype: type) -> None:
    one_hot = np.eye(3, dtype=dtype)[LABELS]
    assert accuracy(SCORES, one_hot) == 0.75
    np.testing.assert_array_equal(confusion_matrix(SCORES, one_hot), confusion_matrix(SCORES, LABELS))


def test_classes_without_a_score_widen_the_matrix() -> None:
    matrix = confusion_matrix(SCORES, np.array([1, 0, 4, 1]), classes=5)
    assert matrix.shape == (5, 5)
    assert matrix[4, 2] == 1
    with pytest.raises(ValueError, match="classes=2 is less than the 3 scores"):
        confusion_matrix(SCORES, LABELS, classes=2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("y", "labels", "error", "message"),
    [
        (SCORES, LABELS[:1], ValueError, r"shape \(4,\), or one-hot of shape \(4, 3\).*got shape \(1,\)"),
        (SCORES, LABELS[:, None], ValueError, r"got shape \(4, 1\)"),
        (SCORES, np.array(1), ValueError, r"got shape \(\)"),
        (SCORES[:, 0], LABELS, ValueError, r"scores of shape \(n, classes\).*got shape \(4,\)"),
        (SCORES[:0], LABELS[:0], ValueError, r"at least one of each, got shape \(0, 3\)"),
        (SCORES, LABELS.astype(np.float32), TypeError, "expected integer labels, got float32"),
        (SCORES, LABELS > 0, TypeError, "expected integer labels, got bool"),
        (SCORES, LABELS + 1, ValueError, "labels from 0 to 2, got 3"),
        (SCORES, LABELS - 1, ValueError, "labels from 0 to 2, got -1"),
        (SCORES, np.full((4, 3), 0.5), ValueError, "a single 1 in each row"),
        (SCORES, np.ones((4, 3)), ValueError, "a single 1 in each row"),
        (SCORES * np.float32("nan"), LABELS, ValueError, "scores contain NaN"),
    ],
)
def test_bad_input_is_refused(metric: object, y: Array, labels: Array, error: type, message: str) -> None:
    assert callable(metric)
    with pytest.raises(error, match=message):
        metric(y, labels)
