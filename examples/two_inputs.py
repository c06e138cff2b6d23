"""A model with two inputs, an image and a table: x is a dict of arrays.

    python examples/two_inputs.py

The image is the upper half of a handwritten digit, and the table holds the ink in each row of its lower half, 14
numbers. Each input has layers of its own, ``parallel``, and ``merge`` joins their outputs. A second model, trained on
the same data, selects the image and never sees the table.
"""

import numpy as np

import funcnn as fn


def inputs(images):
    x = images.astype(np.float32) / 255
    return {"image": x[:, :14], "table": x[:, 14:].mean((2, 3))}


on_image = fn.serial(fn.conv2d(8, 5, activation=fn.relu), fn.max_pool2d(2), fn.flatten)
on_both = fn.parallel(image=on_image, table=fn.dense(32, activation=fn.relu))
hidden, last = fn.dense(64, activation=fn.relu), fn.dense(10)
models = {
    "image": fn.serial(fn.select("image"), on_image, hidden, last),
    "image and table": fn.serial(on_both, fn.merge("concat"), hidden, last),
}
train, test = ((inputs(images), labels) for images, labels in fn.datasets.digits())
for name, model in models.items():
    params = model.init(fn.specs(train[0]), rng=0)
    params, _, history = fn.fit(
        model, params, fn.adam(3e-3), train, fn.softmax_cross_entropy, epochs=4, batch_size=64, evaluate_every=4,
        validation=test, metrics={"accuracy": fn.metrics.accuracy}, verbose=False,
    )  # fmt: skip
    print(f"{name}: {history[-1]['validation_accuracy']:.1%} of the test digits are classified correctly")
