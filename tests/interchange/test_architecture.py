"""Architectures as JSON, and model files: reading gives the same model, and runs no code from the file."""

import inspect
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import initializers
from funcnn.inspect.traverse import every_layer
from funcnn.interchange import renamed
from funcnn.interchange.renamed import Renames
from funcnn.recorded import recorded

EXAMPLES = Path(__file__).parents[2] / "examples"
TABLE = fn.testing.table_of_layers()
IMAGES = np.random.default_rng(0).random((4, 8, 8, 2), np.float32)


@fn.layer
def snake(start: float = 1.0) -> Any:
    """y = x + sin(a x)^2 / a with a learned a."""

    def init(shape: Any, rng: Any) -> Any:
        return {"a": np.full(shape[-1:], start, np.float32)}

    def apply(params: Any, x: Any) -> Any:
        a = params["a"]
        return x + np.sin(a * x) ** 2 / a, lambda dy: ({"a": dy.sum(0)}, dy * (1 + np.sin(2 * a * x)))

    return init, apply


@fn.layer
def twice(layer: Any, *others: Any, **options: Any) -> Any:
    """A layer whose arguments have the names that the format uses, and more of them than it expects."""
    return fn.serial(layer, layer, *others)


def flat(shape: Any, rng: Any, fan_in: int, fan_out: int) -> Any:
    """A user's initializer."""
    return np.full(shape, 0.5, np.float32)


wave = fn.elementwise(np.sin, lambda x, y: np.cos(x), name="wave")
pair = (lambda shape, rng: {}, lambda params, x: (x, lambda dy: ({}, dy)))

EVERYTHING = fn.serial(
    fn.named("stem", fn.conv2d(6, (3, 3), padding=((1, 1), (2, 0)), pad_mode="edge", activation=fn.leaky_relu(0.2))),
    fn.batch_norm(activation="relu"),
    fn.repeat(fn.residual(fn.conv2d(6, 3, padding="same"), fn.batch_norm(), fn.relu), 2),
    fn.concat(fn.identity, fn.named("branch", fn.avg_pool2d(1)), axis=3),
    fn.add(
        fn.conv2d(4, 1, w_init=initializers.normal(0.2), b_init=initializers.constant(0.1)),
        fn.conv2d(4, 1, w_init=initializers.variance_scaling(1.0, "average", "uniform")),
    ),
    fn.dropout(0.2),
    fn.global_avg_pool2d,
    fn.named("head", fn.dense(3, activation=fn.softmax, w_init=initializers.glorot_normal)),
)


def trained() -> Any:
    """Parameters of ``EVERYTHING`` with measured statistics."""
    return fn.calibrate(EVERYTHING, EVERYTHING.init((8, 8, 2), 0), IMAGES)


def same_bits(one: Any, other: Any) -> bool:
    """Equal paths, dtypes and bytes."""
    if fn.tree.paths(one) != fn.tree.paths(other):
        return False
    leaves = zip(fn.tree.leaves(one), fn.tree.leaves(other), strict=True)
    return all((a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()) for a, b in leaves)


def with_architecture(path: Path, text: str | bytes) -> Path:
    """The model file with another text in it."""
    members = {}
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"architecture.json": text}).items():
            archive.writestr(name, content)
    return path


# The text


def test_the_text_is_exactly_this() -> None:
    model = fn.serial(
        fn.named("stem", fn.conv2d(8, (3, 5), padding=((1, 1), (0, 0)), activation="relu", b_init=flat)),
        fn.residual(fn.relu, fn.leaky_relu(0.2)),
        fn.flatten,
        fn.dense(2, bias=True, activation=fn.tanh, w_init=initializers.he_uniform, b_init=initializers.constant(1)),
        snake(float("inf")),
    )
    assert fn.to_json(model).splitlines() == [
        "{",
        '  "format": "funcnn model",',
        '  "version": 2,',
        '  "model": {"layer": "serial", "arguments": {"layers": [',
        '    {"layer": "conv2d", "name": "stem", "arguments": {"filters": 8, "kernel": [3, 5], '
        '"padding": [[1, 1], [0, 0]], "activation": "relu", "b_init": {"function": "flat"}}},',
        '    {"layer": "residual", "arguments": {"layers": [',
        '      {"layer": "relu"},',
        '      {"layer": "leaky_relu", "arguments": {"slope": 0.2}}',
        "    ]}},",
        '    {"layer": "flatten"},',
        '    {"layer": "dense", "arguments": {"units": 2, "activation": {"layer": "tanh"}, '
        '"w_init": {"function": "he_uniform"}, "b_init": {"function": "constant", "arguments": {"value": 1}}}},',
        '    {"layer": "snake", "arguments": {"start": {"float": "inf"}}}',
        "  ]}}",
        "}",
    ]


