"""The estimators train with ``fit`` and nothing else, take what scikit-learn's do, and work where those work."""

import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import funcnn as fn
from funcnn.sklearn import NetworkClassifier, NetworkRegressor, mlp

IRIS, SPECIES = load_iris(return_X_y=True)
X, NAMES = StandardScaler().fit_transform(IRIS), np.array(["setosa", "versicolor", "virginica"])[SPECIES]
TWO = SPECIES < 2
RNG = np.random.default_rng(0)
NUMBERS = X @ RNG.normal(size=(4, 2)) + 1
quick = partial(NetworkClassifier, optimizer=fn.adam(0.02), epochs=10, random_state=0)
quick_regressor = partial(NetworkRegressor, optimizer=fn.adam(0.02), epochs=10, random_state=0)


@fn.recorded.recorded
def narrow(units: int = 4, slope: float = 0.1) -> Callable[..., fn.Layer]:
    """A function of the shape with arguments, which ``set_params`` reaches."""

    def build(shape: Any, outputs: int) -> fn.Layer:
        return fn.serial(fn.dense(units), fn.leaky_relu(slope), fn.dense(outputs))

    return build


def same_bits(one: Any, other: Any) -> bool:
    """Whether two trees of parameters are the same to the bit."""
    pairs = zip(fn.tree.leaves(one), fn.tree.leaves(other), strict=True)
    return fn.tree.paths(one) == fn.tree.paths(other) and all(a.tobytes() == b.tobytes() for a, b in pairs)


# Training


def test_the_defaults_learn_flowers_digits_and_diabetes() -> None:
    assert cross_val_score(NetworkClassifier(random_state=0), IRIS, NAMES, cv=3).mean() > 0.94
    digits = make_pipeline(StandardScaler(), NetworkClassifier(epochs=15, random_state=0))
    assert cross_val_score(digits, *load_digits(return_X_y=True), cv=3).mean() > 0.92
    scaled = make_pipeline(StandardScaler(), NetworkRegressor(epochs=20, random_state=0))
    diabetes = TransformedTargetRegressor(scaled, transformer=StandardScaler())
    assert cross_val_score(diabetes, *load_diabetes(return_X_y=True), cv=3).mean() > 0.4


