"""Callbacks: what they decide, what they write, and that a killed run can be resumed with the same result."""

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.training import callbacks
from funcnn.training.callbacks import checkpoints, csv_log, early_stopping
from funcnn.training.fit import Decision, Fit

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
MODEL = fn.serial(fn.dense(8), fn.batch_norm(), fn.relu, fn.dropout(0.2), fn.dense(3))
PARAMS = MODEL.init((4,), 0)
NAN = float("nan")


def fit(*callbacks: Any, epochs: int = 5, params: Any = PARAMS, metrics: Any = None, **options: Any) -> Fit:
    """A small run with four steps per epoch and no output."""
    optimizer = fn.adam(fn.cosine_decay(1e-2, steps=20))
    return fn.fit(
        MODEL, params, optimizer, (X, LABELS), fn.softmax_cross_entropy, epochs,
        batch_size=8, verbose=False, callbacks=callbacks, metrics=metrics, **options,
    )  # fmt: skip


def scripted(*values: float) -> dict[str, Any]:
    """A metric that returns these values, evaluation by evaluation."""
    following = iter(values)
    return {"score": lambda y, target: next(following)}


def same_bits(tree: Any, other: Any) -> bool:
    """Whether two trees hold the same paths, dtypes and bytes."""
    a, b = ({path: (leaf.dtype, leaf.tobytes()) for path, leaf in fn.tree.flatten(t).items()} for t in (tree, other))
    return a == b


def run(callback: Any, values: list[float]) -> tuple[int, Fit]:
    """Call a callback with these values, epoch by epoch: the last epoch, and the Fit, whose parameter is its epoch."""
    history: list[dict[str, float]] = []
    decision = Decision(False, Fit({}, {}, history))
    for epoch, value in enumerate(values):
        history.append({"epoch": epoch, "score": value})
        decision = callback(history[-1], Fit({"w": np.array(epoch)}, {"step": np.array(epoch)}, history))
        if decision.stop:
            break
    return len(history) - 1, decision.result


# --- fit calls --------------------------------------------------------------------------------------------------------


def test_a_callback_receives_each_record_and_what_fit_would_return() -> None:
    seen: list[Any] = []
    result = fit(lambda record, result: seen.append((record, result)), epochs=4, evaluate_every=2)
    assert [record["epoch"] for record, _ in seen] == [0, 2, 4]
    assert [record for record, _ in seen] == result.history
    for record, up_to_then in seen:
        assert fn.current_step(up_to_then.opt_state) == record["step"] == 4 * record["epoch"]
        scores = fn.evaluate(MODEL, up_to_then.params, (X, LABELS), fn.softmax_cross_entropy)
        assert scores["loss"] == record["train_loss"]
    assert same_bits(seen[-1][1].params, result.params)


def test_callbacks_that_return_none_or_false_change_nothing() -> None:
    assert same_bits(fit(lambda record, result: None, lambda record, result: False).params, fit().params)


@pytest.mark.parametrize("last", [0, 1, 3])
@pytest.mark.parametrize("true", [True, np.True_])
def test_true_stops_training(last: int, true: Any) -> None:
    seen: list[float] = []
    stop = lambda record, result: true if record["epoch"] == last else None  # noqa: E731
    result = fit(stop, lambda record, result: seen.append(record["epoch"]))
    assert [record["epoch"] for record in result.history] == list(range(last + 1)) == seen
    assert same_bits(result.params, fit(epochs=last).params)


