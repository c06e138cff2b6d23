"""Files that Keras writes here become parameters: the model predicts what Keras predicts, to 1e-5."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers as k

import funcnn as fn

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras itself

LIMIT = 1e-5
DRAW = np.random.default_rng(0)
IMAGES = DRAW.standard_normal((2, 8, 8, 3)).astype(np.float32)
ROWS = DRAW.standard_normal((2, 4)).astype(np.float32)
TOKENS = DRAW.integers(0, 9, (2, 7)).astype(np.int32)
SUFFIXES = ("keras", "weights.h5")


def randomized(model: Any) -> Any:
    """A model whose every weight, statistics included, is random."""
    for variable in model.weights:
        if variable.dtype.startswith("float"):
            drawn = DRAW.uniform(-0.4, 0.4, variable.shape)
            variable.assign(np.abs(drawn) + 0.5 if "variance" in variable.path else drawn)
    return model


def saved(model: Any, folder: Path, suffix: str) -> Path:
    path = folder / f"model.{suffix}"
    (model.save if suffix == "keras" else model.save_weights)(path)
    return path


def agrees(ours: fn.Layer, theirs: Any, x: Any, folder: Path, shape: Any, names: dict[str, str] | None = None) -> None:
    """The same outputs from both kinds of files, with and without the shape, and with the names that were found."""
    randomized(theirs)
    wanted = theirs.predict(x, verbose=0)
    for suffix in SUFFIXES:
        path = saved(theirs, folder, suffix)
        for own_shape in (None, shape):
            params = fn.params_from_keras(ours, path, names or {}, own_shape)
            assert np.abs(fn.predict(ours, params, x) - wanted).max() < LIMIT
        again = fn.params_from_keras(ours, path, fn.keras_names(ours, path, names or {}))
        assert all(map(np.array_equal, fn.tree.leaves(again), fn.tree.leaves(params)))


def test_a_sequential_convolutional_network_agrees(tmp_path: Path) -> None:
    theirs = keras.Sequential([
        k.Input((8, 8, 3)), k.Conv2D(4, (3, 2)), k.BatchNormalization(epsilon=1e-5), k.ReLU(), k.MaxPool2D(2),
        k.Flatten(), k.Dense(5, "tanh"), k.Dropout(0.5), k.Dense(2, use_bias=False),
    ])  # fmt: skip
    theirs.compile("adam", "mse")
    theirs.fit(IMAGES, ROWS[:, :2], verbose=0)
    ours = fn.serial(
        fn.conv2d(4, (3, 2)), fn.batch_norm(), fn.relu, fn.max_pool2d(2), fn.flatten,
        fn.dense(5, activation="tanh"), fn.dropout(0.5), fn.dense(2, bias=False),
    )  # fmt: skip
    agrees(ours, theirs, IMAGES, tmp_path, (8, 8, 3))


def test_a_functional_model_of_convolutions_agrees(tmp_path: Path) -> None:
    inputs = k.Input((8, 8, 3))
    x = k.DepthwiseConv2D((3, 2), depth_multiplier=2)(inputs)
    x = k.SeparableConv2D(6, 3, depth_multiplier=2, padding="same")(x)
    branch = k.Conv2D(6, 3, padding="same", groups=2)(x)
    x = k.Add()([x, branch])
    x = k.Conv2DTranspose(4, 3, strides=2, padding="same")(x)
    x = k.GroupNormalization(2, epsilon=1e-5)(x)
    x = k.PReLU(shared_axes=[1, 2])(x)
    theirs = keras.Model(inputs, k.DepthwiseConv2D(2, use_bias=False)(x))
    ours = fn.serial(
        fn.depthwise_conv2d((3, 2), 2), fn.separable_conv2d(6, 3, 2, padding="same"),
        fn.residual(fn.conv2d(6, 3, padding="same", groups=2)), fn.conv_transpose2d(4, 3, 2, "same"), fn.group_norm(2),
        fn.prelu(shared=False), fn.depthwise_conv2d(2, bias=False),
    )  # fmt: skip
    agrees(ours, theirs, IMAGES, tmp_path, (8, 8, 3))


def test_series_and_volumes_agree(tmp_path: Path) -> None:
    theirs = keras.Sequential([k.Input((8, 3)), k.Conv1D(4, 3), k.Conv1DTranspose(2, 3), k.PReLU(shared_axes=[1, 2])])
    ours = fn.serial(fn.conv1d(4, 3), fn.conv_transpose1d(2, 3), fn.prelu())
    agrees(ours, theirs, IMAGES[:, 0], tmp_path, (8, 3))
    theirs = keras.Sequential([k.Input((4, 4, 4, 6)), k.Conv3D(4, 3), k.Conv3DTranspose(2, 2)])
    ours = fn.serial(fn.conv3d(4, 3), fn.conv_transpose3d(2, 2))
    agrees(ours, theirs, IMAGES.reshape(1, 4, 4, 4, 6), tmp_path, (4, 4, 4, 6))


def test_sequences_agree(tmp_path: Path) -> None:
    inputs = k.Input((7,), dtype="int32")
    x = k.Embedding(9, 8)(inputs)
    x = k.Bidirectional(k.LSTM(3, return_sequences=True))(x)
    x = k.GRU(4, return_sequences=True)(x)
    x = k.GRU(4, return_sequences=True, reset_after=False)(x)
    x = k.SimpleRNN(4, return_sequences=True, use_bias=False)(x)
    x = k.MultiHeadAttention(2, 3)(x, x)
    x = k.LayerNormalization(epsilon=1e-5)(x)
    x = k.TimeDistributed(k.Dense(4))(x)
    x = k.LayerNormalization(epsilon=1e-5, center=False)(x)
    theirs = keras.Model(inputs, k.LSTM(2)(x))
    ours = fn.serial(
        fn.embedding(9, 8), fn.bidirectional(fn.lstm(3)), fn.gru(4), fn.gru(4, reset_after=False),
        fn.rnn(4, bias=False), fn.multi_head_attention(2, width=3), fn.layer_norm(), fn.time_distributed(fn.dense(4)),
        fn.layer_norm(shift=False), fn.lstm(2, return_sequences=False),
    )  # fmt: skip
    agrees(ours, theirs, TOKENS, tmp_path, fn.spec((7,), np.int32))


def test_halves_of_several_bidirectional_layers_stand_in_order(tmp_path: Path) -> None:
    both: Any = [k.Bidirectional(k.LSTM(3, return_sequences=True)) for _ in range(3)]
    ours = fn.serial(*[fn.bidirectional(fn.lstm(3)) for _ in range(3)])
    agrees(ours, keras.Sequential([k.Input((8, 6)), *both]), IMAGES.reshape(4, 8, 12)[..., :6], tmp_path, (8, 6))


def test_stacked_cells_and_grouped_heads_agree(tmp_path: Path) -> None:
    theirs = keras.Sequential([k.Input((8, 3)), k.RNN([k.LSTMCell(4), k.LSTMCell(4)], return_sequences=True)])
    agrees(fn.lstm(4, layers=2), theirs, IMAGES[:, 0], tmp_path, (8, 3))
    inputs = k.Input((8, 6))
    theirs = keras.Model(inputs, k.GroupQueryAttention(3, 4, 2, use_bias=False)(inputs, inputs))
    ours = fn.multi_head_attention(4, width=3, key_heads=2, bias=False)
    agrees(fn.serial(ours), theirs, DRAW.standard_normal((2, 8, 6)).astype(np.float32), tmp_path, (8, 6))


def test_batch_norm_without_scale_or_center_agrees(tmp_path: Path) -> None:
    ours = fn.serial(fn.batch_norm())
    for options in ({"scale": False}, {"center": False}):
        theirs = randomized(keras.Sequential([k.Input((4,)), k.BatchNormalization(epsilon=1e-5, **options)]))
        params = fn.params_from_keras(ours, saved(theirs, tmp_path, "keras"))
        assert np.abs(fn.predict(ours, params, ROWS) - theirs.predict(ROWS, verbose=0)).max() < LIMIT
        with pytest.raises(
            ValueError, match=r"3 variables, and which of scale and shift is missing stands in a \.keras"
        ):
            fn.params_from_keras(ours, saved(theirs, tmp_path, "weights.h5"))
    theirs = keras.Sequential([k.Input((4,)), k.BatchNormalization(epsilon=1e-5, center=False, scale=False)])
    agrees(ours, theirs, ROWS, tmp_path, (4,))


def nested() -> Any:
    inputs = k.Input((4,))
    inner = keras.Sequential([k.Dense(4), k.Dense(4)], name="inner")
    return randomized(keras.Model(inputs, k.Dense(4, name="after")(inner(k.Dense(4, name="before")(inputs)))))


def test_nested_models_have_their_order_in_a_keras_file_only(tmp_path: Path) -> None:
    theirs, ours = nested(), fn.serial(fn.dense(4), fn.serial(fn.dense(4), fn.dense(4)), fn.dense(4))
    params = fn.params_from_keras(ours, saved(theirs, tmp_path, "keras"))
    assert np.abs(fn.predict(ours, params, ROWS) - theirs.predict(ROWS, verbose=0)).max() < LIMIT
    path = saved(theirs, tmp_path, "weights.h5")
    with pytest.raises(ValueError, match="or the other way round: it is not known which of these comes first"):
        fn.params_from_keras(ours, path)
    agrees(ours, theirs, ROWS, tmp_path, (4,), {"serial_0": "inner"})


def test_parallel_layers_need_names(tmp_path: Path) -> None:
    inputs = k.Input((4,))
    theirs = randomized(keras.Model(inputs, k.Subtract()([k.Dense(3, name="a")(inputs), k.Dense(3, name="b")(inputs)])))
    path = saved(theirs, tmp_path, "keras")
    both = fn.branch(one=fn.dense(3), two=fn.dense(3))
    with pytest.raises(ValueError, match="one and two are parallel and have the same forms, so either could be a or b"):
        fn.params_from_keras(both, path)
    params = fn.params_from_keras(both, path, {"one": "b"})
    assert np.array_equal(params["two"]["w"], theirs.get_layer("a").get_weights()[0])
    assert fn.keras_names(fn.branch(b=fn.dense(3), a=fn.dense(3)), path) == {"b": "b", "a": "a"}


def test_layers_match_by_kind_whatever_their_order(tmp_path: Path) -> None:
    """In a .weights.h5 file groups stand in alphabetical order, and ten come before two."""
    inputs = k.Input((4,))
    x = inputs
    for _ in range(12):
        x = k.LayerNormalization(epsilon=1e-5)(k.Dense(4)(x))
    ours = fn.serial(*[fn.dense(4), fn.layer_norm()] * 12)
    agrees(ours, keras.Model(inputs, x), ROWS, tmp_path, (4,))


# Bad input


DENSE = fn.serial(fn.dense(3), fn.relu, fn.dense(2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    theirs = keras.Sequential([k.Input((4,)), k.Dense(3, "relu", name="first"), k.Dense(2, name="second")])
    return saved(randomized(theirs), tmp_path, "weights.h5")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            fn.serial(fn.dense(3), fn.dense(2), fn.dense(2)),
            r"missing: dense_2 \(dense\) expects kernel \(any, 2\), bias",
        ),
        (fn.serial(fn.dense(3)), r"extra: second with kernel \(3, 2\), bias \(2,\)"),
        (
            fn.serial(fn.dense(3), fn.dense(5)),
            r"second: /layers/dense_1/vars/0: expected shape \(any, 5\), got \(3, 2\)",
        ),
        (fn.serial(fn.dense(3), fn.dense(2, bias=False)), r"from second: .*is it without a bias here\?"),
        (fn.serial(fn.dense(3), fn.dense(2), fn.lstm(2)), r"missing: lstm_0 \(lstm\) expects kernel \(any, 8\)"),
        (fn.serial(fn.dense(3), fn.bilinear(2)), "Keras has no such layer"),
        (fn.serial(fn.weight_norm(fn.dense(3)), fn.dense(2)), "Keras has no weight_norm with these parameters"),
    ],
)
def test_weights_of_another_model_raise(path: Path, model: fn.Layer, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fn.params_from_keras(model, path)


def test_with_a_shape_every_size_is_checked(path: Path) -> None:
    with pytest.raises(ValueError, match=r"first: /layers/dense/vars/0: expected shape \(5, 3\), got \(4, 3\)"):
        fn.params_from_keras(DENSE, path, shape=(5,))
    inputs = k.Input((4, 4, 2))
    theirs = keras.Model(inputs, k.DepthwiseConv2D(3, depth_multiplier=2)(inputs))
    written = saved(theirs, path.parent, "keras")
    ours = fn.serial(fn.depthwise_conv2d(3, 2))
    with pytest.raises(ValueError, match=r"expected w of shape \(3, 3, 1, 6\), got \(3, 3, 1, 4\)|bias|expected shape"):
        fn.params_from_keras(ours, written, shape=(4, 4, 3))


def test_wrong_names_and_paths_raise(path: Path) -> None:
    with pytest.raises(ValueError, match=r"there are no weights called 'secnd', for 'dense_1'; did you mean 'second'"):
        fn.params_from_keras(DENSE, path, {"dense_1": "secnd"})
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        fn.params_from_keras(DENSE, path.parent / "no.keras")
    with pytest.raises(TypeError, match="params_from_keras: path: expected a str or a Path, got 3"):
        fn.params_from_keras(DENSE, 3)  # type: ignore[arg-type]


def damaged(path: Path) -> Any:
    return pytest.raises(ValueError, match=rf"{path.name} is damaged or not a file of weights that Keras 3 wrote: ")


def test_cut_and_foreign_files_raise(path: Path) -> None:
    content = path.read_bytes()
    for end in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:end])
        with damaged(path):
            fn.params_from_keras(DENSE, path)
    fn.save(path, {"a": np.ones(3)})
    with damaged(path):
        fn.params_from_keras(DENSE, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({}))
        archive.writestr("model.weights.h5", content[:-50])
    with damaged(path):
        fn.params_from_keras(DENSE, path)


def of_keras_2(file: h5py.File) -> None:
    file.attrs["layer_names"] = ["dense"]


def without_variables(file: h5py.File) -> None:
    file["dense/kernel"] = np.ones((2, 2))


def nothing(file: h5py.File) -> None:
    file.create_group("layers")


def linked(file: h5py.File) -> None:
    file.create_group("layers/dense/vars")["0"] = h5py.ExternalLink("/etc/hostname", "/")


def soft_linked(file: h5py.File) -> None:
    file["layers/dense"] = h5py.SoftLink("/layers")


def in_a_circle(file: h5py.File) -> None:
    file.create_group("layers/a")
    file["layers/a/a"] = file["layers/a"]


def elsewhere(file: h5py.File) -> None:
    file.create_group("layers/dense/vars").create_dataset("0", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def of_texts(file: h5py.File) -> None:
    file["layers/dense/vars/0"] = "text"


def huge(file: h5py.File) -> None:
    file.create_group("layers/dense/vars").create_dataset("0", (2**40,), "f4", chunks=(1024,))


def a_group_for_an_array(file: h5py.File) -> None:
    file.create_group("layers/dense/vars/0")


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (of_keras_2, "it is of Keras 2; load the model with Keras 3 and save its weights again"),
        (without_variables, "/dense/kernel is an array outside of the variables of a layer"),
        (nothing, "it has no variables of layers"),
        (linked, "/layers/dense/vars/0 is a link to elsewhere"),
        (soft_linked, "/layers/dense is a link to elsewhere"),
        (in_a_circle, "its groups are nested more than 50 deep"),
        (elsewhere, "/layers/dense/vars/0 lies in another file"),
        (of_texts, "/layers/dense/vars/0 is not an array of numbers"),
        (huge, r"it has \d+ bytes that expand to more than 100 times as many"),
        (a_group_for_an_array, "/layers/dense/vars/0 is not an array of numbers"),
    ],
)
def test_files_of_other_programs_raise(tmp_path: Path, fill: Any, message: str) -> None:
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        fill(file)
    with pytest.raises(
        ValueError, match=f"x.weights.h5 is damaged or not a file of weights that Keras 3 wrote: {message}"
    ):
        fn.params_from_keras(DENSE, tmp_path / "x.weights.h5")


def test_damaged_bytes_raise_or_are_numbers(tmp_path: Path) -> None:
    path, draw = tmp_path / "x.weights.h5", np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        for number, (inputs, outputs) in enumerate([(4, 3), (3, 2)]):
            file[f"layers/dense{'_1' * number}/vars/0"] = np.ones((inputs, outputs))
            file[f"layers/dense{'_1' * number}/vars/1"] = np.ones(outputs)
    content = path.read_bytes()
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(draw.integers(1, 4)):
            changed[draw.integers(len(changed))] = draw.integers(256)
        path.write_bytes(changed)
        try:
            params = fn.params_from_keras(DENSE, path)
        except ValueError as error:
            assert "x.weights.h5" in str(error)  # noqa: PT017, reading may also succeed
        else:
            assert fn.tree.count(params) == 23


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bfloat16_becomes_float32_of_the_same_value(tmp_path: Path, suffix: str) -> None:
    theirs = randomized(keras.Sequential([k.Input((3,)), k.Dense(2, dtype="bfloat16")]))
    wanted = [keras.ops.convert_to_numpy(variable) for variable in theirs.weights]
    assert wanted[0].dtype.name == "bfloat16"
    params = fn.params_from_keras(fn.dense(2), saved(theirs, tmp_path, suffix))
    assert params["w"].dtype == np.float32
    np.testing.assert_array_equal(params["w"], wanted[0].astype(np.float32))
    # And a state_dict may hold such arrays.
    params = fn.params_from_torch(fn.dense(2), {"weight": wanted[0].T, "bias": wanted[1]})
    np.testing.assert_array_equal(params["w"], wanted[0].astype(np.float32))


def test_a_missing_package_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match=r'reading Keras files needs h5py: pip install "funcnn\[keras\]"'):
        fn.params_from_keras(DENSE, path)
