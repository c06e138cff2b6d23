"""A model with two outputs, and a loss that is the sum of two: y, the target and dy are dicts of arrays.

    python examples/two_heads.py

One head tells which digit an image shows, the other one whether it is odd. They share all layers before them.
"""

import numpy as np

import funcnn as fn

model = fn.serial(
    fn.conv2d(8, 5, activation=fn.relu), fn.max_pool2d(2), fn.flatten, fn.dense(64, activation=fn.relu),
    fn.branch(digit=fn.dense(10), odd=fn.dense(1)),
)  # fmt: skip
loss = fn.combine({"digit": fn.softmax_cross_entropy, "odd": fn.sigmoid_cross_entropy})


def correct(y, target):
    digit, odd = (y["digit"].argmax(1) == target["digit"]).mean(), ((y["odd"] > 0) == target["odd"]).mean()
    return f"digit {digit:.1%} correct, odd {odd:.1%} correct"


gradient, optimizer = fn.value_and_grad(model, loss, with_output=True), fn.adam(2e-3)
train, test = ((x.astype(np.float32) / 255, {"digit": d, "odd": d[:, None] % 2}) for x, d in fn.datasets.digits())
params = model.init(fn.specs(train[0]), rng=0)
opt_state = optimizer.init(params)
for step, (x, target) in enumerate(fn.batches(train, 64, epochs=6, rng=0)):
    value, grads, y = gradient(params, x, target, rng=(0, step))
    params, opt_state = optimizer.step(grads, opt_state, params, donate=True)
    if step % 200 == 0:
        print(f"step {step}: loss {value:.3f}, {correct(y, target)}")
print(f"test: {correct(fn.predict(model, params, test[0]), test[1])}")
