"""Two steps of each rule by hand: a parameter that starts at 2, the gradients 1 and 3, the rate 0.1."""

import math
from typing import Any

import numpy as np
import pytest
from optimizer_table import two_steps

from funcnn.optim import (
    Optimizer,
    adabelief,
    adafactor,
    adan,
    ademamix,
    adopt,
    amsgrad,
    apply_updates,
    chain,
    lamb,
    lars,
    lion,
    masked,
    muon,
    nadam,
    prodigy,
    radam,
    rmsprop,
    rprop,
    scale_by_adam,
    scale_by_muon,
    sgd,
    signum,
    yogi,
)
from funcnn.optim.muon import orthogonalized


@pytest.mark.parametrize(
    ("optimizer", "first", "second"),
    [
        # m = 1, then 0.5 * 1 + 0.75 * 3 = 2.75
        (sgd(0.1, momentum=0.5, dampening=0.25), 1.9, 1.9 - 0.275),
        # v - m² = 0.5 - 0.25, then (0.25 + 4.5) - 1.75²
        (rmsprop(0.1, 0.5, 1e-12, centered=True), 1.8, 1.8 - 0.3 / math.sqrt(4.75 - 1.75**2)),
        # u = 1 / √0.5, then 0.5 u + 3 / √4.75
        (
            rmsprop(0.1, 0.5, 1e-12, momentum=0.5),
            2 - 0.1 / math.sqrt(0.5),
            2 - 0.15 / math.sqrt(0.5) - 0.3 / math.sqrt(4.75),
        ),
        # m = 1 and 1.75 / 0.75, without the division while the mean square is of few gradients
        (radam(0.1, b1=0.5), 1.9, 1.9 - 0.175 / 0.75),
        # v = 0.5 and 4.75, corrected by 0.5 and 0.75; h = v here
        (amsgrad(0.1, 0.5, 0.5, 1e-12), 1.9, 1.9 - 0.1 * (1.75 / 0.75) / math.sqrt(4.75 / 0.75)),
        # (g - m)² = 0.25 and 1.25²
        (
            adabelief(0.1, 0.5, 0.5, 1e-12, 1e-30),
            2 - 0.1 / 0.5,
            1.8 - 0.1 * (1.75 / 0.75) / math.sqrt((0.0625 + 0.5 * 1.5625) / 0.75),
        ),
        # v = 0.5 · 1, then 0.5 + 0.5 · 9
        (yogi(0.1, 0.5, 0.5, 1e-12, start=0.0), 1.9, 1.9 - 0.1 * (1.75 / 0.75) / math.sqrt(5 / 0.75)),
        # d = 0.25 · 2, corrected by 1 - 0.75²; the weight of the change, 2, is b2
        (
            adan(0.1, 0.5, 0.75, 0.5, 1e-12, 0.0),
            1.9,
            1.9 - 0.1 * (1.75 / 0.75 + 0.75 * 0.5 / 0.4375) / math.sqrt((0.25 + 0.5 * (3 + 0.75 * 2) ** 2) / 0.75),
        ),
        # the slow mean is 0.5, then 1.75, and is not corrected
        (
            ademamix(0.1, 0.5, 0.5, b3=0.5, alpha=2.0, eps=1e-12),
            1.8,
            1.8 - 0.1 * (1.75 / 0.75 + 3.5) / math.sqrt(4.75 / 0.75),
        ),
        # nothing at first; then 3 / 1 is clipped to 1
        (adopt(0.1, b1=0.5), 2.0, 2 - 0.05),
        (adopt(0.1, b1=0.5, clip=False), 2.0, 2 - 0.15),
        (lion(0.1), 1.9, 1.8),
        (signum(0.1), 1.9, 1.8),
        (rprop(0.1), 1.9, 1.9 - 0.12),
        # the first step is rate · ‖p‖
        (lamb(0.1, 0.0, 0.0, 1e-12), 2 - 0.2, 1.8 - 0.18),
        (lars(1.0, momentum=0.0, coefficient=0.1), 1.8, 1.8 - 0.18),
        # rms(p) · rate; then v = 1 + 2^-0.8 (9 - 1) and w = 3 / √v is limited to 1
        (
            adafactor(0.1),
            1.8,
            1.8 - 0.18 * min(1.0, 3 / math.sqrt(1 + 2**-0.8 * 8)),
        ),
        # p has not moved at the first step, so that d stays
        (prodigy(0.1, 0.0, 0.0, b3=0.5, eps=1e-12, start=1.0), 1.9, 1.9 - 0.1),
    ],
    ids=repr,
)
def test_two_steps(optimizer: Optimizer, first: float, second: float) -> None:
    # Roundings, and an eps of 1e-12 or less beside numbers near 1; Adafactor's default eps is that of the dtype.
    assert two_steps(optimizer) == pytest.approx((first, second), rel=1e-10)


