"""What of training on several ranks does not need MPI: its absence, and what ranks compare."""

import sys
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.training.ranks import digest_of
from funcnn.training.sharded import sharded_batches
from funcnn.training.sources import readable


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


class SecondOfTwo:
    rank, size = 1, 2


class OnDisk:
    """Four numbers in a file, which can be read until it is gone."""

    shape, dtype, gone = (4,), np.dtype(np.float32), False

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: Any) -> Any:
        if self.gone:
            raise OSError("the disk is gone")
        return np.arange(4, dtype=np.float32)[index]


@pytest.mark.parametrize("augment", [None, lambda batch, rng: batch])
def test_an_error_of_a_file_names_the_batch_on_each_rank(augment: Any) -> None:
    file = OnDisk()
    data: Any = readable("fit", (file, np.arange(4)))
    file.gone = True
    with pytest.raises(OSError, match="the disk is gone") as caught:
        list(sharded_batches(SecondOfTwo, data, 2, 9, 0, 7, augment))  # type: ignore[arg-type]
    assert caught.value.__notes__ == ["batches: in batch 7"]
