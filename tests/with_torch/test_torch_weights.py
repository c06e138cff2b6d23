"""Weights go from PyTorch to funcnn and back: the same outputs, for whole networks and for every kind of layer."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import funcnn as fn

LIMIT = 1e-5
DRAW = np.random.default_rng(0)
IMAGES = DRAW.standard_normal((2, 8, 8, 3)).astype(np.float32)
SERIES = DRAW.standard_normal((2, 5, 3)).astype(np.float32)
ROWS = DRAW.standard_normal((4, 7)).astype(np.float32)
TOKENS = DRAW.integers(0, 11, (2, 5))


def randomized(module: nn.Module, seed: int = 0) -> nn.Module:
    """A module whose every float, statistics included, is random, and that predicts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.dtype.is_floating_point:
                drawn = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.copy_(drawn + 0.5 if name.endswith("var") else drawn * 0.6 - 0.3)
    return module.eval()


def first(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def last(y: Any) -> np.ndarray:
    return np.moveaxis(y.numpy(), 1, -1)


def as_they_are(y: Any) -> Any:
    return (y[0] if isinstance(y, tuple) else y).numpy()


def both_ways(
    model: fn.Layer,
    make: Callable[[], nn.Module],
    x: np.ndarray,
    shape: Any = None,
    names: Mapping[str, str] = {},
    before: Callable[[np.ndarray], Any] = torch.from_numpy,
    after: Callable[[Any], np.ndarray] = as_they_are,
) -> None:
    """From PyTorch as tensors and as arrays, and back into another module that had other weights."""
    module, other = randomized(make()), randomized(make(), seed=1)
    arrays = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    with torch.no_grad():
        wanted, before_loading = after(module(before(x))), after(other(before(x)))
    assert np.abs(wanted - before_loading).max() > 0.01
    for weights in (module.state_dict(), arrays):
        params = fn.params_from_torch(model, weights, names, shape)
        assert np.abs(fn.predict(model, params, x) - wanted).max() < LIMIT
    other.load_state_dict(fn.params_to_torch(model, params, other.state_dict(), names, shape))
    with torch.no_grad():
        assert np.abs(after(other(before(x))) - wanted).max() < LIMIT
    found = fn.torch_names(model, arrays, names, shape)
    again = fn.params_from_torch(model, arrays, found, shape)
    assert all(map(np.array_equal, fn.tree.leaves(again), fn.tree.leaves(params)))


# Whole networks


class BasicBlock(nn.Module):
    """As in torchvision."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = None
        if stride != 1 or inputs != filters:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """As in torchvision, with half of its stages and few filters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 8, 1))
        self.layer2 = nn.Sequential(BasicBlock(8, 16, 2), BasicBlock(16, 16, 1))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


def pixels(count: int) -> Any:
    return ((count, count), (count, count))


def block(filters: int, stride: int = 1, shortcut: bool = False) -> fn.Layer:
    body = fn.serial(
        fn.conv2d(filters, 3, stride, pixels(1), bias=False), fn.batch_norm(), fn.relu,
        fn.conv2d(filters, 3, 1, pixels(1), bias=False), fn.batch_norm(),
    )  # fmt: skip
    if not shortcut:
        return fn.serial(fn.residual(body), fn.relu)
    return fn.serial(fn.add(body, fn.serial(fn.conv2d(filters, 1, stride, bias=False), fn.batch_norm())), fn.relu)


RESNET = fn.serial(
    fn.conv2d(8, 7, 2, pixels(3), bias=False), fn.batch_norm(), fn.relu, fn.max_pool2d(3, 2, pixels(1)),
    fn.serial(block(8), block(8)), fn.serial(block(16, 2, shortcut=True), block(16)), fn.global_avg_pool2d, fn.dense(5),
)  # fmt: skip
PHOTOS = DRAW.standard_normal((2, 33, 31, 3)).astype(np.float32)


def test_a_residual_network_agrees() -> None:
    both_ways(RESNET, ResNet, PHOTOS, before=first)
    both_ways(RESNET, ResNet, PHOTOS, (33, 31, 3), before=first)


