"""Layers of shapes, padding and resampling agree with PyTorch over their options; initializers over their shapes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from tests.with_torch.agreement import Case, agree, channels_first, few, normal

pytestmark = pytest.mark.torch

Case_ = st.SearchStrategy[Case]
MODES = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}

ranks = st.integers(1, 3)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
"""Shapes of one example."""


def moved(layer: fn.Layer, shape: tuple[int, ...], theirs: Callable[[Any], Any]) -> Case:
    """A layer without parameters, whose function is one of x alone."""
    return Case(layer, normal(len(shape), 2, *shape), lambda params, x: theirs(x))


def flatten() -> Case_:
    return shapes.map(lambda shape: moved(fn.flatten, shape, lambda x: x.flatten(1)))


def reshape() -> Case_:
    """To one of the permutations of the sizes, or with an unknown one."""

    def case(shape: tuple[int, ...], data: Any) -> Case:
        new = list(data.draw(st.permutations(shape)))
        if data.draw(st.booleans()):
            new[data.draw(st.integers(0, len(new) - 1))] = -1
        return moved(fn.reshape(*new), shape, lambda x: x.reshape(len(x), *new))

    return st.builds(case, shapes, st.data())


def permute() -> Case_:
    def case(shape: tuple[int, ...], data: Any) -> Case:
        order = data.draw(st.permutations(range(1, len(shape) + 1)))
        signed = tuple(axis - (len(shape) + 1) * data.draw(st.integers(0, 1)) for axis in order)
        return moved(fn.permute(signed), shape, lambda x: x.permute(0, *order))

    return st.builds(case, shapes, st.data())


def expand_dims() -> Case_:
    def case(shape: tuple[int, ...], share: float) -> Case:
        axis = 1 + int(share * (len(shape) + 1))
        axis = axis if share < 0.5 else axis - len(shape) - 2
        return moved(fn.expand_dims(axis), shape, lambda x: x.unsqueeze(axis))

    return st.builds(case, shapes, st.floats(0, 0.99))


def squeeze() -> Case_:
    def case(shape: tuple[int, ...], share: float) -> Case:
        axis = 1 + int(share * (len(shape) + 1))
        whole = (*shape[: axis - 1], 1, *shape[axis - 1 :])
        axis = axis if share < 0.5 else axis - len(whole) - 1
        return moved(fn.squeeze(axis), whole, lambda x: x.squeeze(axis))

    return st.builds(case, shapes, st.floats(0, 0.99))


def unflatten() -> Case_:
    def case(shape: tuple[int, ...], sizes: tuple[int, ...], share: float, unknown: bool) -> Case:
        axis = 1 + int(share * len(shape))
        whole = (*shape[: axis - 1], math.prod(sizes), *shape[axis:])
        new = (-1, *sizes[1:]) if unknown else sizes
        axis = axis if share < 0.5 else axis - len(shape) - 1
        return moved(fn.unflatten(axis, new), whole, lambda x: x.unflatten(axis, new))

    return st.builds(case, shapes, st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), st.floats(0, 0.99),
                     st.booleans())  # fmt: skip


def take() -> Case_:
    """An element, or a slice, which PyTorch has forwards only."""

    def case(shape: tuple[int, ...], data: Any) -> Case:
        axis = data.draw(st.integers(1, len(shape)))
        n = shape[axis - 1]
        start = data.draw(st.integers(-n, n - 1))
        place = (slice(None),) * axis
        if data.draw(st.booleans()):
            return moved(fn.take(start, axis), shape, lambda x: x.select(axis, start))
        first = start % n
        index = slice(
            start, data.draw(st.one_of(st.none(), st.integers(first + 1, n + 2))), data.draw(st.integers(1, 3))
        )
        return moved(fn.take(index, axis - len(shape) - 1), shape, lambda x: x[(*place, index)])

    return st.builds(case, shapes, st.data())


def pad() -> Case_:
    names = {"zero": "constant", "constant": "constant", "reflect": "reflect", "replicate": "replicate",
             "circular": "circular"}  # fmt: skip

    def case(rank: int, mode: Any, value: float, data: Any) -> Case:
        import torch.nn.functional as F

        pixels = data.draw(st.tuples(*[st.integers(2, 6)] * rank))
        most = [{"reflect": n - 1, "circular": n}.get(mode, n + 2) for n in pixels]
        widths = tuple(data.draw(st.tuples(st.integers(0, m), st.integers(0, m))) for m in most)
        options: Any = {"value": value} if mode == "constant" else {}
        last_axis_first = [n for ends in reversed(widths) for n in ends]
        return moved(
            fn.pad(widths, mode, **options),
            (*pixels, 2),
            lambda x: channels_first(lambda x: F.pad(x, last_axis_first, names[mode], options.get("value", 0.0)), x),
        )

    return st.builds(case, ranks, st.sampled_from(sorted(names)), st.floats(-3, 3), st.data())


def crop() -> Case_:
    """PyTorch crops with negative padding."""

    def case(rank: int, data: Any) -> Case:
        import torch.nn.functional as F

        widths = tuple(data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in range(rank))
        pixels = [low + high + data.draw(st.integers(1, 3)) for low, high in widths]
        last_axis_first = [-n for ends in reversed(widths) for n in ends]
        return moved(fn.crop(widths), (*pixels, 2), lambda x: channels_first(lambda x: F.pad(x, last_axis_first), x))

    return st.builds(case, ranks, st.data())


def upsample(rank: int) -> Case_:
    """Every mode, larger and smaller, by size and by factor, of whole numbers and of others."""

    def case(mode: str, align: bool, by_size: bool, data: Any) -> Case:
        import torch.nn.functional as F

        pixels = data.draw(st.tuples(*[st.integers(1, 7)] * rank))
        sizes = data.draw(st.tuples(*[st.integers(1, 12)] * rank))
        factors = tuple(data.draw(st.one_of(st.integers(1, 3), st.floats(1 / n, 3))) for n in pixels)
        # Where a factor that is not whole leaves the size or doubles it, PyTorch's gradient may be another function's.
        made = [(n, f, math.floor(n * f)) for n, f in zip(pixels, factors, strict=True)]
        factors = tuple(m // n if m in (n, 2 * n) else f for n, f, m in made)
        corners: Any = {"align_corners": align} if mode != "nearest" else {}
        ours: Any = {"size": sizes} if by_size else {"factor": factors}
        theirs: Any = {"size": sizes} if by_size else {"scale_factor": tuple(map(float, factors))}
        return moved(
            getattr(fn, f"upsample{rank}d")(**ours, mode=mode, **corners),
            (*pixels, 2),
            lambda x: channels_first(lambda x: F.interpolate(x, **theirs, mode=mode, **corners), x),
        )

    return st.builds(case, st.sampled_from(["nearest", *MODES[rank]]), st.booleans(), st.booleans(), st.data())


def pixel_shuffle() -> Case_:
    """PyTorch's are of images."""

    def case(f: int, pixels: tuple[int, int], channels: int) -> Case:
        import torch.nn.functional as F

        shape = (*pixels, channels * f * f)
        return moved(fn.pixel_shuffle(f), shape, lambda x: channels_first(lambda x: F.pixel_shuffle(x, f), x))

    few_pixels = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return st.builds(case, st.integers(1, 4), few_pixels, st.integers(1, 3))


