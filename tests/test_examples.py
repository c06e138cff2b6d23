"""The examples run as a user runs them, and a run that is killed and resumed ends with the same bits."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from tests import scripts

EXAMPLES = Path(__file__).parents[1] / "examples"
# One thread each: the tests beside them need the other cores.
ENVIRONMENT = {"COLUMNS": "160", "FUNCNN_NUM_THREADS": "1", **scripts.ENVIRONMENT}
FILES = {"training.npz", "digits.npz", "learning_curves.png", "accuracy.png", "confusion_matrix.png"}
# Large batches, for speed: these tests need no good accuracy.
OPTIONS = ["--epochs", "2", "--batch", "256"]


def start(example: str, *options: Any) -> subprocess.Popen[str]:
    """An example in an interpreter of its own."""
    command = [sys.executable, str(EXAMPLES / example), *map(str, options)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=os.environ | ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)


def run(example: str, *options: Any) -> str:
    """The output of an example, which must end without an error and write nothing to stderr."""
    done = scripts.run(EXAMPLES / example, *options, environment=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The output and the files of the main example after two epochs without interruption."""
    out = tmp_path_factory.mktemp("straight") / "new" / "folder"
    process = start("mnist_cnn.py", *OPTIONS, "--out", out)
    try:
        text, err = process.communicate(timeout=scripts.TIMEOUT)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, ""), err
    return text, out


def test_the_main_example_prints_and_writes_everything(straight: tuple[str, Path]) -> None:
    text, out = straight
    lines = text.splitlines()
    assert {path.name for path in out.iterdir()} == FILES
    for picture in out.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert lines[0].split() == ["path", "layer", "input", "output", "parameters", "multiply-adds"]
    columns = ["train loss", "train accuracy", "validation loss", "validation accuracy"]
    for epoch in range(3):
        (line,) = [line for line in lines if line.startswith(f"epoch {epoch}/2  ")]
        assert [word.rpartition(" ")[0] for word in line.split("  ")[1].split(";")[0].split(", ")] == columns
    assert lines[-2].startswith("wrote ")
    assert all(name in lines[-2] for name in FILES)
    assert lines[-1] == "the model file, loaded again, predicts the same bits"


def test_the_printed_accuracy_is_that_of_the_confusion_matrix(straight: tuple[str, Path]) -> None:
    text, _ = straight
    (line,) = [line for line in text.splitlines() if line.startswith("test accuracy")]
    accuracy = float(line.split()[2].rstrip("%"))
    # Two epochs of large batches; chance would be 10 %.
    assert 70 < accuracy <= 100
    matrix = text[text.index("[[") : text.index("]]") + 2]
    counts = np.array([row.strip(" []").split() for row in matrix.splitlines()], int)
    assert counts.sum() == 2000
    assert counts.trace() / 20 == pytest.approx(accuracy, abs=0.005 + 1e-9)


