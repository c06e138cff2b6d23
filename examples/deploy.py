"""A trained network at work on a small machine: all it needs is Python, NumPy, funcnn and the model file.

    python examples/deploy.py runs/mnist_cnn/digits.npz

Nothing here knows what the network looks like; the file does. It shows what the network takes the first two of funcnn's
test digits for, and then how often it is right on all of them.

Without threadpoolctl, funcnn cannot keep BLAS's threads out of its own way; on a busy machine it is many times faster
with ``OPENBLAS_NUM_THREADS=1`` in the environment, and ``FUNCNN_NUM_THREADS=4`` then puts four cores to work.
"""

import argparse
import time

import numpy as np

import funcnn as fn

parser = argparse.ArgumentParser(description="Predict handwritten digits with a model file.")
parser.add_argument("model", help="a file that save_model wrote, for images of 28 x 28 pixels and ten digits")
model, params = fn.load_model(parser.parse_args().model)
print(model)

_, (images, labels) = fn.datasets.digits()
x = images.astype(np.float32) / 255

for image, label, scores in zip(images[:2], labels, fn.predict(model, params, x[:2]), strict=False):
    for row in image[4:24:2, :, 0]:
        print("".join(" .:*#"[ink // 52] for ink in row))
    print(f"taken for {scores.argmax()}, is {label}\n")

begun = time.perf_counter()
right = (fn.predict(model, params, x).argmax(axis=1) == labels).mean()
seconds = time.perf_counter() - begun
print(f"{right:.2%} of {len(x):,} digits are read rightly, at {1e6 * seconds / len(x):.0f} microseconds each")
