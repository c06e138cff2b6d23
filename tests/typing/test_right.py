"""The typed script runs, and the types that list names list those that there are."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import funcnn as fn
from funcnn.layers.activation import ActivationName, as_activation
from funcnn.layers.merge import MERGES, How

ROOT = Path(fn.__file__).parents[1]


def test_the_typed_script_runs() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", Path(__file__).with_name("right.py")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")


def test_the_names_of_activations_are_those_of_the_type() -> None:
    names = get_args(ActivationName)
    for name in names:
        assert as_activation("dense", name).kind == name
    with pytest.raises(ValueError, match=re.escape(f"expected one of {sorted(names)}")):
        as_activation("dense", "unknown")  # type: ignore[arg-type]


def test_the_ways_to_merge_are_those_of_the_type() -> None:
    assert get_args(How) == tuple(MERGES)
