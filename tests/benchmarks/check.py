"""All sides do the same work: from the same weights, one step of each gives the same loss, gradients and update.

All libraries are in one process here, which is wrong for timing and right for comparing. Dropout is left out, since
every library draws other numbers. Gradients of convolutions are compared for each way in which a peer computes them.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

import funcnn as fn
from tests.benchmarks import by_hand, ours
from tests.benchmarks.driver import takes_part
from tests.benchmarks.sides import BY_HAND, JAX, ONEDNN, SETTINGS, SKLEARN, Setting
from tests.benchmarks.workloads import WORKLOADS, Workload, batch_of, inputs, tensors, without_dropout

LIMIT = 1e-4
"""Of a relative difference: float32 rounds, which makes at most 3e-5 in any row but those below."""

LIMITS = {"resnet8": 2e-3}
"""Of rows in which rounding flips some decisions of relu in every batch: two settings of PyTorch differ by 1e-3."""

COMPARED = {"conv1d": 3}
"""The batches that are compared, where it is not batch 0. In that of ``conv1d`` one of half a million pixels is 1e-7 on
NumPy, and 0 in float64 and on oneDNN, which alone moves a gradient by 2e-3; in batch 1 PyTorch differs like that. In
the other six all sides differ by 2e-5 or less, and oneDNN by 1e-6."""

FLOOR = 1e-3
"""A gradient is compared relative to its norm, or to this fraction of the largest norm of all if that is larger.

The gradient of a bias before batch norm is zero but for rounding, and rounding differs.
"""


SKLEARN_EPS = 1e-8 * 0.001**0.5
"""scikit-learn adds epsilon before the second moment is corrected; this is the same in the first step."""


class Case(NamedTuple):
    """What is compared: a workload without dropout, our weights, and one of its batches.

    Args:
        workload: the row.
        weights: the parameters.
        x: the examples.
        target: their targets.
    """

    workload: Workload
    weights: Any
    x: Any
    target: Any

    @property
    def network(self) -> Any:
        """The network of the row."""
        return self.workload.network

    def loss_and_grads(self) -> tuple[float, Any]:
        """Ours."""
        gradient = fn.value_and_grad(ours.model_of(self.network), ours.LOSSES[self.network.loss])
        loss, grads = gradient(self.weights, self.x, self.target, rng=0)
        return loss, grads


def check(names: list[str], peers: list[str]) -> bool:
    """Compare the peers with our side on each workload, and print the largest differences.

    Args:
        names: of the rows.
        peers: names of sides that are installed.

    Returns:
        Whether all differences are small enough.
    """
    good = True
    for workload in (WORKLOADS[name] for name in names):
        for peer in peers:
            if takes_part(peer, workload):
                difference = max(differences(workload, peer))
                limit = LIMITS.get(workload.name, LIMIT)
                good &= difference < limit
                verdict = "the same" if difference < limit else f"DIFFERENT, more than {limit}"
                print(f"{workload.name:<24} {peer:<14} {difference:.1e}  {verdict}", flush=True)
    return good


def differences(workload: Workload, peer: str) -> list[float]:
    """The relative differences between a peer's results and ours on one of the workload's batches."""
    if workload.network is None:
        return [0.0] if peer == ONEDNN else updates("adam", tensors(0), tensors(1), peer)
    alike = replace(workload, network=without_dropout(workload.network))
    x, target = inputs(workload)
    batch = batch_of(workload, COMPARED.get(workload.name, 0))
    case = Case(alike, ours.weights_of(alike), x[batch], target[batch])
    if workload.task == "predict":
        y = ours.predictor(case.network, case.weights)(case.x)
        return [relative(y, theirs) for theirs in predictions(case, peer)]
    if peer == BY_HAND:
        return by_hand_differences(case)
    if peer == ONEDNN:
        return onednn_differences(case)
    if peer == SKLEARN:
        return sklearn_differences(case)
    layer, its_gradient = ({"layer_0": tensors(seed)["layer_0"]} for seed in (0, 1))
    found = jax_differences(case) if peer == JAX else torch_differences(case, SETTINGS[peer])
    return found + updates(case.network.optimizer, layer, its_gradient, peer)


def predictions(case: Case, peer: str) -> list[Any]:
    """A peer's predictions, one for each way in which it computes them."""
    if peer == BY_HAND:
        return [by_hand.PREDICTING[case.workload.name](by_hand.leaves_of(case.weights), case.x)]
    if peer == ONEDNN:
        with fn.use_kernels("onednn"):
            return [ours.predictor(case.network, case.weights)(case.x)]
    if peer == JAX:
        from tests.benchmarks import with_jax

        ways = with_jax.ways_of(case.network)
        return [np.asarray(with_jax.predictor(case.network, case.weights, way)(case.x)) for way in ways]
    import torch

    from tests.benchmarks import with_torch

    setting = SETTINGS[peer]
    model = with_torch.model_of(case.network, case.weights, setting, predict=True)
    with torch.inference_mode():
        return [with_torch.compiled(model, setting)(with_torch.as_tensor(case.x, setting)).numpy()]


