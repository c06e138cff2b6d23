"""Pictures of data, of training, and of what a model sees inside; each is drawn on axes that you give, or on new ones.

Every function returns the axes, so ``ax.figure.savefig("picture.png")`` keeps the picture and ``ax`` takes any change;
new axes belong to a figure of their own that needs no screen and that nobody has to close.
"""

from funcnn.plot.confusion import confusion_matrix as confusion_matrix
from funcnn.plot.curves import learning_curves as learning_curves
from funcnn.plot.curves import norms as norms
from funcnn.plot.diagram import diagram as diagram
from funcnn.plot.images import filtered_image as filtered_image
from funcnn.plot.images import heat_map as heat_map
from funcnn.plot.images import image_grid as image_grid
from funcnn.plot.inside import feature_maps as feature_maps
from funcnn.plot.points import decision_boundary as decision_boundary
from funcnn.plot.points import scatter as scatter
from funcnn.plot.weights import dense_weights as dense_weights
from funcnn.plot.weights import filters as filters
