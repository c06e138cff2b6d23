"""Event files are read back by TensorBoard's own reader."""

import io
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import funcnn as fn

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(12, 2)
MODEL = fn.serial(fn.dense(3), fn.relu, fn.dense(2))
PARAMS = MODEL.init((2,), 0)


def fit(*callbacks: Any, epochs: int = 2, **options: Any) -> fn.Fit:
    return fn.fit(
        MODEL, PARAMS, fn.adam(0.1), (X, X), fn.mean_squared_error, epochs, 4, verbose=False, callbacks=callbacks,
        **options,
    )  # fmt: skip


def read(folder: Path) -> EventAccumulator:
    """All events in a folder, in the order of their files, without a limit on their number."""
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "images": 0}).Reload()


def test_scalars_are_the_numbers_of_the_history(tmp_path: Path) -> None:
    note = lambda record, result: record.update(note="a text")  # noqa: E731
    result = fit(note, fn.callbacks.tensorboard(tmp_path / "new" / "run"), metrics={"score": lambda y, t: 0.25})
    events = read(tmp_path / "new" / "run")
    assert sorted(events.Tags()["scalars"]) == ["epoch", "rate", "seconds", "train_loss", "train_score"]
    found = [(event.step, event.value) for event in events.Scalars("train_loss")]
    assert found == [(record["step"], np.float32(record["train_loss"])) for record in result.history]
    assert [event.step for event in events.Scalars("rate")] == [3, 6]
    assert [event.value for event in events.Scalars("train_score")] == [0.25] * 3


def test_histograms_count_the_finite_elements_of_each_parameter(tmp_path: Path) -> None:
    result = fit(fn.callbacks.tensorboard(tmp_path))
    events = read(tmp_path)
    assert sorted(events.Tags()["histograms"]) == ["dense_0/b", "dense_0/w", "dense_1/b", "dense_1/w"]
    first, *_, last = events.Histograms("dense_0/w")
    for event, params in ((first, PARAMS), (last, result.params)):
        w, found = np.asarray(params["dense_0"]["w"], np.float64), event.histogram_value
        assert (found.num, found.min, found.max) == (6, w.min(), w.max())
        assert found.sum == pytest.approx(w.sum())
        assert sum(found.bucket) == 6
    params = {"a": np.array([np.nan, 1.0, np.inf]), "b": np.array([np.nan]), "c": np.zeros((0, 2))}
    record = {"epoch": 0, "step": 0, "train_loss": 0.5}
    fn.callbacks.tensorboard(tmp_path / "odd")(record, fn.Fit(params, {}, [record]))
    events = read(tmp_path / "odd")
    assert events.Tags()["histograms"] == ["a"]
    assert events.Histograms("a")[0].histogram_value.num == 1
    fit(fn.callbacks.tensorboard(tmp_path / "none", histograms=False))
    assert read(tmp_path / "none").Tags()["histograms"] == []


def test_images_are_decoded_to_the_pixels_that_were_written(tmp_path: Path) -> None:
    colours = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    pictures = {
        "colours": colours,
        "grey": np.array([[0.0, 0.5], [1.0, 7.0]], np.float32),  # 7 is clipped
        "grid": np.stack([colours, 255 - colours]),
    }
    fit(fn.callbacks.tensorboard(tmp_path, images=lambda result: pictures))
    events = read(tmp_path)
    assert sorted(events.Tags()["images"]) == ["colours", "grey", "grid"]
    assert [event.step for event in events.Images("grid")] == [0, 3, 6]

    def pixels(name: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(events.Images(name)[-1].encoded_image_string)))

    np.testing.assert_array_equal(pixels("colours"), colours)
    np.testing.assert_array_equal(pixels("grey"), np.array([[0, 128], [255, 255]])[..., None].repeat(3, -1))
    np.testing.assert_array_equal(pixels("grid"), np.concatenate([colours, 255 - colours], 1))


def test_a_second_run_hides_the_first_and_a_resumed_one_completes_it(tmp_path: Path) -> None:
    callback, folder = fn.callbacks.tensorboard(tmp_path / "run"), tmp_path / "run"
    fit(callback, epochs=3)
    fit(callback, epochs=1, checkpoint=tmp_path / "run.npz")
    fit(fn.callbacks.tensorboard(folder), epochs=2, resume=tmp_path / "run.npz")
    assert len(list(folder.iterdir())) == 3  # also within one second
    assert [event.step for event in read(folder).Scalars("train_loss")] == [0, 3, 6]


def test_events_are_in_the_file_when_the_callback_returns_and_no_thread_is_started(tmp_path: Path) -> None:
    threads, seen = threading.enumerate(), list[int]()
    look = lambda record, result: seen.append(len(read(tmp_path).Scalars("train_loss")))  # noqa: E731
    fit(fn.callbacks.tensorboard(tmp_path), look)
    assert seen == [1, 2, 3]
    assert threading.enumerate() == threads


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (lambda result: [X], TypeError, "tensorboard: images must return a dict {name: array}, but it returned"),
        (lambda result: {"a": X[0]}, ValueError, "images()['a'] of shape (height, width), (height, width, 1, 3 or 4)"),
        (lambda result: {"a": np.zeros((2, 2, 2))}, ValueError, "got (2, 2, 2)"),
        (lambda result: {"a": np.zeros((0, 2))}, ValueError, "got (0, 2)"),
        (lambda result: {"a": np.zeros((2, 2), int)}, TypeError, "as uint8 or floats from 0 to 1, got int64"),
    ],
)
def test_what_is_no_image_raises(tmp_path: Path, images: Callable[..., Any], error: type, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        fit(fn.callbacks.tensorboard(tmp_path, images=images))


def test_the_folder_and_the_arguments_are_checked_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="there is a file of this name, expected a folder") as caught:
        fit(fn.callbacks.tensorboard(tmp_path / "file"))
    assert not hasattr(caught.value, "result")
    with pytest.raises(TypeError, match="tensorboard: folder: expected a str or a Path, got 3"):
        fn.callbacks.tensorboard(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tensorboard: images: expected a function"):
        fn.callbacks.tensorboard("x", images=X)  # type: ignore[arg-type]
    assert repr(fn.callbacks.tensorboard("x", histograms=False)) == "callbacks.tensorboard('x', histograms=False)"


def test_without_tensorboardx_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "funcnn\[tensorboard\]"'):
        fn.callbacks.tensorboard("x")