def torch_differences(case: Case, setting: Setting) -> list[float]:
    """The differences of the loss and of the gradient of each parameter."""
    import torch

    from tests.benchmarks import with_torch

    loss, grads = case.loss_and_grads()
    model = with_torch.model_of(case.network, case.weights, setting, predict=False)
    objective = with_torch.objective_of(setting, case.network, model)
    their_loss = objective(with_torch.as_tensor(case.x, setting), torch.from_numpy(case.target))
    torch.autograd.backward(their_loss)
    # Loaded like weights, our gradients come in PyTorch's order of axes.
    like_weights = with_torch.model_of(case.network, grads, setting, predict=False)
    own, theirs = ([p for p in module.parameters() if p.requires_grad] for module in (like_weights, model))
    own, theirs = [parameter.detach().numpy() for parameter in own], [parameter.grad.numpy() for parameter in theirs]
    return [relative(loss, their_loss.item()), *all_relative(own, theirs)]


def onednn_differences(case: Case) -> list[float]:
    """The differences of the loss and of the gradient of each parameter between the two kernels."""
    loss, grads = case.loss_and_grads()
    with fn.use_kernels("onednn"):
        other_loss, others = case.loss_and_grads()
    return [relative(other_loss, loss), *all_relative(fn.tree.leaves(others), fn.tree.leaves(grads))]


def jax_differences(case: Case) -> list[float]:
    """The differences of the loss and of the gradient of each parameter, in each way."""
    import jax

    from tests.benchmarks import with_jax

    loss, grads = case.loss_and_grads()
    params, found = with_jax.learned_leaves(case.weights), []
    for way in with_jax.ways_of(case.network):
        compiled = jax.jit(jax.value_and_grad(with_jax.loss_of(case.network, way)))
        their_loss, their_grads = compiled(params, case.x, case.target, None)
        theirs = fn.tree.flatten(jax.tree.map(np.asarray, their_grads))
        own = fn.tree.flatten(grads)
        found += [relative(loss, float(their_loss)), *all_relative([own[path] for path in theirs], [*theirs.values()])]
    return found


def sklearn_differences(case: Case) -> list[float]:
    """The differences of the loss, of the gradients, which are a step of gradient descent, and of a step of Adam."""
    from tests.benchmarks import with_sklearn

    loss, grads = case.loss_and_grads()
    before, found = by_hand.leaves_of(case.weights), []
    for solver, optimizer in (
        ({"solver": "sgd", "momentum": 0, "learning_rate_init": 1}, fn.sgd(1.0)),
        ({"solver": "adam", "learning_rate_init": 1e-3, "epsilon": SKLEARN_EPS}, ours.OPTIMIZERS["adam"]),
    ):
        model = with_sklearn.classifier(case.network, case.weights, case.workload.batch, **solver)
        model.partial_fit(case.x, case.target)
        after = [array for layer in zip(model.coefs_, model.intercepts_, strict=True) for array in layer]
        found += [relative(loss, model.loss_), *moved_alike(case.weights, grads, optimizer, before, after)]
    return found


