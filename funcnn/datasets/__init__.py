"""Data to learn from, as pairs ``(x, labels)`` of arrays with one example per index, and what is done to them first.

``mnist`` holds handwritten digits, ``synthetic`` makes small sets by formula, ``images`` reads pictures of one's own.
"""

from funcnn.datasets.images import image_folder
from funcnn.datasets.mnist import digits, mnist
from funcnn.datasets.preprocessing import average_pool_images, one_hot, standardize, standardize_images, statistics
from funcnn.datasets.synthetic import circles, disc, moons, shapes

__all__ = [
    "average_pool_images", "circles", "digits", "disc", "image_folder", "mnist", "moons", "one_hot", "shapes",
    "standardize", "standardize_images", "statistics",
]  # fmt: skip