def test_nadam_looks_ahead() -> None:
    mu = [0.5 * (1 - 0.5 * 0.96 ** (t * 4e-3)) for t in (1, 2, 3)]
    one = 2 - 0.1 * ((1 - mu[0]) / (1 - mu[0]) + mu[1] * 0.5 / (1 - mu[0] * mu[1]))
    product = mu[0] * mu[1]
    ahead = (1 - mu[1]) * 3 / (1 - product) + mu[2] * 1.75 / (1 - product * mu[2])
    two = one - 0.1 * ahead / math.sqrt(4.75 / 0.75)
    assert two_steps(nadam(0.1, 0.5, 0.5, 1e-12)) == pytest.approx((one, two), rel=1e-10)  # eps is 1e-12


def test_prodigy_increases_its_estimate_of_the_distance() -> None:
    optimizer = prodigy(start=1e-4)
    params: Any = {"w": np.array([10.0])}
    state = optimizer.init(params)
    for _ in range(200):
        params, state = optimizer.step({"w": np.sign(params["w"])}, state, params)
    assert abs(params["w"][0]) < 1
    assert 1 < float(state["scale_by_prodigy"]["d"]) < 100


def test_a_sign_that_changes_halves_the_step_of_rprop() -> None:
    optimizer, params = rprop(0.1), {"w": np.array([1.0])}
    state, moved = optimizer.init(params), []
    for g in (2.0, -5.0, -5.0, -5.0):
        updates, state = optimizer.update({"w": np.array([g])}, state, params)
        moved.append(updates["w"][0])
    # Half of 0.1 after the change, at which nothing moves; it grows when the sign stays.
    np.testing.assert_allclose(moved, [-0.1, 0.0, 0.05, 0.06], rtol=1e-15)


def test_adafactor_keeps_a_row_and_a_column_for_a_matrix() -> None:
    params = {"b": np.ones(3), "w": np.ones((4, 3)), "k": np.ones((5, 4, 3))}
    state = adafactor().init(params)["scale_by_adafactor"]
    shapes = {slot: {path: leaf.shape for path, leaf in state[slot].items()} for slot in ("row", "column", "v")}
    assert shapes == {
        "row": {"b": (0,), "w": (4, 1), "k": (5, 4, 1)},
        "column": {"b": (0,), "w": (1, 3), "k": (5, 1, 3)},
        "v": {"b": (3,), "w": (0,), "k": (0,)},
    }


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_the_iteration_of_muon_is_nearly_orthogonal(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    values = np.linalg.svd(orthogonalized(x), compute_uv=False)
    assert ((values > 0.6) & (values < 1.3)).all()
    u, s, v = np.linalg.svd(x, full_matrices=False)
    # Its singular vectors stay; the polynomial acts on the singular values alone.
    expected = u @ np.diag(orthogonalized(np.diag(s)).diagonal()) @ v
    np.testing.assert_allclose(orthogonalized(x), expected, atol=1e-12)


def test_muon_flattens_kernels_and_leaves_the_rest_to_adamw() -> None:
    kernel = np.random.default_rng(0).normal(size=(2, 2, 3))
    mask = "*/w"
    params = {"conv": {"w": kernel}, "norm": {"scale": np.ones(3)}}
    optimizer = muon(0.1, weight_decay=0.0, mask=mask, adamw_rate=0.01)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    flat = chain(masked(scale_by_muon(), "w"), sgd(0.1))
    matrix = {"w": kernel.reshape(4, 3)}
    expected = flat.update(matrix, flat.init(matrix), matrix)[0]["w"]
    np.testing.assert_array_equal(updates["conv"]["w"], expected.reshape(2, 2, 3))
    adam = chain(scale_by_adam(), sgd(0.01))
    rest = {"scale": np.ones(3)}
    np.testing.assert_array_equal(updates["norm"]["scale"], adam.update(rest, adam.init(rest), rest)[0]["scale"])


def test_weight_decay_of_lamb_is_part_of_what_the_ratio_measures() -> None:
    params, grads = {"w": np.array([[3.0, 4.0]])}, {"w": np.array([[1.0, 1.0]])}
    optimizer = lamb(0.1, 0.0, 0.0, 1e-12, weight_decay=1.0)
    new = apply_updates(params, optimizer.update(grads, optimizer.init(params), params)[0])
    u = np.array([[1.0 + 3.0, 1.0 + 4.0]])
    np.testing.assert_allclose(new["w"], params["w"] - 0.1 * 5 / np.linalg.norm(u) * u, rtol=1e-10)  # eps is 1e-12
