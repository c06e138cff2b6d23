"""What of training on several ranks does not need MPI: its absence, and what ranks compare."""

import sys

import numpy as np
import pytest

import funcnn as fn
from funcnn.training.ranks import digest_of


@pytest.mark.parametrize("kind", ["distributed.value_and_grad", "distributed.shard", "fit"])
def test_without_mpi4py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    calls = {
        "distributed.value_and_grad": lambda: fn.distributed.value_and_grad(fn.relu, fn.mean_squared_error, None),  # type: ignore[arg-type]
        "distributed.shard": lambda: fn.distributed.shard(np.ones(2), None),  # type: ignore[arg-type]
        "fit": lambda: fn.fit(fn.relu, {}, fn.sgd(1.0), (np.ones(2), np.ones(2)), fn.mean_squared_error, 1, comm=2),  # type: ignore[arg-type]
    }
    with pytest.raises(ModuleNotFoundError, match=rf'{kind}: several ranks need .*: pip install "funcnn\[mpi\]"'):
        calls[kind]()


def test_a_digest_names_layers_and_parameters_in_their_order() -> None:
    model = fn.serial(fn.dense(2), fn.relu)
    digest = digest_of(model, {"params": model.init((3,), 0)}, loss=fn.mean_squared_error)
    assert [*digest] == ["params/dense_0/w", "params/dense_0/b", "model/dense_0", "model/relu_0", "loss"]
    assert digest["params/dense_0/b"].startswith("float32(2,), checksum ")
    assert (digest["model/dense_0"], digest["loss"]) == ("dense(2)", "mean_squared_error")
    changed = digest_of(model, {"params": model.init((3,), 1)}, loss=fn.mean_squared_error)
    assert {path for path in digest if digest[path] != changed[path]} == {"params/dense_0/w"}