def pixel_unshuffle() -> Case_:
    def case(f: int, pixels: tuple[int, int], channels: int) -> Case:
        import torch.nn.functional as F

        shape = (pixels[0] * f, pixels[1] * f, channels)
        return moved(fn.pixel_unshuffle(f), shape, lambda x: channels_first(lambda x: F.pixel_unshuffle(x, f), x))

    return st.builds(case, st.integers(1, 4), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(1, 3))


def channel_shuffle() -> Case_:
    """PyTorch's function has no gradient on a CPU, so it is written with reshapes, and compared with the function."""

    def case(groups: int, each: int, pixels: tuple[int, int]) -> Case:
        import torch

        def theirs(x: Any) -> Any:
            y = x.unflatten(1, (groups, each)).transpose(1, 2).flatten(1, 2)
            with torch.no_grad():
                assert torch.equal(y, torch.nn.functional.channel_shuffle(x.detach().contiguous(), groups))
            return y

        return moved(fn.channel_shuffle(groups), (*pixels, groups * each), lambda x: channels_first(theirs, x))

    return st.builds(case, st.integers(1, 4), st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))


CASES = {
    **{make.__name__: make() for make in (
        flatten, reshape, permute, expand_dims, squeeze, unflatten, take, pad, crop, pixel_shuffle, pixel_unshuffle,
        channel_shuffle,
    )},
    **{f"upsample{rank}d": upsample(rank) for rank in (1, 2, 3)},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_shapes(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    assert case.layer.kind == kind
    agree("shapes", case)


@pytest.mark.parametrize("pad_mode", ["reflect", "replicate", "edge", "circular"])
def test_convolutions_with_these_borders(pad_mode: Any) -> None:
    import torch.nn.functional as F

    name = {"edge": "replicate"}.get(pad_mode, pad_mode)

    def theirs(params: Any, x: Any) -> Any:
        w = params["w"].movedim((-1, -2), (0, 1))
        return channels_first(lambda x: F.conv2d(F.pad(x, [3, 2, 1, 2], name), w, params["b"], (2, 1)), x)

    layer = fn.conv2d(3, (2, 3), stride=(2, 1), padding=((1, 2), (3, 2)), pad_mode=pad_mode)
    agree("shapes", Case(layer, normal(0, 2, 5, 6, 2), theirs))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_infinite_pixels_reach_the_same_pixels(value: float) -> None:
    """At no centre of a pixel, where a weight is 0: there PyTorch's 0 * inf is NaN, and ours the limit."""
    import torch
    import torch.nn.functional as F

    x = np.ones((1, 6, 5, 1))
    x[0, 2, 3] = value
    for mode in ("nearest", "bilinear", "bicubic"):
        theirs = F.interpolate(torch.from_numpy(x).movedim(-1, 1), scale_factor=2, mode=mode).movedim(1, -1).numpy()
        y, _ = fn.upsample2d(2, mode=mode).apply({}, x)
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(theirs), err_msg=mode)


def test_gains_are_those_of_pytorch() -> None:
    from torch.nn.init import calculate_gain

    for name in ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "sigmoid", "tanh", "relu", "selu"):
        assert fn.initializers.gain(name) == pytest.approx(calculate_gain(name), rel=1e-15)
    for slope in (None, 0.0, 0.2, 1):
        theirs = calculate_gain("leaky_relu", slope)
        assert fn.initializers.gain("leaky_relu", slope) == pytest.approx(theirs, rel=1e-15)


