"""Known faults of other libraries, listed under the tables of the five systems."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from fault_helpers import distinguish, draw, run_layer

import funcnn as fn
from funcnn.aliases import Array
from funcnn.training.callbacks import early_stopping
from funcnn.training.fit import Decision


def test_stax_batch_norm_output_of_an_example_does_not_depend_on_its_batch() -> None:
    """jax#139, #945: without measured statistics the output depends on the rest of the batch."""
    x = 3 + draw(6, 2)
    model = fn.batch_norm()
    params = fn.calibrate(model, fn.tree.cast(model.init((2,), 0), np.float64), x)
    y = fn.predict(model, params, x)
    distinguish(fn.predict(model, params, x[:3]), y[:3], (x[:3] - x[:3].mean(0)) / x[:3].std(0))
    with pytest.raises(ValueError, match="have not been measured"):
        fn.predict(model, model.init((2,), 0), x.astype(np.float32))


def test_stax_dropout_rate_is_the_fraction_dropped() -> None:
    """jax#849: their rate is the fraction that is kept."""
    y, _ = fn.dropout(0.1).apply({}, np.ones((1, 10_000)), 0)
    # 1,000 of 10,000 with a standard deviation of 30; if a tenth were kept, 9,000 would be zero.
    assert abs((y == 0).sum() - 1000) < 120
    np.testing.assert_allclose(y[y != 0], 1 / 0.9, rtol=1e-7)


def test_numpy_ml_max_pool_gradient_reads_the_padded_image() -> None:
    """Their positions are those in the padded image, but index the image without padding."""

    def faulty(x: Array) -> Array:
        dx = np.zeros((4, 4))
        for r, s in np.ndindex(3, 3):
            window = x[2 * r : 2 * r + 2, 2 * s : 2 * s + 2]
            if window.size:
                i, j = divmod(int(window.argmax()), window.shape[1])
                dx[2 * r + i, 2 * s + j] += 1
        return dx

    x = draw(4, 4)
    _, _, dx = run_layer(fn.max_pool2d(2, padding=((1, 1), (1, 1))), {}, x[None, :, :, None])
    right = np.zeros((4, 4))
    for rows in (slice(0, 1), slice(1, 3), slice(3, 4)):
        for columns in (slice(0, 1), slice(1, 3), slice(3, 4)):
            right[rows, columns] += x[rows, columns] == x[rows, columns].max()
    distinguish(dx[0, :, :, 0], right, faulty(x))


def test_numpy_ml_44_max_pool_is_not_a_python_loop() -> None:
    """Their loop takes about ten microseconds a window; ours is hundreds of times faster, and must be 20."""

    def loop(x: Array) -> Array:
        n, h, w, c = x.shape
        y = np.empty((n, h // 2, w // 2, c))
        for i, r, s, k in np.ndindex(*y.shape):
            y[i, r, s, k] = x[i, 2 * r : 2 * r + 2, 2 * s : 2 * s + 2, k].max()
        return y

    def seconds_per_element(pool: Callable[[Array], Array], images: Array) -> float:
        started = time.perf_counter()
        pool(images)
        return (time.perf_counter() - started) / images.size

    def ours(x: Array) -> Array:
        return fn.max_pool2d(2).apply({}, x)[0]

    images = draw(64, 28, 28, 8)
    np.testing.assert_array_equal(ours(images[:1]), loop(images[:1]))
    # The minimum of several runs: the time that is least affected by other programs.
    fast, slow = (
        min(seconds_per_element(pool, x) for _ in range(5)) for pool, x in ((ours, images), (loop, images[:1]))
    )
    assert 20 * fast < slow


def test_optax_1767_a_negative_loss_improves_by_decreasing() -> None:
    """Their plateau tests value < (1 - rtol) best, which is above a negative best: an increase counts as better."""
    losses = [-1.0, -0.9999999, -0.9999998]
    assert losses[1] < (1 - 1e-4) * losses[0]
    for delta in (0.0, 1e-9):
        stops, kept = [], []
        callback, history = early_stopping("train_loss", patience=2, min_delta=delta), list[dict[str, float]]()
        for epoch, loss in enumerate(losses):
            history.append({"epoch": epoch, "train_loss": loss})
            decision = callback(history[-1], fn.Fit({"w": np.array(loss)}, {}, history))
            assert isinstance(decision, Decision)
            stops.append(decision.stop)
            kept.append(decision.result.params["w"].item())
        assert stops == [False, False, True]
        assert kept == [-1.0, -1.0, -1.0]
