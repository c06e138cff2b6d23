"""Forty steps of every optimizer and schedule agree with PyTorch in float64."""

from typing import Any

import numpy as np
import pytest

from funcnn import optim, tree
from funcnn.optim import schedules

pytestmark = pytest.mark.torch

RATE = 0.05


def _everywhere(params: Any) -> Any:
    return tree.map(lambda p: True, params)


@pytest.mark.parametrize(
    ("optimizer", "name", "options"),
    [
        (optim.sgd(RATE), "SGD", {}),
        (optim.sgd(RATE, momentum=0.9), "SGD", {"momentum": 0.9}),
        (optim.sgd(RATE, momentum=0.9, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True}),
        (optim.sgd(RATE, weight_decay=0.3), "SGD", {"weight_decay": 0.3}),
        (
            optim.sgd(RATE, momentum=0.9, nesterov=True, weight_decay=0.3),
            "SGD",
            {"momentum": 0.9, "nesterov": True, "weight_decay": 0.3},
        ),
        (optim.adam(RATE), "Adam", {}),
        (optim.adam(RATE, b1=0.8, b2=0.95, eps=1e-3), "Adam", {"betas": (0.8, 0.95), "eps": 1e-3}),
        (optim.adamw(RATE, decay_mask=_everywhere), "AdamW", {}),
        (optim.adamw(RATE, weight_decay=0.3, decay_mask=_everywhere), "AdamW", {"weight_decay": 0.3}),
        (optim.rmsprop(RATE), "RMSprop", {}),
        (optim.adagrad(RATE), "Adagrad", {}),
        (optim.adadelta(RATE), "Adadelta", {}),
        (optim.adadelta(), "Adadelta", {"lr": 1.0}),
        (optim.adamax(RATE), "Adamax", {}),
    ],
)
def test_forty_steps(optimizer: optim.Optimizer, name: str, options: dict[str, Any]) -> None:
    import torch

    rng = np.random.default_rng(0)
    params: Any = {"b": rng.normal(size=3), "w": rng.normal(size=(4, 3))}
    noise = [{"b": rng.normal(size=3), "w": rng.normal(size=(4, 3))} for _ in range(40)]
    theirs = {path: torch.tensor(leaf, requires_grad=True) for path, leaf in params.items()}
    peer = getattr(torch.optim, name)(theirs.values(), **({"lr": RATE} | options))

    state = optimizer.init(params)
    stepped, stepped_state = tree.map(np.copy, params), optimizer.init(params)
    for step in noise:
        # Each side's own parameters enter its gradients, so that errors feed back as they do in training.
        updates, state = optimizer.update(tree.map(np.add, params, step), state, params)
        grads = tree.map(np.add, stepped, step)
        params = optim.apply_updates(params, updates)
        stepped, stepped_state = optimizer.step(grads, stepped_state, stepped, donate=True)
        for path, leaf in theirs.items():
            leaf.grad = leaf.detach() + torch.tensor(step[path])
        peer.step()
    for path, leaf in theirs.items():
        # Forty steps of numbers near 1, each rounded to 1e-16 in another order.
        np.testing.assert_allclose(params[path], leaf.detach().numpy(), rtol=0, atol=1e-12)
        assert np.array_equal(params[path], stepped[path])


def test_groups_of_parameters() -> None:
    import torch

    rng = np.random.default_rng(0)
    params: Any = {
        "head": {"b": rng.normal(size=2), "w": rng.normal(size=(3, 2))},
        "stem": {"w": rng.normal(size=(4, 3))},
    }
    optimizer = optim.partition({"*/b": optim.sgd(RATE, 0.9), "head/*": optim.adam(2 * RATE), "*": optim.adam(RATE)})
    theirs = {path: torch.tensor(leaf, requires_grad=True) for path, leaf in tree.flatten(params).items()}
    adam = torch.optim.Adam([{"params": theirs["head/w"], "lr": 2 * RATE}, {"params": theirs["stem/w"], "lr": RATE}])
    momentum = torch.optim.SGD([theirs["head/b"]], lr=RATE, momentum=0.9)
    state = optimizer.init(params)
    for _ in range(40):
        noise = tree.map(lambda p: rng.normal(size=p.shape), params)
        grads = tree.map(np.add, params, noise)
        for path, leaf in theirs.items():
            leaf.grad = leaf.detach() + torch.tensor(tree.flatten(noise)[path])
        params, state = optimizer.step(grads, state, params, donate=True)
        adam.step()
        momentum.step()
    for path, leaf in theirs.items():
        # As above.
        np.testing.assert_allclose(tree.flatten(params)[path], leaf.detach().numpy(), rtol=0, atol=1e-12)


def test_clipping_by_the_global_norm() -> None:
    import torch

    rng = np.random.default_rng(0)
    grads = {"b": rng.normal(size=3), "w": rng.normal(size=(4, 3))}
    leaves = [torch.zeros(leaf.shape, dtype=torch.float64, requires_grad=True) for leaf in tree.leaves(grads)]
    for leaf, g in zip(leaves, tree.leaves(grads), strict=True):
        leaf.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_(leaves, 0.5)
    clipped, _ = optim.clip_by_global_norm(0.5).update(grads, {}, grads)
    for ours, leaf in zip(tree.leaves(clipped), leaves, strict=True):
        # PyTorch adds 1e-6 to the norm, which is above 1 here.
        np.testing.assert_allclose(ours, leaf.grad.numpy(), rtol=1e-6)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("schedule", "name", "options"),
    [
        (schedules.step_decay(RATE, every=7, factor=0.3), "StepLR", {"step_size": 7, "gamma": 0.3}),
        (schedules.exponential_decay(RATE, steps=1, factor=0.9), "ExponentialLR", {"gamma": 0.9}),
        (schedules.cosine_decay(RATE, steps=40, final=0.01), "CosineAnnealingLR", {"T_max": 40, "eta_min": 0.01}),
        (schedules.linear_warmup(RATE, steps=10), "LinearLR", {"start_factor": 0.1, "total_iters": 9}),
    ],
)
def test_schedules(schedule: schedules.Schedule, name: str, options: dict[str, Any]) -> None:
    import torch

    peer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    scheduler = getattr(torch.optim.lr_scheduler, name)(peer, **options)
    for step in range(40):
        # PyTorch multiplies the last rate where we compute each afresh: forty roundings.
        assert schedule(step) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
        peer.step()
        scheduler.step()