@pytest.mark.parametrize(("layer", "shape"), TABLE, ids=[repr(layer) for layer, _ in TABLE])
def test_every_layer_of_the_library_comes_back(layer: fn.Layer, shape: Any, tmp_path: Path) -> None:
    x = fn.tree.cast(fn.testing.random_batch(shape, 3), np.float32)
    params = fn.calibrate(layer, layer.init(shape, 0), x)
    fn.save_model(tmp_path / "model.npz", layer, params)
    # A nonlinearity without a recorded call is passed by its kind.
    again, found = fn.load_model(tmp_path / "model.npz", {"elementwise": layer} if layer.kind == "elementwise" else {})
    assert repr(again) == repr(layer)
    assert fn.to_json(again) == fn.to_json(layer)
    assert same_bits(found, params)
    assert same_bits({"y": fn.predict(again, found, x)}, {"y": fn.predict(layer, params, x)})
    assert same_bits(again.init(shape, 7), layer.init(shape, 7))


def test_a_nested_model_comes_back_with_its_names_and_can_be_trained_on(tmp_path: Path) -> None:
    params = trained()
    fn.save_model(tmp_path / "model.npz", EVERYTHING, params)
    model, found = fn.load_model(tmp_path / "model.npz")
    assert repr(model) == repr(EVERYTHING)
    assert list(found) == list(params)
    assert [*model.children] == [*EVERYTHING.children]
    assert model.children["stem"].name == "stem"
    assert same_bits(found, params)
    assert np.isfinite(found["batch_norm_0"]["mean"]).all()
    assert fn.predict(model, found, IMAGES).tobytes() == fn.predict(EVERYTHING, params, IMAGES).tobytes()
    gradients = [
        fn.value_and_grad(m, fn.categorical_cross_entropy)(p, IMAGES, np.array([0, 1, 2, 0]), rng=3)
        for m, p in ((model, found), (EVERYTHING, params))
    ]
    assert gradients[0][0] == gradients[1][0]
    assert same_bits(gradients[0][1], gradients[1][1])


def test_weights_are_still_read_by_numpy_and_by_load(tmp_path: Path) -> None:
    params = trained()
    path = tmp_path / "model.npz"
    fn.save_model(path, EVERYTHING, params)
    with np.load(path) as file:
        np.testing.assert_array_equal(file["head/w"], params["head"]["w"])
    assert same_bits(fn.load(path, like=params), params)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("architecture.json").decode() == fn.to_json(EVERYTHING)
    with_architecture(path, b"\xff")
    with pytest.raises(ValueError, match="damaged"):
        fn.load_model(path)


@pytest.mark.parametrize(
    "value",
    [
        True, 3, -0.0, 1e-30, float("-inf"), "text", None, (1, (2, 3)), [1, [2]], {"a": (1, [2])}, np.int64(3),
        np.float32(0.1), np.float64(0.1), (), fn.relu, [fn.relu, fn.dense(2)],
        pytest.param(flat, id="flat"),
    ],
    ids=repr,
)  # fmt: skip
def test_arguments_come_back_as_what_they_were(value: Any) -> None:
    @fn.layer
    def keeps(value: Any = 0.0, size: int = 1) -> Any:
        return pair

    again = fn.from_json(fn.to_json(keeps(value)), {"keeps": keeps, "flat": flat})
    # NumPy's whole numbers become Python's, which are handled alike everywhere.
    expected = 3 if isinstance(value, np.integer) else value
    assert repr(again.arguments["value"]) == repr(expected)
    assert type(again.arguments["value"]) is type(expected)


def test_what_is_default_is_not_written_and_what_only_equals_it_is() -> None:
    @fn.layer
    def keeps(a: Any = 0.0, b: Any = (1, 2), c: Any = 1) -> Any:
        return pair

    assert "arguments" not in fn.to_json(keeps(0.0, (1, 2), c=1))
    assert '"arguments": {"a": -0.0, "c": true}' in fn.to_json(keeps(-0.0, c=True))