def test_identities_are_those_of_pytorch() -> None:
    """For kernels of an odd size; of an even one PyTorch takes the tap behind the one that sees the pixel itself."""
    import torch

    for taps, channels, filters, groups in (
        ((3,), 2, 3, 1),
        ((3, 1), 4, 2, 1),
        ((1, 3, 5), 3, 4, 2),
        ((3, 3), 2, 6, 3),
    ):
        theirs = torch.nn.init.dirac_(torch.empty(filters, channels, *taps), groups).movedim((0, 1), (-1, -2)).numpy()
        fans = math.prod(taps) * channels, math.prod(taps) * filters // groups
        np.testing.assert_array_equal(fn.initializers.identity()((*taps, channels, filters), 0, *fans), theirs)
    np.testing.assert_array_equal(fn.initializers.identity()((3, 5), 0, 3, 5), torch.nn.init.eye_(torch.empty(3, 5)))


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (3, 3, 8, 12)])
def test_orthogonal_and_truncated_weights_have_the_statistics_of_pytorch(shape: tuple[int, ...]) -> None:
    """Other draws of the same distribution: means and variances of both lie within five standard errors."""
    import torch

    theirs_first = torch.empty(shape[-1], shape[-2], *shape[:-2], dtype=torch.float64)
    rows = min(shape[-1], math.prod(shape[:-1]))
    theirs = torch.nn.init.orthogonal_(theirs_first, gain=1.3)
    ours = fn.initializers.orthogonal(gain=1.3)(shape, 0, 1, 1)
    assert float((theirs**2).sum()) == pytest.approx(float((ours.astype(float) ** 2).sum()), rel=1e-5)
    assert float((ours.astype(float) ** 2).sum()) == pytest.approx(1.3**2 * rows, rel=1e-5)
    torch.manual_seed(0)
    theirs = torch.nn.init.trunc_normal_(torch.empty(50000), mean=0.5, std=2.0, a=-1.0, b=4.0).numpy()
    ours = fn.initializers.truncated_normal(2.0, 0.5, -1.0, 4.0)((50000,), 0, 1, 1)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=5 * 1.3 * (2 / 50000) ** 0.5)
    assert ours.std() == pytest.approx(theirs.std(), abs=5 * 1.3 * 50000**-0.5)
    assert ours.min() == pytest.approx(theirs.min(), abs=1e-3)
    assert ours.max() == pytest.approx(theirs.max(), abs=1e-3)