def test_fit_is_that_of_the_library_bit_by_bit() -> None:
    estimator = quick(validation_fraction=0.2, class_weight={"setosa": 2.0, "versicolor": 1.0, "virginica": 0.5})
    estimator.fit(X, NAMES)
    seed = int(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
    model = fn.serial(fn.dense(100, activation="relu"), fn.dense(3))
    params = fn.tree.cast(model.init((4,), (seed, *fn.rng.fold(0, "init")[1:])), np.float64)
    data = X, SPECIES, np.array([2.0, 1.0, 0.5])[SPECIES]
    expected = fn.fit(
        model, params, fn.adam(0.02), data, fn.softmax_cross_entropy, 10, rng=(seed, 0), validation_split=0.2,
        verbose=False,
    )  # fmt: skip
    assert same_bits(estimator.params_, expected.params)
    assert same_bits(estimator.opt_state_, expected.opt_state)
    assert estimator.loss_curve_ == [record["train_loss"] for record in expected.history[1:]]
    assert estimator.history_[-1]["validation_loss"] == expected.history[-1]["validation_loss"]
    np.testing.assert_array_equal(
        estimator.predict_proba(X), fn.predict(fn.softmax, {}, fn.predict(model, expected.params, X))
    )


@pytest.mark.parametrize("make", [quick, quick_regressor])
def test_partial_fit_goes_on_with_parameters_state_and_schedule(make: Any) -> None:
    y = NAMES if make is quick else NUMBERS
    more = {"classes": np.unique(NAMES)} if make is quick else {}
    estimator = make(optimizer=fn.adam(fn.exponential_decay(0.02, 5, 0.5)), batch_size=50)
    estimator.partial_fit(X, y, **more).partial_fit(X[::2], y[::2]).partial_fit(X, y)
    assert (estimator.n_iter_, len(estimator.loss_curve_)) == (3, 3)
    assert fn.current_step(estimator.opt_state_) == 3 + 2 + 3
    assert fn.current_rate(estimator.opt_state_) == pytest.approx(0.02 * 0.5 ** (7 / 5), rel=1e-6)
    assert estimator.loss_curve_[2] < estimator.loss_curve_[0]
    # The moments of the first call are those with which the second goes on.
    once = make(optimizer=estimator.optimizer, batch_size=50).partial_fit(X, y, **more)
    moved = fn.optim.as_optimizer(estimator.optimizer).init(once.params_)
    again = clone(once).partial_fit(X, y, **more)
    again.opt_state_ = fn.tree.map(lambda new, old: new if np.ndim(new) else old, moved, again.opt_state_)
    assert not same_bits(once.partial_fit(X, y).params_, again.partial_fit(X, y).params_)


def test_partial_fit_follows_fit() -> None:
    estimator = quick().fit(X, NAMES)
    before = estimator.score(X, NAMES), estimator.loss_curve_[-1]
    for _ in range(5):
        estimator.partial_fit(X, NAMES)
    assert estimator.n_iter_ == 15
    assert estimator.loss_curve_[-1] < before[1]
    assert estimator.score(X, NAMES) >= before[0]


def test_warm_start_goes_on_from_the_parameters_and_a_cold_start_does_not() -> None:
    warm, cold = quick(warm_start=True).fit(X, NAMES), quick().fit(X, NAMES)
    first = warm.loss_curve_[-1]
    assert same_bits(warm.params_, cold.params_)
    warm.fit(X, NAMES)
    assert (warm.n_iter_, len(warm.loss_curve_)) == (20, 20)
    assert warm.history_[0]["train_loss"] == first
    assert fn.current_step(warm.opt_state_) == 50  # of the second fit alone
    again = cold.fit(X, NAMES)
    assert (again.n_iter_, again.loss_curve_[-1]) == (10, first)


def test_the_same_number_gives_the_same_bits_and_another_others() -> None:
    estimators = [quick(random_state=state).fit(X, NAMES) for state in (0, 0, 1, np.random.RandomState(0))]
    assert same_bits(estimators[0].params_, estimators[1].params_)
    assert same_bits(estimators[0].params_, estimators[3].params_)
    assert not same_bits(estimators[0].params_, estimators[2].params_)
    np.random.seed(5)
    drawn = [quick(random_state=None).fit(X, NAMES).params_ for _ in range(2)]
    assert not same_bits(*drawn)


def test_an_example_of_weight_two_counts_as_two_and_one_of_weight_zero_as_none() -> None:
    weights = np.arange(len(X)) % 3
    repeated, labels = X.repeat(weights, axis=0), NAMES.repeat(weights)
    whole = partial(quick, batch_size=10**6)
    one, other = whole().fit(X, NAMES, sample_weight=weights), whole().fit(repeated, labels)
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-8)
    target = NUMBERS[:, 0]
    many = quick_regressor(batch_size=10**6).fit(X, target, sample_weight=weights)
    few = quick_regressor(batch_size=10**6).fit(repeated, target.repeat(weights))
    np.testing.assert_allclose(many.predict(X), few.predict(X), rtol=1e-8)


def test_class_weights_multiply_sample_weights() -> None:
    rare = np.r_[0:50, 50:55]
    x, y, some = X[rare], NAMES[rare], 1 + np.arange(55) % 2
    each = np.where(y == "setosa", 55 / (2 * 50), 55 / (2 * 5))
    balanced = quick(class_weight="balanced").fit(x, y, sample_weight=some)
    assert same_bits(balanced.params_, quick().fit(x, y, sample_weight=some * each).params_)
    by_name = quick(class_weight={"setosa": 3.0}).fit(x, y)
    assert same_bits(by_name.params_, quick().fit(x, y, sample_weight=np.where(y == "setosa", 3.0, 1.0)).params_)
    labels = np.stack([y == "setosa", y == "versicolor"], 1).astype(int)
    several = quick(class_weight=[{0: 1, 1: 3}, {0: 1, 1: 2}]).fit(x, labels)
    assert same_bits(several.params_, quick().fit(x, labels, sample_weight=np.where(labels[:, 0], 3.0, 2.0)).params_)


