"""Files of ONNX that PyTorch and others wrote, as models here: the same outputs, and right gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import funcnn as fn
from tests.with_onnx.onnx_helpers import LIMIT, check_gradients, run, written
from tests.with_onnx.onnx_networks import Attention, Mobile, Recurrent, Transformer, TwoHeads, UNet, exported, residual

IMAGES = lambda channels, size: torch.randn(2, channels, size, size)  # noqa: E731
NETWORKS: dict[str, Any] = {
    "residual": (residual, lambda: IMAGES(3, 32)),
    "mobile": (Mobile, lambda: IMAGES(3, 16)),
    "unet": (UNet, lambda: IMAGES(1, 16)),
    "transformer": (Transformer, lambda: torch.randint(0, 11, (2, 6))),
    "LSTM": (lambda: Recurrent("LSTM"), lambda: torch.randn(2, 7, 3)),
    "GRU": (lambda: Recurrent("GRU"), lambda: torch.randn(2, 7, 3)),
    "RNN": (lambda: Recurrent("RNN"), lambda: torch.randn(2, 7, 3)),
}


def made(name: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    network, x = NETWORKS[name]
    model, example = network(), x()
    model.train()
    if example.dtype == torch.float32:
        with torch.no_grad():
            model(torch.cat([example] * 2))  # running statistics that are not those of the start
    return model.eval(), example


def agrees(model: fn.Layer, params: Any, network: Any, x: Any) -> None:
    with torch.no_grad():
        wanted = network(x).numpy()
    y = model.apply(params, x.numpy())[0]
    assert (y.shape, y.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(y, wanted, rtol=LIMIT, atol=LIMIT)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_pytorch(tmp_path: Path, name: str) -> None:
    network, x = made(name)
    exported(tmp_path / "model.onnx", network, (x,))
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    for batch in (1, 3):
        agrees(model, params, network, torch.cat([x] * 2)[:batch])
    check_gradients(model, params, x.numpy())
    fn.save_model(tmp_path / "model.npz", model, params)
    again, own = fn.load_model(tmp_path / "model.npz")
    agrees(again, own, network, x)


@pytest.mark.parametrize("name", ["residual", "transformer"])
def test_networks_of_pytorch_by_its_new_exporter_with_weights_beside_the_file(tmp_path: Path, name: str) -> None:
    network, x = made(name)
    exported(tmp_path / "model.onnx", network, (x,), dynamo=True)
    assert (tmp_path / "model.onnx.data").exists()
    agrees(*fn.import_onnx(tmp_path / "model.onnx"), network, torch.cat([x, x])[:3])


@pytest.mark.parametrize("name", ["residual", "mobile", "unet"])
def test_files_with_a_fixed_batch_take_any(tmp_path: Path, name: str) -> None:
    network, x = made(name)
    for batch in (1, 2):
        exported(tmp_path / "model.onnx", network, (x[:batch],), fixed=True)
        agrees(*fn.import_onnx(tmp_path / "model.onnx"), network, torch.cat([x, x])[:3])


def test_a_fixed_batch_that_is_joined_with_another_axis_must_tell_it(tmp_path: Path) -> None:
    network, x = made("transformer")
    exported(tmp_path / "model.onnx", network, (x,), fixed=True)
    agrees(*fn.import_onnx(tmp_path / "model.onnx"), network, torch.cat([x, x])[:3])
    exported(tmp_path / "model.onnx", network, (x[:1],), fixed=True)
    with pytest.raises(ValueError, match="the file has a batch of 1 in its shapes, write it with an open one"):
        fn.import_onnx(tmp_path / "model.onnx")


def test_the_gradients_are_those_of_pytorch_and_the_layers_are_ordinary_ones(tmp_path: Path) -> None:
    network, x = made("mobile")
    exported(tmp_path / "model.onnx", network, (x,))
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    x.requires_grad_()
    network(x).square().sum().backward()
    y, vjp_fn = model.apply(params, x.detach().numpy())
    grads, dx = vjp_fn(2 * y)
    np.testing.assert_allclose(dx, x.grad, rtol=1e-4, atol=1e-5)
    head = next(name for name, layer in model.children.items() if layer.kind == "dense")
    np.testing.assert_allclose(grads[head]["w"], network.head[1].weight.grad.T, rtol=1e-4, atol=1e-5)
    kinds = {layer.kind for layer in model.children.values()}
    assert {"conv2d", "depthwise_conv2d", "relu6", "hard_swish", "dense"} <= kinds
    report = str(fn.summary(model, params, x.shape[1:]))
    assert "1,237 learned parameters" in report
    fn.export_onnx(tmp_path / "again.onnx", model, params, x.shape[1:])
    found = run(tmp_path / "again.onnx", {"input": x.detach().numpy()})["output"]
    np.testing.assert_allclose(found, y, rtol=LIMIT, atol=LIMIT)


def test_fine_tuning_moves_the_weights_and_leaves_the_numbers(tmp_path: Path) -> None:
    network, x = made("transformer")
    exported(tmp_path / "model.onnx", network, (x,))
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    value_and_grad = fn.value_and_grad(model, fn.softmax_cross_entropy)
    before, grads = value_and_grad(params, x.numpy(), x.numpy())
    optimizer = fn.adam(1e-2)
    tuned, state = params, optimizer.init(params)
    for _ in range(5):
        _, grads = value_and_grad(tuned, x.numpy(), x.numpy())
        tuned, state = optimizer.step(grads, state, tuned)
    assert value_and_grad(tuned, x.numpy(), x.numpy())[0] < before / 2
    learned = {
        path: leaf for path, leaf in fn.tree.flatten(params).items() if leaf.size > 1 and np.isfinite(leaf).all()
    }
    changed = {
        path for path, leaf in fn.tree.flatten(tuned).items() if not np.array_equal(leaf, fn.tree.flatten(params)[path])
    }
    assert changed == set(learned)


def test_a_mask_that_comes_in(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, x, mask = Attention(), torch.randn(3, 5, 8), torch.rand(3, 5) < 0.7
    mask[:, 0] = True
    exported(tmp_path / "model.onnx", network, (x, mask), names=("x", "mask"))
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    tree = {"x": x.numpy(), "mask": mask.numpy()}
    np.testing.assert_allclose(model.apply(params, tree)[0], network(x, mask).detach(), rtol=LIMIT, atol=LIMIT)
    check_gradients(model, params, tree)


def test_several_inputs_and_outputs_have_their_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, image, table = TwoHeads(), torch.randn(2, 3), torch.randn(2, 2)
    exported(tmp_path / "model.onnx", network, (image, table), names=("image", "table"), outputs=("scores", "log/p"))
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    tree = {"image": image.numpy(), "table": table.numpy()}
    y = model.apply(params, tree)[0]
    wanted = network(image, table)
    assert y.keys() == {"scores", "log.p"}
    for leaf, other in zip((y["scores"], y["log.p"]), wanted, strict=True):
        np.testing.assert_allclose(leaf, other.detach(), rtol=LIMIT, atol=LIMIT)
    check_gradients(model, params, tree)
    fn.testing.check_layer(model, shape={"image": (3,), "table": (2,)})


RANDOM = np.random.default_rng(0)


def test_an_output_that_joins_the_batch_with_others_has_one_row_an_example(tmp_path: Path) -> None:
    for shape, wanted in (([-1, 4], (2, 3, 4)), ([-1, 1], (2, 12)), ([-1], (2, 12)), ([-1, 2, 2], (2, 3, 2, 2))):
        nodes = [NODE("Reshape", ["x", "shape"], ["y"])]
        path = written(tmp_path / "model.onnx", nodes, {"shape": np.array(shape)}, ("batch", 3, 4), [None] * len(shape))
        model, params = fn.import_onnx(path)
        x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        np.testing.assert_array_equal(model.apply(params, x)[0], x.reshape(wanted))


def test_operators_of_other_domains_are_not_taken_for_those_of_the_same_name(tmp_path: Path) -> None:
    nodes = [NODE("Relu", ["x"], ["y"], domain="com.example")]
    path = written(tmp_path / "model.onnx", nodes, {}, ("batch", 3), opsets={"com.example": 1})
    with pytest.raises(ValueError, match=r"unsupported operators \['com.example.Relu'\]"):
        fn.import_onnx(path)


def test_functions_of_the_file_are_their_nodes(tmp_path: Path) -> None:
    path = written(
        tmp_path / "model.onnx", [NODE("Twice", ["x"], ["y"], domain="own")], {}, ("batch", 3), opsets={"own": 1}
    )
    file = onnx.load(path)
    body, opsets = [NODE("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    file.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, opsets))
    onnx.save(file, path)
    model, params = fn.import_onnx(path)
    np.testing.assert_array_equal(model.apply(params, np.ones((2, 3), np.float32))[0], np.full((2, 3), 2))


NODE, INTS, FLOATS = helper.make_node, np.int64, np.float32
CASES: dict[str, Any] = {
    "folded shape arithmetic": (
        [
            NODE("Shape", ["x"], ["s"]),
            NODE("Gather", ["s", "zero"], ["b"]),
            NODE("Concat", ["b", "rest"], ["t"], axis=0),
            NODE("Reshape", ["x", "t"], ["y"]),
        ],
        {"zero": np.array([0]), "rest": np.array([-1])},
        ("batch", 2, 3),
    ),
    "the batch inside of an axis": (
        [
            NODE("Transpose", ["x"], ["a"], perm=[1, 0, 2]),
            NODE("Reshape", ["a", "flat"], ["b"]),
            NODE("MatMul", ["b", "w"], ["c"]),
            NODE("Reshape", ["c", "apart"], ["d"]),
            NODE("ReduceSum", ["d", "first"], ["y"], keepdims=0),
        ],
        {
            "flat": np.array([-1, 3]),
            "apart": np.array([2, -1, 4]),
            "first": np.array([0]),
            "w": RANDOM.standard_normal((3, 4)).astype(FLOATS),
        },
        ("batch", 2, 3),
    ),
    "a constant beside": (
        [NODE("Sub", ["w", "x"], ["y"])],
        {"w": RANDOM.standard_normal((2, 1)).astype(FLOATS)},
        ("batch", 2, 3),
    ),
    "a value with itself": (
        [NODE("Mul", ["x", "x"], ["a"]), NODE("Concat", ["a", "a"], ["y"], axis=-1)],
        {},
        ("batch", 3),
    ),
    "a norm by hand": (
        [
            NODE("ReduceMean", ["x", "last"], ["m"]),
            NODE("Sub", ["x", "m"], ["c"]),
            NODE("Pow", ["c", "two"], ["q"]),
            NODE("ReduceMean", ["q", "last"], ["v"]),
            NODE("Add", ["v", "eps"], ["e"]),
            NODE("Sqrt", ["e"], ["r"]),
            NODE("Div", ["c", "r"], ["y"]),
        ],
        {"last": np.array([-1]), "two": np.array(2, FLOATS), "eps": np.array(1e-5, FLOATS)},
        ("batch", 4),
    ),
    "gelu by hand": (
        [
            NODE("Div", ["x", "root"], ["a"]),
            NODE("Erf", ["a"], ["b"]),
            NODE("Add", ["b", "one"], ["c"]),
            NODE("Mul", ["x", "c"], ["d"]),
            NODE("Mul", ["d", "half"], ["y"]),
        ],
        {"root": np.array(2**0.5, FLOATS), "one": np.array(1, FLOATS), "half": np.array(0.5, FLOATS)},
        ("batch", 4),
    ),
    "pixels that move": (
        [NODE("SpaceToDepth", ["x"], ["a"], blocksize=2), NODE("DepthToSpace", ["a"], ["y"], blocksize=2, mode="CRD")],
        {},
        ("batch", 4, 4, 6),
    ),
    "padding that is uneven": (
        [
            NODE("MaxPool", ["x"], ["a"], kernel_shape=[2, 3], auto_pad="SAME_LOWER"),
            NODE(
                "AveragePool", ["a"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 2], count_include_pad=1
            ),
        ],
        {},
        ("batch", 2, 5, 6),
    ),
    "slices, splits and steps": (
        [
            NODE("Slice", ["x", "start", "end", "axis", "step"], ["a"]),
            NODE("Split", ["a", "sizes"], ["b", "c"], axis=2),
            NODE("Concat", ["c", "b"], ["y"], axis=2),
        ],
        {
            "start": np.array([-1]),
            "end": np.array([-100]),
            "axis": np.array([1]),
            "step": np.array([-2]),
            "sizes": np.array([1, 3]),
        },
        ("batch", 5, 4),
    ),
    "elements in any order": (
        [NODE("Gather", ["x", "order"], ["y"], axis=1)],
        {"order": np.array([[2, 0], [2, 1]])},
        ("batch", 3),
    ),
    "a choice by a known mask": (
        [NODE("Where", ["mask", "x", "low"], ["a"]), NODE("Softmax", ["a"], ["y"], axis=-1)],
        {"mask": np.tri(3, dtype=bool), "low": np.array(-np.inf, FLOATS)},
        ("batch", 3, 3),
    ),
    "slopes of channels": (
        [NODE("PRelu", ["x", "slope"], ["y"])],
        {"slope": np.array([[[0.1]], [[0.5]]], FLOATS)},
        ("batch", 2, 3, 3),
    ),
    "bounds of one side": (
        [NODE("Clip", ["x", "", "high"], ["a"]), NODE("Max", ["a", "low"], ["y"])],
        {"high": np.array(0.5, FLOATS), "low": np.array(-0.25, FLOATS)},
        ("batch", 3),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operators_against_onnxruntime(tmp_path: Path, name: str) -> None:
    nodes, constants, shape = CASES[name]
    x = np.random.default_rng(1).standard_normal((3, *shape[1:])).astype(np.float32)
    path = written(
        tmp_path / "model.onnx", nodes, constants, shape, ("batch", *[None] * 9)[: len(_out(nodes, constants, x))]
    )
    model, params = fn.import_onnx(path)
    wanted = run(path, {"x": x})["y"]
    y = model.apply(params, x)[0]
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=LIMIT, atol=LIMIT)
    check_gradients(model, params, x)


def _out(nodes: list[Any], constants: dict[str, Any], x: Any) -> tuple[int, ...]:
    """The shape of y, by the reference implementation."""
    from onnx.reference import ReferenceEvaluator

    infos = [helper.make_tensor_value_info("x", 1, x.shape)]
    own = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", infos, [helper.make_empty_tensor_value_info("y")], own)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return ReferenceEvaluator(model).run(None, {"x": x})[0].shape  # type: ignore[no-any-return]


def test_all_operators_that_are_not_supported_are_named(tmp_path: Path) -> None:
    nodes = [
        NODE("Det", ["x"], ["a"]), NODE("Relu", ["a"], ["b"]), NODE("Hardmax", ["b"], ["c"]),
        NODE("NonZero", ["x"], ["z"]), NODE("Unique", ["c"], ["y"]),
    ]  # fmt: skip
    path = written(tmp_path / "model.onnx", nodes, {}, ("batch", 3, 3))
    with pytest.raises(ValueError, match=r"import_onnx: unsupported operators \['Det', 'Hardmax', 'Unique'\]$"):
        fn.import_onnx(path)


@pytest.mark.parametrize(
    ("nodes", "constants", "shape", "words"),
    [
        (
            [NODE("ReduceMean", ["x", "axes"], ["y"])],
            {"axes": np.array([0])},
            ("batch", 3),
            "ReduceMean 'r' has a reduction over the batch",
        ),
        ([NODE("Softmax", ["x"], ["y"], axis=0)], {}, ("batch", 3), "Softmax 'r' has a softmax over the batch"),
        (
            [NODE("Transpose", ["x"], ["y"])],
            {},
            ("batch", 3),
            "output 'y': a value of shape .* whose first axis is not the batch",
        ),
        (
            [NODE("Resize", ["x", "", "s"], ["y"], mode="nearest")],
            {"s": np.array([2, 1, 1.5], FLOATS)},
            ("batch", 2, 4),
            "resampling of the batch",
        ),
        (
            [NODE("Relu", ["x"], ["y"])],
            {},
            ("batch", "time"),
            r"input 'x' has the shape \['batch', 'time'\].*pass shape=",
        ),
        ([NODE("Relu", ["x"], ["y"])], {}, (), "input 'x' is no array with a batch"),
    ],
)
def test_what_layers_cannot_do_is_said(tmp_path: Path, nodes: Any, constants: Any, shape: Any, words: str) -> None:
    nodes[0].name = "r"
    with pytest.raises(ValueError, match=words):
        fn.import_onnx(written(tmp_path / "model.onnx", nodes, constants, shape, shape))


def test_open_sizes_are_given(tmp_path: Path) -> None:
    path = written(tmp_path / "model.onnx", [NODE("Flatten", ["x"], ["y"])], {}, ("batch", "time", 3))
    model, params = fn.import_onnx(path, shape=(2, 3))
    assert model.apply(params, np.ones((4, 2, 3), np.float32))[0].shape == (4, 6)
    with pytest.raises(ValueError, match=r"pass shape=, that of one example, got \(2, 4\)"):
        fn.import_onnx(path, shape=(2, 4))


@pytest.mark.parametrize("content", [b"", b"\x00" * 50, b"PK\x03\x04 not a model", b'{"format": "funcnn model"}'])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is damaged, or no model of ONNX"):
        fn.import_onnx(path)


def test_every_truncation_is_an_error_of_the_file(tmp_path: Path) -> None:
    model = fn.serial(fn.dense(3), fn.relu, fn.dense(2))
    path = tmp_path / "model.onnx"
    fn.export_onnx(path, model, model.init((4,), 0), (4,))
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"import_onnx|is damaged, or no model of ONNX"):
            fn.import_onnx(path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        fn.import_onnx(tmp_path / "none.onnx")
    with pytest.raises(TypeError, match="import_onnx"):
        fn.import_onnx(3)  # type: ignore[arg-type]


def test_sparse_constants_raise_in_our_words(tmp_path: Path) -> None:
    values = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [2.0])
    places = onnx.helper.make_tensor("w_places", onnx.TensorProto.INT64, [1], [0])
    sparse = onnx.helper.make_sparse_tensor(values, places, [3])
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y])
    graph.sparse_initializer.append(sparse)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="import_onnx: the file has sparse constants"):
        fn.import_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": [1] * 70}, r"x.onnx is damaged, .*: the constant 'w': expected at most 64 axes, .* with 70 axes"),
        (
            {"dims": [0, 2**62], "raw": b""},
            r"x.onnx is damaged, .*: the constant 'w': .* got float32 of shape \(0, 4611",
        ),
        ({"type": 99}, "x.onnx is damaged, .*: 99 is no type of elements"),
        ({"x": [1] * 64}, "import_onnx: input 'x': expected at most 64 axes, .* got float32 with 65 axes"),
        ({"x": [2**62]}, r"import_onnx: input 'x': expected at most 64 axes, .* got float32 of shape \(1, 4611"),
        ({"x": [2**51]}, r"input 'x' has the shape \(1, 2251799813685248\) for one example, which does not fit into"),
        ({"x": [-3]}, r"import_onnx: input 'x': expected at most 64 axes, .* got float32 of shape \(1, -3\)"),
    ],
)
@pytest.mark.parametrize("as_node", [False, True])
def test_shapes_that_no_array_has_raise(tmp_path: Path, changes: Any, message: str, as_node: bool) -> None:
    given = {"dims": [1, 1], "raw": bytes(4), "type": onnx.TensorProto.FLOAT, "x": [1]} | changes
    tensor = onnx.TensorProto(name="w", dims=given["dims"], data_type=given["type"], raw_data=given["raw"])
    nodes = [onnx.helper.make_node("Constant", [], ["w"], value=tensor)] if as_node else []
    nodes.append(onnx.helper.make_node("MatMul", ["x", "w"], ["y"]))
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *sizes])
        for name, sizes in (("x", given["x"]), ("y", [1]))
    )
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], [] if as_node else [tensor])
    file = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    (tmp_path / "x.onnx").write_bytes(file.SerializeToString())
    with pytest.raises(ValueError, match=message):
        fn.import_onnx(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    "nodes",
    [
        [NODE("Expand", ["x", "n"], ["a"]), NODE("ReduceSum", ["a", "last"], ["y"])],
        [
            NODE("ConstantOfShape", ["n"], ["a"]),
            NODE("ReduceSum", ["a", "last"], ["s"]),
            NODE("Add", ["x", "s"], ["y"]),
        ],
    ],
)
def test_outputs_that_do_not_fit_into_memory_are_errors_of_the_file(tmp_path: Path, nodes: Any) -> None:
    nodes[0].name = "r"
    constants = {"n": np.array([1, 2**50]), "last": np.array([1])}
    path = written(tmp_path / "model.onnx", nodes, constants, ("batch", 1), ("batch", 1))
    with pytest.raises(ValueError, match=r"import_onnx: .* 'r' has .*Unable to allocate .* not supported"):
        fn.import_onnx(path)
