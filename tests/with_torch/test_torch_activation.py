"""Activations agree with PyTorch over their options, alone and at the end of another layer, and beside infinity."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.layers.activation.choice import by_name
from tests.with_torch.agreement import Case, agree, few, normal

pytestmark = pytest.mark.torch

SHAPES = st.sampled_from([(4, 6), (1, 2), (2, 3, 6), (2, 3, 2, 4)])
SCALES = st.sampled_from([0.3, 3.0, 30.0])


def of(layer: fn.Layer, theirs: Callable[[Any, Any], Any], shape: Any, scale: float) -> Case:
    """A comparison of a layer without parameters; ``theirs(F, x)`` gets ``torch.nn.functional``."""

    def function(params: Any, x: Any) -> Any:
        import torch.nn.functional as F

        return theirs(F, x)

    x = scale * normal(len(shape), *shape)
    x.flat[0] = 0  # where the derivative of some is a convention, and ours is PyTorch's
    return Case(layer, x, function)


def ready(layer: fn.Layer, theirs: Callable[[Any, Any], Any]) -> st.SearchStrategy[Case]:
    return st.builds(lambda shape, scale: of(layer, theirs, shape, scale), SHAPES, SCALES)


def with_options(
    make: Callable[..., fn.Layer], theirs: Callable[..., Any], *options: st.SearchStrategy[Any]
) -> st.SearchStrategy[Case]:
    """``make(*options)`` against ``theirs(F, x, *options)``."""
    return st.builds(
        lambda shape, scale, chosen: of(make(*chosen), lambda F, x: theirs(F, x, *chosen), shape, scale),
        SHAPES, SCALES, st.tuples(*options),
    )  # fmt: skip


def halves(x: Any) -> Any:
    return x.chunk(2, -1)


def sparsemax(F: Any, x: Any) -> Any:
    """PyTorch has none: algorithm 1 of the paper, in its functions."""
    import torch

    ordered, _ = x.sort(-1, descending=True)
    places = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    sums = ordered.cumsum(-1)
    k = (1 + places * ordered > sums).sum(-1, keepdim=True)
    return F.relu(x - (sums.gather(-1, k - 1) - 1) / k)


def hard_sigmoid(F: Any, x: Any) -> Any:
    """Its derivative in ``F.hardsigmoid`` is 1/6 rounded to float32, so its gradient is that of the formula."""
    import torch

    y = F.relu6(x + 3) / 6
    torch.testing.assert_close(y, F.hardsigmoid(x), rtol=1e-12, atol=1e-12, equal_nan=True)
    return y


def prelu(shape: tuple[int, ...], scale: float, shared: bool) -> Case:
    def theirs(params: Any, x: Any) -> Any:
        import torch.nn.functional as F

        return F.prelu(x.movedim(-1, 1), params["slope"]).movedim(1, -1)

    return Case(fn.prelu(shared=shared), scale * normal(0, *shape), theirs)


def bilinear(rows: tuple[int, ...], a: int, b: int, units: int, bias: bool) -> Case:
    def theirs(params: Any, x: Any) -> Any:
        import torch.nn.functional as F

        return F.bilinear(x["a"], x["b"], params["w"].movedim(-1, 0), params.get("b"))

    return Case(fn.bilinear(units, bias=bias), {"a": normal(0, *rows, a), "b": normal(1, *rows, b)}, theirs)


def maxout(pieces: int, units: int, rows: tuple[int, ...]) -> Case:
    return Case(
        fn.maxout(pieces),
        normal(2, *rows, units * pieces),
        lambda params, x: x.reshape(*rows, units, pieces).max(-1).values,
    )


POSITIVE = st.floats(0.25, 3)
ROWS = st.sampled_from([(4,), (1,), (2, 3)])
SIZES = st.integers(1, 4)

CASES: dict[str, st.SearchStrategy[Case]] = {
    "identity": ready(fn.identity, lambda F, x: x * 1),
    "relu": ready(fn.relu, lambda F, x: F.relu(x)),
    "relu6": ready(fn.relu6, lambda F, x: F.relu6(x)),
    "relu_squared": ready(fn.relu_squared, lambda F, x: F.relu(x) ** 2),
    "leaky_relu": with_options(fn.leaky_relu, lambda F, x, slope: F.leaky_relu(x, slope), st.floats(-1, 2)),
    "hard_tanh": with_options(fn.hard_tanh, lambda F, x, a, b: F.hardtanh(x, a, b), st.floats(-2, -0.5), POSITIVE),
    "hard_sigmoid": ready(fn.hard_sigmoid(), hard_sigmoid)
    | with_options(fn.hard_sigmoid, lambda F, x, slope: (slope * x + 0.5).clamp(0, 1), POSITIVE),
    "hard_shrink": with_options(fn.hard_shrink, lambda F, x, limit: F.hardshrink(x, limit), st.floats(0, 3)),
    "soft_shrink": with_options(fn.soft_shrink, lambda F, x, limit: F.softshrink(x, limit), st.floats(0, 3)),
    "threshold": with_options(
        fn.threshold, lambda F, x, limit, value: F.threshold(x, limit, value), st.floats(-2, 2), st.floats(-20, 20)
    ),
    "sigmoid": ready(fn.sigmoid, lambda F, x: F.sigmoid(x)),
    "tanh": ready(fn.tanh, lambda F, x: F.tanh(x)),
    "softsign": ready(fn.softsign, lambda F, x: F.softsign(x)),
    "exp": ready(fn.exp, lambda F, x: x.exp()),
    "sine": ready(fn.sine, lambda F, x: x.sin()),
    "square": ready(fn.square, lambda F, x: x.square()),
    "tanh_shrink": ready(fn.tanh_shrink, lambda F, x: F.tanhshrink(x)),
    "log_sigmoid": ready(fn.log_sigmoid, lambda F, x: F.logsigmoid(x)),
    # Without a threshold it is exact, and PyTorch's threshold is moved to where it cannot be seen.
    "softplus": with_options(
        fn.softplus,
        lambda F, x, beta, threshold: F.softplus(x, beta, 300 if threshold is None else threshold),
        POSITIVE,
        st.sampled_from([None, 20, 1.0]),
    ),
    "elu": with_options(fn.elu, lambda F, x, alpha: F.elu(x, alpha), st.floats(0, 3)),
    # In PyTorch's derivative alpha is rounded to float32, which changes none of these.
    "celu": with_options(fn.celu, lambda F, x, alpha: F.celu(x, alpha), st.sampled_from([0.25, 0.5, 1, 2, 4.0])),
    "selu": ready(fn.selu, lambda F, x: F.selu(x)),
    "silu": ready(fn.silu, lambda F, x: F.silu(x)),
    "swish": ready(fn.swish, lambda F, x: F.silu(x)),
    "quick_gelu": ready(fn.quick_gelu, lambda F, x: x * F.sigmoid(1.702 * x)),
    "mish": ready(fn.mish, lambda F, x: F.mish(x)),
    "hard_swish": ready(fn.hard_swish, lambda F, x: F.hardswish(x)),
    "gelu": with_options(
        fn.gelu, lambda F, x, approximate: F.gelu(x, approximate="tanh" if approximate else "none"), st.booleans()
    ),
    "softmax": ready(fn.softmax, lambda F, x: F.softmax(x, -1)),
    "log_softmax": ready(fn.log_softmax, lambda F, x: F.log_softmax(x, -1)),
    "softmin": ready(fn.softmin, lambda F, x: F.softmin(x, -1)),
    "sparsemax": ready(fn.sparsemax, sparsemax),
    "glu": ready(fn.glu, lambda F, x: F.glu(x)),
    "geglu": ready(fn.geglu, lambda F, x: halves(x)[0] * F.gelu(halves(x)[1])),
    "reglu": ready(fn.reglu, lambda F, x: halves(x)[0] * F.relu(halves(x)[1])),
    "swiglu": ready(fn.swiglu, lambda F, x: halves(x)[0] * F.silu(halves(x)[1])),
    "maxout": st.builds(maxout, SIZES, SIZES, ROWS),
    "prelu": st.builds(prelu, SHAPES, SCALES, st.booleans()),
    "bilinear": st.builds(bilinear, ROWS, SIZES, SIZES, SIZES, st.booleans()),
}


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_activations(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    assert case.layer.kind == kind
    agree("activation", case)


def test_every_activation_is_compared() -> None:
    assert {layer.kind for layer in by_name().values()} <= CASES.keys()


# What PyTorch has in its functions for each name that ``activation=`` takes, with our defaults.
IN_TORCH: dict[str, Callable[[Any, Any], Any]] = {
    "celu": lambda F, x: F.celu(x),
    "elu": lambda F, x: F.elu(x),
    "exp": lambda F, x: x.exp(),
    "gelu": lambda F, x: F.gelu(x),
    "hard_shrink": lambda F, x: F.hardshrink(x),
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": lambda F, x: F.hardswish(x),
    "hard_tanh": lambda F, x: F.hardtanh(x),
    "leaky_relu": lambda F, x: F.leaky_relu(x),
    "log_sigmoid": lambda F, x: F.logsigmoid(x),
    "mish": lambda F, x: F.mish(x),
    "quick_gelu": lambda F, x: x * F.sigmoid(1.702 * x),
    "relu": lambda F, x: F.relu(x),
    "relu6": lambda F, x: F.relu6(x),
    "relu_squared": lambda F, x: F.relu(x) ** 2,
    "selu": lambda F, x: F.selu(x),
    "sigmoid": lambda F, x: F.sigmoid(x),
    "silu": lambda F, x: F.silu(x),
    "sine": lambda F, x: x.sin(),
    "soft_shrink": lambda F, x: F.softshrink(x),
    "softplus": lambda F, x: F.softplus(x, 1, 300),
    "softsign": lambda F, x: F.softsign(x),
    "square": lambda F, x: x.square(),
    "swish": lambda F, x: F.silu(x),
    "tanh": lambda F, x: F.tanh(x),
    "tanh_shrink": lambda F, x: F.tanhshrink(x),
}
OVER_THE_AXIS: dict[str, Callable[[Any, Any], Any]] = {
    "glu": lambda F, x: F.glu(x),
    "geglu": lambda F, x: halves(x)[0] * F.gelu(halves(x)[1]),
    "reglu": lambda F, x: halves(x)[0] * F.relu(halves(x)[1]),
    "swiglu": lambda F, x: halves(x)[0] * F.silu(halves(x)[1]),
    "softmax": lambda F, x: F.softmax(x, -1),
    "log_softmax": lambda F, x: F.log_softmax(x, -1),
    "softmin": lambda F, x: F.softmin(x, -1),
    "sparsemax": sparsemax,
    "identity": lambda F, x: x,
}


@pytest.mark.parametrize("name", sorted(IN_TORCH | OVER_THE_AXIS))
@pytest.mark.parametrize("kind", ["dense", "conv2d", "batch_norm"])
def test_at_the_end_of_another_layer(kind: str, name: Any) -> None:
    make: dict[str, Callable[[], fn.Layer]] = {
        "dense": lambda: fn.dense(6, activation=name),
        "conv2d": lambda: fn.conv2d(6, 1, activation=name),
        "batch_norm": lambda: fn.batch_norm(activation=name),
    }

    def theirs(params: Any, x: Any) -> Any:
        import torch.nn.functional as F

        if kind == "batch_norm":
            rows = x.reshape(-1, x.shape[-1])
            z = F.batch_norm(rows, None, None, params["scale"], params["shift"], training=True).reshape(x.shape)
        else:
            z = x @ params["w"].reshape(-1, 6) + params["b"]
        return (IN_TORCH | OVER_THE_AXIS)[name](F, z)

    agree("activation", Case(make[kind](), normal(3, 5, 3, 2, 6), theirs, rng=0 if kind == "batch_norm" else None))


XS = [0, -0.0, 1, -1, 3, -3, 6, 30, -30, 1e4, -1e4, 3e38, -3e38, np.inf, -np.inf, np.nan]
DYS = [1, 0, -2, np.inf, -np.inf, np.nan]
# Where PyTorch multiplies 0 and infinity, or its formula overflows, ours is the limit: y, and the derivative.
LIMITS: dict[str, dict[float, tuple[float, float]]] = {
    **{
        name: {np.inf: (np.inf, 1), -np.inf: (0, 0)}
        for name in ("gelu", "hard_swish", "mish", "quick_gelu", "silu", "swish")
    },
    "softsign": {np.inf: (1, 0), -np.inf: (-1, 0)},
}
# In float32 PyTorch's own formulas overflow at 3e38.
OVERFLOW = {"gelu", "hard_swish"}
# Beside NaN, PyTorch's derivative is 1, 0 or NaN, as NaN comes in a vector of the processor or after the last one.
UNCERTAIN = {"celu", "elu", "selu", "hard_shrink", "hard_swish", "hard_tanh", "relu6", "soft_shrink"}


@pytest.mark.parametrize("name", sorted(IN_TORCH))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_of_special_numbers(name: Any, dtype: type) -> None:
    import torch
    import torch.nn.functional as F

    numbers = [number for number in XS if not (name in OVERFLOW and abs(number) == 3e38)]
    x, dy = (a.reshape(1, -1).copy() for a in np.meshgrid(np.array(numbers, dtype), np.array(DYS, dtype)))
    inside = torch.from_numpy(x.copy()).requires_grad_()
    outside = IN_TORCH[name](F, inside)
    outside.backward(torch.from_numpy(dy))
    y_expected, dx_expected = outside.detach().numpy().copy(), inside.grad.numpy().copy()
    # A product of 0 and infinity is NaN there.
    known = ~np.isnan(dx_expected) | (np.isnan(x) & (name not in UNCERTAIN)) | np.isnan(dy)
    known &= ~(np.isnan(x) & (name in UNCERTAIN))
    for number, (value, derivative) in LIMITS.get(name, {}).items():
        y_expected[x == number] = value
        finite = (x == number) & np.isfinite(dy)
        dx_expected[finite] = derivative * dy[finite]
        known |= finite
    layer = by_name()[name]
    with np.errstate(all="raise", under="ignore"):
        y, vjp_fn = layer.apply({}, x)
        vjp_fn(np.ones_like(x))
    with np.errstate(all="ignore"):
        dx: Any = vjp_fn(dy)[1]
    # Some derivatives are those of a y that was rounded, and PyTorch's gelu cancels below 0.
    close = {"rtol": 1e-5, "atol": 1e-6 if dtype is np.float32 else 1e-12}
    np.testing.assert_allclose(y, y_expected, **close)
    np.testing.assert_allclose(dx[known], dx_expected[known], **close)


def test_a_module_of_torch_is_translated() -> None:
    from torch import nn

    for module, write in ((nn.SiLU(), "fn.silu"), (nn.PReLU(), "fn.prelu"), (nn.Hardtanh(), "fn.hard_tanh")):
        with pytest.raises(TypeError, match=f"write {write}$"):
            fn.serial(module)
        with pytest.raises(TypeError, match=f"write {write}$"):
            fn.dense(3, activation=module)