def test_callbacks_stop_early_and_the_best_parameters_are_kept() -> None:
    stop = fn.callbacks.early_stopping("validation_loss", patience=2)
    estimator = quick(epochs=500, validation_fraction=0.3, callbacks=[stop], batch_size=8).fit(X, NAMES)
    assert estimator.n_iter_ < 500
    assert estimator.n_iter_ == len(estimator.loss_curve_)
    _, part = fn.split((X, SPECIES), 0.3, fn.rng.fold((_seed(), 0), "split"))
    losses = [record["validation_loss"] for record in estimator.history_]
    found = fn.evaluate(estimator.model_, estimator.params_, part, fn.softmax_cross_entropy)["loss"]
    assert found == min(losses) < losses[-1]


def _seed() -> int:
    return int(np.random.RandomState(0).randint(np.iinfo(np.int32).max))


@pytest.mark.parametrize(("verbose", "lines"), [(False, 0), (0, 0), (True, 4), (2, 4)])
def test_verbose_prints_a_line_an_epoch(verbose: Any, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    quick(verbose=verbose, epochs=2).fit(X, NAMES)
    assert capsys.readouterr().out.count("epoch ") == pytest.approx(lines, abs=0 if not lines else 5)


# Data and models


def test_two_classes_with_two_outputs_and_with_one() -> None:
    x, y = X[TWO], NAMES[TWO]
    one = quick(lambda shape: fn.dense(1), epochs=40).fit(x, y)
    p = one.predict_proba(x)
    assert p.shape == (100, 2)
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_array_equal(p[:, 1], fn.predict(fn.sigmoid, {}, fn.predict(one.model_, one.params_, x))[:, 0])
    two = quick().fit(x, y)
    assert two.params_["dense_1"]["b"].shape == (2,)
    for estimator in (one, two):
        assert estimator.score(x, y) == 1
        assert estimator.classes_.tolist() == ["setosa", "versicolor"]
        assert set(estimator.predict(x)) == {"setosa", "versicolor"}


@pytest.mark.parametrize("sparse", [False, True])
def test_several_labels(sparse: bool) -> None:
    x, y = make_multilabel_classification(200, n_classes=4, random_state=0)
    estimator = quick(epochs=30).fit(StandardScaler().fit_transform(x), csr_matrix(y) if sparse else y)
    x = StandardScaler().fit_transform(x)
    assert estimator.predict_proba(x).shape == (200, 4)
    assert (estimator.predict(x) == y).mean() > 0.9
    assert estimator.classes_.tolist() == [0, 1, 2, 3]
    estimator.partial_fit(x[:10], y[:10])
    assert estimator.n_iter_ == 31


@pytest.mark.parametrize("shape", [(150,), (150, 1), (150, 2)])
def test_predictions_have_the_shape_of_the_target(shape: tuple[int, ...]) -> None:
    y = NUMBERS.reshape(-1)[: np.prod(shape)].reshape(shape) if shape != (150, 2) else NUMBERS
    estimator = quick_regressor().fit(X, y)
    assert estimator.predict(X).shape == shape
    assert estimator.n_outputs_ == (2 if shape == (150, 2) else 1)


def test_targets_may_have_a_loss_with_options() -> None:
    estimator = quick_regressor(epochs=60, loss=fn.huber(0.5)).fit(X, NUMBERS)
    assert estimator.score(X, NUMBERS) > 0.95
    assert estimator.get_params()["loss__delta"] == 0.5


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (fn.softmax, fn.categorical_cross_entropy),
        (fn.softmax, partial(fn.categorical_cross_entropy, label_smoothing=0.01)),
        (fn.log_softmax, fn.negative_log_likelihood),
        (fn.sigmoid, fn.binary_cross_entropy),
        (fn.identity, fn.softmax_cross_entropy),
    ],
)
def test_outputs_that_are_probabilities_stay_so(last: fn.Layer, loss: Any) -> None:
    one = last is fn.sigmoid
    x, y = (X[TWO], NAMES[TWO]) if one else (X, NAMES)
    estimator = quick(fn.serial(fn.dense(1 if one else 3), last), loss=loss, epochs=40).fit(x, y)
    p = pickle.loads(pickle.dumps(estimator)).predict_proba(x)
    np.testing.assert_allclose(p.sum(1), 1)
    assert p.min() >= 0
    assert p.max() > 0.95
    assert estimator.score(x, y) > 0.9


