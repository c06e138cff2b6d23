"""Memory is reused when the last view of it is deleted, and never before."""

import ctypes
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcnn as fn
from funcnn.engine import memory
from funcnn.engine.memory import CACHE_LINE, MIN_POOLED_BYTES, empty, empty_like, release_memory
from funcnn.engine.microbatch import microbatches

SIZE = 2 * MIN_POOLED_BYTES


@pytest.fixture(autouse=True)
def empty_free_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts without free buffers, and none disappears meanwhile."""
    monkeypatch.setattr(memory, "_free_lists", {})
    monkeypatch.setattr(memory, "IDLE_SECONDS", 1000)


def large() -> np.ndarray:
    return empty((SIZE,), np.uint8)


def address(x: np.ndarray) -> int:
    return int(x.__array_interface__["data"][0])


def free_buffers() -> int:
    return sum(len(free) for free in memory._free_lists.values())


def free_bytes() -> int:
    return sum(len(found.memory) for free in memory._free_lists.values() for found in free)


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_next_array_of_a_size_gets_the_memory_of_the_last() -> None:
    x = large()
    where = address(x)
    del x
    assert free_buffers() == 1
    y = large()
    assert address(y) == where
    assert free_buffers() == 0
    z = large()
    assert address(z) != where
    assert not np.shares_memory(y, z)


def test_what_was_freed_last_is_used_first() -> None:
    first, second = large(), large()
    where = address(second)
    del first, second
    assert address(large()) == where


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
def test_the_memory_of_a_view_of_any_kind_is_not_reused(look: Any) -> None:
    x = large()
    where = address(x)
    seen = look(x)
    del x
    gc.collect()
    others = [large() for _ in range(5)]
    assert where not in [address(other) for other in others]
    del seen
    gc.collect()
    assert address(large()) == where


def test_a_view_keeps_its_values_while_others_are_made_and_deleted() -> None:
    x = large()
    x[...] = 7
    view = x[100:200]
    del x
    for number in range(20):
        large()[...] = number
    assert (view == 7).all()


def test_an_array_in_a_cycle_keeps_its_memory_until_it_is_collected() -> None:
    cycle: list[Any] = [large()]
    where = address(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert address(large()) == where


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.booleans()), max_size=60))
def test_live_arrays_never_overlap(moves: list[tuple[int, int, bool]]) -> None:
    alive: dict[int, tuple[np.ndarray, int]] = {}
    for number, (place, size, view) in enumerate(moves):
        x = empty((size * MIN_POOLED_BYTES // 4 + number % 2,), np.float32)
        x[...] = number
        alive[place] = (x[size:] if view else x, number)
        del x
        for array, value in alive.values():
            assert (array == value).all()


@settings(max_examples=200)
@given(st.integers(0, 2_000_000), st.sampled_from(["f2", "f4", "f8", "?", "i8"]))
def test_large_arrays_begin_at_a_cache_line_and_end_within_their_buffer(size: int, dtype: str) -> None:
    x = empty((size,), dtype)
    assert x.shape == (size,)
    assert x.dtype == dtype
    assert x.flags.writeable
    assert x.flags.c_contiguous
    assert x.flags.aligned
    if x.nbytes >= MIN_POOLED_BYTES:
        assert address(x) % CACHE_LINE == 0
        owner: Any = x.base
        assert isinstance(owner, memory._PooledBuffer)
        # The array ends within its memory, of which more than half is its own.
        begin = address(np.frombuffer(owner.memory, np.uint8))
        assert begin <= address(x)
        assert address(x) + x.nbytes <= begin + len(owner.memory)
        assert len(owner.memory) <= max(x.nbytes * 9 // 8, x.nbytes + 4096) * 3 // 2 + CACHE_LINE
    else:
        assert x.base is None


def test_free_memory_up_to_half_as_large_again_is_used_before_there_is_more() -> None:
    release_memory()
    where = address(empty((3 * SIZE // 2,), np.uint8))
    assert address(empty((SIZE,), np.uint8)) == where
    assert address(empty((SIZE // 2,), np.uint8)) != where
    assert address(empty((3 * SIZE // 2,), np.uint8)) == where


def test_small_arrays_are_not_pooled() -> None:
    assert empty((3, 4), np.float32).flags.owndata
    assert empty((0, 10**6), np.float32).shape == (0, 10**6)
    assert empty((), np.float64).shape == ()


@pytest.mark.parametrize("dtype", [np.float32, np.dtype(np.float64), np.bool_, "int64"])
@pytest.mark.parametrize("more", [-1, 0])
def test_an_array_is_pooled_from_a_number_of_bytes_on(dtype: Any, more: int) -> None:
    x = empty((MIN_POOLED_BYTES // np.dtype(dtype).itemsize + more,), dtype)
    assert x.flags.owndata is (more < 0)


def test_release_memory_empties_the_free_lists_and_leaves_arrays_alone() -> None:
    kept, other = large(), large()
    kept[...] = 7
    del other
    expected = free_bytes()
    assert expected >= SIZE
    assert release_memory() == expected
    assert (free_buffers(), free_bytes(), release_memory()) == (0, 0, 0)
    assert (kept == 7).all()
    # What is in use now is pooled again afterwards.
    where = address(kept)
    del kept
    assert free_buffers() == 1
    assert address(large()) == where


def _has_malloc_trim() -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")


@pytest.mark.skipif(not _has_malloc_trim(), reason="the system's malloc decides when it returns memory")
def test_released_memory_is_returned_to_the_system() -> None:
    code = """
