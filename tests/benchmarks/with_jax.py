"""JAX's side: the whole step under ``jit``, with parameters and optimizer state donated.

Parameters are our trees: JAX's convolutions take images and kernels in our order of axes. XLA on a CPU has no good
kernels for every convolution, so a step is built in several ways, and the worker times all of them and keeps the
fastest.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.benchmarks.worker import Commands, Step, cores, timed
from tests.benchmarks.workloads import (
    BATCHES,
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

Tree: TypeAlias = Any
Convolve: TypeAlias = Callable[[Any, Any, Conv], Any]
Pool: TypeAlias = Callable[[Any, int], Any]

# Steps run in the calling thread, which saves the smallest ones half of their time.
jax.config.update("jax_cpu_enable_async_dispatch", False)

RATE, ADAM_RATE, MOMENTUM, BETA1, BETA2, ADAM_EPS, NORM_EPS = 0.01, 1e-3, 0.9, 0.9, 0.999, 1e-8, 1e-5


def sides(part: Conv) -> tuple[tuple[int, int], ...]:
    """The padding along height and width; a series is an image of one row."""
    return (*((0, 0),) * (2 - part.rank), *((part.padding,) * 2,) * part.rank)


def convolve(x: Any, w: Any, part: Conv) -> Any:
    """A convolution by XLA's own operation, which takes many times as long as a product where there are groups."""
    if part.groups > 1:
        return convolve_windows(x, w, part)
    return lax.conv_general_dilated(
        x, w, (part.stride,) * 2, sides(part), rhs_dilation=(part.dilation,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


def convolve_windows(x: Any, w: Any, part: Conv) -> Any:
    """A convolution as a product: what each tap of the kernel sees is a strided slice, and a window is all of them."""
    groups, filters = part.groups, part.filters
    x = jnp.pad(x, ((0, 0), *sides(part), (0, 0)))
    height, width = (
        (n - part.dilation * (size - 1) - 1) // part.stride + 1
        for n, size in zip(x.shape[1:3], w.shape[:2], strict=True)
    )

    def seen(first: int, count: int) -> slice:
        return slice(first, first + part.stride * (count - 1) + 1, part.stride)

    starts = ([part.dilation * i for i in range(size)] for size in w.shape[:2])
    taps = [x[:, seen(top, height), seen(left, width)] for top, left in product(*starts)]
    if groups == 1:
        return jnp.concatenate(taps, -1) @ w.reshape(-1, filters)
    kernel = w.reshape(len(taps), -1, groups, filters // groups)
    if kernel.shape[1] == kernel.shape[3] == 1:
        return sum(tap * kernel[i, 0, :, 0] for i, tap in enumerate(taps))
    windows = jnp.stack([tap.reshape(*tap.shape[:3], groups, -1) for tap in taps], -2)
    return jnp.einsum("nhwgtc,tcgf->nhwgf", windows, kernel).reshape(*taps[0].shape[:3], filters)


def max_pool(x: Any, size: int) -> Any:
    """The largest of each square by XLA's own operation, whose gradient is slow."""
    return lax.reduce_window(x, -np.inf, lax.max, (1, size, size, 1), (1, size, size, 1), "VALID")


def max_pool_squares(x: Any, size: int) -> Any:
    """The largest of each square by a maximum over two axes."""
    n, height, width, c = x.shape
    height, width = height // size, width // size
    squares = x[:, : height * size, : width * size].reshape(n, height, size, width, size, c)
    return squares.max((2, 4))


class Way(NamedTuple):
    """How to convolve, and how to pool."""

    convolve: Convolve
    pool: Pool


WAYS = tuple(Way(*pair) for pair in product((convolve, convolve_windows), (max_pool, max_pool_squares)))


def ways_of(network: Network) -> tuple[Way, ...]:
    """The ways that differ for a network."""
    return WAYS if network.is_convolutional else WAYS[:1]


ACTIVATIONS: dict[str | None, Callable[[Any], Any]] = {
    None: lambda x: x,
    "relu": jax.nn.relu,
    "leaky_relu": partial(jax.nn.leaky_relu, negative_slope=0.01),
    "sigmoid": jax.nn.sigmoid,
    "gelu": partial(jax.nn.gelu, approximate=False),
}


def output(
    parts: tuple[Part, ...], params: Tree, x: Any, key: Any = None, *, way: Way = WAYS[0], predict: bool = False
) -> Any:
    """The output of some parts of a network, with our parameters by their names.

    Args:
        parts: of the network.
        params: the parameters; to predict, those of ``folded``.
        x: a batch.
        key: of the masks of dropout; None without dropout.
        way: how to convolve and pool.
        predict: whether batch norm is folded and dropout is off.
    """
    seen: Counter[str] = Counter()

    def own(kind: str) -> Any:
        seen[kind] += 1
        return params.get(f"{kind}_{seen[kind] - 1}", {})

    def normed(part: Conv | Dense, y: Any) -> Any:
        if part.norm and not predict:
            y = normalized(y, **own("batch_norm"))
        return ACTIVATIONS[part.activation](y)

    for part in parts:
        match part:
            case Conv(rank=1):
                layer = own("conv1d")
                y = way.convolve(x[:, None], layer["w"][None], part)[:, 0]
                x = normed(part, y + layer["b"])
            case Conv():
                layer = own("conv2d")
                y = way.convolve(x, layer["w"], part)
                x = normed(part, y + layer["b"] if "b" in layer else y)
            case ConvTranspose():
                layer = own("conv_transpose2d")
                x = expanded(x, layer["w"]) + layer["b"]
            case GroupNorm():
                x = ACTIVATIONS[part.activation](group_normalized(x, part.groups, **own("group_norm")))
            case Skip():
                body = own("concat")["body"]
                x = jnp.concatenate([x, output(part.body, body, x, way=way, predict=predict)], -1)
            case Dense():
                layer = own("dense")
                x = normed(part, x @ layer["w"] + layer["b"])
            case Block():
                block = own("add")
                body = output(part.body, block["body"], x, way=way, predict=predict)
                x = jax.nn.relu(body + output(part.shortcut, block.get("shortcut", {}), x, way=way, predict=predict))
            case MaxPool():
                x = way.pool(x, part.size)
            case GlobalAveragePool():
                x = x.mean(tuple(range(1, x.ndim - 1)))
            case Flatten():
                x = x.reshape(len(x), -1)
            case Dropout():
                if not predict:
                    x = x * jax.random.bernoulli(key, 1 - part.rate, x.shape) / (1 - part.rate)
            case Embedding():
                x = own("embedding")["w"][x]
                x = x if part.length is None else x + own("positions")["w"]
            case Recurrent():
                x = {"lstm": lstm, "gru": gru}[part.kind](x, **own(part.kind))
            case TransformerBlock():
                x = causal_block(x, part, own("transformer_encoder_layer"))
            case LayerNorm():
                x = layer_normalized(x, **own("layer_norm"))
    return x


def lstm(x: Any, w: Any, w_h: Any, b: Any) -> Any:
    """All outputs of a long short-term memory; the products with the input are one."""

    def step(state: Any, z: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(z + h @ w_h, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    first = jnp.zeros((len(x), len(w_h)), x.dtype)
    return lax.scan(step, (first, first), (x.swapaxes(0, 1) @ w) + b)[1].swapaxes(0, 1)


def gru(x: Any, w: Any, w_h: Any, b: Any, b_h: Any) -> Any:
    """All outputs of a gated recurrent unit."""

    def step(h: Any, z: Any) -> Any:
        (r, u, n), (hr, hu, hn) = jnp.split(z, 3, -1), jnp.split(h @ w_h, 3, -1)
        u = jax.nn.sigmoid(u + hu)
        n = jnp.tanh(n + jax.nn.sigmoid(r + hr) * (hn + b_h))
        h = n + u * (h - n)
        return h, h

    first = jnp.zeros((len(x), len(w_h)), x.dtype)
    return lax.scan(step, first, (x.swapaxes(0, 1) @ w) + b)[1].swapaxes(0, 1)


def causal_block(x: Any, part: TransformerBlock, params: Tree) -> Any:
    """A transformer layer with the norms in front."""
    attention, feed_forward = params["attention"], params["feed_forward"]
    own, normed = attention["heads"], layer_normalized(x, **attention["layer_norm_0"])

    def projected(name: str, x: Any) -> Any:
        return x @ own[f"{name}_w"] + own[f"{name}_b"]

    q, k, v = (projected(name, normed).reshape(*x.shape[:2], part.heads, -1) for name in ("query", "key", "value"))
    read = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    x = x + projected("output", read.reshape(x.shape))
    first, second = feed_forward["serial_0"]["dense_0"], feed_forward["serial_0"]["dense_1"]
    z = layer_normalized(x, **feed_forward["layer_norm_0"]) @ first["w"] + first["b"]
    return x + ACTIVATIONS[part.activation](z) @ second["w"] + second["b"]


def layer_normalized(x: Any, scale: Any, shift: Any) -> Any:
    """Layer norm over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + NORM_EPS) * scale + shift


def normalized(y: Any, scale: Any, shift: Any) -> Any:
    """Batch norm on the statistics of the batch."""
    axes = tuple(range(y.ndim - 1))
    centred = y - y.mean(axes)
    return centred * lax.rsqrt((centred * centred).mean(axes) + NORM_EPS) * scale + shift


def expanded(x: Any, w: Any) -> Any:
    """A transposed convolution whose windows do not overlap: a product, and another order of axes."""
    n, height, width, _ = x.shape
    size, _, filters, _ = w.shape
    return jnp.einsum("nhwc,ijfc->nhiwjf", x, w).reshape(n, height * size, width * size, filters)


def group_normalized(x: Any, groups: int, scale: Any, shift: Any) -> Any:
    """Group norm of images."""
    grouped = x.reshape(*x.shape[:-1], groups, -1)
    centred = grouped - grouped.mean((1, 2, 4), keepdims=True)
    normed = centred * lax.rsqrt((centred * centred).mean((1, 2, 4), keepdims=True) + NORM_EPS)
    return normed.reshape(x.shape) * scale + shift


def learned_leaves(params: Tree) -> Tree:
    """The parameters without the measured statistics of batch norm, which training does not use."""
    return {
        name: learned_leaves(child) if isinstance(child, dict) else jnp.array(child)
        for name, child in params.items()
        if name not in ("mean", "var")
    }


def folded(parts: tuple[Part, ...], params: Tree) -> Tree:
    """The parameters that predict: each batch norm multiplied into the layer before it."""
    found, seen = dict(params), Counter[str]()
    for part in parts:
        kind = {Conv: "conv2d", Dense: "dense", Block: "add"}.get(type(part))
        if kind is None:
            continue
        name = f"{kind}_{seen[kind]}"
        seen[kind] += 1
        if isinstance(part, Block):
            children = {"body": part.body, "shortcut": part.shortcut}
            found[name] = {child: folded(children[child], own) for child, own in params[name].items()}
        elif isinstance(part, Conv | Dense) and part.norm:
            norm = params[f"batch_norm_{seen['batch_norm']}"]
            seen["batch_norm"] += 1
            scale = norm["scale"] / np.sqrt(norm["var"] + np.float32(NORM_EPS))
            layer = params[name]
            found[name] = {"w": layer["w"] * scale, "b": (layer.get("b", 0) - norm["mean"]) * scale + norm["shift"]}
    return found


def loss_of(network: Network, way: Way = WAYS[0]) -> Callable[[Tree, Any, Any, Any], Any]:
    """The loss of a batch, ``loss(params, x, target, key)``."""

    def loss(params: Tree, x: Any, target: Any, key: Any) -> Any:
        y = output(network.parts, params, x, key, way=way)
        if network.loss == "mean_squared_error":
            return jnp.mean((y - target) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(y), target[..., None], -1))

    return loss


def first_state(optimizer: str, params: Tree) -> Tree:
    """The state of an optimizer before its first step."""
    slots = {"sgd": (), "momentum": ("m",), "adam": ("m", "v")}[optimizer]
    return {slot: jax.tree.map(jnp.zeros_like, params) for slot in slots} | {"step": jnp.zeros((), jnp.int32)}


def updated(optimizer: str, params: Tree, state: Tree, grads: Tree) -> tuple[Tree, Tree]:
    """Parameters and state after one step of an optimizer."""
    step = state["step"] + 1
    if optimizer == "sgd":
        return jax.tree.map(lambda p, g: p - RATE * g, params, grads), {"step": step}
    if optimizer == "momentum":
        m = jax.tree.map(lambda m, g: MOMENTUM * m + g, state["m"], grads)
        return jax.tree.map(lambda p, m: p - RATE * m, params, m), {"m": m, "step": step}
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, state["m"], grads)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, state["v"], grads)
    m_rate, v_rate = ADAM_RATE / (1 - BETA1**step), 1 / (1 - BETA2**step)
    params = jax.tree.map(lambda p, m, v: p - m_rate * m / (jnp.sqrt(v * v_rate) + ADAM_EPS), params, m, v)
    return params, {"m": m, "v": v, "step": step}


def stepping(workload: Workload, weights: Any) -> Commands:
    """The commands of a worker that times a workload. Compiling takes more memory than a step, so none is measured."""
    return timed(steps_of(workload, weights, *inputs(workload)), None, workload.threads or cores())


def steps_of(workload: Workload, weights: Any, x: Any, target: Any) -> list[Step]:
    """The step of a workload in each way."""
    network = workload.network
    if network is None:
        return [updating(learned_leaves(x), learned_leaves(target))]
    # A slice of an array of JAX is a copy, so the batches are made before the timing.
    batches = [batch_of(workload, i) for i in range(BATCHES)]
    xs, targets = ([jnp.array(part[batch]) for batch in batches] for part in (x, target))
    if workload.task == "predict":
        return [predicting(network, weights, xs, way) for way in ways_of(network)]
    return [training(network, weights, xs, targets, way) for way in ways_of(network)]


def predicting(network: Network, weights: Any, xs: list[Any], way: Way) -> Step:
    """Prediction of one batch after the other; the weights are constants, which the compiler may rearrange."""
    predict = predictor(network, weights, way)

    def step(i: int) -> None:
        predict(xs[i % BATCHES]).block_until_ready()

    return step


def predictor(network: Network, weights: Any, way: Way = WAYS[0]) -> Callable[[Any], Any]:
    """The prediction of a batch."""
    params = jax.tree.map(jnp.array, folded(network.parts, weights))
    return jax.jit(lambda x: output(network.parts, params, x, way=way, predict=True))


def trainer(network: Network, way: Way) -> Callable[..., tuple[Tree, Tree, Any]]:
    """The compiled step ``(params, state, x, target, i) -> (params, state, loss)``; it reuses the first two."""
    loss_and_grads = jax.value_and_grad(loss_of(network, way))
    has_dropout = any(isinstance(part, Dropout) for part in network.parts)

    def step(params: Tree, state: Tree, x: Any, target: Any, i: Any) -> tuple[Tree, Tree, Any]:
        key = jax.random.fold_in(jax.random.key(0, impl="unsafe_rbg"), i) if has_dropout else None
        loss, grads = loss_and_grads(params, x, target, key)
        return *updated(network.optimizer, params, state, grads), loss

    return jax.jit(step, donate_argnums=(0, 1))


def training(network: Network, weights: Any, xs: list[Any], targets: list[Any], way: Way) -> Step:
    """Training on one batch after the other."""
    train, params = trainer(network, way), learned_leaves(weights)
    state = first_state(network.optimizer, params)

    def step(i: int) -> None:
        nonlocal params, state
        params, state, loss = train(params, state, xs[i % BATCHES], targets[i % BATCHES], np.int32(i))
        loss.block_until_ready()

    return step


def updating(params: Tree, grads: Tree) -> Step:
    """The optimizer's step alone."""
    state = first_state("adam", params)
    update = jax.jit(partial(updated, "adam"), donate_argnums=(0, 1))

    def step(i: int) -> None:
        nonlocal params, state
        params, state = update(params, state, grads)
        state["step"].block_until_ready()

    return step
