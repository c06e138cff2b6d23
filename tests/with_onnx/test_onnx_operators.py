"""Single operators of files of ONNX against onnxruntime, each with the options that people meet in files."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import funcnn as fn
from tests.with_onnx.onnx_helpers import check_gradients, close, run, written
from tests.with_onnx.onnx_networks import exported

NODE = helper.make_node
RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    """Normal random numbers in float32."""
    return RANDOM.standard_normal(shape).astype(np.float32)


def whole(*values: Any) -> np.ndarray:
    """An array of whole numbers."""
    return np.array(values)


V, W, B = normal(4), normal(4, 5), normal(5)
HALF = np.array(0.5, np.float32)

CASES: dict[str, Any] = {
    "a vector behind": ([NODE("MatMul", ["x", "v"], ["y"])], {"v": V}, (3, 4)),
    "a vector in front": ([NODE("MatMul", ["v", "x"], ["y"])], {"v": V}, (4, 3)),
    "a matrix in front": ([NODE("MatMul", ["w", "x"], ["y"])], {"w": W.T.copy()}, (4, 3)),
    "Gemm": ([NODE("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0)], {"w": W, "b": B}, (4,)),
    "Gemm, transposed": (
        [NODE("Transpose", ["x"], ["a"], perm=[1, 0]), NODE("Gemm", ["a", "w"], ["y"], transA=1, transB=1)],
        {"w": W.T.copy()}, (4,),
    ),
    "Gemm, with what depends on the input": (
        [NODE("MatMul", ["x", "w"], ["c"]), NODE("Gemm", ["x", "w", "c"], ["y"], alpha=0.5, beta=2.0)], {"w": W}, (4,)
    ),
    "Einsum, a matrix": ([NODE("Einsum", ["x", "w"], ["y"], equation="bti,io->bto")], {"w": W}, (3, 4)),
    "Einsum, heads": (
        [NODE("Einsum", ["x", "x"], ["s"], equation="bqhd,bkhd->bhqk"),
         NODE("Einsum", ["s", "x"], ["y"], equation="bhqk,bkhd->bqhd")], {}, (3, 2, 4),
    ),
    "Einsum, in another order": (
        [NODE("Einsum", ["x", "w"], ["a"], equation="bij,ik->kbj"), NODE("Transpose", ["a"], ["y"], perm=[1, 2, 0])],
        {"w": W}, (4, 3),
    ),
    "Resize to one pixel": (
        [NODE("Resize", ["x", "", "", "n"], ["y"], mode="linear", axes=[2, 3],
              coordinate_transformation_mode="pytorch_half_pixel")],
        {"n": whole(3, 1)}, (2, 4, 4),
    ),
    "CumSum": ([NODE("CumSum", ["x", "axis"], ["y"])], {"axis": whole(1)[0]}, (3, 4)),
    "CumSum, reverse and exclusive": (
        [NODE("CumSum", ["x", "axis"], ["y"], reverse=1, exclusive=1)], {"axis": whole(-1)[0]}, (3, 4)
    ),
    "Tile": ([NODE("Tile", ["x", "n"], ["y"])], {"n": whole(1, 2, 3)}, (3, 4)),
    "Expand": ([NODE("Expand", ["x", "n"], ["y"])], {"n": whole(1, 3, 4)}, (1, 4)),
    "Trilu": ([NODE("Trilu", ["x", "k"], ["a"], upper=0), NODE("Trilu", ["a"], ["y"])], {"k": whole(1)[0]}, (3, 4)),
    "GatherND": (
        [NODE("Transpose", ["x"], ["a"], perm=[1, 2, 0]), NODE("GatherND", ["a", "n"], ["b"]),
         NODE("Transpose", ["b"], ["y"], perm=[1, 0])], {"n": whole([0, 1], [-1, 2], [0, 1])}, (3, 4),
    ),
    "Pad, negative": ([NODE("Pad", ["x", "n"], ["y"])], {"n": whole(0, -1, 2, 0, 1, -1)}, (3, 4)),
    "ReduceLogSumExp": ([NODE("ReduceLogSumExp", ["x", "n"], ["y"], keepdims=1)], {"n": whole(1)}, (3, 4)),
    "Where, of numbers": (
        [NODE("Greater", ["x", "h"], ["m"]), NODE("Where", ["m", "x", "h"], ["y"])], {"h": HALF}, (3,)
    ),
    "conditions": (
        [NODE("LessOrEqual", ["x", "h"], ["a"]), NODE("GreaterOrEqual", ["x", "z"], ["b"]),
         NODE("And", ["a", "b"], ["c"]), NODE("Not", ["c"], ["d"]), NODE("Equal", ["x", "x"], ["e"]),
         NODE("Or", ["d", "e"], ["f"]), NODE("Less", ["x", "h"], ["g"]), NODE("And", ["f", "g"], ["i"]),
         NODE("Cast", ["i"], ["k"], to=1), NODE("Mul", ["x", "k"], ["y"])],
        {"h": HALF, "z": np.float32(-0.5)}, (3, 4),
    ),
    "Attention": ([NODE("Attention", ["x", "x", "x"], ["y"], is_causal=1, scale=0.7)], {}, (2, 3, 4)),
    "Attention, of joined heads": (
        [NODE("Attention", ["x", "x", "x", "m"], ["y"], q_num_heads=2, kv_num_heads=2)],
        {"m": np.array([[True, False, True]] * 3)}, (3, 8),
    ),
    "Attention, with what is added": (
        [NODE("Attention", ["x", "x", "x", "m"], ["y"])], {"m": normal(2, 3, 3)}, (2, 3, 4)
    ),
    **{f"Resize, {where}, {how}, {scales}": (
        [NODE("Resize", ["x", "", "s"], ["y"], mode=mode, coordinate_transformation_mode=where,
              nearest_mode=how or "floor")],
        {"s": np.array(scales, np.float32)}, (2, 5, 6))
       for where in ("asymmetric", "half_pixel", "align_corners")
       for mode, how in (("nearest", "floor"), ("nearest", "ceil"), ("nearest", "round_prefer_ceil"), ("linear", ""))
       for scales in ((1, 1, 2, 3), (1, 1, 1.5, 0.5), (1, 2, 1, 1))},
    "Resize, cubic": (
        [NODE("Resize", ["x", "", "", "s"], ["y"], mode="cubic", cubic_coeff_a=-0.5, axes=[2, 3])],
        {"s": whole(7, 8)}, (2, 5, 6),
    ),
    **{f"ConvTranspose, {options}": ([NODE("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], **options)],
                                     {"w": normal(2, 3, 3, 4)}, (2, 5, 6))
       for options in ({"auto_pad": "SAME_LOWER"}, {"auto_pad": "SAME_UPPER"}, {"output_shape": [10, 11]})},
    **{name: ([NODE(name, ["x"], ["y"])], {}, (3,))
       for name in ("Asinh", "Atan", "Ceil", "Cosh", "Floor", "Round", "Sign", "Sinh", "Tan")},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators(tmp_path: Path, name: str) -> None:
    nodes, constants, shape = CASES[name]
    path = written(tmp_path / "model.onnx", nodes, constants, ("batch", *shape), None, opsets={"": 23})
    x = np.random.default_rng(1).standard_normal((5, *shape)).astype(np.float32)
    model, params = fn.import_onnx(path)
    y, wanted = model.apply(params, x)[0], run(path, {"x": x})["y"]
    close(y, wanted)
    check_gradients(model, params, x)


EVERY_VERSION: dict[str, Any] = {
    **{f"Einsum, {equation}": ([NODE("Einsum", names, ["y"], equation=equation)], constants, shape)
       for equation, names, constants, shape in (
           ("bi,bj,iju->bu", ["x", "x", "w"], {"w": normal(4, 4, 3)}, (4,)),
           ("...i, ...j, iju -> ...u", ["x", "x", "w"], {"w": normal(4, 4, 3)}, (3, 4)),
           ("bti,ij,btj,j->bt", ["x", "w", "x", "v"], {"w": normal(4, 4), "v": V}, (3, 4)),
           ("...i,...i", ["x", "v"], {"v": normal(1, 1, 3, 4)}, (2, 3, 4)),
           ("bij,ij", ["x", "w"], {"w": normal(3, 4)}, (3, 4)),
           ("bti,ui->bu", ["x", "w"], {"w": W.T.copy()}, (3, 4)),
           ("bij->bj", ["x"], {}, (3, 4)),
           ("b...->b...", ["x"], {}, (3, 4)),
           ("bij,jk,kl,l->bi", ["x", "a", "b", "c"], {"a": W, "b": W.T.copy(), "c": V}, (3, 4)),
       )},
    **{f"Col2Im, {options}": (
        [NODE("Col2Im", ["x", "image", "block"], ["y"], **options)], {"image": whole(5, 6), "block": whole(2, 3)},
        (12, windows))
       for options, windows in (
           ({}, 16), ({"strides": [1, 2], "pads": [1, 0, 0, 1]}, 15), ({"dilations": [2, 1], "strides": [2, 3]}, 4))},
    **{f"TopK, {options}": ([NODE("TopK", ["x", "k"], ["y", "places"], **options)], {"k": whole(2)}, (3, 4))
       for options in ({}, {"axis": 1}, {"axis": -2, "largest": 0})},
    "TopK, of one element": ([NODE("TopK", ["x", "k"], ["y", "places"], axis=1)], {"k": whole(1)}, (1, 4)),
    "ReduceProd": ([NODE("ReduceProd", ["x", "n"], ["y"])], {"n": whole(1, -1)}, (3, 2, 4)),
    "ReduceProd, without the axis": ([NODE("ReduceProd", ["x", "n"], ["y"], keepdims=0)], {"n": whole(2)}, (3, 4)),
    **{f"{kind}, of one element": ([NODE(kind, ["x", "n"], ["y"])], {"n": whole(1)}, (1, 4))
       for kind in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd")},
}  # fmt: skip


@pytest.mark.parametrize("opset", [18, 21, 26])
@pytest.mark.parametrize("name", EVERY_VERSION)
def test_operators_of_every_version(tmp_path: Path, name: str, opset: int) -> None:
    nodes, constants, shape = EVERY_VERSION[name]
    out = ("batch", None, None) if name == "Einsum, ...i,...i" else None  # whose shape is not inferred
    path = written(tmp_path / "model.onnx", nodes, constants, ("batch", *shape), out, opsets={"": opset})
    x = np.random.default_rng(1).standard_normal((5, *shape)).astype(np.float32)
    model, params = fn.import_onnx(path)
    close(model.apply(params, x)[0], run(path, {"x": x})["y"])
    check_gradients(model, params, x)


@pytest.mark.parametrize("opset", [18, 21, 26])
@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_one_hot(tmp_path: Path, axis: int, opset: int) -> None:
    nodes = [NODE("OneHot", ["x", "depth", "values"], ["y"], axis=axis)]
    constants = {"depth": whole(4), "values": np.array([-0.5, 2], np.float32)}
    out, opsets = ("batch", None, None), {"": opset}
    path = written(tmp_path / "model.onnx", nodes, constants, ("batch", 3), out, TensorProto.INT64, opsets)
    x = whole([0, 3, 1], [2, 2, 0])
    model, params = fn.import_onnx(path)
    y, vjp_fn = model.apply(params, x)
    close(y, run(path, {"x": x})["y"])
    assert [leaf for leaf in fn.tree.leaves(vjp_fn(y)[0]) if leaf is not None] == []
    with pytest.raises(ValueError, match="expected tokens from 0 to 3, got 4"):
        model.apply(params, x + 1)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (NODE("Einsum", ["x", "w"], ["y"], equation="bii,i->b"), "'bii,i->b' with a diagonal"),
        (NODE("Einsum", ["x", "x"], ["y"], equation="bij,bjk->ik"), "a product over the batch"),
        (NODE("Einsum", ["x"], ["y"], equation="bij->ij"), "a reduction over the batch"),
        (NODE("TopK", ["x", "one"], ["values", "z"]), "the places of the elements as an output that is used"),
        (NODE("OneHot", ["x", "depth", "w"], ["y"]), "indices of float32 and values of float32; expected integers"),
    ],
)
def test_what_operators_cannot_do_is_said(tmp_path: Path, node: Any, words: str) -> None:
    nodes = [node, NODE("Cast", ["z"], ["y"], to=1)] if "z" in node.output else [node]
    constants = {"w": normal(2), "depth": whole(4), "one": whole(1)}
    path = written(tmp_path / "model.onnx", nodes, constants, ("batch", 2, 2), None)
    with pytest.raises(ValueError, match=words):
        fn.import_onnx(path)


def test_masks_and_zeros_are_not_learned(tmp_path: Path) -> None:
    mask = np.where(np.tri(3, dtype=bool), 0, np.finfo(np.float32).min).astype(np.float32)
    nodes = [
        NODE("Add", ["x", "mask"], ["a"]),
        NODE("Where", ["triangle", "a", "low"], ["b"]),
        NODE("Trilu", ["b"], ["c"], upper=0),
        NODE("Tile", ["c", "n"], ["d"]),
        NODE("Add", ["d", "w"], ["y"]),
    ]
    constants = {"mask": mask, "triangle": mask == 0, "low": np.float32(-1e9), "n": whole(1, 1, 2), "w": normal(6)}
    model, params = fn.import_onnx(written(tmp_path / "model.onnx", nodes, constants, ("batch", 3, 3), [None] * 3))
    y, vjp_fn = model.apply(params, np.ones((2, 3, 3), np.float32))
    grads = vjp_fn(np.ones_like(y))[0]
    assert [leaf.shape for leaf in fn.tree.leaves(grads) if leaf is not None] == [(6,)]


def test_float64_meets_booleans_and_numbers(tmp_path: Path) -> None:
    nodes = [
        NODE("Where", ["m", "x", "low"], ["a"]),
        NODE("Tile", ["a", "n"], ["b"]),
        NODE("Cast", ["b"], ["y"], to=11),
    ]
    constants = {"m": np.tri(3, dtype=bool), "low": np.float64(-2), "n": whole(1, 1, 2)}
    path = written(tmp_path / "model.onnx", nodes, constants, ("batch", 3, 3), ("batch", 3, 6), TensorProto.DOUBLE)
    file = onnx.load(path)
    file.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    onnx.save(file, path)
    model, params = fn.import_onnx(path)
    x = np.ones((2, 3, 3))
    close(model.apply(params, x)[0], run(path, {"x": x})["y"])


@pytest.mark.parametrize("condition", [True, False])
def test_the_branch_of_a_known_choice_is_taken(tmp_path: Path, condition: bool) -> None:
    def branch(name: str, kind: str) -> Any:
        inner = [NODE(kind, ["h"], [f"{name}_a"]), NODE("Add", [f"{name}_a", f"{name}_b"], [f"{name}_out"])]
        out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, ("batch", 4))
        own = [onnx.numpy_helper.from_array(V, f"{name}_b")]
        return helper.make_graph(inner, name, [], [out], own)

    # MatMul's output is read in the branch only, and again outside of it, so that it gets no bias.
    nodes = [
        NODE("MatMul", ["x", "w"], ["h"]), NODE("Add", ["h", "v"], ["z"]),
        NODE("If", ["c"], ["i"], then_branch=branch("one", "Tanh"), else_branch=branch("other", "Neg")),
        NODE("Mul", ["i", "z"], ["y"]),
    ]  # fmt: skip
    constants = {"c": np.array(condition), "w": normal(3, 4), "v": V}
    path = written(tmp_path / "model.onnx", nodes, constants, ("batch", 3), None)
    x = normal(2, 3)
    model, params = fn.import_onnx(path)
    close(model.apply(params, x)[0], run(path, {"x": x})["y"])


WITHOUT_LAYERS: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "an attribute that nothing knows": (
        [NODE("Add", ["x", "w"], ["y"], axis=1, broadcast=1)], {"w": V}, "Add '' has the attributes axis=1, which",
    ),
    "a dropout of training": (
        [NODE("Dropout", ["x", "r", "t"], ["y"])], {"r": HALF, "t": np.array(True)},
        "Dropout '' has training_mode, which is not supported",
    ),
    "a quotient of integers": (
        [NODE("Div", ["x", "n"], ["z"]), NODE("Cast", ["z"], ["y"], to=1)],
        {"n": whole(2)}, "Div '' has a quotient of integers, which is cut to whole numbers, which is not supported",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_LAYERS)
def test_what_would_give_other_values_is_named(tmp_path: Path, name: str) -> None:
    nodes, constants, message = WITHOUT_LAYERS[name]
    dtype = TensorProto.INT64 if nodes[0].op_type == "Div" else TensorProto.FLOAT
    opset = 6 if nodes[0].op_type == "Add" else 23
    with pytest.raises(ValueError, match=re.escape(message)):
        fn.import_onnx(
            written(tmp_path / "model.onnx", nodes, constants, ("batch", 3, 4, 4), dtype=dtype, opsets={"": opset})
        )


def test_loops_and_open_choices_are_named(tmp_path: Path) -> None:
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, ("batch", 3))
    graph = helper.make_graph([NODE("Identity", ["x"], ["o"])], "g", [], [out])
    nodes = [NODE("ReduceSum", ["x"], ["s"], keepdims=0), NODE("Cast", ["s"], ["c"], to=9),
             NODE("If", ["c"], ["y"], then_branch=graph, else_branch=graph)]  # fmt: skip
    with pytest.raises(ValueError, match=r"unsupported operators \['If'\]"):
        fn.import_onnx(written(tmp_path / "model.onnx", nodes, {}, ("batch", 3)))


class Mixed(nn.Module):
    """What exporters write as shape arithmetic, choices, looked up indices and scatterings of small operators."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.body = nn.LocalResponseNorm(3), nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect")
        self.pool, self.shrink = nn.LPPool2d(2, 2), nn.Softshrink(0.2)

    def forward(self, x: Any) -> Any:
        x = self.shrink(self.body(self.norm(x)))[:, [3, 1, 1]]
        x = torch.where(x > 0.1, x, x.repeat(1, 1, 1, 1) * 0.5).tril()
        x = torch.nn.functional.pad(x, (-1, 1)) + x.cumsum(2).flip(3)
        return torch.einsum("bchw,bdhw->bcd", self.pool(x), self.pool(x.roll(1, 2))).logsumexp(-1)


