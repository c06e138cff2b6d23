"""Files of runs with a part that is missing or of another type: an error that names the file, before anything runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from tests.golden.run import FOLDER, run

WHOLE = fn.load(FOLDER / "run_v1.npz")
ABOUT = json.loads(WHOLE["run"].tobytes())
SHORT = {name: value for name, value in ABOUT.items() if name != "step"}


def resume(path: Path, **changed: Any) -> None:
    """Write the kept run with other parts and go on with it; None leaves a part out."""
    fn.save(path, {name: part for name, part in {**WHOLE, **changed}.items() if part is not None})
    run(4, resume=path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "its text is not JSON"),
        (b"\xff", "its text is not JSON"),
        (b"[" * 100_000, "its text is not JSON"),
        ([1], "of version None"),
        ({"version": 2}, "of version 2 of the format of runs, expected 1"),
        ({"version": 1}, "it lacks fingerprint, step, seconds, stopped, history, or they have another type"),
        (SHORT, "it lacks step,"),
        *(
            (ABOUT | {name: value}, f"it lacks {name},")
            for name in ("fingerprint", "step", "seconds", "stopped", "history")
            for value in (None, "text")
        ),
        (ABOUT | {"step": 1.5}, "it lacks step,"),
        (ABOUT | {"step": True}, "it lacks step,"),
        (ABOUT | {"history": [1]}, "it lacks history,"),
        (ABOUT | {"history": [{}]}, "it lacks history,"),
    ],
    ids=range(21),
)
def test_another_text_raises(tmp_path: Path, text: Any, message: str) -> None:
    content = text if isinstance(text, bytes) else json.dumps(text).encode()
    with pytest.raises(ValueError, match=rf"x\.npz .*{message}"):
        resume(tmp_path / "x.npz", run=np.frombuffer(content, np.uint8))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"params": None}, "it lacks params,"),
        ({"params": np.ones(1)}, "it lacks params,"),
        ({"opt_state": None}, "it lacks opt_state,"),
        ({"callbacks": None}, "it lacks callbacks,"),
        ({"callbacks": np.ones(1)}, "it lacks callbacks,"),
        ({"result": {}}, "it lacks opt_state, of the run or of its result"),
        ({"result": np.ones(1)}, "it lacks opt_state, of the run or of its result"),
        ({"run": None}, "holds no run"),
        ({"run": np.ones(3)}, "holds no run"),
    ],
    ids=range(9),
)
def test_another_part_raises(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"x\.npz .*{message}"):
        resume(tmp_path / "x.npz", **changed)