def test_a_run_killed_after_its_first_epoch_and_resumed_ends_with_the_same_bits(
    straight: tuple[str, Path], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "training.npz"
    process = start("mnist_cnn.py", *OPTIONS, "--out", tmp_path)
    # A checkpoint is complete when it has its name, so the process may be killed at any time after that.
    try:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    epochs_before = json.loads(fn.load(checkpoint)["history"].tobytes())[-1]["epoch"]

    text = run("mnist_cnn.py", *OPTIONS, "--out", tmp_path, "--resume")
    assert "epoch 1/2" not in text
    assert ("epoch 2/2" in text) == (epochs_before == 1)
    for name in ("training.npz", "digits.npz"):
        resumed, expected = (fn.load(folder / name) for folder in (tmp_path, straight[1]))
        histories = [json.loads(tree.pop("history").tobytes()) for tree in (resumed, expected) if "history" in tree]
        for history in histories:
            for record in history:
                del record["seconds"]
        assert [len(history) for history in histories] == ([3, 3] if name == "training.npz" else [])
        assert histories[:1] == histories[1:]
        # The parameters and the state of the optimizer.
        assert fn.tree.paths(resumed) == fn.tree.paths(expected)
        for ours, theirs in zip(fn.tree.leaves(resumed), fn.tree.leaves(expected), strict=True):
            assert ours.dtype == theirs.dtype
            assert ours.tobytes() == theirs.tobytes()
    pictures = [(folder / "confusion_matrix.png").read_bytes() for folder in (tmp_path, straight[1])]
    assert pictures[0] == pictures[1]


def fails(example: str, *options: Any) -> tuple[int, str]:
    """The exit code of an example that must fail, and its one line of explanation."""
    done = scripts.run(EXAMPLES / example, *options, environment=ENVIRONMENT)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "1"], "seed is 1 and was 0"),
        (["--batch", "128"], "batch is 128 and was 256"),
        (["--epochs", "3"], "epochs is 3 and was 2"),
        (["--rate", "0.001"], "rate is 0.001 and was 0.003"),
    ],
)
def test_another_run_in_the_folder_is_not_resumed(
    straight: tuple[str, Path], tmp_path: Path, options: list[str], message: str
) -> None:
    shutil.copy(straight[1] / "training.npz", tmp_path)
    code, text = fails("mnist_cnn.py", *OPTIONS, *options, "--out", tmp_path, "--resume")
    assert code == 1
    assert text.startswith(f"cannot resume: {tmp_path / 'training.npz'} is of another run: {message}. Give")
    assert [path.name for path in tmp_path.iterdir()] == ["training.npz"]


def test_a_file_that_is_no_run_is_not_resumed(straight: tuple[str, Path], tmp_path: Path) -> None:
    for content in (b"PK", (straight[1] / "digits.npz").read_bytes()):
        (tmp_path / "training.npz").write_bytes(content)
        code, text = fails("mnist_cnn.py", *OPTIONS, "--out", tmp_path, "--resume")
        assert code == 1
        assert "training.npz holds no run of this program" in text


def test_resuming_in_a_new_folder_starts_a_run(straight: tuple[str, Path], tmp_path: Path) -> None:
    text = run("mnist_cnn.py", *OPTIONS, "--out", tmp_path / "new", "--resume")
    assert f"there is no {tmp_path / 'new' / 'training.npz'}: a new run starts" in text
    assert "epoch 0/2" in text
    assert (tmp_path / "new" / "digits.npz").read_bytes() == (straight[1] / "digits.npz").read_bytes()


def test_the_custom_layer_passes_its_check_and_learns() -> None:
    lines = run("custom_layer.py").splitlines()
    verdicts = {line.split()[-1] for line in lines if line.startswith("  ")}
    assert verdicts == {"ok"}
    (last,) = [line for line in lines if line.startswith("epoch 400/400")]
    # It starts at 38; a sine without noise can be learned to any precision.
    assert float(last.split("train loss ")[1].split(";")[0]) < 0.01
    assert lines[-1].startswith("a of the first snake went from 2.00 to ")


def percentages(text: str) -> list[float]:
    """The numbers before a percent sign."""
    return [float(number) for number in re.findall(r"([0-9.]+)%", text)]


def test_a_table_beside_the_image_helps() -> None:
    image, both = run("two_inputs.py").splitlines()
    (without,), (accuracy,) = percentages(image), percentages(both)
    # The gap is 2 to 3 points for other seeds too.
    assert accuracy > 90
    assert accuracy > without + 1


def test_two_heads_learn_together() -> None:
    first, *_, last = run("two_heads.py").splitlines()
    assert first.startswith("step 0: loss 3.")  # chance is ln 10 + ln 2 = 3.0
    digit, odd = percentages(last)
    assert last.startswith("test: ")
    assert digit > 94
    assert odd > 96


def test_transfer_helps_and_leaves_the_frozen_layers_alone() -> None:
    scratch, transferred, bits = run("transfer.py").splitlines()
    assert percentages(transferred)[0] > max(70, percentages(scratch)[0] + 1)
    assert bits == "the frozen layers have the bits of before: True"


def module_of(example: str) -> Any:
    """An example as a module, for what it computes; it may import others."""
    found: Any = ModuleType(example)
    found.__file__ = str(EXAMPLES / example)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        exec((EXAMPLES / example).read_text(encoding="utf-8"), vars(found))
    return found


