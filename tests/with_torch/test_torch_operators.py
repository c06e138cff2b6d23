"""Formulas and operators between arrays against the operators of PyTorch."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

import funcnn as fn
from tests.with_torch.agreement import Case, agree, few, normal

pytestmark = pytest.mark.torch

SEEDS = st.integers(0, 99)
SHAPES = st.sampled_from([((3, 4), (3, 4)), ((3, 1, 4), (3, 2, 4)), ((3, 2, 1), (3, 1, 5)), ((2, 3, 4), (2, 3, 1))])
OPERATIONS = {
    "add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div, "power": torch.pow,
    "maximum": torch.maximum, "minimum": torch.minimum,
}  # fmt: skip
UNARY = {"abs": torch.abs, "cos": torch.cos, "erf": torch.erf, "log": torch.log}
REDUCTIONS = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}


def product(x: Any, axes: list[int], keepdim: bool) -> Any:
    """PyTorch's product, which is over one axis, over several."""
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


@st.composite
def arithmetic(draw: Any) -> Case:
    seed, operation = draw(SEEDS), draw(st.sampled_from([*OPERATIONS, "matmul"]))
    if operation == "matmul":
        x = {"a": normal(seed, 3, 1, 2, 4), "b": normal(seed + 1, 3, 2, 4, 5)}
        return Case(fn.arithmetic("matmul"), x, lambda params, x: x["a"] @ x["b"])
    one, other = draw(SHAPES)
    x = {"a": np.abs(normal(seed, *one)) + 0.1, "b": np.abs(normal(seed + 1, *other)) + 0.1}
    return Case(fn.arithmetic(operation), x, lambda params, x: OPERATIONS[operation](x["a"], x["b"]))


@st.composite
def where(draw: Any) -> Case:
    seed, (one, other) = draw(SEEDS), draw(SHAPES)
    x = {"a": normal(seed, *one) > 0, "b": normal(seed + 1, *one), "c": normal(seed + 2, *other)}
    return Case(fn.where(), x, lambda params, x: torch.where(x["a"], x["b"], x["c"]))


@st.composite
def reduce(draw: Any) -> Case:
    how, keep = draw(st.sampled_from([*REDUCTIONS, "prod"])), draw(st.booleans())
    axes = draw(st.lists(st.integers(1, 3), min_size=1, unique=True))
    x = normal(draw(SEEDS), 2, 3, 4, 2)
    if how == "prod" and draw(st.booleans()):
        x[0, :, 1, 0] = 0  # one factor, or several
    theirs = product if how == "prod" else REDUCTIONS[how]
    return Case(fn.reduce(how, axes, keep), x, lambda params, x: theirs(x, axes, keepdim=keep))


@st.composite
def top_k(draw: Any) -> Case:
    k, axis = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, -1, -2]))
    x = normal(draw(SEEDS), 2, 4, 5)
    return Case(fn.top_k(k, axis), x, lambda params, x: x.topk(k, axis).values)


@st.composite
def unary(draw: Any) -> Case:
    name, x = draw(st.sampled_from([*UNARY])), normal(draw(SEEDS), 3, 5)
    return Case(fn.unary(name), np.abs(x) if name == "log" else x, lambda params, x: UNARY[name](x))


@st.composite
def affine(draw: Any) -> Case:
    scale, shift = draw(st.floats(-3, 3)), draw(st.floats(-3, 3))
    return Case(fn.affine(scale, shift), normal(draw(SEEDS), 3, 5), lambda params, x: scale * x + shift)


@st.composite
def power(draw: Any) -> Case:
    p, x = draw(st.sampled_from([-1.0, 0.5, 2.0, 2.5])), np.abs(normal(draw(SEEDS), 3, 5)) + 0.1
    return Case(fn.power(p), x, lambda params, x: x**p)


@st.composite
def parameter(draw: Any) -> Case:
    x = normal(draw(SEEDS), 3, 2)
    return Case(fn.parameter(4, 2), x, lambda params, x: params["w"].expand(3, 4, 2) + 0 * x.sum())


CASES = {
    "affine": affine(), "arithmetic": arithmetic(), "parameter": parameter(), "power": power(), "reduce": reduce(),
    "top_k": top_k(),
    "unary": unary(), "where": where(),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_operators(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    assert case.layer.kind == kind
    agree("operators", case)
