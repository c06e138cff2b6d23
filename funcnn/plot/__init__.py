"""Plots of data, of training, and of the parameters and activations of a model, on new axes or on axes that you pass.

Every function returns the axes: ``ax.figure.savefig("plot.png")`` saves the plot, and ``ax`` can be changed in any way.
New axes belong to a figure of their own, which pyplot does not know: it needs no screen and need not be closed. In a
notebook, axes that are the last line of a cell show their picture. A new plot is one function with an argument ``ax``,
in the file of its family, and one row in the table of ``test_plot.py``.
"""

from funcnn.plot.confusion import confusion_matrix as confusion_matrix
from funcnn.plot.curves import learning_curves as learning_curves
from funcnn.plot.curves import norms as norms
from funcnn.plot.curves import validation_curve as validation_curve
from funcnn.plot.diagram import diagram as diagram
from funcnn.plot.images import filtered_image as filtered_image
from funcnn.plot.images import heat_map as heat_map
from funcnn.plot.images import image_grid as image_grid
from funcnn.plot.inside import feature_maps as feature_maps
from funcnn.plot.points import decision_boundary as decision_boundary
from funcnn.plot.points import scatter as scatter
from funcnn.plot.scores import calibration_curve as calibration_curve
from funcnn.plot.scores import precision_recall_curve as precision_recall_curve
from funcnn.plot.scores import roc_curve as roc_curve
from funcnn.plot.weights import dense_weights as dense_weights
from funcnn.plot.weights import filters as filters
