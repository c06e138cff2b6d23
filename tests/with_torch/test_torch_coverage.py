"""Every layer, activation and loss is compared with PyTorch, or stands in a list of those that PyTorch has not."""

import importlib
from pathlib import Path

import pytest

import funcnn as fn
from funcnn import layers, losses

pytestmark = pytest.mark.torch

NOT_IN_PYTORCH = {
    "combine": "the weighted sum of losses that are compared, checked by hand",
    "elementwise": "a function of the user's own",
    "to_float": "a change of dtype",
    "scale_and_shift": "one multiplication and one addition, which batch_norm is when it predicts",
}

KINDS = {layer.kind for layer, _ in fn.testing.table_of_layers()} & set(layers.__all__)
LOSSES = set(losses.__all__) - {"Loss", "class_weights"}

COMPARED = {
    kind
    for file in Path(__file__).parent.glob("test_torch_*.py")
    if file != Path(__file__)
    for table in ("CASES", "DRAWN")
    for kind in getattr(importlib.import_module(f"tests.with_torch.{file.stem}"), table, ())
}


@pytest.mark.parametrize("kind", sorted(KINDS | LOSSES))
def test_each_is_compared(kind: str) -> None:
    assert (kind in COMPARED) != (kind in NOT_IN_PYTORCH)


def test_nothing_else_is_listed() -> None:
    assert NOT_IN_PYTORCH.keys() <= KINDS | LOSSES
