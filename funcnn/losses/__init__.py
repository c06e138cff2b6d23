"""A loss is ``loss(y, target) -> (value, dy)``: one number for a batch, and its gradient, where backpropagation starts.

The order is that of metrics too, predictions first, and all take the keywords ``y``, ``target``, ``weights`` and
``reduction``; those that classify take ``class_weights``, ``ignore_index`` and ``label_smoothing`` too. A loss that has
parameters of its own is made by a call, ``huber(delta=1.0)``, and the others are ready; for ``fit``, the options of
either are set by ``functools.partial(softmax_cross_entropy, label_smoothing=0.1)``.

There is one file for each family: ``regression``, ``classification``, ``margin``, ``likelihood``, ``overlap``;
``ranking`` for pairs and triplets, ``contrast`` for the pairs of a batch, ``sequence`` for labels of a series; and
``combine`` adds the losses of several outputs. ``core`` weighs and reduces, ``targets`` reads targets, and ``kinds``
makes a loss of a formula. A new loss is one formula here and one row in the table ``funcnn/testing/table/losses.py``.
"""

# ruff: noqa: I001, the names of a file stand side by side
from funcnn.spellings import explain_names
from funcnn.losses.classification import (
    binary_cross_entropy, categorical_cross_entropy, focal, negative_log_likelihood, sigmoid_cross_entropy,
    softmax_cross_entropy, softmax_focal,
)  # fmt: skip
from funcnn.losses.combine import combine
from funcnn.losses.contrast import info_nce
from funcnn.losses.core import Loss
from funcnn.losses.likelihood import gaussian_nll, kl_divergence, poisson_nll
from funcnn.losses.margin import (
    categorical_hinge, hinge, multi_margin, multilabel_margin, multilabel_soft_margin, soft_margin, squared_hinge,
)  # fmt: skip
from funcnn.losses.overlap import dice, tversky
from funcnn.losses.ranking import (
    contrastive, cosine_embedding, cosine_similarity, hinge_embedding, margin_ranking, triplet_margin,
)  # fmt: skip
from funcnn.losses.regression import (
    huber, log_cosh, mean_absolute_error, mean_squared_error, mean_squared_log_error, quantile, smooth_l1,
)  # fmt: skip
from funcnn.losses.sequence import ctc
from funcnn.losses.targets import class_weights

__all__ = [
    "Loss", "binary_cross_entropy", "categorical_cross_entropy", "categorical_hinge", "class_weights", "combine",
    "contrastive", "cosine_embedding", "cosine_similarity", "ctc", "dice", "focal", "gaussian_nll", "hinge",
    "hinge_embedding", "huber", "info_nce", "kl_divergence", "log_cosh", "margin_ranking", "mean_absolute_error",
    "mean_squared_error", "mean_squared_log_error", "multi_margin", "multilabel_margin", "multilabel_soft_margin",
    "negative_log_likelihood", "poisson_nll", "quantile", "sigmoid_cross_entropy", "smooth_l1", "soft_margin",
    "softmax_cross_entropy", "softmax_focal", "squared_hinge", "triplet_margin", "tversky",
]  # fmt: skip

explain_names(__name__)
