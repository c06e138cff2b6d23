"""Wrong calls of everything that reads or writes files: each raises our error, which names what is wrong.

A row is a call, the type of its error, and the whole message without the temporary folder, as a pattern.
"""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import funcnn as fn

W = {"w": np.ones((3, 2), np.float32), "b": np.zeros(2, np.float32)}
DENSE = fn.dense(2)
INSTEAD = "leave the entry out; in the state of an optimizer, return the old state where a gradient is None"
LAYER = r"a layer is a Layer or a tuple of two functions \(init, apply\), got "
CYCLE: dict[str, Any] = {}
CYCLE["a"] = CYCLE
DEEP: dict[str, Any] = {"w": np.ones(1)}
for _ in range(101):
    DEEP = {"a": DEEP}


class Own(np.ndarray):
    """An array that means something else."""


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Names of things in a folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    fn.save("arrays.npz", W)
    fn.save_model("model.npz", DENSE, W)
    Path("empty").touch()
    Path("text").write_text("hello")
    Path("images/a").mkdir(parents=True)
    Path("images/a/1.png").write_text("hello")
    Path("folder").mkdir()
    return SimpleNamespace(folder=tmp_path)


def same_for(calls: dict[str, Callable[[Any], Any]], value: Any, error: type, message: str) -> list[tuple[Any, ...]]:
    """A row for each call, whose name begins the message."""
    return [
        (f"{name}({value!r:.20})", lambda call=call: call(value), error, f"{name}: {message}")
        for name, call in calls.items()
    ]


