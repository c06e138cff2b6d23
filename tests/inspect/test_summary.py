"""The table of a model, against counts made by hand."""

import io
import re
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn.inspect.summary import STYLES

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


def test_it_prints_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "101")
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


def test_long_texts_are_wrapped_where_the_terminal_is_narrower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    model = fn.serial(
        fn.serial(fn.conv2d(4, 3, padding="same", groups=2)), fn.named("a_head_with_a_long_name", fn.relu)
    )
    assert str(table(model, (8, 8, 2))).splitlines() == [
        "path            layer            input      output     parameters  multiply-adds",
        "--------------------------------------------------------------------------------",
        "serial_0/       conv2d(4, 3,     8 x 8 x 2  8 x 8 x 4          40          2,304",
        "conv2d_0        padding='same',",
        "                groups=2)",
        "a_head_with_a_  relu             8 x 8 x 4  8 x 8 x 4           0              0",
        "long_name",
        "--------------------------------------------------------------------------------",
        "total                                                          40          2,304",
        "40 learned parameters; 160 bytes",
    ]


def test_a_narrow_terminal_shows_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    model = fn.serial(fn.serial(fn.conv2d(4, 3, padding="same", groups=2)), fn.relu)
    assert str(table(model, (8, 8, 2))).splitlines() == [
        "serial_0/conv2d_0",
        "  conv2d(4, 3, padding='same', groups=2)",
        "  8 x 8 x 2 -> 8 x 8 x 4; 40 parameters,",
        "  2,304 multiply-adds",
        "relu_0",
        "  relu",
        "  8 x 8 x 4 -> 8 x 8 x 4; 0 parameters,",
        "  0 multiply-adds",
        "total",
        "  40 parameters, 2,304 multiply-adds",
        "40 learned parameters; 160 bytes",
    ]


DEEP = fn.serial(*[fn.residual(fn.named("block_" * 9, fn.serial(fn.dense(5, activation="relu")))) for _ in range(60)])


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.usefixtures("colours")
def test_tables_fit_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for model, shape in ((SMALL, (8, 8, 2)), (DEEP, (5,))):
        found = table(model, shape)
        for text in (str(found), shown(found, io.StringIO()), shown(found, Terminal())):
            plain = re.sub(r"\x1b\[[\d;]*m", "", text)
            assert max(map(len, plain.splitlines())) <= width


