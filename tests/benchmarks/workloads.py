"""The workloads as data: networks that belong to no library, so that each side builds exactly the same one.

A row of the benchmark is a network, a batch and a task: a training step, a prediction, or the optimizer's update alone.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

CLASSES = 10
BATCHES = 8
"""The number of different batches in memory; the steps take them in turn."""


@dataclass(frozen=True)
class Conv:
    """A convolution of images, or with ``rank`` 1 of series.

    With ``norm`` it has no bias, and batch norm stands before the activation.
    """

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    norm: bool = False
    activation: str | None = "relu"
    rank: int = 2


@dataclass(frozen=True)
class ConvTranspose:
    """A transposed convolution with stride ``size``: each pixel becomes a square of that size."""

    filters: int
    size: int = 2


@dataclass(frozen=True)
class GroupNorm:
    """Group norm, with its activation."""

    groups: int
    activation: str | None = "relu"


@dataclass(frozen=True)
class Skip:
    """The input and what the body makes of it, side by side along the channels."""

    body: "tuple[Part, ...]"


@dataclass(frozen=True)
class Block:
    """A residual block, relu(body(x) + shortcut(x)); an empty shortcut is the identity."""

    body: tuple[Conv, ...]
    shortcut: tuple[Conv, ...] = ()


@dataclass(frozen=True)
class MaxPool:
    """The largest of each square; the squares do not overlap."""

    size: int = 2


@dataclass(frozen=True)
class GlobalAveragePool:
    """The mean over all pixels of an image, or with ``rank`` 1 of a series."""

    rank: int = 2


@dataclass(frozen=True)
class Flatten:
    """An image as one row of elements."""


@dataclass(frozen=True)
class Dropout:
    """Zeros at random, in training."""

    rate: float


@dataclass(frozen=True)
class Dense:
    """A linear layer with a bias; with ``norm`` batch norm stands before the activation."""

    units: int
    activation: str | None = None
    norm: bool = False


@dataclass(frozen=True)
class Embedding:
    """A row of learned numbers for each token; with ``length`` a learned row for each place is added."""

    count: int
    units: int
    length: int | None = None


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer that returns all its outputs."""

    units: int
    kind: Literal["lstm", "gru"]


@dataclass(frozen=True)
class TransformerBlock:
    """Causal self-attention and a feed-forward network, each behind a layer norm and around a skip connection."""

    units: int
    heads: int
    hidden: int
    activation: Literal["relu", "gelu"] = "gelu"


@dataclass(frozen=True)
class LayerNorm:
    """Layer norm over the last axis."""