def test_images_of_three_axes() -> None:
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 8, 8, 1).astype(np.float32)[:600]

    def build(shape: Any) -> fn.Layer:
        assert shape == (8, 8, 1)
        return fn.serial(fn.conv2d(8, 3), fn.batch_norm(), fn.relu, fn.max_pool2d(2), fn.flatten, fn.dense(10))

    estimator = quick(build, epochs=15).fit(images[:500], labels[:500])
    assert estimator.score(images[500:], labels[500:600]) > 0.85
    assert estimator.predict_proba(images[:3]).dtype == np.float32
    with pytest.raises(ValueError, match=r"X has examples of shape \(8, 9, 1\), .* is expecting \(8, 8, 1\)"):
        estimator.predict(np.zeros((2, 8, 9, 1), np.float32))
    assert quick().fit(images, labels[:600]).params_["dense_0"]["w"].shape == (64, 100)  # flattened


def test_whole_numbers_are_floats_unless_the_model_takes_whole_numbers_only() -> None:
    tokens = RNG.integers(0, 5, (200, 6))
    y = (tokens == 3).any(1)
    model = fn.serial(fn.embedding(5, 8), fn.global_max_pool1d, fn.dense(2))
    estimator = quick(model, epochs=40).fit(tokens, y)
    assert estimator.score(tokens, y) > 0.95
    assert estimator.predict(tokens).dtype == bool
    with pytest.raises(ValueError, match="expected X of whole numbers as in the first fit, got float64"):
        estimator.predict(tokens + 0.5)
    assert quick().fit(tokens, y).predict_proba(tokens).dtype == np.float64
    assert quick().fit(tokens.astype(np.uint8), y).predict_proba(tokens).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_the_dtype_of_x_is_that_of_the_network(dtype: Any) -> None:
    estimator = quick().fit(X.astype(dtype), NAMES)
    expected = np.float64 if dtype is np.float64 else np.float32
    assert {leaf.dtype for leaf in fn.tree.leaves(estimator.params_)} == {np.dtype(expected)}
    assert estimator.predict_proba(X).dtype == expected
    assert estimator.score(X, NAMES) > 0.9


@pytest.mark.parametrize("library", [pd, pl])
def test_frames_give_their_columns_names_and_the_same_bits(library: Any) -> None:
    names = ["a", "b", "c", "d"]
    frame = pd.DataFrame(X, columns=names) if library is pd else pl.DataFrame(X, schema=names)
    series = library.Series(NAMES)
    estimator = quick().fit(frame, series)
    assert estimator.feature_names_in_.tolist() == names
    assert same_bits(estimator.params_, quick().fit(X, NAMES).params_)
    assert (estimator.predict(frame) == quick().fit(X, NAMES).predict(X)).all()
    assert estimator.score(frame, series) > 0.9
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(frame[["a", "b", "d", "c"]])
    targets = library.DataFrame(dict(zip("uv", NUMBERS.T, strict=True)))
    assert quick_regressor().fit(frame, targets).predict(frame).shape == (150, 2)
    cast = "float32" if library is pd else pl.Float32
    floats = frame.astype(cast) if library is pd else frame.cast(cast)
    assert quick().fit(floats, series).predict_proba(floats).dtype == np.float32


@pytest.mark.parametrize(
    "model",
    [
        fn.serial(fn.dense(5), fn.relu, fn.dense(3)),
        tuple(fn.dense(3)),
        lambda shape: fn.dense(3),
        lambda shape, n: fn.dense(n),
        lambda shape, hidden=7, outputs=2: fn.serial(fn.dense(hidden), fn.dense(outputs)),
        lambda shape, hidden=7: fn.serial(fn.dense(hidden), fn.dense(3)),
        mlp((8, 4), "tanh", rate=0.1),
        narrow(),
    ],
)
def test_a_model_is_a_layer_or_a_function_of_the_shape(model: Any) -> None:
    estimator = quick(model).fit(X, NAMES)
    assert estimator.predict_proba(X).shape == (150, 3)
    assert "dense(2)" not in repr(estimator.model_)


