"""What other threads, forks, pools and settings do changes no bit of what a model computes."""

import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.engine.microbatch import cut

TIMEOUT = 60


@fn.layer
def linear(units: int = 256) -> Any:
    """A user's layer, whose products are NumPy's own."""

    def init(shape: Any, rng: Any) -> Any:
        return {"w": np.random.default_rng(1).normal(0, 0.05, (shape[-1], units)).astype(np.float32)}

    def apply(params: Any, x: Any) -> Any:
        w = params["w"]
        return x @ w, lambda dy: ({"w": x.T @ dy}, dy @ w.T)

    return init, apply


MLP = fn.serial(fn.dense(256, activation="relu"), fn.dense(10))
OWN = fn.serial(linear(), fn.relu, fn.dense(10))
CNN = fn.serial(fn.conv2d(16, 3, activation="relu"), fn.max_pool2d(2), fn.flatten, fn.dense(10))
ROWS = np.random.default_rng(0).random((64, 784), np.float32)
IMAGES = ROWS.reshape(64, 28, 28, 1)
LABELS = np.arange(64) % 10


def trained(model: Any, x: Any, steps: int, seed: int = 0) -> bytes:
    """All parameters after some steps of training."""
    params = model.init(x.shape[1:], seed)
    optimizer = fn.sgd(0.05, momentum=0.9)
    state, step = optimizer.init(params), fn.value_and_grad(model, fn.softmax_cross_entropy)
    for number in range(steps):
        _, grads = step(params, x, LABELS[: len(x)], rng=(seed, number))
        params, state = optimizer.step(grads, state, params)
    return b"".join(leaf.tobytes() for leaf in fn.tree.leaves(params))


@contextmanager
def busy(*calls: Callable[[], Any]) -> Iterator[None]:
    """Make these calls in other threads, again and again."""
    stop = threading.Event()

    def again(call: Callable[[], Any]) -> None:
        while not stop.is_set():
            call()

    threads = [threading.Thread(target=again, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive(), "stuck"


@pytest.mark.parametrize("model", [MLP, OWN, linear()], ids=["mlp", "user's layer", "alone"])
def test_other_threads_change_no_bit(model: Any) -> None:
    assert len(cut(IMAGES, CNN.apply.working_set)) > 1  # type: ignore[attr-defined]
    assert len(cut(ROWS)) == 1
    alone = trained(model, ROWS, 25)
    params = CNN.init(IMAGES.shape[1:], 0)
    with busy(lambda: trained(CNN, IMAGES, 2), lambda: fn.predict(CNN, params, IMAGES)):
        for _ in range(2):
            assert trained(model, ROWS, 25) == alone


def test_eight_threads_that_train_and_predict_at_once_have_the_bits_of_each_alone() -> None:
    params = MLP.init((784,), 0)
    jobs: list[Callable[[], bytes]] = [
        lambda: trained(MLP, ROWS, 5), lambda: trained(OWN, ROWS, 5), lambda: trained(CNN, IMAGES, 3),
        lambda: fn.predict(MLP, params, ROWS[:1]).tobytes(), lambda: fn.predict(MLP, params, ROWS).tobytes(),
    ]  # fmt: skip
    alone = [job() for job in jobs]
    wrong: list[int] = []

    def work(first: int) -> None:
        for number in range(first, first + 10):
            job = number % len(jobs)
            if jobs[job]() != alone[job]:
                wrong.append(job)

    threads = [threading.Thread(target=work, args=(first,), daemon=True) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "stuck"
    assert wrong == []


def result_in_a_child(number: int, threads: int) -> bytes:
    with fn.use_threads(threads):
        return trained((MLP, OWN, CNN)[number % 3], IMAGES if number % 3 == 2 else ROWS, 3)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_pool_of_processes_has_the_same_bits(method: str) -> None:
    jobs = [(number, fn.num_threads()) for number in range(6)]
    expected = [result_in_a_child(*job) for job in jobs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
        with busy(lambda: trained(CNN, IMAGES, 2)), multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.starmap_async(result_in_a_child, jobs).get(TIMEOUT)
    assert found == expected


BITS = """
import hashlib, sys
sys.path.insert(0, {here!r})
from test_bits import CNN, IMAGES, MLP, OWN, ROWS, trained
jobs = (CNN, IMAGES), (MLP, ROWS[:2]), (MLP, ROWS), (OWN, ROWS)
print(*[hashlib.sha256(trained(*job, 3)).hexdigest() for job in jobs])
"""


@pytest.fixture(scope="module")
def digests() -> dict[tuple[str, ...], list[str]]:
    """What interpreters with other settings compute: two models whose batch is cut or small, two left to BLAS."""
    here = Path(__file__).parent
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}

    def computed(*settings: str) -> list[str]:
        environment = {**inherited, "PYTHONPATH": str(here.parents[1]), **dict(pair.split("=") for pair in settings)}
        command = [sys.executable, "-c", BITS.format(here=str(here))]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        return done.stdout.split()

    return {settings: computed(*settings) for settings in (
        (), ("OPENBLAS_NUM_THREADS=1",), ("OMP_NUM_THREADS=1",),
        ("FUNCNN_NUM_THREADS=1",), ("FUNCNN_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"),
        ("FUNCNN_NUM_THREADS=2", "OPENBLAS_NUM_THREADS=4", "PYTHONHASHSEED=7"),
        ("FUNCNN_NUM_THREADS=4", "OPENBLAS_NUM_THREADS=2"),
    )}  # fmt: skip


def test_no_setting_changes_what_is_cut_or_small(digests: dict[tuple[str, ...], list[str]]) -> None:
    cut_or_small = {settings: found[:2] for settings, found in digests.items()}
    assert cut_or_small == dict.fromkeys(digests, digests[()][:2])


def test_the_setting_of_blas_changes_no_bit_of_what_is_left_to_it(digests: dict[tuple[str, ...], list[str]]) -> None:
    left = {settings: found[2:] for settings, found in digests.items()}
    assert len(left[()]) == 2
    assert left["OPENBLAS_NUM_THREADS=1",] == left["OMP_NUM_THREADS=1",] == left[()]
    one = "FUNCNN_NUM_THREADS=1"
    assert left[one, "OPENBLAS_NUM_THREADS=1"] == left[one,]
