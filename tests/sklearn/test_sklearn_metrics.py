import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from funcnn.aliases import Array
from funcnn.metrics import accuracy, confusion_matrix, error_rate


@st.composite
def scores_and_labels(draw: st.DrawFn) -> tuple[Array, Array]:
    n, classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    # Few different scores, so that ties occur: the first highest score has to win.
    y = draw(arrays(np.float32, (n, classes), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0])))
    return y, draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))


@settings(deadline=None)  # the first call imports scikit-learn
@given(scores_and_labels())
def test_metrics_agree_with_scikit_learn(batch: tuple[Array, Array]) -> None:
    from sklearn import metrics

    y, labels = batch
    classes = y.shape[1]
    predicted = y.argmax(axis=1)
    expected = metrics.accuracy_score(labels, predicted)
    # Two float64 divisions may round differently, by one bit.
    np.testing.assert_allclose(accuracy(y, labels), expected, rtol=1e-15)
    np.testing.assert_allclose(error_rate(y, labels), 1 - expected, rtol=1e-14, atol=1e-15)
    matrix = metrics.confusion_matrix(labels, predicted, labels=np.arange(classes))
    np.testing.assert_array_equal(confusion_matrix(y, labels), matrix)
    one_hot = np.eye(classes, dtype=np.float32)[labels]
    np.testing.assert_array_equal(confusion_matrix(y, one_hot), matrix)