def test_the_default_model() -> None:
    assert repr(mlp()((4,), 3)) == "serial(dense(100, activation='relu'), dense(3))"
    assert repr(mlp([8, np.int64(4)], rate=0.5)((2, 2), 1)) == (
        "serial(flatten, dense(8, activation='relu'), dropout(0.5), dense(4, activation='relu'), dropout(0.5), "
        "dense(1))"
    )


# Parameters


def test_the_arguments_of_recorded_calls_are_parameters() -> None:
    estimator = quick(narrow(), optimizer=fn.adam(fn.cosine_decay(0.1, steps=10)))
    found = estimator.get_params()
    assert {key: found[key] for key in ("model__units", "model__slope", "optimizer__rate__steps", "optimizer__b1")} == {
        "model__units": 4, "model__slope": 0.1, "optimizer__rate__steps": 10, "optimizer__b1": 0.9,
    }  # fmt: skip
    before = estimator.model
    estimator.set_params(model__units=6, optimizer__rate__steps=20, optimizer__rate__rate=0.2, epochs=3)
    assert repr(estimator.model) == "narrow(units=6)"
    assert repr(estimator.optimizer) == "adam(cosine_decay(0.2, 20))"
    assert (repr(before), estimator.epochs) == ("narrow()", 3)
    estimator.set_params(optimizer=fn.sgd(0.1), optimizer__momentum=0.5)
    assert repr(estimator.optimizer) == "sgd(0.1, momentum=0.5)"
    assert "model__units" not in estimator.get_params(deep=False)
    # Also of what stands for None.
    default = NetworkClassifier()
    assert (default.get_params()["model__hidden"], default.get_params()["model"]) == ((100,), None)
    default.set_params(model__hidden=8, optimizer__rate=0.5)
    assert (repr(default.model), repr(default.optimizer)) == ("mlp(hidden=8)", "adam(0.5)")
    assert NetworkClassifier().model is None


def test_parameters_that_do_not_exist_are_named() -> None:
    estimator = quick(narrow())
    with pytest.raises(
        ValueError, match=r"Invalid parameter 'width' for model=narrow\(\); valid ones are \['slope', 'un"
    ):
        estimator.set_params(model__width=3)
    with pytest.raises(ValueError, match=r"Invalid parameter 'steps' for optimizer__rate=0\.02"):
        estimator.set_params(optimizer__rate__steps=3)
    with pytest.raises(ValueError, match="Invalid parameter 'nothing' for estimator"):
        estimator.set_params(nothing=3)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'max_iter'; did you mean 'epochs'\?"):
        NetworkClassifier(max_iter=10)  # type: ignore[call-arg]


# Inside scikit-learn


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_grid_search_over_nested_parameters_on_two_workers(backend: str) -> None:
    grid = {
        "networkclassifier__model__units": [1, 8],
        "networkclassifier__optimizer__rate": [1e-9, 0.05],
        "networkclassifier__batch_size": [25],
    }
    pipeline = make_pipeline(StandardScaler(), quick(narrow()))
    with joblib.parallel_config(backend):
        search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2, error_score="raise").fit(IRIS, NAMES)
    best = {key.removeprefix("networkclassifier__"): value for key, value in search.best_params_.items()}
    assert best == {"model__units": 8, "optimizer__rate": 0.05, "batch_size": 25}
    assert search.best_score_ > 0.9
    alone = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(IRIS, NAMES)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_models_are_parameters_of_a_search_too() -> None:
    models = [fn.serial(fn.dense(4), fn.tanh, fn.dense(3)), fn.dense(3)]
    search = GridSearchCV(quick(), {"model": models, "optimizer": [fn.adam(0.05), fn.sgd(0.1)]}, cv=2, n_jobs=2)
    assert search.fit(X, NAMES).best_score_ > 0.8


def threads_of_fit(backend: str) -> list[int]:
    """How many threads two fits have that run at the same time."""
    with joblib.parallel_config(backend, n_jobs=2):
        return joblib.Parallel()(joblib.delayed(threads_of_a_fit)() for _ in range(2))


