"""Epilogues: what they compute, that they can be read, and that a convolution does the same part by part."""

import numpy as np
import pytest

import funcnn as fn
from funcnn.kernels.convolution import convolve
from funcnn.kernels.epilogue import Activation, Epilogue, finish
from funcnn.kernels.tuning import Tuning
from funcnn.kernels.windows import Window
from funcnn.layers.activation import fuse

BIAS, SCALE, SHIFT = np.array([1.0, -1.0]), np.array([2.0, 3.0]), np.array([10.0, 20.0])
NEGATIVE = Activation("negative", np.negative)


def test_an_epilogue_by_hand() -> None:
    for epilogue, expected in (
        (Epilogue(), [[1, 2], [3, 4]]),
        (Epilogue(bias=BIAS), [[2, 1], [4, 3]]),
        (Epilogue(scale=SCALE), [[2, 6], [6, 12]]),
        (Epilogue(shift=SHIFT), [[11, 22], [13, 24]]),
        (Epilogue(activation=NEGATIVE), [[-1, -2], [-3, -4]]),
        (Epilogue(BIAS, SCALE, SHIFT, NEGATIVE), [[-14, -23], [-18, -29]]),
    ):
        # Pixels outermost, then channels outermost: two orders of memory.
        for rows in (np.array([[[1.0], [2.0]], [[3.0], [4.0]]]), np.array([[[1.0, 3.0], [2.0, 4.0]]])):
            finish(rows, epilogue)
            assert rows.swapaxes(1, 2).reshape(2, 2).tolist() == expected


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("window_bytes", [1, 10**6])
def test_a_convolution_does_its_epilogue_once_to_each_pixel(batch: int, window_bytes: int) -> None:
    random = np.random.default_rng(batch)
    x, w = random.standard_normal((batch, 5, 6, 3)), random.standard_normal((3, 3, 3, 2))
    geometry = Window((3, 3), (1, 1), (1, 1), "same").fit("conv", x.shape)
    plain = convolve(x, w, geometry)
    epilogue = Epilogue(BIAS, SCALE, SHIFT, NEGATIVE)
    y = convolve(x, w, geometry, epilogue=epilogue, tuning=Tuning(window_bytes=window_bytes))
    np.testing.assert_allclose(y, -((plain + BIAS) * SCALE + SHIFT), rtol=1e-12, atol=1e-12)


def test_another_implementation_can_read_an_activation() -> None:
    for activation, name, constants in (
        ("relu", "relu", ()),
        (fn.tanh, "tanh", ()),
        (fn.leaky_relu(0.2), "leaky_relu", (0.2,)),
        ("leaky_relu", "leaky_relu", (0.01,)),
    ):
        declared = fuse("conv2d", activation).in_place
        assert declared is not None
        assert (declared.name, declared.constants) == (name, constants)
    # What cannot be done in place, part by part, is no epilogue.
    assert fuse("conv2d", "softmax").in_place is None
    assert fuse("conv2d", None).in_place is None