def test_a_default_before_several_values_is_read() -> None:
    @fn.layer
    def keeps(a: float = 0.5, *several: Any, c: int = 1) -> Any:
        return pair

    text = fn.to_json(keeps(0.5, fn.relu, 3))
    assert '"a"' not in text
    assert fn.from_json(text, {"keeps": keeps}).arguments["several"] == (fn.relu, 3)


def test_changed_children_are_written_and_not_those_they_replaced() -> None:
    model = fn.rebuild(fn.serial(fn.dense(2), fn.relu), lambda path, own: fn.tanh if own.kind == "relu" else own)
    assert '{"layer": "tanh"' in fn.to_json(model)
    assert '"relu"}' not in fn.to_json(model)


def test_a_users_constructor_whose_layers_were_changed_is_written_as_it_is_now() -> None:
    model = fn.serial(fn.named("a", twice(fn.relu, fn.dense(2))), twice(fn.relu))
    changed = fn.rebuild(model, lambda path, own: fn.tanh if path == "a/relu_1" else own)
    text = fn.to_json(changed)
    assert text.count('"twice"') == 1
    again = fn.from_json(text, {"twice": twice})
    assert repr(again) == repr(changed)
    x = IMAGES[:, 0, 0]
    params = changed.init((2,), 0)
    assert again.apply(params, x)[0].tobytes() == changed.apply(params, x)[0].tobytes()
    assert [*again.children["a"].children] == ["relu_0", "relu_1", "dense_0"]


def test_folded_and_calibrated_models_are_written() -> None:
    params = trained()
    model, folded = fn.fold_batch_norm(EVERYTHING, params)
    again = fn.from_json(fn.to_json(model))
    assert repr(again) == repr(model)
    assert again.apply(folded, IMAGES)[0].tobytes() == model.apply(folded, IMAGES)[0].tobytes()


