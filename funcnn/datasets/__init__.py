"""Data to learn from, as pairs ``(x, labels)`` of arrays with one example per index, and what is done to them first.

``mnist`` holds handwritten digits, ``synthetic`` makes small sets by formula, ``preprocessing`` scales and splits.
"""

from funcnn.datasets.mnist import digits, mnist
from funcnn.datasets.preprocessing import one_hot
from funcnn.datasets.synthetic import circles, disc, moons, shapes

__all__ = ["circles", "digits", "disc", "mnist", "moons", "one_hot", "shapes"]