@pytest.mark.parametrize(("dynamo", "opset"), [(False, 14), (False, 17), (True, 18), (True, 23)])
def test_exporters_and_versions(tmp_path: Path, dynamo: bool, opset: int) -> None:
    torch.manual_seed(0)
    network, x = Mixed(), torch.randn(2, 6, 4, 4)
    exported(tmp_path / "model.onnx", network, (x,), dynamo=dynamo, opset_version=opset)
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    x = torch.randn(3, 6, 4, 4)
    close(model.apply(params, x.numpy())[0], network(x).detach().numpy())


@pytest.mark.parametrize("opset", [14, 20, 23])
@pytest.mark.parametrize("norm_first", [True, False])
def test_encoders_of_every_version(tmp_path: Path, norm_first: bool, opset: int) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    network, x = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(2, 5, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported(tmp_path / "model.onnx", network, (x,), dynamo=opset > 20, opset_version=opset)
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    x = torch.randn(3, 5, 8)
    close(model.apply(params, x.numpy())[0], network(x).detach().numpy())


def test_sizes_of_a_fixed_batch_take_any(tmp_path: Path) -> None:
    nodes = [NODE("Resize", ["x", "", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="asymmetric")]
    path = written(tmp_path / "model.onnx", nodes, {"s": whole(2, 3, 7, 8)}, (2, 3, 5, 6), None)
    x = normal(2, 3, 5, 6)
    model, params = fn.import_onnx(path)
    close(model.apply(params, x)[0], run(path, {"x": x})["y"])
    close(model.apply(params, x[:1])[0], run(path, {"x": x})["y"][:1])


def test_names_in_any_language_stay_and_do_not_meet(tmp_path: Path) -> None:
    nodes = [NODE("Add", ["größe/x", "β"], ["和"], name="層/一:ä"), NODE("Relu", ["和"], ["y"], name="層/二")]
    names = ("größe/x", "β")
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", 3)) for name in names]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 3))]
    path = tmp_path / "model.onnx"
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, out), opset_imports=opsets, ir_version=8), path)
    model, params = fn.import_onnx(path)
    assert [*model.children] == ["層.一:ä", "層.二"]
    x = normal(2, 3)
    close(model.apply(params, {"größe.x": x, "β": x})[0], run(path, dict.fromkeys(names, x))["y"])
    nodes[0].input[1], inputs[1].name = "größe.x", "größe.x"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, out), opset_imports=opsets, ir_version=8), path)
    with pytest.raises(ValueError, match=r"two inputs are called 'größe.x' here, of which one is 'größe.x'"):
        fn.import_onnx(path)
