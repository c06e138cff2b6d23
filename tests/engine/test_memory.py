"""Memory is used again when nobody can see it any more, and never before, whatever is still looking."""

import gc
import pickle
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcnn as fn
from funcnn.engine import memory
from funcnn.engine.memory import CACHE_LINE, LEAST, empty, empty_like

SIZE = 2 * LEAST


@pytest.fixture(autouse=True)
def nothing_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without blocks that wait."""
    monkeypatch.setattr(memory, "_idle", {})
    monkeypatch.setattr(memory, "_held", 0)


def block() -> np.ndarray:
    return empty((SIZE,), np.uint8)


def address(x: np.ndarray) -> int:
    return int(x.__array_interface__["data"][0])


def idle() -> int:
    return sum(len(waiting) for waiting in memory._idle.values())


def test_the_next_array_of_a_size_gets_the_memory_of_the_last() -> None:
    x = block()
    where = address(x)
    del x
    assert idle() == 1
    y = block()
    assert address(y) == where
    assert idle() == 0
    z = block()
    assert address(z) != where
    assert not np.shares_memory(y, z)


def test_what_came_back_last_is_given_first() -> None:
    first, second = block(), block()
    where = address(second)
    del first, second
    assert address(block()) == where


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x[10:20],
        lambda x: x[10:20][3:][::2],
        lambda x: x.reshape(2, -1).T[5:],
        lambda x: x.view(np.float32)[3:].view(np.int16),
        lambda x: np.broadcast_to(x[:1], (5, 1)),
        lambda x: np.lib.stride_tricks.as_strided(x, (3, 4), (2, 1)),
        lambda x: np.asarray(memoryview(x)[5:]),
        lambda x: memoryview(x),
        lambda x: np.frombuffer(x, np.float64)[1:],
        lambda x: np.asanyarray(x).view(np.ma.MaskedArray)[2:],
        lambda x: np.from_dlpack(x)[1:],
        lambda x: np.ndarray((4,), np.uint8, x, offset=8),
        lambda x: next(iter(x.reshape(8, -1))),
        lambda x: x.flat,
        lambda x: np.nditer(x),
        lambda x: {"deep": [(x[1:],)]},
        lambda x: lambda: x,
        lambda x: x.__array_interface__ and x.base,
    ],
    ids=range(18),
)
def test_no_view_of_any_kind_sees_its_memory_used_again(look: Any) -> None:
    x = block()
    where = address(x)
    seen = look(x)
    del x
    gc.collect()
    others = [block() for _ in range(5)]
    assert where not in [address(other) for other in others]
    del seen
    gc.collect()
    assert address(block()) == where


def test_a_view_keeps_its_numbers_while_others_come_and_go() -> None:
    x = block()
    x[...] = 7
    view = x[100:200]
    del x
    for number in range(20):
        block()[...] = number
    assert (view == 7).all()


def test_an_array_in_a_cycle_waits_for_the_collector() -> None:
    cycle: list[Any] = [block()]
    where = address(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert address(block()) == where


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.booleans()), max_size=60))
def test_arrays_that_live_never_overlap(moves: list[tuple[int, int, bool]]) -> None:
    alive: dict[int, tuple[np.ndarray, int]] = {}
    for number, (place, size, view) in enumerate(moves):
        x = empty((size * LEAST // 4 + number % 2,), np.float32)
        x[...] = number
        alive[place] = (x[size:] if view else x, number)
        del x
        for array, value in alive.values():
            assert (array == value).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2_000_000), st.sampled_from(["f2", "f4", "f8", "?", "i8"]))
def test_large_arrays_begin_with_a_cache_line_and_hold_what_they_should(size: int, dtype: str) -> None:
    x = empty((size,), dtype)
    assert x.shape == (size,)
    assert x.dtype == dtype
    assert x.flags.writeable
    assert x.flags.c_contiguous
    assert x.flags.aligned
    if x.nbytes >= LEAST:
        assert address(x) % CACHE_LINE == 0
        owner: Any = x.base
        assert isinstance(owner, memory._Lease)
        # The array ends within its block, and wastes little of it.
        begin = address(np.frombuffer(owner.block, np.uint8))
        assert begin <= address(x)
        assert address(x) + x.nbytes <= begin + len(owner.block)
        assert len(owner.block) <= max(x.nbytes * 9 // 8, x.nbytes + 4096) + CACHE_LINE
    else:
        assert x.base is None


def test_small_arrays_are_numpys_own() -> None:
    assert empty((3, 4), np.float32).flags.owndata
    assert empty((0, 10**6), np.float32).shape == (0, 10**6)
    assert empty((), np.float64).shape == ()


def test_no_more_lies_idle_than_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 3 * (SIZE + 4096))
    arrays = [block() for _ in range(10)]
    assert idle() == 0
    del arrays
    assert idle() == 3
    assert memory._held == sum(len(b) for waiting in memory._idle.values() for b, _ in waiting) <= memory.MOST


def test_whoever_holds_the_lock_may_lose_an_array_without_waiting() -> None:
    x = block()
    with memory._lock:
        del x
        y = block()
    assert idle() == 0
    assert y.shape == (SIZE,)
    del y
    assert idle() == 1


def test_arrays_may_die_in_other_threads_than_they_were_made_in() -> None:
    wrong: list[Any] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        kept: list[tuple[np.ndarray, int]] = []
        for number in range(300):
            x = empty((int(random.integers(1, 4)) * LEAST // 4,), np.float32)
            x[...] = value = seed * 1000 + number
            kept.append((x, value))
            if len(kept) > 5:
                array, value = kept.pop(int(random.integers(len(kept))))
                if not (array == value).all():
                    wrong.append((seed, number))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert memory._held == sum(len(b) for waiting in memory._idle.values() for b, _ in waiting)


def test_copies_have_memory_of_their_own() -> None:
    x = block()
    x[...] = 3
    for copy in (x.copy(), pickle.loads(pickle.dumps(x)), np.array(x)):
        assert not np.shares_memory(copy, x)
        assert (copy == 3).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_empty_like_lies_in_memory_as_the_other_does(order: tuple[int, ...]) -> None:
    x = np.zeros((30, 40, 50), np.float32).transpose(order)
    y = empty_like(x)
    assert (y.shape, y.strides, y.dtype) == (x.shape, x.strides, x.dtype)
    z = empty_like(x, (3, 4, 5), np.float64)
    assert np.argsort(z.strides).tolist() == np.argsort(x.strides).tolist()
    assert (z.shape, z.dtype) == ((3, 4, 5), np.float64)


def test_training_gives_the_same_bits_wherever_arrays_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fn.serial(
        fn.conv2d(8, 3, activation="relu"), fn.batch_norm(activation="relu"), fn.max_pool2d(2), fn.flatten, fn.dense(10)
    )
    x = np.random.default_rng(0).random((128, 28, 28, 1), np.float32)
    labels = np.arange(128) % 10
    optimizer = fn.adam(1e-2)

    def trained() -> dict[str, np.ndarray]:
        params = model.init((28, 28, 1), 0)
        state = optimizer.init(params)
        for step in range(4):
            y, vjp = model.apply(params, x, (0, step))
            _, dy = fn.softmax_cross_entropy(y, labels)
            grads, _ = vjp(dy, input_grad=False)
            updates, state = optimizer.update(grads, state, params)
            params = fn.apply_updates(params, updates)
        return fn.tree.flatten(params)

    again = trained()
    # Memory with NaN all over: a number that is read before it is written shows.
    make = memory._block

    def poisoned(size: int) -> tuple[bytearray, int]:
        found, where = make(size)
        np.frombuffer(found, np.uint8)[...] = 255
        return found, where

    monkeypatch.setattr(memory, "_block", poisoned)
    for path, array in trained().items():
        assert array.tobytes() == again[path].tobytes(), path
