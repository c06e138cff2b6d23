"""Norms agree with PyTorch over their options, and layers of noise with what it does to the numbers that we draw."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array
from tests.with_torch.agreement import Case, agree, channels_first, few, normal

pytestmark = pytest.mark.torch

BATCHES, EPS = st.integers(1, 3), st.sampled_from([1e-8, 1e-5, 1e-2])
PIXELS = st.lists(st.integers(1, 4), max_size=3).map(tuple)
"""The pixels of an input of any rank, none among them."""


def shifted(*shape: int) -> Array:
    """Numbers of mean 2 and deviation 3."""
    return 2 + 3 * normal(1, *shape)


def batch_norm(batch: int, pixels: tuple[int, ...], eps: float, training: bool) -> Case:
    import torch
    import torch.nn.functional as F

    def theirs(params: Any, x: Any) -> Any:
        moved, scale, shift = x.movedim(-1, 1), params["scale"], params["shift"]
        if training:
            return F.batch_norm(moved, None, None, scale, shift, training=True, eps=eps).movedim(1, -1)
        # PyTorch gives measured statistics no gradient; ours is one of the formula, written out.
        expected = (x - params["mean"]) / torch.sqrt(params["var"] + eps) * scale + shift
        known = F.batch_norm(moved, params["mean"].detach(), params["var"].detach(), scale, shift, eps=eps)
        torch.testing.assert_close(expected, known.movedim(1, -1), rtol=1e-12, atol=1e-12)
        return expected

    x = shifted(batch + 3, *pixels, 4)
    random = np.random.default_rng(3)
    params = {name: random.uniform(0.5, 2, 4) for name in ("scale", "shift", "mean", "var")}
    return Case(fn.batch_norm(eps), x, theirs, 0 if training else None, params)


def layer_norm(batch: int, pixels: tuple[int, ...], axes: int, eps: float, scale: bool, shift: bool) -> Case:
    import torch.nn.functional as F

    x = shifted(batch, *pixels, 4)
    axes = min(axes, x.ndim - 1)
    layer = fn.layer_norm(axes, eps, scale, shift)
    return Case(layer, x, lambda p, x: F.layer_norm(x, x.shape[-axes:], p.get("scale"), p.get("shift"), eps))


def rms_norm(batch: int, pixels: tuple[int, ...], axes: int, eps: float | None, scale: bool) -> Case:
    import torch.nn.functional as F

    x = shifted(batch, *pixels, 4)
    axes = min(axes, x.ndim - 1)
    return Case(fn.rms_norm(axes, eps, scale), x, lambda p, x: F.rms_norm(x, x.shape[-axes:], p.get("scale"), eps))


def group_norm(batch: int, pixels: tuple[int, ...], groups: int, eps: float, affine: bool, innermost: bool) -> Case:
    import torch.nn.functional as F

    x = shifted(batch + 1, *pixels, 12)
    if innermost:  # the batch, as behind a convolution
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)
    return Case(
        fn.group_norm(groups, eps, affine),
        x,
        lambda p, x: channels_first(lambda x: F.group_norm(x, groups, p.get("scale"), p.get("shift"), eps), x),
    )


def instance_norm(batch: int, pixels: tuple[int, ...], eps: float, affine: bool) -> Case:
    import torch
    import torch.nn.functional as F

    def theirs(p: Any, x: Any) -> Any:
        known = channels_first(lambda x: F.instance_norm(x, None, None, p.get("scale"), p.get("shift"), eps=eps), x)
        if batch > 1:
            return known
        # For one example and a dy that is not contiguous the backward pass of PyTorch 2.13 disagrees with the formula.
        axes = tuple(range(1, x.ndim - 1))
        centred = x - x.mean(axes, keepdim=True)
        u = centred / torch.sqrt((centred**2).mean(axes, keepdim=True) + eps)
        expected = u * p["scale"] + p["shift"] if affine else u
        torch.testing.assert_close(expected, known, rtol=1e-12, atol=1e-12)
        return expected

    return Case(fn.instance_norm(eps, affine), shifted(batch, 7, *pixels, 4), theirs)


def local_response_norm(batch: int, pixels: tuple[int, ...], size: int, alpha: float, beta: float, k: float) -> Case:
    import torch.nn.functional as F

    x = shifted(batch, 2, *pixels, 6)
    return Case(
        fn.local_response_norm(size, alpha, beta, k),
        x,
        lambda p, x: channels_first(lambda x: F.local_response_norm(x, size, alpha, beta, k), x),
    )


def l2_normalize(batch: int, pixels: tuple[int, ...], axis: int, eps: float) -> Case:
    import torch.nn.functional as F

    x = shifted(batch, *pixels, 4)
    x[0] *= 1e-3  # shorter than the largest eps
    axis = -1 - axis % (x.ndim - 1)
    return Case(fn.l2_normalize(axis, eps), x, lambda p, x: F.normalize(x, dim=axis, eps=eps))


def weighted(kind: str) -> tuple[fn.Layer, Array, Callable[[Any, Any, Any], Any]]:
    """A layer with a weight, its input, and PyTorch's function of a weight in our layout, the bias and the input."""
    import torch.nn.functional as F

    if kind == "dense":
        return fn.dense(3), normal(0, 4, 5), lambda w, b, x: F.linear(x, w.T, b)
    rank = int(kind[4])
    conv = getattr(F, f"conv{rank}d")
    return (
        getattr(fn, kind)(3, 2),
        normal(0, 2, *(5, 4, 3)[:rank], 2),
        lambda w, b, x: channels_first(lambda x: conv(x, w.movedim(-1, 0).movedim(-1, 1), b), x),
    )


