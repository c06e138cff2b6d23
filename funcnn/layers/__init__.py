"""The layers, one file a family; each is a function that returns the pair ``(init, apply)``.

A new layer without parameters is ``stateless(kind, forward)``, a new activation one row in ``activation/``, any other
one a constructor like ``dense.py``. It is exported here and gets one row in ``testing/table/``, which runs it through
every law. Array work belongs in ``kernels/``.
"""

# ruff: noqa: I001, the names of a file stand side by side
from funcnn.spellings import explain_names
from funcnn.layers.activation import (
    celu, elementwise, elu, exp, geglu, gelu, glu, hard_shrink, hard_sigmoid, hard_swish, hard_tanh, identity,
    leaky_relu, log_sigmoid, log_softmax, maxout, mish, prelu, quick_gelu, reglu, relu, relu6, relu_squared, selu,
    sigmoid, silu, sine, soft_shrink, softmax, softmin, softplus, softsign, sparsemax, square, swiglu, swish, tanh,
    tanh_shrink, threshold,
)  # fmt: skip
from funcnn.layers.adaptive_pool import (
    adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d, adaptive_max_pool1d, adaptive_max_pool2d,
    adaptive_max_pool3d,
)  # fmt: skip
from funcnn.layers.attention import attention
from funcnn.layers.batch_norm import batch_norm, scale_and_shift
from funcnn.layers.bilinear import bilinear
from funcnn.layers.conv import conv1d, conv2d, conv3d, depthwise_conv2d
from funcnn.layers.conv_transpose import conv_transpose1d, conv_transpose2d, conv_transpose3d
from funcnn.layers.dense import dense
from funcnn.layers.dropout import dropout
from funcnn.layers.embedding import embedding, embedding_bag
from funcnn.layers.formulas import affine, power, unary
from funcnn.layers.global_pool import (
    global_avg_pool1d, global_avg_pool2d, global_avg_pool3d, global_max_pool1d, global_max_pool2d, global_max_pool3d,
)  # fmt: skip
from funcnn.layers.local_response import local_response_norm
from funcnn.layers.lp_pool import lp_pool1d, lp_pool2d, lp_pool3d, sum_pool1d, sum_pool2d, sum_pool3d
from funcnn.layers.merge import merge
from funcnn.layers.noise import alpha_dropout, drop_path, gaussian_dropout, gaussian_noise, spatial_dropout
from funcnn.layers.multi_head_attention import multi_head_attention
from funcnn.layers.norm import group_norm, instance_norm, l2_normalize, layer_norm, rms_norm
from funcnn.layers.operators import arithmetic, parameter, reduce, to_float, top_k, where
from funcnn.layers.pad import crop, pad
from funcnn.layers.pool import (
    avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d, min_pool1d, min_pool2d, min_pool3d,
)  # fmt: skip
from funcnn.layers.positions import alibi, positions
from funcnn.layers.recurrent import gru, lstm, rnn
from funcnn.layers.scan import scan, time_distributed
from funcnn.layers.sequence_pool import last, masked_max, masked_mean
from funcnn.layers.shape import expand_dims, flatten, permute, reshape, squeeze, take, unflatten
from funcnn.layers.shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle
from funcnn.layers.stacked import bidirectional, stacked
from funcnn.layers.unfold import fold, unfold
from funcnn.layers.upsample import upsample1d, upsample2d, upsample3d

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "affine", "alibi", "alpha_dropout", "arithmetic", "attention", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "batch_norm", "bidirectional", "bilinear", "celu", "channel_shuffle", "conv1d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "crop", "dense", "depthwise_conv2d", "drop_path",
    "dropout", "elementwise", "elu", "embedding", "embedding_bag", "exp", "expand_dims", "flatten", "fold",
    "gaussian_dropout", "gaussian_noise", "geglu", "gelu", "global_avg_pool1d", "global_avg_pool2d",
    "global_avg_pool3d", "global_max_pool1d", "global_max_pool2d", "global_max_pool3d", "glu", "group_norm", "gru",
    "hard_shrink", "hard_sigmoid", "hard_swish", "hard_tanh", "identity", "instance_norm", "l2_normalize", "last",
    "layer_norm", "leaky_relu", "local_response_norm", "log_sigmoid", "log_softmax", "lp_pool1d", "lp_pool2d",
    "lp_pool3d", "lstm", "masked_max", "masked_mean", "max_pool1d", "max_pool2d", "max_pool3d", "maxout", "merge",
    "min_pool1d", "min_pool2d", "min_pool3d", "mish", "multi_head_attention", "pad", "parameter", "permute",
    "pixel_shuffle", "pixel_unshuffle", "positions", "power", "prelu", "quick_gelu", "reduce", "reglu", "relu", "relu6",
    "relu_squared", "reshape", "rms_norm", "rnn", "scale_and_shift", "scan", "selu", "sigmoid", "silu", "sine",
    "soft_shrink", "softmax", "softmin", "softplus", "softsign", "sparsemax", "spatial_dropout", "square", "squeeze",
    "stacked", "sum_pool1d", "sum_pool2d", "sum_pool3d", "swiglu", "swish", "take", "tanh", "tanh_shrink", "threshold",
    "time_distributed", "to_float", "top_k", "unary", "unflatten", "unfold", "upsample1d", "upsample2d", "upsample3d",
    "where",
]  # fmt: skip

explain_names(__name__)
