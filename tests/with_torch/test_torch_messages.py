"""PyTorch's tensors, layers, losses and optimizers where ours are meant: the message says what to write."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import funcnn as fn

X = np.ones((4, 3), np.float32)
LABELS = np.array([0, 1, 1, 0])
MODEL = fn.serial(fn.dense(4), fn.relu, fn.dense(2))
PARAMS = MODEL.init((3,), 0)
LEARNED = torch.ones((4, 3), requires_grad=True)
CAST = r"Tensor; use (x|y|dy|target|w|b)\.detach\(\)\.cpu\(\)\.numpy\(\)"


def fit(**changes: Any) -> Any:
    data = changes.pop("x", X), changes.pop("target", LABELS)
    known = {"model": MODEL, "params": PARAMS, "optimizer": fn.adam(0.1), "loss": fn.softmax_cross_entropy}
    return fn.fit(**known | changes, train=data, epochs=1, verbose=False)


TENSORS: dict[str, Callable[[], Any]] = {
    "apply": lambda: MODEL.apply(PARAMS, torch.ones((4, 3))),
    "apply, with a gradient": lambda: MODEL.apply(PARAMS, LEARNED),
    "predict": lambda: fn.predict(MODEL, PARAMS, LEARNED),
    "fit": lambda: fit(x=LEARNED),
    "fit, labels": lambda: fit(target=torch.tensor(LABELS)),
    "fit, parameters": lambda: fit(params=fn.tree.map(torch.tensor, PARAMS)),
    "apply, parameters": lambda: MODEL.apply(fn.tree.map(torch.tensor, PARAMS), X),
    "vjp": lambda: MODEL.apply(PARAMS, X)[1](torch.ones((4, 2))),
    "loss": lambda: fn.softmax_cross_entropy(torch.ones((4, 2)), LABELS),
    "target with a gradient": lambda: fn.mean_squared_error(X, LEARNED),
    "metric": lambda: fn.metrics.r2(LEARNED, X),
}


@pytest.mark.parametrize("call", TENSORS.values(), ids=TENSORS)
def test_a_tensor_raises_with_the_cast(call: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=CAST) as caught:
        call()
    assert "tensor(" not in str(caught.value)


def test_layers_losses_and_optimizers_of_pytorch_are_named_with_ours() -> None:
    with pytest.raises(TypeError, match=r"got Linear\(.*\); write fn\.dense\(units\)"):
        fit(model=torch.nn.Linear(3, 2))
    with pytest.raises(TypeError, match=r"got CrossEntropyLoss\(\); write fn\.softmax_cross_entropy"):
        fit(loss=torch.nn.CrossEntropyLoss())
    with pytest.raises(TypeError, match=r"got a SGD; write fn\.sgd\(0\.1\)"):
        fit(optimizer=torch.optim.SGD([LEARNED], 0.1))