def weight_norm(kind: str) -> Case:
    layer, x, function = weighted(kind)

    def theirs(p: Any, x: Any) -> Any:
        from torch.nn.utils import parametrizations

        v = p["v"].movedim(-1, 0)
        module = parametrizations.weight_norm(_holder(v), "weight", dim=0)
        w = module.parametrizations.weight[0](p["g"].reshape(-1, *[1] * (v.ndim - 1)), v)
        return function(w.movedim(0, -1), p["b"], x)

    return Case(fn.weight_norm(layer), x, theirs)


def spectral_norm(kind: str, iterations: int) -> Case:
    layer, x, function = weighted(kind)
    ours = fn.spectral_norm(layer, iterations)

    def theirs(p: Any, x: Any) -> Any:
        from torch.nn.utils import parametrizations

        # PyTorch begins with the vector on the other side of the matrix: so ours goes over transposed.
        matrix = p["w"].reshape(-1, 3)
        module = parametrizations.spectral_norm(_holder(matrix), "weight", iterations, eps=1e-12)
        norm = module.parametrizations.weight[0]
        norm._v = p["u"].detach().clone()
        norm.train()
        return function(norm(matrix).reshape(p["w"].shape), p["b"], x)

    return Case(ours, x, theirs)


def _holder(weight: Any) -> Any:
    """A module with a parameter, to be parametrized."""
    import torch

    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(weight.detach().clone())
    return module


KINDS = st.sampled_from(["dense", "conv1d", "conv2d", "conv3d"])