def test_a_callback_that_stops_training_keeps_the_result_that_another_chose() -> None:
    best = early_stopping("train_score", patience=9)
    result = fit(best, lambda record, result: record["epoch"] == 3, metrics=scripted(5, 1, 2, 3))
    assert len(result.history) == 4
    assert same_bits(result.params, fit(epochs=1).params)


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (lambda record, result: None, "expected callbacks as a tuple of functions"),
        (("log.csv",), "expected callbacks as a tuple of functions"),
        ((lambda record, result: "yes",), "must return True, a Decision or None, but .* returned 'yes'"),
        ((lambda record, result: 1,), "must return True, a Decision or None, but .* returned 1"),
    ],
)
def test_invalid_callbacks_raise(callbacks: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fn.fit(MODEL, PARAMS, fn.sgd(0.1), (X, LABELS), fn.softmax_cross_entropy, 1, callbacks=callbacks, verbose=False)


def test_the_rate_of_a_schedule_is_in_the_record() -> None:
    schedule = fn.cosine_decay(1e-2, steps=20)
    rates = [record.get("rate") for record in fit().history]
    # The state contains the rate that was used; the last step of epoch e is number 4 e - 1.
    assert rates == [None, *(pytest.approx(schedule(4 * epoch - 1)) for epoch in range(1, 6))]


def test_the_rate_inside_a_wrapper_is_in_the_record() -> None:
    optimizer = fn.skip_non_finite(fn.accumulate(fn.sgd(fn.step_decay(0.5, every=1, factor=0.5)), 4))
    result = fn.fit(MODEL, PARAMS, optimizer, (X, LABELS), fn.softmax_cross_entropy, 2, batch_size=8, verbose=False)
    # One step of sgd in each epoch of four batches.
    assert [record.get("rate") for record in result.history] == [None, 0.5, 0.25]


def test_an_optimizer_without_a_known_rate_has_none_in_the_record() -> None:
    inner = fn.sgd(0.1)
    own = fn.Optimizer(lambda params: {"mine": inner.init(params)}, lambda g, s, p: _nested(inner, g, s, p))
    result = fn.fit(MODEL, PARAMS, own, (X, LABELS), fn.softmax_cross_entropy, 1, verbose=False)
    assert "rate" not in result.history[-1]


def _nested(inner: Any, grads: Any, state: Any, params: Any) -> Any:
    updates, state = inner.update(grads, state["mine"], params)
    return updates, {"mine": state}


@pytest.mark.parametrize(
    ("callback", "text"),
    [
        (early_stopping("validation_loss", 2), "callbacks.early_stopping('validation_loss', 2)"),
        (checkpoints("run", metric="train_loss"), "callbacks.checkpoints('run', metric='train_loss')"),
        (csv_log("log.csv"), "callbacks.csv_log('log.csv')"),
    ],
)
def test_a_callback_prints_as_its_call_and_survives_pickle(callback: Any, text: str) -> None:
    assert repr(callback) == repr(pickle.loads(pickle.dumps(callback))) == text


# --- early_stopping --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "last", "best"),
    [
        ([3, 2, 1, 0], {}, 3, 3),  # ever better
        ([3, 1, 2, 2, 0], {}, 3, 1),  # patience 2
        ([3, 1, 1, 1], {}, 3, 1),  # as good is not better
        ([3, 1, 2, 2, 0], {"patience": 3}, 4, 4),
        ([3, 1, 2], {}, 2, 1),  # the run ends before patience does
        ([1, 3, 2, 2], {"mode": "max"}, 3, 1),
        ([3, 2.9, 2.8, 2.7], {"min_delta": 0.25}, 2, 2),  # the best, though patience went on
        ([3, 2.9, 2.7, 2.7], {"min_delta": 0.25, "patience": 3}, 3, 2),
        ([NAN, 2, NAN, NAN], {}, 3, 1),
        ([2, NAN, 1, NAN, 1], {}, 4, 2),
        ([-2, NAN, -3, -3], {"mode": "max", "patience": 3}, 3, 0),
        ([NAN, NAN, NAN, 1], {}, 2, 2),  # nothing is the best: the latest is returned
        ([float("inf"), 1, 2, 2], {}, 3, 1),
    ],
)
def test_early_stopping_by_hand(values: list[float], options: Any, last: int, best: int) -> None:
    end, result = run(early_stopping("score", **({"patience": 2} | options)), values)
    assert end == last
    assert (int(result.params["w"]), int(result.opt_state["step"])) == (best, best)
    assert len(result.history) == last + 1


@given(st.lists(st.integers(0, 5).map(float) | st.just(NAN), min_size=1, max_size=12), st.integers(1, 4))
def test_the_best_result_so_far_is_returned(values: list[float], patience: int) -> None:
    end, result = run(early_stopping("score", patience), values)
    seen = [value for value in values[: end + 1] if value == value]
    if seen:
        assert values[int(result.params["w"])] == min(seen)
        assert int(result.params["w"]) == values.index(min(seen))
    if end < len(values) - 1:
        assert end - (int(result.params["w"]) if seen else 0) == patience


@given(*[st.lists(st.integers(0, 3).map(float) | st.just(NAN), min_size=1, max_size=6)] * 2)
def test_a_callback_carries_nothing_from_one_run_to_the_next(first: list[float], second: list[float]) -> None:
    used = early_stopping("score", 2)
    run(used, first)
    end, result = run(used, second)
    expected_end, expected = run(early_stopping("score", 2), second)
    assert (end, result.params, result.history) == (expected_end, expected.params, result.history)


