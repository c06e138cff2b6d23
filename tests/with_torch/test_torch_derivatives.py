"""Gradients of examples, Jacobians and curvature products agree with ``torch.func`` in float64."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.aliases import Array

pytestmark = pytest.mark.torch

RANDOM = np.random.default_rng(0)
X, LABELS = RANDOM.standard_normal((6, 7, 6, 2)), RANDOM.integers(4, size=6)
MODEL = fn.serial(
    fn.conv2d(3, 3, stride=2, padding="same", activation="tanh"), fn.flatten, fn.dense(5), fn.tanh, fn.dense(4)
)
PARAMS = fn.tree.map(lambda p: 0.5 * RANDOM.standard_normal(p.shape), MODEL.init((7, 6, 2), 0))
V = fn.tree.map(lambda p: RANDOM.standard_normal(p.shape), PARAMS)
LOSS = fn.softmax_cross_entropy


def model(p: Any, x: Any) -> Any:
    """PyTorch's output with our parameters and layout."""
    import torch

    w = p["conv2d_0"]["w"].permute(3, 2, 0, 1)
    # "same" with stride 2 puts 1 pixel on each side of 7, and of 6 one behind.
    z = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x.permute(0, 3, 1, 2), (0, 1, 1, 1)), w, p["conv2d_0"]["b"], stride=2
    )
    h = torch.tanh(z).permute(0, 2, 3, 1).flatten(1)
    h = torch.tanh(h @ p["dense_0"]["w"] + p["dense_0"]["b"])
    return h @ p["dense_1"]["w"] + p["dense_1"]["b"]


def tensors(tree: Any) -> Any:
    import torch

    return fn.tree.map(lambda leaf: torch.from_numpy(np.array(leaf)), tree)


def loss(p: Any, x: Any, labels: Any) -> Any:
    import torch

    return torch.nn.functional.cross_entropy(model(p, x), labels)


def closest(ours: Any, theirs: Any, limit: float) -> None:
    """All leaves agree, relative to the largest element."""
    for path, leaf in fn.tree.flatten(ours).items():
        expected: Array = fn.tree.flatten(theirs)[path].detach().numpy() if isinstance(theirs, dict) else theirs.numpy()
        assert leaf.shape == expected.shape
        assert np.abs(leaf - expected).max() < limit * np.abs(expected).max(), path


def test_gradients_of_examples_are_those_of_vmap() -> None:
    from torch.func import grad, vmap

    one = grad(lambda p, x, label: loss(p, x[None], label[None]))
    expected = vmap(one, in_dims=(None, 0, 0))(tensors(PARAMS), tensors(X), tensors(LABELS))
    closest(fn.per_example_grads(MODEL, PARAMS, X, LABELS, LOSS), expected, 1e-10)
    squares = {name: {k: g.square().mean(0) for k, g in leaves.items()} for name, leaves in expected.items()}
    closest(fn.fisher_diagonal(MODEL, PARAMS, X, LABELS, LOSS), squares, 1e-10)


def test_jacobians_are_those_of_jacrev() -> None:
    from torch.func import jacrev, vmap

    def one(p: Any, x: Any) -> Any:
        return model(p, x[None])[0]

    for argument, of in enumerate(("params", "x")):
        expected = vmap(jacrev(one, argument), in_dims=(None, 0))(tensors(PARAMS), tensors(X))
        closest(fn.jacobian(MODEL, PARAMS, X, of=of), expected, 1e-10)  # type: ignore[arg-type]


def test_curvature_products_are_those_of_reverse_over_reverse() -> None:
    from torch.func import grad, jacrev, vjp, vmap

    p, x, labels, v = tensors(PARAMS), tensors(X), tensors(LABELS), tensors(V)

    def along(gradients: Any) -> Any:
        return sum((g * v[name][k]).sum() for name, leaves in gradients.items() for k, g in leaves.items())

    # Central differences: the docstring says 1e-8.
    hv = grad(lambda p: along(grad(loss)(p, x, labels)))(p)
    closest(fn.hessian_vector_product(MODEL, PARAMS, X, LABELS, LOSS, V), hv, 1e-8)

    import torch

    rows = vmap(jacrev(lambda p, x: model(p, x[None])[0]), in_dims=(None, 0))(p, x)
    jv = sum((j.flatten(2) @ v[n][k].flatten()) for n, leaves in rows.items() for k, j in leaves.items())
    of_loss = grad(lambda y: torch.nn.functional.cross_entropy(y, labels))
    y, pull = vjp(lambda p: model(p, x), p)
    (gv,) = pull(grad(lambda y: (of_loss(y) * jv).sum())(y))
    closest(fn.gauss_newton_vector_product(MODEL, PARAMS, X, LABELS, LOSS, V), gv, 1e-8)