CASES = {
    "batch_norm": st.builds(batch_norm, BATCHES, PIXELS, EPS, st.booleans()),
    "layer_norm": st.builds(layer_norm, BATCHES, PIXELS, st.integers(1, 4), EPS, st.booleans(), st.booleans()),
    "rms_norm": st.builds(rms_norm, BATCHES, PIXELS, st.integers(1, 4), st.none() | EPS, st.booleans()),
    "group_norm": st.builds(
        group_norm, BATCHES, PIXELS, st.sampled_from([1, 2, 3, 4, 6]), EPS, st.booleans(), st.booleans()
    ),
    "instance_norm": st.builds(instance_norm, BATCHES, PIXELS, EPS, st.booleans()),
    "local_response_norm": st.builds(
        local_response_norm, BATCHES, PIXELS.map(lambda pixels: pixels[:1]), st.integers(1, 8), st.floats(1e-4, 2),
        st.floats(0.1, 2), st.floats(0.5, 3),
    ),
    "l2_normalize": st.builds(l2_normalize, BATCHES, PIXELS, st.integers(0, 3), EPS),
    "weight_norm": st.builds(weight_norm, KINDS),
    "spectral_norm": st.builds(spectral_norm, KINDS, st.integers(1, 4)),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_norms(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    assert case.layer.kind == kind
    if kind == "spectral_norm":
        _agree_without_u(case)
    else:
        agree("norms", case)


def _agree_without_u(case: Case) -> None:
    """In PyTorch the vector is no parameter, and in ours its gradient is None: so it is not one of the parameters."""
    layer = case.layer
    params = fn.tree.cast(layer.init(case.x.shape[1:], 1), np.float64)
    u = params["u"]

    def apply(params: Any, x: Any, rng: Any = None) -> Any:
        y, vjp_fn = layer.apply({**params, "u": u}, x)

        def without(dy: Any, input_grad: bool = True) -> Any:
            grads, dx = vjp_fn(dy, input_grad)
            assert grads.pop("u") is None
            return grads, dx

        return y, without

    import torch

    own = fn.as_layer((layer.init, apply))
    given = {name: leaf for name, leaf in params.items() if name != "u"}
    agree("norms", Case(own, case.x, lambda p, x: case.theirs({**p, "u": torch.from_numpy(u)}, x), None, given))


def drawn(layer: fn.Layer, x: Array) -> Array:
    """What a layer of noise makes of ones: its mask, or its factor."""
    return layer.apply({}, np.ones_like(x), rng=(7,))[0]


def dropping(layer: fn.Layer, shape: tuple[int, ...]) -> Case:
    import torch

    x = shifted(*shape)
    factor = torch.from_numpy(drawn(layer, x))
    return Case(layer, x, lambda p, x: x * factor, (7,))


def alpha_dropout(rate: float, shape: tuple[int, ...]) -> Case:
    """PyTorch's formula with the mask that we drew, which our gradient shows."""
    import torch

    layer, x = fn.alpha_dropout(rate), shifted(*shape)
    mask = torch.from_numpy(layer.apply({}, x, rng=(7,))[1](np.ones_like(x))[1] != 0)  # type: ignore[arg-type]
    alpha = 1.7580993408473766
    a = 1 / np.sqrt((alpha**2 * rate + 1) * (1 - rate))

    def theirs(p: Any, x: Any) -> Any:
        noise = mask.double()
        return x * (noise * a) + (noise - 1) * alpha * a + alpha * a * rate

    return Case(layer, x, theirs, (7,))


def gaussian_noise(stddev: float, shape: tuple[int, ...]) -> Case:
    import torch

    layer = fn.gaussian_noise(stddev)
    noise = torch.from_numpy(layer.apply({}, np.zeros(shape), rng=(7,))[0])
    return Case(layer, shifted(*shape), lambda p, x: x + noise, (7,))


RATES, SHAPES = st.floats(0.01, 0.95), st.sampled_from([(3, 4, 5), (2, 3, 4, 5), (4, 6, 2)])

DRAWN = {
    "dropout": st.builds(lambda rate, shape: dropping(fn.dropout(rate), shape), RATES, SHAPES),
    "spatial_dropout": st.builds(lambda rate, shape: dropping(fn.spatial_dropout(rate), shape), RATES, SHAPES),
    "drop_path": st.builds(lambda rate, shape: dropping(fn.drop_path(rate), shape), RATES, SHAPES),
    "gaussian_dropout": st.builds(lambda rate, shape: dropping(fn.gaussian_dropout(rate), shape), RATES, SHAPES),
    "alpha_dropout": st.builds(alpha_dropout, RATES, SHAPES),
    "gaussian_noise": st.builds(gaussian_noise, RATES, SHAPES),
}


@pytest.mark.parametrize("kind", sorted(DRAWN))
@few
@given(data=st.data())
def test_layers_of_noise(kind: str, data: st.DataObject) -> None:
    case = data.draw(DRAWN[kind])
    assert case.layer.kind == kind
    agree("noise", case)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (fn.dropout(0.3), "dropout"), (fn.spatial_dropout(0.3), "dropout2d"), (fn.alpha_dropout(0.3), "alpha_dropout"),
    ],
    ids=repr,
)  # fmt: skip
def test_statistics_are_pytorchs(layer: fn.Layer, name: str) -> None:
    """Mean, variance and the mean of each channel of each example, of many examples."""
    import torch

    x = normal(0, 2000, 4, 5, 10)
    y, _ = layer.apply({}, x, rng=0)
    torch.manual_seed(0)
    function = getattr(torch.nn.functional, name)
    theirs = channels_first(lambda x: function(x, 0.3, True), torch.from_numpy(x)).numpy()
    # 400,000 elements, in 20,000 channels: the deviations of these are below 0.004; five of those.
    for statistic in (np.mean, np.var, lambda a: np.var(a.mean((1, 2)))):
        assert statistic(y) == pytest.approx(statistic(theirs), abs=0.02)
    assert np.mean((y == 0).all((1, 2))) == pytest.approx(np.mean((theirs == 0).all((1, 2))), abs=0.016)


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm", "group_norm", "instance_norm"])
def test_special_numbers(kind: str) -> None:
    """NaN where PyTorch has NaN; what overflows in its float32 is right in ours, and is not compared."""
    import torch.nn.functional as F
    from torch import from_numpy

    x = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    x[0, 0, 0], x[1, 1, 1], x[2], x[3] = np.nan, np.inf, 0, 0.1
    layers: dict[str, tuple[fn.Layer, Callable[[Any], Any]]] = {
        "layer_norm": (fn.layer_norm(scale=False, shift=False), lambda x: F.layer_norm(x, (4,))),
        "rms_norm": (fn.rms_norm(scale=False), lambda x: F.rms_norm(x, (4,))),
        "group_norm": (fn.group_norm(2, affine=False), lambda x: channels_first(lambda x: F.group_norm(x, 2), x)),
        "instance_norm": (fn.instance_norm(), lambda x: channels_first(F.instance_norm, x)),
    }
    layer, theirs = layers[kind]
    np.testing.assert_allclose(layer.apply({}, x)[0], theirs(from_numpy(x)).numpy(), atol=2e-5)