def test_the_names_of_a_residual_network_are_those_of_torchvision() -> None:
    found = fn.torch_names(RESNET, ResNet().state_dict())
    assert [*found.values()] == [
        "conv1", "bn1",
        *(f"layer1.{n}.{name}" for n in (0, 1) for name in ("conv1", "bn1", "conv2", "bn2")),
        *(f"layer2.0.{name}" for name in ("conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1")),
        *(f"layer2.1.{name}" for name in ("conv1", "bn1", "conv2", "bn2")),
        "fc",
    ]  # fmt: skip
    assert found["serial_1/serial_0/add_0/serial_1/conv2d_0"] == "layer2.0.downsample.0"


class Tagger(nn.Module):
    """An LSTM of two layers in both directions over embedded tokens."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.rnn = kind(6, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(x))[0])


@pytest.mark.parametrize(("ours", "theirs"), [(fn.lstm, nn.LSTM), (fn.gru, nn.GRU), (fn.rnn, nn.RNN)])
def test_an_lstm_agrees(ours: Callable[[int], fn.Layer], theirs: type[nn.RNNBase]) -> None:
    model = fn.serial(
        fn.embedding(11, 6), fn.bidirectional(ours(4)), fn.bidirectional(ours(4)), fn.dense(3)
    )  # fmt: skip
    both_ways(model, lambda: Tagger(theirs), TOKENS)
    both_ways(model, lambda: Tagger(theirs), TOKENS, fn.spec((5,), int))


class Encoder(nn.Module):
    """A transformer encoder over embedded tokens with learned positions."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.places = nn.Embedding(5, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(x) + self.places(torch.arange(5))))


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_transformer_encoder_agrees(norm_first: bool) -> None:
    layers = [fn.transformer_encoder_layer(8, 2, 16, norm_first=norm_first) for _ in range(2)]
    model = fn.serial(fn.embedding(11, 8), fn.positions(length=5), *layers, fn.layer_norm(), fn.dense(3))
    both_ways(model, lambda: Encoder(norm_first), TOKENS)
    names = fn.torch_names(model, Encoder(norm_first).state_dict())
    assert names["transformer_encoder_layer_1/feed_forward/layer_norm_0"] == "encoder.layers.1.norm2"
    assert names["transformer_encoder_layer_1/attention/heads"] == "encoder.layers.1.self_attn"


def test_a_transformer_decoder_layer_agrees() -> None:
    model = fn.transformer_decoder_layer(8, 2, 16, norm_first=False, causal=False)
    module = randomized(nn.TransformerDecoderLayer(8, 2, 16, dropout=0, batch_first=True))
    x, context = (DRAW.standard_normal((2, n, 8)).astype(np.float32) for n in (3, 5))
    params = fn.params_from_torch(model, module.state_dict())
    with torch.no_grad():
        wanted = module(torch.from_numpy(x), torch.from_numpy(context)).numpy()
    found = fn.predict(model, params, {"x": x, "context": context})
    assert np.abs(found["x"] - wanted).max() < LIMIT
    back = fn.params_to_torch(model, params, module.state_dict())
    assert all(torch.equal(back[key], tensor) for key, tensor in module.state_dict().items())


# Layers


