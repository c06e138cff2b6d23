"""What a user's signal handler raises is never reported as a fault of the file that was being read."""

import functools
import importlib
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.training import callbacks


class Timeout(ValueError):
    """A type that the library itself raises about files."""


def raising(number: int, frame: Any) -> None:
    raise Timeout("too slow")


class Raising:
    def __call__(self, number: int, frame: Any) -> None:
        raise Timeout("too slow")

    def method(self, number: int, frame: Any) -> None:
        raising(number, frame)


HANDLERS = [raising, lambda *_: raising(*_), functools.partial(raising), Raising(), Raising().method]


@pytest.fixture(params=HANDLERS, ids=range(len(HANDLERS)))
def signalled(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """A function that receives a signal; its handler raises ``Timeout``."""
    before = signal.signal(signal.SIGUSR1, request.param)
    yield lambda *args, **options: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("place", [(zipfile.ZipFile, "infolist"), (np.lib.format, "read_magic")], ids=str)
@pytest.mark.parametrize("read", [fn.load, fn.load_model])
def test_in_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signalled: Any, place: Any, read: Any
) -> None:
    model = fn.dense(2)
    fn.save_model(tmp_path / "x.npz", model, model.init((3,), 0))
    monkeypatch.setattr(*place, signalled)
    with pytest.raises(Timeout, match=r"^too slow$"):
        read(tmp_path / "x.npz")


def test_in_the_architecture_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signalled: Any) -> None:
    model = fn.dense(2)
    fn.save_model(tmp_path / "x.npz", model, model.init((3,), 0))
    for place in ("made", "check_children"):
        monkeypatch.setattr(importlib.import_module("funcnn.interchange.architecture"), place, signalled)
        with pytest.raises(Timeout, match=r"^too slow$"):
            fn.load_model(tmp_path / "x.npz")


def test_in_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signalled: Any) -> None:
    (tmp_path / "log.csv").write_text("epoch\n0\n")
    monkeypatch.setattr(callbacks.csv, "DictReader", signalled)
    with pytest.raises(Timeout, match=r"^too slow$"):
        fn.callbacks.csv_log(tmp_path / "log.csv")({"epoch": 1}, fn.Fit({}, {}, [{"epoch": 1}]))


def test_an_error_of_the_file_itself_is_reported_as_such(tmp_path: Path, signalled: Any) -> None:
    fn.save(tmp_path / "x.npz", {"w": np.ones(3)})
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[60] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz is damaged") as caught:
        fn.load(tmp_path / "x.npz")
    assert type(caught.value) is ValueError
