"""``init`` raises for the shapes that ``apply`` cannot take, and for no others, whatever the layer."""

from itertools import product
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Params, Rng, Tree
from funcnn.protocol import Layer
from funcnn.testing import random_batch, table_of_layers

FLOATS = [
    *(shape for rank, sizes in ((0, ""), (1, "012346"), (2, "0123"), (3, "014"), (4, "14"))
      for shape in product(map(int, sizes), repeat=rank)),
    (9, 2), (7, 6, 2), (4, 6, 1), (5, 4, 6, 2), (2, 3, 4, 4, 2),
]  # fmt: skip
OTHERS: list[Any] = [
    fn.spec((), int), fn.spec((3,), int), fn.spec((3,), bool), fn.spec((4, 2), int), fn.spec((4, 2), float),
    {}, {"x": (4, 2)}, {"x": (3, 2), "mask": fn.spec((3,), bool)}, {"x": (4, 2), "state": {"h": (3,)}},
    {"x": (3, 4), "cache": {}}, {"a": (3,), "b": (3,)}, {"a": (3, 4), "b": (3, 4)}, {"a": (2,), "b": (2,), "c": (2,)},
    {"q": (3, 2, 4), "k": (3, 2, 4), "v": (3, 2, 4)},
]  # fmt: skip


def takes(layer: Layer, params: Params, shape: Tree, examples: int, rng: Rng | None) -> bool:
    """Whether ``apply`` takes a batch of such examples; it raises nothing but what says that it does not."""
    try:
        layer.apply(params, fn.tree.cast(random_batch(shape, examples), np.float32), rng)
    except (ValueError, TypeError):
        return False
    return True


@pytest.mark.parametrize("row", table_of_layers(), ids=lambda row: f"{row[0]!r} on {row[1]}")
def test_init_takes_the_shapes_that_apply_takes(row: tuple[Layer, Tree]) -> None:
    layer, own = row
    params_of_own = layer.init(own, 0)
    for shape in [*FLOATS, *OTHERS]:
        try:
            params, accepted = layer.init(shape, 0), True
        except (ValueError, TypeError):
            params, accepted = params_of_own, False
        # What batch norm would measure, since this is about shapes.
        params = fn.tree.map(lambda leaf: np.nan_to_num(leaf, nan=1.0), params)
        for examples, rng in ((1, 0), (2, None)):
            assert takes(layer, params, shape, examples, rng) == accepted, (shape, examples, rng, accepted)


def test_a_row_of_classes_is_not_a_batch() -> None:
    for layer in (fn.softmax, fn.log_softmax, fn.softmin, fn.sparsemax):
        with pytest.raises(ValueError, match=r"expected .*\(batch, ..., classes\), got shape \(3,\).* use x\[None\]"):
            layer.apply({}, np.ones(3))


def test_spatial_dropout_refuses_vectors_when_predicting_too() -> None:
    with pytest.raises(ValueError, match="use dropout"):
        fn.spatial_dropout(0.5).apply({}, np.ones((2, 3)))


def test_a_claim_of_shapes_that_does_not_hold_is_found() -> None:
    refuses_nothing = fn.layer(per_example=True)(lambda: (lambda shape, rng: {}, fn.glu.apply))()
    with pytest.raises(AssertionError):
        test_init_takes_the_shapes_that_apply_takes((refuses_nothing, (4,)))
