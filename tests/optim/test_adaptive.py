"""RMSprop, AdaGrad and AdaDelta by hand."""

import math

import pytest
from optimizer_table import two_steps

from funcnn.optim import Optimizer, adadelta, adagrad, rmsprop

# Gradients 1 then 3 from a parameter of 2 at a rate of 0.1; each formula is written out for these two steps.
ADADELTA_1 = math.sqrt(1e-6) / math.sqrt(0.1 + 1e-6)
ADADELTA_2 = math.sqrt(0.1 * ADADELTA_1**2 + 1e-6) / math.sqrt(0.9 * 0.1 + 0.1 * 9 + 1e-6) * 3


@pytest.mark.parametrize(
    ("optimizer", "first", "second"),
    [
        (
            rmsprop(0.1, decay=0.75),
            2 - 0.1 / math.sqrt(0.25),
            2 - 0.1 / math.sqrt(0.25) - 0.1 * 3 / math.sqrt(0.75 * 0.25 + 0.25 * 9),
        ),
        (adagrad(0.1), 1.9, 1.9 - 0.1 * 3 / math.sqrt(1 + 9)),
        (adadelta(), 2 - ADADELTA_1, 2 - ADADELTA_1 - ADADELTA_2),
    ],
    ids=["rmsprop", "adagrad", "adadelta"],
)
def test_s1_24_two_steps_by_hand(optimizer: Optimizer, first: float, second: float) -> None:
    # An eps of 1e-8 beside numbers near 1, which some of the formulas above leave out.
    assert two_steps(optimizer) == pytest.approx((first, second), abs=1e-8)
