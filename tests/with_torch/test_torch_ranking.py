"""Losses of pairs, triplets and sequences agree with PyTorch over their options."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array, Tree
from tests.with_torch.agreement import agree_as_loss, few

pytestmark = pytest.mark.torch

MARGINS = st.sampled_from([0.0, 0.3, 1.0])
AXES = st.sampled_from([(1,), (5,), (2, 3)])
"""The axes of losses."""


class LossCase(NamedTuple):
    """A loss, its arguments, and ``theirs(y)``, PyTorch's loss of each example as a tensor.

    ``per`` is what PyTorch divides each loss by in a mean, beside the number of losses.
    """

    loss: Callable[..., Any]
    y: Tree
    target: Tree
    theirs: Callable[[Any], Any]
    per: Array | float = 1.0


def vectors(seed: int, names: tuple[str, ...], axes: tuple[int, ...]) -> Tree:
    """An array of vectors for each name, some of them near to the first, so that losses of 0 are among them."""
    random = np.random.default_rng(seed)
    first, *others = random.standard_normal((len(names), *axes, 4))
    return dict(zip(names, (first, *(first + random.choice([0.1, 1.0]) * x for x in others)), strict=True))


def of_two(seed: int, axes: tuple[int, ...], choices: tuple[int, int] = (1, -1)) -> tuple[Array, Any]:
    """A target, and the same as a tensor."""
    import torch

    target = np.random.default_rng(seed).choice(choices, axes)
    return target, torch.tensor(target)


def hinge_embedding(seed: int, margin: float, axes: tuple[int, ...]) -> LossCase:
    import torch.nn.functional as F

    target, t = of_two(seed, axes)
    y = np.abs(np.random.default_rng(seed).standard_normal(axes))
    return LossCase(
        fn.hinge_embedding(margin), y, target, lambda y: F.hinge_embedding_loss(y, t, margin=margin, reduction="none")
    )


def margin_ranking(seed: int, margin: float, axes: tuple[int, ...]) -> LossCase:
    import torch.nn.functional as F

    target, t = of_two(seed, axes)
    a, b = np.random.default_rng(seed).standard_normal((2, *axes))
    b[:1] = a[:1]  # at a kink if the margin is 0
    return LossCase(
        fn.margin_ranking(margin), {"a": a, "b": b}, target,
        lambda y: F.margin_ranking_loss(y["a"], y["b"], t, margin=margin, reduction="none"),
    )  # fmt: skip


def cosine_embedding(seed: int, margin: float, axes: tuple[int, ...]) -> LossCase:
    import torch.nn.functional as F

    axes = axes[:1]  # PyTorch takes no more
    target, t = of_two(seed, axes)
    return LossCase(
        fn.cosine_embedding(margin), vectors(seed, ("a", "b"), axes), target,
        lambda y: F.cosine_embedding_loss(y["a"], y["b"], t, margin=margin, reduction="none"),
    )  # fmt: skip


def cosine_similarity(seed: int, margin: float, axes: tuple[int, ...]) -> LossCase:
    import torch
    import torch.nn.functional as F

    both = vectors(seed, ("y", "t"), axes)
    y, target = both["y"], both["t"]
    y[-1] *= margin  # 0 among them
    return LossCase(fn.cosine_similarity, y, target, lambda y: -F.cosine_similarity(y, torch.tensor(target), dim=-1))


def contrastive(seed: int, margin: float, axes: tuple[int, ...]) -> LossCase:
    target, t = of_two(seed, axes, (1, 0))

    def theirs(y: Any) -> Any:
        d = (y["a"] - y["b"]).norm(dim=-1)
        return (t * d**2 + (1 - t) * (margin - d).clamp(min=0) ** 2) / 2

    return LossCase(fn.contrastive(margin), vectors(seed, ("a", "b"), axes), target, theirs)


def triplet_margin(
    seed: int, margin: float, axes: tuple[int, ...], p: float = 2.0, eps: float = 1e-6, swap: bool = False
) -> LossCase:
    import torch.nn.functional as F

    names, margin = ("anchor", "positive", "negative"), margin or 0.01  # PyTorch wants a positive one
    options: Any = {"margin": margin, "p": p, "eps": eps, "swap": swap}
    return LossCase(
        fn.triplet_margin(**options), vectors(seed, names, axes), None,
        lambda y: F.triplet_margin_loss(*(y[name] for name in names), **options, reduction="none"),
    )  # fmt: skip


def info_nce(seed: int, temperature: float, batch: int, symmetric: bool) -> LossCase:
    import torch
    import torch.nn.functional as F

    def theirs(y: Any) -> Any:
        s = F.normalize(y["a"]) @ F.normalize(y["b"]).T / temperature
        labels = torch.arange(batch)
        losses = F.cross_entropy(s, labels, reduction="none")
        return (losses + F.cross_entropy(s.T, labels, reduction="none")) / 2 if symmetric else losses

    loss = fn.info_nce(temperature=temperature, symmetric=symmetric)
    return LossCase(loss, vectors(seed, ("a", "b"), (batch,)), None, theirs)


def ctc(seed: int, batch: int, time: int, most: int, blank: int, zero_infinity: bool) -> LossCase:
    """Examples of all lengths, with repeats and without labels; some have no alignment if that is allowed."""
    import torch
    import torch.nn.functional as F

    random = np.random.default_rng(seed)
    classes = blank + int(random.integers(1, 4)) + 1
    labels = random.choice([k for k in range(classes) if k != blank], (batch, most))
    lengths = random.integers(0, most + 1, batch)
    repeated = (labels[:, 1:] == labels[:, :-1]) & (np.arange(1, most) < lengths[:, None])
    least = np.ones(batch, int) if zero_infinity else np.maximum(lengths + repeated.sum(1), 1)
    frames = random.integers(least, np.maximum(least, time) + 1)
    y = {"x": 3 * random.standard_normal((batch, int(frames.max()) + 1, classes)), "lengths": frames}

    def theirs(y: Any) -> Any:
        return F.ctc_loss(
            y["x"].log_softmax(-1).movedim(0, 1), torch.tensor(labels), y["lengths"], torch.tensor(lengths),
            blank=blank, zero_infinity=zero_infinity, reduction="none",
        )  # fmt: skip

    target = {"labels": labels, "lengths": lengths}
    return LossCase(fn.ctc(blank, zero_infinity), y, target, theirs, np.maximum(lengths, 1))


SEEDS, SIZES = st.integers(0, 1000), st.integers(1, 6)
NORMS = {"p": st.sampled_from([1.0, 1.5, 2.0, 3.0, np.inf]), "eps": st.sampled_from([0.0, 1e-6, 0.1])}
PAIRS = [hinge_embedding, margin_ranking, cosine_embedding, cosine_similarity, contrastive]
CASES: dict[str, st.SearchStrategy[LossCase]] = {
    **{case.__name__: st.builds(case, SEEDS, MARGINS, AXES) for case in PAIRS},
    "triplet_margin": st.builds(triplet_margin, SEEDS, MARGINS, AXES, swap=st.booleans(), **NORMS),
    "info_nce": st.builds(info_nce, SEEDS, st.sampled_from([0.07, 0.5, 2.0]), SIZES, st.booleans()),
    "ctc": st.builds(ctc, SEEDS, SIZES, st.integers(1, 9), SIZES, st.integers(0, 2), st.booleans()),
}


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_losses_of_pairs_and_sequences(kind: str, data: st.DataObject) -> None:
    import torch

    case = data.draw(CASES[kind])
    reduction = data.draw(st.sampled_from(["mean", "sum", "none"]))
    weighted = kind != "info_nce" and data.draw(st.booleans())  # its weights are those of the other examples too
    n = len(fn.tree.leaves(case.y)[0])
    weights = np.random.default_rng(0).uniform(0.5, 2, n) if weighted else None
    w = torch.tensor(np.ones(n) if weights is None else weights)

    def theirs(y: Any) -> Any:
        losses = case.theirs(y)
        over = w.reshape(-1, *[1] * (losses.ndim - 1)).expand(losses.shape)
        if reduction == "mean":
            return (over * losses / torch.as_tensor(case.per)).sum() / over.sum()
        return (over * losses).sum() if reduction == "sum" else over * losses

    ours = case.loss(case.y, case.target, weights=weights, reduction=reduction)
    agree_as_loss("ranking and sequences", ours, case.y, theirs)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_reductions_of_ctc_are_those_of_pytorch(reduction: str) -> None:
    import torch
    import torch.nn.functional as F

    x = np.random.default_rng(0).standard_normal((3, 7, 4))
    labels, lengths, frames = np.array([[1, 1, 2], [3, 0, 0], [0, 0, 0]]), np.array([3, 1, 0]), np.array([7, 4, 5])
    y, target = {"x": x, "lengths": frames}, {"labels": labels, "lengths": lengths}

    def theirs(y: Any) -> Any:
        log_p = y["x"].log_softmax(-1).movedim(0, 1)
        return F.ctc_loss(log_p, torch.tensor(labels), y["lengths"], torch.tensor(lengths), reduction=reduction)

    agree_as_loss("ranking and sequences", fn.ctc()(y, target, reduction=reduction), y, theirs)


def test_ctc_in_full_size_in_float32_is_near_float64() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((16, 200, 40)).astype(np.float32)
    target = {"labels": random.integers(1, 40, (16, 40)), "lengths": random.integers(1, 41, 16)}
    frames = random.integers(100, 201, 16)
    value, dy = fn.ctc()({"x": x, "lengths": frames}, target)
    expected, dy_expected = fn.ctc()({"x": x.astype(np.float64), "lengths": frames}, target)
    assert value == pytest.approx(expected, rel=1e-6)  # of sums in float64, from log-probabilities rounded to 6e-8
    assert dy["x"].dtype == np.float32
    largest = np.abs(dy_expected["x"]).max()
    np.testing.assert_allclose(dy["x"], dy_expected["x"], atol=1e-5 * largest)
