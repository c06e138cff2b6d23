"""Every test runs with floating-point accidents turned into errors."""

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _floating_point_errors_raise() -> Iterator[None]:
    """A division by zero, an overflow or an invalid value in a formula is a defect, not a warning."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield
