"""Metrics say how good predictions are in numbers that people read; unlike a loss they need no gradient.

Each is a pure function of the model's answers and the targets, and answers for all examples that it is given at once.
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
from funcnn.metrics.probability import calibration_error, log_loss
from funcnn.metrics.ranking import average_precision, roc_auc
from funcnn.metrics.regression import r2

__all__ = [
    "accuracy", "average_precision", "balanced_accuracy", "calibration_error", "confusion_matrix", "error_rate", "f1",
    "log_loss", "matthews_correlation", "precision", "r2", "recall", "roc_auc", "top_k_accuracy",
]  # fmt: skip
