"""The tables of sines and cosines of places."""

import numpy as np

from funcnn.kernels import rotary


def test_waves_by_hand() -> None:
    cos, sin = rotary.waves(3, 4, 100.0)
    angles = np.array([[0, 0], [1, 0.1], [2, 0.2]])
    np.testing.assert_allclose(cos, np.cos(angles))
    np.testing.assert_allclose(sin, np.sin(angles))
    assert not cos.flags.writeable


def test_one_place_more_at_a_time_makes_few_tables() -> None:
    before = rotary._table.cache_info().misses
    for places in range(900, 1100):
        assert len(rotary.waves(places, 6, 12.5)[0]) == places
    assert rotary._table.cache_info().misses - before == 2
    assert rotary.waves(0, 6, 12.5)[0].shape == (0, 3)
