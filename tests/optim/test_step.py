"""``step``: the bits of ``update`` and ``apply_updates``, in new memory or in that of its arguments."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from optimizer_table import OPTIMIZERS, every_optimizer
from test_elementwise import WHOLE, bits, every_chain, frozen, in_blocks_of, made

from funcnn import cores, tree
from funcnn.aliases import Array, Tree
from funcnn.optim import (
    Optimizer,
    adam,
    add_momentum,
    apply_updates,
    as_optimizer,
    chain,
    clip_by_global_norm,
    clip_by_value,
    lift,
    masked,
    partition,
    scale_by_adam,
    scale_by_rate,
    sgd,
    transform,
)

Slots = dict[str, Array]
EVERY_BLOCK = pytest.mark.parametrize(("block", "small", "count"), [(7, 0, 2), (7, 22, 1), (WHOLE, 22, 1), (1, 0, 2)])


def writeable(arrays: Tree) -> Tree:
    """Copies in the same memory order, which may be written; some have gaps between their elements."""

    def copy(path: str, leaf: Array) -> Array:
        if not path.endswith(("columns", "backwards")):
            return np.array(leaf, order="K")
        view = np.zeros((*leaf.shape[:-1], 3 * leaf.shape[-1]), leaf.dtype)[..., ::-3]
        view[...] = leaf
        return view

    return tree.map_with_path(copy, arrays)


def missing(grads: Tree, step: int) -> Tree:
    """The gradients without some of them, other ones in every step."""
    return tree.map_with_path(lambda path, g: None if len(path) % 3 == step else g, grads)


def reference(optimizer: Any, dtype: type, gradients: Callable[[int], Tree]) -> list[Any]:
    """The bits of parameters and state after each of three updates."""
    init, update = optimizer
    params, found = made(0, dtype), []
    state = init(params)
    for step in range(3):
        updates, state = update(gradients(step), frozen(state), params)
        params = frozen(apply_updates(params, updates))
        found.append((bits(params), bits(state)))
    return found


@every_chain
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@EVERY_BLOCK
def test_a_step_has_the_bits_of_update_and_apply_updates(
    optimizer: Optimizer, dtype: type, block: int, small: int, count: int
) -> None:
    with in_blocks_of(WHOLE):
        expected = reference(optimizer, dtype, lambda step: made(1 + step, dtype))
    with in_blocks_of(block, small), cores.use_threads(count):
        # Pure: nothing can be written to.
        params = made(0, dtype)
        state = optimizer.init(params)
        for step in range(3):
            params, state = optimizer.step(made(1 + step, dtype), frozen(state), params)
            assert (bits(frozen(params)), bits(state)) == expected[step]
        # Donated: the gradients cannot be written to.
        params = writeable(made(0, dtype))
        state = optimizer.init(params)
        for step in range(3):
            params, state = optimizer.step(made(1 + step, dtype), state, params, donate=True)
            assert (bits(params), bits(state)) == expected[step]
        # The two functions, each with its donation.
        params = writeable(made(0, dtype))
        state = optimizer.init(params)
        for step in range(3):
            updates, state = optimizer.update(made(1 + step, dtype), state, frozen(params), donate=True)
            params = apply_updates(writeable(params), frozen(updates), donate=True)
            assert (bits(params), bits(state)) == expected[step]


@every_optimizer
@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("small", [0, 22])
def test_without_a_gradient_parameter_and_state_keep_their_bits(optimizer: Optimizer, donate: bool, small: int) -> None:
    expected = reference(optimizer, np.float32, lambda step: missing(made(1 + step, np.float32), step))
    params = writeable(made(0, np.float32))
    state = optimizer.init(params)
    with in_blocks_of(7, small):
        for step in range(3):
            before = bits(params)
            grads = missing(made(1 + step, np.float32), step)
            params, state = optimizer.step(grads, state, params, donate)
            assert (bits(params), bits(state)) == expected[step]
            for path, g in tree.flatten(grads).items():
                assert g is not None or bits(params)[path] == before[path]


@every_optimizer
@pytest.mark.parametrize("small", [0, 22])
def test_a_donation_is_written_into(optimizer: Optimizer, small: int) -> None:
    params = writeable(made(0, np.float64))
    state = optimizer.init(params)
    given = tree.flatten(params), tree.flatten(state)
    with in_blocks_of(7, small):
        new_params, new_state = optimizer.step(made(1, np.float64), state, params, donate=True)
    for path, leaf in tree.flatten(new_params).items():
        assert leaf is given[0][path]
    for path, leaf in tree.flatten(new_state).items():
        # Counts and rates are new scalars; an empty array stays what it is.
        assert not leaf.size or (leaf is given[1][path]) == (path in given[1] and not is_new(optimizer, path)), path
    updates, after = optimizer.update(made(2, np.float64), new_state, new_params, donate=True)
    params_before = bits(new_params)
    for path, leaf in tree.flatten(after).items():
        assert not leaf.size or (leaf is tree.flatten(new_state)[path]) == (not is_new(optimizer, path)), path
    assert bits(new_params) == params_before
    added = tree.flatten(apply_updates(new_params, updates, donate=True))
    assert all(leaf is added[path] for path, leaf in tree.flatten(new_params).items())


def is_new(optimizer: Optimizer, path: str) -> bool:
    """Whether a leaf of the state is a new array after a donation: a number, or up to the last rule for the tree."""
    pipeline = optimizer.update.__self__  # type: ignore[attr-defined]
    before = [pipeline.parts[n] for numbers in pipeline.passes[: pipeline.first_donating] for n in numbers]
    slots = {"/".join((*part.path, slot)) for part in before for slot in part.work.spec.slots}
    specs = [(part.path, part.work.spec) for part in pipeline.parts]
    scalars = {"/".join((*at, name)) for at, spec in specs for name in (*spec.counted, *spec.numbers)}
    return path in scalars or any(path.startswith(f"{slot}/") for slot in slots)


@every_optimizer
def test_a_pure_step_makes_new_arrays(optimizer: Optimizer) -> None:
    params, grads = made(0, np.float64), made(1, np.float64)
    state = frozen(optimizer.init(params))
    new_params, new_state = optimizer.step(grads, state, params)
    given = [leaf for t in (params, grads, state) for leaf in tree.leaves(t) if leaf.size]
    for leaf in tree.leaves(new_params) + tree.leaves(new_state):
        assert not any(np.shares_memory(leaf, other) for other in given)


def test_several_blocks_on_threads_at_their_true_sizes() -> None:
    random = np.random.default_rng(0)
    params = {"w": random.standard_normal((1200, 1000)).astype(np.float32), "b": np.ones(5, np.float32)}
    grads = [tree.map(lambda p: random.standard_normal(p.shape).astype(np.float32), params) for _ in range(2)]
    optimizer = chain(clip_by_global_norm(1.0), adam(1e-2))
    one, one_state = params, optimizer.init(params)
    for g in grads:
        updates, one_state = optimizer.update(g, one_state, one)
        one = apply_updates(one, updates)
    for count in (1, 2):
        two, two_state = writeable(params), optimizer.init(params)
        with cores.use_threads(count):
            for g in grads:
                two, two_state = optimizer.step(g, two_state, two, donate=True)
        assert bits(one) == bits(two)
        assert bits(one_state) == bits(two_state)


# --- what cannot be donated ------------------------------------------------------------------------------------------


def some_arrays() -> tuple[Optimizer, Any, Any, Any]:
    optimizer = chain(add_momentum(0.9), clip_by_global_norm(1.0), adam(0.1))
    params = {"a": {"w": np.ones((3, 2))}, "b": np.ones(2), "n": np.arange(3)}
    grads = {"a": {"w": np.full((3, 2), 2.0)}, "b": np.ones(2), "n": None}
    return optimizer, params, grads, optimizer.init(params)


def read_only_parameter(params: Any, grads: Any, state: Any) -> None:
    params["b"].setflags(write=False)


def read_only_state(params: Any, grads: Any, state: Any) -> None:
    state["scale_by_adam"]["v"]["a"]["w"].setflags(write=False)


def parameter_in_parameter(params: Any, grads: Any, state: Any) -> None:
    params["b"] = params["a"]["w"][1]


def parameter_is_state(params: Any, grads: Any, state: Any) -> None:
    state["scale_by_adam"]["m"]["b"] = params["b"]


def parameter_in_gradient(params: Any, grads: Any, state: Any) -> None:
    grads["a"]["w"] = params["a"]["w"][::-1]


def state_in_frozen_parameter(params: Any, grads: Any, state: Any) -> None:
    buffer = np.ones(5)
    params["n"], state["scale_by_adam"]["v"]["b"] = buffer[:3], buffer[2:4]


def memory_of_another_library(params: Any, grads: Any, state: Any) -> None:
    buffer = bytearray(6 * 8)
    params["b"], grads["b"] = np.frombuffer(buffer, np.float64)[1:3], np.frombuffer(memoryview(buffer))[2:4]


def a_broadcast(params: Any, grads: Any, state: Any) -> None:
    params["a"]["w"] = np.lib.stride_tricks.as_strided(np.ones(3), (3, 2), (8, 0))


INVALID = [
    (read_only_parameter, "b: the parameter is read-only"),
    (read_only_state, "a/w: state 'v' is read-only"),
    (parameter_in_parameter, "(a/w|b): the parameter and (a/w|b): the parameter share memory"),
    (parameter_is_state, "b: the parameter and b: state 'm' share memory"),
    (parameter_in_gradient, "a/w: the parameter and a/w: a gradient share memory"),
    (state_in_frozen_parameter, "n: the parameter and b: state 'v' share memory"),
    (memory_of_another_library, "b: the parameter and b: a gradient share memory"),
    (a_broadcast, "a/w: the parameter overlaps itself"),
]


@pytest.mark.parametrize(("spoil", "message"), INVALID, ids=[spoil.__name__ for spoil, _ in INVALID])
def test_read_only_and_overlapping_arrays_raise_before_anything_is_written(spoil: Any, message: str) -> None:
    optimizer, params, grads, state = some_arrays()
    spoil(params, grads, state)
    before = bits({"params": params, "state": state})
    with pytest.raises(ValueError, match=message):
        optimizer.step(grads, state, params, donate=True)
    assert bits({"params": params, "state": state}) == before
    optimizer.step(grads, state, params)
    assert bits({"params": params, "state": state}) == before


@pytest.mark.parametrize("optimizer", [adam(0.1), scale_by_adam(), sgd(0.1, momentum=0.9)], ids=repr)
def test_arguments_in_another_order_raise_with_the_right_one(optimizer: Optimizer) -> None:
    params, grads = {"w": np.ones(2)}, {"w": np.ones(2)}
    state = optimizer.init(params)
    for call in (optimizer.update, optimizer.step):
        for arguments, name in (
            ((params, grads, state), "params"), ((grads, params, state), "params"), ((state, grads, params), "grads"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=rf"given as {name}; the order is \(grads, state, params\)"):
                call(*arguments)
    with pytest.raises(ValueError, match="trees differ: only the first has w; only another has v"):
        optimizer.step({"v": np.ones(2)}, state, params)


@pytest.mark.parametrize("key", ["add_momentum", "scale_by_adam", "scale_by_rate"])
def test_nothing_is_written_if_a_later_transform_has_a_wrong_state(key: str) -> None:
    optimizer, params, grads, state = some_arrays()
    state[key] = state[key] | {"other": np.ones(1)}
    before = bits({"params": params, "state": state})
    for donated in (optimizer.step, optimizer.update):
        with pytest.raises(ValueError, match=f"{key}: expected a state of"):
            donated(grads, state, params, donate=True)
        assert bits({"params": params, "state": state}) == before


def test_updates_are_donated_to_parameters_that_can_take_them() -> None:
    w = np.ones(4)
    with pytest.raises(ValueError, match="w: the parameter and w: an update share memory"):
        apply_updates({"w": w}, {"w": w}, donate=True)
    with pytest.raises(ValueError, match="w: the parameter is read-only"):
        apply_updates({"w": np.broadcast_to(1.0, 4)}, {"w": w}, donate=True)
    assert w.tolist() == [1] * 4
    # Neighbours in one buffer do not overlap, even if they interleave.
    params, update = {"even": w[::2], "odd": w[1::2]}, np.array([1.0, 2.0])
    assert apply_updates(params, {"even": update, "odd": -update}, donate=True)["odd"] is params["odd"]
    assert w.tolist() == [2, 0, 3, -1]


def test_numbers_are_parameters_that_cannot_be_written_into() -> None:
    optimizer = sgd(0.5, 0.5)
    params, _ = optimizer.step({"t": 3.0}, optimizer.init({"t": 2.0}), {"t": 2.0}, donate=True)
    assert params["t"] == 0.5


# --- rules that run in place, and others -----------------------------------------------------------------------------


def test_every_rule_of_the_table_is_declared_in_place() -> None:
    names = [
        part.work.spec.kind
        for optimizer in OPTIMIZERS.values()
        for part in optimizer.update.__self__.parts  # type: ignore[attr-defined]
        if not getattr(part.work, "in_place", True)
    ]
    assert names == []


@pytest.mark.parametrize("in_place", [False, True])
def test_only_a_rule_declared_in_place_runs_with_its_old_state_as_the_new(in_place: bool) -> None:
    same: list[bool] = []

    def rule(g: Array, state: Slots, p: Array, hyper: Any, u: Array, new_state: Slots) -> None:
        same.append(np.shares_memory(state["m"], new_state["m"]))
        new_state["m"][...] = g
        # With the old state as the new one, this is another number.
        np.add(state["m"], p, out=u)

    optimizer = lift("late", rule, slots=("m",), in_place=in_place)
    params, grads = {"w": np.ones(20)}, {"w": np.full(20, 5.0)}
    state = optimizer.init(params)
    with in_blocks_of(7):
        optimizer.step(grads, state, params)
        assert same == [False] * 3
        new, after = optimizer.step(grads, state, params, donate=True)
    assert same[3:] == [in_place] * 3
    assert after["m"]["w"] is state["m"]["w"]
    assert (after["m"]["w"] == 5).all()
    assert (new["w"] == (7 if in_place else 2)).all()


def wrong_in_place(g: Any, state: Any, p: Any, hyper: Any, u: Any, new_state: Any) -> None:
    """AdaGrad as it was written before rules ran in place."""
    v = np.multiply(g, g, out=new_state["v"])
    v += state["v"]
    np.divide(g, np.sqrt(v) + 1e-10, out=u)


def test_the_law_sees_a_rule_that_is_wrongly_declared_in_place() -> None:
    optimizer = chain(lift("adagrad", wrong_in_place, slots=("v",), in_place=True), scale_by_rate(0.1))
    with pytest.raises(AssertionError):
        test_a_step_has_the_bits_of_update_and_apply_updates(optimizer, np.float64, 7, 0, 1)


# --- rules for the whole tree, which may return what they were given ------------------------------------------------


def delayed(grads: Any, slots: Any, params: Any, hyper: Any) -> Any:
    """The gradient of the step before."""
    return slots["last"], {"last": grads}


def pulled(grads: Any, slots: Any, params: Any, hyper: Any) -> Any:
    """A pull to where the parameters were, which are kept themselves."""
    return tree.map(lambda g, p, slow: g + 0.1 * (p - slow), grads, params, slots["slow"]), {"slow": params}


def swapped(grads: Any, slots: Any, params: Any, hyper: Any) -> Any:
    """Each of two parameters is the update of the other."""
    return {"a": params["b"], "b": params["a"][::-1]}, {}


def unchanged(grads: Any, slots: Any, params: Any, hyper: Any) -> Any:
    return grads, slots


@pytest.mark.parametrize(
    "middle",
    [
        transform("delayed", delayed, slots=("last",)),
        transform("pulled", pulled, slots={"slow": np.copy}),
        transform("swapped", swapped),
        transform("unchanged", unchanged, slots=("m",)),
    ],
    ids=lambda one: one.kind,
)
@pytest.mark.parametrize("where", ["first", "middle", "last", "alone"])
@pytest.mark.parametrize("small", [0, WHOLE])
def test_a_rule_for_the_whole_tree_may_return_what_it_was_given(middle: Optimizer, where: str, small: int) -> None:
    optimizer = {
        "first": chain(middle, sgd(0.1, 0.9)),
        "middle": chain(add_momentum(0.9), middle, scale_by_rate(0.1)),
        "last": chain(add_momentum(0.9), scale_by_rate(0.1), middle),
        "alone": middle,
    }[where]
    random = np.random.default_rng(0)
    start = {"a": random.standard_normal(20), "b": random.standard_normal(20)}
    grads = [tree.map(lambda p: frozen(random.standard_normal(20)), start) for _ in range(4)]
    ends = []
    for donate in (None, False, True):
        params, state = writeable(start), optimizer.init(start)
        with in_blocks_of(7, small):
            for g in grads:
                if donate is None:
                    updates, state = optimizer.update(g, state, params)
                    params = apply_updates(params, updates)
                else:
                    params, state = optimizer.step(g, state, params, donate)
        ends.append((bits(params), bits(state)))
    assert ends[0] == ends[1] == ends[2]


# --- bare pairs ------------------------------------------------------------------------------------------------------


def start(params: Any) -> Any:
    return {"slow": params, "count": 0}


def lookahead(grads: Any, state: Any, params: Any) -> Any:
    """A user's update that keeps the parameters themselves."""
    updates = tree.map(lambda g, p, slow: 0.5 * (slow - p) - 0.1 * g, grads, params, state["slow"])
    return updates, {"slow": params, "count": state["count"] + 1}


