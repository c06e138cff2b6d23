"""Inference on a small machine: it needs only Python, NumPy, funcnn and the model file.

    python examples/deploy.py runs/mnist_cnn/digits.npz

The file contains the architecture of the network. The script prints the predictions for the first two of funcnn's test
digits, and then the accuracy on all of them.

Without threadpoolctl, funcnn cannot limit the threads of BLAS, which compete with its own; on a busy machine it is many
times faster with ``OPENBLAS_NUM_THREADS=1`` in the environment, and ``FUNCNN_NUM_THREADS=4`` then uses four cores.
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
    print(f"predicted {scores.argmax()}, is {label}\n")

started = time.perf_counter()
right = (fn.predict(model, params, x).argmax(axis=1) == labels).mean()
seconds = time.perf_counter() - started
print(f"{right:.2%} of {len(x):,} digits are classified correctly, in {1e6 * seconds / len(x):.0f} microseconds each")
