"""Values of a file while it is read: arrays that are known, and outputs of layers, each with its axes in the file.

Layers here keep the batch in front and the channels behind; other programs move axes as they like. So a value
records which parts of its layer's output an axis in the file consists of. Transposing, and joining or dividing axes,
only changes this record; arrays move where an operator needs another order.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array, Shape

__all__ = ["BATCH", "Constant", "Operand", "Unsupported", "Value", "common_parts"]

BATCH = 0
"""The part of a value that is the batch."""

Constant: TypeAlias = Array
"""What does not depend on the model's input; an axis for the batch has the size that is assumed while reading."""


class Unsupported(Exception):
    """What an operator of the file asks for and no layer does."""


@dataclass(frozen=True)
class Value:
    """The output of a layer.

    Args:
        node: its name in the graph.
        dtype: of its elements.
        sizes: of its parts in the order of memory: the batch, and then factors of the sizes of the
            layer's output.
        axes: for each axis in the file, the numbers of its parts, the outermost first; none where its size is 1.
    """

    node: str
    dtype: np.dtype[Any]
    sizes: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, node: str, dtype: Any, parts: Mapping[Hashable, int], axes: Sequence[Sequence[Hashable]]) -> Value:
        """A value whose parts have names; parts of size 1 are in no axis."""
        names = [BATCH, *(name for name, size in parts.items() if size > 1 and name != BATCH)]
        number = {name: place for place, name in enumerate(names)}
        groups = tuple(tuple(number[part] for part in axis if part in number) for axis in axes)
        return cls(node, np.dtype(dtype), tuple(parts[name] for name in names), groups)

    @classmethod
    def plain(cls, node: str, shape: Shape, dtype: Any, batch: int) -> Value:
        """A value whose axes in the file are those of the layer's output."""
        sizes: dict[Hashable, int] = dict(enumerate((batch, *shape)))
        return cls.of(node, dtype, sizes, [[place] for place in sizes])

    @property
    def file_shape(self) -> tuple[int, ...]:
        """The shape in the file."""
        return tuple(math.prod(self.sizes[part] for part in axis) for axis in self.axes)

    def same(self, node: str, dtype: Any = None) -> Value:
        """The output of a layer of single elements."""
        return Value(node, self.dtype if dtype is None else np.dtype(dtype), self.sizes, self.axes)

    def with_axes(self, axes: Sequence[Sequence[int]]) -> Value:
        """The same output, with other axes in the file."""
        return Value(self.node, self.dtype, self.sizes, tuple(map(tuple, axes)))

    def axis(self, axis: int) -> int:
        """An axis of the file counted from the front."""
        if not -len(self.axes) <= axis < len(self.axes):
            raise Unsupported(f"axis {axis} of a value of shape {self.file_shape}")
        return axis % len(self.axes)

    def reshaped(self, target: Sequence[int]) -> Value | None:
        """The same output with its axes in the file joined and divided anew; None if elements would have to move."""
        waiting = deque((part, self.sizes[part]) for axis in self.axes for part in axis)
        pieces: dict[int, list[int]] = {}
        axes: list[list[tuple[int, int]]] = []
        for size in target:
            own: list[tuple[int, int]] = []
            while size > 1:
                if not waiting:
                    return None
                part, length = waiting.popleft()
                taken = math.gcd(size, length)
                if taken == 1 or (part == BATCH and taken != length):
                    return None
                if taken < length:
                    if size != taken:
                        return None
                    waiting.appendleft((part, length // taken))
                own.append((part, len(pieces.setdefault(part, []))))
                pieces[part].append(taken)
                size //= taken
            axes.append(own)
        if waiting:
            return None
        whole = {part: pieces.get(part, [size]) for part, size in enumerate(self.sizes)}
        parts: dict[Hashable, int] = {BATCH: self.sizes[BATCH]}
        parts |= {(part, k): size for part, sizes in whole.items() if part != BATCH for k, size in enumerate(sizes)}
        names = [[BATCH if part == BATCH else (part, k) for part, k in axis] for axis in axes]
        return Value.of(self.node, self.dtype, parts, names)


Operand: TypeAlias = Value | Constant


def common_parts(sequences: Sequence[Sequence[int]]) -> list[int]:
    """The parts into which several ways to divide one axis can be divided further.

    Example:
        >>> common_parts([[6, 2], [3, 4]])
        [3, 2, 2]
    """
    heads, found = [list(sizes) for sizes in sequences], []
    while any(heads):
        if not all(heads):
            raise Unsupported(f"axes that do not fit each other, divided as {[*map(list, sequences)]}")
        size = math.gcd(*(own[0] for own in heads))
        if size == 1:
            raise Unsupported(f"elements of one axis in several orders, divided as {[*map(list, sequences)]}")
        found.append(size)
        for own in heads:
            own[0] //= size
            if own[0] == 1:
                del own[0]
    return found
