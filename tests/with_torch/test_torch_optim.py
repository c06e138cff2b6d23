"""Forty steps of every optimizer and schedule agree with PyTorch in float64."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from funcnn import optim, tree
from funcnn.optim import schedules

pytestmark = pytest.mark.torch

RATE = 0.05


@pytest.fixture(autouse=True)
def _numbers_in_float64() -> Iterator[None]:
    """PyTorch keeps the rate of ASGD and the product of NAdam in its default dtype."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


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
        (optim.sgd(RATE, momentum=0.9, dampening=0.4), "SGD", {"momentum": 0.9, "dampening": 0.4}),
        (
            optim.sgd(RATE, momentum=0.9, weight_decay=0.3, dampening=0.4),
            "SGD",
            {"momentum": 0.9, "dampening": 0.4, "weight_decay": 0.3},
        ),
        (optim.rmsprop(RATE, centered=True), "RMSprop", {"centered": True}),
        (optim.rmsprop(RATE, momentum=0.9), "RMSprop", {"momentum": 0.9}),
        (
            optim.rmsprop(RATE, 0.8, 1e-3, centered=True, momentum=0.9),
            "RMSprop",
            {"alpha": 0.8, "eps": 1e-3, "centered": True, "momentum": 0.9},
        ),
        (optim.nadam(RATE), "NAdam", {}),
        (
            optim.nadam(RATE, b1=0.8, b2=0.95, eps=1e-3, momentum_decay=0.1),
            "NAdam",
            {"betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 0.1},
        ),
        (optim.radam(RATE), "RAdam", {}),
        (optim.radam(RATE, b1=0.8, b2=0.95, eps=1e-3), "RAdam", {"betas": (0.8, 0.95), "eps": 1e-3}),
        (optim.radam(RATE, b2=0.5), "RAdam", {"betas": (0.9, 0.5)}),
        (optim.amsgrad(RATE), "Adam", {"amsgrad": True}),
        (optim.amsgrad(RATE, b2=0.5, eps=1e-3), "Adam", {"amsgrad": True, "betas": (0.9, 0.5), "eps": 1e-3}),
        (optim.adafactor(), "Adafactor", {"lr": 1e-2}),
        (optim.adafactor(0.5, weight_decay=0.3, decay_mask=_everywhere), "Adafactor", {"lr": 0.5, "weight_decay": 0.3}),
        (
            optim.adafactor(RATE, decay=0.5, eps=1e-2, eps_scale=2.0, threshold=1.2),
            "Adafactor",
            {"beta2_decay": -0.5, "eps": (1e-2, 2.0), "d": 1.2},
        ),
        (optim.rprop(RATE), "Rprop", {}),
        (
            optim.rprop(RATE, shrink=0.3, grow=1.5, least=0.01, largest=0.1),
            "Rprop",
            {"etas": (0.3, 1.5), "step_sizes": (0.01, 0.1)},
        ),
        (optim.asgd(), "ASGD", {"lr": 1e-2}),
        (
            optim.asgd(RATE, decay=0.5, power=0.6, start=5, weight_decay=0.3),
            "ASGD",
            {"lambd": 0.5, "alpha": 0.6, "t0": 5, "weight_decay": 0.3},
        ),
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


def test_asgd_averages() -> None:
    import torch

    rng = np.random.default_rng(0)
    params: Any = {"w": rng.normal(size=(4, 3))}
    theirs = torch.tensor(params["w"], requires_grad=True)
    peer = torch.optim.ASGD([theirs], lr=RATE, lambd=0.5, t0=5)
    optimizer = optim.asgd(RATE, decay=0.5, start=5)
    state = optimizer.init(params)
    for _ in range(20):
        g = rng.normal(size=(4, 3))
        theirs.grad = torch.tensor(g)
        peer.step()
        params, state = optimizer.step({"w": g}, state, params, donate=True)
        # Numbers near 1, rounded in another order.
        average = peer.state[theirs]["ax"].numpy()
        np.testing.assert_allclose(optim.averaged(state, params)["w"], average, rtol=0, atol=1e-12)


def _newton_schulz(grad: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """What ``torch.optim._muon`` computes, in the dtype of the gradient; it has bfloat16 there."""
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if grad.size(0) > grad.size(1) else x


@pytest.mark.parametrize("shape", [(4, 3), (3, 5)])
@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_muon(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], scale: Any, nesterov: bool) -> None:
    import torch

    module = import_module("torch.optim._muon")
    monkeypatch.setattr(module, "_zeropower_via_newtonschulz", _newton_schulz)
    rng = np.random.default_rng(0)
    params: Any = {"w": rng.normal(size=shape)}
    # Their rows are the outputs, ours the inputs.
    theirs = torch.tensor(params["w"].T.copy(), requires_grad=True)
    peer = torch.optim.Muon([theirs], lr=RATE, weight_decay=0.3, nesterov=nesterov, adjust_lr_fn=scale)
    optimizer = optim.muon(RATE, nesterov=nesterov, weight_decay=0.3, scale=scale)
    state = optimizer.init(params)
    for _ in range(20):
        g = rng.normal(size=shape)
        theirs.grad = torch.tensor(g.T.copy())
        peer.step()
        params, state = optimizer.step({"w": g}, state, params, donate=True)
    # Numbers near 1, rounded in another order.
    np.testing.assert_allclose(params["w"], theirs.detach().numpy().T, rtol=0, atol=1e-12)


def test_the_iteration_of_muon_is_theirs_up_to_bfloat16() -> None:
    import torch

    from funcnn.optim.muon import orthogonalized

    module = import_module("torch.optim._muon")
    x = np.random.default_rng(0).normal(size=(6, 4))
    theirs = module._zeropower_via_newtonschulz(torch.tensor(x), (3.4445, -4.7750, 2.0315), 5, 1e-7)
    # bfloat16 has 8 bits, and the slope of the polynomial at zero multiplies roundings by up to 3.4 at each step.
    np.testing.assert_allclose(orthogonalized(x), theirs.double().numpy(), atol=0.05)


def test_ema_and_swa_of_parameters() -> None:
    import torch
    from torch.optim import swa_utils

    rng = np.random.default_rng(0)
    params: Any = {"w": rng.normal(size=(3, 4))}
    net = torch.nn.Linear(4, 3, bias=False, dtype=torch.float64)
    net.weight.data[...] = torch.tensor(params["w"])
    averages = [swa_utils.AveragedModel(net, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.7))]
    averages.append(swa_utils.AveragedModel(net))
    # Theirs begins with the parameters of its first update, as swa does; ema begins with those before it.
    optimizers = [optim.ema(optim.sgd(RATE), 0.7), optim.swa(optim.sgd(RATE), start=0)]
    averages[0].update_parameters(net)
    states = [optimizer.init(params) for optimizer in optimizers]
    for _ in range(20):
        g = rng.normal(size=(3, 4))
        net.weight.data -= RATE * torch.tensor(g)
        new = params
        for n, optimizer in enumerate(optimizers):
            averages[n].update_parameters(net)
            new, states[n] = optimizer.step({"w": g}, states[n], params)
            ours = optim.averaged(states[n], new)["w"]
            # Numbers near 1, rounded in another order.
            np.testing.assert_allclose(ours, averages[n].module.weight.detach().numpy(), rtol=0, atol=1e-12)
        params = new


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
        (schedules.polynomial_decay(RATE, steps=30, power=2.5), "PolynomialLR", {"total_iters": 30, "power": 2.5}),
        (schedules.polynomial_decay(RATE, steps=7), "PolynomialLR", {"total_iters": 7}),
        (schedules.piecewise_constant(RATE, {3: 0.3, 17: 0.3}), "MultiStepLR", {"milestones": [3, 17], "gamma": 0.3}),
        (
            schedules.cosine_with_restarts(RATE, steps=3, growth=2, final=0.01),
            "CosineAnnealingWarmRestarts",
            {"T_0": 3, "T_mult": 2, "eta_min": 0.01},
        ),
        (schedules.cosine_with_restarts(RATE, steps=7), "CosineAnnealingWarmRestarts", {"T_0": 7}),
        (schedules.one_cycle(RATE, steps=41), "OneCycleLR", {"max_lr": RATE, "total_steps": 41}),
        (
            schedules.one_cycle(RATE, 50, 0.4, 10.0, 100.0, shape="linear", three_phase=True),
            "OneCycleLR",
            {
                "max_lr": RATE,
                "total_steps": 50,
                "pct_start": 0.4,
                "div_factor": 10.0,
                "final_div_factor": 100.0,
                "anneal_strategy": "linear",
                "three_phase": True,
            },
        ),
        (schedules.cyclic(0.01, RATE, up=4), "CyclicLR", {"base_lr": 0.01, "max_lr": RATE, "step_size_up": 4}),
        (
            schedules.cyclic(0.01, RATE, up=4, down=7, shape="halving"),
            "CyclicLR",
            {"base_lr": 0.01, "max_lr": RATE, "step_size_up": 4, "step_size_down": 7, "mode": "triangular2"},
        ),
        (
            schedules.cyclic(0.01, RATE, up=3, shape="exponential", factor=0.9),
            "CyclicLR",
            {"base_lr": 0.01, "max_lr": RATE, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9},
        ),
    ],
)
def test_schedules(schedule: schedules.Schedule, name: str, options: dict[str, Any]) -> None:
    import torch

    peer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE, momentum=0.9)
    scheduler = getattr(torch.optim.lr_scheduler, name)(peer, **options)
    for step in range(40):
        # PyTorch multiplies the last rate where we compute each afresh: forty roundings.
        assert schedule(step) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
        peer.step()
        scheduler.step()


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (2, 0), (1, 2)])
def test_reduce_on_plateau(mode: Any, relative: bool, patience: int, cooldown: int) -> None:
    import torch

    peer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    options: Any = {"factor": 0.5, "patience": patience, "threshold": 0.1, "cooldown": cooldown}
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        peer, mode, threshold_mode="rel" if relative else "abs", min_lr=0.01, **options
    )
    optimizer = optim.reduce_on_plateau(relative=relative, least=0.01, mode=mode, **options)
    params = grads = {"w": np.ones(1)}
    state = optimizer.init(params)
    for metric in np.random.default_rng(0).normal(size=40):
        updates, state = optimizer.update(grads, optim.report_metric(state, metric), params)
        scheduler.step(metric)
        assert updates["w"][0] == peer.param_groups[0]["lr"]
        updates, state = optimizer.update(grads, state, params)  # nothing new was reported
        assert updates["w"][0] == peer.param_groups[0]["lr"]


