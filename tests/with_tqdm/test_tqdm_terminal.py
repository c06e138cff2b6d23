"""On a real terminal ``fit`` shows a bar of tqdm in one row, and elsewhere none."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import funcnn as fn

CODE = """
import time, numpy as np, funcnn as fn
x, model = np.ones((40, 2), np.float32), fn.dense(2)
def slow(y, target):
    time.sleep(0.03)
    return fn.mean_squared_error(y, target)
fn.fit(model, model.init((2,), 0), fn.sgd(0.1), (x, x), slow, 2, batch_size=4)
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {
    "PYTHONPATH": str(Path(fn.__file__).parents[1]), "PYTHONIOENCODING": "utf-8",
}  # fmt: skip


def on_terminal(width: int) -> str:
    """What a run writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=theirs, stdout=theirs, stderr=theirs, env=ENVIRONMENT, close_fds=True
    )
    os.close(theirs)
    found = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the terminal ends with its process
            break
        if not chunk:
            break
        found += chunk
    os.close(ours)
    assert process.wait() == 0
    return found.decode()


@pytest.mark.parametrize("width", [40, 100])
def test_the_bar_stays_in_one_row_of_the_terminal(width: int) -> None:
    text = on_terminal(width)
    rows = re.split(r"[\r\n]+", text)
    assert max(map(len, rows)) <= width
    bars = [row for row in rows if re.match(r" *\d+%\|", row)]
    assert bars
    assert all(len(row) < width for row in bars)
    if width == 100:
        assert any(
            re.search(r"%\|.*█.*\| \d+/20 \[00:\d\d<00:\d\d, +[\d.]+ steps/s, loss \d\.\d{4}\]", b) for b in bars
        )
    # A line of an epoch begins in a row of its own, from which the bar is cleared.
    lines = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]
    heads = [line for line in lines if line.startswith(("epoch", "best"))]
    assert [head.split()[1] for head in heads] == ["0/2", "1/2", "2/2", "epoch"]


def test_elsewhere_there_is_a_line_for_each_epoch_and_no_bar() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stderr == ""
    assert [line.split()[1] for line in done.stdout.splitlines() if line[0] != " "] == ["0/2", "1/2", "2/2", "epoch"]
    assert "%|" not in done.stdout


def test_a_terminal_without_blocks_gets_a_bar_of_its_own_characters() -> None:
    class Latin(io.StringIO):
        encoding = "latin-1"  # type: ignore[assignment]

        def isatty(self) -> bool:
            return True

    stream = Latin()
    show = fn.progress(10, stream)
    time.sleep(0.11)
    show(5, "loss 0.5")
    assert "50%|###" in stream.getvalue()
    assert stream.getvalue().isascii()