def numbers(text: str, before: str) -> list[float]:
    """The numbers that follow a word, in order."""
    return [float(number) for number in re.findall(rf"{before} ([0-9.]+)", text)]


def draws(out: Path, *names: str) -> bool:
    """Whether a run has drawn these pictures, and no others."""
    pictures = {path.name for path in out.glob("*.png") if path.read_bytes().startswith(b"\x89PNG")}
    return pictures == set(names)


def test_the_variational_autoencoder_learns_and_draws_samples(tmp_path: Path) -> None:
    nats = numbers(run("vae.py", "--epochs", "3", "--examples", "6000", "--out", tmp_path), "test")
    # Pixels alone, at the best constant brightness of each, need 200 nats.
    assert len(nats) == 3
    assert nats[-1] < 165
    assert draws(tmp_path, "samples.png", "learning_curves.png")


def test_the_gradients_of_the_bound_are_those_of_its_value() -> None:
    module = module_of("vae.py")
    encoder, decoder = module.networks(3)
    params = fn.tree.cast({"encoder": encoder.init((28, 28, 1), 0), "decoder": decoder.init((3,), 1)}, np.float64)
    random = np.random.default_rng(2)
    x, v = random.random((4, 28, 28, 1)), fn.tree.map(lambda p: random.standard_normal(p.shape), params)

    def value(h: float) -> Any:
        return module.bound(encoder, decoder, fn.tree.map(lambda p, d: p + h * d, params, v), x, 3)

    grads = value(0.0)[1]()
    slope = sum(np.vdot(a, b) for a, b in zip(fn.tree.leaves(grads), fn.tree.leaves(v), strict=True))
    assert (value(1e-6)[0] - value(-1e-6)[0]) / 2e-6 == pytest.approx(slope, rel=1e-5)


def test_the_denoising_autoencoder_removes_noise(tmp_path: Path) -> None:
    noisy, *errors = numbers(
        run("denoise.py", "--epochs", "2", "--examples", "3000", "--out", tmp_path), "mean squared error"
    )
    assert noisy == pytest.approx(0.25, abs=0.001)
    assert errors[-1] < 0.055  # that of the mean image is 0.064
    assert draws(tmp_path, "denoised.png", "learning_curves.png")


def test_the_networks_of_tables_predict_price_and_sale(tmp_path: Path) -> None:
    text = run("tabular.py", "--epochs", "8", "--out", tmp_path)
    assert numbers(text, "R2")[0] > 0.95
    assert percentages(text)[0] > 93  # a constant guess is right in 63 %
    assert draws(tmp_path, "tabular.png", "learning_curves.png")


def test_two_towers_find_the_other_half(tmp_path: Path) -> None:
    text = run("two_towers.py", "--epochs", "2", "--examples", "3000", "--out", tmp_path)
    first, five = percentages(text)
    assert 30 < first < five  # chance is 1 and 5 %
    assert draws(tmp_path, "found.png", "learning_curves.png")


def test_the_generator_fools_the_discriminator_sometimes(tmp_path: Path) -> None:
    text = run("gan.py", "--epochs", "2", "--examples", "500", "--out", tmp_path)
    assert all(0.01 < loss < 10 for word in ("discriminator", "generator") for loss in numbers(text, word))
    assert len(numbers(text, "generator")) == 2
    assert draws(tmp_path, "samples.png", "learning_curves.png")


def test_private_training_learns_and_says_how_private_it_is(tmp_path: Path) -> None:
    options = ["--epochs", "2", "--batch", "128", "--examples", "4000"]
    lines = run("private_sgd.py", *options, "--out", tmp_path).splitlines()
    without, private = (percentages(line)[0] for line in lines[:2])
    assert 40 < private < without
    bound = module_of("private_sgd.py").epsilon(128 / 4000, 1.5, 62, 1e-5)
    assert lines[1].endswith(f"epsilon {bound:.2f} at delta 1e-05")
    assert lines[2] == "noise 1.5, clip 1, sampling rate 0.0320, 62 steps"
    assert draws(tmp_path, "accuracy.png")


