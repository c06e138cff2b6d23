"""A run that was stopped, interrupted or killed goes on from its file with the same bits, or the error says why not."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_fit import DATA, LABELS, LOSS, NORMED, X, same_bits, timeless

import funcnn as fn
from funcnn.training import loop

PARAMS = NORMED.init((4,), 0)
STEPS = 4  # in an epoch: 30 examples, 8 at a time
ADAM = fn.adam(fn.cosine_decay(1e-2, steps=24))


def fit(epochs: int = 6, **changes: Any) -> fn.Fit:
    """A small run with batch norm, dropout and a schedule."""
    usual = {"model": NORMED, "params": PARAMS, "optimizer": ADAM, "train": DATA, "loss": LOSS}
    options = {"batch_size": 8, "rng": 7, "verbose": False, "metrics": {"accuracy": fn.metrics.accuracy}}
    return fn.fit(**(usual | options | changes), epochs=epochs)


def assert_same(result: fn.Fit, expected: fn.Fit) -> None:
    assert same_bits(result.params, expected.params)
    assert same_bits(result.opt_state, expected.opt_state)
    assert timeless(result.history) == timeless(expected.history)
    assert result.by == expected.by


def loss_that_raises(error: BaseException, call: int) -> Callable[..., Any]:
    """Cross-entropy, by name too, that raises at one of its calls, counted from 0."""
    calls = iter(range(10**6))

    def softmax_cross_entropy(y: Any, target: Any) -> Any:
        if next(calls) == call:
            raise error
        return LOSS(y, target)

    return softmax_cross_entropy


def interrupted(path: Path, call: int, error: type[BaseException] = KeyboardInterrupt, **changes: Any) -> BaseException:
    """Let a run fail at a call of its loss; in each epoch an evaluation makes one and the steps four."""
    with pytest.raises(error) as caught:
        fit(checkpoint=path, loss=loss_that_raises(error("stop"), call), **changes)
    return caught.value


# --- the same bits ----------------------------------------------------------------------------------------------------

OPTIMIZERS = [
    fn.sgd(0.1, momentum=0.9, nesterov=True),
    fn.adamw(fn.cosine_decay(1e-2, steps=24)),
    fn.chain(fn.clip_by_global_norm(0.5), fn.sgd(0.1)),
    fn.chain(fn.add_decayed_weights(0.1), fn.add_momentum(0.9), fn.sgd(0.1)),
    fn.rmsprop(1e-2),
    fn.adagrad(1e-1),
    fn.adadelta(1.0),
    fn.adamax(1e-2),
    fn.partition({"dense_0/*": fn.sgd(0.1), "*": fn.adam(1e-2)}),
    fn.masked(fn.adam(1e-2), "*/w"),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("call", [5, 8])
def test_a_run_of_any_optimizer_goes_on_with_the_same_bits(tmp_path: Path, optimizer: Any, call: int) -> None:
    path = tmp_path / "run.npz"
    interrupted(path, call, optimizer=optimizer, epochs=3)
    assert_same(fit(optimizer=optimizer, epochs=3, resume=path), fit(optimizer=optimizer, epochs=3))


@pytest.mark.parametrize("call", range(2, 15))
@pytest.mark.parametrize("every", [1, 2])
def test_a_run_interrupted_anywhere_goes_on_with_the_same_bits(tmp_path: Path, call: int, every: int) -> None:
    path = tmp_path / "run.npz"
    options: dict[str, Any] = {"every": every, "epochs": 3, "validation_split": 0.2, "evaluate_every": 2}
    expected = fit(**(options | {"every": 1}))
    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=path, loss=loss_that_raises(KeyboardInterrupt(), call), **options)
    assert_same(fit(checkpoint=path, resume=path, **options), expected)


def test_an_interrupted_epoch_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    interrupted(path, 8)  # evaluation, four steps, evaluation, two steps
    about = json.loads(fn.load(path)["run"].tobytes())
    assert (about["step"], about["epoch"], about["step_in_epoch"]) == (6, 1, 2)
    calls: list[int] = []

    def softmax_cross_entropy(y: Any, target: Any) -> Any:
        calls.append(len(target))
        return LOSS(y, target)

    fit(resume=path, epochs=2, loss=softmax_cross_entropy)
    assert calls == [8, 6, 30]


class Killed(BaseException):
    """Stands for the end of a process: what is on the disk at this moment is all that is left."""


def versions(path: Path, **options: Any) -> tuple[list[Path], fn.Fit]:
    """Every version of the file of a run, and its result."""
    found: dict[bytes, Path] = {}

    def keep(record: Any, result: Any) -> None:
        if path.exists():
            content = path.read_bytes()
            found.setdefault(content, path.with_name(f"version_{len(found)}.npz")).write_bytes(content)

    callbacks = [keep, *options.pop("callbacks", ()), keep]
    result = fit(checkpoint=path, callbacks=callbacks, **options)
    keep(None, None)
    return [*found.values()], result


SCORES = [5.0, 4, 3, 3.5, 2.95, 2.9, 3, 3, 3, 3, 0]


def scripted(y: Any, target: Any) -> float:
    """A metric that depends on how far training is, and not on how often it was called."""
    return SCORES[scripted.epoch]  # type: ignore[attr-defined]


class Epoch:
    """A callback that tells the metric the epoch to come; a resumed run sets it before it starts."""

    def __call__(self, record: Any, result: Any) -> None:
        scripted.epoch = int(record["epoch"]) + 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("min_delta", [0.0, 0.2])
@pytest.mark.parametrize("every", [1, 3])
def test_early_stopping_keeps_its_best_and_its_patience(tmp_path: Path, every: int, min_delta: float) -> None:
    stopping = fn.callbacks.early_stopping("train_score", patience=3, min_delta=min_delta)
    options: dict[str, Any] = {"metrics": {"score": scripted}, "epochs": 10, "every": every}
    scripted.epoch = 0  # type: ignore[attr-defined]
    files, expected = versions(tmp_path / "run.npz", callbacks=[stopping, Epoch()], **options)
    # The best of 2.9 at epoch 5; patience ends three epochs later, or three after 3.0 where 2.9 is not enough better.
    assert expected.history[-1]["epoch"] == (8 if min_delta == 0 else 5)
    assert same_bits(expected.params, fit(epochs=5).params)
    assert len(files) >= 3
    for file in files:
        about = json.loads(fn.load(file)["run"].tobytes())
        scripted.epoch = about["epoch"] + 1 if about["history"] else 0  # type: ignore[attr-defined]
        options["metrics"]["score"] = scripted
        assert_same(fit(callbacks=[stopping, Epoch()], resume=file, **(options | {"every": 1})), expected)


@pytest.mark.parametrize("epochs", [6, 10])  # the last epoch ends the run, or patience does, after epoch 8
@pytest.mark.parametrize("error", [KeyboardInterrupt, Killed])
def test_a_run_that_ends_right_after_its_last_file_returns_its_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, error: type[BaseException]
) -> None:
    path, last = tmp_path / "run.npz", min(epochs, 8)
    save, written = loop.save_run, list[int]()

    def scored() -> Any:
        epoch = iter(range(100))
        return {"metrics": {"score": lambda y, target: SCORES[next(epoch)]}, "epochs": epochs}

    def interrupted_after(*args: Any) -> None:
        if written:
            raise OSError("the process has ended")
        save(*args)
        if args[2].step == last * STEPS:
            written.append(0)
            raise error

    stopping = fn.callbacks.early_stopping("train_score", patience=3)
    expected = fit(callbacks=[stopping], **scored())
    monkeypatch.setattr(loop, "save_run", interrupted_after)
    with pytest.raises(error):
        fit(checkpoint=path, callbacks=[stopping], **scored())
    monkeypatch.undo()
    assert expected.history[-1]["epoch"] == last
    assert_same(fit(resume=path, callbacks=[stopping], **scored()), expected)


def test_numbers_that_a_callback_adds_to_the_record_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    result = fit(checkpoint=path, callbacks=[lambda record, result: record.update(more=np.float32(0.5))])
    assert_same(fit(resume=path), result)
    with pytest.raises(TypeError, match="a record that is saved holds numbers and texts, got a ndarray"):
        fit(checkpoint=path, callbacks=[lambda record, result: record.update(more=np.ones(2))])


def test_a_finished_run_returns_what_it_returned(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    result = fit(checkpoint=path, epochs=2)
    again = fit(checkpoint=path, epochs=2, resume=path, loss=loss_that_raises(AssertionError(), 0))
    assert_same(again, result)
    assert again.history == result.history


def test_more_epochs_go_on_like_a_longer_run(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    fit(checkpoint=path, epochs=2)
    assert_same(fit(resume=path, epochs=5), fit(epochs=5))
    with pytest.raises(ValueError, match="holds 8 steps, more than the 4 of epochs=1"):
        fit(resume=path, epochs=1)


def test_a_function_that_stopped_a_run_does_not_stop_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    fit(checkpoint=path, callbacks=[lambda record, result: record["epoch"] == 2])
    assert_same(fit(resume=path), fit())


def test_seconds_go_on(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    fit(checkpoint=path, epochs=2)
    seconds = [record["seconds"] for record in fit(resume=path).history]
    assert seconds == sorted(seconds)


def test_a_pair_of_functions_counts_on_over_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"

    def update(state: Any, record: Any, result: Any) -> Any:
        return state + 1, bool(state + 1 == 5)

    pair = (lambda: 0), update
    fit(checkpoint=path, epochs=2, callbacks=[pair])
    assert fit(resume=path, callbacks=[lambda record, result: None, pair]).history[-1]["epoch"] == 4


# --- another run ------------------------------------------------------------------------------------------------------

OTHER_X = X.copy()
OTHER_X[17, 2] += 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rng": 8}, r"key: \(7,\) there, \(8,\) here"),
        ({"batch_size": 16}, "batch_size: 8 there, 16 here"),
        ({"optimizer": fn.adam(2e-2)}, r"optimizer: adam\(cosine_decay\(0\.01, steps=24\)\) there, adam\(0\.02\) here"),
        ({"optimizer": (ADAM.init, lambda g, s, p: ADAM.update(g, s, p))}, "there, optimizer of <lambda> here"),
        ({"loss": lambda y, t: LOSS(y, t)}, "loss: softmax_cross_entropy there, <lambda> here"),
        ({"model": fn.serial(fn.dense(8), fn.batch_norm(), fn.relu, fn.dropout(0.3), fn.dense(3))}, r"dropout\(0\.3\)"),
        ({"params": NORMED.init((4,), 1)}, r"initial parameters: 99 elements, checksum \w+ there, 99 elements"),
        ({"train": (OTHER_X, LABELS)}, r"train: x \(30, 4\) float32, target \(30,\) int64, checksum \w+ there, x \(30"),
        ({"train": (X[:29], LABELS[:29])}, r"there, x \(29, 4\) float32, target \(29,\) int64"),
        ({"train": (X, LABELS.astype(np.int8))}, r"there, x \(30, 4\) float32, target \(30,\) int8"),
        ({"validation": DATA}, r"validation: none there, x \(30, 4\)"),
        ({"validation_split": 0.2}, r"validation_split: 0\.0 there, 0\.2 here"),
        ({"metrics": None}, r"metrics: \['accuracy'\] there, \[\] here"),
        ({"evaluate_every": 2}, "evaluate_every: 1 there, 2 here"),
        (
            {"callbacks": [fn.callbacks.early_stopping("train_loss", 3)]},
            r"callbacks with a state: none there, early_stopping\('train_loss', 3\) here",
        ),
    ],
)
def test_another_run_is_not_resumed(tmp_path: Path, changes: Any, message: str) -> None:
    path = tmp_path / "run.npz"
    fit(checkpoint=path, epochs=1)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"run\.npz holds another run, which differs in .*{message}"):
        fit(resume=path, checkpoint=path, **changes)
    assert path.read_bytes() == before


def test_a_run_is_resumed_whose_file_has_the_texts_of_an_earlier_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fn.serial(fn.dense(3, w_init=fn.initializers.uniform(-1, 1), b_init=fn.initializers.ones))
    run = {"model": model, "params": model.init((4,), 0), "callbacks": [fn.callbacks.early_stopping("train_loss", 9)]}
    earlier = {
        "model": "serial(dense(3, w_init=uniform(-1, 1), b_init=ones))",
        "callbacks with a state": "early_stopping('train_loss', 9)",
    }
    path = tmp_path / "run.npz"
    write = loop.save_run
    monkeypatch.setattr(loop, "save_run", lambda path, about, *rest: write(path, about | earlier, *rest))
    fit(checkpoint=path, epochs=1, **run)
    assert len(fit(resume=path, epochs=2, **run).history) == 3


def test_every_difference_is_named_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    fit(checkpoint=path, epochs=1)
    with pytest.raises(ValueError) as caught:
        fit(resume=path, rng=8, batch_size=16)
    assert re.findall(r"(\w+): \S+ there", str(caught.value)) == ["key", "batch_size"]


def test_a_function_is_the_same_in_another_process(tmp_path: Path) -> None:
    class Rule:
        def __call__(self, step: int) -> float:
            return 1e-2

    path = tmp_path / "run.npz"
    fit(checkpoint=path, epochs=1, optimizer=fn.adam(Rule()))
    assert_same(fit(resume=path, epochs=2, optimizer=fn.adam(Rule())), fit(epochs=2, optimizer=fn.adam(Rule())))


def test_what_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    with pytest.raises(FileNotFoundError, match=r"no run to resume, no file .*other\.npz; leave out resume"):
        fit(resume=path)
    fn.save(path, {"params": PARAMS})
    with pytest.raises(ValueError, match=r"other\.npz holds no run, as fit\(\.\.\., checkpoint=path\) writes it"):
        fit(resume=path)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="is not a checkpoint: it is cut short"):
        fit(resume=path)


@pytest.mark.parametrize("by", ["loss", ["loss"], ["loss", "least"], [1, "min"], 3])
def test_a_run_that_names_no_metric_as_that_of_its_best_epoch_is_damaged(by: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    fit(checkpoint=path, epochs=1)
    saved = fn.load(path)
    about = json.loads(saved["run"].tobytes()) | {"by": by}
    fn.save(path, saved | {"run": np.frombuffer(json.dumps(about).encode(), np.uint8)})
    with pytest.raises(ValueError, match=r"is damaged or holds no run: it lacks by"):
        fit(resume=path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resume": "run.npz", "start": 4}, ValueError, "give resume, or opt_state and start, not both"),
        ({"resume": 3}, TypeError, "fit: resume: expected a str or a Path, got 3"),
        ({"checkpoint": b"run.npz"}, TypeError, "fit: checkpoint: expected a str or a Path"),
        ({"checkpoint": "run.npz", "every": 0}, ValueError, "every must be a whole number >= 1, got 0"),
        ({"every": 2}, ValueError, "every=2 is the number of epochs between checkpoints; give checkpoint=path too"),
        ({"checkpoint": "/no/such/folder/run.npz"}, FileNotFoundError, "there is no folder '/no/such/folder'"),
        (
            {"opt_state": fit(epochs=1).opt_state, "start": 8},
            ValueError,
            r"start=8, but opt_state is that after step 4; pass start=current_step\(opt_state\)",
        ),
        ({"opt_state": fit(epochs=1).opt_state}, ValueError, "start=0, but opt_state is that after step 4"),
    ],
)
def test_invalid_arguments_raise(options: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fit(**options)


def test_a_state_that_cannot_be_saved_raises_before_the_first_step(tmp_path: Path) -> None:
    def update(grads: Any, state: Any, params: Any) -> Any:
        raise AssertionError("a step was made")

    with pytest.raises(TypeError, match="opt_state: a tree is made of dicts, got a tuple") as caught:
        fit(checkpoint=tmp_path / "run.npz", optimizer=(lambda params: (0,), update))
    assert caught.value.__notes__[0] == f"in the run that is saved in {tmp_path / 'run.npz'}"


# --- what is saved ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2, 5, 100])
@pytest.mark.parametrize("evaluate_every", [1, 3])
def test_the_last_epoch_is_saved(tmp_path: Path, every: int, evaluate_every: int) -> None:
    path = tmp_path / "run.npz"
    result = fit(checkpoint=path, every=every, evaluate_every=evaluate_every, epochs=4)
    saved = fn.load(path)
    assert same_bits(saved["params"], result.params)
    assert json.loads(saved["run"].tobytes())["history"] == result.history
    assert os.listdir(tmp_path) == ["run.npz"]


def test_a_run_is_saved_before_its_first_step(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    fit(checkpoint=path, epochs=0)
    assert_same(fit(resume=path), fit())


def test_an_error_before_the_first_step_leaves_the_file_of_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    fit(checkpoint=path, epochs=1)
    before = path.read_bytes()
    interrupted(path, 0)
    assert path.read_bytes() == before


def test_nothing_is_lost_between_two_files(tmp_path: Path) -> None:
    """The best and the last, written by ``checkpoints`` and by ``fit``, as they are after each kill."""
    straight, folder = tmp_path / "straight", tmp_path / "killed"
    watch = lambda where: [fn.callbacks.checkpoints(where, every=2, metric="train_loss")]  # noqa: E731
    expected = fit(callbacks=watch(straight))
    path = folder / "run.npz"
    for number in range(3):
        copies: list[Path] = []

        def keep(record: Any, result: Any) -> None:
            copies.append(shutil.copytree(folder, tmp_path / f"copy_{number}_{len(copies)}"))  # noqa: B023

        callbacks = [[keep, *watch(folder)], [*watch(folder), keep], watch(folder)][number]
        folder.mkdir(exist_ok=True)
        fit(checkpoint=path, callbacks=callbacks)
        for copy in copies:
            if not (copy / "run.npz").exists():
                continue
            shutil.rmtree(folder)
            shutil.copytree(copy, folder)
            assert_same(fit(resume=path, callbacks=watch(folder)), expected)
            for name in ("last.npz", "best.npz"):
                assert same_bits(fn.load(folder / name), fn.load(straight / name))
        shutil.rmtree(folder)


def test_the_log_is_completed_by_a_resumed_run(tmp_path: Path) -> None:
    path, log = tmp_path / "run.npz", tmp_path / "log.csv"
    files, _ = versions(path, callbacks=[fn.callbacks.csv_log(log)])
    epochs = [line.partition(",")[0] for line in log.read_text().splitlines()]
    for file in files:
        fit(resume=file, callbacks=[fn.callbacks.csv_log(log)])  # the log has rows of later epochs
        assert [line.partition(",")[0] for line in log.read_text().splitlines()] == epochs
    log.write_text("epoch,step\n0,0\n1,")  # half a row, and the rest is gone
    fit(resume=files[2], callbacks=[fn.callbacks.csv_log(log)])
    assert [line.partition(",")[0] for line in log.read_text().splitlines()] == epochs


def test_a_folder_of_a_callback_may_be_moved_or_named_in_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.npz"
    fit(2, checkpoint=path, callbacks=[fn.callbacks.checkpoints("files", metric="train_loss")])
    for name in ["files", str(tmp_path / "files"), Path("files"), "./files", "moved"]:
        fit(3, resume=path, callbacks=[fn.callbacks.checkpoints(folder=name, metric="train_loss")])
    assert same_bits(fn.load("moved/last.npz"), fn.load("files/last.npz"))
    with pytest.raises(ValueError, match="callbacks with a state: checkpoints"):
        fit(3, resume=path, callbacks=[fn.callbacks.checkpoints("files", metric="train_accuracy")])


def test_a_checkpoint_that_cannot_be_written_raises_before_anything_is_evaluated(tmp_path: Path) -> None:
    def never(y: Any, target: Any) -> Any:
        raise AssertionError("it was called")

    cases: dict[Any, tuple[type[Exception], str]] = {
        tmp_path / "missing" / "run.npz": (FileNotFoundError, "there is no folder .*missing.*; create it first"),
        tmp_path: (IsADirectoryError, "this is a folder"),
    }
    for path, (error, message) in cases.items():
        with pytest.raises(error, match=message):
            fit(checkpoint=path, loss=never)
