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


STATE = WHOLE["callbacks"]["0"]  # of early_stopping


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in STATE.items() if key != name}


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({}, "the state of the callback callbacks\\.early_stopping.* is missing"),
        ({"0": np.ones(2)}, "the state of the callback callbacks\\.early_stopping.* must be a dict, got a ndarray"),
        ({"0": {}}, "early_stopping.*, since is missing"),
        ({"0": without("since")}, "early_stopping.*, since is missing"),
        ({"0": without("lowest")}, "early_stopping.*, lowest is missing"),
        ({"0": without("best")}, "early_stopping.*best/params/.* is missing"),
        ({"0": without("reference")}, "early_stopping.*, reference is missing"),
        ({"0": STATE | {"more": np.ones(1)}}, "early_stopping.*, more is extra"),
        ({"0": STATE | {"lowest": np.ones(2)}}, r"lowest has shape \(2,\), expected \(\)"),
        ({"0": STATE | {"since": np.ones(())}}, "since has dtype float64, expected int64"),
        ({"0": STATE | {"best": np.ones(2)}}, "best/params/.* is missing"),
        ({"0": STATE | {"best": STATE["best"] | {"params": {"w": np.ones(1)}}}}, "best/params/.* is missing"),
    ],
    ids=range(12),
)
def test_another_state_of_a_callback_raises(tmp_path: Path, states: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"x\.npz is damaged.*{message}"):
        resume(tmp_path / "x.npz", callbacks=states)


@pytest.mark.parametrize("part", ["params", "opt_state"])
def test_parameters_and_optimizer_states_of_another_shape_raise(tmp_path: Path, part: str) -> None:
    changed = fn.tree.map(lambda leaf: np.zeros((3, *leaf.shape), leaf.dtype), WHOLE[part])
    with pytest.raises(ValueError, match=rf"x\.npz is damaged.*in {part}, .* has shape \(3,.*, expected"):
        resume(tmp_path / "x.npz", **{part: changed})
    result = {"params": WHOLE["params"], "opt_state": WHOLE["opt_state"]}
    with pytest.raises(ValueError, match=rf"x\.npz is damaged.*in result/{part}, .* has shape \(3,.*, expected"):
        resume(tmp_path / "x.npz", result=result | {part: changed})


def test_the_state_of_checkpoints_is_checked_and_none_may_be_a_state(tmp_path: Path) -> None:
    def go_on(epochs: int, resume: Path | None = None) -> None:
        x = np.ones((4, 2), np.float32)
        none = (lambda: 0, lambda state, record, result: (None, None))
        fn.fit(
            fn.dense(1), fn.dense(1).init((2,), 0), fn.sgd(0.1), (x, x[:, :1]), fn.mean_squared_error, epochs,
            callbacks=[none, fn.callbacks.checkpoints(tmp_path, every=3, metric="train_loss")], verbose=False,
            checkpoint=None if resume else tmp_path / "run.npz", resume=resume,
        )  # fmt: skip

    go_on(2)
    go_on(3, resume=tmp_path / "run.npz")
    saved = fn.load(tmp_path / "run.npz")
    for name, message in {"epoch": "epoch is missing", "unsaved/step": "unsaved/step is missing"}.items():
        state = fn.tree.flatten(saved["callbacks"]["1"])
        del state[name]
        fn.save(tmp_path / "x.npz", saved | {"callbacks": {"1": fn.tree.unflatten(state)}})
        with pytest.raises(ValueError, match=rf"x\.npz is damaged.*checkpoints.*{message}"):
            go_on(3, resume=tmp_path / "x.npz")
