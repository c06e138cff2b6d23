"""``model["encoder"]``, ``model[0]`` and ``model[:3]``, alone and by ``part`` with their parameters."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.testing import check_layer

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
MODEL = fn.serial(
    fn.dense(4), fn.relu, fn.named("encoder", fn.serial(fn.dense(4), fn.tanh)), fn.relu, fn.dense(2)
)  # fmt: skip


def test_a_layer_by_name_path_and_place() -> None:
    assert MODEL["encoder"] is MODEL[2] is MODEL[-3] is MODEL[np.int64(2)]
    assert repr(MODEL["encoder"]) == "named('encoder', serial(dense(4), tanh))"
    assert repr(MODEL["encoder/dense_0"]) == "dense(4)"
    assert MODEL["encoder"]["tanh_0"] is fn.tanh
    assert repr(fn.residual(fn.dense(3), fn.relu)[1]) == "relu"  # the children of any combinator
    params = MODEL.init((3,), 0)
    np.testing.assert_array_equal(
        MODEL["encoder"].apply(params["encoder"], fn.outputs(MODEL, params, X)["relu_0"])[0],
        fn.outputs(MODEL, params, X)["encoder"],
    )
    for which in ("encoder", 2, -3, np.int64(2)):
        layer, own = fn.part(MODEL, params, which)
        assert layer is MODEL["encoder"]
        assert own is params["encoder"]


@pytest.mark.parametrize("cut", [slice(3), slice(3, None), slice(-1), slice(1, 4), slice(None)])
def test_a_slice_keeps_the_names_and_so_the_parameters(cut: slice) -> None:
    params = MODEL.init((3,), 0)
    layer, own = MODEL[cut], fn.part(MODEL, params, cut)[1]
    assert [*layer.children] == [*MODEL.children][cut]
    assert own == {name: params[name] for name in layer.children if name in params}
    before = fn.outputs(MODEL, params, X)[[*MODEL.children][cut.start - 1]] if cut.start else X
    np.testing.assert_array_equal(layer.apply(own, before)[0], fn.outputs(MODEL, params, X)[[*layer.children][-1]])
    check_layer(layer, before.shape[1:])


def test_the_slice_of_a_graph_that_is_a_chain() -> None:
    model = fn.graph({"a": (fn.dense(2), "input"), "b": (fn.relu, "a")}, "b")
    assert repr(model[1:]) == "serial(named('b', relu))"


def test_a_part_of_a_frozen_layer_is_frozen() -> None:
    encoder = fn.serial(fn.dense(4), fn.batch_norm(), fn.dropout(0.5))
    model = fn.frozen(encoder)
    params = fn.calibrate(encoder, encoder.init((3,), 0), X)
    for which, written in [
        (slice(2), "frozen(serial(dense(4), batch_norm()))"),
        ("dense_0", "frozen(dense(4))"),
        (0, "frozen(dense(4))"),
        ("batch_norm_0", "frozen(batch_norm())"),
    ]:
        layer, own = fn.part(model, params, which)
        assert repr(layer) == repr(model[which]) == written
        y, vjp_fn = layer.apply(own, np.ones((5, 4 if which == "batch_norm_0" else 3), np.float32), rng=0)
        assert set(fn.tree.leaves(vjp_fn(y)[0])) == {None}
    # At any depth, under its name, and through wrappers and constructors of a user.
    block = fn.layer(lambda: fn.remat(fn.frozen(fn.serial(fn.named("a", encoder), fn.relu))))
    deep = fn.serial(fn.named("block", block()))
    assert repr(deep["block/a"]) == f"named('a', remat(frozen({encoder!r})))"
    assert repr(deep["block/a/dense_0"]) == "remat(frozen(dense(4)))"
    assert [*deep["block"][:1].children] == ["a"]
    assert "frozen" in repr(deep["block"][:1])


def test_ties_within_a_part_stay() -> None:
    model = fn.frozen(fn.tied(fn.repeat(fn.dense(3), 4), {"dense_1": "dense_0", "dense_3/w": "dense_2/w"}))
    params = model.init((3,), 0)
    layer, own = fn.part(model, params, slice(1, None))
    # dense_0 is not in the part, so dense_1 has parameters of its own now; dense_3 has those of dense_2.
    assert fn.tree.paths(own) == ["dense_1/b", "dense_1/w", "dense_2/b", "dense_2/w", "dense_3/b"]
    assert own["dense_1"]["w"] is params["dense_0"]["w"]
    first = fn.part(model, params, 0)
    np.testing.assert_array_equal(layer.apply(own, first[0].apply(first[1], X)[0])[0], model.apply(params, X)[0])
    nested = fn.tied(fn.serial(fn.named("e", fn.repeat(fn.dense(3), 2)), fn.dense(3)), {"e/dense_1": "e/dense_0"})
    inner, shared = fn.part(nested, nested.init((3,), 0), "e")
    assert repr(inner) == "named('e', tied(serial(dense(3), dense(3)), {'dense_1': 'dense_0'}))"
    assert fn.tree.paths(shared) == ["dense_0/b", "dense_0/w"]
    assert fn.tree.paths(fn.part(nested, nested.init((3,), 0), "e/dense_1")[1]) == ["b", "w"]


@pytest.mark.parametrize(
    ("which", "error", "message"),
    [
        ("head", ValueError, r"there is no layer 'head'; the model has \['dense_0', 'relu_0', 'encoder', "),
        ("encoder/x", ValueError, r"there is no layer 'encoder/x'; encoder has \['dense_0', 'tanh_0'\]"),
        ("relu_0/x", ValueError, "there is no layer 'relu_0/x'; relu_0 has no children"),
        ("", ValueError, "there is no layer ''"),
        (5, ValueError, "there is no layer 5; the model has 5 layers, "),
        (-6, ValueError, "there is no layer -6; the model has 5 layers, "),
        (slice(5, 9), ValueError, r"slice\(5, 9, None\) takes none of the 5 layers"),
        (slice("a"), TypeError, r"expected a slice of whole numbers, such as \[:3\], got slice"),
        (True, TypeError, 'expected the path of a layer, such as "encoder/conv2d_0", a number or a slice, got a bool'),
        (1.0, TypeError, ".*a number or a slice, got a float"),
        (None, TypeError, ".*a number or a slice, got a NoneType"),
    ],
)
def test_what_is_not_there_raises(which: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"serial: {message}"):
        MODEL[which]
    with pytest.raises(error, match=f"part: {message}"):
        fn.part(MODEL, MODEL.init((3,), 0), which)


@pytest.mark.parametrize("which", ["w", 0, slice(2)])
def test_a_layer_without_children_has_no_parts(which: Any) -> None:
    with pytest.raises(ValueError, match=r"dense: .*(has no children|takes none of the 0 layers)"):
        fn.dense(3)[which]


def test_only_chains_can_be_sliced() -> None:
    with pytest.raises(ValueError, match="residual: a slice needs layers one after the other, and residual is wired"):
        fn.residual(fn.dense(3), fn.relu)[:1]


def test_a_layer_still_unpacks_into_its_pair() -> None:
    init, apply = MODEL
    assert (init, apply) == (MODEL.init, MODEL.apply)