IMAGE_CASES: dict[str, tuple[fn.Layer, Callable[[], nn.Module]]] = {
    "groups and transposed": (
        fn.serial(
            fn.conv2d(6, (3, 2), groups=3), fn.depthwise_conv2d(3, 2),
            fn.conv_transpose2d(4, (2, 3), groups=2, stride=2), fn.group_norm(2), fn.instance_norm(affine=True),
            fn.separable_conv2d(3, 2),
        ),
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, (3, 2), groups=3), nn.Conv2d(6, 12, 3, groups=6),
            nn.ConvTranspose2d(12, 4, (2, 3), groups=2, stride=2), nn.GroupNorm(2, 4),
            nn.InstanceNorm2d(4, affine=True),
            nn.Conv2d(4, 4, 2, groups=4, bias=False), nn.Conv2d(4, 3, 1),
        ),
    ),
    "batch norm without affine, slopes": (
        fn.serial(fn.conv2d(4, 3), fn.batch_norm(), fn.prelu(), fn.conv2d(5, 1), fn.prelu(shared=False)),
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.PReLU(), nn.Conv2d(4, 5, 1), nn.PReLU(5)
        ),
    ),
    "weight norm": (
        fn.serial(fn.weight_norm(fn.conv2d(4, 3)), fn.weight_norm(fn.conv_transpose2d(5, 3, bias=False))),
        lambda: nn.Sequential(
            parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
            parametrizations.weight_norm(nn.ConvTranspose2d(4, 5, 3, bias=False)),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_layers_of_images_agree(name: str) -> None:
    model, make = IMAGE_CASES[name]
    both_ways(model, make, IMAGES, before=first, after=last)
    both_ways(model, make, IMAGES, (8, 8, 3), before=first, after=last)


def test_the_older_weight_norm_agrees() -> None:
    def make() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return nn.Sequential(nn.utils.weight_norm(nn.Linear(7, 4)), nn.Linear(4, 2))

    both_ways(fn.serial(fn.weight_norm(fn.dense(4)), fn.dense(2)), make, ROWS)


def test_volumes_and_series_agree() -> None:
    volumes = DRAW.standard_normal((2, 4, 5, 6, 2)).astype(np.float32)
    model = fn.serial(fn.conv3d(3, (2, 3, 4)), fn.conv_transpose3d(2, (1, 2, 3)))
    both_ways(
        model, lambda: nn.Sequential(nn.Conv3d(2, 3, (2, 3, 4)), nn.ConvTranspose3d(3, 2, (1, 2, 3))), volumes,
        before=first, after=last,
    )  # fmt: skip
    model = fn.serial(fn.conv1d(4, 2), fn.conv_transpose1d(3, 2))
    make: Any = lambda: nn.Sequential(nn.Conv1d(3, 4, 2), nn.ConvTranspose1d(4, 3, 2))  # noqa: E731
    both_ways(model, make, SERIES, before=first, after=last)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"num_layers": 3}])
@pytest.mark.parametrize(("ours", "theirs"), [(fn.lstm, nn.LSTM), (fn.gru, nn.GRU), (fn.rnn, nn.RNN)])
def test_recurrent_layers_agree(ours: Any, theirs: Any, options: dict[str, Any]) -> None:
    own = {{"num_layers": "layers"}.get(name, name): value for name, value in options.items()}
    both_ways(ours(4, **own), lambda: theirs(3, 4, batch_first=True, **options), SERIES)
    both_ways(ours(4, **own), lambda: theirs(3, 4, batch_first=True, **options), SERIES, (5, 3))


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_projected_lstm_agrees() -> None:
    both_ways(fn.lstm(4, projection=2), lambda: nn.LSTM(3, 4, proj_size=2, batch_first=True), SERIES)


def test_cells_agree() -> None:
    cell = randomized(nn.GRUCell(3, 4))
    model = fn.gru(4)
    with torch.no_grad():
        state, wanted = torch.zeros(2, 4), []
        for t in range(5):
            state = cell(torch.from_numpy(SERIES[:, t]), state)
            wanted.append(state.numpy())
    params = fn.params_from_torch(model, cell.state_dict())
    assert np.abs(fn.predict(model, params, SERIES) - np.stack(wanted, 1)).max() < LIMIT
    assert fn.params_to_torch(model, params, cell.state_dict()).keys() == cell.state_dict().keys()