Part: TypeAlias = (
    Conv | ConvTranspose | GroupNorm | Skip | Block | MaxPool | GlobalAveragePool | Flatten | Dropout | Dense
    | Embedding | Recurrent | TransformerBlock | LayerNorm
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A network and how it is trained.

    Args:
        shape: of one example; of an image, it is height, width, channels.
        parts: from the input to the output.
        loss: the name of the loss; the mean squared error compares with one-hot labels.
        optimizer: the name of the optimizer.
        is_autoencoder: whether the target is the input itself.
        is_segmenter: whether each pixel has a label, in place of each image.
        tokens: how many different tokens there are, if it reads tokens and predicts the next one at each place.
    """

    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    loss: Literal["softmax_cross_entropy", "mean_squared_error"] = "softmax_cross_entropy"
    optimizer: Literal["sgd", "momentum", "adam"] = "adam"
    is_autoencoder: bool = False
    is_segmenter: bool = False
    tokens: int | None = None

    @property
    def is_convolutional(self) -> bool:
        """Whether there are images between the layers, which PyTorch can lay out in two ways."""
        return any(isinstance(part, Conv) for part in self.parts)


@dataclass(frozen=True)
class Workload:
    """A row of the benchmark.

    Args:
        name: of the row.
        task: what a step does.
        network: None for an update.
        batch: the number of examples in a step.
        threads: how many threads every side may use; None for all cores.
    """

    name: str
    task: Literal["train", "predict", "update"]
    network: Network | None = None
    batch: int = 0
    threads: int | None = None

    @property
    def is_convolutional(self) -> bool:
        """Whether its network is."""
        return self.network is not None and self.network.is_convolutional


def residual_block(filters: int, stride: int = 1, projection: bool = False) -> Block:
    """Two 3 x 3 convolutions with batch norm; the shortcut is a 1 x 1 convolution where the shape changes."""
    body = Conv(filters, stride=stride, padding=1, norm=True), Conv(filters, padding=1, norm=True, activation=None)
    shortcut = Conv(filters, kernel=1, stride=stride, norm=True, activation=None)
    return Block(body, (shortcut,) if projection else ())


def unet_level(filters: int, *inside: Part) -> tuple[Part, ...]:
    """Two 3 x 3 convolutions with group norm, and what stands between them."""
    conv = Conv(filters, padding=1, activation=None), GroupNorm(8)
    return *conv, *inside, *conv


MNIST, CIFAR = (28, 28, 1), (32, 32, 3)
NORMED_16, NORMED_32, NORMED_64 = (Conv(n, padding=1, norm=True) for n in (16, 32, 64))
NORMED_DENSE = Dense(128, "leaky_relu", norm=True)
NETWORKS = {
    "tiny": Network((196,), (NORMED_DENSE, NORMED_DENSE, Dense(CLASSES)), optimizer="sgd"),
    "mlp": Network((784,), (Dense(256, "relu"), Dense(128, "relu"), Dense(CLASSES))),
    "q_viper": Network(
        MNIST, (Conv(4), Conv(8), MaxPool(), Flatten(), Dense(64, "relu"), Dropout(0.1), Dense(CLASSES))
    ),
    "scratch_2023": Network(
        MNIST,
        (
            Conv(4, kernel=5, activation=None), Flatten(),
            Dense(256, "relu"), Dense(128, "relu"), Dense(32, "relu"), Dense(CLASSES, "sigmoid"),
        ),
        loss="mean_squared_error",
        optimizer="sgd",
    ),
    "lenet": Network(MNIST, (Conv(8), MaxPool(), Conv(16), MaxPool(), Flatten(), Dense(CLASSES))),
    "keras_mnist": Network(
        MNIST, (Conv(32), MaxPool(), Conv(64), MaxPool(), Flatten(), Dropout(0.5), Dense(CLASSES))
    ),
    "cifar_bn": Network(
        CIFAR,
        (
            NORMED_32, NORMED_32, MaxPool(), NORMED_64, NORMED_64, MaxPool(),
            Flatten(), Dense(128, "relu"), Dense(CLASSES),
        ),
        optimizer="momentum",
    ),
    "resnet8": Network(
        CIFAR,
        (
            NORMED_16, residual_block(16), residual_block(32, 2, projection=True),
            residual_block(64, 2, projection=True), GlobalAveragePool(), Dense(CLASSES),
        ),
        optimizer="momentum",
    ),
}  # fmt: skip
OTHER_NETWORKS = {
    "strided": Network(
        CIFAR,
        (
            Conv(32, stride=2, padding=1), Conv(32, padding=1, groups=32), Conv(64, kernel=1),
            Conv(64, padding=2, dilation=2), GlobalAveragePool(), Dense(CLASSES),
        ),
        optimizer="momentum",
    ),
    "grouped": Network(
        CIFAR,
        (
            Conv(32, stride=2, padding=1), Conv(64, stride=2, padding=1, groups=4), Conv(64, padding=1, groups=8),
            Conv(128, stride=2, padding=1, groups=2), GlobalAveragePool(), Dense(CLASSES),
        ),
        optimizer="momentum",
    ),
    "wide": Network(
        (32, 32, 1), (Flatten(), Dense(2048, "relu"), Dense(2048, "relu"), Dense(CLASSES)), optimizer="momentum"
    ),
    "deep": Network((64,), (*(Dense(64, "relu"),) * 20, Dense(CLASSES))),
    "autoencoder": Network(
        (784,), (Dense(128, "relu"), Dense(32, "relu"), Dense(128, "relu"), Dense(784, "sigmoid")),
        loss="mean_squared_error", is_autoencoder=True,
    ),
    "conv1d": Network(
        (256, 64), (*(Conv(64, kernel=5, padding=2, rank=1),) * 3, GlobalAveragePool(rank=1), Dense(CLASSES))
    ),
    "unet": Network(
        CIFAR,
        (
            *unet_level(16, Skip((
                MaxPool(), *unet_level(32, Skip((
                    MaxPool(), *unet_level(64), ConvTranspose(32),
                ))), ConvTranspose(16),
            ))),
            Conv(CLASSES, kernel=1, activation=None),
        ),
        is_segmenter=True,
    ),
}  # fmt: skip
"""Networks of other kinds, which the library was not tuned for."""
SYMBOLS = 65
"""The different characters of Shakespeare's works."""
SEQUENCE_NETWORKS = {
    "char_lstm": Network((64,), (Embedding(SYMBOLS, 64), Recurrent(128, "lstm"), Dense(SYMBOLS)), tokens=SYMBOLS),
    "gru": Network((64,), (Embedding(SYMBOLS, 64), Recurrent(128, "gru"), Dense(SYMBOLS)), tokens=SYMBOLS),
    "transformer": Network(
        (128,),
        (Embedding(SYMBOLS, 128, length=128), *(TransformerBlock(128, 4, 512),) * 2, LayerNorm(), Dense(SYMBOLS)),
        tokens=SYMBOLS,
    ),
}
"""Language models."""

TRAINING_BATCHES = {
    "tiny": 10, "mlp": 128, "q_viper": 32, "scratch_2023": 16, "lenet": 64, "keras_mnist": 128, "cifar_bn": 64,
    "resnet8": 64, "strided": 64, "grouped": 64, "wide": 64, "deep": 64, "autoencoder": 128,
    "conv1d": 32, "unet": 16, "char_lstm": 32, "gru": 32, "transformer": 16,
}  # fmt: skip
THREADS = {"tiny": 1}
"""A batch of ten small rows gains nothing from a second thread."""


def training(name: str) -> Workload:
    """The row that trains a network."""
    network = (NETWORKS | OTHER_NETWORKS | SEQUENCE_NETWORKS)[name]
    return Workload(name, "train", network, TRAINING_BATCHES[name], THREADS.get(name))


def prediction(batch: int, name: str) -> Workload:
    """The row that predicts a batch."""
    return Workload(f"predict_{batch}_{name}", "predict", NETWORKS[name], batch)


MAIN_ROWS = (
    *(training(name) for name in NETWORKS),
    *(prediction(batch, name) for batch in (1, 256) for name in ("mlp", "keras_mnist", "cifar_bn")),
    *(training(name) for name in SEQUENCE_NETWORKS),
    Workload("adam", "update"),
)
OTHER_ROWS = (*(training(name) for name in OTHER_NETWORKS), prediction(1, "resnet8"))
WORKLOADS = {workload.name: workload for workload in (*MAIN_ROWS, *OTHER_ROWS)}


def inputs(workload: Workload) -> tuple[Any, Any]:
    """The input of the steps: examples and targets, or for an update the parameters and their gradients."""
    if workload.network is None:
        return tensors(seed=0), tensors(seed=1)
    rng = np.random.default_rng(0)
    n = BATCHES * workload.batch
    if workload.network.tokens is not None:
        text = rng.integers(0, workload.network.tokens, (n, workload.network.shape[0] + 1))
        return text[:, :-1].copy(), text[:, 1:].copy()
    x = rng.standard_normal((n, *workload.network.shape), np.float32)
    labels = rng.integers(0, CLASSES, (n, *workload.network.shape[:2]) if workload.network.is_segmenter else n)
    if workload.network.is_autoencoder:
        return x, x
    if workload.network.loss == "mean_squared_error":
        return x, np.eye(CLASSES, dtype=np.float32)[labels]
    return x, labels


def tensors(seed: int) -> dict[str, dict[str, Any]]:
    """Ten million elements in 160 arrays: 80 times the weights and biases of a layer."""
    rng = np.random.default_rng(seed)
    return {
        f"layer_{i}": {
            "w": rng.standard_normal((350, 350), np.float32),
            "b": rng.standard_normal(2500, np.float32),
        }
        for i in range(80)
    }


def batch_of(workload: Workload, step: int) -> slice:
    """The examples of a step: a view, not a copy."""
    start = step % BATCHES * workload.batch
    return slice(start, start + workload.batch)


def without_dropout(network: Network) -> Network:
    """The network without randomness, so that two libraries compute the same gradients."""
    return replace(network, parts=tuple(part for part in network.parts if not isinstance(part, Dropout)))
