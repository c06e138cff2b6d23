"""The normal distribution function in float32 against that in float64."""

import numpy as np
import pytest
from scipy.special import ndtr

from funcnn.aliases import Array
from funcnn.kernels.normal import distribution_and_density


def of(x: Array) -> tuple[Array, Array]:
    """Φ and φ in new arrays."""
    found, density, scratch = (np.empty_like(x) for _ in range(3))
    distribution_and_density(x, found, density, scratch)
    return found, density


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_precise_far_below_zero_too(dtype: type) -> None:
    x = np.linspace(-13, 9, 20001).astype(dtype)
    exact = ndtr(x.astype(np.float64))
    density = np.exp(-0.5 * x.astype(np.float64) ** 2) / np.sqrt(2 * np.pi)
    found, found_density = of(x)
    # The exponent -x²/2, up to 84, is rounded to 6e-8 of itself, and twice, so what it is the exponent of to 1e-5.
    rtol = 1.2e-5 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(found, exact, rtol=rtol)
    np.testing.assert_allclose(found_density, density, rtol=rtol)
    near = np.abs(x) < 1
    np.testing.assert_allclose(found[near], exact[near], rtol=6e-7)
    assert found.dtype == found_density.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_its_limits(dtype: type) -> None:
    x = np.array([-np.inf, -3e38, -50, 0, 50, 3e38, np.inf, np.nan], dtype)
    with np.errstate(all="raise", under="ignore"):
        found, density = of(x)
    np.testing.assert_allclose(found, [0, 0, 0, 0.5, 1, 1, 1, np.nan], rtol=3e-7)
    np.testing.assert_allclose(density, [0, 0, 0, 1 / np.sqrt(2 * np.pi), 0, 0, 0, np.nan], rtol=3e-7)