class Crossed(nn.Module):
    """Attention to a context of other features."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=3, vdim=3, batch_first=True, bias=bias)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return self.attention(x, context, context)[0]


@pytest.mark.parametrize("bias", [False, True])
def test_attention_to_a_context_of_other_features_agrees(bias: bool) -> None:
    module, model = randomized(Crossed(bias)), fn.multi_head_attention(2, bias=bias)
    x = DRAW.standard_normal((2, 4, 8)).astype(np.float32)
    for shape in (None, {"x": (4, 8), "context": (5, 3)}):
        params = fn.params_from_torch(model, module.state_dict(), {}, shape)
        with torch.no_grad():
            wanted = module(torch.from_numpy(x), torch.from_numpy(SERIES)).numpy()
        assert np.abs(fn.predict(model, params, {"x": x, "context": SERIES})["x"] - wanted).max() < LIMIT
    back = fn.params_to_torch(model, params, module.state_dict())
    assert all(torch.equal(back[key], tensor) for key, tensor in module.state_dict().items())


class Separate(nn.Module):
    """Attention as many write it: four dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (layer(x).unflatten(2, (2, 4)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def test_single_parameters_may_be_named() -> None:
    names = {
        f"multi_head_attention_0/{ours}_{leaf[0]}": f"{theirs}.{leaf}"
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "out"))
        for leaf in ("weight", "bias")
    }
    x = DRAW.standard_normal((2, 5, 8)).astype(np.float32)
    both_ways(fn.serial(fn.multi_head_attention(2)), Separate, x, names=names)


class Pairs(nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Bilinear(3, 4, 2)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.both(a, b)


def test_bilinear_and_bags_agree() -> None:
    module = randomized(Pairs())
    a, b = SERIES[:, 0], ROWS[:2, :4]
    with torch.no_grad():
        wanted = module(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    params = fn.params_from_torch(fn.bilinear(2), module.state_dict())
    assert np.abs(fn.predict(fn.bilinear(2), params, {"a": a, "b": b}) - wanted).max() < LIMIT
    both_ways(fn.embedding_bag(11, 3), lambda: nn.EmbeddingBag(11, 3), TOKENS)


# The order of features


def test_dense_layers_behind_flatten_agree() -> None:
    model = fn.serial(
        fn.conv2d(4, 3), fn.relu, fn.max_pool2d((2, 3)), fn.flatten, fn.batch_norm(), fn.relu, fn.dropout(0.5),
        fn.weight_norm(fn.dense(5)), fn.layer_norm(), fn.dense(2),
    )  # fmt: skip
    both_ways(
        model,
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d((2, 3)), nn.Flatten(), nn.BatchNorm1d(24), nn.ReLU(),
            nn.Dropout(0.5), parametrizations.weight_norm(nn.Linear(24, 5)), nn.LayerNorm(5), nn.Linear(5, 2),
        ),
        IMAGES, (8, 8, 3), before=first,
    )  # fmt: skip


def test_images_that_are_flattened_at_once_agree() -> None:
    model = fn.serial(fn.flatten, fn.dense(3))
    both_ways(model, lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), IMAGES, (8, 8, 3), before=first)
    # a picture without channels is the same array in both
    both_ways(model, lambda: nn.Sequential(nn.Flatten(), nn.Linear(15, 3)), SERIES, (5, 3))


def test_series_are_flattened_as_their_layers_have_them() -> None:
    model = fn.serial(fn.conv1d(4, 2), fn.relu, fn.flatten, fn.dense(3))
    make: Any = lambda: nn.Sequential(nn.Conv1d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))  # noqa: E731
    both_ways(model, make, SERIES, (5, 3), before=first)

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(20, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x)[0].flatten(1))

    both_ways(fn.serial(fn.gru(4), fn.flatten, fn.dense(3)), Read, SERIES, (5, 3))


def test_dense_layers_in_front_of_an_image_agree() -> None:
    model = fn.serial(
        fn.dense(5), fn.relu, fn.dense(4 * 3 * 6), fn.batch_norm(), fn.relu, fn.reshape(4, 3, 6),
        fn.conv_transpose2d(3, 3, stride=2),
    )  # fmt: skip
    both_ways(
        model,
        lambda: nn.Sequential(
            nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 72), nn.BatchNorm1d(72), nn.ReLU(), nn.Unflatten(1, (6, 4, 3)),
            nn.ConvTranspose2d(6, 3, 3, stride=2),
        ),
        ROWS, (7,), after=last,
    )  # fmt: skip


