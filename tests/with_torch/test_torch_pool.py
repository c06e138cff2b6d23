"""Pooling, unfolding and folding agree with PyTorch over their options."""

import math
from collections.abc import Callable
from importlib import import_module
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from tests.with_torch.agreement import Case, agree, channels_first, few, normal

pytestmark = pytest.mark.torch

PIXELS = {1: (17,), 2: (9, 8), 3: (6, 5, 7)}
AXES = {1: (1,), 2: (1, 2), 3: (1, 2, 3)}
Sizes = tuple[int, ...]


def of_torch(name: str, rank: int) -> Any:
    """A function of PyTorch for images of this many axes."""
    import torch.nn.functional as F

    return getattr(F, f"{name}{rank}d")


def of_each_axis(rank: int, most: int) -> st.SearchStrategy[Sizes]:
    """A whole number from 1 on for each axis."""
    return st.tuples(*[st.integers(1, most)] * rank)


def images(batch: int, rank: int) -> Any:
    """Images of three channels."""
    return normal(batch, batch, *PIXELS[rank], 3)


def extreme_pool(name: str, rank: int) -> st.SearchStrategy[Case]:
    """Windows of any size, stride, padding and dilation, with and without a last window that hangs over."""

    def case(window: Sizes, stride: Sizes, share: float, ceil_mode: bool, dilation: Sizes, batch: int) -> Case:
        # What a window spans fits on the image, and PyTorch allows a padding of half of the window.
        spans = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
        dilation = tuple(d if span <= n else 1 for d, span, n in zip(dilation, spans, PIXELS[rank], strict=True))
        padding = tuple(int(share * (n // 2 + 1)) for n in window)
        options = {"ceil_mode": ceil_mode, "dilation": dilation}
        sign = -1 if name == "min" else 1
        return Case(
            getattr(fn, f"{name}_pool{rank}d")(window, stride, tuple((p, p) for p in padding), **options),
            images(batch, rank),
            lambda _, x: (
                sign
                * channels_first(lambda x: of_torch("max_pool", rank)(sign * x, window, stride, padding, **options), x)
            ),
        )

    return st.builds(
        case, of_each_axis(rank, 4), of_each_axis(rank, 4), st.floats(0, 0.9), st.booleans(),
        st.one_of(st.just((1,) * rank), of_each_axis(rank, 3)), st.integers(1, 3),
    )  # fmt: skip


def avg_pool(rank: int) -> st.SearchStrategy[Case]:
    """As the extremes, with padding that counts and padding that does not."""

    def case(window: Sizes, stride: Sizes, share: float, ceil_mode: bool, count_padding: bool, batch: int) -> Case:
        padding = tuple(int(share * (n // 2 + 1)) for n in window)
        options = {"ceil_mode": ceil_mode, "count_include_pad": count_padding}
        return Case(
            getattr(fn, f"avg_pool{rank}d")(
                window, stride, tuple((p, p) for p in padding), ceil_mode=ceil_mode, count_padding=count_padding
            ),
            images(batch, rank),
            lambda _, x: channels_first(lambda x: of_torch("avg_pool", rank)(x, window, stride, padding, **options), x),
        )

    sizes = of_each_axis(rank, 4)
    return st.builds(case, sizes, sizes, st.floats(0, 0.9), st.booleans(), st.booleans(), st.integers(1, 3))


def sums(x: Any, window: Sizes, stride: Sizes, padding: Sizes, ceil_mode: bool) -> Any:
    """The sums of windows: PyTorch has a mean with a divisor for two axes and for three."""
    rank, missing = len(window), 2 if len(window) == 1 else len(window)
    flat = x.unsqueeze(2) if rank == 1 else x
    ones, zeros = (1,) * (missing - rank), (0,) * (missing - rank)
    y = of_torch("avg_pool", missing)(
        flat, ones + window, ones + stride, zeros + padding, ceil_mode=ceil_mode, divisor_override=1
    )
    return y.squeeze(2) if rank == 1 else y


def sum_pool(rank: int) -> st.SearchStrategy[Case]:
    """Against a mean whose divisor is 1."""

    def case(window: Sizes, stride: Sizes, share: float, ceil_mode: bool, batch: int) -> Case:
        padding = tuple(int(share * (n // 2 + 1)) for n in window)
        return Case(
            getattr(fn, f"sum_pool{rank}d")(window, stride, tuple((p, p) for p in padding), ceil_mode),
            images(batch, rank),
            lambda _, x: channels_first(lambda x: sums(x, window, stride, padding, ceil_mode), x),
        )

    sizes = of_each_axis(rank, 4)
    return st.builds(case, sizes, sizes, st.floats(0, 0.9), st.booleans(), st.integers(1, 3))


def lp_pool(rank: int) -> st.SearchStrategy[Case]:
    """Against ``lp_pool`` where it has the option and is right, and against its formula with padding or ceil_mode."""

    def case(p: float, window: Sizes, stride: Sizes, share: float, ceil_mode: bool, batch: int) -> Case:
        padding = tuple(int(share * (n // 2 + 1)) * (p < math.inf) for n in window)
        x = images(batch, rank)
        if p not in (1, 2, 4, math.inf):  # PyTorch gives NaN for the root of a negative number
            x = np.abs(x)

        def theirs(_: Any, x: Any) -> Any:
            if not any(padding) and (not ceil_mode or p == math.inf):
                # In one dimension PyTorch takes no tuples.
                sizes = (window, stride) if rank > 1 else (*window, *stride)
                return channels_first(lambda x: of_torch("lp_pool", rank)(x, p, *sizes, ceil_mode=ceil_mode), x)
            return channels_first(lambda x: sums(x**p, window, stride, padding, ceil_mode) ** (1 / p), x)

        layer = getattr(fn, f"lp_pool{rank}d")(p, window, stride, tuple((p, p) for p in padding), ceil_mode)
        return Case(layer, x, theirs)

    sizes = of_each_axis(rank, 4)
    return st.builds(
        case, st.sampled_from([1, 2, 3, 4, 0.7, 1.5, 2.5, math.inf]), sizes, sizes,
        st.sampled_from([0, 0, 0.9]), st.booleans(), st.integers(1, 3),
    )  # fmt: skip


def adaptive_pool(name: str, rank: int) -> st.SearchStrategy[Case]:
    """Fewer pixels than the input has, as many, more, or None for as many."""

    def case(size: Any, batch: int) -> Case:
        pool = of_torch(f"adaptive_{name}_pool", rank)
        # In one dimension PyTorch takes no None.
        given = tuple(n or m for n, m in zip(size, PIXELS[rank], strict=True)) if rank == 1 else size
        return Case(
            getattr(fn, f"adaptive_{name}_pool{rank}d")(size),
            images(batch, rank),
            lambda _, x: channels_first(lambda x: pool(x, given), x),
        )

    sizes = st.tuples(*[st.one_of(st.none(), st.integers(1, n + 3)) for n in PIXELS[rank]])
    return st.builds(case, sizes, st.integers(1, 3))


def global_pool(name: str, rank: int) -> st.SearchStrategy[Case]:
    """Against the mean, and against adaptive pooling to one pixel."""

    def theirs(_: Any, x: Any) -> Any:
        if name == "avg":
            return x.mean(AXES[rank])
        return channels_first(lambda x: of_torch("adaptive_max_pool", rank)(x, 1), x).flatten(1)

    layer = getattr(fn, f"global_{name}_pool{rank}d")
    return st.builds(lambda batch: Case(layer, images(batch, rank), theirs), st.integers(1, 3))


def patches(kind: str) -> st.SearchStrategy[Case]:
    """``Unfold`` and ``Fold``, whose rows are our columns."""

    def case(size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, batch: int) -> Case:
        import torch.nn.functional as F

        pixels = PIXELS[2]
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        ours = {"stride": stride, "padding": tuple((p, p) for p in padding), "dilation": dilation}
        unfold = fn.unfold(size, **ours)
        if kind == "unfold":
            return Case(
                unfold, images(batch, 2), lambda _, x: F.unfold(x.movedim(-1, 1), size, **options).transpose(1, 2)
            )
        x, _ = unfold.apply({}, images(batch, 2))
        return Case(
            fn.fold(pixels, size, **ours),
            normal(batch, *x.shape),
            lambda _, x: F.fold(x.transpose(1, 2), pixels, size, **options).movedim(1, -1),
        )

    pairs = of_each_axis(2, 3)
    return st.builds(case, pairs, pairs, st.tuples(*[st.integers(0, 2)] * 2), pairs, st.integers(1, 3))


RANKS = (1, 2, 3)
MAKERS: dict[str, Callable[[int], st.SearchStrategy[Case]]] = {
    "max_pool": lambda rank: extreme_pool("max", rank),
    "min_pool": lambda rank: extreme_pool("min", rank),
    "avg_pool": avg_pool,
    "sum_pool": sum_pool,
    "lp_pool": lp_pool,
    "adaptive_avg_pool": lambda rank: adaptive_pool("avg", rank),
    "adaptive_max_pool": lambda rank: adaptive_pool("max", rank),
    "global_avg_pool": lambda rank: global_pool("avg", rank),
    "global_max_pool": lambda rank: global_pool("max", rank),
}
CASES = {f"{name}{rank}d": make(rank) for name, make in MAKERS.items() for rank in RANKS} | {
    "unfold": patches("unfold"),
    "fold": patches("fold"),
}


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_pooling(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    assert case.layer.kind == kind
    agree("pooling", case)


def test_there_is_a_comparison_of_every_layer_of_these_files() -> None:
    files = ("adaptive_pool", "global_pool", "lp_pool", "pool", "unfold")
    names = [import_module(f"funcnn.layers.{file}").__all__ for file in files]
    assert sorted(CASES) == sorted(chain(*names))