def other_apply(own: fn.Layer) -> fn.Layer:
    """The layer with an ``apply`` of a user's."""
    return replace(own, apply=lambda params, x: own.apply(params, x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (other_apply(fn.dense(2)), "layer dense: its apply is not the one that dense made"),
        (fn.serial(fn.residual(other_apply(fn.flatten))), "layer residual_0/flatten_0 is called 'flatten' and is not"),
        (fn.serial(fn.residual(fn.relu, fn.named("a", other_apply(fn.dense(2))))), "layer residual_0/a: its apply is"),
        (fn.serial(fn.dense(2), other_apply(EVERYTHING)), "layer serial_0: its apply is not the one that serial made"),
        (fn.graph({"y": (other_apply(fn.dense(2)), "input")}, "y"), "layer y: its apply is not"),
        (fn.serial(twice(fn.relu, fn.named("a", other_apply(fn.dense(2))))), "layer twice_0/a: its apply is not"),
        (
            fn.serial(fn.dense(2, activation=other_apply(fn.leaky_relu()))),
            r"layer dense_0\.activation: its apply is not",
        ),
    ],
)
def test_a_layer_that_its_record_does_not_describe_is_not_written(model: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fn.save_model(tmp_path / "model.npz", model, {})
    assert not os.listdir(tmp_path)


@recorded
def stairs(rate: float, every: int = 1, after: Any = None) -> Any:
    """A user's schedule."""
    return lambda step: rate * (step // every)


def test_a_function_that_a_constructor_made_is_written_as_its_call() -> None:
    @fn.layer
    def keeps(value: Any = None, *functions: Any) -> Any:
        return pair

    model = keeps(stairs(0.5, after=stairs(0.25, 2)), flat, initializers.normal(0.1), initializers.he_normal)
    text = fn.to_json(model)
    assert json.loads(text)["model"]["arguments"] == {
        "value": {
            "function": "stairs",
            "arguments": {"rate": 0.5, "after": {"function": "stairs", "arguments": {"rate": 0.25, "every": 2}}},
        },
        "functions": [
            {"function": "flat"},
            {"function": "normal", "arguments": {"std": 0.1}},
            {"function": "he_normal"},
        ],
    }
    own = {"keeps": keeps, "stairs": stairs, "flat": flat}
    again = fn.from_json(text, own)
    assert fn.to_json(again) == text
    assert again.arguments["value"](8) == 4
    assert again.arguments["functions"][2] is initializers.he_normal
    with pytest.raises(ValueError, match="this funcnn has no 'stairs'"):
        fn.from_json(text, {"keeps": keeps, "flat": flat})


def test_arguments_are_written_as_given_even_if_as_many_children_came_of_them() -> None:
    @fn.layer
    def tower(*units: int) -> Any:
        return fn.serial(*[fn.dense(n) for n in units])

    assert '{"layer": "tower", "arguments": {"units": [4, 2]}}' in fn.to_json(tower(4, 2))
    assert repr(fn.from_json(fn.to_json(tower(4, 2)), {"tower": tower})) == "tower(4, 2)"


# Layers of a user


def test_own_layers_are_passed_by_name(tmp_path: Path) -> None:
    block = fn.named("block", twice(fn.dense(3, w_init=flat), snake(), wave, depth=(1, 2)))
    model = fn.serial(block, fn.dense(1, activation=wave))
    params = model.init((3,), 0)
    path = tmp_path / "model.npz"
    fn.save_model(path, model, params)
    own = {"snake": snake, "twice": twice, "wave": wave, "flat": flat}
    again, found = fn.load_model(path, own)
    x = IMAGES[..., 0].reshape(-1, 8)[:, :3]
    assert repr(again) == repr(model)
    assert again.apply(found, x)[0].tobytes() == model.apply(params, x)[0].tobytes()
    for name in own:
        rest = {other: thing for other, thing in own.items() if other != name}
        with pytest.raises(ValueError, match=rf"model\.npz: layer .*pass it in: layers={{'{name}': {name}}}"):
            fn.load_model(path, rest)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({}, r"layer snake_0: this funcnn has no 'snake'; if it is your own, pass it in: layers={'snake': snake}"),
        ({"snake": snake()}, "layer snake_0: 'snake' is a layer and .* pass the constructor"),
        ({"snake": pair}, "makes no layers; pass a constructor decorated with @fn.layer"),
        ({"snake": snake.__wrapped__}, "snake makes no layers; pass a constructor decorated with @fn.layer"),  # type: ignore[attr-defined]
        ({"snake": initializers.normal}, "snake_0: normal takes no \\['start'\\], it takes \\['std'\\]"),
        ({"snake": snake, "dense": snake}, r"\['dense'\] are names of funcnn's own layers"),
    ],
)
def test_the_wrong_thing_that_is_passed_raises(layers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fn.from_json(fn.to_json(fn.serial(snake(2.0))), layers)


def shadow() -> Any:
    """A constructor with the name of one of funcnn's."""

    @fn.layer
    def dense(units: int) -> Any:
        return pair

    return dense(3)


def other_snake() -> Any:
    """Another constructor of the same name."""

    @fn.layer
    def snake() -> Any:
        return pair

    return snake()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (pair, "the model is a bare pair .* decorate it with @fn.layer"),
        (fn.serial(fn.residual(fn.relu, pair)), "layer residual_0/layer_0 is a bare pair"),
        (fn.serial(shadow()), "layer dense_0 is called 'dense' and is not funcnn's dense; give yours another name"),
        (fn.serial(snake(), fn.named("b", other_snake())), "layer b is another 'snake' than one before"),
        (fn.layer(lambda: pair)(), "is a lambda"),
        (fn.serial(fn.dense(2, w_init=lambda *_: np.ones(2))), r"layer dense_0\.w_init is a lambda"),
        (
            fn.serial(snake(np.ones(2))),
            r"layer snake_0\.start is a ndarray of shape \(2,\); an architecture holds",
        ),  # type: ignore[arg-type]
        (fn.elementwise(np.sin, lambda x, y: np.cos(x), name="relu"), "'relu' and is not funcnn's relu"),
    ],
)
def test_what_could_not_be_read_back_raises_and_nothing_is_written(model: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fn.save_model(tmp_path / "model.npz", model, {})
    assert not os.listdir(tmp_path)


# Older versions


def old(model: Any, version: int = 1) -> str:
    return json.dumps({"format": "funcnn model", "version": version, "model": model})


def layers(*nodes: Any) -> Any:
    return {"layer": "serial", "arguments": {"layers": list(nodes)}}


def test_version_1_had_another_name_for_the_standard_deviation() -> None:
    normal = {"function": "normal", "arguments": {"deviation": 0.5}}
    dense = {"layer": "dense", "arguments": {"units": 2, "w_init": normal}}
    graph = {"layer": "graph", "arguments": {"nodes": {"dict": {"a": [dense, "input"]}}, "output": "a"}}
    for model in (dense, layers(dense, layers(dense)), graph):
        again = fn.from_json(old(model))
        assert repr(again).count("w_init=initializers.normal(std=0.5)") == json.dumps(model).count("deviation")
        assert '"version": 2' in fn.to_json(again)
        with pytest.raises(ValueError, match=r"normal takes no \['deviation'\], it takes \['std'\]"):
            fn.from_json(old(model, version=2))


def test_only_the_arguments_of_the_kind_are_renamed() -> None:
    @fn.layer
    def noise(deviation: float, layer: Any = None, normal: Any = None) -> Any:
        return pair

    arguments = {"deviation": 0.5, "layer": {"dict": {"deviation": [1]}}, "normal": {"list": [{"layer": "relu"}]}}
    again = fn.from_json(old({"layer": "noise", "arguments": arguments}), {"noise": noise})
    assert repr(again) == "noise(0.5, layer={'deviation': (1,)}, normal=[relu])"


def test_a_table_of_renames_reads_files_of_every_older_version(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        Renames(kinds={"linear": "linear_map"}, arguments={"linear": {"outputs": "size"}}),
        Renames(kinds={"linear_map": "dense", "silu": "swish"}, arguments={"linear_map": {"size": "units"}}),
    )
    monkeypatch.setattr("funcnn.interchange.architecture.RENAMES", table)
    monkeypatch.setattr("funcnn.interchange.architecture.VERSION", 3)
    linear = {"layer": "linear", "arguments": {"outputs": 3, "activation": {"layer": "silu"}}}
    affine = {"layer": "linear_map", "arguments": {"size": 3}}
    dense = {"layer": "dense", "arguments": {"units": 3}}
    # The names, under which the file holds the parameters, are those of the old kinds.
    model = fn.from_json(old(layers(dense, linear, {**linear, "name": "head"}, {"layer": "relu"}, linear)))
    assert [*model.children] == ["dense_0", "linear_0", "head", "relu_0", "linear_2"]
    assert repr(model.children["head"]) == "named('head', dense(3, activation=swish))"
    assert [*fn.from_json(old(layers(dense, affine, dense), 2)).children] == ["dense_0", "linear_map_0", "dense_1"]
    assert repr(fn.from_json(old(layers(dense, dense), 3))) == "serial(dense(3), dense(3))"
    with pytest.raises(ValueError, match="this funcnn has no 'linear_map'"):
        fn.from_json(old(affine, 3))


def test_every_rename_leads_to_a_name_of_today() -> None:
    assert len(renamed.RENAMES) == renamed.VERSION - 1
    for number, row in enumerate(renamed.RENAMES):
        for kind, names in row.arguments.items():
            assert set(names) - set(names.values()) == set(names), (kind, "is renamed in a circle")
            for later in renamed.RENAMES[number:]:
                kind = later.kinds.get(kind, kind)
                names = {old: later.arguments.get(kind, {}).get(new, new) for old, new in names.items()}
            parameters = inspect.signature(getattr(initializers, kind, None) or getattr(fn, kind)).parameters
            assert set(names.values()) <= set(parameters)


# What is damaged, foreign or does not fit


def text(model: Any, **changed: Any) -> str:
    return json.dumps({"format": "funcnn model", "version": 2, "model": model} | changed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[1]", 'expected a JSON object with "format": "funcnn model"'),
        ('{"layers": []}', 'expected a JSON object with "format": "funcnn model"'),
        (text({"layer": "relu"}, version=3), "format version 3 is newer than this funcnn, which reads 2; upgrade"),
        (text({"layer": "relu"}, version=True), "expected a version of the format, 1 to 2, got True"),
        (text({"layer": "relu"}, weights=1), r"the architecture takes no \['weights'\]"),
        ('{"format": "funcnn model", "version": 1}', r"the architecture lacks \['model'\]"),
        (text("relu"), "expected the model to be a layer, got 'relu'"),
        (text({"layer": "conv4d"}), "the model: this funcnn has no 'conv4d'"),
        (text({"layer": ["relu"]}), r"this funcnn has no \['relu'\]"),
        (text({"layer": "relu", "code": "1"}), r"the model takes no \['code'\]"),
        (text({"layer": "relu", "arguments": {}}), "'relu' is a layer and takes no arguments"),
        (text({"layer": "relu", "name": "a/b"}), "a layer's name"),
        (text({"layer": "he_normal"}), "makes no layers"),
        (text({"layer": "constant", "arguments": {"value": 1}}), "makes a Recorded, not a layer"),
        (text({"layer": "dense", "arguments": {"unit": 3}}), r"dense takes no \['unit'\], it takes \['units', 'bias'"),
        (text({"layer": "dense", "arguments": [3]}), r"expected the arguments of dense by name, got \[3\]"),
        (text({"layer": "dense"}), r"dense cannot be made: dense\(\) missing a required argument: 'units'"),
        (text({"layer": "dense", "arguments": {"units": -3}}), "dense cannot be made: dense: units must be a whole"),
        (text({"layer": "dense", "arguments": {"units": {"list": 3}}}), "is not a value of an architecture"),
        (text({"layer": "dense", "arguments": {"units": {"float": "x"}}}), "is not a value of an architecture"),
        (text({"layer": "serial", "arguments": {"layers": 3}}), "serial takes several values for"),
        (
            text({"layer": "serial", "arguments": {"layers": [{"layer": "relu"}, {"layer": "dense", "name": "a"}]}}),
            "layer a: dense cannot be made",
        ),
    ],
)
def test_text_that_is_not_a_model_raises(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fn.from_json(content)
    path = tmp_path / "model.npz"
    fn.save_model(path, fn.relu, {})
    with pytest.raises(ValueError, match=rf"model\.npz: .*{message}"):
        fn.load_model(with_architecture(path, content))


@pytest.mark.parametrize(
    "name",
    ["os.system", "eval", "__import__", "numpy.load", "np", "repeat", "named", "layer", "Layer", "Initializer", "save"],
)
@pytest.mark.parametrize("tag", ["layer", "function"])
def test_no_name_outside_the_layers_means_anything(name: str, tag: str) -> None:
    with pytest.raises(ValueError, match="this funcnn has no"):
        fn.from_json(text({"layer": "dense", "arguments": {"units": {tag: name, "arguments": {}}}}))


@pytest.mark.parametrize("name", ["ones", "he_normal"])
def test_functions_are_called_only_to_make_layers_and_initializers(name: str) -> None:
    drawn = {"function": name, "arguments": {"shape": [10**6, 10**6], "rng": 0, "fan_in": 1, "fan_out": 1}}
    with pytest.raises(ValueError, match="makes no layers"):
        fn.from_json(text({"layer": "dense", "arguments": {"units": drawn}}))


def test_a_checkpoint_without_a_model_says_so(tmp_path: Path) -> None:
    fn.save(tmp_path / "weights.npz", {"w": np.ones(2)})
    with pytest.raises(ValueError, match=r"weights\.npz holds arrays and no model.* call load"):
        fn.load_model(tmp_path / "weights.npz")
    (tmp_path / "weights.npz").write_bytes(b"%PDF")
    with pytest.raises(ValueError, match=r"weights\.npz is not a checkpoint"):
        fn.load_model(tmp_path / "weights.npz")
    with pytest.raises(FileNotFoundError):
        fn.load_model(tmp_path / "none.npz")


MODEL = fn.serial(fn.conv2d(3, 3), fn.batch_norm(), fn.residual(fn.relu), fn.flatten, fn.dense(4))
PARAMS = MODEL.init((5, 5, 2), 0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, r"in layer conv2d_0: conv2d: expected a parameter 'w', got \[\]"),
        (PARAMS | {"dense_1": {}}, r"no layer is called \['dense_1'\]"),
        (PARAMS | {"dense_0": {"w": np.ones((27, 5)), "b": np.ones(4)}}, r"in layer dense_0: .*shape \('any', 4\)"),
        (PARAMS | {"dense_0": {"w": np.ones((27, 4))}}, "in layer dense_0: dense: expected a parameter 'b'"),
        (PARAMS | {"conv2d_0": {"w": np.ones((3, 3, 2, 3))}}, "in layer conv2d_0: conv2d: expected a parameter 'b'"),
        (PARAMS | {"batch_norm_0": {"scale": np.ones(3)}}, "in layer batch_norm_0: .*expected a parameter 'shift'"),
        (PARAMS | {"residual_0": {"relu_0": {"w": np.ones(1)}}}, r"residual_0/relu_0: relu has no parameters, got"),
        (PARAMS | {"dense_0": np.ones(1)}, "in layer dense_0: expected a dict of parameters, got ndarray"),
    ],
)
def test_parameters_of_another_model_are_neither_written_nor_read(params: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    with pytest.raises(ValueError, match=message):
        fn.save_model(path, MODEL, params)
    assert not os.listdir(tmp_path)
    fn.save(path, params)
    with pytest.raises(
        ValueError, match=rf"model\.npz: .*{message}.*; save and load the parameters with their own|dict"
    ):
        fn.load_model(with_architecture(path, fn.to_json(MODEL)))


WRONG = {
    "one more": lambda params: params | {"another": np.ones(3, np.float32)},
    "one less": lambda params: dict(list(params.items())[1:]),
    "none": lambda params: {},
    "text": lambda params: {name: leaf.astype("U4") for name, leaf in params.items()},
    "numbers": lambda params: dict.fromkeys(params, 0.5),
    "integers": lambda params: {name: np.nan_to_num(leaf).astype(np.int64) for name, leaf in params.items()},
    "one of integers": lambda params: params | {"w": params["w"].astype(np.int32)} if "w" in params else None,
    "half": lambda params: {name: leaf.astype(np.float16) for name, leaf in params.items()},
    "mixed": lambda params: params | {"b": params["b"].astype(np.float64)} if "b" in params else None,
    "one axis more": lambda params: {name: leaf[None] for name, leaf in params.items()},
    "a dict": lambda params: {name: {name: leaf} for name, leaf in params.items()},
}  # fmt: skip


@pytest.mark.parametrize(("layer", "shape"), TABLE, ids=[repr(layer) for layer, _ in TABLE])
def test_every_layer_checks_its_parameters_without_an_input(layer: fn.Layer, shape: Any, tmp_path: Path) -> None:
    if layer.kind == "elementwise":
        return
    params = layer.init(shape, 0)
    for path in [path for path, one in every_layer(layer) if not one.children]:
        own = params
        for name in path.split("/") if path else []:
            own = own.get(name, {})
        message = rf"in layer {path}: " if path and layer.kind != "tied" else "parameter"
        for wrong, change in WRONG.items():
            changed = change(own)
            if changed is None or (wrong != "one more" and not own):
                continue
            bad = _placed(params, path, changed)
            with pytest.raises((ValueError, TypeError), match=message):
                fn.save_model(tmp_path / "model.npz", layer, bad)
            assert not os.listdir(tmp_path)
    for good in (params, fn.tree.cast(params, np.float64)):
        fn.save_model(tmp_path / "model.npz", layer, good)
        assert same_bits(fn.load_model(tmp_path / "model.npz")[1], good)


def _placed(params: Any, path: str, own: Any) -> Any:
    """The parameters with those of one layer replaced."""
    if not path:
        return own
    first, _, rest = path.partition("/")
    return {**params, first: _placed(params.get(first, {}), rest, own)}


def test_a_users_layer_is_not_called_to_check_its_parameters(tmp_path: Path) -> None:
    @fn.layer
    def loud() -> Any:
        def apply(params: Any, x: Any) -> Any:
            raise AssertionError("it was called")

        return lambda shape, rng: {"w": np.ones(1)}, apply

    fn.save_model(tmp_path / "model.npz", fn.serial(loud()), {"loud_0": {"count": np.ones(1, np.int64)}})
    _, params = fn.load_model(tmp_path / "model.npz", {"loud": loud})
    assert params["loud_0"]["count"].dtype == np.int64


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (np.ones(1), "the parameters have different dtypes: 'dense_0/w' is of float32, 'snake_0/a' of float64"),
        (np.ones(1, complex), "parameter 'snake_0/a': expected float32 or float64, got complex128"),
        (np.ones(1, np.float16), "parameter 'snake_0/a': expected float32 or float64, got float16"),
        (np.ma.ones(1), "parameter 'snake_0/a': expected a plain array, got MaskedArray"),
        (np.array(["1"]), "parameter 'snake_0/a': expected float32 or float64, got <U1"),
        (1.0, "parameter 'snake_0/a': expected an array, got a float"),
    ],
)
def test_parameters_of_a_users_layer_are_floats_of_the_dtype_of_all(tmp_path: Path, leaf: Any, message: str) -> None:
    model = fn.serial(fn.dense(2, bias=False), snake())
    params = {"dense_0": {"w": np.ones((3, 2), np.float32)}, "snake_0": {"a": leaf}}
    with pytest.raises((TypeError, ValueError), match=message):
        fn.save_model(tmp_path / "model.npz", model, params)
    assert not os.listdir(tmp_path)
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fc" and not isinstance(leaf, np.ma.MaskedArray):
        fn.save(tmp_path / "model.npz", params)
        with pytest.raises(ValueError, match=rf"model\.npz: {message}"):
            fn.load_model(with_architecture(tmp_path / "model.npz", fn.to_json(model)), {"snake": snake})


