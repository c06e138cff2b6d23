"""Files are damaged in many ways and read: each read gives the values of the whole file, or our error with its path.

That is all: no other error, no other value, no large memory, no long time. Text has no checksum, so what is damaged may
still be a model or a log, and images may have other pixels.
"""

import gzip
import hashlib
import importlib
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import funcnn as fn
from tests.faults.long.outcome import Outcome, Verdict
from tests.faults.long.processes import trials_side_by_side
from tests.interchange.mutants import compressed, mutants, same

MEMORY = 2**30
"""Bytes that a process may have beyond those of its start; the files have thousands."""
SECONDS = 5.0
"""Longest time for a file, on a busy machine."""

MODEL = fn.serial(fn.dense(6, activation="relu"), fn.batch_norm(), fn.dense(2))
X = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
RECORDS = [{"epoch": epoch, "step": 10 * epoch, "train_loss": 1 / (epoch + 3)} for epoch in range(5)]


class Format(NamedTuple):
    """How a whole file is written, and read; whether there is a checksum, and whether an error must name the file."""

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    checksum: bool = True
    named: bool = True


def scenario(count: int) -> Outcome:
    """Damage a file of each format so many times."""
    return trials_side_by_side(damage, count * len(FORMATS), timeout=120 + count)


def damage(count: int, seed: int) -> Iterator[Verdict]:
    """Read mutants of one file of each format, by turns."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = {name: Whole(format_, Path(folder, name, format_.name), seed) for name, format_ in FORMATS.items()}
        limit_memory()
        for number in range(count):
            name = list(files)[number % len(files)]
            mutant = next(files[name].mutants)
            lost = files[name].what_is_lost(mutant)
            yield lost and f"{name} as {mutant.hex()[:400]}: {lost}"


class Whole:
    """A whole file, what is read from it, and its mutants."""

    def __init__(self, format_: Format, path: Path, seed: int) -> None:
        self.format, self.path = format_, path
        path.parent.mkdir(parents=True)
        format_.write(path)
        self.expected = format_.read(path)
        self.mutants = mutants(path.read_bytes(), np.random.default_rng(seed), 10**9)

    def what_is_lost(self, mutant: bytes) -> Verdict:
        """Read a mutant in place of the file."""
        self.path.write_bytes(mutant)
        started = time.perf_counter()
        try:
            found = self.format.read(self.path)
        except Exception as error:
            if type(error) is not ValueError:
                return f"{type(error).__name__}: {error}"
            if self.format.named and str(self.path) not in str(error):
                return f"the error does not name the file: {error}"
        else:
            if self.format.checksum and not same(found, self.expected):
                return "it was read as something else"
        seconds = time.perf_counter() - started
        return f"it took {seconds:.0f} s" if seconds > SECONDS else None


def limit_memory() -> None:
    """Let an allocation far beyond the size of the file fail."""
    status = Path("/proc/self/status").read_text()
    now = 1024 * int(status.partition("VmData:")[2].split()[0])
    resource.setrlimit(resource.RLIMIT_DATA, (now + MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def params() -> Any:
    """Parameters of the model, calibrated."""
    return fn.calibrate(MODEL, MODEL.init((5,), rng=0), X)


def run(path: Path, **resumed: Any) -> Any:
    """Train with a checkpoint, or go on from it."""
    data = (X, np.arange(len(X)) % 2)
    return tuple(
        fn.fit(MODEL, MODEL.init((5,), 0), fn.adam(0.1), data, fn.softmax_cross_entropy, 2, verbose=False, **resumed)
    )


def write_mnist(path: Path) -> None:
    """Four files of a few images, whose checksums take the place of those of MNIST."""
    known = importlib.import_module("funcnn.datasets.mnist").MNIST_SHA256
    for name, shape in zip(known, ((3, 4, 2), (3,), (1, 4, 2), (1,)), strict=True):
        sizes = b"".join(size.to_bytes(4, "big") for size in shape)
        content = bytes([0, 0, 8, len(shape)]) + sizes + bytes(range(np.prod(shape)))
        known[name] = hashlib.sha256(content).hexdigest()
        (path.parent / name).write_bytes(gzip.compress(content))


def write_image(path: Path) -> None:
    """The only image of a class."""
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)).save(path)


def read_images(folder: Path) -> Any:
    """All images, in small."""
    return fn.datasets.image_folder(folder, 8, train_ratio=1)


def write_log(path: Path) -> None:
    """A log of some epochs."""
    for number in range(len(RECORDS)):
        fn.callbacks.csv_log(path)(RECORDS[number], fn.Fit({}, {}, RECORDS[: number + 1]))


def read_log(path: Path) -> None:
    """Go on with a log after its fourth epoch; where it is none, it is left alone."""
    before = path.read_bytes()
    try:
        fn.callbacks.csv_log(path)(RECORDS[4], fn.Fit({}, {}, RECORDS[4:]))
    except ValueError:
        if path.read_bytes() != before:
            raise AssertionError("a file that is no log was changed") from None
        raise


FORMATS = {
    "checkpoint": Format("a.npz", lambda path: fn.save(path, params()), fn.load),
    "compressed checkpoint": Format("a.npz", lambda path: compressed(path, params()), fn.load),
    "model file": Format("a.npz", lambda path: fn.save_model(path, MODEL, params()), fn.load_model),
    "run": Format("a.npz", lambda path: run(path, checkpoint=path), lambda path: without_times(run(path, resume=path))),
    "architecture": Format(
        "a.json",
        lambda path: path.write_text(fn.to_json(MODEL)),
        lambda path: fn.from_json(path.read_text(errors="replace")),
        checksum=False,
        named=False,
    ),
    "MNIST": Format("train-images-idx3-ubyte.gz", write_mnist, lambda path: fn.datasets.mnist(path.parent)),
    "log": Format("log.csv", write_log, read_log, checksum=False),
}
if find_spec("PIL") is not None:  # of the extra `images`
    FORMATS |= {
        ending: Format(f"class/a.{ending}", write_image, lambda path: read_images(path.parents[1]), checksum=False)
        for ending in ("png", "jpg", "bmp", "gif")
    }


def without_times(result: Any) -> Any:
    """The result of a run without what a clock measured."""
    loaded, opt_state, history = result
    return loaded, opt_state, [{name: record[name] for name in record if name != "seconds"} for record in history]
