"""PyTorch's sides, each with its best settings: all cores, fused or foreach updates, inference mode to predict.

To predict, batch norm is folded into the convolutions before the timing, as on our side: with ``fuse_conv_bn_eval``,
so that the settings that are not compiled have folded weights too. The weights are ours, in PyTorch's order of axes, so
that both sides compute the same.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval, fuse_linear_bn_eval

from tests.benchmarks.accuracy import BATCH, Examples, learned, scaled
from tests.benchmarks.sides import Setting
from tests.benchmarks.worker import Commands, Step, cores, peak_memory, timed
from tests.benchmarks.workloads import (
    Block,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    GroupNorm,
    LayerNorm,
    MaxPool,
    Network,
    Part,
    Recurrent,
    Skip,
    TransformerBlock,
    Workload,
    batch_of,
    inputs,
)

Objective: TypeAlias = Callable[[torch.Tensor, torch.Tensor], Any]
Trainer: TypeAlias = Callable[[torch.Tensor, torch.Tensor, int], None]

LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "softmax_cross_entropy": functional.cross_entropy,
    "mean_squared_error": functional.mse_loss,
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda tensors, **how: torch.optim.SGD(tensors, lr=0.01, **how),
    "momentum": lambda tensors, **how: torch.optim.SGD(tensors, lr=0.01, momentum=0.9, **how),
    "adam": lambda tensors, **how: torch.optim.Adam(tensors, lr=1e-3, **how),
}
UPDATES: tuple[dict[str, bool], ...] = ({"fused": True}, {"foreach": True})
"""The two fast ways of PyTorch's optimizers: the worker times both and keeps the faster."""


class Residual(nn.Module):
    """relu(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.shortcut(x), inplace=True)


class Beside(nn.Module):
    """The input and body(x), side by side along the channels."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.body(x)], 1)


class Embedded(nn.Module):
    """A row for each token, and perhaps one for each place."""

    def __init__(self, weights: Any, places: Any) -> None:
        super().__init__()
        self.rows = loaded(nn.Embedding(*weights["w"].shape), weight=weights["w"])
        self.places = None if places is None else nn.Parameter(torch.from_numpy(places["w"].copy()))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.rows(tokens)
        return found if self.places is None else found + self.places


class Outputs(nn.Module):
    """All outputs of a recurrent layer, without its final state.

    Our layers have one bias where PyTorch adds two. For LSTM the second one is 0 and not learned; that of GRU is, since
    its part behind the reset gate is ours too.
    """

    def __init__(self, kind: str, weights: Any) -> None:
        super().__init__()
        inputs, units = weights["w"].shape[0], weights["w_h"].shape[0]
        self.layer: Any = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](inputs, units, batch_first=True)
        inner = np.zeros_like(weights["b"])
        if kind == "gru":
            # The biases of the other gates start as 0, and both have the same gradient.
            inner = np.concatenate([weights["b"][: 2 * units], weights["b_h"]])
        own = {"weight_ih_l0": weights["w"].T, "weight_hh_l0": weights["w_h"].T}
        loaded(self.layer, **own, bias_ih_l0=weights["b"], bias_hh_l0=inner)
        self.layer.bias_hh_l0.requires_grad_(kind == "gru")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x)[0]
        return y


