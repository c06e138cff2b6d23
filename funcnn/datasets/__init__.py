"""Data sets, as pairs ``(x, labels)`` of arrays with one example per index, and their preprocessing.

``mnist`` has handwritten digits and clothes, ``cifar`` small photographs, ``synthetic`` makes small sets by formula,
``images`` reads folders of images, ``idx`` any file in the format of MNIST, ``text`` the characters of texts. A new
data set is a function that returns such pairs; ``download`` has what it needs to fetch and check its files.
"""

from funcnn.datasets.cifar import cifar10
from funcnn.datasets.idx import idx
from funcnn.datasets.images import image_folder
from funcnn.datasets.mnist import digits, fashion_mnist, mnist
from funcnn.datasets.preprocessing import one_hot, standardize, statistics
from funcnn.datasets.synthetic import circles, moons
from funcnn.datasets.text import characters, text8

__all__ = [
    "characters", "cifar10", "circles", "digits", "fashion_mnist", "idx", "image_folder", "mnist", "moons", "one_hot",
    "standardize", "statistics", "text8",
]  # fmt: skip
