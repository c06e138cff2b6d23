"""Recurrent layers: chunks of a text are the whole text, and what stands under a mask has no influence."""

import numpy as np
import pytest

import funcnn as fn

LAYERS = [fn.rnn(3), fn.gru(3), fn.gru(3, reset_after=False), fn.lstm(3, projection=2), fn.lstm(3, layers=2)]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_chunks_equal_the_whole(layer: fn.Layer) -> None:
    x = np.random.default_rng(0).standard_normal((2, 7, 4))
    params = fn.tree.cast(layer.init((7, 4), 0), np.float64)
    whole, _ = layer.apply(params, {"x": x, "state": {}})
    first, _ = layer.apply(params, {"x": x[:, :3], "state": {}})
    second, _ = layer.apply(params, {"x": x[:, 3:], "state": first["state"]})
    np.testing.assert_allclose(np.concatenate([first["x"], second["x"]], 1), whole["x"], rtol=0, atol=1e-12)
    fn.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), second["state"], whole["state"])


@pytest.mark.parametrize("layer", [*LAYERS, fn.bidirectional(fn.lstm(3)), fn.time_distributed(fn.dense(2))], ids=repr)
def test_nothing_under_a_mask_has_influence(layer: fn.Layer) -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 4))
    mask = np.array([[True, True, False, True, False], [False, True, True, True, True]])
    params = fn.tree.cast(layer.init((5, 4), 0), np.float64)
    found = []
    for value in (0.0, np.nan, np.inf):
        y, vjp_fn = layer.apply(params, {"x": np.where(mask[..., None], x, value), "mask": mask})
        found.append([y["x"], *vjp_fn({"x": np.where(mask[..., None], np.ones_like(y["x"]), value), "mask": None})])
    for other in found[1:]:
        np.testing.assert_equal(other, found[0])
    assert not found[0][0][~mask].any()