def test_the_bound_of_privacy_is_that_of_the_gaussian_mechanism_and_falls_with_sampling() -> None:
    epsilon = module_of("private_sgd.py").epsilon
    # Without sampling, the divergence of order a is a / (2 noise^2).
    a = np.arange(2, 129)
    without = (10 * a / (2 * 8**2) + np.log1p(-1 / a) - (np.log(1e-5) + np.log(a)) / (a - 1)).min()
    assert epsilon(1 - 1e-12, 8, 10, 1e-5) == pytest.approx(without, rel=1e-6)
    # Abadi et al. report 1.26 for these, and the conversion of Balle et al. is tighter.
    assert 0.9 < epsilon(0.01, 4, 10_000, 1e-5) < 1.26
    assert epsilon(0.01, 4, 1000, 1e-5) < epsilon(0.01, 2, 1000, 1e-5) < epsilon(0.02, 2, 1000, 1e-5)
    assert epsilon(0.01, 0, 1, 1e-5) == np.inf


def test_a_private_gradient_is_the_sum_of_clipped_ones_plus_noise() -> None:
    module = module_of("private_sgd.py")
    params = module.model.init((28, 28, 1), 0)
    random = np.random.default_rng(0)
    x, labels = random.random((4, 28, 28, 1), np.float32), np.arange(4)
    each = fn.per_example_grads(module.model, params, x, labels, fn.softmax_cross_entropy)
    vectors = [fn.tree.ravel(fn.tree.map(lambda g: g[i], each))[0] for i in range(4)]  # noqa: B023
    limit = float(np.median([np.linalg.norm(v) for v in vectors]))  # two are clipped, two are not
    expected = sum(v * min(1, limit / np.linalg.norm(v)) for v in vectors) / 8
    grads = [module.private_gradient(params, x, labels, limit, noise, 8, (0, 1)) for noise in (0.0, 2.0)]
    np.testing.assert_allclose(fn.tree.ravel(grads[0])[0], expected, atol=1e-6)
    noise = fn.tree.ravel(grads[1])[0] - fn.tree.ravel(grads[0])[0]
    assert noise.std() == pytest.approx(2 * limit / 8, rel=0.05)
    nobody = module.private_gradient(params, x[:0], labels[:0], limit, 2.0, 8, (0, 1))
    np.testing.assert_allclose(fn.tree.ravel(nobody)[0], noise, atol=1e-6)


LANGUAGE = {
    "gpt.py": "--width 32 --heads 2 --blocks 1 --length 32 --dropout 0.05 --rate 0.03",
    "char_lstm.py": "--units 48 --length 32 --dropout 0.1 --rate 0.02",
}


@pytest.mark.parametrize("example", LANGUAGE)
def test_a_language_model_learns_writes_and_is_resumed(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, straight, interrupted = tmp_path / "text.txt", tmp_path / "straight", tmp_path / "interrupted"
    data.write_text((EXAMPLES / "shakespeare.txt").read_text(encoding="utf-8")[:12_000], encoding="utf-8")
    options = [*LANGUAGE[example].split(), "--data", str(data), "--batch", "16", "--steps", "40", "--every", "20"]
    text = run(example, *options, "--out", straight)
    losses = numbers(text, "validation loss")
    # The best guess that sees no other character needs 3.2 nats, as many different ones 4.0.
    assert len(losses) == 2
    assert losses[1] < min(losses[0], 3.0)
    assert text.count("-" * 40) == 4
    assert draws(straight, "learning_curves.png")

    # A run that was killed at its second evaluation leaves the checkpoint of the first one.
    module = module_of(example)
    symbols, train, validation = module.shakespeare.read(data)

    def learn(*more: str) -> Any:
        given = module.arguments([*options, "--out", str(interrupted), *more])
        with fn.use_threads(1):  # as the run above, since the bits of some products depend on the number
            return module.learn(module.network(len(symbols), given), module.rule(given), train, validation, given)

    recorded = module.shakespeare.recorded

    def killed(history: Any, *rest: Any) -> Any:
        if history:
            raise KeyboardInterrupt
        return recorded(history, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module.shakespeare, "recorded", killed)
        with pytest.raises(KeyboardInterrupt):
            learn()
    params, history, _ = learn("--resume")
    assert [record["epoch"] for record in history] == [20, 40]
    _, expected = fn.load_model(straight / f"{Path(example).stem}.npz")
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*map(fn.tree.leaves, (params, expected)), strict=True))
    with pytest.raises(SystemExit, match="is of another run: batch is 8 and was 16"):
        learn("--resume", "--batch", "8")
    data.write_text("To be, or not to be.", encoding="utf-8")
    with pytest.raises(SystemExit, match="too short: a tenth of it is 2 characters"):
        module.main(module.arguments(options))