PAIR: Any = (start, lookahead)
PAIRS: dict[str, Any] = {
    "alone": PAIR,
    "in a chain": chain(clip_by_value(0.5), PAIR, add_momentum(0.9), PAIR),
    "masked": masked(PAIR, "inner/*"),
    "in a partition": partition({"inner/*": PAIR, "*": adam(0.1)}),
    "a replaced update": replace(adam(0.1), init=start, update=lookahead),
    "in a chain, replaced": chain(replace(adam(0.1), init=start, update=lookahead), sgd(0.1)),
    "an optimizer's": tuple(adam(0.1)),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("donate", [False, True])
def test_a_bare_pair_is_an_optimizer(pair: Any, donate: bool) -> None:
    init, update = pair
    params = expected = made(0, np.float64)
    state = expected_state = init(params)
    optimizer = as_optimizer(pair)
    assert optimizer.donates == (pair is PAIRS["an optimizer's"])
    if optimizer.donates:
        params = writeable(params)
    for step in range(3):
        grads = made(step + 1, np.float64)
        updates, expected_state = update(grads, expected_state, expected)
        expected = apply_updates(expected, updates)
        # Its arrays are read-only: a donation that an update of one's own might notice is not made use of.
        params, state = optimizer.step(grads, state, params, donate)
        assert bits(params) == bits(expected)
        assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(state), tree.leaves(expected_state), strict=True))


