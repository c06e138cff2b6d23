"""Files of ONNX that models are written to, in onnxruntime; and read back, where layers can be made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import funcnn as fn
from tests.with_onnx.onnx_helpers import by_name, check_export, check_import, close, inputs, parameters, run

NOT_EXPRESSIBLE = {"elementwise": "functions are of Python"}
"""The kinds of layers that are not written, and a part of the reason."""

NOT_READ = {"embedding_bag": "a choice of integers", "positions": "a cast from int64 to float64"}
"""Kinds of layers that are not read where their input is a tree, as with a mask or a cache, and why."""

ROWS = fn.testing.table_of_layers()
NAMES = [f"{number}-{layer.kind}" for number, (layer, _) in enumerate(ROWS)]


@pytest.mark.parametrize(("layer", "shape"), ROWS, ids=NAMES)
def test_each_layer_of_the_table_is_written_and_read(tmp_path: Path, layer: fn.Layer, shape: Any) -> None:
    random = np.random.default_rng(0)
    params, x, path = parameters(layer, shape, random), inputs(shape, 3, random), tmp_path / "layer.onnx"
    if layer.kind in NOT_EXPRESSIBLE:
        with pytest.raises(ValueError, match=f"the model: {layer.kind}.*, since .*{NOT_EXPRESSIBLE[layer.kind]}"):
            fn.export_onnx(path, layer, params, shape)
        assert not path.exists()
        return
    check_export(path, layer, params, shape, x)
    if layer.kind in NOT_READ and isinstance(shape, dict):
        with pytest.raises(ValueError, match=NOT_READ[layer.kind]):
            fn.import_onnx(path)
        return
    check_import(path, layer, params, x)


def test_the_lists_are_right() -> None:
    assert NOT_EXPRESSIBLE.keys() | NOT_READ.keys() <= {layer.kind for layer, _ in ROWS}


@pytest.mark.parametrize("opset", [20, 21, 23, 26])
def test_each_layer_of_the_table_in_other_versions(tmp_path: Path, opset: int) -> None:
    for layer, shape in ROWS:
        if layer.kind not in NOT_EXPRESSIBLE:
            random = np.random.default_rng(0)
            params, x = parameters(layer, shape, random), inputs(shape, 3, random)
            check_export(tmp_path / "layer.onnx", layer, params, shape, x, opset=opset)


@pytest.mark.parametrize("opset", [18, 20, 23, 26])
def test_every_version_of_the_operators(tmp_path: Path, opset: int) -> None:
    model = fn.serial(fn.conv2d(4, 3, activation=fn.gelu()), fn.group_norm(2), fn.upsample2d(2), fn.global_max_pool2d,
                      fn.dense(3, activation="softmin"))  # fmt: skip
    random = np.random.default_rng(0)
    params, x = parameters(model, (5, 4, 2), random), inputs((5, 4, 2), 3, random)
    file = check_export(tmp_path / "model.onnx", model, params, (5, 4, 2), x, opset=opset)
    assert [(one.domain, one.version) for one in file.opset_import] == [("", opset)]
    assert {node.op_type for node in file.graph.node} >= ({"Gelu"} if opset >= 20 else {"Erf"})


MNIST = fn.serial(
    fn.conv2d(6, 5, activation=fn.relu), fn.max_pool2d(2), fn.conv2d(8, 5, activation=fn.relu), fn.max_pool2d(2),
    fn.flatten, fn.dropout(0.2), fn.dense(16, activation=fn.relu), fn.dropout(0.2), fn.dense(10),
)  # fmt: skip
BLOCK = fn.serial(
    fn.residual(fn.conv2d(4, 3, padding="same"), fn.batch_norm(activation="relu"), fn.conv2d(4, 3, padding="same"),
                fn.batch_norm()), fn.relu,
)  # fmt: skip
RESIDUAL = fn.serial(
    fn.conv2d(4, 3, stride=2), fn.batch_norm(), fn.relu, BLOCK, BLOCK, fn.global_avg_pool2d, fn.dense(3)
)
LANGUAGE = fn.serial(
    fn.embedding(11, 8), fn.positions("learned", 6), fn.transformer_encoder_layer(8, 2, causal=True, dropout=0.1),
    fn.transformer_encoder_layer(8, 2, causal=True, activation="gelu"), fn.layer_norm(), fn.dense(11),
)  # fmt: skip
TAGGER = fn.serial(fn.embedding(9, 4), fn.bidirectional(fn.lstm(5)), fn.lstm(3, return_sequences=False), fn.dense(2))
EXAMPLES = {
    "mnist": (MNIST, (28, 28, 1)), "residual": (RESIDUAL, (9, 9, 3)),
    "language": (LANGUAGE, fn.spec((6,), int)), "lstm": (TAGGER, fn.spec((7,), int)),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_models_of_the_examples(tmp_path: Path, name: str) -> None:
    model, shape = EXAMPLES[name]
    random = np.random.default_rng(0)
    params = parameters(model, shape, random)
    for batch in (1, 4):
        check_export(tmp_path / "model.onnx", model, params, shape, inputs(shape, batch, random))
    for _ in range(2):  # there and back, and once more
        again, own = fn.import_onnx(tmp_path / "model.onnx")
        x = inputs(shape, 5, random)
        close(again.apply(own, x)[0], model.apply(params, x)[0])
        check_export(tmp_path / "model.onnx", again, own, shape, x, opset=26)


def test_names_are_paths_and_the_batch_is_open(tmp_path: Path) -> None:
    model = fn.serial(fn.named("stem", fn.conv2d(4, 3)), fn.relu, fn.flatten, fn.dense(2))
    params = model.init((5, 4, 2), 0)
    file = check_export(tmp_path / "model.onnx", model, params, (5, 4, 2), np.ones((2, 5, 4, 2), np.float32))
    assert {"stem/w", "stem/b", "dense_0/w", "dense_0/b"} <= {one.name for one in file.graph.initializer}
    assert [node.name for node in file.graph.node if node.op_type in ("Conv", "MatMul")] == [
        "stem/Conv",
        "dense_0/MatMul",
    ]
    (x,) = file.graph.input
    assert [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] == ["batch", 5, 4, 2]
    assert file.producer_name == "funcnn"


def test_a_transposition_disappears_where_it_meets_its_inverse(tmp_path: Path) -> None:
    model = fn.serial(fn.conv2d(4, 3), fn.relu, fn.max_pool2d(2), fn.conv2d(3, 1), fn.sigmoid)
    params = model.init((6, 6, 2), 0)
    file = check_export(tmp_path / "model.onnx", model, params, (6, 6, 2), np.ones((2, 6, 6, 2), np.float32))
    assert [node.op_type for node in file.graph.node].count("Transpose") == 2


def test_float64_stays_float64(tmp_path: Path) -> None:
    model, shape = fn.serial(fn.dense(3, activation="tanh"), fn.layer_norm()), fn.spec((4,), np.float64)
    params = fn.tree.cast(model.init((4,), 0), np.float64)
    check_export(tmp_path / "model.onnx", model, params, shape, np.random.default_rng(0).random((2, 4)))


def test_a_wrapped_constructor_is_seen_through(tmp_path: Path) -> None:
    @fn.protocol.layer(per_example=True)
    def head(units: int) -> fn.Layer:
        return fn.dense(units, activation="relu")

    model = fn.serial(head(3), fn.named("last", fn.frozen(head(2))))
    check_export(tmp_path / "model.onnx", model, model.init((4,), 0), (4,), np.ones((2, 4), np.float32))


def test_all_layers_that_cannot_be_written_are_named_and_the_old_file_stays(tmp_path: Path) -> None:
    own = (lambda shape, rng: {}, lambda params, x: (x, lambda dy: ({}, dy)))
    odd = fn.elementwise(np.sin, lambda x, y: np.cos(x), name="odd")
    model = fn.serial(fn.dense(2), odd, fn.named("mine", fn.protocol.as_layer(own)), fn.residual(fn.named("in", odd)))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="ONNX cannot express these layers") as caught:
        fn.export_onnx(path, model, model.init((3,), 0), (3,))
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "odd_0",
        "mine",
        "residual_0/in",
    ]
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda path: fn.export_onnx(path, fn.dense(2), {}, (3,)), ValueError, "dense: expected a parameter 'w'"),
        (
            lambda path: fn.export_onnx(path, fn.dense(2), fn.dense(2).init((4,), 0), (3,)),
            ValueError,
            "got 3 in an input",
        ),
        (
            lambda path: fn.export_onnx(path, fn.batch_norm(), fn.batch_norm().init((3,), 0), (3,)),
            ValueError,
            "calibrate",
        ),
        (lambda path: fn.export_onnx(path, fn.relu, {}, (3,), opset=17), ValueError, "opset must be 18 to 26, got 17"),
        (lambda path: fn.export_onnx(path, fn.relu, {}, (3,), opset=27), ValueError, "opset must be 18 to 26, got 27"),
        (lambda path: fn.export_onnx(path, fn.relu, {}, 3), TypeError, "export_onnx: shape is that of one example"),
        (lambda path: fn.export_onnx(path / "no", fn.relu, {}, (3,)), OSError, "no"),
    ],
)
def test_bad_arguments(tmp_path: Path, call: Any, error: Any, words: str) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(error, match=words):
        call(path)
    assert not path.exists()


def test_a_changed_apply_is_no_layer_of_ours(tmp_path: Path) -> None:
    from dataclasses import replace

    changed = replace(fn.dense(2), apply=lambda params, x: (x, lambda dy: ({}, dy)))
    with pytest.raises(ValueError, match="its apply is not the one that dense made"):
        fn.export_onnx(tmp_path / "model.onnx", changed, {}, (3,))


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    heads = fn.branch(digit=fn.dense(3), colour=fn.dense(2))
    model = fn.serial(fn.parallel(image=fn.flatten, table=fn.relu), fn.merge("concat"), heads)
    shape = {"image": (4, 4), "table": (3,)}
    random = np.random.default_rng(0)
    params, x = parameters(model, shape, random), inputs(shape, 3, random)
    check_export(tmp_path / "model.onnx", model, params, shape, x)
    assert run(tmp_path / "model.onnx", by_name(x, "input")).keys() == {"output/digit", "output/colour"}
    assert isinstance(onnx.load(tmp_path / "model.onnx"), onnx.ModelProto)


CELL = fn.branch(
    x=fn.serial(fn.parallel(x=fn.dense(2), state=fn.on("h", fn.dense(2))), fn.graph(
        {"y": (fn.merge("add"), ("input/x", "input/state/h"))}, "y")),
    state=fn.branch(
        h=fn.serial(fn.branch(x=fn.select("x"), h=fn.serial(fn.select("state"), fn.select("h"))), fn.merge("concat"),
                    fn.dense(3, activation="tanh")),
        n=fn.serial(fn.select("state"), fn.select("n"), fn.affine(0.5, 1.0)),
    ),
)  # fmt: skip
STATE = {"h": (3,), "n": ()}


@pytest.mark.parametrize(
    "shape",
    [(4, 2), {"x": (4, 2), "state": STATE}, {"x": (4, 2), "state": {}}, {"x": (4, 2), "mask": fn.spec((4,), bool)},
     {"x": (4, 2), "lengths": fn.spec((), int), "state": STATE}],
    ids=["x", "state", "no state yet", "mask", "lengths"],
)  # fmt: skip
@pytest.mark.parametrize("return_sequences", [True, False])
def test_a_cell_of_layers_is_the_inner_graph_of_a_scan(tmp_path: Path, shape: Any, return_sequences: bool) -> None:
    model = fn.serial(fn.scan(CELL, state=STATE, return_sequences=return_sequences))
    random = np.random.default_rng(0)
    params = parameters(model, shape, random)
    for batch in (1, 3):
        file = check_export(tmp_path / "model.onnx", model, params, shape, inputs(shape, batch, random))
    assert [node.op_type for node in file.graph.node].count("Scan") == 1


def test_a_scan_in_a_scan(tmp_path: Path) -> None:
    sums = fn.branch(x=fn.merge("add"), state=fn.merge("add"))
    rows = fn.serial(fn.select("x"), fn.scan(sums, state=(), return_sequences=False))
    model = fn.scan(fn.serial(fn.branch(x=rows, state=fn.select("state")), sums), state=())
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    check_export(tmp_path / "model.onnx", model, model.init((3, 4), 0), (3, 4), x)
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", {"input": x})["output"], x.sum(-1).cumsum(-1))


def test_the_part_of_a_cell_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    odd = fn.elementwise(np.sin, lambda x, y: np.cos(x), name="odd")
    cell = fn.branch(x=fn.serial(fn.merge("add"), odd), state=fn.merge("add"))
    model = fn.serial(fn.dense(2), fn.scan(cell, state=(2,)))
    with pytest.raises(ValueError, match=r"\n  scan_0/x/odd_0: odd, since its functions are of Python"):
        fn.export_onnx(tmp_path / "model.onnx", model, model.init((3, 4), 0), (3, 4))
    pair = (lambda shape, rng: {}, lambda params, tree: (tree, lambda dy: ({}, dy)))
    model = fn.serial(fn.dense(2), fn.scan(pair, state=(2,)))
    with pytest.raises(ValueError, match=r"\n  scan_0: layer, since its functions are of Python"):
        fn.export_onnx(tmp_path / "model.onnx", model, model.init((3, 4), 0), (3, 4))