def test_the_text_is_split_and_numbered() -> None:
    shakespeare = module_of("shakespeare.py")
    symbols, train, validation = shakespeare.read(None)
    text = (EXAMPLES / "shakespeare.txt").read_text(encoding="utf-8")
    assert shakespeare.decoded(symbols, np.concatenate([train, validation])) == text
    assert len(train) == len(text) * 9 // 10
    assert symbols == "".join(sorted(set(text)))


def test_each_target_is_the_character_that_follows() -> None:
    tokens, gpt, lstm = np.arange(100), module_of("gpt.py"), module_of("char_lstm.py")
    for x, target in (gpt.cut(tokens, 8), gpt.drawn(tokens, 5, 8, (0, 1)), lstm.streams(tokens, 3, 8)):
        np.testing.assert_array_equal(target, x + 1)
    np.testing.assert_array_equal(gpt.cut(tokens, 8)[0].ravel(), np.arange(96))
    # Part after part goes on where the one before it ended.
    x, _ = lstm.streams(tokens, 3, 8)
    np.testing.assert_array_equal(x.swapaxes(0, 1).reshape(3, -1), np.arange(96).reshape(3, 32))
    starts = [gpt.drawn(tokens[:10], 50, 8, (0, step))[0][:, 0] for step in range(2)]
    assert {*starts[0]} == {0, 1}
    assert not np.array_equal(*starts)


def test_the_lstm_writes_with_its_state_what_it_would_write_from_all_of_the_text() -> None:
    module = module_of("char_lstm.py")
    model = module.network(20, module.arguments(["--units", "16"]))
    params = module.initial(model, module.arguments([]))
    params = fn.tree.map(lambda leaf: 3 * leaf, params)  # so that no two symbols are nearly equally likely
    tokens = np.array([[3, 1], [4, 1]])
    written = module.write(model, params, tokens, 12, 1e-3, (0,))
    for length in range(2, 14):
        y = fn.predict(model, params, {"x": written[:, :length], "state": {}})
        np.testing.assert_array_equal(y["x"][:, -1].argmax(1), written[:, length])


def test_a_residual_network_learns_shapes_and_predicts_the_same_when_folded(tmp_path: Path) -> None:
    text = run("residual.py", "--examples", "300", "--epochs", "2", "--out", tmp_path)
    (line,) = [line for line in text.splitlines() if line.startswith("folded: ")]
    assert percentages(line) == percentages(text.split("test accuracy")[1].splitlines()[0])
    assert float(line.split("differ by ")[1].split(",")[0]) < 1e-4
    losses = numbers(text, "train loss")
    assert losses[1] < losses[0]
    assert draws(tmp_path, "learning_curves.png", "accuracy.png", "confusion_matrix.png", "predictions.png")
    model, _ = fn.load_model(tmp_path / "residual.npz")
    assert "batch_norm(" not in repr(model)


@pytest.mark.parametrize("example", ["two_inputs.py", "two_heads.py"])
def test_an_example_of_trees_is_short(example: str) -> None:
    assert len((EXAMPLES / example).read_text(encoding="utf-8").splitlines()) < 40


def test_every_picture_is_drawn_and_the_pages_show_them(tmp_path: Path) -> None:
    run("pictures.py", "--quick", "--out", tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    root = EXAMPLES.parent
    pages = [page.read_text(encoding="utf-8") for page in (root / "README.md", *(root / "docs").rglob("*.md"))]
    shown = {name for name in re.findall(r"examples/images/([^)]+)", "".join(pages)) if name != "learning_curves.png"}
    assert shown == drawn - {"scatter.png"} | {"tuned.png"}  # the last by an example that needs scikit-learn
    for name in shown:
        assert (EXAMPLES / "images" / name).stat().st_size < 80_000
