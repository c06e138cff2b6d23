"""Typical scripts of users: plain and strict mypy and pyright find nothing, and it runs.

What is annotated here is annotated as a user would do it, with the names that funcnn exports. The first half leaves
annotations out, as a notebook does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import funcnn as fn

Floats = npt.NDArray[np.float32]

x: Floats = np.linspace(-1, 1, 48, dtype=np.float32).reshape(12, 2, 2)
labels = np.arange(12) % 3


# Layers: with all keywords and with fewer, from a constructor, as a pair, and as a Layer.


@fn.layer(per_example=True)
def scale(start: float = 1.0) -> fn.LayerLike:
    def init(shape: fn.Shape, rng: fn.Rng) -> fn.Params:
        return {"w": np.full(shape[-1:], start, np.float32)}

    def apply(params: fn.Params, x: fn.Array) -> tuple[fn.Array, fn.Vjp]:
        def vjp_fn(dy: fn.Array) -> tuple[fn.Params, fn.Array]:
            return {"w": (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)}, dy * params["w"]

        return x * params["w"], vjp_fn

    return init, apply


@fn.layer
def noise(size: float = 0.1) -> tuple[fn.Init, fn.Apply]:
    def init(shape: fn.Shape, rng: fn.Rng) -> fn.Params:
        return {}

    def apply(params: fn.Params, x: fn.Array, rng: fn.Rng | None = None) -> tuple[fn.Array, fn.Vjp]:
        def vjp_fn(dy: fn.Array, input_grad: bool = True) -> tuple[fn.Params, fn.Array | None]:
            return {}, dy if input_grad else None

        if rng is None:
            return x, vjp_fn
        return x + size * fn.rng.generator(rng).standard_normal(x.shape).astype(x.dtype), vjp_fn

    return init, apply


@fn.layer
def own_types(
    start: float = 1.0,
) -> tuple[
    Callable[[tuple[int, ...], Any], dict[str, Floats]],
    Callable[[dict[str, Any], Floats], tuple[Floats, Callable[[Floats], tuple[dict[str, Floats], Floats]]]],
]:
    def init(shape: tuple[int, ...], rng: Any) -> dict[str, Floats]:
        return {}

    def apply(params: dict[str, Any], x: Floats) -> tuple[Floats, Callable[[Floats], tuple[dict[str, Floats], Floats]]]:
        return x, lambda dy: ({}, dy)

    return init, apply


def small(size: tuple[int, ...], key: Any, inputs: int, outputs: int) -> Floats:
    return fn.initializers.normal(0.01)(size, rng=key, fan_in=inputs, fan_out=outputs)


class_numbers: npt.NDArray[np.int64] = np.arange(12) % 3
fn.dense(class_numbers.max() + 1, w_init=small, b_init=lambda shape, rng, fan_in, fan_out: np.zeros(shape, np.float32))
fn.conv2d(class_numbers.max(), kernel=class_numbers.max(), w_init=fn.initializers.glorot_uniform)
double: fn.LayerLike = (lambda shape, rng: {}, lambda params, x: (2 * x, lambda dy: ({}, 2 * dy)))
bend = fn.elementwise(lambda x: x * np.abs(x), lambda x, y: 2 * np.abs(x), name="bend")
ready = fn.Layer(lambda shape, rng: {}, lambda params, x: (2 * x, lambda dy: ({}, 2 * dy)), kind="double")

# Models: chains, branches, graphs, several inputs and outputs, wrappers.

activations: Iterable[fn.Activation] = ("relu", "gelu", "swiglu", fn.swish, fn.elu(0.5), fn.maxout(2), bend, None)
for activation in activations:
    fn.dense(4, activation=activation)
for name in ("relu", "tanh"):
    fn.dense(4, activation=name)
gates: list[fn.Layer] = [fn.glu, fn.geglu, fn.softplus(2, threshold=20.0), fn.gelu(approximate=True), fn.prelu(0.1)]
pairs = fn.bilinear(2, bias=False, activation="celu")
pairs.apply(pairs.init({"a": (2,), "b": (3,)}, 0), {"a": x[:, 0], "b": np.ones((12, 3), np.float32)})
hidden: list[fn.Layer] = [fn.dense(4), fn.relu]
model = fn.serial(
    fn.flatten, *hidden, scale(start=2.0), noise(), own_types(), double, ready, fn.named("head", fn.dense(3))
)
images = fn.serial(
    fn.conv2d(4, (3, 3), stride=1, padding=((1, 1), (0, 2)), activation="relu", w_init=fn.initializers.he_normal),
    fn.conv2d(4, [1, 1], dilation=(1, 1), pad_mode="edge"), fn.batch_norm(activation="relu"),
    fn.max_pool2d(2, stride=(2, 2), padding="same"), fn.upsample2d(2), fn.global_avg_pool2d, fn.dropout(0.1),
    fn.residual(fn.dense(4), double), fn.add(fn.dense(4), fn.dense(4)), fn.concat(fn.relu, fn.tanh, axis=-1),
    fn.repeat(fn.dense(4), 2), fn.remat(fn.dense(4)), fn.dense(3),
)  # fmt: skip
moving: list[fn.Layer] = [
    fn.pad(1, "reflect"), fn.crop(((1, 0), (0, 1))), fn.upsample2d((1, 1.5), mode="bicubic"), fn.permute((2, 1)),
    fn.upsample1d(size=4, mode="linear"), fn.squeeze(1), fn.expand_dims(-1), fn.unflatten(1, (2, -1)),
    fn.take(slice(1, None), 1), fn.take(-1, axis=2), fn.pixel_shuffle(2), fn.channel_shuffle(2),
    fn.dense(2, w_init=fn.initializers.orthogonal(fn.initializers.gain("relu"))),
]  # fmt: skip
norms = fn.serial(
    fn.layer_norm(), fn.layer_norm(2, eps=1e-6, scale=False, shift=False), fn.rms_norm(eps=None, activation="tanh"),
    fn.group_norm(np.int64(4), affine=False, activation=fn.relu), fn.instance_norm(affine=True),
    fn.l2_normalize(axis=1), fn.local_response_norm(5, alpha=1e-4, beta=0.75, k=2), fn.spatial_dropout(0.1),
    fn.alpha_dropout(rate=0.1), fn.gaussian_dropout(0.1), fn.gaussian_noise(stddev=0.1), fn.drop_path(0.1),
    fn.weight_norm(fn.dense(4)), fn.spectral_norm(fn.serial(fn.dense(4)), iterations=3),
)  # fmt: skip
unet = fn.serial(
    fn.depthwise_conv2d((3, 3), multiplier=2, padding="same"), fn.separable_conv2d(4, 3, stride=[2, 2]),
    fn.conv_transpose2d(4, 3, 2, "same", activation="relu"), fn.conv_transpose2d(4, 3, 2, output_padding=(1, 0)),
)  # fmt: skip
up = fn.serial(
    fn.conv1d(4, 3, padding="causal"), fn.conv_transpose1d(4, 3, 2, padding=(1, 0)), fn.conv_transpose3d(2, 2)
)
series = fn.serial(fn.conv1d(4, 3, padding=(2, 0)), fn.avg_pool1d(2), fn.conv1d(2, 1, padding="same"))
pools = fn.serial(
    fn.lp_pool2d(2, 3), fn.adaptive_avg_pool2d((None, 4)), fn.adaptive_max_pool2d(2), fn.global_max_pool2d,
    fn.fold((4, 4), 2, padding=((1, 1), (0, 0))), fn.unfold((3,), padding=(1, 0)), fn.adaptive_max_pool1d(None),
)  # fmt: skip
nodes = {
    "left": (fn.dense(4), "input/a"),
    "right": (fn.dense(4), "input/b"),
    "both": (fn.merge("concat"), ("left", "right")),
}
joined = fn.graph(nodes, output="both")
heads = fn.serial(
    fn.parallel(a=fn.dense(4), b=fn.serial(fn.flatten, fn.dense(4))),
    fn.on("a", fn.relu), fn.merge("add"), fn.branch(digit=fn.dense(3), odd=fn.dense(1)),
)  # fmt: skip
tied = fn.tied(fn.serial(fn.dense(2), fn.dense(5)), {"dense_1/w": "dense_0/w"}, transpose=True)
frozen = fn.serial(fn.named("encoder", fn.frozen(fn.dense(4))), fn.select("x"))

# Calls: results are used without a cast.

params = model.init((2, 2), rng=0)
params = model.init(shape=x.shape[1:], rng=(0, 1))
y, vjp = model.apply(params, x, rng=(0, 2))
predicted = y.argmax(axis=1)
value, dy = fn.softmax_cross_entropy(y, labels, weights=np.ones(12))
grads, dx = vjp(dy)
print(grads["head"]["w"].shape, dx.shape, value + 1)
grads, _ = vjp(dy, input_grad=False)
init, apply = fn.dense(3)
both = {"a": x[:, 0], "b": x[:, 1]}
shapes: fn.Shapes = {"a": (2,), "b": fn.spec((2,), np.float32)}
outputs, pull = heads.apply(heads.init(shapes, rng=0), both, rng=np.random.default_rng(0))
grads_of_heads, _ = pull({"digit": np.ones_like(outputs["digit"]), "odd": None})
joined.apply(joined.init(fn.specs(both), 0), both)
loss_and_grads = fn.value_and_grad(model, fn.softmax_cross_entropy)
value, grads = loss_and_grads(params, x, labels, rng=(0, 3))
value, grads = loss_and_grads(params, x, labels, weights=np.ones(12))
value, grads, y = fn.value_and_grad(model, fn.softmax_cross_entropy, with_output=True)(params, x, labels)
print(y.mean(), sum(fn.tree.norms(grads).values()))
by_example = fn.per_example_grads(model, params, x, labels, fn.softmax_cross_entropy, rng=(0, 3))
print(
    by_example["head"]["w"].shape,
    fn.jacobian(model, params, x).shape,
    fn.jacobian(model, params, x, of="params").keys(),
)
curved = fn.hessian_vector_product(model, params, x, labels, fn.softmax_cross_entropy, v=grads)
curved = fn.gauss_newton_vector_product(model, params, x, labels, fn.softmax_cross_entropy, curved)
print(fn.fisher_diagonal(model, params, x, None, fn.softmax_cross_entropy, labels_rng=0).keys(), curved.keys())

# Losses, metrics, schedules, optimizers.


def absolute_error(predicted: fn.Array, target: fn.Array) -> tuple[float, fn.Array]:
    return float(np.abs(predicted - target).mean()), np.sign(predicted - target) / predicted.size


def numpy_error(predicted: Floats, target: Floats) -> tuple[np.floating[Any], Floats]:
    difference = predicted - target
    return np.mean(difference**2), 2 * difference / np.float32(difference.size)


def two_losses(y: dict[str, Any], target: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    value, dy = fn.softmax_cross_entropy(y["digit"], target["digit"])
    return value, {"digit": dy, "odd": None}


def focal(gamma: float = 2.0) -> fn.Loss:
    def loss(y: fn.Array, target: fn.Array) -> tuple[float, fn.Array]:
        value, dy = fn.softmax_cross_entropy(y, target)
        return value * gamma, dy * gamma

    return loss


def share_of_zeros(y: fn.Array, target: fn.Array) -> float:
    return float((y.argmax(axis=1) == 0).mean())


def inverse_root(rate: float) -> fn.Schedule:
    return lambda step: rate / (1 + step) ** 0.5


def any_name(t: int) -> float:
    return 0.1 / (1 + t)


losses: list[fn.Loss] = [absolute_error, numpy_error, two_losses, focal(), fn.mean_squared_error]
losses += [fn.huber(delta=2.0), fn.focal(), fn.multi_margin(2), fn.gaussian_nll(), fn.dice, fn.multilabel_margin]
losses += [partial(fn.softmax_cross_entropy, label_smoothing=0.1), partial(fn.huber(), reduction="sum")]
total: float = fn.mean_squared_error(y, y, reduction="sum")[0] + fn.huber()(y, y, weights=np.ones(12))[0]
each, dy = fn.softmax_cross_entropy(y, labels, class_weights=np.ones(y.shape[1]), ignore_index=-1, reduction="none")
print(each.shape, fn.quantile(0.5)(y, y, reduction="none")[0].max(), total, dy.dtype)
losses += [fn.ctc(blank=np.int64(2)), fn.info_nce(0.1), fn.triplet_margin(p=np.float64(1)), fn.cosine_similarity]
losses += [fn.combine({"digit": fn.softmax_cross_entropy, "pair": fn.contrastive()}, weights={"pair": 0.5})]
metrics: dict[str, fn.Metric] = {
    "accuracy": fn.metrics.accuracy,
    "f1": fn.metrics.f1,
    "zeros": share_of_zeros,
    "top": lambda y, t: fn.metrics.top_k_accuracy(y, t, 2),
}
rate_now: float = inverse_root(0.1)(3) + fn.cosine_decay(0.1, steps=100)(step=3)
per_class = fn.metrics.precision(y, labels, average=None)
print(per_class.shape, fn.metrics.recall(y, labels) + 0.5, rate_now)


def descent(rate: float) -> fn.OptimizerLike:
    def init(params: fn.Params) -> dict[str, Any]:
        return {}

    def update(grads: fn.Params, state: dict[str, Any], params: fn.Params) -> tuple[fn.Params, dict[str, Any]]:
        return fn.tree.map(lambda g: np.float32(-rate) * g, grads), state

    return init, update


@fn.recorded.recorded
def sign_descent(rate: fn.Rate) -> fn.Optimizer:
    return fn.chain(fn.lift("sign", lambda g, state, p, hyper, u, new_state: np.sign(g, out=u)), fn.sgd(rate))


optimizers: list[fn.OptimizerLike] = [
    fn.sgd(0.1), fn.sgd(1, momentum=0.9), fn.adam(any_name), fn.adam(lambda step: 1e-3), fn.adamw(inverse_root(0.1)),
    fn.adamw(1e-3, decay_mask="*/w"), fn.masked(fn.sgd(0.1), lambda params: fn.tree.map(lambda leaf: True, params)),
    fn.partition({"head/*": fn.adam(1e-3), "*": descent(0.1)}), sign_descent(fn.join([0.1, any_name], [10])),
    fn.Optimizer(lambda params: {}, lambda grads, state, params: (grads, state)), descent(0.1),
    fn.chain(fn.clip_by_global_norm(1.0), descent(0.1)),
]  # fmt: skip
optimizer = fn.chain(fn.clip_by_global_norm(1.0), fn.adamw(fn.cosine_decay(1e-3, steps=100)))
opt_state = optimizer.init(params)
updates, opt_state = optimizer.update(grads, opt_state, params, donate=False)
params = fn.apply_updates(params, updates)
for step, (xs, targets) in enumerate(fn.batches((x, labels), 4, epochs=2, rng=0)):
    value, grads = loss_and_grads(params, xs, targets, rng=(0, step))
    params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
print(params["head"]["w"].mean(), fn.current_step(opt_state) + 1)

# fit, with callbacks, and what comes after it.


def stop_soon(record: fn.Record, result: fn.Fit) -> bool:
    return record["train_loss"] < 0.01 and bool(result.params)


def count_init() -> int:
    return 0


def count_update(state: int, record: fn.Record, result: fn.Fit) -> tuple[int, bool]:
    return state + 1, state > 20


class Trainer:
    """A user's own wrapper, whose arguments have the types of fit's."""

    def __init__(self, model: fn.LayerLike, optimizer: fn.OptimizerLike = fn.adam(1e-3)) -> None:  # noqa: B008
        self.model = fn.as_layer(model)
        self.optimizer = optimizer

    def train(self, data: fn.Data, loss: fn.Loss, callbacks: Iterable[fn.CallbackLike] = ()) -> fn.Fit:
        params = self.model.init((2, 2), rng=0)
        return fn.fit(
            self.model, params, self.optimizer, data, loss, 2, metrics=metrics, callbacks=[*callbacks], verbose=False
        )


with tempfile.TemporaryDirectory() as folder:
    counter = fn.Callback(count_init, count_update, end=lambda state: print(state, "evaluations"))
    result = fn.fit(
        model, params, optimizer, (x, labels), fn.softmax_cross_entropy, epochs=2, batch_size=4, verbose=False,
        metrics={"accuracy": fn.metrics.accuracy, "top": lambda y, t: fn.metrics.top_k_accuracy(y, t, k=2)},
        validation_split=0.25, checkpoint=Path(folder) / "run.npz",
        callbacks=[
            fn.callbacks.csv_log(f"{folder}/log.csv"),
            fn.callbacks.early_stopping("validation_loss", patience=2),
            lambda record, result: record["seconds"] > 60,
            stop_soon,
            (count_init, count_update),
            (lambda: 0, lambda n, record, result: (n + 1, bool(n + 1 == 20))),
            counter,
        ],
    )  # fmt: skip
    best = min(record["validation_loss"] for record in result.history)
    fn.plot.learning_curves(result.history, "accuracy").figure.savefig(f"{folder}/accuracy.png")
    fn.save(f"{folder}/params.npz", result.params)
    params = fn.load(f"{folder}/params.npz", like=params)
    plain = fn.serial(fn.flatten, fn.dense(3))
    fn.save_model(f"{folder}/model.npz", plain, plain.init((2, 2), rng=0))
    loaded, loaded_params = fn.load_model(f"{folder}/model.npz", layers={"scale": scale})
    print(fn.predict(loaded, loaded_params, x).argmax(axis=1), best)
trained = Trainer(model, descent(0.1)).train((x, labels), focal(), [stop_soon, (count_init, count_update)])
rest, validation = fn.split((x, labels), fraction=0.25, rng=0)
weighted, weighted_validation = fn.split((x, labels, np.ones(12)), fraction=0.25, rng=0)
fn.fit(model, params, optimizer, weighted, fn.softmax_cross_entropy, 1, validation=weighted_validation, verbose=False)
mixed = fn.augment.compose(fn.augment.mixup(classes=3), lambda batch, rng: batch)
for x_mixed, target_mixed in fn.batches((x, labels), 4, rng=0, augment=mixed, workers=1):
    print(x_mixed.shape, target_mixed.sum())
once = fn.batches((x, labels), 4)
fn.fit(model, params, optimizer, once, fn.softmax_cross_entropy, 1, augment=mixed, workers=1, verbose=False)
for train, held_out in fn.k_fold((x, labels), 3, rng=0):
    print(train[0].shape, held_out[1].sum())
scores = fn.evaluate(model, params, validation, fn.softmax_cross_entropy, metrics)
print(scores["accuracy"] + 1, rest[0].mean(), trained.history[-1]["epoch"])

# Sequences, attention, optimizers of optimizers.

text = np.arange(12).reshape(2, 6) % 5
recurrent = fn.serial(fn.embedding(5, 4), fn.lstm(3, layers=2, dropout=0.1), fn.bidirectional(fn.gru(2)), fn.last)
recurrent_params = recurrent.init(fn.specs(text), rng=0)
print(fn.predict(recurrent, recurrent_params, text).shape)
streamed = fn.scan(fn.branch(x=fn.merge("add"), state=fn.merge("add")), state=(4,), return_sequences=False)
print(streamed.apply({}, {"x": np.ones((2, 3, 4)), "lengths": np.array([3, 1]), "state": {}})[0]["state"])
language = fn.cached(
    fn.embedding(5, 4),
    fn.positions("learned", 16),
    fn.transformer_encoder_layer(4, heads=2, hidden=8, causal=True, activation="gelu"),
    fn.dense(5),
)
language_params = language.init(fn.specs(text), rng=0)
print(fn.generate(language, language_params, text, 3, temperature=0.5, top_k=2, rng=0).shape)
for chained in (
    fn.lookahead(fn.muon(1e-2), every=5),
    fn.accumulate(
        fn.chain(fn.centralize(), fn.adaptive_grad_clip(0.1), fn.lamb(fn.warmup_cosine(1e-2, warmup=2, steps=10))),
        steps=2,
    ),
    fn.skip_non_finite(fn.prodigy(), limit=3),
    fn.schedule_free(fn.sgd(fn.one_cycle(1e-2, 10))),
):
    print(fn.fit(model, params, chained, (x, labels), fn.softmax_cross_entropy, 1, verbose=False).best)

# Tools.

batch = np.zeros((4, 8, 8, 1), np.float32)
image_params = fn.calibrate(images, images.init((8, 8, 1), 0), batch)
folded, folded_params = fn.fold_batch_norm(images, image_params)
fn.summary(images, image_params, (8, 8, 1)).show()
for path, output in fn.outputs(folded, folded_params, batch).items():
    print(path, output.shape)
print(fn.saliency(images, image_params, batch, 1).shape, [visit.y.dtype for visit in fn.trace(model, params, x)])
print(fn.testing.check_layer(scale(2.0), shape=(4,)).passed, fn.tree.count(params), fn.to_json(plain))
first, first_params = fn.part(plain, loaded_params, slice(1))
state_dict = fn.params_to_torch(plain, loaded_params, shape=(2, 2))
print(fn.torch_names(plain, state_dict, shape=(2, 2)), fn.params_from_torch(plain, state_dict, shape=(2, 2)).keys())