PATHS: dict[str, Callable[[Any], Any]] = {
    "save": lambda path: fn.save(path, W),
    "load": fn.load,
    "save_model": lambda path: fn.save_model(path, DENSE, W),
    "load_model": fn.load_model,
    "save_safetensors": lambda path: fn.save_safetensors(path, W),
    "load_safetensors": fn.load_safetensors,
    "params_from_keras": lambda path: fn.params_from_keras(DENSE, path),
    "keras_names": lambda path: fn.keras_names(DENSE, path),
    "image_folder": lambda path: fn.datasets.image_folder(path, 2),
    "mnist": fn.datasets.mnist,
    "fashion_mnist": fn.datasets.fashion_mnist,
    "cifar10": fn.datasets.cifar10,
    "idx": fn.datasets.idx,
    "text8": fn.datasets.text8,
    "characters": fn.datasets.characters,
}
ROWS: list[tuple[Any, ...]] = [
    # Paths
    *(
        row
        for value in (3, True, 1.5, b"x.npz", ["x.npz"], {"path": "x"})
        for row in same_for(PATHS, value, TypeError, rf"path: expected a str or a Path, got {re.escape(repr(value))}")
    ),
    *(
        row
        for value in ("", "a\0b")
        for row in same_for(
            PATHS, value, ValueError, f"path: expected the name of a file or folder, got {re.escape(repr(value))}"
        )
    ),
    *same_for(PATHS, "\ud800", ValueError, r"path: no file can be called '\\\\ud800'; use other characters"),
    ("load a folder", lambda: fn.load("folder"), IsADirectoryError, r".*this is a folder, expected a file: 'folder'"),
    ("load_model a folder", lambda: fn.load_model("."), IsADirectoryError, r".*a folder, expected a file: '\.'"),
    ("save to a folder", lambda: fn.save(Path(), W), IsADirectoryError, r".*this is a folder, expected a file: '\.'"),
    ("load nothing", lambda: fn.load("no"), FileNotFoundError, r".*there is no such file; check the path: 'no'"),
    ("load_model nothing", lambda: fn.load_model("a/b"), FileNotFoundError, r".*there is no such file.*: 'a/b'"),
    ("no folder", lambda: fn.save("a/b", W), FileNotFoundError, r".*there is no folder '.*/a'; create it first: 'a/b'"),
    ("save_model, no folder", lambda: fn.save_model("a/b", DENSE, W), FileNotFoundError, r".*no folder '.*/a'.*'a/b'"),
    ("file as folder", lambda: fn.save("text/b", W), NotADirectoryError, r".*'text/b'"),
    ("load empty", lambda: fn.load("empty"), ValueError, "empty is not a checkpoint: it is empty"),
    ("load text", lambda: fn.load("text"), ValueError, "text is not a checkpoint: it is not a zip file"),
    ("load_model empty", lambda: fn.load_model("empty"), ValueError, "empty is not a checkpoint: it is empty"),
    ("load_model text", lambda: fn.load_model("text"), ValueError, "text is not a checkpoint: it is not a zip file"),
    (
        "load_model of arrays",
        lambda: fn.load_model("arrays.npz"),
        ValueError,
        r"arrays\.npz holds arrays and no model, as save writes them; build the model, and call load",
    ),
    # Trees that are saved
    *(
        (f"save {name}", lambda tree=tree: fn.save("x.npz", tree), error, message)
        for name, tree, error, message in [
            ("None", None, TypeError, "the tree: expected a NumPy array, got NoneType; leave the entry out; .*"),
            ("a number", 3, TypeError, r"the tree: expected a NumPy array, got int; use np\.asarray\(\.\.\.\)"),
            ("text", "x", TypeError, r"the tree: expected a NumPy array, got str; .*"),
            ("a list", [np.ones(1)], TypeError, "the root of the tree: a tree is made of dicts, got a list"),
            ("an array of text", np.array("x"), TypeError, "the tree: expected booleans or numbers, got .* dtype <U1"),
            ("objects", np.array([None]), TypeError, "the tree: expected booleans or numbers, got .* dtype object"),
            ("a mask", {"a": np.ma.ones(2)}, TypeError, r"a: expected a plain array, got MaskedArray; use x\.filled.*"),
            ("a matrix", {"a": np.ones((1, 1)).view(np.matrix)}, TypeError, "a: .* plain array, got matrix; .*"),
            ("a subclass", np.ones(2).view(Own), TypeError, "the tree: expected a plain array, got Own; use .*"),
            ("a record", np.recarray((2,), [("a", int)]), TypeError, "the tree: .* plain array, got recarray.*"),
            ("a leaf of None", {"a": None}, TypeError, f"a: expected a NumPy array, got NoneType; {INSTEAD}"),
            ("a leaf of int", {"a": {"b": 1}}, TypeError, "a/b: expected a NumPy array, got int; .*"),
            ("a leaf of list", {"a": [1.0]}, TypeError, "a: a tree is made of dicts, got a list"),
            ("a leaf of tuple", {"a": (1.0,)}, TypeError, "a: a tree is made of dicts, got a tuple"),
            ("a date", {"a": np.datetime64("2020")}, TypeError, "a: expected booleans or numbers, got .*datetime64.*"),
            ("a layer", {"a": DENSE}, TypeError, "a: expected a NumPy array, got Layer; .*"),
            ("a key of int", {1: np.ones(1)}, TypeError, "the root of the tree: keys are strings, got 1"),
            ("a key of None", {"a": {None: np.ones(1)}}, TypeError, "a: keys are strings, got None"),
            ("no key", {"": np.ones(1)}, ValueError, "the root of the tree: a key may not be empty or contain '/'.*"),
            ("a slash", {"a/b": np.ones(1)}, ValueError, "the root of the tree: .* contain '/', got 'a/b'"),
            ("a zero", {"a\0b": np.ones(1)}, ValueError, r"'a\\x00b\.npy' cannot be a name in a zip file; rename .*"),
            ("half a letter", {"\ud800": np.ones(1)}, ValueError, r"'\\ud800\.npy' cannot be a name in a zip file; .*"),
            ("a long key", {"a" * 66_000: np.ones(1)}, ValueError, "'a{100}' cannot be a name in a zip file; .*"),
            ("itself", CYCLE, ValueError, r"x\.npz: the tree is nested too deeply; does a dict contain itself\?"),
            ("deep", DEEP, ValueError, "'a/a/.*' is nested more than 100 deep; make the tree flatter"),
        ]
    ),
    # What a file must fit
    *(
        (f"like {name}", lambda like=like: fn.load("arrays.npz", like=like), error, message)
        for name, like, error, message in [
            ("a number", 3, ValueError, r"arrays\.npz holds the parameters of another model: b is extra; .*"),
            ("text", "x", TypeError, "like: the tree: expected an array of booleans or numbers, got dtype <U1"),
            ("a leaf of None", {"w": None}, TypeError, "like: w: expected an array of booleans or numbers, got .*"),
            ("objects", {"w": object()}, TypeError, "like: w: expected an array of booleans or numbers, got .*object"),
            ("a list", [1], TypeError, "the root of the tree: a tree is made of dicts, got a list"),
            ("a key of int", {1: 2}, TypeError, "the root of the tree: keys are strings, got 1"),
            ("itself", CYCLE, ValueError, r"arrays\.npz: the tree is nested too deeply; does a dict contain itself\?"),
            ("empty", {}, ValueError, ".*: b is extra; the tree as an empty dict is missing; w is .*"),
            ("empty inside", W | {"w": {}}, ValueError, ".*: w as an empty dict is missing; w is extra"),
            ("more", W | {"c": np.ones(1)}, ValueError, ".*: c is missing"),
            ("less", {"w": W["w"]}, ValueError, ".*: b is extra"),
            ("shape", W | {"b": np.zeros(3, np.float32)}, ValueError, r".*: b has shape \(2,\), expected \(3,\)"),
            ("dtype", W | {"b": np.zeros(2)}, ValueError, ".*: b has dtype float32, expected float64"),
        ]
    ),
    # Models and their parameters
    *(
        row
        for name, call in {"save_model": lambda m: fn.save_model("x.npz", m, W), "to_json": fn.to_json}.items()
        for row in [
            (f"{name} None", lambda call=call: call(None), TypeError, f"{LAYER}None"),
            (f"{name} text", lambda call=call: call("dense"), TypeError, f"{LAYER}'dense'"),
            (f"{name} list", lambda call=call: call([DENSE]), TypeError, rf"{LAYER}\[dense\(2\)\]; pass several.*"),
            (f"{name} pair", lambda call=call: call((1, 2)), TypeError, rf"{LAYER}\(1, 2\)"),
            (f"{name} maker", lambda call=call: call(fn.dense), TypeError, rf"{LAYER}.*; call it: dense\(\.\.\.\)"),
        ]
    ),
    *(
        (f"save_model, {name}", lambda params=params: fn.save_model("x.npz", DENSE, params), error, message)
        for name, params, error, message in [
            ("None", None, (TypeError, ValueError), "expected a dict of parameters, got NoneType.*"),
            ("an array", np.ones(2), (TypeError, ValueError), "expected a dict of parameters, got ndarray.*"),
            ("a list", [1], TypeError, "the root of the tree: a tree is made of dicts, got a list"),
            ("nothing", {}, ValueError, "dense: expected a parameter 'w', got .*"),
            ("one less", {"w": W["w"]}, ValueError, "dense: expected a parameter 'b', got .*"),
            ("one more", W | {"c": W["b"]}, ValueError, r"dense: expected the .*, got also \['c'\].*"),
            ("a number", W | {"w": 3}, ValueError, "dense: expected parameter 'w' as an array, got .*"),
            ("a dict", W | {"w": W}, ValueError, "dense: expected parameter 'w' as an array, got .*"),
            ("one axis", W | {"b": W["w"]}, ValueError, r".*'b' of shape \(2,\), got \(3, 2\).*"),
            ("mixed", W | {"b": np.zeros(2)}, ValueError, "dense: the parameters have different dtypes.*"),
            ("itself", CYCLE, ValueError, r"x\.npz: the tree is nested too deeply; .*"),
            ("a key of int", {1: W["w"], "b": W["b"]}, TypeError, "the root of the tree: keys are strings, got 1"),
        ]
    ),
    *(
        (f"save_model, {kind}", lambda kind=kind: fn.save_model(
            "x.npz", DENSE, {name: leaf.astype(kind) for name, leaf in W.items()}
        ), (TypeError, ValueError), r"dense: .*float32 or float64.*")
        for kind in ("i4", "f2", "c8", "U4", "?")
    ),
    # Text and one's own layers
    *(
        (f"from_json({text!r})", lambda text=text: fn.from_json(text), TypeError,
         f"from_json: expected the text that to_json returned, a str, got a {type(text).__name__}")
        for text in (None, 3, b"{}", {}, [1], Path("a"))
    ),
    ("from_json, empty", lambda: fn.from_json(""), ValueError, "not an architecture, since it is not JSON: .*"),
    ("from_json, {}", lambda: fn.from_json("{}"), ValueError, "not an architecture: expected a JSON object with .*"),
    *(
        (f"{call.__name__}, layers={layers!r:.9}", lambda call=call, text=text, layers=layers: call(text, layers),
         TypeError, r"layers: expected a dict \{name: constructor\} of your own layers, got .*")
        for layers in (None, 3, [DENSE], "x", {1: fn.dense})
        for call, text in ((fn.load_model, "model.npz"), (fn.from_json, fn.to_json(DENSE)))
    ),
    (
        "a name of ours",
        lambda: fn.load_model("model.npz", {"dense": fn.dense}),
        ValueError,
        r"layers: \['dense'\] are names of funcnn's own layers; give yours other names",
    ),
    # Data sets
    (
        "mnist, no folder",
        lambda: fn.datasets.mnist("no"),
        FileNotFoundError,
        "mnist: no lacks train-images-idx3-ubyte.gz, .*; leave out `path` to download the files",
    ),
    ("images, no folder", lambda: fn.datasets.image_folder("no", 2), FileNotFoundError, ".*there is no folder no"),
    ("images, a file", lambda: fn.datasets.image_folder("text", 2), FileNotFoundError, ".*there is no folder text"),
]  # fmt: skip

