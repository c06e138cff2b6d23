"""Pooling layers agree with PyTorch over their options."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from tests.with_torch.agreement import Case, agree, channels_first, few, normal

pytestmark = pytest.mark.torch

PIXELS = {1: (17,), 2: (9, 8), 3: (6, 5, 7)}


def max_pool(rank: int) -> st.SearchStrategy[Case]:
    """Windows of any size, stride and padding, with and without a last window that hangs over."""

    def case(window: tuple[int, ...], stride: tuple[int, ...], share: float, ceil_mode: bool, batch: int) -> Case:
        import torch.nn.functional as F

        padding = tuple(int(share * (n // 2 + 1)) for n in window)
        options: Any = {"padding": tuple((p, p) for p in padding), "ceil_mode": ceil_mode}
        pool = getattr(F, f"max_pool{rank}d")
        return Case(
            getattr(fn, f"max_pool{rank}d")(window, stride, **options),
            normal(batch, batch, *PIXELS[rank], 3),
            lambda params, x: channels_first(lambda x: pool(x, window, stride, padding, ceil_mode=ceil_mode), x),
        )

    sizes = st.tuples(*[st.integers(1, 4)] * rank)
    return st.builds(case, sizes, sizes, st.floats(0, 0.9), st.booleans(), st.integers(1, 3))


CASES = {f"max_pool{rank}d": max_pool(rank) for rank in (1, 2, 3)}


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_pooling(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    assert case.layer.kind == kind
    agree("pooling", case)
