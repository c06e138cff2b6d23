"""The table of a model, against counts made by hand."""

from typing import Any

import numpy as np
import pytest

import funcnn as fn

SMALL = fn.serial(
    fn.conv2d(4, 3, padding="same", groups=2), fn.batch_norm(), fn.relu, fn.max_pool2d(2), fn.flatten, fn.dense(3)
)
# conv: each of 4 filters sees 3 x 3 pixels of 2 / 2 channels, at 8 x 8 places: 36 weights, 36 * 64 products.
# batch norm: scale and shift are learned, mean and var are measured.  dense: 4 * 4 * 4 inputs to 3 outputs.


def table(model: Any, shape: tuple[int, ...]) -> fn.Summary:
    return fn.summary(model, model.init(shape, 0), shape)


def test_a_small_network_by_hand() -> None:
    found = table(SMALL, (8, 8, 2))
    rows = [(r.path, r.input_shape, r.output_shape, r.parameters, r.measured, r.multiply_adds) for r in found.rows]
    assert rows == [
        ("conv2d_0", (8, 8, 2), (8, 8, 4), 40, 0, 2304),
        ("batch_norm_0", (8, 8, 4), (8, 8, 4), 8, 8, 0),
        ("relu_0", (8, 8, 4), (8, 8, 4), 0, 0, 0),
        ("max_pool2d_0", (8, 8, 4), (4, 4, 4), 0, 0, 0),
        ("flatten_0", (4, 4, 4), (64,), 0, 0, 0),
        ("dense_0", (64,), (3,), 195, 0, 192),
    ]
    assert (found.parameters, found.measured, found.multiply_adds, found.nbytes) == (243, 8, 2496, 4 * 251)


def test_it_prints_as_a_table() -> None:
    assert str(table(SMALL, (8, 8, 2))).splitlines() == [
        "path          layer                                   input      output     parameters  multiply-adds",
        "-----------------------------------------------------------------------------------------------------",
        "conv2d_0      conv2d(4, 3, padding='same', groups=2)  8 x 8 x 2  8 x 8 x 4          40          2,304",
        "batch_norm_0  batch_norm()                            8 x 8 x 4  8 x 8 x 4           8              0",
        "relu_0        relu                                    8 x 8 x 4  8 x 8 x 4           0              0",
        "max_pool2d_0  max_pool2d(2)                           8 x 8 x 4  4 x 4 x 4           0              0",
        "flatten_0     flatten                                 4 x 4 x 4  64                  0              0",
        "dense_0       dense(3)                                64         3                 195            192",
        "-----------------------------------------------------------------------------------------------------",
        "total                                                                              243          2,496",
        "243 learned parameters, and 8 measured ones; 1,004 bytes",
    ]


@pytest.mark.parametrize(
    ("layer", "shape", "multiply_adds"),
    [
        (fn.dense(4), (3,), 12),
        (fn.dense(4, bias=False), (5, 3), 5 * 12),
        # Rows (9 - 3) / 2 + 1 = 4, columns (8 - 2) / 2 + 1 = 4; a window holds 3 * 2 * 3 numbers.
        (fn.conv2d(8, (3, 2), stride=2), (9, 8, 3), 4 * 4 * 18 * 8),
        (fn.conv2d(6, 3, dilation=2), (7, 7, 3), 3 * 3 * 27 * 6),
        # Depthwise: each filter sees one channel.
        (fn.conv2d(6, 3, groups=6), (5, 5, 6), 3 * 3 * 9 * 6),
        (fn.avg_pool2d(2), (4, 4, 3), 0),
    ],
)
def test_multiply_adds_by_hand(layer: Any, shape: tuple[int, ...], multiply_adds: int) -> None:
    (row,) = table(layer, shape).rows
    assert row.multiply_adds == multiply_adds


