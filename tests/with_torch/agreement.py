"""What every comparison with PyTorch does: the same numbers go through both, in float64, forward and backward.

A family is a dict ``CASES`` from the kind of a layer to a hypothesis strategy of cases. A case is a layer, its input
and PyTorch's function of parameters and input, both in our layout. ``LARGEST`` collects the largest relative error of
each family while a test runs; pytest prints those of all tests at the end.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, settings

import funcnn as fn
from funcnn.aliases import Array, Tree

FLOAT, LIMIT = (np.float32, 2e-5) if fn.kernels_report().startswith('kernels "onednn"') else (np.float64, 1e-10)
"""Both sides compute in float64, in another order; the error is relative to the largest element. oneDNN's kernels, of
float32, are compared with PyTorch in float64 as well."""

LARGEST: dict[str, float] = {}

few = settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
"""Examples are the same each time, so that a failure is seen again."""


class Case(NamedTuple):
    """One comparison.

    Args:
        layer: ours.
        x: its input, float64, or a tree with float64 and integer leaves.
        theirs: ``theirs(params, x)`` of trees of tensors, in our layout, returns a tensor or a tree of them.
        rng: of ``apply``; a layer that draws cannot be compared in training.
        params: of both sides, or None for random ones like those of ``init``.
    """

    layer: fn.Layer
    x: Tree
    theirs: Callable[[Any, Any], Any]
    rng: Any = None
    params: Tree = None


def tensor(array: Array) -> Any:
    """A leaf of PyTorch's graph with the same numbers; integers and booleans have no gradient."""
    import torch

    found = torch.from_numpy(np.array(array, order="C"))
    return found.double().requires_grad_() if array.dtype.kind == "f" else found


def channels_first(function: Callable[[Any], Any], x: Any) -> Any:
    """A function of (batch, channels, *pixels), as one of (batch, *pixels, channels)."""
    return function(x.movedim(-1, 1)).movedim(1, -1)


def normal(seed: int, *shape: int) -> Array:
    """An array of normal random numbers in float64."""
    return np.random.default_rng(seed).standard_normal(shape)


def agree(family: str, case: Case) -> None:
    """Output, gradient of each float leaf of x and of each parameter are PyTorch's."""
    layer, x = case.layer, fn.tree.cast(case.x, FLOAT)
    random = np.random.default_rng(2)
    params = case.params
    if params is None:
        params = fn.tree.map(lambda leaf: random.standard_normal(leaf.shape), layer.init(fn.specs(x), 0))
    params = fn.tree.cast(params, FLOAT)
    y, vjp_fn = layer.apply(params, x, case.rng)
    dy = fn.tree.map(
        lambda leaf: random.standard_normal(leaf.shape).astype(FLOAT) if leaf.dtype.kind == "f" else None, y
    )
    grads, dx = vjp_fn(dy)
    inside, x_inside = fn.tree.map(tensor, params), fn.tree.map(tensor, x)
    expected = case.theirs(inside, x_inside)
    pairs = [(_leaf(expected, path), _leaf(dy, path)) for path in _paths(y) if _leaf(dy, path) is not None]
    _backward(pairs)
    for path in _paths(y):
        if _leaf(dy, path) is None:
            np.testing.assert_array_equal(_leaf(y, path), _leaf(expected, path).numpy())
            continue
        _close(family, f"y {path}", _leaf(y, path), _leaf(expected, path).detach().numpy())
    for what, ours, theirs in (("dx", dx, x_inside), ("gradient of", grads, inside)):
        for path in _paths(theirs):
            gradient, other = _leaf(ours, path), _leaf(theirs, path)
            if not other.requires_grad:
                assert gradient is None, f"{what} {path}"
            else:
                zero = np.zeros(tuple(other.shape))
                _close(family, f"{what} {path}", gradient, zero if other.grad is None else other.grad.numpy())


def agree_as_loss(family: str, ours: tuple[Any, Any], y: Tree, theirs: Callable[[Any], Any]) -> None:
    """Value and dy of a loss are PyTorch's.

    Args:
        family: for ``LARGEST``.
        ours: ``(value, dy)``.
        y: the predictions, float64.
        theirs: ``theirs(y)`` of tensors returns a tensor; if that is no number, dy is the gradient of its sum.
    """
    inside = fn.tree.map(tensor, y)
    expected = theirs(inside)
    expected.sum().backward()
    _close(family, "value", np.asarray(ours[0]), expected.detach().numpy())
    for path in _paths(inside):
        leaf = _leaf(inside, path)
        if leaf.requires_grad:
            other = np.zeros(tuple(leaf.shape)) if leaf.grad is None else leaf.grad.numpy()
            _close(family, f"dy {path}", _leaf(ours[1], path), other)


def _backward(pairs: list[tuple[Any, Any]]) -> None:
    import torch

    outputs, gradients = zip(*((output, torch.from_numpy(dy).to(output.dtype)) for output, dy in pairs), strict=True)
    if any(output.requires_grad for output in outputs):
        torch.autograd.backward(outputs, gradients)


def _paths(tree: Any) -> list[str]:
    return list(fn.tree.flatten(tree)) if isinstance(tree, dict) else [""]


def _leaf(tree: Any, path: str) -> Any:
    for name in path.split("/") if path else ():
        tree = tree[name]
    return tree


def _close(family: str, what: str, ours: Any, theirs: Array) -> None:
    assert ours is not None, f"{what}: ours has none"
    assert ours.shape == theirs.shape, f"{what}: {ours.shape}, PyTorch's is {theirs.shape}"
    if not ours.size:
        return
    error = float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))
    LARGEST[family] = max(LARGEST.get(family, 0.0), error)
    assert error < LIMIT, f"{what}: differs by {error:.1e} of its largest element"
