"""Both sides do the same work: from the same weights, one step of each answers the same loss and the same gradients.

Both libraries are in one process here, which is wrong for timing and right for comparing.
"""

from typing import Any

import numpy as np
import torch

import funcnn as fn
from tests.benchmarks import ours, peers
from tests.benchmarks.sides import Setting
from tests.benchmarks.workloads import WORKLOADS, Network, Workload, batch_of, inputs, tensors, without_dropout

LIMIT = 1e-3
"""Of the norm of a difference, relative to the norm: float32 rounds, and some flips of relu and pooling are its due."""


def check(names: list[str]) -> bool:
    """Compare the two sides on each workload, print the worst difference, and say whether all are small enough."""
    worst = {name: max(differences(WORKLOADS[name])) for name in names}
    for name, difference in worst.items():
        print(f"{name:<24} {difference:.1e}  {'the same' if difference < LIMIT else f'DIFFERENT, more than {LIMIT}'}")
    return all(difference < LIMIT for difference in worst.values())


def differences(workload: Workload) -> list[float]:
    """The relative differences of what the two sides answer to the workload's first batch."""
    x, target = inputs(workload)
    if workload.network is None:
        return updates("adam", x, target)
    weights = ours.weights_of(workload)
    network, chosen = without_dropout(workload.network), batch_of(workload, 0)
    if workload.task == "predict":
        return [relative(*predictions(network, weights, x[chosen]))]
    one_layer = ({"layer_0": tensors(seed)["layer_0"]} for seed in (0, 1))
    return gradients(network, weights, x[chosen], target[chosen]) + updates(network.optimizer, *one_layer)


def predictions(network: Network, weights: Any, x: Any) -> tuple[Any, Any]:
    """What both sides predict."""
    with torch.inference_mode():
        theirs = peers.model_of(network, weights, Setting(), predict=True)(peers.as_tensor(x, Setting()))
    return fn.predict(ours.model_of(network), weights, x), theirs.numpy()


def gradients(network: Network, weights: Any, x: Any, target: Any) -> list[float]:
    """The differences of the loss and of the gradient of each parameter."""
    loss, grads = fn.value_and_grad(ours.model_of(network), ours.LOSSES[network.loss])(weights, x, target, rng=0)
    model = peers.model_of(network, weights, Setting(), predict=False)
    their_loss = peers.LOSSES[network.loss](model(peers.as_tensor(x, Setting())), torch.from_numpy(target))
    torch.autograd.backward(their_loss)
    # Handed over like weights, our gradients come in PyTorch's order of axes.
    handed_over = peers.model_of(network, grads, Setting(), predict=False)
    pairs = zip(handed_over.parameters(), model.parameters(), strict=True)
    return [relative(loss, their_loss.item()), *(relative(g.detach(), p.grad) for g, p in pairs)]


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


def relative(a: Any, b: Any) -> float:
    """|a - b| / |b|, with sums of squares over all elements."""
    return float(np.linalg.norm(np.subtract(a, b)) / np.linalg.norm(b))
