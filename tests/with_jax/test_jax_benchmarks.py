"""JAX's side of the benchmark computes what ours computes, in each way that it may choose."""

import numpy as np
import pytest

from tests.benchmarks.check import LIMIT, LIMITS, differences
from tests.benchmarks.sides import JAX
from tests.benchmarks.workloads import BATCHES, CLASSES, WORKLOADS, Dense, Dropout, Network, Workload, inputs

ROWS = ["tiny", "lenet", "strided", "grouped", "autoencoder", "conv1d", "unet", "predict_1_resnet8", "adam"]


@pytest.mark.parametrize("name", ROWS)
def test_a_step_is_ours(name: str) -> None:
    assert max(differences(WORKLOADS[name], JAX)) < LIMITS.get(name, LIMIT)


def test_dropout_draws_another_mask_in_each_step() -> None:
    from tests.benchmarks import with_jax

    network = Network((4000,), (Dropout(0.25), Dense(CLASSES)))
    x = np.ones((1, 4000), np.float32)
    w = np.linspace(0.5, 1.5, 4000, dtype=np.float32)[:, None] * np.ones(CLASSES, np.float32)
    params, keys = {"dense_0": {"w": w, "b": np.zeros(CLASSES, np.float32)}}, map(with_jax.jax.random.key, range(8))
    outputs = [float(with_jax.output(network.parts, params, x, key)[0, 0]) for key in keys]
    assert len(set(outputs)) == 8
    assert np.mean(outputs) == pytest.approx(4000, rel=0.02)


def test_a_step_moves_the_parameters_in_place_of_those_it_was_given() -> None:
    from tests.benchmarks import with_jax

    workload = Workload("small", "train", Network((5,), (Dropout(0.5), Dense(CLASSES))), 4)
    x, target = inputs(workload)
    w = np.random.default_rng(0).standard_normal((5, CLASSES), np.float32)
    params = with_jax.learned_leaves({"dense_0": {"w": w, "b": np.zeros(CLASSES, np.float32)}})
    assert workload.network is not None
    step, state = with_jax.trainer(workload.network, with_jax.WAYS[0]), with_jax.first_state("adam", params)
    given = params["dense_0"]["w"]
    for i in range(BATCHES):
        params, state, _ = step(params, state, x[4 * i : 4 * i + 4], target[4 * i : 4 * i + 4], np.int32(i))
    assert given.is_deleted()
    assert int(state["step"]) == BATCHES
    assert not np.allclose(params["dense_0"]["w"], w)