def test_patience_counts_epochs_not_evaluations() -> None:
    values = scripted(1, 2, 2, 2)
    assert len(fit(early_stopping("train_score", 4), epochs=9, evaluate_every=2, metrics=values).history) == 3


def test_fit_returns_parameters_and_state_of_the_best_epoch_and_resumes_from_there() -> None:
    result = fit(early_stopping("train_score", 2), metrics=scripted(3, 2, 1, 2, 2, 0))
    assert [record["epoch"] for record in result.history] == [0, 1, 2, 3, 4]
    expected = fit(epochs=2)
    assert same_bits(result.params, expected.params)
    assert same_bits(result.opt_state, expected.opt_state)
    resumed = fit(params=result.params, opt_state=result.opt_state, start=fn.current_step(result.opt_state))
    assert same_bits(resumed.params, fit().params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "patience must be a whole number >= 1, got 0"),
        ({"patience": 1.5}, r"patience must be a whole number >= 1, got 1\.5"),
        ({"mode": "auto"}, "mode must be 'min' or 'max', got 'auto'"),
        ({"min_delta": -1}, "min_delta must be a number >= 0, got -1"),
        ({"min_delta": NAN}, "min_delta must be a number >= 0, got nan"),
    ],
)
def test_early_stopping_raises_for_invalid_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        early_stopping("score", **({"patience": 1} | arguments))


