"""The cases of the package onnx itself, one for each operator and option: what is imported computes what they say.

Most cases have operands that depend on the input where a layer has parameters, or arrays without a batch, and raise an
error. So each is tried as it is, and with all inputs but the first as constants.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

import funcnn as fn

ALIGNED = ("test_resize_downsample_scales_linear_align_corners", "test_resize_downsample_scales_cubic_align_corners")
"""Here onnxruntime, whose values are ours, takes the whole size, and onnx's reference the product with the factor."""


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return collect_testcases(None)


def with_constants(case: Any) -> Any:
    """The model of a case in which all inputs but the first are constants; None if they are no arrays."""
    model, (arrays, _) = onnx.ModelProto(), case.data_sets[0]
    model.CopyFrom(case.model)
    for value, array in zip([*model.graph.input][1:], arrays[1:], strict=False):
        if not isinstance(array, np.ndarray | np.generic):
            return None
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
        model.graph.input.remove(value)
    model.ir_version = max(model.ir_version, 4)
    return model


def computed(path: Path, model: Any, arrays: list[Any]) -> list[Any] | None:
    """What a model makes of the inputs of a case, where the file can be imported and they have one batch size."""
    onnx.save(model, path)
    names = [value.name for value in model.graph.input if value.name not in {c.name for c in model.graph.initializer}]
    try:
        layer, params = fn.import_onnx(path)
        y, _ = layer.apply(params, arrays[0] if len(names) == 1 else dict(zip(names, arrays, strict=False)))
    except ValueError:
        return None
    return [*y.values()] if isinstance(y, dict) else [y]


@pytest.mark.parametrize("constants", [False, True])
def test_what_is_imported_of_the_cases_of_onnx_is_right(tmp_path: Path, cases: list[Any], constants: bool) -> None:
    right, wrong = 0, []
    for case in cases:
        model = with_constants(case) if constants else case.model
        arrays, expected = case.data_sets[0]
        if model is None or case.name in ALIGNED:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = computed(tmp_path / "model.onnx", model, arrays[:1] if constants else arrays)
        for y, value in zip(found or (), expected, strict=False):
            # The batch has an axis of its own in an output, also where the file joins it with others.
            same = np.allclose(y.ravel(), np.ravel(value), rtol=case.rtol, atol=max(case.atol, 1e-6), equal_nan=True)
            wrong += [] if same and y.shape[:1] == arrays[0].shape[:1] else [case.name]
            right += same
    assert not wrong
    assert right > 200
