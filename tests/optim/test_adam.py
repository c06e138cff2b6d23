"""Adam and its variants by hand, and which weights decay."""

import math

import numpy as np
import pytest
from optimizer_table import everywhere, two_steps

from funcnn import tree
from funcnn.optim import Optimizer, adam, adamax, adamw, add_decayed_weights

# Gradients 1 then 3 from a parameter of 2 at a rate of 0.1; each formula is written out for these two steps.
ADAM_M = [0.1, 0.9 * 0.1 + 0.1 * 3]
ADAM_V = [0.001, 0.999 * 0.001 + 0.001 * 9]
ADAM = [
    m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8) for t, m, v in zip((1, 2), ADAM_M, ADAM_V, strict=True)
]


@pytest.mark.parametrize(
    ("optimizer", "first", "second"),
    [
        (adam(0.1), 2 - 0.1 * ADAM[0], 2 - 0.1 * (ADAM[0] + ADAM[1])),
        (
            adamw(0.1, weight_decay=0.5, decay_mask=everywhere),
            2 * 0.95 - 0.1 * ADAM[0],
            (2 * 0.95 - 0.1 * ADAM[0]) * 0.95 - 0.1 * ADAM[1],
        ),
        (adamax(0.1), 1.9, 1.9 - 0.1 * (0.09 + 0.3) / (1 - 0.9**2) / 3),
    ],
    ids=["adam", "adamw", "adamax"],
)
def test_s1_24_two_steps_by_hand(optimizer: Optimizer, first: float, second: float) -> None:
    # An eps of 1e-8 beside numbers near 1, which the formula of adamax leaves out.
    assert two_steps(optimizer) == pytest.approx((first, second), abs=1e-8)


def test_adamw_spares_biases_and_takes_a_mask_by_path() -> None:
    params = {"dense": {"b": np.ones(2), "w": np.ones((2, 2))}, "norm": {"scale": np.ones(2)}, "t": np.array(1.0)}
    grads = tree.map(np.zeros_like, params)
    optimizer = adamw(0.1, weight_decay=0.5)
    moved = optimizer.update(grads, optimizer.init(params), params)[0]
    assert (moved["dense"]["w"] == -0.05).all()
    assert not any(leaf.any() for leaf in (moved["dense"]["b"], moved["norm"]["scale"], moved["t"]))
    by_path = adamw(0.1, weight_decay=0.5, decay_mask=lambda p: tree.map_with_path(lambda path, _: path == "t", p))
    moved = by_path.update(grads, by_path.init(params), params)[0]
    assert moved["t"] == -0.05
    assert not moved["dense"]["w"].any()


def test_a_mask_is_one_bool_for_each_parameter() -> None:
    params = grads = {"w": np.ones((2, 2))}
    with pytest.raises(TypeError, match="expected a mask of one bool for each parameter, got ndarray at 'w'"):
        add_decayed_weights(0.1, lambda p: {"w": np.ones((2, 2), bool)}).update(grads, {}, params)
    with pytest.raises(ValueError, match="trees differ"):
        add_decayed_weights(0.1, lambda p: {"b": True}).update(grads, {}, params)
