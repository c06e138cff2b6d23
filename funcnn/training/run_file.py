"""The file of a run holds everything that decides its future, so that ``fit`` goes on from it with the same bits.

It is a checkpoint with one more member, a text in JSON: the key, the step, the history, and the fingerprint, which
identifies the run. A run is resumed only if its fingerprint is that of the arguments of ``fit``.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Key, Tree
from funcnn.interchange.checkpoint import differences, load, save
from funcnn.optim import Optimizer
from funcnn.recorded import spelled
from funcnn.training.batching import take
from funcnn.training.evaluate import Record, called
from funcnn.training.run import Callback, Fit, Run, Saved

__all__ = ["checksum", "fingerprint_of", "load_run", "save_run", "text_of"]

VERSION = 1
"""The version of the format of the JSON text."""

TEXT = {"fingerprint": (dict,), "step": (int,), "seconds": (int, float), "stopped": (bool,), "history": (list,)}
"""What must be in the text, and its types."""

FINGERPRINT_EXAMPLES = 1000
"""How many examples of the data their checksum is of."""


def fingerprint_of(
    key: Key, params: Tree, data: Mapping[str, Any], callbacks: Sequence[Any], **arguments: Any
) -> dict[str, str]:
    """What identifies a run, as texts by name: its model, data and all arguments that decide its numbers.

    Args:
        key: the key of everything random.
        params: the parameters that the run starts from.
        data: data sets by name; None where there is none.
        callbacks: those of ``fit``. Those without a state do not identify the run.
        **arguments: the other arguments that decide what the run computes.
    """
    pairs = [callback for callback in callbacks if isinstance(callback, Callback)]
    return {
        "key": str(key),
        **{name: text_of(value) for name, value in arguments.items()},
        "initial parameters": _parameters(params),
        **{name: "none" if part is None else _examples(part) for name, part in data.items()},
        "callbacks with a state": ", ".join(map(_callback, pairs)) or "none",
    }


def save_run(
    path: Path, fingerprint: Mapping[str, str], run: Run, history: Sequence[Record], seconds: float, steps: int,
    result: Fit | None = None,
) -> None:  # fmt: skip
    """Write a run to a file, all of it or nothing.

    Args:
        path: the file.
        fingerprint: what identifies the run.
        run: its state.
        history: the records that its callbacks have been given.
        seconds: how long it has run.
        steps: the number of steps in an epoch.
        result: what ``fit`` returns, if the run has ended.
    """
    epoch, step_in_epoch = divmod(run.step, steps)
    about = {
        "version": VERSION, "fingerprint": dict(fingerprint), "step": run.step, "epoch": epoch,
        "step_in_epoch": step_in_epoch, "seconds": seconds, "stopped": run.stopped, "history": list(history),
        "by": None if result is None else result.by,
    }  # fmt: skip
    states = {str(number): state for number, state in enumerate(run.states) if state is not None}
    about["states"] = [*states]
    parts = {"params": run.params, "opt_state": run.opt_state, "callbacks": states}
    if result is not None and result.params is not run.params:
        parts["result"] = {"params": result.params, "opt_state": result.opt_state}

    def write() -> None:
        text = np.frombuffer(json.dumps(about, default=_as_number).encode(), np.uint8)
        save(path, {**tree.map(_as_array, parts), "run": text})

    called(f"the run that is saved in {path}", write)


def load_run(
    path: Path, fingerprint: Mapping[str, str], params: Tree, opt_state: Tree | None, callbacks: Sequence[Any]
) -> Saved:
    """Read a run, or raise an error that says in what it differs from this one.

    Args:
        path: the file.
        fingerprint: what the run must have.
        params: what its parameters must be like.
        opt_state: what its optimizer state must be like, if that is known.
        callbacks: those of ``fit``.
    """
    try:
        saved = load(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"fit: there is no run to resume, no file {path}; leave out resume to start") from None
    about = _about(path, saved)
    found = {name: _plain(str(text)) for name, text in about["fingerprint"].items()}
    differences = [
        f"{name}: {found.get(name, 'none')} there, {fingerprint.get(name, 'none')} here"
        for name in {**fingerprint, **found}
        if found.get(name) != fingerprint.get(name)
    ]
    if differences:
        raise ValueError(
            f"fit: {path} holds another run, which differs in {'; '.join(differences)}. "
            "Call fit with the arguments of that run, or leave out resume to start a new one"
        )
    history, by, kept = about["history"], about.get("by"), saved.get("result", saved)
    result = Fit(kept["params"], kept["opt_state"], history, by and (by[0], by[1]))
    for part, found_part in {"": saved, "result/": saved.get("result", {})}.items():
        for name, like in {"params": params, "opt_state": opt_state}.items():
            if name in found_part and like is not None:
                _check_part(path, part + name, found_part[name], like)
    run = Run(saved["params"], saved["opt_state"], about["step"], (), len(history), about["stopped"])
    states = tuple(_states(path, about, saved, callbacks))
    return Saved(run._replace(states=states), history, about["seconds"], result)


def _states(path: Path, about: Mapping[str, Any], saved: Tree, callbacks: Sequence[Any]) -> Iterator[Any]:
    """The states of the callbacks, each compared with what its callback expects."""
    pairs = [callback for callback in callbacks if isinstance(callback, Callback)]
    for number, callback in enumerate(pairs):
        name, state = f"the state of the callback {callback!r}", saved["callbacks"].get(str(number))
        # A state that is None is not in the file. Until there was a list of the others, only ``init`` told of that.
        expected = str(number) in about["states"] if "states" in about else callback.init() is not None
        if state is None and expected:
            raise ValueError(f"{path} is damaged: {name} is missing")
        if callback.like is not None and about["history"]:
            if not isinstance(state, dict):
                raise ValueError(f"{path} is damaged: {name} must be a dict, got {checks.what(state)}")
            result = Fit(saved["params"], saved["opt_state"], about["history"])
            _check_part(path, name, state, callback.like(state, result))
        yield state


def _check_part(path: Path, name: str, found: Tree, like: Tree) -> None:
    """Raise if a part of the file does not have the expected form."""
    if different := differences(found, tree.map(_native, like)):
        raise ValueError(f"{path} is damaged or holds no run: in {name}, {'; '.join(different)}")


def _native(leaf: Any) -> Any:
    """A leaf in this machine's byte order, in which a run continues."""
    array = _as_array(leaf)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _about(path: Path, saved: Tree) -> dict[str, Any]:
    """The JSON text in the file of a run, or an error if the file lacks a part."""
    text = saved.get("run") if isinstance(saved, dict) else None
    if not isinstance(text, np.ndarray) or text.dtype != np.uint8:
        raise ValueError(f"{path} holds no run, as fit(..., checkpoint=path) writes it; use load for other checkpoints")
    try:
        about = json.loads(text.tobytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or holds no run: its text is not JSON: {error}") from error
    version = about.get("version") if isinstance(about, dict) else None
    if version != VERSION:
        raise ValueError(f"{path} is of version {version} of the format of runs, expected {VERSION}")
    wrong = [name for name, kind in TEXT.items() if type(about.get(name)) not in kind]
    wrong += [name for name in ("params", "callbacks") if not isinstance(saved.get(name), dict)]
    result = saved.get("result", saved)
    if "opt_state" not in saved or not isinstance(result, dict) or not {"params", "opt_state"} <= result.keys():
        wrong.append("opt_state, of the run or of its result")
    if not wrong and not all(isinstance(item, dict) and {"epoch", "step"} <= item.keys() for item in about["history"]):
        wrong.append("history")
    by = about.get("by") or ["loss", "min"]
    if not (isinstance(by, list) and len(by) == 2 and isinstance(by[0], str) and by[1] in ("min", "max")):
        wrong.append("by")
    if wrong:
        raise ValueError(f"{path} is damaged or holds no run: it lacks {', '.join(wrong)}, or they have another type")
    found: dict[str, Any] = about
    return found


def _as_array(leaf: Any) -> Any:
    """A leaf as ``save`` takes it: a Python number in the state of a callback or an optimizer becomes an array."""
    return np.asarray(leaf) if isinstance(leaf, bool | int | float) else leaf


def _as_number(value: Any) -> Any:
    """A NumPy number that a callback has put into a record, as JSON takes it."""
    if not isinstance(value, np.generic):
        raise TypeError(f"fit: a record that is saved holds numbers and texts, got {checks.what(value)}")
    return value.item()


def text_of(value: Any) -> str:
    """A text that identifies something, the same in each process and version of funcnn."""
    text = spelled(value)
    if isinstance(value, Optimizer) and value.call is None:
        text = f"{text} of {spelled(value.update)}"
    if isinstance(value, partial):  # of large arrays, such as weights of classes, the text says no more than the shape
        arrays = {name: item for name, item in value.keywords.items() if isinstance(item, np.ndarray)}
        text = f"{text}, checksum {checksum(arrays):08x}" if arrays else text
    return _plain(text)


def _plain(text: str) -> str:
    """A text without the addresses of objects, and without what earlier versions printed in another way.

    They wrote the names of callbacks and initializers without their modules.
    """
    return re.sub(r" at 0x[0-9a-fA-F]+|\b(?:callbacks|initializers)\.(?=\w)", "", text)


def _callback(callback: Callback) -> str:
    """What a callback is, without the paths of its files: a folder may be moved, and be named in several ways."""
    call = callback.call
    if call is None:
        return text_of(callback)
    parameters = inspect.signature(call.constructor).parameters
    others = {name: value for name, value in call.arguments.items() if "Path" not in str(parameters[name].annotation)}
    return text_of(replace(call, arguments=others))


def _parameters(params: Tree) -> str:
    """The number of parameters and their checksum."""
    return f"{tree.count(params)} elements, checksum {checksum(params):08x}"


def _examples(data: Any) -> str:
    """The shapes and dtypes of ``(x, target)`` or ``(x, target, weights)``, and the checksum of spaced examples."""
    parts = dict(zip(("x", "target", "weights"), data, strict=False))
    flat = {path: leaf for name, part in parts.items() for path, leaf in tree.flatten({name: part}).items()}
    n = len(next(iter(flat.values())))
    index = np.linspace(0, n - 1, min(n, FINGERPRINT_EXAMPLES)).astype(int)
    shapes = (f"{path} {leaf.shape} {leaf.dtype}" for path, leaf in flat.items())
    return f"{', '.join(shapes)}, checksum {checksum(take(parts, index)):08x}"


def checksum(arrays: Tree) -> int:
    """The CRC-32 of all elements."""
    checksum = 0
    for leaf in tree.leaves(arrays):
        checksum = crc32(_content(np.asarray(leaf)), checksum)
    return checksum


def _content(leaf: Array) -> bytes:
    """The elements of an array as bytes; texts and other objects have an address, which differs in each process."""
    return repr(leaf.tolist()).encode() if leaf.dtype.hasobject else leaf.tobytes()
