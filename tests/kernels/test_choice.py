"""Which kernels compute: NumPy's unless others are asked for, and clear errors where those cannot be had."""

import ctypes
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import funcnn as fn
from funcnn.kernels.onednn import library

ROOT = Path(__file__).parents[2]


def python(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    plain = {name: value for name, value in os.environ.items() if name != "FUNCNN_KERNELS"}
    environment = {**plain, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_numpy_computes_unless_asked_and_no_library_is_loaded() -> None:
    code = """
import sys, funcnn as fn
print(fn.kernels_report())
print(any("dnnl" in line for line in open("/proc/self/maps")) if sys.platform == "linux" else False)
"""
    assert python(code).stdout == 'kernels "numpy", the default: NumPy computes everything\nFalse\n'


def test_other_names_raise() -> None:
    with pytest.raises(ValueError, match='use_kernels: expected "numpy" or "onednn", got \'mkl\''):
        fn.use_kernels("mkl")
    done = python("import funcnn", FUNCNN_KERNELS="mkl")
    assert 'ValueError: FUNCNN_KERNELS: expected "numpy" or "onednn", got \'mkl\'' in done.stderr


@pytest.mark.parametrize(
    ("file", "reason"), [("/nonexistent/libdnnl.so.3", "/nonexistent/libdnnl.so.3"), (None, "is not oneDNN")]
)
def test_a_library_that_cannot_be_used_says_why_and_what_to_install(file: str | None, reason: str) -> None:
    other = find_spec("_ctypes")
    path = file or (other.origin if other and other.origin else "")
    code = """
import funcnn as fn
try:
    fn.use_kernels("onednn")
except ImportError as error:
    print(error)
print(fn.kernels_report())
"""
    done = python(code, FUNCNN_ONEDNN=path)
    assert "the kernels 'onednn' need oneDNN 3 (FUNCNN_ONEDNN: " in done.stdout, done.stderr
    assert reason in done.stdout
    assert 'pip install "funcnn[onednn]"' in done.stdout
    assert "conda install -c conda-forge onednn" in done.stdout
    assert done.stdout.endswith('kernels "numpy", the default: NumPy computes everything\n')


@pytest.mark.parametrize(
    ("major", "runtime", "reason"),
    [(2, 2, "is oneDNN 2.6.0, expected version 3"), (3, 4, "is built for TBB, expected a build for OpenMP")],
)
def test_other_versions_and_runtimes_raise(
    monkeypatch: pytest.MonkeyPatch, major: int, runtime: int, reason: str
) -> None:
    version = ctypes.pointer(library._Version(major, 6, 0, b"", runtime, 0))

    class Function:
        def __call__(self) -> Any:
            return version

    monkeypatch.setattr(library.ctypes, "CDLL", lambda path: SimpleNamespace(dnnl_version=Function()))
    monkeypatch.setattr(library.ctypes, "PyDLL", lambda path: None)
    with pytest.raises(ImportError, match=reason):
        library._loaded("the system's loader", "libdnnl.so")


def test_no_layer_names_an_implementation() -> None:
    for file in (ROOT / "funcnn" / "layers").rglob("*.py"):
        assert "dnn" not in file.read_text(encoding="utf-8").lower(), file