def test_a_failed_save_leaves_the_old_model_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.npz"
    fn.save_model(path, MODEL, PARAMS)
    before = path.read_bytes()

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fn.save_model(path, fn.dense(1), {"w": np.ones((1, 1)), "b": np.ones(1)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.npz"]


# A machine with nothing but NumPy

ONLY_NUMPY = """
import runpy, sys

class OnlyNumPy:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {*sys.stdlib_module_names, "numpy", "funcnn"}:
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [OnlyNumPy(finder) for finder in sys.meta_path]
"""


def run_with_only_numpy(code: str, *arguments: Any) -> str:
    """What a program prints where no package but NumPy and funcnn can be imported."""
    found = subprocess.run(
        [sys.executable, "-c", ONLY_NUMPY + code, *map(str, arguments)],
        # BLAS on one thread, since it rounds differently on several, and threadpoolctl is not there to hold it back.
        env={name: value for name, value in os.environ.items() if name != "FUNCNN_NUM_THREADS"}
        | {"PYTHONPATH": str(Path(fn.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (found.returncode, found.stderr) == (0, ""), found.stderr
    return found.stdout


def test_numpy_alone_is_enough_to_predict_the_same_bits(tmp_path: Path) -> None:
    params = trained()
    fn.save_model(tmp_path / "model.npz", EVERYTHING, params)
    images = np.tile(IMAGES, (20, 1, 1, 1))
    np.save(tmp_path / "x.npy", images)
    code = """
import numpy as np, funcnn as fn
model, params = fn.load_model(sys.argv[1])
np.save(sys.argv[3], fn.predict(model, params, np.load(sys.argv[2])))
print(fn.num_threads(), {"scipy", "matplotlib", "threadpoolctl"} & sys.modules.keys())
with fn.use_threads(3):
    print(np.array_equal(fn.predict(model, params, np.load(sys.argv[2])), np.load(sys.argv[3])))
"""
    files = [tmp_path / name for name in ("model.npz", "x.npy", "y.npy")]
    assert run_with_only_numpy(code, *files) == "1 set()\nTrue\n"
    assert np.load(files[2]).tobytes() == fn.predict(EVERYTHING, params, images).tobytes()


def test_the_deployed_model_says_how_often_it_is_right(tmp_path: Path) -> None:
    model = fn.serial(fn.flatten, fn.dense(10))
    params = model.init((28, 28, 1), 0)
    fn.save_model(tmp_path / "model.npz", model, params)
    _, (images, labels) = fn.datasets.digits()
    expected = fn.metrics.accuracy(fn.predict(model, params, images.astype(np.float32) / 255), labels)
    code = "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    lines = run_with_only_numpy(code, EXAMPLES / "deploy.py", tmp_path / "model.npz").splitlines()
    assert lines[0] == "serial(flatten, dense(10))"
    assert lines[-1].startswith(f"{expected:.2%} of 2,000 ")


def test_what_is_nested_too_deeply_to_be_used_is_neither_read_nor_written() -> None:
    def nested(depth: int) -> str:
        start, end = '{"layer": "residual", "arguments": {"layers": [' * (depth - 1), "]}}" * (depth - 1)
        return '{"format": "funcnn model", "version": 2, "model": ' + start + '{"layer": "relu"}' + end + "}"

    model = fn.from_json(nested(40))
    assert fn.to_json(fn.from_json(fn.to_json(model))) == fn.to_json(model)
    assert repr(model).count("residual") == 39
    assert model.apply({}, np.ones((1, 2), np.float32))[0].tolist() == [[40.0, 40.0]]
    for depth in (41, 100, 150):  # to read these worked, and repr or apply ended in a RecursionError
        with pytest.raises(ValueError, match="nested too deeply"):
            fn.from_json(nested(depth))
    deep = fn.relu
    for _ in range(39):
        deep = fn.serial(deep)
    assert fn.to_json(fn.from_json(fn.to_json(deep))) == fn.to_json(deep)
    for _ in range(260):  # the first of them is written no more, since it would not be read
        deep = fn.serial(deep)
        with pytest.raises(ValueError, match="to_json: the layers of the model are nested too deeply"):
            fn.to_json(deep)