def by_hand_differences(case: Case) -> list[float]:
    """The differences of the loss, of the gradient of each parameter, and of how far a step moves it."""
    loss, grads = case.loss_and_grads()
    loss_and_grads, optimizer = by_hand.TRAINING[case.workload.name]
    before = by_hand.leaves_of(case.weights)
    after = [p.copy() for p in before]
    their_loss, theirs = loss_and_grads(after, case.x, case.target)
    optimizer(after)(theirs)
    own_optimizer = ours.OPTIMIZERS[case.network.optimizer]
    return [
        relative(loss, their_loss),
        *all_relative(by_hand.leaves_of(grads), theirs),
        *moved_alike(case.weights, grads, own_optimizer, before, after),
    ]


def moved_alike(weights: Any, grads: Any, optimizer: fn.Optimizer, before: list[Any], after: list[Any]) -> list[float]:
    """The differences of how far one step moves each parameter, from ``before`` to ``after`` on the other side."""
    moved, _ = optimizer.step(grads, optimizer.init(weights), weights)
    own = [new - old for new, old in zip(by_hand.leaves_of(moved), before, strict=True)]
    return all_relative(own, [new - old for new, old in zip(after, before, strict=True)])


def updates(name: str, params: Any, grads: Any, peer: str) -> list[float]:
    """The differences of how far two steps of an optimizer move each parameter, in each way of the peer."""
    optimizer = ours.OPTIMIZERS[name]
    moved, state = params, optimizer.init(params)
    for _ in range(2):
        moved, state = optimizer.step(grads, state, moved)
    ways = [jax_moved(name, params, grads)] if peer == JAX else torch_moved(SETTINGS[peer], name, params, grads)
    return [
        relative(p - start, t - start)
        for theirs in ways
        for p, start, t in zip(*map(leaves, (moved, params)), theirs, strict=True)
    ]


def torch_moved(setting: Setting, name: str, params: Any, grads: Any) -> list[list[Any]]:
    """The parameters after two steps of PyTorch's optimizer, in its own memory, for each way to update."""
    from tests.benchmarks import with_torch

    found = []
    for how in with_torch.updates_of(setting):
        tensors = with_torch.parameters(fn.tree.map(np.copy, params), grads)
        update = with_torch.compiled(with_torch.OPTIMIZERS[name](tensors, **how).step, setting)
        for _ in range(2):
            update()
        found.append([tensor.detach().numpy() for tensor in tensors])
    return found


def jax_moved(name: str, params: Any, grads: Any) -> list[Any]:
    """The parameters after two steps of JAX's."""
    from tests.benchmarks import with_jax

    moved, state = params, with_jax.first_state(name, params)
    for _ in range(2):
        moved, state = with_jax.updated(name, moved, state, grads)
    # JAX sorts the names of a tree.
    return [np.asarray(array) for array in leaves({layer: moved[layer] for layer in params})]


def leaves(tree: Any) -> list[Any]:
    """The arrays of all layers, weights first."""
    return [layer[name] for layer in tree.values() for name in ("w", "b")]


def all_relative(own: list[Any], theirs: list[Any]) -> list[float]:
    """The relative difference of each pair of arrays."""
    floor = FLOOR * max(float(np.linalg.norm(b)) for b in theirs)
    return [relative(a, b, floor) for a, b in zip(own, theirs, strict=True)]


def relative(a: Any, b: Any, floor: float = 0.0) -> float:
    """|a - b| / max(|b|, floor), with norms over all elements."""
    return float(np.linalg.norm(np.subtract(a, b)) / max(float(np.linalg.norm(b)), floor))
