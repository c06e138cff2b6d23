"""Dense layers agree with PyTorch over their options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from tests.with_torch.agreement import Case, agree, few, normal

pytestmark = pytest.mark.torch


def dense() -> st.SearchStrategy[Case]:
    """With and without a bias and an activation, on vectors and on images of vectors."""

    def case(units: int, bias: bool, activation: str | None, shape: list[int]) -> Case:
        import torch

        def theirs(params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
            z = torch.nn.functional.linear(x, params["w"].T, params.get("b"))
            return getattr(torch, activation)(z) if activation else z

        return Case(fn.dense(units, bias=bias, activation=activation), normal(units, *shape), theirs)  # type: ignore[arg-type]

    shapes = st.lists(st.integers(1, 6), min_size=2, max_size=4)
    return st.builds(case, st.integers(1, 9), st.booleans(), st.sampled_from([None, "relu", "tanh", "sigmoid"]), shapes)


CASES = {"dense": dense()}


@few
@given(case=CASES["dense"])
def test_dense(case: Case) -> None:
    agree("dense", case)