@pytest.mark.parametrize("size", [1e19, 1e20, 1e30, 3e38])
@pytest.mark.parametrize(
    ("optimizer", "name", "options"),
    [
        (optim.adam(0.01), "Adam", {}), (optim.adamw(0.01, decay_mask=_everywhere), "AdamW", {}),
        (optim.rmsprop(0.01), "RMSprop", {}), (optim.adagrad(0.01), "Adagrad", {}), (optim.radam(0.01), "RAdam", {}),
        (optim.adamax(0.01), "Adamax", {}), (optim.amsgrad(0.01), "Adam", {"amsgrad": True}),
    ],
)  # fmt: skip
def test_gradients_whose_square_is_infinite_in_float32(optimizer: Any, name: str, options: Any, size: float) -> None:
    import torch

    gradients = [np.array([g, -g, 1e-3], np.float32) for g in (size, 1.0, -size)]
    w = torch.ones(3, dtype=torch.float32, requires_grad=True)
    theirs = getattr(torch.optim, name)([w], lr=0.01, **options)
    params: Any = {"w": np.ones(3, np.float32)}
    state = optimizer.init(params)
    for g in gradients:
        params, state = optimizer.step({"w": g}, state, params)
        w.grad = torch.from_numpy(g.copy())
        theirs.step()
    np.testing.assert_allclose(params["w"], w.detach().numpy(), rtol=1e-5)