SIZES = (0, -1, None, "3", 2.0, True, np.nan, (1, 2, 3), (1,), (0, 1), [2, "a"])
IMAGE_ROWS: list[tuple[Any, ...]] = [
    ("images", lambda: fn.datasets.image_folder("folder", 2), ValueError, ".*folder has no sub-folders; .*"),
    ("not images", lambda: fn.datasets.image_folder("images", 2), ValueError, ".*1 of 1 files are not images that.*"),
    *(
        (f"size={size!r}", lambda size=size: fn.datasets.image_folder("images", size), ValueError,
         r"image_folder: size must be a whole number >= 1 or a pair \(height, width\), got .*")
        for size in SIZES
    ),
    (
        "size of all memory", lambda: fn.datasets.image_folder("images", 10**12), MemoryError,
        r"image_folder: no memory for images of shape \(1, 10{12}, 10{12}, 3\), 3e\+15 GB; use a smaller size",
    ),
    *(
        (f"train_ratio={ratio!r}", lambda ratio=ratio: fn.datasets.image_folder("images", 2, train_ratio=ratio),
         (TypeError, ValueError), "image_folder: train_ratio.*(number|above 0 and at most 1).*, got .*")
        for ratio in (0, -0.5, 2, None, "3", np.nan, np.inf, True, 1j)
    ),
    *(
        (f"grey={grey!r}", lambda grey=grey: fn.datasets.image_folder("images", 2, grey=grey), TypeError,
         f"image_folder: grey must be True or False, got {grey!r}")
        for grey in (None, "yes", 1)
    ),
    *(
        (f"rng={rng!r}", lambda rng=rng: fn.datasets.image_folder("images", 2, rng=rng),
         (TypeError, ValueError), ".*a key .*")
        for rng in (None, 1.5, "x", -1, (), True)
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_wrong_call_raises_our_error(at: SimpleNamespace, call: Callable[[], Any], error: Any, message: str) -> None:
    before = sorted(at.folder.rglob("*"))
    with pytest.raises(error) as caught:
        call()
    assert re.fullmatch(message, str(caught.value), re.DOTALL), str(caught.value)
    assert sorted(at.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("call", "error", "message"), [row[1:] for row in IMAGE_ROWS], ids=[row[0] for row in IMAGE_ROWS]
)
def test_a_wrong_folder_of_images_raises_our_error(
    at: SimpleNamespace, call: Callable[[], Any], error: Any, message: str
) -> None:
    pytest.importorskip("PIL")
    test_a_wrong_call_raises_our_error(at, call, error, message)


def test_there_are_many_rows() -> None:
    assert len(ROWS) + len(IMAGE_ROWS) > 150
