"""Transfer: a network that knows the digits 0 to 4 learns 5 to 9 from 50 images, its old layers frozen.

    python examples/transfer.py

The new head alone is trained. The same network trained from the start on these 50 images knows less.
"""

import tempfile
from pathlib import Path

import numpy as np

import funcnn as fn


def of(data, first, examples=None):
    """The images of five digits, and labels from 0 to 4."""
    images, labels = data
    chosen = np.flatnonzero((labels >= first) & (labels < first + 5))[:examples]
    return images[chosen].astype(np.float32) / 255, labels[chosen] - first


train, test = fn.datasets.digits()
loss, accuracy, few = fn.softmax_cross_entropy, fn.metrics.accuracy, of(train, 5, examples=50)
model = fn.serial(
    fn.conv2d(8, 5), fn.batch_norm(activation="relu"), fn.max_pool2d(2), fn.conv2d(16, 5),
    fn.batch_norm(activation="relu"), fn.max_pool2d(2), fn.flatten, fn.dropout(0.2), fn.named("head", fn.dense(5)),
)  # fmt: skip
start = model.init((28, 28, 1), rng=0)
trained = fn.fit(model, start, fn.adam(2e-3), of(train, 0), loss, epochs=3, batch_size=64, verbose=False)
scratch = fn.fit(model, start, fn.adam(2e-3), few, loss, epochs=60, verbose=False)
print(f"from the start: {accuracy(fn.predict(model, scratch.params, of(test, 5)[0]), of(test, 5)[1]):.1%} of 5 to 9")

with tempfile.TemporaryDirectory() as folder:
    fn.save_model(Path(folder) / "0_to_4.npz", model, trained.params)

    model, params = fn.load_model(Path(folder) / "0_to_4.npz")  # these lines are the transfer
    body, learned = fn.part(model, params, slice(-1))
    model = fn.serial(fn.named("body", fn.frozen(body)), fn.named("head", fn.dense(5)))
    params = {**model.init((28, 28, 1), rng=0), "body": learned}
    result = fn.fit(model, params, fn.adam(2e-3), few, loss, epochs=60, verbose=False)

same = all(map(np.array_equal, fn.tree.leaves(learned), fn.tree.leaves(result.params["body"])))
print(f"transferred: {accuracy(fn.predict(model, result.params, of(test, 5)[0]), of(test, 5)[1]):.1%} of 5 to 9")
print(f"the frozen layers have the bits of before: {same}")