class CausalBlock(nn.Module):
    """x + attention(norm(x)), then z + f(norm(z)), with one product for queries, keys and values.

    It takes less time than ``nn.TransformerEncoderLayer``, which computes the same.
    """

    def __init__(self, part: TransformerBlock, weights: Any) -> None:
        super().__init__()
        self.heads = part.heads
        own, f = weights["attention"]["heads"], weights["feed_forward"]["serial_0"]
        joined = {
            leaf: np.concatenate([own[f"{name}_{leaf}"] for name in ("query", "key", "value")], -1) for leaf in "wb"
        }
        self.norm1, self.norm2 = (layer_norm(weights[name]["layer_norm_0"]) for name in ("attention", "feed_forward"))
        self.qkv, self.out = linear(joined), linear({leaf: own[f"output_{leaf}"] for leaf in "wb"})
        self.f = nn.Sequential(linear(f["dense_0"]), *activation(part.activation), linear(f["dense_1"]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = functional.scaled_dot_product_attention(*parts.unbind(0), is_causal=True)
        x = x + self.out(read.transpose(1, 2).flatten(2))
        y: torch.Tensor = x + self.f(self.norm2(x))
        return y


def stepping(setting: Setting, workload: Workload, weights: Any) -> Commands:
    """The commands of a worker that times a workload."""
    torch.set_num_threads(workload.threads or cores())
    import_the_rest()
    x, target = inputs(workload)
    if workload.network is None:
        tensors = parameters(x, target)
        before = peak_memory(restart=True)
        return timed(updating(setting, tensors), None if setting.compiled else before, torch.get_num_threads())
    model = model_of(workload.network, weights, setting, predict=workload.task == "predict")
    images, labels = as_tensor(x, setting), torch.from_numpy(target)
    del x, target
    before = peak_memory(restart=True)
    if workload.task == "predict":
        steps = [predicting(setting, workload, model, images)]
    else:
        ways = trainers(workload.network, model, objective_of(setting, workload.network, model))
        steps = [batch_by_batch(workload, train, images, labels) for train in ways]
    # Compiling takes more memory than any step.
    return timed(steps, None if setting.compiled else before, torch.get_num_threads(), kept=weights)


def import_the_rest() -> None:
    """One update of one element: PyTorch imports 70 MB of its modules at the first update, which no step costs."""
    element = torch.ones(1, requires_grad=True)
    torch.autograd.backward(element)
    for how in UPDATES:
        OPTIMIZERS["adam"]([element], **how).step()


def learning(setting: Setting, network: Network, weights: Any, training: Examples, test: Examples) -> Commands:
    """The commands of a worker that learns a data set."""
    torch.set_num_threads(cores())
    model = model_of(network, weights, setting, predict=False)

    @torch.inference_mode()
    def predict(x: torch.Tensor) -> Any:
        model.eval()
        y = torch.cat([model(part) for part in torch.split(x, 256)])
        model.train()
        return y.numpy()

    x, labels = scaled(training)
    test_x, test_labels = scaled(test)
    examples = as_tensor(x, setting), torch.from_numpy(labels)
    objective = objective_of(setting, network, model)
    # Compiles before the clock runs; the gradients are thrown away.
    objective(examples[0][:BATCH], examples[1][:BATCH]).backward()
    train = trainers(network, model, objective)[0]
    return learned(train, predict, examples, (as_tensor(test_x, setting), test_labels))


def objective_of(setting: Setting, network: Network, model: nn.Module) -> Objective:
    """The loss of a batch."""
    loss_of = LOSSES[network.loss]
    if network.tokens is not None:  # PyTorch wants the classes on the second axis
        return compiled(lambda x, target: loss_of(model(x).flatten(0, 1), target.flatten()), setting)
    return compiled(lambda x, target: loss_of(model(x), target), setting)


def trainers(network: Network, model: nn.Module, objective: Objective) -> list[Trainer]:
    """A training step of a batch, with gradient and update, for each way to update."""

    def trainer(optimizer: torch.optim.Optimizer) -> Trainer:
        def train(x: torch.Tensor, target: torch.Tensor, i: int) -> None:
            optimizer.zero_grad(set_to_none=True)
            objective(x, target).backward()
            optimizer.step()

        return train

    return [trainer(OPTIMIZERS[network.optimizer](model.parameters(), **how)) for how in UPDATES]


def batch_by_batch(workload: Workload, train: Trainer, x: torch.Tensor, target: torch.Tensor) -> Step:
    """The step that trains on the batch of its number."""
    return lambda i: train(x[batch_of(workload, i)], target[batch_of(workload, i)], i)


def predicting(setting: Setting, workload: Workload, model: nn.Module, x: torch.Tensor) -> Step:
    """Prediction of one batch after the other."""
    if setting.compiled:
        # The compiler packs the weights once, before the timing.
        torch._inductor.config.freezing = True
    run = compiled(model, setting)

    @torch.inference_mode()
    def step(i: int) -> None:
        run(x[batch_of(workload, i)])

    return step


def parameters(params: Any, grads: Any) -> list[torch.Tensor]:
    """Tensors with their gradients set."""
    tensors = [torch.from_numpy(p).requires_grad_() for layer in params.values() for p in layer.values()]
    for tensor, g in zip(tensors, (g for layer in grads.values() for g in layer.values()), strict=True):
        tensor.grad = torch.from_numpy(g)
    return tensors


def updating(setting: Setting, tensors: list[torch.Tensor]) -> list[Step]:
    """The optimizer's update alone, in place as PyTorch does it, for each way to update."""

    def step_with(how: dict[str, bool]) -> Step:
        update = compiled(OPTIMIZERS["adam"](tensors, **how).step, setting)
        return lambda i: update()

    return [step_with(how) for how in updates_of(setting)]


def updates_of(setting: Setting) -> tuple[dict[str, bool], ...]:
    """The ways to update: the compiler cannot look into a fused update, and fuses that of foreach itself."""
    return UPDATES[1:] if setting.compiled else UPDATES


def compiled(run: Callable[..., Any], setting: Setting) -> Callable[..., Any]:
    """The function, compiled if the setting says so; compilation happens in the first steps, which are not timed."""
    return torch.compile(run, mode=setting.mode, dynamic=False) if setting.compiled else run


def as_tensor(x: Any, setting: Setting) -> torch.Tensor:
    """Our images and series in PyTorch's order of axes and in the memory order of the setting; other arrays unchanged.

    Ours have the channels innermost, which is the memory order that PyTorch calls "channels last".
    """
    if x.ndim < 3:
        return torch.from_numpy(x)
    moved = torch.from_numpy(x).movedim(-1, 1)
    return moved if setting.channels_last else moved.contiguous()


def model_of(network: Network, weights: Any, setting: Setting, predict: bool) -> Any:
    """The network as a PyTorch module with our weights.

    To predict, batch norm has our measured statistics and is folded; to train, it keeps no running statistics.
    """
    model: Any = sequential(network.parts, weights, predict).train(not predict)
    return model.to(memory_format=torch.channels_last) if setting.channels_last else model


def sequential(parts: tuple[Part, ...], weights: Any, predict: bool) -> nn.Sequential:
    """Some parts of a network, one after the other, with our weights by their names."""
    modules: list[nn.Module] = []
    seen: Counter[str] = Counter()
    channels = 1
    modules_by_rank: dict[int, Any] = {
        1: (nn.Conv1d, nn.AdaptiveAvgPool1d), 2: (nn.Conv2d, nn.AdaptiveAvgPool2d)
    }  # fmt: skip

    def next_weights(kind: str) -> Any:
        seen[kind] += 1
        return weights[f"{kind}_{seen[kind] - 1}"]

    for part in parts:
        match part:
            case Conv():
                own = next_weights(f"conv{part.rank}d")
                w = np.moveaxis(own["w"], (-1, -2), (0, 1))
                conv: nn.Module = modules_by_rank[part.rank][0](
                    w.shape[1] * part.groups, part.filters, part.kernel, part.stride, part.padding, part.dilation,
                    part.groups, bias=not part.norm,
                )  # fmt: skip
                loaded(conv, weight=w, **({} if part.norm else {"bias": own["b"]}))
                modules += normed(conv, next_weights("batch_norm"), predict) if part.norm else [conv]
                modules += activation(part.activation)
                channels = part.filters
            case ConvTranspose():
                own = next_weights("conv_transpose2d")
                w = np.moveaxis(own["w"], (-1, -2), (0, 1))
                transposed = nn.ConvTranspose2d(w.shape[0], part.filters, part.size, part.size)
                modules.append(loaded(transposed, weight=w, bias=own["b"]))
            case GroupNorm():
                own = next_weights("group_norm")
                norm = nn.GroupNorm(part.groups, len(own["scale"]))
                modules += [loaded(norm, weight=own["scale"], bias=own["shift"]), *activation(part.activation)]
            case Skip():
                modules.append(Beside(sequential(part.body, next_weights("concat")["body"], predict)))
            case Block():
                own = next_weights("add")
                body = sequential(part.body, own["body"], predict)
                shortcut = sequential(part.shortcut, own.get("shortcut", {}), predict)
                modules.append(Residual(body, shortcut))
                channels = part.body[-1].filters
            case MaxPool():
                modules.append(nn.MaxPool2d(part.size))
            case GlobalAveragePool():
                modules += [modules_by_rank[part.rank][1](1), nn.Flatten()]
                channels = 1
            case Flatten():
                modules.append(nn.Flatten())
            case Dropout():
                modules.append(nn.Dropout(part.rate))
            case Dense():
                own = next_weights("dense")
                # PyTorch flattens an image channel by channel, we pixel by pixel; after one layer both are the same.
                w = own["w"].reshape(-1, channels, part.units).transpose(2, 1, 0).reshape(part.units, -1)
                dense = loaded(nn.Linear(w.shape[1], part.units), weight=w, bias=own["b"])
                modules += normed(dense, next_weights("batch_norm"), predict) if part.norm else [dense]
                modules += activation(part.activation)
                channels = 1
            case Embedding():
                modules.append(Embedded(next_weights("embedding"), part.length and next_weights("positions")))
            case Recurrent():
                modules.append(Outputs(part.kind, next_weights(part.kind)))
            case TransformerBlock():
                modules.append(CausalBlock(part, next_weights("transformer_encoder_layer")))
            case LayerNorm():
                modules.append(layer_norm(next_weights("layer_norm")))
    return nn.Sequential(*modules)


def linear(weights: Any) -> nn.Module:
    """A linear layer with our weights."""
    return loaded(nn.Linear(*weights["w"].shape), weight=weights["w"].T, bias=weights["b"])


def layer_norm(weights: Any) -> nn.Module:
    """A layer norm with our weights."""
    return loaded(nn.LayerNorm(len(weights["scale"])), weight=weights["scale"], bias=weights["shift"])


def normed(layer: Any, weights: Any, predict: bool) -> list[nn.Module]:
    """A layer and its batch norm, folded into one layer to predict."""
    is_dense = isinstance(layer, nn.Linear)
    measured = {"running_mean": weights["mean"], "running_var": weights["var"]} if predict else {}
    norm: Any = (nn.BatchNorm1d if is_dense else nn.BatchNorm2d)(len(weights["scale"]), track_running_stats=predict)
    loaded(norm, weight=weights["scale"], bias=weights["shift"], **measured)
    if not predict:
        return [layer, norm]
    return [(fuse_linear_bn_eval if is_dense else fuse_conv_bn_eval)(layer.eval(), norm.eval())]


def activation(name: str | None) -> list[nn.Module]:
    """The activation as modules; in place where PyTorch can, which saves it memory and time."""
    known: dict[str | None, list[nn.Module]] = {
        None: [],
        "relu": [nn.ReLU(inplace=True)],
        "leaky_relu": [nn.LeakyReLU(inplace=True)],
        "sigmoid": [nn.Sigmoid()],
        "gelu": [nn.GELU()],
    }
    return known[name]


def loaded(module: nn.Module, **arrays: Any) -> nn.Module:
    """The module with these parameters and buffers."""
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name).copy_(torch.from_numpy(np.ascontiguousarray(array)))
    return module
