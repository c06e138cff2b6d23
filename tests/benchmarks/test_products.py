"""The bare products of a step are all its products, and are computed again in the same layout."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from tests.benchmarks import ours
from tests.benchmarks.products import Layout, Product, array_of, bare_products, grouped, recorded
from tests.benchmarks.workloads import Workload, inputs, prediction, training

TRAINED = ["tiny", "mlp", "lenet", "scratch_2023", "strided", "grouped", "deep", "autoencoder"]


def expected_multiply_adds(workload: Workload, weights: Any) -> int:
    """Forward, and to train twice as many again, without the gradient of the input of the first layer."""
    assert workload.network is not None
    rows = fn.summary(ours.model_of(workload.network), weights, workload.network.shape).rows
    layers = [row.multiply_adds for row in rows if row.multiply_adds]
    return workload.batch * (sum(layers) if workload.task == "predict" else 3 * sum(layers) - layers[0])


@pytest.mark.parametrize(
    "workload", [*map(training, TRAINED), prediction(1, "mlp")], ids=lambda workload: workload.name
)
def test_every_product_of_a_step_is_recorded(workload: Workload) -> None:
    weights = ours.weights_of(workload)
    expected = expected_multiply_adds(workload, weights)
    with fn.use_threads(2):
        products = recorded(ours.step_of(workload, weights, *inputs(workload)))
        groups = grouped(products)
    assert sum(product.multiply_adds for product in products) == expected
    # A large batch of images is cut into microbatches, which run on two threads.
    assert all(len(group.shares) == (2 if group.in_task else 1) for group in groups)
    assert any(group.in_task for group in groups) == (workload.name in ("strided", "grouped"))


def test_threads_get_about_as_much_work_each() -> None:
    def product(rows: int) -> Product:
        layouts = (Layout((rows, 8), (32, 4)), Layout((8, 4), (16, 4)), Layout((rows, 4), (16, 4)))
        return Product(1, True, *layouts)

    with fn.use_threads(2):
        (group,) = grouped([product(rows) for rows in (1, 100, 2, 101, 3, 102, 4, 103)])
    assert [sum(len(y) for _, _, y in share) for share in group.shares] == [103 + 101 + 4 + 2, 102 + 100 + 3 + 1]


def test_matmul_is_what_it_was_after_recording() -> None:
    before, calls = np.matmul, iter([False, True])

    def failing(i: int) -> None:
        if next(calls):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        recorded(failing)
    assert np.matmul is before


def test_an_array_has_the_layout_that_was_recorded() -> None:
    memory = np.zeros((4, 6), np.float32)
    overlapping = np.lib.stride_tricks.as_strided(memory, (5, 3, 2), (8, 4, 4))
    for array in (memory, memory.T, memory[::2, ::3], memory[::-1], overlapping, np.broadcast_to(memory[0], (9, 6))):
        made = array_of(Layout(array.shape, array.strides))
        assert (made.shape, made.strides) == (array.shape, array.strides)
        assert (made == 1).all()


def test_a_step_without_products_has_no_time() -> None:
    assert bare_products(lambda i: None)(0.001) is None


def test_products_are_computed_again_and_counted_once() -> None:
    a, y = np.ones((30, 40), np.float32), np.empty((30, 30), np.float32)

    def step(i: int) -> None:
        np.matmul(a, a.T, out=y)
        np.matmul(a[:4], a.T)

    products = recorded(step)
    assert [product.multiply_adds for product in products] == [30 * 30 * 40, 4 * 30 * 40]
    (group,) = grouped(products)
    assert group.seconds(0.001) > 0
    assert [(y.shape, set(y.ravel())) for _, _, y in group.shares[0]] == [((30, 30), {40}), ((4, 30), {40})]
