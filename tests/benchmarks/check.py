"""All sides do the same work: from the same weights, one step of each gives the same loss and the same gradients.

Both libraries are in one process here, which is wrong for timing and right for comparing.
"""

from typing import Any

import numpy as np
import torch

import funcnn as fn
from tests.benchmarks import by_hand, ours, peers
from tests.benchmarks.sides import BY_HAND, Setting
from tests.benchmarks.workloads import WORKLOADS, Network, Workload, batch_of, inputs, tensors, without_dropout

LIMIT = 1e-3
"""Of a relative difference: float32 rounds, and rounding flips some decisions of relu and pooling."""

FLOOR = 1e-3
"""A gradient is compared relative to its norm, or to this fraction of the largest norm of all if that is larger.

The gradient of a bias before batch norm is zero but for rounding, and rounding differs.
"""


def check(names: list[str]) -> bool:
    """Compare the sides on each workload, print the largest differences, and return whether all are small enough."""
    largest = {
        (name, peer): max(found) for name in names for peer, found in differences(WORKLOADS[name]).items()
    }  # fmt: skip
    for (name, peer), difference in largest.items():
        verdict = "the same" if difference < LIMIT else f"DIFFERENT, more than {LIMIT}"
        print(f"{name:<24} {peer:<8} {difference:.1e}  {verdict}")
    return all(difference < LIMIT for difference in largest.values())


def differences(workload: Workload) -> dict[str, list[float]]:
    """For each peer, the relative differences between its results and ours on the workload's first batch."""
    x, target = inputs(workload)
    if workload.network is None:
        return {"PyTorch": updates("adam", x, target)}
    weights = ours.weights_of(workload)
    network, batch = without_dropout(workload.network), batch_of(workload, 0)
    x, target = x[batch], target[batch]
    if workload.task == "predict":
        y = ours.predictor(network, weights)(x)
        found = {"PyTorch": [relative(y, their_prediction(network, weights, x))]}
        if workload.name in by_hand.PREDICTORS:
            found[BY_HAND] = [relative(y, by_hand.PREDICTORS[workload.name](by_hand.leaves_of(weights), x))]
        return found
    loss_and_grads = fn.value_and_grad(ours.model_of(network), ours.LOSSES[network.loss])
    loss, grads = loss_and_grads(weights, x, target, rng=0)
    one_layer = ({"layer_0": tensors(seed)["layer_0"]} for seed in (0, 1))
    found = {
        "PyTorch": pytorch_differences(network, weights, x, target, loss, grads)
        + updates(network.optimizer, *one_layer)
    }
    if workload.name in by_hand.LOSSES:
        found[BY_HAND] = by_hand_differences(workload, weights, x, target, loss, grads)
    return found


def their_prediction(network: Network, weights: Any, x: Any) -> Any:
    """PyTorch's prediction."""
    model = peers.model_of(network, weights, Setting(), predict=True)
    with torch.inference_mode():
        return model(peers.as_tensor(x, Setting())).numpy()


def pytorch_differences(network: Network, weights: Any, x: Any, target: Any, loss: float, grads: Any) -> list[float]:
    """The differences of the loss and of the gradient of each parameter."""
    model = peers.model_of(network, weights, Setting(), predict=False)
    their_loss = peers.LOSSES[network.loss](model(peers.as_tensor(x, Setting())), torch.from_numpy(target))
    torch.autograd.backward(their_loss)
    # Loaded like weights, our gradients come in PyTorch's order of axes.
    like_weights = peers.model_of(network, grads, Setting(), predict=False)
    own = [parameter.detach().numpy() for parameter in like_weights.parameters()]
    theirs = [parameter.grad.numpy() for parameter in model.parameters()]
    return [relative(loss, their_loss.item()), *all_relative(own, theirs)]


def by_hand_differences(workload: Workload, weights: Any, x: Any, target: Any, loss: float, grads: Any) -> list[float]:
    """The differences of the loss, of the gradient of each parameter, and of how far a step moves it."""
    params, own = by_hand.leaves_of(weights), by_hand.leaves_of(grads)
    their_loss, theirs = by_hand.LOSSES[workload.name](params, x, target)
    optimizer = ours.OPTIMIZERS["sgd"]
    moves, _ = optimizer.update(grads, optimizer.init(weights), weights)
    moved = by_hand.leaves_of(fn.apply_updates(weights, moves))
    they_moved = by_hand.sgd([p.copy() for p in params], theirs)
    return [
        relative(loss, their_loss),
        *all_relative(own, theirs),
        *all_relative(
            [new - old for new, old in zip(moved, params, strict=True)],
            [new - old for new, old in zip(they_moved, params, strict=True)],
        ),
    ]


def updates(name: str, params: Any, grads: Any) -> list[float]:
    """The differences of how far two updates by an optimizer move each parameter."""
    optimizer = ours.OPTIMIZERS[name]
    moved, state = params, optimizer.init(params)
    their_params = peers.parameters(fn.tree.map(np.copy, params), grads)
    theirs = peers.OPTIMIZERS[name](their_params)
    for _ in range(2):
        moves, state = optimizer.update(grads, state, moved)
        moved = fn.apply_updates(moved, moves)
        theirs.step()
    return [
        relative(p - start, t.detach().numpy() - start)
        for p, start, t in zip(leaves(moved), leaves(params), their_params, strict=True)
    ]


def leaves(tree: Any) -> list[Any]:
    """The arrays of all layers, in the order in which ``peers.parameters`` takes them."""
    return [array for layer in tree.values() for array in layer.values()]


def all_relative(own: list[Any], theirs: list[Any]) -> list[float]:
    """The relative difference of each pair of arrays."""
    floor = FLOOR * max(float(np.linalg.norm(b)) for b in theirs)
    return [relative(a, b, floor) for a, b in zip(own, theirs, strict=True)]


def relative(a: Any, b: Any, floor: float = 0.0) -> float:
    """|a - b| / max(|b|, floor), with norms over all elements."""
    return float(np.linalg.norm(np.subtract(a, b)) / max(float(np.linalg.norm(b)), floor))
