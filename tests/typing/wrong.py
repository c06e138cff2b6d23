"""Calls that are wrong: mypy and pyright must report each line that ends in ``# error``, and no other.

The file is never run. Most of these calls raise an error at run time too, with a message that says what to write.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

import funcnn as fn

x = np.ones((4, 2), np.float32)
labels = np.array([0, 1, 0, 1])
data = (x, labels)
model = fn.serial(fn.dense(3), fn.relu, fn.dense(2))
params = model.init((2,), rng=0)
y, vjp = model.apply(params, x)
value, dy = fn.softmax_cross_entropy(y, labels)
optimizer = fn.adam(1e-3)
state = optimizer.init(params)

# Layers.
fn.dense("3")  # error
fn.dense(3.5)  # error
fn.dense(3, activation=3)  # error
fn.dense(3, activation="rleu")  # error
fn.dense(3, activation=fn.leaky_relu)  # error
fn.dense(3, activation=np.tanh)  # error
fn.dense(3, activation=[fn.relu])  # error
fn.dense(3, bias="no")  # error
fn.dense(3, bais=False)  # error
fn.dense(units=3, w_init="he_normal")  # error
fn.dense(3, w_init=fn.initializers.normal)  # error
fn.conv2d(8)  # error
fn.conv2d(8, "3")  # error
fn.conv2d(8, kernel="3")  # error
fn.conv2d(8, kernel=3.0)  # error
fn.conv2d(8, 3, stride="2")  # error
fn.conv2d(8, 3, padding=1)  # error
fn.conv2d(8, 3, padding=(1, 1))  # error
fn.conv2d(8, 3, padding="full")  # error
fn.conv2d(8, 3, dilation=None)  # error
fn.conv2d(8, 3, pad_mode="wrap")  # error
fn.conv1d(8, 3, padding=1)  # error
fn.conv2d(8, 3, padding="causal")  # error
fn.conv_transpose2d(8, 3, padding=1)  # error
fn.conv_transpose2d(8, 3, output_padding=None)  # error
fn.depthwise_conv2d(3, "2")  # error
fn.conv3d(8, 3, padding=1)  # error
fn.conv2d(8, 3, activation=3)  # error
fn.max_pool2d("2")  # error
fn.max_pool2d(2, padding=1)  # error
fn.avg_pool1d(2, stride="2")  # error
fn.lp_pool2d(2)  # error
fn.adaptive_avg_pool2d("2")  # error
fn.unfold(2, padding=1)  # error
fn.fold(4)  # error
fn.upsample2d("2")  # error
fn.upsample1d(2, mode="bicubic")  # error
fn.pad(1, "mirror")  # error
fn.take([0, 1], 1)  # error
fn.initializers.orthogonal("relu")  # error
fn.batch_norm(activation=3)  # error
fn.scale_and_shift(activation="rleu")  # error
fn.dropout("0.2")  # error
fn.layer_norm((4,))  # error
fn.layer_norm(eps="1e-5")  # error
fn.rms_norm(shift=True)  # error
fn.group_norm()  # error
fn.group_norm("4")  # error
fn.instance_norm(activation=3)  # error
fn.l2_normalize(axis="1")  # error
fn.local_response_norm(5, "1e-4")  # error
fn.gaussian_noise("0.1")  # error
fn.drop_path(None)  # error
fn.weight_norm(fn.dense)  # error
fn.spectral_norm(fn.dense(4), "3")  # error
fn.reshape((2, 1))  # error
fn.merge("sum")  # error
fn.relu()  # error
fn.flatten()  # error
fn.leaky_relu("0.1")  # error
fn.gelu(approximate="tanh")  # error
fn.dense(3, activation="threshold")  # error
fn.elementwise(np.tanh)  # error
fn.initializers.variance_scaling(2.0, "inputs", "normal")  # error

# Combinators.
fn.serial([fn.dense(3), fn.relu])  # error
fn.serial((fn.dense(3), fn.relu))  # error
fn.serial(fn.dense)  # error
fn.serial(fn.dense(3), fn.batch_norm)  # error
fn.serial(fn.dense(3), "relu")  # error
fn.serial(fn.dense(3), None)  # error
fn.serial(fn.dense(3), np.tanh)  # error
fn.serial((lambda shape, rng: {}, 3))  # error
fn.residual([fn.dense(3)])  # error
fn.add(fn.dense)  # error
fn.concat(fn.dense(3), fn.dense(3), axis="last")  # error
fn.concat([fn.dense(3), fn.dense(3)])  # error
fn.repeat(fn.dense, 3)  # error
fn.repeat(3, fn.dense(3))  # error
fn.named(fn.dense(3), "head")  # error
fn.named("head", fn.dense)  # error
fn.frozen([fn.dense(3)])  # error
fn.remat(fn.dense)  # error
fn.tied(fn.dense(3), ["w"])  # error
fn.parallel(a=fn.dense)  # error
fn.parallel({"a": fn.dense(3)})  # error
fn.branch(a="relu")  # error
fn.on(fn.dense(3), "x")  # error
fn.graph({"a": fn.dense(3)}, output="a")  # error
fn.graph({"a": (fn.dense, "input")}, output="a")  # error
fn.graph({"a": (fn.dense(3), 0)}, output="a")  # error
fn.graph([("a", fn.dense(3), "input")], output="a")  # error
fn.graph({"a": (fn.dense(3), "input")})  # error

# A model.
model.init(2, rng=0)  # error
model.init("2", rng=0)  # error
model.init(2, 0)  # error
model.init((2,))  # error
model.init((2,), seed=0)  # error
model.init((2,), rng="0")  # error
model.init((2,), rng=np.random)  # error
model.apply(x, params)  # error
model.apply(params)  # error
model.apply(params, [1.0, 2.0])  # error
model.apply(params, x, key=0)  # error
model.apply(params, x, rng=0.5)  # error
model.apply(params, x, True, 3)  # error
vjp(value)  # error
vjp(dy, input_gradient=False)  # error
vjp()  # error
model(x)  # error
model.aply(params, x)  # error
fn.predict(model, x, params)  # error
fn.predict(fn.dense, params, x)  # error
fn.predict(model, params, [[1.0, 2.0]])  # error
fn.predict(model, params, x, batch_size="all")  # error
fn.evaluate(model, params, x, fn.mean_squared_error)  # error
fn.value_and_grad(fn.softmax_cross_entropy, model)  # error
fn.value_and_grad(model, "mse")  # error
fn.value_and_grad(model, fn.metrics.accuracy)  # error
fn.value_and_grad(model, fn.mean_squared_error)(x, params, labels)  # error
fn.value_and_grad(model, fn.mean_squared_error)(params, x, labels, key=0)  # error
fn.per_example_grads(model, params, x, labels)  # error
fn.jacobian(model, params, x, of="y")  # error
fn.hessian_vector_product(model, params, x, labels, fn.softmax_cross_entropy, 0.1)  # error
fn.fisher_diagonal(model, params, x, labels, "mse")  # error
fn.summary(model, params, 2)  # error
fn.summary(model, (2,), params)  # error
fn.calibrate(model, x, params)  # error
fn.fold_batch_norm(params, model)  # error
fn.trace(model, x, params)  # error
fn.saliency(model, x, params, 0)  # error
fn.part(model, params, 0.5)  # error
fn.testing.check_layer(fn.dense(3), shape=3)  # error
fn.testing.check_layer(fn.dense, shape=(3,))  # error
fn.testing.random_batch(3, 2)  # error
fn.testing.check_loss("mse", y, labels)  # error
fn.testing.check_metric(fn.softmax_cross_entropy, y, labels)  # error
fn.testing.check_optimizer(fn.adam)  # error


# A layer of one's own.
def no_pair(start: float = 1.0) -> float:
    return start


def apply_without_vjp(params: fn.Params, x: fn.Array) -> fn.Array:
    return x


def three_results(y: fn.Array, target: fn.Array) -> tuple[float, fn.Array, int]:
    return 0.0, y, 1


def own(units: int, gain: float = 1.0) -> fn.LayerLike:
    return fn.dense(units)


fn.layer(no_pair)  # error
fn.layer(3)  # error
fn.layer(per_example="yes")  # error
fn.layer(own)("3")  # error
fn.layer(own)(3, gian=2.0)  # error
fn.layer(per_example=True)(own)(3, gain="2")  # error
fn.as_layer((lambda shape, rng: {}, apply_without_vjp))  # error
fn.Layer(lambda shape, rng: {}, apply_without_vjp)  # error
fn.Layer(lambda shape: {}, lambda params, x: (x, lambda dy: ({}, dy)))  # error

# Losses and metrics.
fn.softmax_cross_entropy(y)  # error
fn.softmax_cross_entropy(y, labels, np.ones(4))  # error
fn.softmax_cross_entropy(y, labels, wieghts=np.ones(4))  # error
fn.mean_squared_error(params, labels)  # error
fn.mean_squared_error(y, y, reduction="max")  # error
fn.mean_squared_error(y, y, ignore_index=3)  # error
fn.softmax_cross_entropy(y, labels, reduction="sum")[0].shape  # error
fn.huber()(y, y, reduction="none")[0].is_integer()  # error
fn.huber(y, y)  # error
fn.gaussian_nll()(labels, labels)  # error
fn.metrics.accuracy(y, labels, threshold="0.5")  # error
fn.metrics.precision(y, labels, average="mean")  # error
fn.metrics.top_k_accuracy(y, labels)  # error
fn.metrics.r2(y, labels, average="mean")  # error

# Optimizers and schedules.
fn.adam("1e-3")  # error
fn.adam()  # error
fn.adam(rate=1e-3, beta1=0.9)  # error
fn.sgd(0.1, momentum="0.9")  # error
fn.sgd(fn.cosine_decay)  # error
fn.sgd(lambda: 0.1)  # error
fn.sgd(0.1, nesterov=None)  # error
fn.adamw(1e-3, decay_mask=["w"])  # error
fn.cosine_decay(1e-3)  # error
fn.cosine_decay(1e-3, steps=10.5)  # error
fn.join([0.1, "0.2"], [10])  # error
fn.cosine_decay(1e-3, steps=10)("0")  # error
fn.chain([fn.sgd(0.1)])  # error
fn.chain(fn.sgd)  # error
fn.chain("sgd")  # error
fn.masked(fn.sgd, "*/w")  # error
fn.masked("*/w", fn.sgd(0.1))  # error
fn.partition({"*": fn.sgd})  # error
fn.partition(fn.sgd(0.1))  # error
fn.clip_by_global_norm("1")  # error
fn.as_optimizer(fn.sgd)  # error
optimizer.init(3)  # error
optimizer.update(grads=params, state=state)  # error
optimizer.update(params, params)  # error
optimizer.update(params, state, params, donated=True)  # error
optimizer.step(params, state, params, donate="yes")  # error
optimizer.step([1.0], state, params)  # error
optimizer.steps(params, state, params)  # error
fn.apply_updates(params, 0.1)  # error

# Training.
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy)  # error
fn.fit(params, model, optimizer, data, fn.softmax_cross_entropy, 1)  # error
fn.fit(fn.dense, params, optimizer, data, fn.softmax_cross_entropy, 1)  # error
fn.fit(model, params, "adam", data, fn.softmax_cross_entropy, 1)  # error
fn.fit(model, params, fn.adam, data, fn.softmax_cross_entropy, 1)  # error
fn.fit(model, params, 1e-3, data, fn.softmax_cross_entropy, 1)  # error
fn.fit(model, params, optimizer, x, fn.softmax_cross_entropy, 1)  # error
fn.fit(model, params, optimizer, [x, labels], fn.softmax_cross_entropy, 1)  # error
fn.fit(model, params, optimizer, (x, [0, 1, 0, 1]), fn.softmax_cross_entropy, 1)  # error
fn.fit(model, params, optimizer, data, "softmax_cross_entropy", 1)  # error
fn.fit(model, params, optimizer, data, fn.metrics.accuracy, 1)  # error
fn.fit(model, params, optimizer, data, three_results, 1)  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1.5)  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, metrics=["accuracy"])  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, metrics=[fn.metrics.accuracy])  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, metrics=fn.metrics.accuracy)  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, metrics={"accuracy": "accuracy"})  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, metrics={"loss": fn.mean_squared_error})  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, metrics={"top": fn.metrics.top_k_accuracy})  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, metrics={"c": fn.metrics.confusion_matrix})  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, callbacks=fn.callbacks.csv_log("log.csv"))  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, callbacks=[fn.callbacks.early_stopping])  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, callbacks=[lambda record: True])  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, callbacks=["log.csv"])  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, validation=x)  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, validation_split="0.2")  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, rng="0")  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, learning_rate=0.1)  # error
fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1, checkpoint=3)  # error
fn.callbacks.early_stopping("validation_loss", patience=2, mode="lowest")  # error
fn.callbacks.early_stopping(fn.metrics.accuracy, patience=2)  # error
fn.Callback(0, lambda state, record, result: (state, None))  # error
fn.batches([x, labels], 4)  # error
fn.batches(data, "4")  # error
fn.split(x, 0.5, rng=0)  # error
fn.combine([fn.mean_squared_error])  # error
fn.combine({"a": fn.mean_squared_error}, {"a": "1"})  # error
fn.triplet_margin(swap="yes")  # error
fn.ctc(blank=0.5)  # error
fn.split((x, labels, "weights"), 0.5, rng=0)  # error
fn.split(data, "0.5", rng=0)  # error
fn.k_fold(x, 2, rng=0)  # error

# Files, trees, plots.
fn.save(params, "model.npz")  # error
fn.load(params)  # error
fn.save_model("model.npz", params, model)  # error
fn.save_model("model.npz", model)  # error
fn.load_model("model.npz", layers=[own])  # error
fn.load_model("model.npz", layers={"own": "own"})  # error
fn.to_json(params)  # error
fn.tree.map(params, np.sqrt)  # error
fn.tree.count(model)  # error
fn.tree.paths([x])  # error
fn.tree.cast(np.float32, params)  # error
fn.spec(3, bool)  # error
fn.specs([x])  # error
fn.rng.generator("0")  # error
fn.plot.diagram(params, model, (2,))  # error
fn.plot.diagram(model, params, 2)  # error
fn.plot.learning_curves(3)  # error
fn.plot.confusion_matrix(np.eye(2), class_names=3)  # error
fn.plot.confusion_matrix(np.eye(2), ax=3)  # error
fn.datasets.moons("100")  # error
fn.use_threads("1")  # error
fn.lstm("3")  # error
fn.gru(3, reset_after="yes")  # error
fn.embedding(5)  # error
fn.embedding_bag(5, 3, "median")  # error
fn.positions("rotated")  # error
fn.multi_head_attention()  # error
fn.transformer_encoder_layer(4, heads="2")  # error
fn.scan(3)  # error
fn.lookahead(0.1)  # error
fn.accumulate(fn.sgd(0.1), "2")  # error
fn.muon("0.1")  # error
result = fn.fit(model, params, optimizer, data, fn.softmax_cross_entropy, 1)
result.parameters  # error
result.history["loss"]  # error
fn.no_such_layer  # error


def right_without_a_mark(given: Mapping[str, Any]) -> Any:
    return fn.serial(fn.dense(**given), fn.relu)
