"""Gradient descent by hand."""

import numpy as np
import pytest
from optimizer_table import two_steps

from funcnn.optim import Optimizer, add_momentum, sgd


# Gradients 1 then 3 from a parameter of 2 at a rate of 0.1; each formula is written out for these two steps.
@pytest.mark.parametrize(
    ("optimizer", "first", "second"),
    [
        (sgd(0.1), 1.9, 1.6),
        (sgd(0.1, momentum=0.5), 1.9, 1.9 - 0.1 * (0.5 * 1 + 3)),
        (sgd(0.1, momentum=0.5, nesterov=True), 2 - 0.1 * 1.5, 1.85 - 0.1 * (0.5 * 3.5 + 3)),
    ],
    ids=["sgd", "momentum", "nesterov"],
)
def test_s1_24_two_steps_by_hand(optimizer: Optimizer, first: float, second: float) -> None:
    assert two_steps(optimizer) == pytest.approx((first, second), abs=1e-8)


def test_s1_24_momentum_remembers_all_gradients() -> None:
    # The fault added the previous gradient only: 1 + 0.5 + 0.25 would have been 1.5.
    params = grads = {"w": np.ones(1)}
    transform = add_momentum(0.5)
    state = transform.init(params)
    sizes = []
    for _ in range(3):
        updates, state = transform.update(grads, state, params)
        sizes.append(updates["w"][0])
    assert sizes == [1.0, 1.5, 1.75]


def test_s2_2_biases_learn_at_the_rate_of_weights_whatever_the_batch() -> None:
    params = {"b": np.zeros(2), "w": np.zeros((3, 2))}
    grads = {"b": np.full(2, 4.0), "w": np.full((3, 2), 4.0)}
    init, update = sgd(0.5)
    updates, _ = update(grads, init(params), params)
    assert (updates["b"] == -2).all()
    assert (updates["w"] == -2).all()


def test_nesterov_without_momentum() -> None:
    with pytest.raises(ValueError, match="got momentum=0; try momentum=0.9".replace(".", r"\.")):
        sgd(0.1, nesterov=True)


def test_weight_decay_is_added_before_the_momentum_and_to_biases_too() -> None:
    params, grads = {"b": np.array([2.0]), "w": np.array([[4.0]])}, {"b": np.array([1.0]), "w": np.array([[0.0]])}
    optimizer = sgd(0.1, momentum=0.5, weight_decay=0.25)
    state = optimizer.init(params)
    params, state = optimizer.step(grads, state, params)
    # m = g + p / 4
    np.testing.assert_allclose([params["b"][0], params["w"][0, 0]], [2 - 0.1 * 1.5, 4 - 0.1 * 1])
    params, state = optimizer.step(grads, state, params)
    np.testing.assert_allclose(params["w"][0, 0], 3.9 - 0.1 * (0.5 * 1 + 3.9 / 4))
    # Without decay nothing is added to the chain, and its state has the names of before.
    assert list(sgd(0.1, weight_decay=0).init(params)) == ["scale_by_rate"]
    assert repr(sgd(0.1, weight_decay=1e-4)) == "sgd(0.1, weight_decay=0.0001)"
