"""The checker of optimizers: ``init(params) -> state`` and ``update(grads, state, params) -> (updates, state)``.

State is a value: whoever keeps it, copies it or saves it may go on from there, with the same bits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Params, Rng, Tree
from funcnn.interchange import load, save
from funcnn.optim import Optimizer, OptimizerLike, apply_updates, as_optimizer
from funcnn.rng import fold, generator
from funcnn.testing.compare import dtype_of, read_only, unlike
from funcnn.testing.report import Finding, Report, must_return, verdict
from funcnn.tree import check_parameters

__all__ = ["check_optimizer"]

STEPS = 3
"""Steps of each run: the first is often another than those that follow."""

OLD_STATE = "; where a gradient is None, return the old state, and None as the update"
"""What to do about the law ``none``. ``tree.map`` makes None of the state too."""


def check_optimizer(optimizer: OptimizerLike, params: Params | None = None, rng: Rng = 0) -> Report:
    """Check an optimizer or a transform alone, against every law of the contract.

    The laws: ``pure`` (no argument is written to, the same arguments give the same bits), ``shape`` and ``dtype``
    (updates are like the parameters, float32 stays float32), ``state`` (a nested dict of arrays that keeps its tree,
    shapes and dtypes, with the dtype of a parameter where it stands for one), ``step`` (``step`` and a donated ``step``
    give the bits of ``update`` and ``apply_updates``), ``none`` (where a gradient is None, the parameter and its state
    keep their bits), ``resume`` (a state that was saved and loaded gives the bits of the one that was not), ``pair``
    (so does the bare pair of its functions).

    Args:
        optimizer: an ``Optimizer``, or a pair ``(init, update)``.
        params: the parameters to check with, in float64 and in float32; by default those of a small network, with one
            that has no elements.
        rng: the key of the parameters and gradients.

    Returns:
        The report, if all is well; ``print`` it to see each error.

    Raises:
        AssertionError: a law is broken; the message is the report.
        TypeError: it is not an optimizer, or the parameters are not a nested dict of arrays.

    Example:
        >>> import funcnn as fn
        >>> check_optimizer(fn.chain(fn.clip_by_global_norm(1.0), fn.adam(1e-3))).passed
        True
    """
    pair = as_optimizer(optimizer, "check_optimizer: expected an optimizer such as adam(1e-3)")
    random = generator(fold(rng, "params"))
    if params is None:
        shapes = {"dense_0/w": (4, 3), "dense_0/b": (3,), "norm/scale": (3,), "norm/empty": (0, 3)}
        params = tree.unflatten({path: random.standard_normal(shape) for path, shape in shapes.items()})
    check_parameters(params, "check_optimizer")
    findings: list[Finding] = []
    for dtype in (np.float64, np.float32):
        start = tree.cast(params, dtype)
        gradients = [tree.map(lambda leaf: _gradient(leaf, random), start) for _ in range(STEPS)]
        case = Case(pair, tree.map(read_only, start), [tree.map(read_only, one) for one in gradients])
        findings += _forms(case, np.dtype(dtype).name)
        verdict(Report(f"{pair!r}", tuple(findings)))  # nothing else can be asked of what has another form
        findings += _laws(case, np.dtype(dtype).name)
    return verdict(Report(f"{pair!r}", tuple(findings)))


class Case(NamedTuple):
    """An optimizer with parameters and the gradients of a few steps."""

    optimizer: Optimizer
    params: Params
    gradients: list[Tree]

    def updated(self, keep: Callable[[Array], Array] = np.copy) -> list[tuple[Tree, Tree, Tree]]:
        """The updates, the parameters and the state after each step, by ``update`` and ``apply_updates``."""
        params, state, found = self.params, tree.map(read_only, self.optimizer.init(self.params)), []
        for grads in self.gradients:
            updates, state = self.optimizer.update(grads, state, params)
            params, state = tree.map(read_only, apply_updates(params, updates)), tree.map(read_only, state)
            found.append((tree.map(keep, updates), params, state))
        return found

    def stepped(self, optimizer: Optimizer, donate: bool = False) -> tuple[Tree, Tree]:
        """The parameters and the state after all steps, by ``step``."""
        params, state = tree.map(np.array, self.params), optimizer.init(tree.map(np.array, self.params))
        state = tree.map(np.array, state)
        for grads in self.gradients:
            params, state = optimizer.step(grads, state, params, donate=donate)
        return params, state


def _forms(case: Case, mode: str) -> list[Finding]:
    """The form of the first state and of the first updates."""
    optimizer, params, gradients = case
    with must_return("pure", mode):
        state = optimizer.init(params)
        updates, _ = optimizer.update(gradients[0], tree.map(read_only, state), params)
    expected = tree.flatten(gradients[0])
    return [
        Finding("state", f"arrays, of the parameters' dtype, {mode}", _wrong_leaves(state, params), 0.0),
        Finding("shape", f"updates are like the parameters, {mode}", unlike(expected, updates, np.shape), 0.0),
        Finding("dtype", f"updates are of their dtype, {mode}", unlike(expected, updates, dtype_of), 0.0),
    ]


def _laws(case: Case, mode: str) -> list[Finding]:
    """All other laws, in one dtype; each error counts the leaves that are wrong."""
    optimizer, params, _ = case
    with must_return("pure", mode):
        first = optimizer.init(params)
        # Updates that are not copied must still be the same when the last step has been made.
        run, again = case.updated(), case.updated(keep=lambda leaf: leaf)
    with must_return("step", mode):
        expected = run[-1][1:]
        stepped, donated = case.stepped(optimizer), case.stepped(optimizer, donate=True)
    with must_return("pair", mode):
        bare = case.stepped(as_optimizer((optimizer.init, optimizer.update)))
    with must_return("none", mode):
        kept = sum(_moved(case, path) for path in tree.paths(params) if _floats(params, path))
    with must_return("resume", mode):
        resumed = _resumed(case, run[0][1], run[0][2])
    return [
        Finding("pure", mode, _different(run, again), 0.0),
        Finding("state", f"keeps its form, {mode}", unlike(tree.flatten(first), run[-1][2], _form), 0.0),
        Finding("step", f"has the bits of update, {mode}", _different(expected, stepped), 0.0),
        Finding("step", f"has them with donate=True too, {mode}", _different(expected, donated), 0.0),
        Finding("none", f"keeps parameters and their state, {mode}{OLD_STATE if kept else ''}", float(kept), 0.0),
        Finding("resume", f"from a file, {mode}", _different(expected, resumed), 0.0),
        Finding("pair", f"(init, update) alone, {mode}", _different(expected, bare), 0.0),
    ]


def _gradient(leaf: Array, random: np.random.Generator) -> Array | None:
    """A random gradient of a parameter; None of integers."""
    return random.standard_normal(leaf.shape).astype(leaf.dtype) if leaf.dtype.kind == "f" else None


def _floats(params: Params, path: str) -> bool:
    """Whether the parameter at a path is learned."""
    return bool(tree.flatten(params)[path].dtype.kind == "f")


def _moved(case: Case, path: str) -> int:
    """How many of the bits that must stay have changed where the gradient at one path is None."""
    _, params, state = case.updated()[0]
    grads = tree.map_with_path(lambda where, leaf: None if where == path else leaf, case.gradients[1])
    updates, after = case.optimizer.update(grads, state, params)
    new = apply_updates(params, updates)
    moved = int(tree.flatten(updates)[path] is not None)
    moved += _different(tree.flatten(params)[path], tree.flatten(new)[path]) > 0
    old_state, new_state = tree.flatten(state), tree.flatten(after)
    own = [where for where in old_state if f"/{where}".endswith(f"/{path}")]
    return moved + sum(_different(old_state[where], new_state.get(where)) > 0 for where in own)


def _resumed(case: Case, params: Params, state: Tree) -> tuple[Tree, Tree]:
    """The remaining steps, from a state after the first step that was saved in a file."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "state.npz", {"params": params, "state": state})
        saved = load(Path(folder) / "state.npz")
    params, state = saved["params"], saved.get("state", {})
    for grads in case.gradients[1:]:
        updates, state = case.optimizer.update(grads, state, params)
        params = apply_updates(params, updates)
    return params, state


def _wrong_leaves(state: Any, params: Params) -> float:
    """How many leaves are not arrays, or stand for a parameter and have another dtype."""
    wrong = 0
    for path, leaf in tree.flatten(state).items():
        own = [p for name, p in tree.flatten(params).items() if f"/{path}".endswith(f"/{name}")]
        is_array = isinstance(leaf, np.ndarray)
        wrong += not is_array or any(leaf.dtype.kind == "f" and leaf.dtype != p.dtype for p in own)
    return float(wrong)


def _form(leaf: Any) -> Any:
    return np.shape(leaf), dtype_of(leaf)


def _bits(leaf: Any) -> Any:
    return _form(leaf), np.asarray(leaf).tobytes()


def _different(one: Any, other: Any) -> float:
    """How many leaves differ in dtype, shape or any bit, in trees or in sequences of them."""
    if isinstance(one, list | tuple):
        return float(sum(_different(a, b) for a, b in zip(one, other, strict=True)))
    return unlike(tree.flatten({"of": one}), {"of": other}, _bits)
