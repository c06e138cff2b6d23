"""A Scan of a file as a ``scan`` here, against onnxruntime: axes, directions, several arrays, and what is around it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import funcnn as fn
from tests.with_onnx.onnx_helpers import (
    check_export,
    check_gradients,
    check_import,
    close,
    inputs,
    parameters,
    run,
    written,
)

NODE = helper.make_node
ROWS = [(layer, shape) for layer, shape in fn.testing.table_of_layers() if layer.kind != "elementwise"]


def normal(*shape: int) -> np.ndarray:
    """Normal random numbers in float32."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def body(nodes: list[Any], states: dict[str, Any], elements: dict[str, Any], outs: dict[str, Any], **own: Any) -> Any:
    """The inner graph of a Scan: states and elements, to the new states, which end in 1, and outputs; c is a mask."""
    given = [
        helper.make_tensor_value_info(name, TensorProto.BOOL if name == "c" else TensorProto.FLOAT, shape)
        for name, shape in (states | elements).items()
    ]
    after = {f"{name}1": shape for name, shape in states.items()} | outs
    found = [helper.make_tensor_value_info(name, 1, shape) for name, shape in after.items()]
    return helper.make_graph(nodes, "body", given, found, [onnx.numpy_helper.from_array(a, n) for n, a in own.items()])


def agrees(path: Path, x: np.ndarray) -> tuple[fn.Layer, Any]:
    """The model of a file, whose output is that of onnxruntime, and whose gradients are right."""
    model, params = fn.import_onnx(path)
    close(model.apply(params, x)[0], run(path, {"x": x})["y"])
    check_gradients(model, params, x)
    return model, params


