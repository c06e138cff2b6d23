"""Tools that look inside a model: traversal, calibration, folding, summaries, attribution.

Each reads the recorded calls of a model, or runs it and records the input and the output of its layers. A new tool is a
file that uses ``rebuild`` or ``trace`` from ``traverse.py``.
"""

from funcnn.inspect.attribution import grad_cam, saliency
from funcnn.inspect.calibrate import calibrate
from funcnn.inspect.fold import fold_batch_norm
from funcnn.inspect.nonfinite import NonFiniteError, debug_nonfinite
from funcnn.inspect.part import part
from funcnn.inspect.summary import Row, Summary, summary
from funcnn.inspect.traverse import Visit, outputs, rebuild, trace

__all__ = [
    "NonFiniteError", "Row", "Summary", "Visit", "calibrate", "debug_nonfinite", "fold_batch_norm", "grad_cam",
    "outputs", "part", "rebuild", "saliency", "summary", "trace",
]  # fmt: skip
