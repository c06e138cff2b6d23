"""The example that tunes a network beside ``MLPClassifier`` runs as a user runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import funcnn as fn

ROOT = Path(fn.__file__).parents[1]


def test_the_example_tunes_both_networks_and_draws_them(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples/tune_sklearn.py"), "--epochs", "2", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=200)
    assert ran.stderr == ""
    ours, theirs, wrote = ran.stdout.splitlines()
    for line, name, parameter in ((ours, "funcnn", "optimizer__rate"), (theirs, "MLPClassifier", "learning_rate_init")):
        assert line.startswith(f"{name}: ")
        assert parameter in line
        (accuracy,) = re.findall(r"([\d.]+)%", line)
        assert float(accuracy) > 90
    assert wrote == f"wrote {tmp_path / 'tuned.png'}"
    assert (tmp_path / "tuned.png").read_bytes().startswith(b"\x89PNG")
