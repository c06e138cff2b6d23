"""A process that is killed again and again, and started again, ends with the files of one that was not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from test_fit import same_bits

import funcnn as fn

PROGRAM = """
import sys
from pathlib import Path

import numpy as np

import funcnn as fn

folder = Path(sys.argv[1])
x = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
target = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
model = fn.serial(fn.dense(32), fn.batch_norm(), fn.relu, fn.dropout(0.3), fn.dense(3))
path = folder / "run.npz"
print("ready", flush=True)
result = fn.fit(
    model, model.init((6,), 0), fn.adamw(fn.cosine_decay(3e-3, steps=1500)), (x, target), fn.softmax_cross_entropy, 60,
    batch_size=8, rng=3, verbose=False, validation_split=0.2, checkpoint=path, every=int(sys.argv[2]),
    resume=path if path.exists() else None,
    callbacks=[
        fn.callbacks.csv_log(folder / "log.csv"),
        fn.callbacks.checkpoints(folder, every=3, metric="validation_loss"),
        fn.callbacks.early_stopping("validation_loss", patience=12, min_delta=1e-3),
    ],
)
fn.save(folder / "result.npz", {"params": result.params, "opt_state": result.opt_state})
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(fn.__file__).parents[1])}


def run(folder: Path, every: int, seconds: float = 120.0) -> bool:
    """Run the program, and kill it some seconds after its start; whether it has ended before."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", PROGRAM, str(folder), str(every)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return False
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, b"")
        return True


def log(folder: Path) -> list[list[str]]:
    """The rows of the log, without the seconds."""
    rows = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    place = rows[0].index("seconds")
    return [row[:place] + row[place + 1 :] for row in rows]


def test_a_run_that_is_killed_at_random_times_ends_with_the_same_files(tmp_path: Path) -> None:
    straight = tmp_path / "straight"
    started = time.monotonic()
    assert run(straight, every=1)
    whole = time.monotonic() - started
    for every in (1, 4):
        folder, random = tmp_path / f"killed_{every}", np.random.default_rng(every)
        kills = 0
        while not run(folder, every, seconds=random.uniform(0, whole / 3) if kills < 6 else 120):
            kills += 1
            assert kills <= 6
        assert sorted(os.listdir(folder)) == sorted(os.listdir(straight))
        for name in ("result.npz", "last.npz", "best.npz"):
            assert same_bits(fn.load(folder / name), fn.load(straight / name)), name
        assert log(folder) == log(straight)
