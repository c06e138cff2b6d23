"""The sums over alignments, against all alignments one by one."""

import itertools

import numpy as np
import pytest

from funcnn.aliases import Array
from funcnn.kernels.ctc import occupancy


def one_by_one(p: Array, labels: Array, blank: int) -> tuple[float, Array]:
    """The probability of labels and the occupancy, from every sequence of classes that reads as these labels."""
    total, occupied = 0.0, np.zeros_like(p)
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        if [k for k, _ in itertools.groupby(path) if k != blank] == labels.tolist():
            probability = np.prod([p[t, k] for t, k in enumerate(path)])
            total += probability
            occupied[range(len(p)), path] += probability
    return float(total), occupied / total if total else occupied


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_sum_over_all_alignments(seed: int) -> None:
    random = np.random.default_rng(seed)
    batch, time, classes, most = 3, int(random.integers(1, 5)), int(random.integers(2, 4)), int(random.integers(0, 4))
    p = random.dirichlet(np.ones(classes), (batch, time))
    blank = int(random.integers(classes))
    labels = random.choice([k for k in range(classes) if k != blank], (batch, most))  # with repeats, and too long ones
    lengths, frames = random.integers(0, most + 1, batch), random.integers(0, time + 1, batch)
    log_probability, found = occupancy(np.log(p), frames, labels, lengths, blank)
    for b in range(batch):
        total, occupied = one_by_one(p[b, : frames[b]], labels[b, : lengths[b]], blank)
        # Sums of at most 81 products of 4 numbers each.
        np.testing.assert_allclose(np.exp(log_probability[b]), total, rtol=1e-13)
        np.testing.assert_allclose(found[b, : frames[b]], occupied, rtol=1e-12, atol=1e-15)
        assert not found[b, frames[b] :].any()


def test_a_thousand_frames_keep_the_digits_of_float32() -> None:
    random = np.random.default_rng(0)
    log_p = np.log(random.dirichlet(np.ones(5), (2, 1000))).astype(np.float32)
    labels = random.integers(1, 5, (2, 300))
    arguments = np.array([1000, 700]), labels, np.array([300, 200]), 0
    log_probability, found = occupancy(log_p, *arguments)
    expected, occupied = occupancy(log_p.astype(np.float64), *arguments)
    assert log_probability.dtype == found.dtype == np.float32
    np.testing.assert_allclose(log_probability, expected, rtol=1e-6)
    np.testing.assert_allclose(found, occupied, rtol=1e-5, atol=1e-6)
