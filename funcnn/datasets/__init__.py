"""Data sets, as pairs ``(x, labels)`` of arrays with one example per index, and their preprocessing.

``mnist`` has handwritten digits, ``synthetic`` makes small sets by formula, ``images`` reads folders of images. A new
data set is a function that returns such pairs.
"""

from funcnn.datasets.images import image_folder
from funcnn.datasets.mnist import digits, mnist
from funcnn.datasets.preprocessing import one_hot, standardize, statistics
from funcnn.datasets.synthetic import circles, moons

__all__ = ["circles", "digits", "image_folder", "mnist", "moons", "one_hot", "standardize", "statistics"]
