"""Data that only the published experiments use: small sets made by formula, and preprocessing of images."""

import numpy as np

import funcnn as fn

SHAPES = {
    "v_line": ((0, 1, 0), (0, 1, 0), (0, 1, 0)),
    "h_line": ((0, 0, 0), (1, 1, 1), (0, 0, 0)),
    "cross": ((0, 1, 0), (1, 1, 1), (0, 1, 0)),
    "diamond": ((0, 1, 0), (1, 0, 1), (0, 1, 0)),
}


def disc(n, rng: fn.Rng = 0):
    """Points of the square [-1, 1) x [-1, 1), labelled by whether they lie in a disc: [(i^2 + j^2) / pi < 0.2].

    The disc covers 49 % of the square, so that the classes are nearly balanced.

    Args:
        n: the number of points.
        rng: the key of the points.

    Returns:
        ``(x, labels)``: float32 of shape (n, 2), and int64 of shape (n,): 1 inside, 0 outside.

    Reference:
        Apiquet, Deep learning framework from scratch, part 3: the data of its command line program.
    """
    x = fn.rng.generator(rng).uniform(-1, 1, (n, 2)).astype(np.float32)
    return x, (np.square(x).sum(axis=1) / np.pi < 0.2).astype(np.int64)


def shapes(n, noise=0.25, rng=0):
    """Images of 3 x 3 pixels: a vertical line, a horizontal line, a cross or a diamond, with noise.

    Args:
        n: the number of images; the four classes have equally many, to within one.
        noise: the noise of each pixel is uniform in [-noise, noise).
        rng: the key of the noise and of the order.

    Returns:
        ``(x, labels)``: float32 of shape (n, 3, 3, 1), ink is 1 and paper is 0; and int64 of shape (n,), the index
        into ``SHAPES``.

    Reference:
        Convolutional neural network from scratch (2023): the first data set of its network.
    """
    draw = fn.rng.generator(rng)
    labels = draw.permutation(np.arange(n) % len(SHAPES))
    images = np.array(list(SHAPES.values()), np.float32)[labels, :, :, None]
    return images + draw.uniform(-1, 1, images.shape).astype(np.float32) * float(noise), labels


def standardize_images(x):
    """y = (x - mean) / std, with the mean and the standard deviation of each image.

    Args:
        x: integers or floats of shape (n, height, width, channels).

    Returns:
        An array of the shape and the dtype of ``x``, or float32 for integers. A constant image becomes zeros.

    Reference:
        q-viper, CNN from scratch: its preprocessing of MNIST.
    """
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
    if not len(x):
        return x.astype(dtype)
    # Transposed: ``statistics`` is over the first axis, here the pixels of each image.
    pixels = x.reshape(len(x), -1).T
    return np.ascontiguousarray(fn.datasets.standardize(pixels, fn.datasets.statistics(pixels)).T).reshape(x.shape)


def average_pool_images(x, size):
    """Smaller images: each pixel is the mean of ``size`` x ``size`` pixels.

    Args:
        x: images of shape (n, height, width, channels), uint8 or floats; ``size`` divides height and width.
        size: the side of a window.

    Returns:
        (n, height / size, width / size, channels) of the same dtype. Means of uint8 are rounded to the nearest
        integer, halves up.

    Reference:
        Apiquet, Deep learning framework from scratch, part 3: MNIST at 14 x 14 pixels.
    """
    whole = x.dtype == np.uint8
    total = np.zeros((len(x), x.shape[1] // size, x.shape[2] // size, x.shape[3]), np.int64 if whole else x.dtype)
    for row in range(size):
        for column in range(size):
            total += x[:, row::size, column::size]
    return ((2 * total + size**2) // (2 * size**2)).astype(np.uint8) if whole else total / size**2
