"""Convolutions agree with PyTorch over their options: plain, transposed, depthwise and separable ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from tests.with_torch.agreement import Case, agree, channels_first, few, normal

pytestmark = pytest.mark.torch

Sizes = tuple[int, ...]

PIXELS = {1: (17,), 2: (9, 8), 3: (6, 5, 7)}
CHANNELS = 4
BATCHES = st.sampled_from([1, 3, 6])
"""Up to four images are worked on in another way than more."""

TORCH_MODES = {
    "zero": "constant", "edge": "replicate", "replicate": "replicate", "reflect": "reflect", "circular": "circular",
}  # fmt: skip
BIAS, ACTIVATIONS, PAD_MODES = st.booleans(), st.sampled_from([None, "tanh"]), st.sampled_from(sorted(TORCH_MODES))


def sizes(rank: int, high: int) -> st.SearchStrategy[Sizes]:
    """One whole number for each axis."""
    return st.tuples(*[st.integers(1, high)] * rank)


def pads(rank: int) -> st.SearchStrategy[Any]:
    """The same pixels before and behind an axis, as PyTorch's layers take them, or others."""
    pair = st.integers(0, 2).map(lambda n: (n, n)) | st.tuples(st.integers(0, 2), st.integers(0, 2))
    return st.tuples(*[pair] * rank)


def own_order(w: Any) -> Any:
    """Our ``w`` as PyTorch has it, of plain and of transposed convolutions alike."""
    return w.movedim((-1, -2), (0, 1))


def activated(y: Any, activation: str | None) -> Any:
    """The activation of our layer."""
    return y.tanh() if activation else y


def padded(x: Any, padding: Sequence[Sequence[int]], pad_mode: str) -> Any:
    """PyTorch's images, (batch, channels, *pixels), with their padding."""
    import torch.nn.functional as F

    sides = [n for pair in reversed(padding) for n in pair]
    return F.pad(x, sides, mode=TORCH_MODES[pad_mode])


