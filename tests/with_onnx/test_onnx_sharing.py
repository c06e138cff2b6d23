"""What a file has once and uses at several places is one parameter here, and in a file that it is written to again."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

import funcnn as fn
from tests.with_onnx.onnx_helpers import LIMIT, check_export, check_gradients, parameters, written
from tests.with_onnx.onnx_networks import exported

NODE = helper.make_node
RANDOM = np.random.default_rng(0)
W = RANDOM.standard_normal((3, 3)).astype(np.float32)


class Language(nn.Module):
    """The weight of the output layer is that of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden, self.out = nn.Embedding(11, 8), nn.Linear(8, 8), nn.Linear(8, 11)
        self.out.weight = self.embed.weight

    def forward(self, x: Any) -> Any:
        return self.out(torch.tanh(self.hidden(self.embed(x))))


class Siamese(nn.Module):
    """The same convolution, norm and recurrence twice, and a matrix beside its transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(4, 4, 3, padding=1), nn.LayerNorm(6)
        self.body, self.w = nn.LSTM(6, 6, batch_first=True), nn.Parameter(torch.randn(5, 6))
        nn.init.normal_(self.norm.weight)

    def forward(self, x: Any) -> Any:
        for _ in range(2):
            x = self.norm(self.body(torch.relu(self.conv(x)))[0])
        return torch.tanh(x @ self.w.t()) @ self.w


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize(("make", "learned"), [(Language, 4), (Siamese, 8)])
def test_tied_weights_of_pytorch_are_one_parameter(tmp_path: Path, make: Any, learned: int, dynamo: bool) -> None:
    torch.manual_seed(0)
    network = make()
    x = torch.randint(0, 11, (2, 5)) if make is Language else torch.randn(2, 4, 6)
    exported(tmp_path / "model.onnx", network, (x,), dynamo=dynamo)
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    assert len(fn.tree.leaves(params)) == learned
    y, vjp_fn = model.apply(params, x.numpy())
    np.testing.assert_allclose(y, network(x).detach(), rtol=LIMIT, atol=LIMIT)
    network(x).square().sum().backward()
    weight = network.embed.weight if make is Language else network.w
    ours = next(g for g in fn.tree.leaves(vjp_fn(2 * y)[0]) if g.shape in (weight.shape, weight.shape[::-1]))
    wanted = weight.grad if ours.shape == weight.shape else weight.grad.T
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4)
    check_gradients(model, params, x.numpy())
    again = tmp_path / "again.onnx"
    check_export(again, model, params, fn.specs(x.numpy()), x.numpy())
    assert len(fn.tree.leaves(fn.import_onnx(again)[1])) == learned


def test_an_array_that_is_added_twice_is_one_parameter(tmp_path: Path) -> None:
    nodes = [NODE("Add", ["x", "w"], ["a"]), NODE("Tanh", ["a"], ["b"]), NODE("Mul", ["b", "w"], ["y"])]
    model, params = fn.import_onnx(written(tmp_path / "model.onnx", nodes, {"w": W}, ("batch", 3, 3), [None] * 3))
    x = RANDOM.standard_normal((2, 3, 3)).astype(np.float32)
    assert len(fn.tree.leaves(params)) == 1
    np.testing.assert_allclose(model.apply(params, x)[0], np.tanh(x + W) * W, rtol=LIMIT)


def test_equal_arrays_that_the_file_has_twice_stay_two(tmp_path: Path) -> None:
    nodes = [NODE("MatMul", ["x", "v"], ["a"]), NODE("MatMul", ["a", "w"], ["y"])]
    _, params = fn.import_onnx(written(tmp_path / "model.onnx", nodes, {"v": W, "w": W}, ("batch", 3)))
    assert len(fn.tree.leaves(params)) == 2


@pytest.mark.parametrize(
    ("v", "w"), [(np.eye(3), np.eye(3)), (np.zeros((2, 3)), np.zeros((3, 2))), (np.eye(2, 3), np.eye(3, 2))]
)
def test_transposes_by_accident_stay_two(tmp_path: Path, v: Any, w: Any) -> None:
    nodes = [NODE("MatMul", ["x", "v"], ["a"]), NODE("MatMul", ["a", "w"], ["y"])]
    constants = {"v": v.astype(np.float32), "w": w.astype(np.float32)}
    _, params = fn.import_onnx(written(tmp_path / "model.onnx", nodes, constants, ("batch", len(v))))
    assert len(fn.tree.leaves(params)) == 2


def test_norms_as_they_started_are_not_shared_and_biases_of_a_shared_layer_are(tmp_path: Path) -> None:
    nodes = [
        NODE("LayerNormalization", ["x", "one", "zero"], ["a"]),
        NODE("Gemm", ["a", "w", "zero"], ["b"]),
        NODE("LayerNormalization", ["b", "one", "zero"], ["c"]),
        NODE("Gemm", ["c", "w", "zero"], ["y"]),
    ]
    constants = {"one": np.ones(3, np.float32), "zero": np.zeros(3, np.float32), "w": W}
    model, params = fn.import_onnx(written(tmp_path / "model.onnx", nodes, constants, ("batch", 3)))
    assert sorted(path.split("/")[1] for path in fn.tree.paths(params)) == [
        "b",
        "scale",
        "scale",
        "shift",
        "shift",
        "w",
    ]
    assert model.arguments["ties"].keys() == {"Gemm_1/b", "Gemm_1/w"}


@pytest.mark.parametrize(
    ("other", "constants", "shape"),
    [
        (NODE("Gemm", ["a", "w"], ["y"], alpha=0.5), {"w": W}, (3,)),
        (NODE("Conv", ["a", "v"], ["y"]), {"w": W}, (3, 3)),
    ],
)
def test_what_can_not_be_one_parameter_is_said(tmp_path: Path, other: Any, constants: Any, shape: Any) -> None:
    nodes = [NODE("MatMul", ["x", "w"], ["a"]), NODE("Unsqueeze", ["w", "last"], ["v"]), other]
    constants = {**constants, "last": np.array([2])}
    path = written(tmp_path / "model.onnx", nodes, constants, ("batch", *shape), [None] * (1 + len(shape)))
    words = r"the file has w once, which is the parameters MatMul/w .* and \w+/w .* training changes each alone"
    with pytest.warns(UserWarning, match=words) as caught:
        _, params = fn.import_onnx(path)
    assert [one.filename for one in caught] == [__file__]
    assert len(fn.tree.leaves(params)) == 2


def test_parts_of_an_array_are_parameters_without_a_warning(tmp_path: Path) -> None:
    nodes = [NODE("Split", ["w", "sizes"], ["u", "v"], axis=1), NODE("MatMul", ["x", "u"], ["a"]),
             NODE("MatMul", ["x", "v"], ["b"]), NODE("Concat", ["a", "b"], ["y"], axis=1)]  # fmt: skip
    constants = {"w": np.concatenate([W, W.T[:, :2]], 1), "sizes": np.array([3, 2])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, params = fn.import_onnx(written(tmp_path / "model.onnx", nodes, constants, ("batch", 3)))
    assert len(fn.tree.leaves(params)) == 2


def test_tied_parameters_are_one_array_in_a_file(tmp_path: Path) -> None:
    model = fn.tied(
        fn.serial(fn.conv2d(3, 3, padding="same"), fn.conv2d(3, 3, padding="same"), fn.flatten),
        {"conv2d_1": "conv2d_0"},
    )
    params = parameters(model, (4, 4, 3), RANDOM)
    file = check_export(tmp_path / "model.onnx", model, params, (4, 4, 3), np.ones((2, 4, 4, 3), np.float32))
    assert sorted(one.name for one in file.graph.initializer if "w" in one.name) == ["conv2d_0/w"]
    loose = fn.serial(fn.dense(3, bias=False), fn.dense(3, bias=False))
    file = check_export(
        tmp_path / "model.onnx", loose, {"dense_0": {"w": W}, "dense_1": {"w": W.copy()}}, (3,), np.ones((2, 3), "f")
    )
    assert len(onnx.load(tmp_path / "model.onnx").graph.initializer) == 2
