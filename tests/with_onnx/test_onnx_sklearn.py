"""Files of ONNX that skl2onnx writes of scikit-learn's networks and pipelines, as models here: the same predictions."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, RobustScaler, StandardScaler

import funcnn as fn
from tests.with_onnx.onnx_helpers import LIMIT, check_gradients

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((60, 4)).astype(np.float32)
CLASSES, TWO, SEVERAL = RANDOM.integers(0, 3, 60), RANDOM.integers(0, 2, 60), RANDOM.integers(0, 2, (60, 3))
CLASSIFIERS = [
    ("relu", CLASSES, {}), ("tanh", TWO, {"zipmap": False}), ("logistic", np.array(["a", "b", "c"])[CLASSES], {}),
    ("identity", SEVERAL, {"zipmap": False}),
]  # fmt: skip


@pytest.mark.parametrize(("activation", "labels", "options"), CLASSIFIERS)
def test_classifiers_of_scikit_learn(tmp_path: Path, activation: Any, labels: Any, options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = MLPClassifier((8, 5), activation=activation, max_iter=5, random_state=0).fit(X, labels)
        file = to_onnx(estimator, X[:1], options={id(estimator): options} if options else None)
    (tmp_path / "model.onnx").write_bytes(file.SerializeToString())
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    np.testing.assert_allclose(model.apply(params, X)[0], estimator.predict_proba(X), rtol=LIMIT, atol=LIMIT)
    assert [layer.kind for layer in model.children.values()].count("dense") == 3
    check_gradients(model, params, X[:3])


SCALERS: Any = [
    None, StandardScaler(), StandardScaler(with_mean=False), MinMaxScaler((-1, 1), clip=True), RobustScaler(),
    Normalizer("l1"), Normalizer("l2"),
]  # fmt: skip
TARGETS = {"one": RANDOM.standard_normal(60), "two": RANDOM.standard_normal((60, 2)), "classes": CLASSES,
           "two classes": TWO, "several labels": SEVERAL}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_pipelines_of_scikit_learn(tmp_path: Path, scaler: Any, target: str, dtype: Any) -> None:
    x, y = (3 * X).astype(dtype), TARGETS[target]
    network = (MLPRegressor if y.dtype.kind == "f" else MLPClassifier)(hidden_layer_sizes=(8,), max_iter=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.set_params(random_state=0)
        estimator = (make_pipeline(scaler, network) if scaler else network).fit(x, y)
        file = to_onnx(estimator, x[:1])
    (tmp_path / "model.onnx").write_bytes(file.SerializeToString())
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    wanted = estimator.predict(x) if y.dtype.kind == "f" else estimator.predict_proba(x)
    y = model.apply(params, x)[0]
    np.testing.assert_allclose(y, wanted.reshape(60, -1), rtol=1e-4, atol=LIMIT)
    if dtype != np.int64 and not isinstance(scaler, MinMaxScaler):  # whose clip has a kink at the data's own ends
        check_gradients(model, params, x[:3])
