"""Trees: paths, maps over several trees, None leaves, and the round trips."""

import gc
import weakref
from collections.abc import Callable
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


def test_a_single_leaf_is_a_tree_and_an_empty_dict_has_no_leaf() -> None:
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
        ({"a": {1: 2, "b": 3}}, TypeError, "a: keys are strings, got 1"),
        ({"a/b": 2}, ValueError, "the root of the tree: a key may not be empty or contain '/', got 'a/b'"),
        ({"a": {"w": [1, 2]}}, TypeError, "a/w: a tree is made of dicts, got a list"),
        ((1, 2), TypeError, "the root of the tree: a tree is made of dicts, got a tuple"),
    ],
)
def test_other_containers_and_keys_raise(function: Any, nested: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        function(nested)


@pytest.mark.parametrize("flat", [{"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}])
def test_a_path_cannot_be_a_leaf_and_a_dict(flat: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="leaf"):
        tree.unflatten(flat)


NONES = {"w": np.ones((2, 3), np.float32), "frozen": None, "norm": {"mean": None, "scale": np.full(2, 3, np.float32)}}


def test_map_passes_none_through_whichever_tree_has_it() -> None:
    params = {"w": 1.0, "step": 3, "norm": {"mean": 5.0, "scale": None}}
    grads = {"norm": {"scale": 2.0, "mean": None}, "w": 10.0, "step": None}
    expected = {"w": 11.0, "step": None, "norm": {"mean": None, "scale": None}}
    assert tree.map(lambda p, g: p + g, params, grads) == expected
    assert tree.map(lambda g, p: p + g, grads, params) == expected
    assert tree.map(lambda p, q, g: p + g, params, params, grads) == expected
    assert list(tree.map(lambda p, g: p + g, params, grads)) == ["w", "step", "norm"]
    named = tree.map_with_path(lambda path, p, g: path, params, grads)
    assert named == {"w": "w", "step": None, "norm": {"mean": None, "scale": None}}
    assert tree.map(lambda leaf: 1, None) is None
    assert tree.map(lambda leaf, other: 1, 2, None) is None
    # Arrays take the short way, so they have to find None too.
    arrays = tree.map(np.add, {"a": np.ones(2), "b": np.ones(2)}, {"a": None, "b": np.ones(2)})
    assert arrays["a"] is None
    assert arrays["b"].tolist() == [2, 2]


@pytest.mark.parametrize("other", [{"a": {"deep": 1}}, {"b": 1}, {"a": 1, "b": None}])
def test_none_does_not_hide_that_trees_differ(other: Any) -> None:
    with pytest.raises(ValueError, match=r"^trees differ"):
        tree.map(lambda p, q: p, {"a": None}, other)
    with pytest.raises(ValueError, match=r"^trees differ"):
        tree.map(lambda p, q, r: p, {"a": 1}, {"a": None}, other)
    with pytest.raises(ValueError, match=r"^trees differ: a is a dict in one and a leaf in another"):
        tree.map(lambda p, q: p, {"a": {"b": 1}}, {"a": None})


def test_none_is_a_leaf_without_elements() -> None:
    assert tree.paths(NONES) == ["frozen", "norm/mean", "norm/scale", "w"]
    assert tree.leaves(NONES)[:2] == [None, None]
    assert tree.unflatten(tree.flatten({"a": None, "b": {"c": None}})) == {"a": None, "b": {"c": None}}
    assert (tree.count(NONES), tree.nbytes(NONES)) == (8, 32)
    assert tree.norms(NONES) == pytest.approx({"norm/scale": 18**0.5, "w": 6**0.5}, rel=1e-12)
    cast = tree.cast(NONES, np.float64)
    assert (cast["frozen"], cast["norm"]["mean"], cast["w"].dtype) == (None, None, np.float64)
    vector, unravel = tree.ravel(NONES)
    assert vector.tolist() == [3, 3, 1, 1, 1, 1, 1, 1]
    assert tree.map(np.shape, unravel(vector)) == {"w": (2, 3), "frozen": None, "norm": {"mean": None, "scale": (2,)}}


def _unravelled(nested: Any) -> Any:
    vector, unravel = tree.ravel(nested)
    return unravel, unravel(vector)


def _differing(nested: Any) -> None:
    with pytest.raises(ValueError, match="trees differ"):
        tree.map(lambda p, q: p, nested, {**nested, "more": 1})


@pytest.mark.parametrize(
    "function",
    [
        tree.flatten,
        lambda nested: tree.unflatten(tree.flatten(nested)),
        tree.leaves,
        tree.paths,
        lambda nested: tree.map(lambda leaf: leaf, nested),
        lambda nested: tree.map(lambda p, g: p, nested, nested),
        lambda nested: tree.map_with_path(lambda path, leaf: leaf, nested),
        tree.ravel,
        _unravelled,
        lambda nested: tree.cast(nested, np.float64),
        lambda nested: tree.cast(nested, np.float32),
        tree.count,
        tree.nbytes,
        tree.norms,
        _differing,
    ],
)
def test_leaves_die_with_the_last_reference_without_the_garbage_collector(function: Callable[[Any], Any]) -> None:
    nested = {"stem": {"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float32)}, "a": np.ones(2, np.float32)}
    given = [weakref.ref(leaf) for leaf in (nested["stem"]["w"], nested["stem"]["b"], nested["a"])]
    gc.collect()
    gc.disable()
    try:
        result = function(nested)
        returned = [weakref.ref(x) for x in _arrays(result)]
        del nested, result
        assert [reference() is None for reference in given + returned] == [True] * (3 + len(returned))
    finally:
        gc.enable()


def _arrays(result: Any) -> list[Any]:
    """The arrays in a result, without the help of the functions that are tested."""
    if isinstance(result, np.ndarray):
        return [result]
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, list | tuple) else ()
    return [array for part in parts for array in _arrays(part)]


def test_unravel_does_not_keep_the_leaves() -> None:
    nested = {"w": np.ones((2, 3), np.float32)}
    given = weakref.ref(nested["w"])
    _, unravel = tree.ravel(nested)
    del nested
    assert given() is None
    assert unravel(np.zeros(6))["w"].shape == (2, 3)


def test_ravel_and_back_keep_every_bit_and_shape() -> None:
    vector, unravel = tree.ravel(MODEL)
    assert vector.dtype == np.float32
    assert vector.tolist() == [1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    back = unravel(vector)
    assert tree.map(np.shape, back) == {"stem": {"w": (2, 3), "b": (3,)}, "a": ()}
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(back), tree.leaves(MODEL), strict=True))
    empty, unravel = tree.ravel({})
    assert (empty.shape, unravel(empty)) == ((0,), {})


def test_ravel_raises_for_mixed_dtypes_and_unravel_another_size() -> None:
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
