"""Forty training steps of a small convolutional network and of an MLP agree with PyTorch in float64, loss by loss."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn

pytestmark = pytest.mark.torch

STEPS = 40
# Name, ours, PyTorch's class and its options. Decay does not apply to leaves with fewer than two axes, a group of their
# own.
OPTIMIZERS = [
    ("sgd", fn.sgd(0.05), "SGD", {"lr": 0.05}),
    ("momentum", fn.sgd(0.02, momentum=0.9), "SGD", {"lr": 0.02, "momentum": 0.9}),
    ("nesterov", fn.sgd(0.02, momentum=0.9, nesterov=True), "SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    ("adam", fn.adam(5e-3), "Adam", {"lr": 5e-3}),
    ("adamw", fn.adamw(5e-3, weight_decay=0.1), "AdamW", {"lr": 5e-3, "weight_decay": 0.1}),
    ("rmsprop", fn.rmsprop(2e-3), "RMSprop", {"lr": 2e-3}),
]


def cnn(torch: Any, p: dict[str, Any], x: Any) -> Any:
    """PyTorch's output with our parameters: images are channels-last outside and channels-first inside."""
    f = torch.nn.functional

    def conv(x: Any, name: str, **options: Any) -> Any:
        return f.conv2d(x, p[f"{name}/w"].permute(3, 2, 0, 1), p[f"{name}/b"], **options)

    h = conv(x.permute(0, 3, 1, 2), "conv2d_0")
    h = f.max_pool2d(torch.relu(h), 2)
    h = conv(h, "conv2d_1", padding=1)
    return h.permute(0, 2, 3, 1).flatten(1) @ p["dense_0/w"] + p["dense_0/b"]


def mlp(torch: Any, p: dict[str, Any], x: Any) -> Any:
    """PyTorch's output with our parameters."""
    for name in ("dense_0", "dense_1"):
        x = torch.tanh(x @ p[f"{name}/w"] + p[f"{name}/b"])
    return x @ p["dense_2/w"] + p["dense_2/b"]


MODELS = {
    "cnn": (
        fn.serial(fn.conv2d(4, 3), fn.relu, fn.max_pool2d(2), fn.conv2d(6, 3, padding="same"), fn.flatten, fn.dense(5)),
        cnn,
        (10, 9, 2),
    ),
    "mlp": (fn.serial(fn.dense(16), fn.tanh, fn.dense(8, activation="tanh"), fn.dense(5)), mlp, (7,)),
}
LOSSES = {
    "cross_entropy": (fn.softmax_cross_entropy, np.random.default_rng(1).integers(5, size=60)),
    "mse_loss": (fn.mean_squared_error, np.random.default_rng(1).standard_normal((60, 5))),
}


def their_optimizer(torch: Any, name: str, options: dict[str, Any], leaves: dict[str, Any]) -> Any:
    """PyTorch's optimizer, with decay only for leaves with at least two axes."""
    decaying = [leaf for leaf in leaves.values() if leaf.ndim >= 2]
    without_decay = [leaf for leaf in leaves.values() if leaf.ndim < 2]
    groups = [{"params": decaying}, {"params": without_decay} | ({"weight_decay": 0.0} if name == "AdamW" else {})]
    return getattr(torch.optim, name)(groups, **options)


@pytest.mark.parametrize(("model", "loss"), [("cnn", "cross_entropy"), ("mlp", "cross_entropy"), ("mlp", "mse_loss")])
@pytest.mark.parametrize(
    ("optimizer", "peer", "options"), [row[1:] for row in OPTIMIZERS], ids=[r[0] for r in OPTIMIZERS]
)
def test_the_losses_of_forty_steps(
    model: str, loss: str, optimizer: fn.Optimizer, peer: str, options: dict[str, Any]
) -> None:
    import torch

    run, their_model, shape = MODELS[model]
    our_loss, target = LOSSES[loss]
    their_loss: Callable[..., Any] = getattr(torch.nn.functional, loss)
    x = np.random.default_rng(0).standard_normal((60, *shape))
    batches = list(fn.batches((x, target), 16, epochs=10, rng=2))
    # The last batch of an epoch has twelve examples: its mean counts like that of the others.
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 12] * (STEPS // 4)
    params = fn.tree.cast(run.init(shape, 3), np.float64)

    theirs = {path: torch.tensor(leaf, requires_grad=True) for path, leaf in fn.tree.flatten(params).items()}
    their_step = their_optimizer(torch, peer, options, theirs)
    expected = []
    for x_batch, t_batch in batches:
        value = their_loss(their_model(torch, theirs, torch.tensor(x_batch)), torch.tensor(t_batch))
        expected.append(value.item())
        their_step.zero_grad()
        value.backward()
        their_step.step()

    state, losses = optimizer.init(params), []
    f = fn.value_and_grad(run, our_loss)
    for step, (x_batch, t_batch) in enumerate(batches):
        value, grads = f(params, x_batch, t_batch, rng=(0, step))
        losses.append(value)
        updates, state = optimizer.update(grads, state, params)
        params = fn.apply_updates(params, updates)

    # Losses near 1; each step has rounding errors of 1e-16, which later steps amplify.
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-9)
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