@pytest.mark.parametrize(
    ("layer", "shape", "multiply_adds"),
    [
        (fn.dense(4), (3,), 12),
        (fn.dense(4, bias=False), (5, 3), 5 * 12),
        # Rows (9 - 3) / 2 + 1 = 4, columns (8 - 2) / 2 + 1 = 4; a window has 3 * 2 * 3 elements.
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
    block = fn.residual(fn.dense(4), fn.add(fn.dense(4), fn.named("squash", fn.tanh)))
    model = fn.serial(fn.named("stem", fn.dense(4)), block, fn.concat(fn.identity, fn.dense(2)))
    params = model.init((3,), 0)
    found = fn.summary(model, params, (3,))
    assert [row.path for row in found.rows] == [
        "stem", "residual_0/dense_0", "residual_0/add_0/dense_0", "residual_0/add_0/squash",
        "concat_0/identity_0", "concat_0/dense_0",
    ]  # fmt: skip
    assert found.parameters == fn.tree.count(params)


def test_a_bare_pair_is_a_row_of_its_own_and_its_leaf_called_w_is_no_multiply_add() -> None:
    scale = (
        lambda shape, rng: {"w": np.ones(shape, np.float32)},
        lambda params, x: (x * params["w"], lambda dy: ({"w": (dy * x).sum(0)}, dy * params["w"])),
    )
    (row,) = fn.summary(scale, {"w": np.ones(5, np.float32)}, (5,)).rows
    assert (row.path, row.layer, row.parameters, row.multiply_adds) == ("", "layer", 5, 0)
    (row,) = table(fn.serial(scale), (5,)).rows
    assert row.path == "layer_0"


def test_multiply_adds_are_those_that_a_layer_declares() -> None:
    @fn.layer(per_example=True)
    def low_rank(units: int, rank: int) -> Any:
        def init(shape: Any, rng: Any) -> Any:
            return {"down": np.ones((shape[-1], rank), np.float32), "up": np.ones((rank, units), np.float32)}

        def apply(params: Any, x: Any) -> Any:
            return x @ params["down"] @ params["up"], lambda dy: ({}, dy)

        def multiply_adds(params: Any, x: Any, y: Any) -> int:
            return int(x.size * params["down"].shape[1] + params["up"].shape[0] * y.size)

        return fn.Layer(init, apply, multiply_adds=multiply_adds)

    found = table(fn.serial(low_rank(7, 2), fn.residual(low_rank(7, 3))), (5, 4))
    assert [row.multiply_adds for row in found.rows] == [5 * (4 * 2 + 2 * 7), 5 * (7 * 3 + 3 * 7)]
    assert found.multiply_adds == 110 + 210
    assert [row.layer for row in found.rows] == ["low_rank(7, 2)", "low_rank(7, 3)"]


def test_a_layer_with_several_inputs_shows_the_shape_of_each() -> None:
    model = fn.graph({"a": (fn.dense(4), "input"), "y": (fn.merge("add"), ("a", "input"))}, output="y")
    found = table(model, (4,))
    assert [(row.path, row.input_shape) for row in found.rows] == [("a", (4,)), ("y", {"a": (4,), "input": (4,)})]
    assert str(found).splitlines()[3] == "y      merge('add')  {a: 4, input: 4}  4                0              0"


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
        (SMALL, SMALL.init((8, 8, 2), 0), (8, 8, 3), ValueError, "in layer conv2d_0, with an input of shape"),
        (SMALL, SMALL.init((8, 8, 2), 0), (6, 6, 2), ValueError, "in layer dense_0, with an input of shape"),
        (SMALL, {}, (8, 8, 2), ValueError, "in layer conv2d_0, with an input of shape"),
        (SMALL, {"head": {}}, (8, 8, 2), ValueError, r"parameters of another model: no layer is called \['head'\]"),
        (fn.dense, {}, (8,), TypeError, r"call it: dense\(\.\.\.\)"),
    ],
)
def test_summary_raises_for_parameters_and_shapes_of_another_model(
    model: Any, params: Any, shape: Any, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        fn.summary(model, params, shape)


# In colour


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that allows colours, whatever this one is."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def shown(found: fn.Summary, stream: Any) -> str:
    found.show(stream)
    text: str = stream.getvalue()
    return text


@pytest.mark.usefixtures("colours")
def test_a_terminal_shows_a_colour_for_each_family_a_bold_total_and_a_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    found = table(SMALL, (8, 8, 2))
    *lines, legend = shown(found, Terminal()).splitlines()
    assert [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines] == str(found).splitlines()
    families = [row.family for row in found.rows]
    assert families == ["conv", "batch_norm", "activation", "pool", "shape", "dense"]
    style = dict(zip(families, STYLES, strict=False))
    for row, line in zip(found.rows, lines[2:], strict=False):
        # The layer alone has a colour, not the spaces after it.
        assert line.startswith(f"{row.path:12}  \x1b[{style[row.family]}m{row.layer}\x1b[0m ")
        assert line.count("\x1b") == 2
    assert lines[-2].startswith("\x1b[1mtotal")
    assert legend == "colours: " + "  ".join(f"\x1b[{style[family]}m{family}\x1b[0m" for family in families)


def test_elsewhere_there_are_no_colours(colours: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = table(SMALL, (8, 8, 2))
    plain = f"{found}\n"
    assert "\x1b" not in plain
    assert shown(found, io.StringIO()) == plain
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            assert shown(found, Terminal()) == plain
    # As https://no-color.org has it, an empty value asks for nothing.
    monkeypatch.setenv("NO_COLOR", "")
    assert shown(found, Terminal()) != plain


def test_nothing_in_the_data_has_a_colour(colours: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    found = table(SMALL, (8, 8, 2))
    assert "\x1b" not in str(found) + repr(found)


def test_the_family_of_a_layer_is_the_file_that_it_is_in_and_own_for_a_users() -> None:
    @fn.layer
    def mine() -> Any:
        return (lambda shape, rng: {}, lambda params, x: (x, lambda dy: ({}, dy)))

    @fn.layer
    def dense(units: int) -> Any:
        return (lambda shape, rng: {}, lambda params, x: (x, lambda dy: ({}, dy)))

    model = fn.serial(
        mine(), dense(3), fn.serial(), fn.dense(2), fn.named("bent", fn.relu), fn.leaky_relu(), fn.dropout(0.1),
        fn.scale_and_shift(), fn.elementwise(np.sin, lambda x, y: np.cos(x)),
    )  # fmt: skip
    assert [row.family for row in table(model, (3,)).rows] == [
        "own", "own", "combinators", "dense", "activation", "activation", "dropout", "batch_norm", "activation",
    ]  # fmt: skip


def test_the_colours_are_told_apart_by_the_colour_blind_and_legible_on_any_background() -> None:
    # How those who lack one of the three kinds of cones see (Machado, Oliveira & Fernandes 2009, severity 1).
    visions: dict[str, Any] = {
        "normal": np.eye(3),
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    }  # fmt: skip
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    numbers = sorted({int(style.rpartition(";")[2]) - 16 for style in STYLES})
    levels = np.array([0, 95, 135, 175, 215, 255]) / 255
    srgb = levels[[[n // 36, n // 6 % 6, n % 6] for n in numbers]]
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ to_xyz[1]
    # WCAG 2.1 asks for a contrast of 3 in what is not running text.
    assert ((luminance + 0.05) / 0.05).min() >= 3
    assert (1.05 / (luminance + 0.05)).min() >= 3
    for vision in visions.values():
        xyz = np.clip(linear @ np.transpose(vision), 0, 1) @ to_xyz.T / to_xyz.sum(1)
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
        distance = np.linalg.norm(lab[:, None] - lab, axis=-1)
        # A difference of 2.3 is just noticeable; these stay at 40 and more.
        assert distance[np.triu_indices(len(numbers), 1)].min() > 40


def test_frozen_parameters_are_not_learned_and_tied_ones_count_once() -> None:
    frozen = fn.serial(fn.frozen(fn.dense(3)), fn.dense(2))
    table = fn.summary(frozen, frozen.init((4,), 0), (4,))
    assert (table.parameters, table.frozen, [row.parameters for row in table.rows]) == (8, 15, [0, 8])
    assert str(table).splitlines()[-1] == "8 learned parameters, 15 frozen ones; 92 bytes"
    tied = fn.tied(fn.serial(fn.dense(4, bias=False), fn.dense(4)), {"dense_1/w": "dense_0/w"})
    table = fn.summary(tied, tied.init((4,), 0), (4,))
    assert ([row.parameters for row in table.rows], table.nbytes) == ([16, 4], 80)
    norms = fn.tied(fn.repeat(fn.batch_norm(), 2), {"batch_norm_1": "batch_norm_0"})
    table = fn.summary(norms, norms.init((4,), 0), (4,))
    assert ([row.parameters for row in table.rows], table.measured) == ([8, 0], 8)
