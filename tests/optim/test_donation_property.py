"""Donation as a property: the bits of the pure step, written into what was given away and nowhere else.

Trees, shapes, dtypes, memory orders, missing gradients, blocks and threads are drawn at random.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_table import OPTIMIZERS
from test_elementwise import WHOLE, bits, factored, frozen, in_blocks_of

from funcnn import cores, tree
from funcnn.aliases import Array, Tree
from funcnn.optim import (
    Optimizer,
    adam,
    adamw,
    add_momentum,
    chain,
    clip_by_global_norm,
    lift,
    masked,
    partition,
    rmsprop,
    scale_by_adam,
    scale_by_rate,
    sgd,
)

SENTINEL = -77
LAYOUTS = ("C", "F", "gaps", "backwards", "inside")


def late(g: Array, state: Any, p: Array, hyper: Any, u: Array, new_state: Any) -> None:
    """A rule that reads its old state after it has written the new one."""
    np.add(state["m"], g, out=new_state["m"])
    np.multiply(state["m"], p, out=u)


ALL = OPTIMIZERS | {
    "masks and partitions": chain(
        masked(chain(add_momentum(0.9), clip_by_global_norm(0.5)), "a*"),
        partition({"a*": adamw(0.1), "z": sgd(0.1, 0.9, nesterov=True), "*": rmsprop(0.1)}),
    ),
    "scaled twice": chain(scale_by_rate(0.5), scale_by_adam(), scale_by_rate(0.1), scale_by_rate(0.5)),
    "not in place": chain(lift("late", late, slots=("m",)), adam(0.1)),
    "of other shapes": chain(add_momentum(0.9), factored(), scale_by_rate(0.1)),
}


class Leaf(NamedTuple):
    """A parameter to be made: ``layouts`` are those of itself, its gradient and its state."""

    shape: tuple[int, ...]
    dtype: str
    layouts: tuple[str, str, str]
    has_gradient: bool


LEAVES = st.builds(
    Leaf,
    st.lists(st.integers(0, 5), max_size=3).map(tuple),
    st.sampled_from(["f4", "f4", "f8", "i8"]),
    st.tuples(*[st.sampled_from(LAYOUTS)] * 3),
    st.sampled_from([True, True, False]),
)
TREES = st.fixed_dictionaries(
    {"a": LEAVES, "z": LEAVES, "b": st.dictionaries(st.sampled_from(["w", "b", "step"]), LEAVES, min_size=1)},
    optional={"c": st.fixed_dictionaries({"d": st.fixed_dictionaries({"w": LEAVES})}), "ab": LEAVES},
)
PROPERTY = settings(max_examples=12)


def laid_out(array: Array, layout: str, buffers: list[tuple[Array, Array]]) -> Array:
    """A copy in a memory order; ``buffers`` gets the memory in which it is, and which elements of that are not its."""
    if layout in ("C", "F") or array.ndim == 0:
        return array.copy("F" if layout == "F" else "C")
    step = {"gaps": 2, "backwards": -1, "inside": 1}[layout]
    window = (*[slice(None)] * (array.ndim - 1), slice(1, -1))
    buffer = np.full((*array.shape[:-1], abs(step) * array.shape[-1] + 2), SENTINEL, array.dtype)
    view = buffer[window][..., ::step]
    free = np.ones(buffer.shape, bool)
    free[window][..., ::step] = False
    view[...] = array
    buffers.append((buffer, free))
    return view


def made(leaves: Any, seed: int, gradient: bool) -> Tree:
    """Parameters or gradients of random elements, of sizes that differ much."""
    random = np.random.default_rng(seed)

    def one(leaf: Any) -> Any:
        if isinstance(leaf, dict):
            return {name: one(child) for name, child in leaf.items()}
        array = np.asarray(random.standard_normal(leaf.shape) * 10 ** random.uniform(-3, 2, leaf.shape))
        if gradient:
            return array.astype(leaf.dtype) if leaf.has_gradient and leaf.dtype != "i8" else None
        return array.astype(leaf.dtype)

    return one(leaves)


def arranged(arrays: Tree, leaves: Any, number: int, buffers: list[tuple[Array, Array]]) -> Tree:
    """The same arrays in the layouts of this number; a slot of another shape stays as it is."""
    if isinstance(arrays, dict):
        return {name: arranged(child, leaves[name], number, buffers) for name, child in arrays.items()}
    return None if arrays is None else laid_out(arrays, leaves.layouts[number], buffers)


def arranged_state(state: Any, leaves: Any, buffers: list[tuple[Array, Array]]) -> Any:
    """A state whose slots are arranged; masks leave parameters out, and counts are no slots."""
    if not isinstance(state, dict):
        return state
    like_params = state.keys() <= leaves.keys() and bool(state)
    if like_params:
        return arranged(state, leaves, 2, buffers)
    return {name: arranged_state(child, leaves, buffers) for name, child in state.items()}


@pytest.mark.parametrize("optimizer", ALL.values(), ids=ALL)
@pytest.mark.parametrize("count", [1, 2, 4])
@PROPERTY
@given(leaves=TREES, block=st.sampled_from([3, 7, WHOLE]), small=st.sampled_from([0, 9, WHOLE]))
def test_a_donated_step_has_the_bits_of_the_pure_one_and_writes_nowhere_else(
    optimizer: Optimizer, count: int, leaves: Any, block: int, small: int
) -> None:
    buffers: list[tuple[Array, Array]] = []
    params = made(leaves, 0, False)
    grads = [frozen_present(arranged(made(leaves, 1 + step, True), leaves, 1, buffers)) for step in range(3)]
    with in_blocks_of(WHOLE), cores.use_threads(1):
        pure, pure_state = params, optimizer.init(params)
        expected = []
        for g in grads:
            pure, pure_state = optimizer.step(g, frozen_present(pure_state), frozen_present(pure))
            expected.append((bits(pure), bits(pure_state)))
    with in_blocks_of(block, small), cores.use_threads(count):
        own = arranged(params, leaves, 0, buffers)
        state = arranged_state(optimizer.init(params), leaves, buffers)
        given_leaves = tree.flatten(own)
        for g, right in zip(grads, expected, strict=True):
            for path, leaf in tree.flatten(g).items():
                # What has no gradient is not given away, and may be read-only.
                given_leaves[path].setflags(write=leaf is not None)
            own, state = optimizer.step(g, state, own, donate=True)
            assert (bits(own), bits(state)) == right
            assert all(leaf is given_leaves[path] for path, leaf in tree.flatten(own).items())
    for buffer, free in buffers:
        assert (buffer[free] == SENTINEL).all()


def frozen_present(arrays: Tree) -> Tree:
    """The tree with all arrays read-only."""
    frozen(present(arrays))
    return arrays


def present(arrays: Tree) -> Tree:
    """The leaves that are not None, by their paths."""
    return {path.replace("/", "."): leaf for path, leaf in tree.flatten(arrays).items() if leaf is not None}


@pytest.mark.parametrize("optimizer", ALL.values(), ids=ALL)
def test_the_bits_are_those_of_one_thread_at_true_sizes(optimizer: Optimizer) -> None:
    shapes = {"a": (700, 1000), "z": (9,), "ab": (600, 700), "b": {"w": (300, 5), "b": (3,)}}
    leaves = tree.unflatten({path: Leaf(shape, "f4", ("C",) * 3, True) for path, shape in flat_shapes(shapes).items()})
    params, grads = made(leaves, 0, False), made(leaves, 1, True)
    with cores.use_threads(1):
        pure, pure_state = optimizer.step(grads, optimizer.init(params), params)
    expected = bits(pure), bits(pure_state)
    for count in (1, 2, 4):
        with cores.use_threads(count):
            own = tree.map(np.copy, params)
            found = optimizer.step(grads, optimizer.init(params), params)
            donated = optimizer.step(grads, optimizer.init(params), own, donate=True)
        assert (bits(found[0]), bits(found[1])) == expected, count
        assert (bits(donated[0]), bits(donated[1])) == expected, count


def flat_shapes(shapes: Any, above: str = "") -> dict[str, tuple[int, ...]]:
    """The shapes by their paths."""
    flat: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        flat |= flat_shapes(shape, f"{above}{name}/") if isinstance(shape, dict) else {f"{above}{name}": shape}
    return flat


# --- what is checked before ------------------------------------------------------------------------------------------


def test_gradients_may_share_memory_with_each_other() -> None:
    zeros = np.zeros(3)
    params, optimizer = {"mean": np.ones(3), "var": np.ones(3)}, sgd(0.5)
    new, _ = optimizer.step({"mean": zeros, "var": zeros}, optimizer.init(params), params, donate=True)
    assert new["var"] is params["var"]


@pytest.mark.parametrize("number", range(2))
def test_a_parameter_of_another_library_is_compared_with_all(number: int) -> None:
    own = np.ones(4)
    foreign = np.from_dlpack(own)
    params = [{"a": own, "b": np.ones(4)}, {"a": np.ones(4), "b": own}][number]
    grads = {"a": foreign, "b": foreign}
    optimizer = sgd(0.5)
    with pytest.raises(ValueError, match="share memory, so they cannot be donated"):
        optimizer.step(grads, optimizer.init(params), params, donate=True)
    assert (own == 1).all()


def test_small_parameters_of_a_pure_step_are_in_memory_of_their_own() -> None:
    params = {"a": np.ones(3), "b": np.ones((2, 2)), "c": np.ones(())}
    optimizer = adam(0.1)
    new, state = optimizer.step(params, optimizer.init(params), params)
    leaves = tree.leaves(new) + tree.leaves(state)
    assert all(leaf.base is None or leaf.base.size == leaf.size for leaf in leaves)


# --- what a rule may return ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_rule_may_return_the_new_state_that_is_the_update(donate: bool, in_place: bool) -> None:
    def rule(g: Array, state: Any, p: Array, hyper: Any, u: Array, new_state: Any) -> Array:
        u[...] = SENTINEL
        return np.add(state["m"], g, out=new_state["m"])

    total = lift("total", rule, slots=("m",), in_place=in_place)
    for optimizer, factor in ((total, 1.0), (chain(total, sgd(0.5)), -0.5), (chain(total, total), 1.0)):
        params, grads = {"w": np.zeros(20), "b": np.zeros(2)}, {"w": np.full(20, 3.0), "b": np.full(2, 3.0)}
        with in_blocks_of(7, 3):
            new, state = optimizer.step(grads, optimizer.init(params), params, donate=donate)
            updates, _ = optimizer.update(grads, optimizer.init(params), params, donate=donate)
        m = state.get("total", state)["m"]
        assert (m["w"] == 3).all()
        assert all((leaf == factor * 3).all() for leaf in tree.leaves(new) + tree.leaves(updates))
        assert updates["w"] is not m["w"]


def test_a_rule_that_returns_another_array_raises() -> None:
    for returned in (lambda u, m: u + 1, lambda u, m: m[..., None], lambda u, m: 0.5):
        optimizer = lift("q", lambda g, s, p, h, u, new, f=returned: f(u, new["m"]), slots=("m",))  # type: ignore[misc]
        params = {"w": np.ones(3)}
        with pytest.raises(TypeError, match="q: a rule writes its update to u and returns nothing, or returns the"):
            optimizer.step(params, optimizer.init(params), params)


def test_a_returned_state_of_another_shape_raises() -> None:
    optimizer = lift("q", lambda g, s, p, h, u, new: new["m"], slots={"m": lambda p: np.zeros(1)})
    params = {"w": np.ones(3)}
    with pytest.raises(TypeError, match="q: a rule writes its update to u"):
        optimizer.step(params, optimizer.init(params), params)
