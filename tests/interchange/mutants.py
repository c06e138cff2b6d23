"""Damaged files: what a bad disk, a broken download or an editor that meant well make of the bytes of a file.

``mutants(content, rng, count)`` makes damaged versions, and ``outcomes`` reads each and counts what came of it. A cut
is made anywhere, or where a part of a zip, gzip or PNG file begins: whole members are lost, doubled and swapped.
``python -m tests.interchange.mutants 10000`` prints the counts of as many mutants of each format.
"""

import gzip
import io
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import funcnn as fn
from funcnn.datasets import images
from funcnn.datasets.idx import gunzip

GOLDEN = Path(__file__).parents[1] / "golden"
STARTS = re.compile(rb"PK\x01\x02|PK\x03\x04|PK\x05\x06|\x1f\x8b|\x93NUMPY|(?=.{4}(?:IHDR|IDAT|IEND))|\{\"", re.DOTALL)


def mutants(content: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """Damaged versions of a file, each different from it."""
    starts = [0, len(content), *(match.start() for match in STARTS.finditer(content))]
    changes = [_flips, _bytes, _truncated, _inserted, _deleted, _swapped, _doubled, _zeros]
    made = 0
    while made < count:
        change = changes[rng.integers(len(changes))]
        mutant = change(content, rng, starts)
        if mutant != content:
            made += 1
            yield mutant


def outcomes(
    path: Path, content: bytes, read: Callable[[Path], Any], rng: np.random.Generator, count: int
) -> Counter[str]:
    """How many mutants of a file were read with the values of the whole file, and how many raised our ValueError.

    Args:
        path: where each mutant is written; the last one stays.
        content: the bytes of the whole file.
        read: a function of the path that returns a tree or a tuple of arrays.
        rng: the generator of the damages.
        count: the number of mutants.

    Raises:
        AssertionError: a mutant was read as other values, another error was raised, or a message lacks the path.
    """
    path.write_bytes(content)
    expected = read(path)
    seen: Counter[str] = Counter()
    for number, mutant in enumerate(mutants(content, rng, count)):
        path.write_bytes(mutant)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = read(path)
        except Exception as error:
            if type(error) is not ValueError or str(path) not in str(error):
                raise AssertionError(f"mutant {number}: {type(error).__name__}: {error}") from error
            seen["raised"] += 1
        else:
            assert same(found, expected), f"mutant {number} was read as other values"
            seen["read"] += 1
    return seen


def formats(folder: Path) -> dict[str, tuple[Path, bytes, Callable[[Path], Any]]]:
    """A file of each format that funcnn reads: where its mutants are written, its bytes, and what reads it.

    Of images, the pixels of PNG files are compared, which have a checksum; of the others the shape.
    """
    tree = {
        "conv2d_0": {"w": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.zeros(2, np.float32)},
        "relu_0": {}, "ключ": {"m": np.ones(3)}, "flag": np.array([True, False]), "step": np.array(7),
    }  # fmt: skip
    model = fn.serial(fn.conv2d(2, 3), fn.batch_norm(), fn.relu, fn.flatten, fn.dense(2))
    fn.save(folder / "checkpoint.npz", tree)
    np.savez_compressed(folder / "compressed.npz", **fn.tree.flatten(tree))
    fn.save_model(folder / "model.npz", model, model.init((5, 5, 1), 0))
    whole = {name: (folder / f"{name}.npz").read_bytes() for name in ("checkpoint", "compressed", "model")}
    whole |= {file.stem: file.read_bytes() for file in sorted(GOLDEN.glob("*.npz"))}
    found: dict[str, tuple[Path, bytes, Callable[[Path], Any]]] = {
        name: (folder / "x.npz", content, fn.load_model if "model" in name else fn.load)
        for name, content in whole.items()
    }
    found["gzip"] = folder / "x.gz", gzip.compress(bytes(range(200)), mtime=0), partial(gunzip, max_bytes=10**6)
    if find_spec("PIL"):
        import PIL.Image

        (folder / "images" / "class").mkdir(parents=True)
        for kind in images.FORMATS:
            buffer = io.BytesIO()
            PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)).save(buffer, kind)
            read = _image if kind == "PNG" else _shape_of_the_image
            found[kind] = folder / "images" / "class" / "x", buffer.getvalue(), read
    return found


def _image(path: Path) -> Any:
    """What is read of an image that stands alone in its class, without scaling."""
    (x, labels), _, _ = fn.datasets.image_folder(path.parents[1], (6, 5), train_ratio=1)
    return x, labels


def _shape_of_the_image(path: Path) -> Any:
    """The same, where pixels have no checksum."""
    x, labels = _image(path)
    return x.shape, labels


def same(one: Any, other: Any) -> bool:
    """Whether two trees, or tuples of arrays, have the same names, dtypes, shapes and bits."""
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return isinstance(other, dict) and [*one] == [*other] and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and (one.dtype, one.shape, one.tobytes()) == (
            (other.dtype, other.shape, other.tobytes())
        )
    return repr(one) == repr(other)


def _place(rng: np.random.Generator, starts: list[int]) -> int:
    """A place in the file, every second time one where a part of it begins."""
    return int(rng.choice(starts)) if rng.random() < 0.5 else int(rng.integers(starts[1] + 1))


def _range(rng: np.random.Generator, starts: list[int]) -> tuple[int, int]:
    """A part of the file: short, or between any two places."""
    first = _place(rng, starts)
    last = first + int(rng.integers(1, 17)) if rng.random() < 0.5 else _place(rng, starts)
    return min(first, last), max(first, last)


def _flips(content: bytes, rng: np.random.Generator, starts: list[int]) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        changed[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _bytes(content: bytes, rng: np.random.Generator, starts: list[int]) -> bytes:
    """Some bytes of a header, or of anything."""
    changed = bytearray(content)
    first = _place(rng, starts) + int(rng.integers(50))
    for place in range(first, min(first + int(rng.integers(1, 5)), len(content))):
        changed[place] = int(rng.choice([0, 255, int(rng.integers(256))]))
    return bytes(changed)


def _truncated(content: bytes, rng: np.random.Generator, starts: list[int]) -> bytes:
    return content[: _place(rng, starts)]


def _inserted(content: bytes, rng: np.random.Generator, starts: list[int]) -> bytes:
    place = _place(rng, starts)
    return content[:place] + rng.bytes(int(rng.integers(1, 40))) + content[place:]


def _deleted(content: bytes, rng: np.random.Generator, starts: list[int]) -> bytes:
    first, last = _range(rng, starts)
    return content[:first] + content[last:]


def _swapped(content: bytes, rng: np.random.Generator, starts: list[int]) -> bytes:
    a, b, c, d = sorted(_place(rng, starts) for _ in range(4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _doubled(content: bytes, rng: np.random.Generator, starts: list[int]) -> bytes:
    first, last = _range(rng, starts)
    place = _place(rng, starts)
    return content[:place] + content[first:last] + content[place:]


def _zeros(content: bytes, rng: np.random.Generator, starts: list[int]) -> bytes:
    first, last = _range(rng, starts)
    return content[:first] + bytes(last - first) + content[last:]


def main(count: str = "10000") -> None:
    """Read mutants of each format, and print the counts."""
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (path, content, read)) in enumerate(formats(Path(folder)).items()):
            print(name, dict(outcomes(path, content, read, np.random.default_rng(number), int(count))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
