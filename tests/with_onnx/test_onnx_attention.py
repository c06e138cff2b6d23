"""The operator Attention of files against onnxruntime: caches, shared keys, windows and masks."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import funcnn as fn
from tests.with_onnx.onnx_helpers import check_gradients, close, run

RANDOM = np.random.default_rng(0)
BATCH, QUERIES, KEYS, PAST = 2, 3, 4, 5
CASES: dict[str, Any] = {
    "a cache": (2, 2, {}),
    "a cache, causal": (2, 2, {"is_causal": 1}),
    "shared keys": (4, 2, {"past": 0}),
    "one head of keys": (4, 1, {"past": 0, "mask": (4, QUERIES, KEYS)}),
    "a cache with shared keys and a mask": (4, 2, {"is_causal": 1, "mask": (1, 1, QUERIES, KEYS + PAST)}),
    "joined heads": (4, 2, {"joined": True, "is_causal": 1, "scale": 0.7}),
    "bounded scores": (2, 2, {"softcap": 0.5, "is_causal": 1}),
    "steps to the left": (2, 2, {"left_window_size": 2}),
    "steps to both sides": (2, 1, {"left_window_size": 1, "right_window_size": 1}),
    "causal, steps to the left": (2, 2, {"is_causal": 1, "left_window_size": 3}),
}


def file_of(path: Path, heads: int, groups: int, opset: int, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """A file of the operator with a cache, and its inputs."""
    options = dict(options)
    joined, past, mask = options.pop("joined", False), options.pop("past", PAST), options.pop("mask", None)
    shapes = {"q": (heads, QUERIES, 4), "k": (groups, KEYS, 4), "v": (groups, KEYS, 3)}
    if joined:
        shapes = {name: (time, count * width) for name, (count, time, width) in shapes.items()}
        options |= {"q_num_heads": heads, "kv_num_heads": groups}
    names = [*shapes, "mask" if mask else ""]
    if past:
        shapes |= {"past_k": (groups, past, 4), "past_v": (groups, past, 3)}
        names += ["past_k", "past_v"]
    outputs = {"y": 3 if joined else 4} | ({"new_k": 4, "new_v": 4} if past else {})
    inputs = [helper.make_tensor_value_info(name, 1, ("batch", *shape)) for name, shape in shapes.items()]
    outs = [helper.make_tensor_value_info(name, 1, ["batch", *[None] * (n - 1)]) for name, n in outputs.items()]
    constants = [onnx.numpy_helper.from_array(RANDOM.standard_normal(mask).astype(np.float32), "mask")] if mask else []
    node = helper.make_node("Attention", names, [*outputs], "attention", **options)
    graph = helper.make_graph([node], "test", inputs, outs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return {name: RANDOM.standard_normal((BATCH, *shape)).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("opset", [23, 24, 26])
@pytest.mark.parametrize("name", CASES)
def test_attention(tmp_path: Path, name: str, opset: int) -> None:
    if opset < 25 and "left_window_size" in CASES[name][2]:
        opset = 25  # the first that has windows
    path = tmp_path / "model.onnx"
    x = file_of(path, *CASES[name][:2], opset, CASES[name][2])
    model, params = fn.import_onnx(path)
    y: Any = model.apply(params, x)[0]
    for output, wanted in run(path, x).items():
        close(y[output] if isinstance(y, dict) else y, wanted)
    check_gradients(model, params, x)


@pytest.mark.parametrize("as_input", [True, False])
def test_a_query_that_sees_no_key_gets_zeros(tmp_path: Path, as_input: bool) -> None:
    path = tmp_path / "model.onnx"
    x = file_of(path, 2, 2, 24, {"mask": (QUERIES, KEYS + PAST), "is_causal": 1})
    file = onnx.load(path)
    mask = RANDOM.random((QUERIES, KEYS + PAST)) < 0.5
    mask[1] = False
    del file.graph.initializer[:]
    if as_input:
        x["mask"] = np.stack([mask, ~mask])[:, None]
        shape = ("batch", *x["mask"].shape[1:])
        file.graph.input.append(helper.make_tensor_value_info("mask", onnx.TensorProto.BOOL, shape))
    else:
        file.graph.initializer.append(onnx.numpy_helper.from_array(mask, "mask"))
    onnx.save(file, path)
    model, params = fn.import_onnx(path)
    y: Any = model.apply(params, x)[0]
    assert not y["y"][0, :, 1].any()
    for output, wanted in run(path, x).items():
        close(y[output], wanted)
    check_gradients(model, params, x)


def test_what_is_left_is_said(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    file_of(path, 3, 2, 23, {})
    with pytest.raises(ValueError, match="Attention 'attention' has 3 heads of queries with 2 of keys"):
        fn.import_onnx(path)
