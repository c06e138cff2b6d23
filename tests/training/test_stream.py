"""``fit`` on batches that come one after the other: the bits of the same batches from arrays, also when resumed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
LABELS = np.arange(20) % 2
MODEL = fn.serial(fn.dense(4), fn.relu, fn.dense(2))
FLIPPED = lambda batch, rng: (batch[0] + np.float32(rng[-1]), *batch[1:])  # noqa: E731


class Loader:
    """The batches of each epoch in the order of ``fit``, as the loader of another library gives them."""

    def __init__(self, broken: int = -1) -> None:
        self.epoch, self.broken = 0, broken

    def __iter__(self) -> Iterator[Any]:
        order = fn.rng.fold(fn.rng.fold(0, "batches"), self.epoch)
        self.epoch += 1
        index = fn.rng.generator(order).permutation(20)
        for number, start in enumerate(range(0, 20, 6)):
            if (self.epoch - 1) * 4 + number == self.broken:
                raise OSError("the disk is gone")
            yield [X[index[start : start + 6]], LABELS[index[start : start + 6]]]


def fit(train: Any, epochs: int = 3, **options: Any) -> fn.Fit:
    return fn.fit(
        MODEL, MODEL.init((3,), 0), fn.adam(0.01), train, fn.softmax_cross_entropy, epochs, 6,
        **({"verbose": False} | options),
    )  # fmt: skip


def same(one: fn.Fit, other: fn.Fit) -> None:
    for a, b in zip(fn.tree.leaves(one.params), fn.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [(r["epoch"], r["step"]) for r in one.history] == [(r["epoch"], r["step"]) for r in other.history]
    losses = [[record["train_loss"] for record in result.history] for result in (one, other)]
    np.testing.assert_allclose(*losses, rtol=1e-5)  # of the same examples, in another order


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("augment", [None, FLIPPED])
def test_the_bits_are_those_of_arrays(workers: int, augment: Any) -> None:
    same(fit(Loader(), workers=workers, augment=augment), fit((X, LABELS), augment=augment))
    one = fit(iter(Loader()), 1, workers=workers, augment=augment)
    same(one, fit((X, LABELS), 1, augment=augment))


@pytest.mark.parametrize("broken", [2, 6])  # in the first epoch, whose length is not known yet, and in the second
def test_a_run_is_resumed_within_an_epoch_with_the_same_bits(tmp_path: Path, broken: int) -> None:
    failing = [True]

    def augment(batch: Any, rng: Any) -> Any:
        if failing and rng[-1] == broken:
            raise OSError("the disk is gone")
        return FLIPPED(batch, rng)

    with pytest.raises(OSError, match="the disk is gone") as caught:
        fit(Loader(), augment=augment, workers=1, checkpoint=tmp_path / "run.npz")
    assert f"batches: in batch {broken}" in caught.value.__notes__
    assert f"after step {broken}" in "".join(caught.value.__notes__)
    failing.clear()
    same(fit(Loader(), augment=augment, resume=tmp_path / "run.npz"), fit((X, LABELS), augment=FLIPPED))


def test_an_error_of_the_iterator_itself_comes_with_the_result() -> None:
    with pytest.raises(OSError, match="the disk is gone") as caught:
        fit(Loader(broken=6))
    assert caught.value.result.history[-1]["step"] == 4  # type: ignore[attr-defined]


def test_passes_of_different_lengths_raise() -> None:
    class Shrinking(Loader):
        def __iter__(self) -> Iterator[Any]:
            return iter(list(super().__iter__())[self.epoch :])

    with pytest.raises(ValueError, match=r"the batches of epoch 2 are 2, those before were 3; each pass must have"):
        fit(Shrinking())
    with pytest.raises(ValueError, match="validation_split needs all examples; with an iterator give validation="):
        fit(Loader(), validation_split=0.2)


def test_weights_callbacks_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    weighted = [(X[:10], LABELS[:10], np.ones(10)), (X[10:], LABELS[10:], np.zeros(10))]
    result = fit(iter(weighted), 1, validation=(X, LABELS), verbose=True, callbacks=[lambda r, _: r["epoch"] == 1])
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["0/1", "1/1", "epoch"]
    assert result.history[-1]["step"] == 2
    assert "validation_loss" in result.history[-1]


def test_a_batch_that_is_none_is_named_and_does_not_end_the_sample() -> None:
    batches = [(X[:6], LABELS[:6]), None, (X[6:], LABELS[6:])]
    with pytest.raises(TypeError, match="an iterator whose batch 1 is a NoneType"):
        fit(iter(batches), 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iterator_may_reuse_its_arrays(workers: int) -> None:
    def reusing() -> Iterator[Any]:
        x, labels = np.empty((4, 3), np.float32), np.empty(4, int)
        for start in range(0, 20, 4):
            x[:], labels[:] = X[start : start + 4], LABELS[start : start + 4]
            yield x, labels

    new = [(X[start : start + 4], LABELS[start : start + 4]) for start in range(0, 20, 4)]
    one, other = fit(reusing(), 1, workers=workers), fit(iter(new), 1, workers=workers)
    assert [record["train_loss"] for record in one.history] == [record["train_loss"] for record in other.history]
    for a, b in zip(fn.tree.leaves(one.params), fn.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)
