"""Batches that threads make ahead are the same, in the same order, and the threads end with the loop."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn

X = np.arange(23 * 4 * 4, dtype=np.float32).reshape(23, 4, 4, 1)
LABELS = np.arange(23) % 3
AUGMENT = fn.augment.compose(fn.augment.flip(), fn.augment.crop(1), fn.augment.mixup(classes=3))
MODEL = fn.serial(fn.flatten, fn.dense(3))


def drawn(workers: int, start: int = 0, **options: Any) -> Iterator[Any]:
    return fn.batches((X, LABELS), 5, 3, 7, start, workers=workers, **({"augment": AUGMENT} | options))


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        all(np.array_equal(a, b) for a, b in zip(x, y, strict=True)) for x, y in zip(one, other, strict=True)
    )


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("funcnn-batches")]


def test_the_bits_are_the_same_with_any_number_of_threads_and_from_any_batch_on() -> None:
    expected = list(drawn(0))
    assert len(expected) == 15
    for workers in (1, 2, 5):
        assert same(list(drawn(workers)), expected)
        assert same(list(drawn(workers, 7)), expected[7:])
    assert list(drawn(2, 15)) == []
    assert ours() == []


def test_order_is_kept_where_threads_take_their_time() -> None:
    def slow(batch: Any, rng: Any) -> Any:
        time.sleep(0.02 * (rng[-1] % 3 == 0))
        return batch

    assert same(list(drawn(3, augment=slow)), list(drawn(0, augment=None)))


@pytest.mark.parametrize("workers", [1, 2])
def test_leaving_the_loop_leaves_no_thread(workers: int) -> None:
    for number, _ in enumerate(drawn(workers)):
        assert ours()
        if number == 2:
            break
    assert ours() == []
    iterator = drawn(workers)
    next(iterator)
    iterator.close()
    assert ours() == []
    with pytest.raises(ZeroDivisionError):
        fail_in_the_loop(workers)
    assert ours() == []
    assert not list(iterator)


def fail_in_the_loop(workers: int) -> None:
    for _ in drawn(workers):
        raise ZeroDivisionError


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_error_comes_at_its_batch_and_names_it(workers: int) -> None:
    def fails(batch: Any, rng: Any) -> Any:
        if rng[-1] >= 4:
            raise ValueError(f"in step {rng[-1]}")
        return batch

    found = list[Any]()
    with pytest.raises(ValueError, match="in step 4") as caught:
        found.extend(drawn(workers, 1, augment=fails))
    assert caught.value.__notes__ == ["batches: in batch 4"]
    assert len(found) == 3
    assert ours() == []


def test_no_more_is_made_than_a_few_batches_ahead() -> None:
    made = list[int]()

    def counted(batch: Any, rng: Any) -> Any:
        made.append(rng[-1])
        return batch

    iterator = drawn(2, augment=counted)
    next(iterator)
    time.sleep(0.1)
    assert len(made) <= 5
    iterator.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_in_the_loop_goes_on_with_the_same_batches() -> None:
    expected = list(drawn(0))
    iterator = drawn(2)
    first = [next(iterator) for _ in range(3)]
    child = os.fork()
    if child == 0:  # pytest must not go on here
        signal.alarm(20)
        try:
            right = same(first + list(iterator), expected)
            iterator.close()
        except BaseException:
            right = False
        os._exit(0 if right else 1)
    assert same(first + list(iterator), expected)
    assert os.waitpid(child, 0)[1] == 0


def fit(epochs: int = 3, workers: int = 0, **options: Any) -> fn.Fit:
    params = MODEL.init((4, 4, 1), 0)
    return fn.fit(
        MODEL, params, fn.sgd(1e-4), (X, LABELS), fn.softmax_cross_entropy, epochs, 5, verbose=False, workers=workers,
        **({"augment": AUGMENT} | options),
    )  # fmt: skip


def bits(result: fn.Fit) -> list[bytes]:
    return [leaf.tobytes() for leaf in fn.tree.leaves(result.params)]


def test_fit_trains_on_augmented_batches_with_the_same_bits(tmp_path: Path) -> None:
    straight = bits(fit())
    assert straight != bits(fit(augment=None))
    assert bits(fit(workers=2)) == straight

    def stop(record: Any, result: Any) -> None:
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(workers=1, checkpoint=tmp_path / "run.npz", callbacks=[stop])
    assert ours() == []
    assert bits(fit(workers=2, resume=tmp_path / "run.npz", callbacks=[lambda record, result: None])) == straight
    with pytest.raises(ValueError, match=r"differs in augment: augment.compose\(.*\) there, none here"):
        fit(resume=tmp_path / "run.npz", augment=None)


def test_an_error_within_an_epoch_is_resumed_with_the_same_bits(tmp_path: Path) -> None:
    broken = [True]

    def augment(batch: Any, rng: Any) -> Any:
        if broken and rng[-1] == 8:  # in the second of three epochs
            raise OSError("the disk is gone")
        return AUGMENT(batch, rng)

    with pytest.raises(OSError, match="the disk is gone") as caught:
        fit(workers=2, augment=augment, checkpoint=tmp_path / "run.npz")
    assert "batches: in batch 8" in caught.value.__notes__
    broken.clear()
    assert bits(fit(augment=augment, resume=tmp_path / "run.npz")) == bits(fit())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"workers": 1.5}, ValueError, "fit: workers must be a whole number >= 0, got 1.5"),
        ({"augment": fn.augment.flip}, TypeError, "fit: augment: expected a function of"),
        ({"augment": 3}, TypeError, "fit: augment: expected a function of"),
    ],
)
def test_wrong_arguments_raise_before_training(options: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fit(**options)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_augmentation_that_runs_out_does_not_end_the_batches(workers: int) -> None:
    more = iter(range(2))

    def augment(batch: Any, rng: Any) -> Any:
        next(more)
        return batch

    with pytest.raises(RuntimeError, match="raised StopIteration"):
        list(drawn(workers, augment=augment))
