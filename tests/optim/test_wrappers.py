"""Optimizers for some of the parameters: masks of every form, partitions, and where their state is."""

import pickle
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_table import bits, like, run
from test_laws import shape_trees

from funcnn import tree
from funcnn.optim import (
    Optimizer,
    adam,
    add_decayed_weights,
    add_momentum,
    apply_updates,
    chain,
    clip_by_global_norm,
    clip_by_value,
    cosine_decay,
    current_rate,
    current_step,
    lift,
    masked,
    partition,
    scale_by_adam,
    scale_by_rate,
    sgd,
)

PARAMS: Any = {
    "stem": {"conv2d_0": {"w": np.ones((2, 2)), "b": np.zeros(2)}, "norm": {"scale": np.ones(2)}},
    "head": {"w": np.ones((2, 1)), "b": np.zeros(1)},
}
GRADS: Any = tree.map(lambda p: np.full(p.shape, 3.0), PARAMS)
HEAD: Any = tree.map_with_path(lambda path, _: path.startswith("head"), PARAMS)


def in_the_head(params: Any) -> Any:
    return tree.map_with_path(lambda path, _: path.startswith("head"), params)


@pytest.mark.parametrize("mask", ["head/*", "head*", "h[e]ad/?", HEAD, in_the_head])
def test_a_mask_is_a_pattern_a_tree_or_a_function(mask: Any) -> None:
    optimizer = masked(add_momentum(0.5), mask)
    state = optimizer.init(PARAMS)
    assert tree.paths(state) == ["m/head/b", "m/head/w"]
    updates, state = optimizer.update(GRADS, state, PARAMS)
    updates, state = optimizer.update(GRADS, state, PARAMS)
    for path, u in tree.flatten(updates).items():
        assert (u == (4.5 if path.startswith("head") else 3)).all()
    assert tree.paths(state) == ["m/head/b", "m/head/w"]


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("*", 5),
        ("*/w", 2),
        ("stem/*", 3),
        ("stem/*/?", 2),
        ("*conv2d_[0-9]*", 2),
        ("stem/conv2d_0/w", 1),
        ("[!s]*", 2),
    ],
)
def test_a_pattern_is_compared_with_the_whole_path(pattern: str, chosen: int) -> None:
    assert len(tree.paths(masked(add_momentum(0.5), pattern).init(PARAMS))) == chosen


def test_a_single_array_has_an_empty_path() -> None:
    p, g = np.ones(2), np.full(2, 2.0)
    for optimizer in (masked(sgd(0.5), "*"), masked(sgd(0.5), True), partition({"*": sgd(0.5)})):
        assert optimizer.step(g, optimizer.init(p), p)[0].tolist() == [0, 0]
    spared = chain(masked(sgd(0.5), lambda params: False), add_momentum(0.5))
    assert spared.step(g, spared.init(p), p)[0].tolist() == [3, 3]


def test_a_masked_transform_sees_the_chosen_parameters_alone() -> None:
    grads = {"a": np.array([3.0]), "b": np.array([4.0]), "c": np.array([100.0])}
    optimizer = masked(clip_by_global_norm(1.0), "[ab]")
    updates, _ = optimizer.update(grads, optimizer.init(grads), grads)
    assert {name: u.item() for name, u in updates.items()} == pytest.approx({"a": 0.6, "b": 0.8, "c": 100.0})
    seen: list[list[str]] = []

    def mask(params: Any) -> Any:
        seen.append(tree.paths(params))
        return in_the_head(params)

    inner = masked(chain(add_decayed_weights(0.1, mask), add_momentum(0.5)), "*/w")
    inner.step(GRADS, inner.init(PARAMS), PARAMS)
    assert seen == [["head/w", "stem/conv2d_0/w"]] * 2


def test_masks_in_masks_choose_what_all_of_them_choose() -> None:
    optimizer = masked(
        masked(masked(add_momentum(0.5), "*/b"), lambda p: tree.map(lambda leaf: leaf.ndim == 1, p)), "h*"
    )
    assert tree.paths(optimizer.init(PARAMS)) == ["m/head/b"]
    with pytest.raises(
        ValueError, match=r"masked: no parameter matches the pattern 'stem/\*'; they are head/w, head/b$"
    ):
        masked(masked(add_momentum(0.5), "stem/*"), "head/*").init(PARAMS)


