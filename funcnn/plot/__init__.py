"""Plots of data, of training, and of the parameters and activations of a model, on new axes or on axes that you pass.

Every function returns the axes: ``ax.figure.savefig("plot.png")`` saves the plot, and ``ax`` can be changed in any way.
New axes belong to a figure of their own, which pyplot does not know: it needs no screen and need not be closed. In a
notebook, axes that are the last line of a cell show their picture. A new plot is one function with an argument ``ax``,
in the file of its family, and one row in the table of ``test_plot.py``.
"""

from funcnn.plot.confusion import confusion_matrix
from funcnn.plot.curves import learning_curves, norms, validation_curve
from funcnn.plot.diagram import diagram
from funcnn.plot.images import filtered_image, heat_map, image_grid
from funcnn.plot.inside import feature_maps
from funcnn.plot.points import decision_boundary, scatter
from funcnn.plot.scores import calibration_curve, precision_recall_curve, roc_curve
from funcnn.plot.weights import dense_weights, filters

__all__ = [
    "calibration_curve", "confusion_matrix", "decision_boundary", "dense_weights", "diagram", "feature_maps",
    "filtered_image", "filters", "heat_map", "image_grid", "learning_curves", "norms", "precision_recall_curve",
    "roc_curve", "scatter", "validation_curve",
]  # fmt: skip