def test_the_state_of_a_pair_in_a_chain_may_be_any_value() -> None:
    pair: Any = (lambda params: np.array(0), lambda grads, state, params: (grads, state + 1))
    optimizer = chain(pair, sgd(0.1), pair)
    state = optimizer.init({"w": np.ones(2)})
    assert list(state) == ["optimizer", "scale_by_rate", "optimizer_1"]
    _, state = optimizer.update({"w": np.ones(2)}, state, {"w": np.ones(2)})
    assert (state["optimizer"], state["optimizer_1"]) == (1, 1)


def test_another_init_is_part_of_the_optimizer() -> None:
    warm = replace(scale_by_adam(), init=lambda params: scale_by_adam().init(params) | {"step": np.array(7)})
    for optimizer, key in (
        (chain(warm, sgd(0.1)), "scale_by_adam"),
        (chain(sgd(0.1), masked(warm, "*")), "scale_by_adam"),
    ):
        state = optimizer.init({"w": np.ones(2)})
        assert state[key]["step"] == 7
        _, state = optimizer.step({"w": np.ones(2)}, state, {"w": np.ones(2)})
        assert state[key]["step"] == 8


@pytest.mark.parametrize("bad", [adam, None, "adam", (adam,), (1, 2), [start, lookahead]])
def test_what_is_no_optimizer(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected an optimizer such as adam\(1e-3\), got "):
        as_optimizer(bad)
    for where, make in (
        ("chain", chain),
        ("masked", lambda one: masked(one, "*")),
        ("partition", lambda one: partition({"*": one})),
    ):
        with pytest.raises(TypeError, match=f"^{where}: expected (an optimizer|optimizers), got "):
            make(bad)


def ones_everywhere(g: Tree, slots: dict[str, Tree], p: Tree, hyper: Any) -> tuple[Tree, dict[str, Tree]]:
    """An update where there is no gradient too."""
    return tree.map(np.ones_like, p), slots


@pytest.mark.parametrize("donate", [False, True])
def test_an_update_without_a_gradient_raises_and_writes_nothing(donate: bool) -> None:
    optimizer = chain(transform("ones", ones_everywhere), add_momentum(0.9))
    params = {"b": np.zeros(3), "a": np.zeros(3)}
    state = optimizer.init(params)
    with pytest.raises(ValueError, match=r"^a: expected None as an update, since there is no gradient"):
        optimizer.step({"a": None, "b": np.ones(3)}, state, params, donate=donate)
    assert not any(leaf.any() for leaf in params.values())
    assert not any(leaf.any() for leaf in state["add_momentum"]["m"].values())


def test_a_rule_that_loses_its_state_is_named() -> None:
    optimizer = transform("forgets", lambda g, slots, p, hyper: (g, {}), slots=("m",))
    params = {"w": np.ones(2)}
    with pytest.raises(ValueError, match=r"forgets: expected a rule that returns the state \['m'\], got \[\]"):
        optimizer.step(params, optimizer.init(params), params)


@pytest.mark.parametrize("step", [2.7, -5, np.nan, "x", [1, 2]])
def test_a_step_that_is_no_whole_number_raises(step: Any) -> None:
    params, optimizer = {"w": np.ones(2)}, adam(0.1)
    state = optimizer.init(params)
    state["scale_by_adam"]["step"] = step
    with pytest.raises(ValueError, match="scale_by_adam: expected the state's step as a whole number >= 0, got"):
        optimizer.step(params, state, params)


def test_a_rate_may_not_be_called_step() -> None:
    with pytest.raises(ValueError, match="q: expected rates of other names than 'step'"):
        lift("q", lambda g, state, p, hyper, u, new_state: None, rates={"step": 0.5})


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("foreign", ["params", "grads", "state", "all"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_byte_order_does_not_matter(dtype: str, foreign: str, donate: bool) -> None:
    optimizer = chain(clip_by_global_norm(1.0), adam(0.1))
    params, grads = ({"a": np.arange(2, dtype=dtype), "b": np.full(3, n, dtype)} for n in (2, 3))
    state = optimizer.init(params)
    expected, expected_state = optimizer.step(grads, state, params)

    def turned(name: str, given: Tree) -> Tree:
        return tree.cast(given, f">{dtype}") if foreign in (name, "all") else given

    given = turned("params", params)
    first = optimizer.init(given)
    assert {leaf.dtype.isnative for leaf in tree.leaves(first)} == {True}
    first["scale_by_adam"] |= {slot: turned("state", first["scale_by_adam"][slot]) for slot in ("m", "v")}
    new, new_state = optimizer.step(turned("grads", grads), first, given, donate=donate)
    for found, right in ((new, expected), (new_state, expected_state)):
        for one, other in zip(tree.leaves(found), tree.leaves(right), strict=True):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()


def test_a_slot_may_start_as_a_numpy_scalar() -> None:
    def rule(g: Tree, slots: dict[str, Tree], p: Tree, hyper: Any) -> tuple[Tree, dict[str, Tree]]:
        return g, {"total": tree.map(lambda total, one: total + one.sum(), slots["total"], g)}

    optimizer = transform("total", rule, slots={"total": lambda p: p.sum()})
    params = {"w": np.ones((2, 3)), "b": np.ones(2)}
    state = optimizer.init(params)
    for expected in ({"w": 12.0, "b": 4.0}, {"w": 18.0, "b": 6.0}):
        _, state = optimizer.step(params, state, params)
        assert state["total"] == expected


@pytest.mark.parametrize("protocol", [4, 5])
def test_unpickled_parameters_may_be_donated(protocol: int) -> None:
    params = pickle.loads(pickle.dumps({"a": np.ones(2), "b": np.ones((2, 3))}, protocol))
    optimizer = sgd(0.5)
    params, _ = optimizer.step(tree.map(np.ones_like, params), optimizer.init(params), params, donate=True)
    assert [set(leaf.ravel()) for leaf in tree.leaves(params)] == [{0.5}, {0.5}]


def test_two_views_of_a_buffer_share_memory_however_they_were_made() -> None:
    buffer = bytearray(32)
    direct, viewed = np.frombuffer(buffer, float), np.frombuffer(memoryview(buffer)[8:], float)
    params, optimizer = {"a": direct, "b": viewed}, sgd(0.5)
    with pytest.raises(ValueError, match="a: the parameter and b: the parameter share memory"):
        optimizer.step(tree.map(np.ones_like, params), optimizer.init(params), params, donate=True)