def test_norms_over_whole_images_agree() -> None:
    make: Any = lambda: nn.Sequential(nn.Conv2d(3, 4, (3, 2)), nn.LayerNorm((4, 6, 7)))  # noqa: E731
    model = fn.serial(fn.conv2d(4, (3, 2)), fn.layer_norm(axes=3))
    both_ways(model, make, IMAGES, (8, 8, 3), before=first, after=last)


class Joined(nn.Module):
    """Features of an image beside those of a table, and two rows added."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table, self.head = nn.Conv2d(3, 2, 3), nn.Linear(7, 4), nn.Linear(76, 3)
        self.more = nn.Linear(76, 76)

    def forward(self, image: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        row = torch.cat([self.conv(image).flatten(1), self.table(table)], 1)
        return self.head(row + self.more(row))


def test_rows_that_are_concatenated_and_added_agree() -> None:
    module = randomized(Joined())
    model = fn.serial(
        fn.parallel(image=fn.serial(fn.conv2d(2, 3), fn.flatten), table=fn.dense(4)), fn.merge("concat"),
        fn.residual(fn.dense(76)), fn.dense(3),
    )  # fmt: skip
    x = {"image": IMAGES, "table": ROWS[:2]}
    names = {"residual_0": "more", "dense_0": "head"}
    with torch.no_grad():
        wanted = module(first(IMAGES), torch.from_numpy(ROWS[:2])).numpy()
    params = fn.params_from_torch(model, module.state_dict(), names, fn.specs(x))
    assert np.abs(fn.predict(model, params, x) - wanted).max() < LIMIT
    back = fn.params_to_torch(model, params, module.state_dict(), names, fn.specs(x))
    assert all(torch.equal(back[key], tensor) for key, tensor in module.state_dict().items())


# Types


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        (torch.float64, np.float64),
        (torch.float32, np.float32),
        (torch.float16, np.float32),
        (torch.bfloat16, np.float32),
        (torch.float8_e5m2, np.float32),
    ],
)
def test_types_of_tensors(dtype: torch.dtype, wanted: type) -> None:
    module = nn.Linear(3, 2).to(dtype)
    params = fn.params_from_torch(fn.dense(2), module.state_dict())
    assert {leaf.dtype for leaf in fn.tree.leaves(params)} == {np.dtype(wanted)}
    assert np.array_equal(params["w"], module.weight.detach().to(torch.float64).numpy().T)
    back = fn.params_to_torch(fn.dense(2), params, module.state_dict())
    assert {tensor.dtype for tensor in back.values()} == {dtype}
    assert torch.equal(back["weight"], module.weight)


def test_parameters_share_no_memory_with_the_module() -> None:
    module = nn.Linear(3, 2)
    params = fn.params_from_torch(fn.dense(2), module.state_dict())
    back = fn.params_to_torch(fn.dense(2), params, module.state_dict())
    kept = params["b"].copy()
    with torch.no_grad():
        module.bias.add_(1)
        back["bias"].add_(1)
    assert np.array_equal(params["b"], kept)
    assert not np.array_equal(module.bias.detach().numpy(), kept)


def test_the_number_of_batches_is_kept() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2))
    module(torch.ones(3, 2))
    model = fn.serial(fn.batch_norm())
    params = fn.params_from_torch(model, module.state_dict())
    assert int(fn.params_to_torch(model, params, module.state_dict())["0.num_batches_tracked"]) == 1
    assert fn.params_to_torch(model, params)["batch_norm_0.num_batches_tracked"].item() == 0


def test_tied_layers_are_equal_in_both() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(11, 4), nn.Linear(4, 11, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(x))

    model = fn.tied(
        fn.serial(fn.embedding(11, 4), fn.dense(11, bias=False)), {"dense_0/w": "embedding_0/w"}, transpose=True
    )  # fmt: skip
    both_ways(model, Language, TOKENS)
    untied = {key: tensor + (key == "head.weight") for key, tensor in Language().state_dict().items()}
    with pytest.raises(ValueError, match=r"ties \{'dense_0/w': 'embedding_0/w'\}, and in the state_dict dense_0/w has"):
        fn.params_from_torch(model, untied)
