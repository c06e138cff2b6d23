"""Metrics measure the quality of predictions in numbers that people read; unlike losses they have no gradient.

The order of arguments is ``metric(y, target)``, as in a loss: the model's outputs first, the true values second, of all
examples. In scikit-learn it is the opposite, and no check can notice: ``r2(target, y)`` is another number and no error.
All metrics and losses take the keywords ``y``, ``target`` and ``weights``, which leave no doubt.

Each is a pure function. A new metric is one function in the file of its family and one row in the tables of its tests;
``inputs`` reads and validates the arguments of all.
"""

from funcnn.metrics.classification import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    error_rate,
    f1,
    matthews_correlation,
    precision,
    recall,
    top_k_accuracy,
)
from funcnn.metrics.probability import calibration_curve, calibration_error, log_loss
from funcnn.metrics.ranking import average_precision, precision_recall_curve, roc_auc, roc_curve
from funcnn.metrics.regression import mae, r2, rmse
from funcnn.spellings import explain_names

__all__ = [
    "accuracy", "average_precision", "balanced_accuracy", "calibration_curve", "calibration_error", "confusion_matrix",
    "error_rate", "f1", "log_loss", "mae", "matthews_correlation", "precision", "precision_recall_curve", "r2",
    "recall", "rmse", "roc_auc", "roc_curve", "top_k_accuracy",
]  # fmt: skip

explain_names(__name__)