def threads_of_a_fit() -> int:
    found: list[int] = []
    estimator = quick(epochs=1, callbacks=[lambda record, result: found.append(fn.num_threads())])
    estimator.fit(X, NAMES)
    return max(found)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_a_worker_has_one_thread(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUNCNN_NUM_THREADS", raising=False)
    assert threads_of_fit(backend) == [1, 1]


def test_outside_of_workers_the_threads_are_those_that_were_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUNCNN_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with fn.use_threads(3):
        assert threads_of_a_fit() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "2")  # as Dask sets it
        assert threads_of_a_fit() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        assert threads_of_a_fit() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setenv("FUNCNN_NUM_THREADS", "5")
        assert threads_of_a_fit() == 3


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_probabilities(method: str) -> None:
    calibrated = CalibratedClassifierCV(quick(), method=method, cv=3).fit(X, NAMES)
    assert calibrated.score(X, NAMES) > 0.9
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)


@pytest.mark.parametrize("make", [quick, quick_regressor])
def test_a_pickle_predicts_and_goes_on_with_the_same_bits_and_a_clone_is_new(make: Any) -> None:
    y = NAMES if make is quick else NUMBERS
    estimator = make(narrow(), optimizer=fn.chain(fn.clip_by_global_norm(1.0), fn.adam(0.02))).fit(X, y)
    again = pickle.loads(pickle.dumps(estimator))
    assert (again.predict(X) == estimator.predict(X)).all()
    assert same_bits(again.partial_fit(X, y).params_, estimator.partial_fit(X, y).params_)
    new = clone(estimator)
    assert repr(new) == repr(estimator)
    with pytest.raises(NotFittedError):
        new.predict(X)
    assert not [name for name in vars(new) if name.endswith("_")]


# Errors

WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "nan in x": (lambda: quick().fit(np.where(X > 1, np.nan, X), NAMES), ValueError, "Input X contains NaN"),
    "infinity": (lambda: quick().fit(np.where(X > 1, np.inf, X), NAMES), ValueError, "Input X contains infinity"),
    "nan in y": (lambda: quick_regressor().fit(X, np.where(X > 1, np.nan, X)), ValueError, "Input y contains NaN"),
    "nan in labels": (lambda: quick().fit(X, np.where(TWO, 1.0, np.nan)), ValueError, "Input y contains NaN"),
    "nan in prediction": (lambda: quick().fit(X, NAMES).predict(X * np.nan), ValueError, "Input X contains NaN"),
    "nan in weights": (
        lambda: quick().fit(X, NAMES, sample_weight=np.full(150, np.nan)), ValueError, "sample_weight contains NaN",
    ),
    "numbers as classes": (lambda: quick().fit(X, NUMBERS[:, 0]), ValueError, "Unknown label type: continuous"),
    "several columns of classes": (
        lambda: quick().fit(X, np.stack([SPECIES, SPECIES], 1)), ValueError, "MultiOutputClassifier",
    ),
    "lengths": (lambda: quick().fit(X, NAMES[:-1]), ValueError, "inconsistent numbers of samples"),
    "not fitted": (lambda: quick().predict(X), NotFittedError, "not fitted yet"),
    "unseen label": (
        lambda: quick().fit(X[TWO], NAMES[TWO]).partial_fit(X, NAMES), ValueError,
        r"y has the labels \['virginica'\], which are not among the classes \['setosa', 'versicolor'\]; pass all",
    ),
    "unseen label at first": (
        lambda: quick().partial_fit(X, NAMES, classes=["setosa", "versicolor"]), ValueError, r"\['virginica'\]",
    ),
    "label of another type": (
        lambda: quick().fit(X, SPECIES).partial_fit(X, NAMES), ValueError, "which are not among the classes",
    ),
    "no classes": (lambda: quick().partial_fit(X, NAMES), ValueError, "classes must be passed on the first call"),
    "other classes": (
        lambda: quick().fit(X, NAMES).partial_fit(X, NAMES, classes=["a"]), ValueError,
        r"expected the classes \['setosa', 'versicolor', 'virginica'\], got \['a'\]",
    ),
    "labels after classes": (
        lambda: quick().fit(X, SPECIES).partial_fit(X, np.eye(3, dtype=int)[SPECIES]), ValueError,
        "expected y of 3 classes as in the fit before",
    ),
    "other classes with warm_start": (
        lambda: quick(warm_start=True).fit(X, NAMES).fit(X[TWO], NAMES[TWO]), ValueError,
        "with warm_start, y must have the same classes",
    ),
    "balanced in parts": (
        lambda: quick(class_weight="balanced").partial_fit(X, NAMES, classes=np.unique(NAMES)), ValueError,
        "class_weight='balanced' needs all data at once",
    ),
    "weight of an unseen label": (
        lambda: quick(class_weight={"rose": 2.0}).fit(X, NAMES), ValueError, "are not in class_weight",
    ),
    "negative weight": (lambda: quick().fit(X, NAMES, sample_weight=-np.ones(150)), ValueError, "sample_weight"),
    "shape of y": (
        lambda: quick_regressor().fit(X, NUMBERS).partial_fit(X, NUMBERS[:, 0]), ValueError,
        r"expected y of shape \('n', 2\) as in the fit before, got \(150,\)",
    ),
    "outputs": (
        lambda: quick(fn.dense(4)).fit(X, NAMES), ValueError,
        r"NetworkClassifier: for 3 classes the model must return 3 numbers for an example, and it returns an array of "
        r"shape \(4,\); let its last layer be dense\(3\), or pass a function of \(shape, outputs\)",
    ),
    "outputs of a regressor": (
        lambda: quick_regressor(fn.dense(1)).fit(X, NUMBERS), ValueError,
        r"for y of shape \('n', 2\) the model must return 2 numbers",
    ),
    "outputs as a dict": (
        lambda: quick(fn.branch(a=fn.dense(3))).fit(X, NAMES), ValueError, "it returns a dict",
    ),
    "model": (lambda: quick("mlp").fit(X, NAMES), TypeError, "got 'mlp'"),
    "constructor": (lambda: quick(mlp).fit(X, NAMES), TypeError, r"call it: mlp\(...\)"),
    "function of nothing": (
        lambda: quick(lambda: fn.dense(3)).fit(X, NAMES), TypeError, r"a function of \(shape\) or \(shape, outputs\)",
    ),
    "optimizer": (lambda: quick(optimizer="adam").fit(X, NAMES), TypeError, r"NetworkClassifier: .*; write fn\.adam"),
    "fraction": (
        lambda: quick(validation_fraction=1.5).fit(X, NAMES), ValueError, "NetworkClassifier: validation_fraction must",
    ),
    "verbose": (lambda: quick(verbose="no").fit(X, NAMES), ValueError, "verbose must be a whole number"),
    "warm_start": (lambda: quick(warm_start="no").fit(X, NAMES), TypeError, "warm_start must be True or False"),
    "epochs": (lambda: quick(epochs=-1).fit(X, NAMES), ValueError, "epochs must be a whole number >= 0"),
    "hidden": (lambda: mlp(0), ValueError, "mlp: hidden must be a whole number >= 1, got 0"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), WRONG.values(), ids=WRONG)
def test_bad_input_raises_and_says_what_is_wrong(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_an_estimator_whose_training_failed_is_not_fitted() -> None:
    estimator = quick().fit(X, NAMES).set_params(optimizer=fn.sgd(1e200))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(fn.NonFiniteLossError) as caught:
        estimator.fit(X, NAMES)
    assert caught.value.result.history
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_the_code_of_the_page_about_pipelines_runs() -> None:
    docs = Path(fn.__file__).parents[1] / "docs"
    page = (docs / "howto" / "scikit_learn_pipelines.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    with np.errstate(all="warn"):  # pixels of the border are 0 in all images
        for block in re.findall(r"^```\{code-cell}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
            exec(block, names)
    assert names["search"].best_score_ > 0.9
    assert {"NetworkClassifier", "NetworkRegressor", "mlp"} <= {*re.findall(r"fn\.sklearn\.(\w+)", page)}
