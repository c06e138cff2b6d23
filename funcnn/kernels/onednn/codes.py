"""Numbers of oneDNN's C header, which are the same in all versions 3: kinds, places of arguments, queries, flags."""

CPU, IN_ORDER, FLOAT32, ANY_ORDER, USER_SCRATCHPAD = 1, 1, 3, 1, 1

TRAINING, INFERENCE, BACKWARD = 64, 96, 128

DIRECT, RELU, CLIP, SOFTMAX = 1, 0x20, 0x2E, 0x30000
MAX_POOL, MEAN_POOL_WITH_PADDING, MEAN_POOL = 0x1FF, 0x2FF, 0x3FF
"""Algorithms."""

GIVEN_MOMENTS, SCALED, SHIFTED, THEN_RELU = 1, 2, 4, 8
"""Flags of norms."""

SRC, DST, WEIGHTS, BIAS, MEAN, VAR, SCALE, SHIFT, WORKSPACE, SCRATCHPAD = 1, 17, 33, 41, 49, 50, 51, 52, 64, 80
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_SCALE, DIFF_SHIFT = 129, 145, 161, 255, 256
"""Places of arguments."""

QUERY_IMPLEMENTATION, QUERY_WEIGHTS, QUERY_DIFF_WEIGHTS, QUERY_WORKSPACE, QUERY_SCRATCHPAD = 8, 131, 132, 135, 136

STATUS = {
    1: "out of memory", 2: "invalid arguments", 3: "not implemented", 4: "no more implementations", 5: "runtime error",
    6: "not required",
}  # fmt: skip
UNIMPLEMENTED = 3

RUNTIMES = {1: "sequential", 2: "OpenMP", 4: "TBB", 8: "thread pool", 256: "SYCL", 512: "OpenCL"}