@pytest.mark.parametrize(
    "make", [lambda path: early_stopping("loss", 1), lambda path: checkpoints(path, metric="loss")]
)
def test_a_metric_that_is_not_recorded_raises_before_training(make: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the record has no 'loss', but epoch, step, seconds, train_loss"):
        fit(make(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_every_few_epochs_there_is_a_checkpoint_to_resume_from(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    fit(checkpoints(str(folder), every=2), epochs=3)
    assert [file.name for file in folder.iterdir()] == ["last.npz"]
    saved = fn.load(folder / "last.npz")
    assert saved["step"] == 12  # the last epoch too
    resumed = fit(params=saved["params"], opt_state=saved["opt_state"], start=saved["step"])
    assert same_bits(resumed.params, fit().params)


@pytest.mark.parametrize(("mode", "best"), [("min", 2), ("max", 4)])
def test_the_best_is_kept(tmp_path: Path, mode: Any, best: int) -> None:
    values = [NAN, 2, 1, NAN, 3, 1]
    fit(checkpoints(tmp_path, every=9, metric="train_score", mode=mode), metrics=scripted(*values))
    saved = fn.load(tmp_path / "best.npz")
    assert saved["step"] == 4 * best
    assert saved["best"]["train_score"] == values[best]
    assert same_bits(saved["params"], fit(epochs=best).params)
    assert fn.load(tmp_path / "last.npz")["step"] == 20


def test_nan_is_never_kept_as_the_best(tmp_path: Path) -> None:
    fit(checkpoints(tmp_path, metric="train_score"), epochs=1, metrics=scripted(NAN, NAN))
    assert [file.name for file in tmp_path.iterdir()] == ["last.npz"]


def test_a_resumed_run_keeps_a_better_result_and_a_new_run_does_not(tmp_path: Path) -> None:
    def best_after(*values: float, **options: Any) -> tuple[float, int]:
        fit(checkpoints(tmp_path, metric="train_score"), metrics=scripted(*values), **options)
        saved = fn.load(tmp_path / "best.npz")
        return float(saved["best"]["train_score"]), int(saved["step"])

    assert best_after(5, 3, 4, epochs=2) == (3, 4)
    saved = fn.load(tmp_path / "last.npz")
    state = {"params": saved["params"], "opt_state": saved["opt_state"], "start": saved["step"]}
    assert best_after(4, epochs=3, **state) == (3, 4)
    assert best_after(4, 2, epochs=4, **state) == (2, 16)
    assert best_after(9, 8, epochs=1) == (8, 4)


def test_the_best_by_another_metric_is_not_compared(tmp_path: Path) -> None:
    result = fit(checkpoints(tmp_path, metric="train_loss"), epochs=1)
    state = {"params": result.params, "opt_state": result.opt_state, "start": 4}
    with pytest.raises(ValueError, match=r"best\.npz is not the best by 'train_score', but by \['train_loss'\]"):
        fit(checkpoints(tmp_path, metric="train_score"), epochs=2, metrics=scripted(1), **state)


def test_the_last_epochs_have_files_of_their_own(tmp_path: Path) -> None:
    folder, seen = tmp_path / "run", list[list[str]]()

    def look(record: Any, result: Any) -> None:
        seen.append([file.stem[6:] for file in sorted(folder.glob("epoch_*.npz"))])

    result = fit(checkpoints(folder, every=2, keep=2), look, epochs=9)
    of_epoch = [["0000"], ["0000", "0002"], ["0002", "0004"], ["0004", "0006"], ["0006", "0008"]]
    assert seen == [of_epoch[epoch // 2] for epoch in range(10)]
    assert sorted(file.name for file in folder.iterdir()) == ["epoch_0006.npz", "epoch_0008.npz", "last.npz"]
    assert fn.load(folder / "last.npz")["step"] == 36  # also of an epoch that ``every`` does not choose
    saved = fn.load(folder / "epoch_0006.npz")
    assert saved["step"] == 24
    resumed = fit(params=saved["params"], opt_state=saved["opt_state"], start=saved["step"], epochs=9)
    assert same_bits(resumed.params, result.params)


def test_an_epoch_is_removed_when_the_next_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: Path, tree: Any) -> None:
        if path.name == "epoch_0003.npz":
            raise OSError("no space")
        fn.save(path, tree)

    monkeypatch.setattr(callbacks, "save", failing)
    with pytest.raises(OSError, match="no space"):
        fit(checkpoints(tmp_path, keep=2))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["epoch_0001.npz", "epoch_0002.npz", "last.npz"]


def test_a_loop_of_ones_own_keeps_the_last_epochs_of_both_parts(tmp_path: Path) -> None:
    first = fit(checkpoints(tmp_path, keep=3), epochs=3)
    fit(checkpoints(tmp_path, keep=3), params=first.params, opt_state=first.opt_state, start=12, epochs=4)
    assert [fn.load(file)["step"] for file in sorted(tmp_path.glob("epoch*"))] == [8, 12, 16]


def test_a_run_from_the_start_removes_the_epochs_of_an_earlier_run_and_nothing_else(tmp_path: Path) -> None:
    others = ["epoch_1.npz", "epoch_0001.npz.bak", "my_epoch_0001.npz", "epoch_0001.txt"]
    for name in ["epoch_0007.npz", "epoch_12345.npz", *others]:
        (tmp_path / name).touch()
    fit(checkpoints(tmp_path, keep=1), epochs=1)
    assert {file.name for file in tmp_path.iterdir()} == {"epoch_0001.npz", "last.npz", *others}
    fit(checkpoints(tmp_path), epochs=2)  # it has no such files, so those there are not its own
    assert (tmp_path / "epoch_0001.npz").exists()


def test_checkpoints_raises_for_invalid_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep must be a whole number >= 0, got -1"):
        checkpoints(tmp_path, keep=-1)
    with pytest.raises(ValueError, match="every must be a whole number >= 1, got 0"):
        checkpoints(tmp_path, every=0)
    with pytest.raises(ValueError, match="mode must be 'min' or 'max', got 'best'"):
        checkpoints(tmp_path, mode="best")  # type: ignore[arg-type]


# --- csv_log ---------------------------------------------------------------------------------------------------------


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a log, without the only column that differs between runs."""
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_the_log_has_the_records_with_all_their_digits(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    result = fit(csv_log(str(log)), metrics=scripted(NAN, 1e-300, float("inf"), -0.1, 0.1 + 0.2, 3))
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", "seconds", "train_loss", "train_score", "rate"]
    assert rows[0].pop("rate") == ""
    read = [{name: float(value) for name, value in row.items()} for row in rows]
    assert read[1:] == result.history[1:]
    assert np.isnan(read[0]["train_score"])
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]


def test_a_row_is_written_as_soon_as_its_epoch_ends(tmp_path: Path) -> None:
    log, seen = tmp_path / "log.csv", list[int]()
    fit(csv_log(log), lambda record, result: seen.append(len(table(log))), epochs=3)
    assert seen == [1, 2, 3, 4]


def test_a_run_from_the_start_overwrites_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    fit(csv_log(log), metrics=scripted(1, 2, 3), epochs=2)
    fit(csv_log(log), epochs=1)
    assert [list(row) for row in table(log)] == [["epoch", "step", "train_loss", "rate"]] * 2


def test_names_with_commas_and_columns_that_are_added_later(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    first = fit(csv_log(log), epochs=1, metrics={"a, b": lambda y, t: 1.0})
    fit(
        csv_log(log), epochs=2, metrics={"c": lambda y, t: 2.0},
        params=first.params, opt_state=first.opt_state, start=4,
    )  # fmt: skip
    assert [(row["train_a, b"], row["train_c"]) for row in table(log)] == [("1.0", ""), ("1.0", ""), ("", "2.0")]


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"a,b\n", b"epoch\nsix\n", b"epoch\n1,2\n", b"\xff\xfe\0PNG", b'epoch\n"1']
)
def test_a_file_that_is_not_a_log_is_not_changed(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.csv is not a log that csv_log wrote .* give the log another name"):
        fit(csv_log(file))
    assert file.read_bytes() == content


def test_what_cannot_be_written_raises_before_anything_is_computed(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("some text, no log")
    folder.mkdir()
    evaluated = list[str]()

    def metric(y: Any, target: Any) -> float:
        evaluated.append("an epoch")
        return 0.5

    for callback, error, message in (
        (csv_log(tmp_path / "missing" / "log.csv"), FileNotFoundError, r"there is no folder .*missing.*log\.csv"),
        (csv_log(folder), IsADirectoryError, "this is a folder, expected a file: .*folder"),
        (csv_log(file), ValueError, "file is not a log that csv_log wrote"),
        (checkpoints(file), NotADirectoryError, "there is a file of this name, expected a folder: .*file"),
        (checkpoints(file / "inner"), NotADirectoryError, "there is a file of this name, expected a folder: .*file"),
    ):
        with pytest.raises(error, match=message) as caught:
            fit(callback, metrics={"metric": metric})
        assert any("in the callback callbacks." in note for note in caught.value.__notes__)
    assert evaluated == []
    assert file.read_text() == "some text, no log"


def test_a_callback_begins_once_also_when_a_run_is_resumed(tmp_path: Path) -> None:
    begun = list[str]()
    pair = fn.Callback(lambda: 0, lambda state, record, result: (state + 1, None), begin=lambda: begun.append("pair"))

    def function(record: Any, result: Any) -> None:
        assert begun[-2:] == ["pair", "function"]

    function.begin = lambda: begun.append("function")  # type: ignore[attr-defined]
    fit(pair, function, epochs=1, checkpoint=tmp_path / "run.npz")
    fit(pair, function, epochs=2, resume=tmp_path / "run.npz")
    assert begun == ["pair", "function"] * 2


def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    (tmp_path / "log.csv").touch()
    fit(csv_log(tmp_path / "log.csv"), epochs=0)
    assert len(table(tmp_path / "log.csv")) == 1


# --- killed and resumed ----------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("logged_first", [True, False])
def test_a_killed_run_is_resumed_with_the_same_result(
    tmp_path: Path, dies_at: int, every: int, logged_first: bool
) -> None:
    def both(folder: Path) -> list[Any]:
        callbacks = [csv_log(folder / "log.csv"), checkpoints(folder, every, metric="train_loss")]
        return callbacks if logged_first else callbacks[::-1]

    def kill(record: Any, result: Any) -> None:
        if record["epoch"] == dies_at:
            raise Killed

    straight, folder = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    folder.mkdir()
    expected = fit(*both(straight))
    first, second = both(folder)
    with pytest.raises(Killed):
        fit(first, kill, second)  # so that one of the two has one epoch more than the other
    with (folder / "log.csv").open("a") as file:
        file.write(f"{dies_at + 1},9")  # half a line of an unfinished epoch
    saved = fn.load(folder / "last.npz")
    result = fit(*both(folder), params=saved["params"], opt_state=saved["opt_state"], start=saved["step"])

    assert same_bits(result.params, expected.params)
    assert same_bits(result.opt_state, expected.opt_state)
    for name in ("last.npz", "best.npz"):
        assert same_bits(fn.load(folder / name), fn.load(straight / name))
    rows = table(straight / "log.csv")
    if not logged_first:
        del rows[dies_at]  # the checkpoint had this epoch, and the log did not yet
    assert table(folder / "log.csv") == rows


def test_what_early_stopping_chose_stays_beside_a_callback_that_reduces_the_rate() -> None:
    optimizer = fn.chain(fn.adam(0.1), fn.reduce_on_plateau(factor=0.5, patience=1))
    chosen = {}
    for name, others in (("alone", []), ("beside", [callbacks.reduce_on_plateau("train_score")])):
        chosen[name] = fn.fit(
            MODEL, PARAMS, optimizer, (X, LABELS), fn.softmax_cross_entropy, 9, batch_size=8, verbose=False,
            metrics=scripted(1.0, 0.5, 2.0, 3.0, 4.0), callbacks=[early_stopping("train_score", patience=2), *others],
        )  # fmt: skip
    assert [len(result.history) for result in chosen.values()] == [4, 4]
    assert same_bits(chosen["beside"].params, chosen["alone"].params)  # those of the second evaluation
