"""Metrics measure the quality of predictions in numbers that people read; unlike losses they have no gradient.

Each is a pure function of the model's outputs and the targets of all examples. A new metric is one function in the file
of its family and one row in the tables of its tests; ``inputs`` reads and validates the arguments of all.
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

__all__ = [
    "accuracy", "average_precision", "balanced_accuracy", "calibration_curve", "calibration_error", "confusion_matrix",
    "error_rate", "f1", "log_loss", "mae", "matthews_correlation", "precision", "precision_recall_curve", "r2",
    "recall", "rmse", "roc_auc", "roc_curve", "top_k_accuracy",
]  # fmt: skip