def test_the_counts_that_q_viper_published() -> None:
    third = fn.serial(
        fn.conv2d(4, 3, activation="relu"), fn.max_pool2d(2), fn.conv2d(8, 3, activation="relu"),
        fn.dropout(0.2), fn.flatten, fn.dense(10), fn.softmax,
    )  # fmt: skip
    found = table(third, (28, 28, 1))
    assert [row.parameters for row in found.rows] == [40, 0, 296, 0, 0, 9690, 0]
    assert found.parameters == 10_026
    fourth = fn.serial(
        fn.conv2d(4, 3, activation="relu"), fn.conv2d(8, 3, activation="relu"), fn.max_pool2d(2),
        fn.flatten, fn.dense(64, activation="relu"), fn.dropout(0.1), fn.dense(10), fn.softmax,
    )  # fmt: skip
    found = table(fourth, (28, 28, 1))
    assert [row.parameters for row in found.rows if row.parameters] == [40, 296, 73_792, 650]
    assert found.parameters == 74_778


def test_layers_inside_combinators_have_their_path_and_are_counted_once() -> None:
    block = fn.residual(fn.dense(4), fn.add(fn.dense(4), fn.named("bend", fn.tanh)))
    model = fn.serial(fn.named("stem", fn.dense(4)), block, fn.concat(fn.identity, fn.dense(2)))
    params = model.init((3,), 0)
    found = fn.summary(model, params, (3,))
    assert [row.path for row in found.rows] == [
        "stem", "residual_0/dense_0", "residual_0/add_0/dense_0", "residual_0/add_0/bend",
        "concat_0/identity_0", "concat_0/dense_0",
    ]  # fmt: skip
    assert found.parameters == fn.tree.count(params)


def test_a_bare_pair_is_a_row_of_its_own() -> None:
    scale = (
        lambda shape, rng: {"w": np.ones(shape, np.float32)},
        lambda params, x: (x * params["w"], lambda dy: ({"w": (dy * x).sum(0)}, dy * params["w"])),
    )
    (row,) = fn.summary(scale, {"w": np.ones(5, np.float32)}, (5,)).rows
    assert (row.path, row.layer, row.parameters, row.multiply_adds) == ("", "layer", 5, 5)
    (row,) = table(fn.serial(scale), (5,)).rows
    assert row.path == "layer_0"


def test_parameters_in_double_precision_are_counted_in_their_own_bytes() -> None:
    params = fn.tree.cast(SMALL.init((8, 8, 2), 0), np.float64)
    found = fn.summary(SMALL, params, (8, 8, 2))
    assert found.nbytes == 8 * 251
    assert found.rows == table(SMALL, (8, 8, 2)).rows


def test_a_shape_may_be_a_list_and_nothing_is_written_to() -> None:
    params = fn.tree.map(np.copy, SMALL.init((8, 8, 2), 0))
    for leaf in fn.tree.leaves(params):
        leaf.flags.writeable = False
    assert fn.summary(SMALL, params, [8, 8, 2]).rows == table(SMALL, (8, 8, 2)).rows  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "params", "shape", "error", "message"),
    [
        (SMALL, SMALL.init((8, 8, 2), 0), 8, TypeError, r"a tuple of ints such as \(28, 28, 1\), got 8"),
        (SMALL, SMALL.init((8, 8, 2), 0), (8, 8, 3), ValueError, "in layer conv2d_0, which was given an array of"),
        (SMALL, SMALL.init((8, 8, 2), 0), (6, 6, 2), ValueError, "in layer dense_0, which was given an array of"),
        (SMALL, {}, (8, 8, 2), ValueError, "in layer conv2d_0, which was given an array of shape"),
        (SMALL, {"head": {}}, (8, 8, 2), ValueError, r"parameters of another model: no layer is called \['head'\]"),
        (fn.dense, {}, (8,), TypeError, r"call it: dense\(\.\.\.\)"),
    ],
)
def test_what_does_not_fit_is_refused(model: Any, params: Any, shape: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        fn.summary(model, params, shape)
