"""The example of several ranks runs, goes on where it has ended, and gives the network that one rank gives."""

from pathlib import Path

import numpy as np

import funcnn as fn
from tests.with_mpi.launch import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist_mpi.py"


def test_two_ranks_train_the_network_of_one_and_a_run_goes_on(tmp_path: Path) -> None:
    options = "--epochs", 2, "--batch", 500
    one = run(1, EXAMPLE, *options, "--out", tmp_path / "one")
    assert (one.returncode, one.stderr) == (0, "")
    started = run(2, EXAMPLE, *options, "--out", tmp_path / "two")
    assert (started.returncode, started.stderr) == (0, "")
    *epochs, last = started.stdout.splitlines()
    assert [line.split(":")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert last.endswith("% on 2,000 images, trained by 2 ranks")
    assert float(last.split()[2].rstrip("%")) > 60
    resumed = run(2, EXAMPLE, *options, "--out", tmp_path / "two", "--resume")
    assert resumed.stdout.splitlines() == [last]
    (_, ours), (_, theirs) = (fn.load_model(tmp_path / name / "digits.npz") for name in ("one", "two"))
    for path, leaf in fn.tree.flatten(ours).items():
        np.testing.assert_allclose(leaf, fn.tree.flatten(theirs)[path], rtol=0, atol=2e-3, err_msg=path)
