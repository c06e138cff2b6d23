"""Sweeps of many small networks run under joblib and on Dask's local cluster unchanged, with the same bits."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

import funcnn as fn

ROOT = Path(fn.__file__).parents[1]
POINTS = fn.datasets.moons(60, noise=0.2)


def train(model: fn.Layer, optimizer: Any, seed: int) -> Any:
    """Train one network; model and optimizer travel to the process that does."""
    params = model.init((2,), rng=seed)
    with fn.use_threads(1):
        result = fn.fit(model, params, optimizer, POINTS, fn.softmax_cross_entropy, 3, rng=seed, verbose=False)
    return result.params, result.history[-1]["train_loss"], os.getpid()


SETTINGS = [
    (fn.serial(fn.dense(units), fn.relu, fn.dense(2)), fn.adam(rate), seed)
    for units in (3, 8)
    for rate in (0.1, fn.cosine_decay(0.1, steps=6))
    for seed in range(2)
]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of two processes on this machine."""
    # The processes import this file, whose folder pytest has added to the path of this one.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(Path(__file__).parent)]))
        patch.delenv("FUNCNN_NUM_THREADS", raising=False)
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            yield client


def test_networks_that_dask_and_joblib_train_have_the_same_bits(client: Client) -> None:
    expected = [train(*setting) for setting in SETTINGS]
    on_dask = client.gather(client.map(train, *zip(*SETTINGS, strict=True), pure=False))
    on_joblib = joblib.Parallel(n_jobs=2)(joblib.delayed(train)(*setting) for setting in SETTINGS)
    assert os.getpid() not in {process for *_, process in [*on_dask, *on_joblib]}
    for ours, others in zip(expected * 2, [*on_dask, *on_joblib], strict=True):
        assert ours[1] == others[1]
        for a, b in zip(fn.tree.leaves(ours[0]), fn.tree.leaves(others[0]), strict=True):
            assert a.tobytes() == b.tobytes()


def threads_of_a_fit() -> int:
    """How many threads an estimator has in a process of Dask."""
    found: list[int] = []
    estimator = fn.sklearn.NetworkClassifier(epochs=1, callbacks=[lambda *_: found.append(fn.num_threads())])
    estimator.fit(*load_iris(return_X_y=True))
    return max(found)


def test_a_worker_of_dask_has_one_thread(client: Client) -> None:
    assert client.submit(threads_of_a_fit).result() == 1


def test_a_grid_search_runs_on_dask(client: Client) -> None:
    x, labels = load_iris(return_X_y=True)
    estimator = fn.sklearn.NetworkClassifier(epochs=10, random_state=0)
    search = GridSearchCV(estimator, {"optimizer__rate": [1e-6, 0.01], "model__hidden": [8]}, cv=2)
    with joblib.parallel_config("dask"):
        search.fit(x, labels)
    assert search.best_params_ == {"model__hidden": 8, "optimizer__rate": 0.01}
    on_dask = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(on_dask, search.fit(x, labels).cv_results_["mean_test_score"])


def test_the_example_finds_the_same_in_one_process_with_joblib_and_with_dask(tmp_path: Path) -> None:
    tables = []
    for by in ("loop", "joblib", "dask"):
        command = [sys.executable, str(ROOT / "examples/sweep.py"), "--with", by, "--epochs", "3", "--workers", "2"]
        ran = subprocess.run(
            [*command, "--out", str(tmp_path / by)], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
            text=True, check=True, timeout=120,
        )  # fmt: skip
        assert ran.stderr == ""
        first, *rows, last = ran.stdout.splitlines()
        assert first.startswith("trained 60 networks in ")
        assert last == f"wrote {tmp_path / by / 'sweep.png'}"
        assert (tmp_path / by / "sweep.png").read_bytes().startswith(b"\x89PNG")
        tables.append(rows)
    assert tables[0] == tables[1] == tables[2]
    assert tables[0][-1].startswith("best: weight decay ")
