"""The validators that every room shares: arrays, trees of parameters, and what the user's functions return."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funcnn import checks, tree

W = np.ones((3, 2), np.float32)


def matrix(array: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asmatrix(array)


class Quantity(np.ndarray):
    """A subclass that means something else, as one with units does."""


SUBCLASSES = [np.ma.array(W, mask=W > 0), matrix(W), W.view(Quantity), W.view(np.recarray), np.ma.masked]


@pytest.mark.parametrize("value", SUBCLASSES, ids=lambda value: type(value).__name__)
def test_subclasses_that_mean_something_else_are_not_plain(value: Any) -> None:
    for check in (checks.plain, checks.array, checks.float_array):
        with pytest.raises(TypeError, match=f"dense: expected a plain array, got {type(value).__name__}; use "):
            check("dense", value)
    with pytest.raises(TypeError, match=f"got {type(value).__name__}"):
        checks.array("dense", [value, value])
    with pytest.raises(TypeError, match=f"parameter 'a/w': expected a plain array, got {type(value).__name__}"):
        tree.check_parameters({"a": {"w": value}})


def test_a_memory_mapped_file_is_plain(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(3, 2))
    checks.plain("dense", mapped)
    checks.float_array("dense", mapped)
    tree.check_parameters({"w": mapped})
    assert np.shares_memory(checks.array("dense", mapped), mapped)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([[1, 2], [3]], ValueError, "accuracy: expected labels as an array of numbers, got a ragged list"),
        (np.array([1, None]), TypeError, "accuracy: expected labels as an array of numbers, got a ndarray of objects"),
        ([object()], TypeError, "got a list of objects"),
    ],
)
def test_what_is_no_array_of_numbers(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        checks.array("accuracy", value, "labels")
    assert checks.array("accuracy", (1, 0), "labels").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (np.float16, r"expected float32 or float64, got float16; use x\.astype\(np\.float32\)"),
        (np.longdouble, r"expected float32 or float64, got \w+; use x\.astype\(np\.float32\)"),
        (np.complex64, r"got complex64; use x\.real\.astype\(np\.float32\)"),
        (np.uint8, r"expected floats, got uint8; scale images first: x\.astype\(np\.float32\) / 255"),
        (object, r"got object; use x\.astype\(np\.float32\)"),
        ("U3", r"got <U3; use x\.astype\(np\.float32\)"),
    ],
)
def test_floats_are_of_32_or_64_bits(dtype: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        checks.float_array("dense", np.zeros((2, 2), dtype))
    for right in ("<f4", ">f4", "<f8", ">f8"):
        checks.float_array("dense", np.zeros((2, 2), right))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (W, TypeError, "load_model: expected a dict of parameters, got a ndarray"),
        (None, TypeError, "expected a dict of parameters, got a NoneType"),
        ({"a": [W, W]}, TypeError, "a: a tree is made of dicts, got a list"),
        ({"a": {1: W}}, TypeError, "a: keys are strings, got 1"),
        ({"a/w": W}, ValueError, "a key may not be empty or contain '/'"),
        ({"a": {"w": None}}, TypeError, "load_model: parameter 'a/w': expected an array, got a NoneType"),
        ({"a": {"w": 0.5}}, TypeError, "parameter 'a/w': expected an array, got a float"),
        ({"a": {"w": np.float32(0.5)}}, TypeError, "parameter 'a/w': expected an array, got a float32"),
        ({"w": W.astype(np.float16)}, TypeError, r"'w': expected float32 or float64, got float16; use tree\.cast"),
        ({"w": W.astype(complex)}, TypeError, "'w': expected float32 or float64, got complex128"),
        ({"w": W.astype("U")}, TypeError, "'w': expected float32 or float64, got <U32"),
        ({"w": W, "b": W.astype(float)}, TypeError, "different dtypes: 'w' is of float32, 'b' of float64; use tree"),
    ],
)
def test_parameters_are_nested_dicts_of_plain_floats(params: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tree.check_parameters(params, "load_model")


def test_integers_and_booleans_may_stand_beside_the_floats() -> None:
    tree.check_parameters({"a": {"w": W, "order": np.arange(3), "mask": W > 0}, "b": {}})
    tree.check_parameters({"a": W.astype(">f4"), "b": W})


def test_what_a_users_function_returns_is_named() -> None:
    for right in (0.5, np.float32(0.5), np.array(0.5), np.array(0.5, np.float16), True + 0.5 - 1):
        assert checks.returned_number("the metric 'f1'", right) == 0.5
    for wrong in ("0.5", None, np.ones(2), (0.5, W), True, 1j, np.ma.masked, np.array(True)):
        with pytest.raises(TypeError, match="the metric 'f1' must return one number, got a"):
            checks.returned_number("the metric 'f1'", wrong)
    assert checks.returned_array("sine", W, (3, 2), W.dtype) is W
    for value, error, message in (
        (W.tolist(), TypeError, "sine must return an array of shape .3, 2., got a list"),
        (W[0], ValueError, r"sine must return an array of shape \(3, 2\), got \(2,\)"),
        (W.astype(float), TypeError, r"sine must return an array of float32, got float64; use \.astype\(np\.float32\)"),
        (matrix(W), TypeError, "sine: expected a plain array, got matrix"),
    ):
        with pytest.raises(error, match=message):
            checks.returned_array("sine", value, (3, 2), W.dtype)