def test_a_mask_that_does_not_fit_the_parameters() -> None:
    with pytest.raises(
        ValueError, match=r"masked: no parameter matches the pattern 'haed/\*'; they are stem/conv2d_0/w, "
    ):
        masked(sgd(0.1), "haed/*").init(PARAMS)
    state = masked(sgd(0.1), "head/*").init(PARAMS)
    other = {"stem": PARAMS["stem"]}
    for use in ("update", "step"):
        with pytest.raises(ValueError, match="no parameter matches"):
            getattr(masked(sgd(0.1), "head/*"), use)(other, state, other)
    with pytest.raises(ValueError, match="trees differ"):
        masked(sgd(0.1), {"head": True}).init(PARAMS)
    with pytest.raises(
        TypeError, match="masked: expected a mask of one bool for each parameter, got int at 'stem/conv2d_0/w'"
    ):
        masked(sgd(0.1), tree.map(lambda p: 1, PARAMS)).init(PARAMS)
    for bad in (3, None, ["head/*"]):
        with pytest.raises(
            TypeError, match="masked: expected a mask that is a path pattern, a tree of bools or a func"
        ):
            masked(sgd(0.1), bad)
    with pytest.raises(ValueError, match="add_decayed_weights: no parameter matches the pattern 'v'"):
        add_decayed_weights(0.1, "v").init(PARAMS)
    many = {str(number): np.ones(1) for number in range(20)}
    with pytest.raises(ValueError, match=r"they are 0, 1, 2, 3, 4, 5, 6, 7, \.\.\.$"):
        masked(sgd(0.1), "none").init(many)


def test_where_the_masked_transform_of_a_chain_keeps_its_state() -> None:
    optimizer = chain(
        masked(chain(scale_by_adam(), add_momentum(0.5)), "head/*"), add_momentum(0.9), scale_by_rate(0.1)
    )
    state = optimizer.init(PARAMS)
    assert list(state) == ["scale_by_adam", "add_momentum", "add_momentum_1", "scale_by_rate"]
    assert tree.paths(state["add_momentum"]) == ["m/head/b", "m/head/w"]
    assert tree.paths(state["add_momentum_1"]["m"]) == tree.paths(PARAMS)
    assert masked(adam(0.1), "head/*").init(PARAMS).keys() == {"scale_by_adam", "scale_by_rate"}


# --- partitions ------------------------------------------------------------------------------------------------------


def test_each_parameter_is_updated_by_the_first_pattern_that_matches_it() -> None:
    optimizer = partition({"stem/norm/*": sgd(0.0), "*/b": sgd(1.0), "stem/*": sgd(0.1), "*": sgd(0.5, momentum=0.5)})
    state = optimizer.init(PARAMS)
    updates, state = optimizer.update(GRADS, state, PARAMS)
    updates, state = optimizer.update(GRADS, state, PARAMS)
    expected = {
        "stem/norm/scale": 0.0, "stem/conv2d_0/b": -3.0, "head/b": -3.0, "stem/conv2d_0/w": -3.0 * 0.1, "head/w": -2.25
    }  # fmt: skip
    assert {path: np.unique(u).tolist() for path, u in tree.flatten(updates).items()} == {
        path: [value] for path, value in expected.items()
    }
    assert list(state) == ["stem.norm.*", "*.b", "stem.*", "*"]
    assert tree.paths(state["*"]) == ["add_momentum/m/head/w", "scale_by_rate/rate", "scale_by_rate/step"]
    assert current_step(state) == 2
    assert current_rate(state) == 0.0


def test_each_group_goes_as_it_would_alone() -> None:
    patterns = {"stem/*": chain(clip_by_global_norm(0.5), adam(cosine_decay(0.1, 5))), "*": sgd(0.1, 0.9)}
    grads = [like({"stem": {"w": (3, 2), "b": (2,)}, "head": {"w": (2, 2)}}, seed) for seed in range(4)]
    params, state = run(partition(patterns), grads[0], grads[1:])
    for name, key, optimizer in (("stem", "stem.*", patterns["stem/*"]), ("head", "*", patterns["*"])):
        alone, alone_state = run(optimizer, {name: grads[0][name]}, [{name: g[name]} for g in grads[1:]])
        assert bits(params[name]) == bits(alone[name])
        assert bits(state[key]) == bits(alone_state)


