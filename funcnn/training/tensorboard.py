"""A run of ``fit`` in TensorBoard: its scalars, histograms of its parameters, and images of the user's choice.

Events are written at once, by the functions of tensorboardX that need no thread: when the callback returns, they are in
the file.
"""

from __future__ import annotations

import itertools
import os
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array
from funcnn.interchange.files import check_folder
from funcnn.recorded import recorded
from funcnn.training.evaluate import Record
from funcnn.training.run import Fit
from funcnn.wording import shown

__all__ = ["tensorboard"]

FORMATS = {2: "HW", 3: "HWC", 4: "NHWC"}
"""The axes of images by their number."""

BINS = 64
"""The number of bars of a histogram."""

RUNS = itertools.count()
"""Of this process: it makes the names of files differ that are started in the same second."""


@recorded
def tensorboard(
    folder: str | Path, histograms: bool = True, images: Callable[[Fit], Mapping[str, Array]] | None = None
) -> Callable[[Record, Fit], None]:
    """Write the records to an event file of TensorBoard, with histograms of the parameters and images.

    Args:
        folder: the folder of the event files, one for each run; it is created if it does not exist. A run from the
            start hides what an earlier run wrote there, and a resumed run the later steps.
        histograms: whether to write a histogram of each parameter, under its path. NaN and infinity are left out.
        images: ``images(result) -> {name: array}``, called after each evaluation; an array is uint8, or floats from 0
            to 1, which are clipped, and of shape (height, width), (height, width, 1, 3 or 4), or of these with the
            number of images in front, which are shown as a grid.

    Returns:
        A callback for ``fit``. The scalars are the numbers of the record, under their names; all have the step of the
        record. Events are in the file when the callback returns.

    Raises:
        ModuleNotFoundError: tensorboardX is not installed: ``pip install "funcnn[tensorboard]"``.
        TypeError: an argument has the wrong type, or ``images`` returns something else than arrays by name.
        ValueError: an image has another number of axes or of channels.
        OSError: before training, nothing can be written into the folder.

    Example:
        >>> callback = tensorboard("runs/first", histograms=False)  # doctest: +SKIP
        >>> callback({"epoch": 0, "step": 0, "train_loss": 0.5}, Fit({}, {}, []))  # doctest: +SKIP

    Reference:
        Abadi et al., TensorFlow: large-scale machine learning on heterogeneous systems (2015), section 9.1.
    """
    folder, histograms = (
        checks.path("tensorboard", folder, "folder"),
        checks.flag("tensorboard", "histograms", histograms),
    )
    if images is not None:
        checks.function("tensorboard", "images", images, "result")
    events, summaries = _tensorboardx()
    history: Any = None
    write: Any = None

    def callback(record: Record, result: Fit) -> None:
        nonlocal history, write
        if history is not result.history:  # another run has a file of its own
            history, write = result.history, _writer(events, folder, int(record["step"]))
        found = [summaries.scalar(name, value) for name, value in _numbers(record).items()]
        if histograms:
            found += [summaries.histogram(path, values, BINS) for path, values in _elements(result.params).items()]
        if images is not None:
            found += [
                summaries.image(name, pixels, dataformats=FORMATS[pixels.ndim])
                for name, pixels in _pictures(images(result)).items()
            ]
        write(found, int(record["step"]))

    callback.begin = lambda: check_folder(folder)  # type: ignore[attr-defined]
    return callback


def _tensorboardx() -> tuple[Any, Any]:
    """The two modules of tensorboardX that write events and make what is in them."""
    try:
        from tensorboardX import event_file_writer, summary  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        message = 'callbacks.tensorboard needs tensorboardX: pip install "funcnn[tensorboard]"'
        raise ModuleNotFoundError(message, name="tensorboardX") from error
    return event_file_writer, summary


def _writer(events: Any, folder: Path, first_step: int) -> Callable[[list[Any], int], None]:
    """A function that appends summaries of one step to a new event file, in which a run begins with this step."""
    folder.mkdir(parents=True, exist_ok=True)
    file = events.EventsWriter(str(folder / "events"), f".{os.getpid()}.{next(RUNS)}")
    event, session = events.event_pb2.Event, events.event_pb2.SessionLog

    def append(made: Any) -> None:
        made.wall_time = time.time()
        file.write_event(made)

    # What earlier runs wrote of this step and later ones is hidden.
    append(event(step=first_step, session_log=session(status=session.START)))

    def write(found: list[Any], step: int) -> None:
        for summary in found:
            append(event(step=step, summary=summary))
        file.flush()

    weakref.finalize(write, file.close)
    return write


def _numbers(record: Record) -> dict[str, float]:
    """The numbers of a record, without those that say when it was made."""
    return {
        name: value
        for name, value in record.items()
        if name != "step" and isinstance(value, int | float | np.integer | np.floating)
    }


def _elements(params: Any) -> dict[str, Array]:
    """The finite elements of each parameter that has some."""
    found = {path or "params": np.asarray(leaf, np.float64).ravel() for path, leaf in tree.flatten(params).items()}
    finite = {path: values[np.isfinite(values)] for path, values in found.items()}
    return {path: values for path, values in finite.items() if values.size}


def _pictures(images: Any) -> dict[str, Array]:
    """Images by name as bytes, or an error that says which is not one."""
    if not isinstance(images, Mapping):
        raise TypeError(f"tensorboard: images must return a dict {{name: array}}, but it returned {shown(images)}")
    return {str(name): _pixels(str(name), value) for name, value in images.items()}


def _pixels(name: str, value: Any) -> Array:
    """One image, or a batch of them, as bytes."""
    pixels = checks.array("tensorboard", value, f"images()[{name!r}]")
    if pixels.ndim not in FORMATS or (pixels.ndim > 2 and pixels.shape[-1] not in (1, 3, 4)) or not pixels.size:
        raise ValueError(
            f"tensorboard: expected images()[{name!r}] of shape (height, width), (height, width, 1, 3 or 4) or "
            f"(n, height, width, 1, 3 or 4), got {pixels.shape}"
        )
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f":
        raise TypeError(f"tensorboard: expected images()[{name!r}] as uint8 or floats from 0 to 1, got {pixels.dtype}")
    scaled: Array = np.rint(255 * np.clip(np.nan_to_num(pixels), 0, 1)).astype(np.uint8)
    return scaled