@pytest.mark.parametrize("opset", [18, 21, 26])
def test_each_layer_that_is_written_as_a_scan_comes_back(tmp_path: Path, opset: int) -> None:
    count, path = 0, tmp_path / "model.onnx"
    for layer, shape in ROWS:
        random = np.random.default_rng(0)
        params, x = parameters(layer, shape, random), inputs(shape, 3, random)
        fn.export_onnx(path, layer, params, shape, opset)
        if "Scan" not in {node.op_type for node in onnx.load(path).graph.node}:
            continue
        check_export(path, layer, params, shape, x, opset=opset)
        model, own, leaves = check_import(path, layer, params, x)
        check_gradients(model, own, leaves)
        check_export(tmp_path / "again.onnx", model, own, fn.specs(leaves), leaves, opset=opset)
        fn.save_model(tmp_path / "model.npz", model, own)
        again, same = fn.load_model(tmp_path / "model.npz")
        y, other = (one.apply(weights, leaves)[0] for one, weights in ((model, own), (again, same)))
        for one, two in zip(fn.tree.leaves(y), fn.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(one, two)
        count += 1
    assert count == 8


ROW, TIME = ("batch", 2), {"time": np.array([1])}
SUM = [NODE("Add", ["s", "e"], ["s1"]), NODE("Mul", ["s1", "e"], ["o"])]
CASES: dict[str, Any] = {
    "time in front, the last step first": (
        [NODE("Transpose", ["x"], ["t"], perm=[1, 0, 2]), NODE("ReduceMax", ["x", "time"], ["s0"], keepdims=0),
         NODE("Scan", ["s0", "t"], ["end", "u"], num_scan_inputs=1, scan_input_directions=[1],
              scan_output_directions=[1], body=body(SUM, {"s": ROW}, {"e": ROW}, {"o": ROW})),
         NODE("Transpose", ["u"], ["y"], perm=[1, 0, 2])], TIME, (3, 2),
    ),
    "several arrays, one of them a constant, and several outputs": (
        [NODE("Transpose", ["x"], ["t"], perm=[2, 1, 0]), NODE("ReduceMax", ["x", "time"], ["s0"], keepdims=0),
         NODE("Greater", ["x", "w"], ["m"]),
         NODE("Scan", ["s0", "x", "t", "m", "w"], ["end", "u", "v"], num_scan_inputs=4, scan_input_axes=[1, -2, 1, 0],
              scan_input_directions=[0, 1, 0, 0], scan_output_axes=[-1, 1], scan_output_directions=[1, 0],
              body=body([NODE("Transpose", ["f"], ["g"]), NODE("Mul", ["g", "k"], ["h"]),
                         NODE("Where", ["c", "h", "e"], ["n"]), NODE("Add", ["s", "n"], ["s1"]),
                         NODE("Mul", ["s1", "e"], ["o"]), NODE("ReduceSum", ["s1", "last"], ["p"])],
                        {"s": ROW}, {"e": ROW, "f": (2, "batch"), "c": ROW, "k": (2,)}, {"o": ROW, "p": ("batch", 1)},
                        last=np.array([1]))),
         NODE("Transpose", ["u"], ["a"], perm=[0, 2, 1]), NODE("Concat", ["a", "v"], ["y"], axis=2)],
        TIME | {"w": normal(3, 2)}, (3, 2),
    ),
    "weights and values from around it": (
        [NODE("MatMul", ["x", "w"], ["z"]), NODE("ReduceMean", ["z", "time"], ["q"], keepdims=0),
         NODE("Scan", ["q", "x"], ["end", "u"], num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1],
              body=body([NODE("MatMul", ["e", "w"], ["a"]), NODE("Add", ["a", "q"], ["b"]),
                         NODE("Mul", ["b", "s"], ["o"]), NODE("Tanh", ["o"], ["s1"])],
                        {"s": ("batch", 4)}, {"e": ROW}, {"o": ("batch", 4)})),
         NODE("Mul", ["end", "q"], ["f"]), NODE("Unsqueeze", ["f", "time"], ["g"]), NODE("Add", ["u", "g"], ["y"])],
        TIME | {"w": normal(2, 4)}, (3, 2),
    ),
    "a state with the batch behind, and one that has none": (
        [NODE("ReduceMax", ["x", "time"], ["r"]), NODE("Transpose", ["r"], ["s0"], perm=[1, 0, 2]),
         NODE("Scan", ["s0", "w", "x"], ["end", "count", "u"], num_scan_inputs=1, scan_input_axes=[1],
              scan_output_axes=[1],
              body=body([NODE("Mul", ["s", "n"], ["a"]), NODE("Add", ["a", "e"], ["s1"]), NODE("Tanh", ["n"], ["n1"]),
                         NODE("Squeeze", ["s1", "first"], ["o"])], {"s": (1, "batch", 2), "n": (2,)}, {"e": ROW},
                        {"o": ROW}, first=np.array([0]))),
         NODE("Mul", ["u", "count"], ["y"])], TIME | {"w": normal(2)}, (3, 2),
    ),
    "no state": (
        [NODE("Scan", ["x"], ["y"], num_scan_inputs=1, scan_input_axes=[2], scan_output_axes=[2],
              body=body([NODE("Softmax", ["e"], ["o"])], {}, {"e": ("batch", 3)}, {"o": ("batch", 3)}))], {}, (3, 2),
    ),
    "no output": (
        [NODE("ReduceMax", ["x", "time"], ["s0"], keepdims=0),
         NODE("Scan", ["s0", "x"], ["y"], num_scan_inputs=1, scan_input_axes=[1],
              body=body(SUM[:1], {"s": ROW}, {"e": ROW}, {}))], TIME, (3, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_scans(tmp_path: Path, name: str) -> None:
    nodes, constants, shape = CASES[name]
    rank = 2 if name == "no output" else 3
    path = written(tmp_path / "model.onnx", nodes, constants, ("batch", *shape), ("batch", *[None] * (rank - 1)))
    agrees(path, normal(5, *shape))


def test_a_scan_in_a_scan_comes_back(tmp_path: Path) -> None:
    sums = fn.branch(x=fn.merge("add"), state=fn.merge("add"))
    rows = fn.serial(fn.select("x"), fn.scan(sums, state=(), return_sequences=False))
    model = fn.scan(fn.serial(fn.branch(x=rows, state=fn.select("state")), sums), state=())
    fn.export_onnx(tmp_path / "model.onnx", model, {}, (3, 4))
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    check_gradients(*check_import(tmp_path / "model.onnx", model, {}, x))


def test_a_weight_in_a_step_and_around_it_is_one_parameter(tmp_path: Path) -> None:
    path = written(tmp_path / "model.onnx", CASES["weights and values from around it"][0],
                   CASES["weights and values from around it"][1], ("batch", 3, 2), None)  # fmt: skip
    _, params = agrees(path, normal(5, 3, 2))
    assert [leaf.shape for leaf in fn.tree.leaves(params)] == [(2, 4)]


def test_zeros_to_start_with_are_not_learned(tmp_path: Path) -> None:
    model = fn.scan(fn.branch(x=fn.merge("add"), state=fn.merge("add")), state=(2,))
    fn.export_onnx(tmp_path / "model.onnx", model, {}, (3, 2))
    again, params = fn.import_onnx(tmp_path / "model.onnx")
    y, vjp_fn = again.apply(params, np.ones((2, 3, 2), np.float32))
    assert not [leaf for leaf in fn.tree.leaves(vjp_fn(np.ones_like(y))[0]) if leaf is not None]


@pytest.mark.parametrize(
    ("nodes", "states", "words"),
    [
        ([NODE("Det", ["s"], ["d"]), NODE("Add", ["d", "e"], ["s1"]), *SUM[1:]], ROW,
         r"unsupported operators \['Det'\]$"),
        ([NODE("ReduceSum", ["e"], ["d"]), NODE("Add", ["s", "d"], ["s1"]), *SUM[1:]], ROW,
         "import_onnx: ReduceSum '' has a reduction over all axes, .* not supported$"),
        (SUM, (2,), r"Scan '' has a state of shape \(2,\) that becomes one of \(2,\), or gets another batch"),
    ],
)  # fmt: skip
def test_what_a_step_cannot_do_is_said(tmp_path: Path, nodes: Any, states: Any, words: str) -> None:
    scan = NODE("Scan", ["s0" if states == ROW else "w", "x"], ["end", "y"], num_scan_inputs=1, scan_input_axes=[1],
                scan_output_axes=[1], body=body(nodes, {"s": states}, {"e": ROW}, {"o": ROW}))  # fmt: skip
    first = NODE("ReduceMax", ["x", "time"], ["s0"], keepdims=0)
    path = written(tmp_path / "model.onnx", [first, scan], TIME | {"w": normal(2)}, ("batch", 3, 2), [None] * 3)
    with pytest.raises(ValueError, match=words):
        fn.import_onnx(path)


def test_integers_are_scanned_alone(tmp_path: Path) -> None:
    cell = fn.branch(x=fn.serial(fn.select("x"), fn.embedding(5, 3)), state=fn.select("state"))
    model, path, tokens = fn.scan(cell, state=(3,)), tmp_path / "model.onnx", fn.spec((4,), int)
    params = parameters(model, tokens, np.random.default_rng(0))
    fn.export_onnx(path, model, params, tokens)
    check_import(path, model, params, np.array([[0, 4, 2, 1]]))
    fn.export_onnx(path, model, params, {"x": tokens, "mask": fn.spec((4,), bool)})
    with pytest.raises(ValueError, match=r"Scan 'Scan' has integers as a state, .* or beside other arrays"):
        fn.import_onnx(path)
