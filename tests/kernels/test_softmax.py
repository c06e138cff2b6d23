"""The stable sigmoid and softmax family: against the plain formulas, and where those overflow."""

from collections.abc import Callable

import numpy as np
import pytest

from funcnn.aliases import Array
from funcnn.engine.memory import release_memory
from funcnn.kernels.softmax import log_softmax, log_sum_exp, shifted_exponentials, sigmoid, softmax

# Each function, the textbook formula, and the output at rows of (-1e4, 1e4).
FUNCTIONS: list[tuple[Callable[[Array], Array], Callable[[Array], Array], list[float]]] = [
    (sigmoid, lambda x: 1 / (1 + np.exp(-x)), [0.0, 1.0]),
    (softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True), [0.0, 1.0]),
    (log_softmax, lambda x: np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True)), [-2e4, 0.0]),
    (log_sum_exp, lambda x: np.log(np.exp(x).sum(-1, keepdims=True)), [1e4]),
]
every_function = pytest.mark.parametrize(
    ("function", "formula", "extreme"), FUNCTIONS, ids=[row[0].__name__ for row in FUNCTIONS]
)


@every_function
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 7), (70, 50, 10)])
def test_the_textbook_formula(
    function: Callable[[Array], Array],
    formula: Callable[[Array], Array],
    extreme: list[float],
    dtype: type,
    shape: tuple[int, ...],
) -> None:
    x: Array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    x.flags.writeable = False
    y, again = function(x), function(x)
    assert y.dtype == dtype
    assert y.tobytes() == again.tobytes()
    assert not np.shares_memory(y, x)
    eps = float(np.finfo(dtype).eps)
    # A few roundings of numbers near 1.
    np.testing.assert_allclose(y, formula(x.astype(np.float64)), rtol=20 * eps, atol=eps)


def test_many_rows_of_few_classes_are_laid_out_by_class() -> None:
    x: Array = np.random.default_rng(0).normal(size=(40, 100, 10))
    for found in shifted_exponentials(x):
        assert found.strides[-1] == max(found.strides)
    few, wide = x[:2], x.reshape(-1, 20)
    assert [shifted_exponentials(other)[1].flags.c_contiguous for other in (few, wide)] == [True, True]


@pytest.mark.parametrize(("classes", "arrays"), [(10, 3), (20, 2)])
def test_large_results_use_memory_that_the_next_call_takes_over(classes: int, arrays: int) -> None:
    x = np.zeros((4000, classes), np.float32)
    release_memory()
    shifted_exponentials(x)  # with few classes the copy laid out by class is the third array
    assert release_memory() // x.nbytes == arrays


@every_function
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_inputs_do_not_overflow(
    function: Callable[[Array], Array], formula: Callable[[Array], Array], extreme: list[float], dtype: type
) -> None:
    y = function(np.array([[-1e4, 1e4]], dtype))
    np.testing.assert_array_equal(y, np.array([extreme], dtype))


@every_function
def test_a_batch_of_zero_examples(
    function: Callable[[Array], Array], formula: Callable[[Array], Array], extreme: list[float]
) -> None:
    x = np.zeros((0, 3), np.float32)
    y = function(x)
    assert y.dtype == np.float32
    assert y.shape == ((0, 1) if function is log_sum_exp else (0, 3))


@every_function
def test_the_memory_order_changes_no_bits(
    function: Callable[[Array], Array], formula: Callable[[Array], Array], extreme: list[float]
) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    np.testing.assert_array_equal(function(np.asfortranarray(x)), function(x))


def test_sigmoid_writes_into_out_also_in_place() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    expected, out = sigmoid(x), np.empty_like(x)
    assert sigmoid(x, out) is out
    np.testing.assert_array_equal(out, expected)
    assert sigmoid(x, x) is x
    np.testing.assert_array_equal(x, expected)


def test_sigmoid_keeps_the_relative_precision_of_small_probabilities() -> None:
    # 1 - sigmoid(-x) would be 0 here.
    assert sigmoid(np.array([-60.0]))[0] == pytest.approx(np.exp(-60), rel=1e-14)
    assert sigmoid(np.array([-80.0], np.float32))[0] == pytest.approx(np.exp(-80), rel=1e-5)


def test_sigmoid_of_large_numbers_is_0_or_1() -> None:
    x = np.array([-np.inf, -1e38, -1e3, 1e3, 1e38, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(sigmoid(x), [0, 0, 0, 1, 1, 1, np.nan])


def test_shifted_exponentials_are_those_of_the_formulas() -> None:
    x = np.array([[1.0, 3.0], [2.0, 2.0]])
    shifted, exponentials, total = shifted_exponentials(x)
    np.testing.assert_array_equal(shifted, [[-2.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(exponentials, np.exp(shifted))
    np.testing.assert_array_equal(total, exponentials.sum(-1, keepdims=True))
