"""Trees: paths, maps over several trees, and the round trips."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcnn import tree

keys = st.text(min_size=1, max_size=3).filter(lambda key: "/" not in key)
trees = st.dictionaries(
    keys,
    st.recursive(st.integers(), lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3), max_leaves=6),
    min_size=1,
    max_size=4,
)

MODEL = {"stem": {"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float32)}, "a": np.ones((), np.float32)}


@given(trees)
def test_unflatten_undoes_flatten(nested: dict[str, Any]) -> None:
    assert tree.unflatten(tree.flatten(nested)) == nested


@given(trees)
def test_map_of_the_identity_is_the_same_tree_in_new_dicts(nested: dict[str, Any]) -> None:
    mapped = tree.map(lambda leaf: leaf, nested)
    assert mapped == nested
    assert mapped is not nested
    assert list(mapped) == list(nested)


def test_paths_are_sorted_at_each_level_whatever_the_order_of_insertion() -> None:
    assert tree.paths({"b": 1, "a": {"d": 2, "c": 3}}) == ["a/c", "a/d", "b"]
    assert tree.leaves({"a": {"c": 3, "d": 2}, "b": 1}) == tree.leaves({"b": 1, "a": {"d": 2, "c": 3}}) == [3, 2, 1]


def test_a_lone_leaf_is_a_tree_and_an_empty_dict_has_no_leaf() -> None:
    assert tree.flatten(5) == {"": 5}
    assert tree.unflatten({"": 5}) == 5
    assert tree.flatten({"a": {}}) == {}
    assert tree.unflatten({}) == {}


def test_map_takes_leaves_of_several_trees_by_path() -> None:
    first, second = {"a": {"x": 1, "y": 2}}, {"a": {"y": 20, "x": 10}}
    assert tree.map(lambda p, q: q - p, first, second) == {"a": {"x": 9, "y": 18}}
    named = tree.map_with_path(lambda path, p, q: f"{path}:{p + q}", first, second)
    assert named == {"a": {"x": "a/x:11", "y": "a/y:22"}}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": {"x": 1}}, "trees differ: only the first has a/y"),
        ({"a": {"x": 1, "y": 2, "z": 3}}, "trees differ: only another has a/z"),
        ({"a": {"x": 1, "z": 3}}, "trees differ: only the first has a/y; only another has a/z"),
        ({"a": 1}, "trees differ: a is a dict in one and a leaf in another"),
        ({"a": {"x": {"deep": 1}, "y": 2}}, "trees differ: a/x is a leaf in one and a dict in another"),
    ],
)
def test_map_names_the_path_where_trees_differ(other: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        tree.map(lambda p, q: p, {"a": {"x": 1, "y": 2}}, other)


@pytest.mark.parametrize("function", [tree.flatten, lambda nested: tree.map(lambda leaf: leaf, nested)])
@pytest.mark.parametrize(
    ("nested", "error", "message"),
    [
        ({"a": {1: 2}}, TypeError, "a: keys are strings, got 1"),
        ({"a": {"": 2}}, ValueError, "a: a key may not be empty"),
        ({"a/b": 2}, ValueError, "the root of the tree: a key may not be empty or contain '/', got 'a/b'"),
        ({"a": {"w": [1, 2]}}, TypeError, "a/w: a tree is made of dicts, got a list"),
        ((1, 2), TypeError, "the root of the tree: a tree is made of dicts, got a tuple"),
    ],
)
def test_what_is_no_tree_is_refused(function: Any, nested: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        function(nested)


@pytest.mark.parametrize("flat", [{"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}])
def test_a_path_cannot_be_a_leaf_and_a_branch(flat: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="leaf"):
        tree.unflatten(flat)


def test_ravel_and_back_keep_every_bit_and_shape() -> None:
    vector, unravel = tree.ravel(MODEL)
    assert vector.dtype == np.float32
    assert vector.tolist() == [1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    back = unravel(vector)
    assert tree.map(np.shape, back) == {"stem": {"w": (2, 3), "b": (3,)}, "a": ()}
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(back), tree.leaves(MODEL), strict=True))
    empty, unravel = tree.ravel({})
    assert (empty.shape, unravel(empty)) == ((0,), {})


def test_ravel_refuses_mixed_dtypes_and_unravel_another_size() -> None:
    with pytest.raises(ValueError, match=r"one dtype.*'n': 'int64'"):
        tree.ravel({"w": np.ones(2), "n": np.ones(2, np.int64)})
    with pytest.raises(ValueError, match=r"expected a vector of shape \(10,\), got \(11,\)"):
        tree.ravel(MODEL)[1](np.zeros(11))


def test_cast_changes_floats_only() -> None:
    cast = tree.cast({"w": np.ones(2, np.float32), "step": np.int64(3)}, np.float64)
    assert tree.map(lambda leaf: np.asarray(leaf).dtype.name, cast) == {"w": "float64", "step": "int64"}


def test_count_and_bytes() -> None:
    assert tree.count(MODEL) == 10
    assert tree.nbytes(MODEL) == 40
    assert tree.count({}) == tree.nbytes({}) == 0


def test_norms_of_leaves_by_path_do_not_overflow() -> None:
    # 1e30 squared is beyond float32, and not beyond float64, in which the sum is right to 1e-15.
    huge = tree.norms(
        {"stem": {"w": np.full((2, 2), 1e30, np.float32), "b": np.array([3.0, 4.0])}, "empty": np.ones(0)}
    )
    assert huge == pytest.approx({"empty": 0, "stem/b": 5, "stem/w": 2 * float(np.float32(1e30))}, rel=1e-12)
