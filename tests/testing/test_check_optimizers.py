"""The checker of optimizers: those of the library pass, and those that break a law fail by its name."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import tree
from funcnn.testing import check_optimizer

RATE = np.float32(0.1)


@pytest.mark.parametrize(
    "optimizer",
    [
        fn.sgd(0.1),
        fn.sgd(0.1, momentum=0.9, weight_decay=0.1),
        fn.adamw(fn.cosine_decay(0.1, 10)),
        fn.rmsprop(0.1),
        fn.chain(fn.clip_by_global_norm(1.0), fn.adam(0.1)),
        fn.masked(fn.adam(0.1), "dense_0/*"),
        fn.partition({"*/b": fn.sgd(0.1, 0.9), "*": fn.adam(0.1)}),
    ],
    ids=repr,
)
def test_optimizers_of_the_library_pass(optimizer: Any) -> None:
    report = check_optimizer(optimizer)
    assert {f.law for f in report.findings} == {
        "pure", "shape", "dtype", "state", "step", "none", "resume", "pair",
    }  # fmt: skip
    assert str(report).splitlines()[0] == repr(optimizer)


def test_parameters_may_be_given_with_integers_among_them() -> None:
    params = {"w": np.ones((2, 2), np.float32), "ids": np.arange(3), "deep": {"b": np.zeros(2, np.float32)}}
    assert check_optimizer(fn.adam(0.1), params).passed
    assert params["w"].dtype == np.float32


def momentum(update: Any, start: Any = np.zeros_like) -> Any:
    """A bare pair with a slot m, whose update of one array is ``update(g, m) -> (u, m)``."""

    def whole(grads: Any, state: Any, params: Any) -> Any:
        slots, updates = tree.flatten(state["m"]), tree.flatten(grads)
        for path, g in updates.items():
            if g is not None:
                updates[path], slots[path] = update(g, slots[path])
        return tree.unflatten(updates), {"m": tree.unflatten(slots)}

    return lambda params: {"m": tree.map(start, params)}, whole


def rule(g: Any, m: Any) -> Any:
    new = m * g.dtype.type(0.9) + g
    return -g.dtype.type(0.1) * new, new


def plain(update: Any) -> Any:
    """A bare pair without a state."""
    return lambda params: {}, update


def per_leaf(grads: Any, function: Any) -> Any:
    return tree.map(lambda g: None if g is None else function(g), grads)


def descend(g: Any) -> Any:
    return g.dtype.type(-0.1) * g


CALLS: list[int] = []
BUFFERS: dict[Any, Any] = {}


def counting(g: Any) -> Any:
    CALLS.append(1)
    return g.dtype.type(-0.1 / len(CALLS)) * g


def in_a_buffer(g: Any) -> Any:
    buffer = BUFFERS.setdefault((g.shape, g.dtype), np.empty_like(g))
    return np.multiply(g, -0.1, out=buffer)


def forgets_where_it_was() -> Any:
    """Momentum that is kept in the optimizer, not in the state."""
    kept: dict[str, Any] = {}

    def update(grads: Any, state: Any, params: Any) -> Any:
        flat = {path: g for path, g in tree.flatten(grads).items() if g is not None}
        for path, g in flat.items():
            kept[path] = g + 0.9 * kept.get(path, 0 * g)
        updates = tree.map_with_path(lambda path, g: None if g is None else -kept[path].astype(g.dtype), grads)
        return updates, state

    return plain(update)


def zero_for_none(grads: Any, params: Any) -> Any:
    given = tree.flatten(params)
    updates = {path: 0 * given[path] if g is None else descend(g) for path, g in tree.flatten(grads).items()}
    return tree.unflatten(updates)


@pytest.mark.parametrize(
    ("pair", "law"),
    [
        (plain(lambda g, s, p: (per_leaf(g, lambda leaf: np.multiply(leaf, -0.1, out=leaf)), s)), "pure"),
        (plain(lambda g, s, p: (per_leaf(p, lambda leaf: np.subtract(leaf, leaf, out=leaf)), s)), "pure"),
        (momentum(lambda g, m: (-np.add(m, g, out=m), m)), "pure"),
        (plain(lambda g, s, p: (per_leaf(g, counting), s)), "pure"),
        (plain(lambda g, s, p: (per_leaf(g, in_a_buffer), s)), "pure"),
        (forgets_where_it_was(), "pure"),
        (plain(lambda g, s, p: (per_leaf(g, lambda leaf: -0.1 * leaf.sum()), s)), "shape"),
        (plain(lambda g, s, p: (per_leaf(g, lambda leaf: -np.float64(0.1) * leaf), s)), "dtype"),
        (momentum(rule, lambda p: np.zeros(p.shape)), "state"),
        (momentum(rule, lambda p: 0.0), "state"),
        (plain(lambda g, s, p: (per_leaf(g, descend), {"seen": g})), "state"),
        (plain(lambda g, s, p: (zero_for_none(g, p), s)), "none"),
        # An array of objects cannot be saved.
        ((lambda params: {"n": np.array(None)}, lambda g, s, p: (per_leaf(g, descend), s)), "resume"),
    ],
)  # fmt: skip
def test_an_optimizer_that_breaks_a_law_fails_by_its_name(pair: Any, law: str) -> None:
    with pytest.raises(AssertionError, match=rf"  ({law}) +.*  FAILED"):
        check_optimizer(pair)


def test_bare_pairs_that_are_right_pass() -> None:
    assert check_optimizer(momentum(rule)).passed
    assert check_optimizer(plain(lambda g, s, p: (per_leaf(g, descend), s))).passed


def test_a_step_with_other_bits_than_the_update_fails() -> None:
    class Rounded(fn.Optimizer):
        def step(self, grads: Any, state: Any, params: Any, donate: bool = False) -> Any:
            params, state = super().step(grads, state, params, donate)
            return tree.map(lambda leaf: leaf * leaf.dtype.type(1 + 1e-7) if donate else leaf, params), state

    with pytest.raises(AssertionError, match=r"  step +has them with donate=True too, float64 .*  FAILED"):
        check_optimizer(Rounded(*fn.sgd(0.1)))


def test_state_of_a_parameter_without_gradient_that_moves_fails() -> None:
    def update(grads: Any, state: Any, params: Any) -> Any:
        # The mean fades although there is no gradient.
        new = tree.map(lambda m, g: m * m.dtype.type(0.9) + (0 if g is None else g), state["m"], grads)
        return tree.map(lambda g, m: None if g is None else descend(m), grads, new), {"m": new}

    with pytest.raises(AssertionError, match=r"  none +keeps parameters and their state, .*  FAILED"):
        check_optimizer(((lambda params: {"m": tree.map(np.zeros_like, params)}), update))


def test_what_is_no_optimizer_raises() -> None:
    with pytest.raises(TypeError, match="check_optimizer: expected an optimizer such as adam"):
        check_optimizer(fn.adam)


def test_state_that_tree_map_made_none_fails_and_the_rule_is_named() -> None:
    def update(grads: Any, state: Any, params: Any) -> Any:
        new = tree.map(lambda m, g: m * m.dtype.type(0.9) + g, state, grads)
        return tree.map(descend, new), new

    with pytest.raises(AssertionError) as raised:
        check_optimizer((lambda params: tree.map(np.zeros_like, params), update))
    assert "where a gradient is None, return the old state, and None" in " ".join(str(raised.value).split())
