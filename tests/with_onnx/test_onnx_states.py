"""Recurrences of PyTorch that take states to start with and return them, as a model that is fed its own states does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import funcnn as fn
from tests.with_onnx.onnx_helpers import LIMIT, check_gradients
from tests.with_onnx.onnx_networks import exported


class Stepped(nn.Module):
    """States come in and go out with the batch in front."""

    def __init__(self, kind: str, both: bool) -> None:
        super().__init__()
        self.body, self.kind = getattr(nn, kind)(3, 4, 1, batch_first=True, bidirectional=both), kind

    def forward(self, x: Any, *states: Any) -> Any:
        given = tuple(state.transpose(0, 1).contiguous() for state in states)
        start = None if not given else given if self.kind == "LSTM" else given[0]
        y, end = self.body(x, start)
        return y, *(state.transpose(0, 1) for state in (end if isinstance(end, tuple) else [end]))


@pytest.mark.parametrize("starts", [True, False])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_states_come_in_and_go_out(tmp_path: Path, kind: str, both: bool, starts: bool) -> None:
    torch.manual_seed(0)
    network, count = Stepped(kind, both), 2 if kind == "LSTM" else 1
    x = [torch.randn(2, 5, 3), *(torch.randn(2, 1 + both, 4) for _ in range(count * starts))]
    names, outputs = ["x", "h", "c"][: len(x)], ["y", "h1", "c1"][: 1 + count]
    exported(tmp_path / "model.onnx", network, tuple(x), names=names, outputs=outputs)
    model, params = fn.import_onnx(tmp_path / "model.onnx")
    x = [torch.cat([a, -a[:1]]) for a in x]
    feeds: Any = {name: a.numpy() for name, a in zip(names, x, strict=True)} if starts else x[0].numpy()
    y = model.apply(params, feeds)[0]
    for name, wanted in zip(outputs, network(*x), strict=True):
        np.testing.assert_allclose(y[name], wanted.detach(), rtol=LIMIT, atol=LIMIT)
    check_gradients(model, params, feeds)
    fn.save_model(tmp_path / "model.npz", model, params)
    again, own = fn.load_model(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.apply(own, feeds)[0]["y"], y["y"])
