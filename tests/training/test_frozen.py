"""Frozen layers in ``fit``: they keep their bits, predict while the others train, and what is transferred works."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((64, 6, 6, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 64)


def encoder() -> fn.Layer:
    return fn.serial(fn.conv2d(4, 3), fn.batch_norm(), fn.relu, fn.dropout(0.5), fn.flatten)


def measured_elsewhere() -> Any:
    """Parameters of the encoder, its batch norm measured on other data."""
    return fn.calibrate(encoder(), encoder().init((6, 6, 1), 0), 3 + 2 * X)


@pytest.mark.parametrize(
    "optimizer",
    [fn.adamw(0.1), fn.sgd(0.1, momentum=0.9, weight_decay=0.1), fn.chain(fn.clip_by_value(1.0), fn.adam(0.1))],
)
def test_fit_leaves_every_bit_of_a_frozen_layer(optimizer: Any) -> None:
    model = fn.serial(
        fn.named("encoder", fn.frozen(encoder())), fn.dense(8), fn.batch_norm(), fn.relu, fn.named("head", fn.dense(3))
    )
    trained = measured_elsewhere()
    start = {**model.init((6, 6, 1), 1), "encoder": trained}
    before = fn.tree.map(np.copy, trained)
    result = fn.fit(model, start, optimizer, (X, LABELS), fn.softmax_cross_entropy, epochs=3, verbose=False)
    assert fn.tree.paths(result.params["encoder"]) == fn.tree.paths(before)
    for path, leaf in fn.tree.flatten(result.params["encoder"]).items():
        assert leaf.tobytes() == fn.tree.flatten(before)[path].tobytes(), path
    # What is not frozen is learned, and its batch norm measured on the training data.
    assert not np.array_equal(result.params["head"]["w"], start["head"]["w"])
    inside = fn.outputs(model, result.params, X)["dense_0"]
    np.testing.assert_allclose(result.params["batch_norm_0"]["mean"], inside.mean(0), rtol=1e-4, atol=1e-5)


def test_a_frozen_layer_predicts_inside_training() -> None:
    model = fn.serial(fn.named("encoder", fn.frozen(encoder())), fn.dense(3))
    params = {**model.init((6, 6, 1), 1), "encoder": measured_elsewhere()}
    in_training = fn.outputs(model, params, X, rng=0)["encoder"]
    np.testing.assert_array_equal(in_training, fn.predict(encoder(), params["encoder"], X))


def test_a_frozen_batch_norm_that_was_never_measured_says_what_to_do() -> None:
    model = fn.serial(fn.frozen(encoder()), fn.dense(3))
    with pytest.raises(ValueError, match="a frozen layer is calibrated before it is frozen") as caught:
        fn.fit(model, model.init((6, 6, 1), 0), fn.adam(0.1), (X, LABELS), fn.softmax_cross_entropy, 1, verbose=False)
    assert "in layer frozen_0/batch_norm_0" in str(caught.value.__notes__)


def test_transfer_from_a_file(tmp_path: Any) -> None:
    old = fn.serial(*(encoder()[name] for name in encoder().children), fn.named("head", fn.dense(5)))
    fn.save_model(tmp_path / "old.npz", old, fn.calibrate(old, old.init((6, 6, 1), 0), X))

    model, params = fn.load_model(tmp_path / "old.npz")
    body, learned = fn.part(model, params, slice(-1))
    model = fn.serial(fn.named("body", fn.frozen(body)), fn.named("head", fn.dense(3)))
    params = {**model.init((6, 6, 1), rng=0), "body": learned}
    result = fn.fit(model, params, fn.adam(0.01), (X, LABELS), fn.softmax_cross_entropy, 20, verbose=False)

    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert all(map(np.array_equal, fn.tree.leaves(learned), fn.tree.leaves(result.params["body"])))
    fn.save_model(tmp_path / "new.npz", model, result.params)
    again, loaded = fn.load_model(tmp_path / "new.npz")
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(fn.predict(again, loaded, X), fn.predict(model, result.params, X))