import os
from pathlib import Path
import numpy as np
from funcnn.engine.memory import empty, release_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

def use(elements):
    arrays = [empty((elements,), np.float32) for _ in range(200 * 2**20 // (4 * elements))]
    for x in arrays:
        x[...] = 1

use(2**14)
release_memory()
before = resident()
for elements in (40_000, 100_000, 1_000_000):
    use(elements)
    assert resident() > before + 150, "not pooled"
    release_memory()
    assert resident() < before + 50, resident() - before
"""
    done = python(code)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_may_release_memory_whatever_other_threads_did() -> None:
    code = """
import os, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
import numpy as np
from funcnn.engine import memory

held = threading.Event()

def hold():
    with memory._lock:
        held.set()
        time.sleep(0.1)

x = memory.empty((10**6,), np.float32)
del x
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if not child:
    os._exit(0 if memory.release_memory() >= 4 * 10**6 and memory.empty((10**6,), np.float32).size else 1)
deadline = time.monotonic() + 10
while time.monotonic() < deadline:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        print(os.waitstatus_to_exitcode(status))
        break
    time.sleep(0.01)
else:
    os.kill(child, 9)
    os.waitpid(child, 0)
    print("stuck")
"""
    done = python(code)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_free_memory_of_a_size_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_FREE_BYTES", 3 * (SIZE + 4096))
    arrays = [large() for _ in range(10)]
    assert free_buffers() == 0
    last = [address(x) for x in arrays[-3:]]
    while arrays:
        del arrays[0]
    assert [found.address for free in memory._free_lists.values() for found in free] == last


def test_the_oldest_free_memory_of_all_sizes_is_returned_when_it_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (SIZE, 2 * SIZE):
        arrays = [empty((size,), np.uint8) for _ in range(4)]
        del arrays
    before = free_bytes()
    monkeypatch.setattr(memory, "MAX_FREE_BYTES", before - SIZE)
    assert memory._return_some() >= SIZE
    assert before - 2 * SIZE <= free_bytes() <= before - SIZE
    assert memory._return_some() == 0


def test_what_is_free_for_some_seconds_is_returned_and_what_is_used_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "IDLE_SECONDS", 2)
    one, other = large(), large()
    kept = [address(one), address(other)]
    del one, other
    for _ in range(5):  # seconds in which one of the two is used
        x = large()
        del x
        memory._return_some()
    assert free_buffers() == 1
    assert address(large()) in kept
    for _ in range(3):
        memory._return_some()
    assert free_bytes() == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory from /proc")
def test_the_memory_of_one_large_step_returns_to_the_system_though_nothing_more_is_computed() -> None:
    code = """
import os, time, threading
from pathlib import Path
import numpy as np
import funcnn as fn
from funcnn.engine import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

model = fn.serial(fn.conv2d(16, 3), fn.relu, fn.conv2d(16, 3), fn.relu, fn.flatten, fn.dense(10))
params = model.init((28, 28, 1), 0)
def step(n):
    y, vjp = model.apply(params, np.ones((n, 28, 28, 1), np.float32), 0)
    vjp(y)
step(2)
assert "memory-of-funcnn" not in [thread.name for thread in threading.enumerate()], "too early"
before = resident()
memory.IDLE_SECONDS = 1
step(1200)
assert resident() > before + 100, (before, resident())
deadline = time.monotonic() + 20
while time.monotonic() < deadline and (resident() > before + 40 or any(memory._free_lists.values())):
    time.sleep(0.1)
print(resident() - before, sum(map(len, memory._free_lists.values())))
"""
    done = python(code)
    assert (done.stderr, done.returncode) == ("", 0)
    growth, free = map(int, done.stdout.split())
    assert free == 0
    assert growth <= 40 or not _has_malloc_trim()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.usefixtures("alarm_is_ctrl_c")
def test_an_interrupt_is_never_lost_when_arrays_are_deleted() -> None:
    caught = 0

    def work() -> None:
        while True:
            x = large()
            y = x[1:]
            del x, y

    for number in range(300):
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-4 + number * 1e-6)
            work()
        except KeyboardInterrupt:
            caught += 1
    assert caught == 300
    assert memory._lock.acquire(blocking=False)
    memory._lock.release()


def test_an_array_is_made_and_deleted_while_another_thread_holds_the_lock() -> None:
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with memory._lock:
            held.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    x = large()
    where = address(x)
    del x
    assert free_buffers() == 1
    assert address(large()) == where
    leave.set()
    holder.join()


def test_arrays_may_be_made_and_deleted_in_several_threads() -> None:
    wrong: list[Any] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        kept: list[tuple[np.ndarray, int]] = []
        for number in range(300):
            x = empty((int(random.integers(1, 4)) * MIN_POOLED_BYTES // 4,), np.float32)
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


def test_copies_share_no_memory() -> None:
    x = large()
    x[...] = 3
    for copy in (x.copy(), pickle.loads(pickle.dumps(x)), np.array(x)):
        assert not np.shares_memory(copy, x)
        assert (copy == 3).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_empty_like_keeps_the_order_of_axes_in_memory(order: tuple[int, ...]) -> None:
    x = np.zeros((30, 40, 50), np.float32).transpose(order)
    y = empty_like(x)
    assert (y.shape, y.strides, y.dtype) == (x.shape, x.strides, x.dtype)
    z = empty_like(x, (3, 4, 5), np.float64)
    assert np.argsort(z.strides).tolist() == np.argsort(x.strides).tolist()
    assert (z.shape, z.dtype) == ((3, 4, 5), np.float64)


def test_training_gives_the_same_bits_whatever_the_memory_contains(monkeypatch: pytest.MonkeyPatch) -> None:
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
    # Memory full of NaN: an element that is read before it is written shows.
    allocate = memory._allocate

    def poisoned(size: int) -> tuple[bytearray, int, Any]:
        found = allocate(size)
        np.frombuffer(found[0], np.uint8)[...] = 255
        return found

    monkeypatch.setattr(memory, "_allocate", poisoned)
    for path, array in trained().items():
        assert array.tobytes() == again[path].tobytes(), path


LANGUAGE_MODEL = {
    "embedding": (fn.embedding(7, 64), np.zeros((8, 64), np.int64)),
    "positions": (fn.positions(length=64), np.zeros((8, 64, 64), np.float32)),
    "add": (fn.add(fn.relu, fn.tanh), np.zeros((8, 64, 64), np.float32)),
    "sublayer": (fn.transformer_encoder_layer(64, 2, 64), np.zeros((8, 64, 64), np.float32)),
}


@pytest.mark.parametrize("name", LANGUAGE_MODEL)
@pytest.mark.parametrize("examples", [None, 4], ids=["whole", "joined"])
def test_large_outputs_and_joined_microbatches_are_pooled(name: str, examples: int | None) -> None:
    layer, x = LANGUAGE_MODEL[name]
    params = layer.init(fn.spec(x.shape[1:], x.dtype), 0)
    with microbatches(examples):
        y: Any = fn.serial(layer).apply({f"{layer.kind}_0": params} if params else {}, x)[0]
    owner = y
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, memory._PooledBuffer)


@pytest.mark.parametrize("shape", [(2**45,), (2**40, 2**40)])
def test_an_array_that_does_not_fit_into_memory_raises_in_words(shape: tuple[int, ...]) -> None:
    with pytest.raises(MemoryError, match=r"there is no memory for an array of [\d,]+ bytes"):
        memory.empty(shape, np.float32)
