"""The training loop and what it needs: batches of data, ``fit``, ``evaluate`` and ``predict``, callbacks.

A training step is a pure function; everything here is a loop around it, and a run is a value that ``run_file`` saves
and reads. A new callback is a function in ``callbacks.py``.
"""

from funcnn.training.batching import batches, k_fold, split
from funcnn.training.evaluate import Metric, Record, evaluate, predict, value_and_grad
from funcnn.training.fit import Callback, CallbackLike, Decision, Fit, NonFiniteLossError, fit
from funcnn.training.generate import generate
from funcnn.training.printed import format_record
from funcnn.training.progress import progress

__all__ = [
    "Callback", "CallbackLike", "Decision", "Fit", "Metric", "NonFiniteLossError", "Record", "batches", "evaluate",
    "fit", "format_record", "generate", "k_fold", "predict", "progress", "split", "value_and_grad",
]  # fmt: skip
