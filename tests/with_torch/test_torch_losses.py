"""Losses and their gradients agree with PyTorch in float64."""

from typing import Any

import numpy as np
import pytest

from funcnn import losses
from funcnn.losses.targets import class_weights

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("ours", "theirs", "logits", "soft"),
    [
        ("mean_squared_error", "mse_loss", True, True),
        ("binary_cross_entropy", "binary_cross_entropy", False, True),
        ("sigmoid_cross_entropy", "binary_cross_entropy_with_logits", True, True),
        ("softmax_cross_entropy", "cross_entropy", True, False),
        ("softmax_cross_entropy", "cross_entropy", True, True),
        ("categorical_cross_entropy", "nll_loss", False, False),
    ],
)
def test_value_and_gradient(ours: str, theirs: str, logits: bool, soft: bool) -> None:
    import torch

    rng = np.random.default_rng(0)
    y = rng.normal(size=(5, 4)) * 3 if logits else rng.dirichlet(np.ones(4), size=5)
    target: Any = rng.dirichlet(np.ones(4), size=5) if soft else rng.integers(4, size=5)
    value, dy = getattr(losses, ours)(y, target)

    y_torch = torch.tensor(y, requires_grad=True)
    prediction = y_torch.log() if theirs == "nll_loss" else y_torch
    expected = getattr(torch.nn.functional, theirs)(prediction, torch.tensor(target))
    expected.backward()
    # Two ways to add up twenty float64 numbers.
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(dy, y_torch.grad.numpy(), rtol=1e-11, atol=1e-14)  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(7,), (3, 5)])
@pytest.mark.parametrize(
    ("ours", "theirs"), [("softmax_cross_entropy", "cross_entropy"), ("categorical_cross_entropy", "nll_loss")]
)
def test_weights_looked_up_by_label_are_the_weights_of_classes(ours: str, theirs: str, shape: tuple[int, ...]) -> None:
    import torch

    rng = np.random.default_rng(0)
    y = rng.dirichlet(np.ones(4), size=shape)
    # Class 0 is three times as frequent as the others, or more.
    labels = rng.permutation(np.maximum(np.arange(np.prod(shape)) - np.prod(shape) + 4, 0)).reshape(shape)
    per_class = class_weights(labels.ravel(), 4)
    value, dy = getattr(losses, ours)(y, labels, weights=per_class[labels])

    y_torch = torch.tensor(y, requires_grad=True)
    prediction = y_torch.log() if theirs == "nll_loss" else y_torch
    expected = getattr(torch.nn.functional, theirs)(
        prediction.movedim(-1, 1), torch.tensor(labels), weight=torch.tensor(per_class)
    )
    expected.backward()
    # Two ways to add up a few float64 numbers.
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(dy, y_torch.grad.numpy(), rtol=1e-11, atol=1e-14)  # type: ignore[union-attr]
