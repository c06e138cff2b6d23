"""A file of each version of each format is kept: models, checkpoints and runs, and today's library reads them.

Whoever raises a ``VERSION`` adds ``model_vN.npz``, as ``save_model`` writes the varied model, or ``run_vN.npz``, as
``python -m tests.golden.run`` does, and never changes an older file: the digests here are those of the files as they
were written.
"""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

import funcnn as fn
from funcnn.interchange.renamed import VERSION
from funcnn.training import run_file

from .run import run

FOLDER = Path(__file__).parent
FILES = {
    "model_v1.npz": "42671d807365b64d8cec65c0ba1e9ae200729226486aff174c907fad61e99600",
    "model_v2.npz": "f37713b3fc065ae5732620914ef22e40214d807cd04f0c0260ffa749ea2632ef",
    "checkpoint_v1.npz": "6805be35311174e33a2e01e26a5e77b90a6d5d5ebca83416125daf2cd9ef0e58",
    "run_v1.npz": "c32ae51aafdd41c1746a193bf1c4d80b75591e78f21793ff8f90e89395f8c8cf",
}
VERSIONS, RUNS = range(1, VERSION + 1), range(1, run_file.VERSION + 1)
PREDICTED = [[-1.397965, -0.080875, 0.135303], [-0.764129, 1.106606, -0.461308]]


def test_there_is_a_file_of_each_version_and_none_was_changed() -> None:
    assert {f"model_v{version}.npz" for version in VERSIONS} == {name for name in FILES if name.startswith("model")}
    assert {f"run_v{version}.npz" for version in RUNS} == {name for name in FILES if name.startswith("run")}
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in FOLDER.glob("*.npz")}
    assert found == FILES


@pytest.mark.parametrize("version", VERSIONS)
def test_a_model_of_each_version_predicts_the_same(version: int) -> None:
    """What they predict to the last bits is in the golden fixture; these numbers are of version 1, to rounding."""
    path = FOLDER / f"model_v{version}.npz"
    with zipfile.ZipFile(path) as archive:
        assert f'"version": {version},' in archive.read("architecture.json").decode()
    model, params = fn.load_model(path)
    x = np.random.default_rng(11).standard_normal((2, 10, 9, 2)).astype(np.float32)
    np.testing.assert_allclose(fn.predict(model, params, x), PREDICTED, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_model_of_each_version_is_the_same_model_with_the_same_bits(version: int, tmp_path: Path) -> None:
    model, params = fn.load_model(FOLDER / f"model_v{version}.npz")
    newest, same = fn.load_model(FOLDER / f"model_v{VERSION}.npz")
    assert repr(model) == repr(newest)
    assert fn.to_json(model) == fn.to_json(newest)
    assert fn.tree.paths(params) == fn.tree.paths(same)
    for one, other in zip(fn.tree.leaves(params), fn.tree.leaves(same), strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    fn.save_model(tmp_path / "again.npz", model, params)
    assert (tmp_path / "again.npz").read_bytes() == (FOLDER / f"model_v{VERSION}.npz").read_bytes()


def test_the_checkpoint_has_what_a_run_needs() -> None:
    saved = fn.load(FOLDER / "checkpoint_v1.npz")
    assert (sorted(saved), int(saved["step"])) == (["best", "opt_state", "params", "step"], 6)
    assert fn.current_step(saved["opt_state"]) == 6


@pytest.mark.parametrize("version", RUNS)
def test_a_run_of_each_version_goes_on_as_if_it_had_not_stopped(version: int) -> None:
    resumed, whole = run(4, resume=FOLDER / f"run_v{version}.npz"), run(4)
    assert [record["epoch"] for record in resumed.history] == [0, 1, 2, 3, 4]
    for path, leaf in fn.tree.flatten(whole.params).items():
        np.testing.assert_allclose(fn.tree.flatten(resumed.params)[path], leaf, rtol=1e-5, atol=1e-7)
    assert fn.current_step(resumed.opt_state) == 12