def test_parameters_and_patterns_without_a_match() -> None:
    with pytest.raises(
        ValueError, match=r"partition: no pattern matches head/w, head/b; add the pattern \"\*\" as the"
    ):
        partition({"stem/*": sgd(0.1)}).init(PARAMS)
    with pytest.raises(
        ValueError, match=r"the pattern 'tail/\*' is not the first to match any parameter; they are stem/"
    ):
        partition({"tail/*": sgd(0.1), "*": sgd(0.1)}).init(PARAMS)
    with pytest.raises(ValueError, match=r"the pattern 'head/w' is not the first .*; earlier patterns match head/w$"):
        partition({"*": sgd(0.1), "head/w": sgd(0.1)}).init(PARAMS)
    for bad, error, message in (
        ({}, ValueError, "partition: expected at least one optimizer"),
        ({"": sgd(0.1)}, ValueError, "partition: expected patterns that are not empty"),
        ({3: sgd(0.1)}, TypeError, "partition: expected path patterns as keys, got 3"),
        ([sgd(0.1)], TypeError, "partition: expected a dict of optimizers by path patterns, got a list"),
    ):
        with pytest.raises(error, match=message):
            partition(bad)  # type: ignore[arg-type]


def test_a_state_of_another_partition() -> None:
    optimizer = partition({"stem/*": adam(0.1), "*": sgd(0.1)})
    state = optimizer.init(PARAMS)
    for wrong, message in (
        (state | {"head.*": {}}, r"partition: expected a state of \['stem\.\*', '\*'\], got \['head\.\*'\] in it"),
        (state | {"*": {"m": {}}}, r"expected a state of \['scale_by_rate'\] under '\*', got \['m'\] in it"),
        (state | {"*": 3}, r"expected a state of \['scale_by_rate'\] under '\*', got int; use init"),
        ({"*": state["*"]}, r"scale_by_adam: expected a state of .*, got \[\]"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.step(GRADS, wrong, PARAMS)


def test_patterns_of_one_key_have_states_of_their_own() -> None:
    params = {"a": {"b": np.ones(1)}, "a.b": np.ones(1), "a.b_1": np.ones(1)}
    optimizer = partition({"a/b": sgd(0.1), "a.b": sgd(0.2), "a.b_1": sgd(0.3)})
    assert list(optimizer.init(params)) == ["a.b", "a.b_1", "a.b_1_1"]
    updates, state = optimizer.update(params, optimizer.init(params), params)
    assert [u.item() for u in tree.leaves(updates)] == [-0.1, -0.2, -0.3]
    assert [part["scale_by_rate"]["rate"] for part in state.values()] == [0.1, 0.2, 0.3]
    assert tree.unflatten(tree.flatten(state)).keys() == state.keys()


def test_a_model_without_parameters_has_nothing_to_match() -> None:
    for optimizer in (masked(adam(0.1), "w"), partition({"w": adam(0.1), "*": sgd(0.1)})):
        assert optimizer.step({}, optimizer.init({}), {})[0] == {}


def test_integers_and_frozen_parameters_stand_in_their_group() -> None:
    params = {"n": np.arange(3), "w": np.ones(3), "frozen": np.ones(3)}
    grads = {"n": None, "w": np.ones(3), "frozen": None}
    optimizer = partition({"n": adam(0.1), "*": sgd(0.5, 0.5)})
    new, _ = optimizer.step(grads, optimizer.init(params), params, donate=True)
    assert new["n"] is params["n"]
    assert new["frozen"] is params["frozen"]
    assert new["w"].tolist() == [0.5] * 3


def test_partitions_stand_in_chains_and_partitions() -> None:
    inner = partition({"*/w": scale_by_adam(), "*": chain(add_momentum(0.5))})
    optimizer = chain(clip_by_value(1.0), partition({"stem/*": inner, "*": clip_by_value(0.1)}), scale_by_rate(0.1))
    state = optimizer.init(PARAMS)
    assert set(tree.paths(state)) == {
        "partition/stem.*/*.w/m/stem/conv2d_0/w",
        "partition/stem.*/*.w/v/stem/conv2d_0/w",
        "partition/stem.*/*.w/step",
        "partition/stem.*/*/add_momentum/m/stem/conv2d_0/b",
        "partition/stem.*/*/add_momentum/m/stem/norm/scale",
        "scale_by_rate/rate",
        "scale_by_rate/step",
    }
    updates, state = optimizer.update(GRADS, state, PARAMS)
    assert {path: np.unique(u).round(6).tolist() for path, u in tree.flatten(updates).items()} == {
        "head/b": [-0.01], "head/w": [-0.01],
        "stem/conv2d_0/b": [-0.1], "stem/conv2d_0/w": [-0.1], "stem/norm/scale": [-0.1],
    }  # fmt: skip


def test_both_are_recorded() -> None:
    for optimizer, text in (
        (masked(adam(0.1), "head/*"), "masked(adam(0.1), 'head/*')"),
        (masked(sgd(0.1), {"head": {"w": True}}), "masked(sgd(0.1), {'head': {'w': True}})"),
        (masked(sgd(0.1), in_the_head), "masked(sgd(0.1), in_the_head)"),
        (partition({"stem/*": sgd(0.1), "*": adam(0.1)}), "partition({'stem/*': sgd(0.1), '*': adam(0.1)})"),
    ):
        assert repr(optimizer) == text
        assert repr(pickle.loads(pickle.dumps(optimizer))) == text


# --- random trees and patterns ---------------------------------------------------------------------------------------


@st.composite
def trees_and_patterns(draw: Any) -> tuple[Any, list[str]]:
    """A tree of shapes, and patterns of which each is the first to match some path; the last one is a star."""
    shape_tree = draw(shape_trees)
    rest, patterns = set(tree.paths(like(shape_tree, 0))), list[str]()
    while len(rest) > 1 and draw(st.booleans()):
        path = draw(st.sampled_from(sorted(rest)))
        pattern = draw(st.sampled_from([path, f"{path[:1]}*", f"*{path[-1:]}", "?" * len(path), path[:-1] + "[!a]"]))
        left = {path for path in rest if not fnmatchcase(path, pattern)}
        if left and left != rest and pattern:
            patterns.append(pattern)
            rest = left
    return shape_tree, [*patterns, "*"]


@settings(max_examples=60)
@given(case=trees_and_patterns(), seed=st.integers(0, 100), donate=st.booleans())
def test_a_partition_is_masks_in_a_row_and_each_group_alone(
    case: tuple[Any, list[str]], seed: int, donate: bool
) -> None:
    shape_tree, patterns = case
    optimizers: list[Optimizer] = [adam(0.1), sgd(0.1, 0.9), chain(clip_by_global_norm(0.5), sgd(0.2)), sgd(0.3)]
    by_pattern = {pattern: optimizers[n % 4] for n, pattern in enumerate(dict.fromkeys(patterns))}
    params, grads = like(shape_tree, seed), [like(shape_tree, seed + n) for n in (1, 2)]
    whole, state = tree.map(np.array, params), partition(by_pattern).init(params)
    for g in grads:
        whole, state = partition(by_pattern).step(g, state, whole, donate)

    first = {path: next(p for p in by_pattern if fnmatchcase(path, p)) for path in tree.paths(params)}
    flat, flat_grads = tree.flatten(params), [tree.flatten(g) for g in grads]
    expected: dict[str, Any] = {}
    for pattern, optimizer in by_pattern.items():
        group = [path for path in flat if first[path] == pattern]
        start, *steps = (tree.unflatten({path: t[path] for path in group}) for t in (flat, *flat_grads))
        end, _ = run(optimizer, start, steps)
        expected |= tree.flatten(end)
    assert {path: leaf.tobytes() for path, leaf in tree.flatten(whole).items()} == {
        path: leaf.tobytes() for path, leaf in expected.items()
    }

    # The same as one mask after the other, each a function.
    def choose(pattern: str) -> Any:
        return lambda tree_of: tree.map_with_path(lambda path, _: first[path] == pattern, tree_of)

    row = chain(*(masked(optimizer, choose(pattern)) for pattern, optimizer in by_pattern.items()))
    again, _ = run(row, params, grads)
    assert bits(again) == bits(whole)


def test_a_mask_is_called_once_for_each_update() -> None:
    calls: list[int] = []

    def mask(params: Any) -> Any:
        calls.append(1)
        return in_the_head(params)

    optimizer = masked(adam(0.1), mask)
    state = optimizer.init(PARAMS)
    updates, state = optimizer.update(GRADS, state, PARAMS)
    optimizer.step(GRADS, state, apply_updates(PARAMS, updates))
    assert len(calls) == 3


def test_a_rule_for_some_of_the_parameters_is_lifted_with_a_pattern() -> None:
    halve = lift("halve", lambda g, state, p, hyper, u, new_state: np.divide(g, 2, out=u), mask="head/*")
    updates, _ = halve.update(GRADS, halve.init(PARAMS), PARAMS)
    assert {path: u.flat[0] for path, u in tree.flatten(updates).items() if path.endswith("w")} == {
        "head/w": 1.5, "stem/conv2d_0/w": 3
    }  # fmt: skip
