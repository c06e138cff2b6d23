"""Clipping by hand."""

import numpy as np
import pytest

from funcnn.optim import clip_by_global_norm, clip_by_value, step_decay


def test_the_global_norm_is_over_all_leaves_and_keeps_the_direction() -> None:
    params = {"b": np.zeros(1), "w": np.zeros((1, 2))}
    grads = {"b": np.array([1.0]), "w": np.array([[2.0, 2.0]])}
    clipped, _ = clip_by_global_norm(1.5).update(grads, {}, params)
    np.testing.assert_array_equal(clipped["b"], [0.5])
    np.testing.assert_array_equal(clipped["w"], [[1.0, 1.0]])
    untouched, _ = clip_by_global_norm(3.0).update(grads, {}, params)
    np.testing.assert_array_equal(untouched["w"], grads["w"])


def test_the_global_norm_of_exploded_gradients() -> None:
    params = {"w": np.zeros(2, np.float32)}
    clipped, _ = clip_by_global_norm(1.0).update({"w": np.array([3e30, 4e30], np.float32)}, {}, params)
    # Rounded twice in float32, 6e-8 each.
    np.testing.assert_allclose(clipped["w"], [0.6, 0.8], rtol=2e-7)
    assert clipped["w"].dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_does_not_hide_a_divergence(bad: float) -> None:
    params, grads = {"w": np.zeros(2)}, {"w": np.array([1.0, bad])}
    clipped, _ = clip_by_global_norm(1.0).update(grads, {}, params)
    np.testing.assert_array_equal(clipped["w"], grads["w"])


def test_limits_of_zero_stop_everything() -> None:
    params, grads = {"w": np.zeros(2)}, {"w": np.array([1.0, -2.0])}
    for transform in (clip_by_global_norm(0), clip_by_value(0)):
        assert not transform.update(grads, {}, params)[0]["w"].any()


def test_a_scheduled_limit_counts_its_steps() -> None:
    params, grads = {"w": np.zeros(2)}, {"w": np.array([3.0, -0.25])}
    transform = clip_by_value(step_decay(2.0, every=1, factor=0.5))
    state = transform.init(params)
    for limit in (2.0, 1.0, 0.5):
        clipped, state = transform.update(grads, state, params)
        np.testing.assert_array_equal(clipped["w"], [limit, -0.25])
        assert state["limit"] == limit
    assert state["step"] == 3


def test_the_global_norm_leaves_out_parameters_without_a_gradient() -> None:
    params = {"a": np.zeros(1), "n": np.arange(2), "w": np.zeros(1)}
    clipped, _ = clip_by_global_norm(1.0).update({"a": np.array([3.0]), "n": None, "w": np.array([4.0])}, {}, params)
    assert clipped["n"] is None
    assert [clipped["a"][0], clipped["w"][0]] == [3 * (1 / 5), 4 * (1 / 5)]