def in_pixels(padding: Any, shape: Sequence[int], span: Sequence[int], stride: Sequence[int]) -> Any:
    """The padding of a convolution in pixels, by the definition of each word."""
    if padding == "valid":
        return [(0, 0)] * len(span)
    if padding == "causal":
        return [(n - 1, 0) for n in span]
    if padding == "same":
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(shape[1:-1], span, stride, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return padding


def spans(kernel: Sizes, dilation: Sizes) -> list[int]:
    """The pixels from the first tap to the last."""
    return [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]


def convolved(w: Any, b: Any, x: Any, padding: Any, pad_mode: str, stride: Sizes, dilation: Sizes, groups: int) -> Any:
    """PyTorch's convolution of our images with our kernel."""
    import torch.nn.functional as F

    rank = w.ndim - 2
    conv = getattr(F, f"conv{rank}d")
    sides = in_pixels(padding, x.shape, spans(tuple(w.shape[:rank]), dilation), stride)
    return channels_first(lambda x: conv(padded(x, sides, pad_mode), own_order(w), b, stride, 0, dilation, groups), x)


def convolution(rank: int) -> st.SearchStrategy[Case]:
    """Every option of ``conv1d``, ``conv2d`` and ``conv3d``."""

    def case(
        kernel: Sizes, stride: Sizes, padding: Any, dilation: Sizes, groups: int, bias: bool, activation: str | None,
        pad_mode: Any, batch: int,
    ) -> Case:  # fmt: skip
        layer = getattr(fn, f"conv{rank}d")
        return Case(
            layer(8, kernel, stride, padding, dilation, groups, bias, activation, pad_mode),
            normal(batch, batch, *PIXELS[rank], CHANNELS),
            lambda params, x: activated(
                convolved(params["w"], params.get("b"), x, padding, pad_mode, stride, dilation, groups), activation
            ),
        )

    words = st.sampled_from(["valid", "same", *["causal"] * (rank == 1)])
    return st.builds(
        case, sizes(rank, 3), sizes(rank, 3), words | pads(rank), sizes(rank, 2), st.sampled_from([1, 2, 4]), BIAS,
        ACTIVATIONS, PAD_MODES, BATCHES,
    )  # fmt: skip


def depthwise_convolution() -> st.SearchStrategy[Case]:
    """Every option of ``depthwise_conv2d``; PyTorch has it as a convolution with as many groups as channels."""

    def case(
        kernel: Sizes, multiplier: int, stride: Sizes, padding: Any, dilation: Sizes, bias: bool,
        activation: str | None, pad_mode: Any, batch: int,
    ) -> Case:  # fmt: skip
        return Case(
            fn.depthwise_conv2d(kernel, multiplier, stride, padding, dilation, bias, activation, pad_mode),
            normal(batch, batch, *PIXELS[2], CHANNELS),
            lambda params, x: activated(
                convolved(params["w"], params.get("b"), x, padding, pad_mode, stride, dilation, CHANNELS), activation
            ),
        )

    words = st.sampled_from(["valid", "same"])
    return st.builds(
        case, sizes(2, 3), st.integers(1, 3), sizes(2, 3), words | pads(2), sizes(2, 2), BIAS, ACTIVATIONS, PAD_MODES,
        BATCHES,
    )  # fmt: skip


def separable_convolution() -> st.SearchStrategy[Case]:
    """Every option of ``separable_conv2d``: two of PyTorch's convolutions."""

    def case(
        kernel: Sizes, multiplier: int, stride: Sizes, padding: Any, dilation: Sizes, bias: bool,
        activation: str | None, pad_mode: Any, batch: int,
    ) -> Case:  # fmt: skip
        def theirs(params: Any, x: Any) -> Any:
            deep = convolved(params["depthwise"]["w"], None, x, padding, pad_mode, stride, dilation, CHANNELS)
            w, b = params["pointwise"]["w"], params["pointwise"].get("b")
            return activated(convolved(w, b, deep, "valid", "zero", (1, 1), (1, 1), 1), activation)

        layer = fn.separable_conv2d(5, kernel, multiplier, stride, padding, dilation, bias, activation, pad_mode)
        return Case(layer, normal(batch, batch, *PIXELS[2], CHANNELS), theirs)

    words = st.sampled_from(["valid", "same"])
    return st.builds(
        case, sizes(2, 3), st.integers(1, 3), sizes(2, 3), words | pads(2), sizes(2, 2), BIAS, ACTIVATIONS, PAD_MODES,
        BATCHES,
    )  # fmt: skip


def transposed_convolution(rank: int) -> st.SearchStrategy[Case]:
    """Every option of ``conv_transpose1d``, ``conv_transpose2d`` and ``conv_transpose3d``."""

    def case(
        kernel: Sizes, stride: Sizes, padding: Any, share: float, dilation: Sizes, groups: int, bias: bool,
        activation: str | None, batch: int,
    ) -> Case:  # fmt: skip
        import torch.nn.functional as F

        # A fraction of what may be chosen; "same" chooses itself.
        extra = [int(share * max(pair)) for pair in zip(stride, dilation, strict=True)]
        ours = 0 if padding == "same" else tuple(extra)
        cut = [(0, 0)] * rank if padding == "valid" else padding
        if padding == "same":
            missing = [k - s for k, s in zip(spans(kernel, dilation), stride, strict=True)]
            extra, cut = [max(-n, 0) for n in missing], [(n // 2, n - n // 2) for n in (max(n, 0) for n in missing)]
        both = all(low == high for low, high in cut)

        def transpose(params: Any, x: Any) -> Any:
            conv = getattr(F, f"conv_transpose{rank}d")
            # PyTorch cuts as much off on both sides; where we do not, the whole output is cut here.
            inside = [low for low, _ in cut] if both else 0
            y = conv(x, own_order(params["w"]), params.get("b"), stride, inside, extra, groups, dilation)
            return y if both else y[(..., *(slice(low, y.shape[2 + i] - high) for i, (low, high) in enumerate(cut)))]

        layer = getattr(fn, f"conv_transpose{rank}d")
        return Case(
            layer(8, kernel, stride, padding, ours, dilation, groups, bias, activation),
            normal(batch, batch, *PIXELS[rank], CHANNELS),
            lambda params, x: activated(channels_first(lambda x: transpose(params, x), x), activation),
        )

    words = st.sampled_from(["valid", "same"])
    return st.builds(
        case, sizes(rank, 3), sizes(rank, 3), words | pads(rank), st.floats(0, 0.99), sizes(rank, 2),
        st.sampled_from([1, 2, 4]), BIAS, ACTIVATIONS, BATCHES,
    )  # fmt: skip


CASES = {
    **{f"conv{rank}d": convolution(rank) for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": transposed_convolution(rank) for rank in (1, 2, 3)},
    "depthwise_conv2d": depthwise_convolution(),
    "separable_conv2d": separable_convolution(),
}


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_convolution(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    assert case.layer.kind == kind
    agree("convolution", case)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (fn.conv2d(64, 3, padding="same"), (32, 32, 64)),
        (fn.conv1d(64, 5, padding="causal"), (256, 64)),
        (fn.conv_transpose2d(32, 3, 2, "same"), (32, 32, 64)),
        (fn.depthwise_conv2d(3, padding="same"), (56, 56, 64)),
        (fn.conv3d(16, 3), (12, 24, 24, 16)),
    ],
    ids=repr,
)
def test_full_sized_layers_in_float32(layer: fn.Layer, shape: Sizes) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((8, *shape))
    params = fn.tree.map(lambda leaf: leaf.astype(float), layer.init(shape, 0))
    y, vjp_fn = layer.apply(params, x)
    dy = random.standard_normal(y.shape)
    grads, dx = vjp_fn(dy)
    narrow = fn.tree.cast(params, np.float32)
    y32, vjp32 = layer.apply(narrow, x.astype(np.float32))
    grads32, dx32 = vjp32(dy.astype(np.float32))
    # A sum of n products rounds to about sqrt(n) units of 6e-8: 600 for an element of y or dx, 30,000 for one of dw.
    for found, exact, limit in [(y32, y, 1e-5), (dx32, dx, 1e-5), (grads32["w"], grads["w"], 5e-5)]:
        assert found.dtype == np.float32
        assert np.abs(found - exact).max() < limit * np.abs(exact).max()
