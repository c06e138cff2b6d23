"""The layout of a directed acyclic graph: boxes in ranks from top to bottom, joined by arrows with right angles.

Four steps: the rank of a box is the longest path to it; the boxes of a rank are ordered so that few arrows cross; each
is moved to where its arrows are straightest; and the arrows are routed, between the ranks and beside the boxes. An
arrow that skips ranks runs in a *lane*, a vertical line that needs room in each rank that it passes.

Reference:
    Sugiyama, Tagawa & Toda 1981, "Methods for visual understanding of hierarchical system structures".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, permutations
from typing import TypeAlias

import numpy as np

__all__ = ["Box", "Layout", "layered"]

Point: TypeAlias = tuple[float, float]
Item: TypeAlias = tuple[str, int]
"""A name and a rank: in the rank of that box the box itself, in a lower one the lane of its output."""

# Lengths are inches, from top to bottom and from left to right.
ARROW, STUB, TRACK, HEAD, MARGIN = 0.42, 0.28, 0.12, 0.24, 0.3

STRAIGHT = 2e-3
"""Offsets below this are rounding."""

RIGID, ELASTIC, WEAK = 100.0, 1.0, 0.01
"""How strongly an arrow is kept straight: from box to box, or the middle one of several that split or merge; any other
one of these; and one into a side lane."""

MAX_SWEEPS, MAX_BARS_TO_PERMUTE = 8, 5


@dataclass(frozen=True)
class Box:
    """A box: the names of those that it has arrows from, its size, and the width of the label on its arrow out."""

    inputs: tuple[str, ...]
    width: float
    height: float
    label: float


@dataclass
class Layout:
    """Where things are: boxes by the middle of their upper edge, arrows as points, labels by their left middle."""

    boxes: dict[str, Point] = field(default_factory=dict)
    arrows: dict[tuple[str, str], list[Point]] = field(default_factory=dict)
    labels: dict[tuple[str, str], Point] = field(default_factory=dict)
    left: float = 0.0
    right: float = 0.0
    height: float = 0.0


def layered(boxes: Mapping[str, Box]) -> Layout:
    """Lay out a graph.

    Args:
        boxes: by name, each after its inputs. The first one has no inputs, and every other has some; the last one
            depends on all others. These two stand at x = 0.

    Returns:
        The layout. Its labels have keys: ``(name, "")`` for the arrows out of a box, ``(name, target)`` for the end of
        a side lane.

    Example:
        >>> chain = {"a": Box((), 1.0, 0.5, 0.2), "b": Box(("a",), 1.0, 0.5, 0.2)}
        >>> layered(chain).boxes["a"]
        (0.0, 0.0)
    """
    graph = _Graph(boxes)
    order = graph.ordered()
    xs = _positions(graph, order)
    return _routed(graph, order, xs)


class _Graph:
    """The boxes with their ranks, and the items of each rank: boxes and lanes."""

    def __init__(self, boxes: Mapping[str, Box]) -> None:
        self.boxes = boxes
        self.rank: dict[str, int] = {}
        self.targets: dict[str, list[str]] = {name: [] for name in boxes}
        for name, box in boxes.items():
            self.rank[name] = max((self.rank[source] + 1 for source in box.inputs), default=0)
            for source in box.inputs:
                self.targets[source].append(name)
        self.ranks: list[list[Item]] = [[] for _ in range(max(self.rank.values()) + 1)]
        for name in boxes:
            self.ranks[self.rank[name]].append((name, self.rank[name]))
        for name in sorted(boxes, key=lambda name: -self.rank[name]):
            for number in range(self.rank[name] + 1, max((self.rank[t] for t in self.targets[name]), default=0)):
                self.ranks[number].append((name, number))

    def is_side_lane(self, name: str) -> bool:
        """Whether the lane of an output runs beside an arrow to the next rank, which is the one to be kept straight."""
        return any(self.rank[target] == self.rank[name] + 1 for target in self.targets[name])

    def is_end_of_lane(self, item: Item) -> bool:
        """Whether an item is the end of a lane beside its target."""
        name, number = item
        return number > self.rank[name] and number == max(self.rank[target] for target in self.targets[name])

    def extent(self, item: Item) -> tuple[float, float]:
        """The room that an item needs, to the left of its x and to the right."""
        box = self.boxes[item[0]]
        half = box.width / 2 if item[1] == self.rank[item[0]] else 0.0
        return half, max(half, box.label)

    def links(self, number: int) -> list[tuple[Item, Item]]:
        """The links between a rank and the next: parts of arrows and of lanes."""
        below = set(self.ranks[number + 1])
        found = [(item, (item[0], number + 1)) for item in self.ranks[number] if (item[0], number + 1) in below]
        for name, rank in self.ranks[number + 1]:
            if rank == self.rank[name]:
                found += [((source, number), (name, rank)) for source in self.boxes[name].inputs]
        return found

    def strength(self, above: Item, below: Item) -> float:
        """How strongly a link is kept straight."""
        source, target = above[0], below[0]
        if source == target:
            starts = above[1] == self.rank[source]
            return (WEAK if self.is_side_lane(source) else RIGID) if starts else RIGID
        if self.is_aside(source, target):
            return WEAK
        out = [other for other in self.targets[source] if not self.is_aside(source, other)]
        into = [other for other in self.boxes[target].inputs if not self.is_aside(other, target)]
        out = [name for name, _ in self.ranks[below[1]] if name in out and self.rank[name] == below[1]]
        into = [name for name, _ in self.ranks[above[1]] if name in into]
        return RIGID if _middle(out) == target and _middle(into) == source else ELASTIC

    def is_aside(self, source: str, target: str) -> bool:
        """Whether an arrow runs in a side lane."""
        return self.rank[target] > self.rank[source] + 1 and self.is_side_lane(source)

    def ordered(self) -> list[list[Item]]:
        """The items of each rank from left to right: sorted by the mean place of their neighbours, down and up."""
        best = order = self.ranks
        fewest = -1
        for sweep in range(MAX_SWEEPS):
            down = sweep % 2 == 0
            order = [list(items) for items in order]
            for number in range(1, len(order)) if down else range(len(order) - 2, -1, -1):
                fixed = number - 1 if down else number + 1
                place = {item: index for index, item in enumerate(order[fixed])}
                near: dict[Item, list[int]] = {item: [] for item in order[number]}
                for above, below in self.links(min(number, fixed)):
                    here, there = (below, above) if down else (above, below)
                    near[here].append(place[there])
                order[number].sort(key=lambda item: np.mean(near[item]))
            crossings = self._crossings(order)
            if not sweep or crossings < fewest:
                best, fewest = order, crossings
            if not crossings:
                break
        self.ranks = best
        for name, box in self.boxes.items():
            self._end_lanes_beside(name, box)
        return self.ranks

    def _crossings(self, order: Sequence[Sequence[Item]]) -> int:
        """How many pairs of links cross."""
        return sum(self._crossings_below(number, *order[number : number + 2]) for number in range(len(order) - 1))

    def _crossings_below(self, number: int, above: Sequence[Item], below: Sequence[Item]) -> int:
        """How many pairs of links cross between a rank and the next."""
        upper, lower = ({item: index for index, item in enumerate(items)} for items in (above, below))
        ends = np.array([(upper[source], lower[target]) for source, target in self.links(number)])
        apart = ends[:, None] - ends
        return int((apart[..., 0] * apart[..., 1] < 0).sum()) // 2

    def _end_lanes_beside(self, name: str, box: Box) -> None:
        """Give the outermost lanes that end in a box room beside it, so that their arrows can enter from the side."""
        number = self.rank[name]
        sources = [item[0] for item in self.ranks[number - 1] if item[0] in box.inputs] if box.inputs else []
        for source, side in ((sources[0], 0), (sources[-1], 1)) if len(sources) > 1 else ():
            before, items = self.ranks[number - 1 : number + 1]
            if self.rank[source] < number - 1 and (source, number) not in items:
                crossings = self._crossings_below(number - 1, before, items)
                items.insert(items.index((name, number)) + side, (source, number))
                if self._crossings_below(number - 1, before, items) > crossings:
                    items.remove((source, number))


def _middle(names: Sequence[str]) -> str:
    """The middle one of an odd number."""
    return names[len(names) // 2] if len(names) % 2 else ""


def _positions(graph: _Graph, order: Sequence[Sequence[Item]]) -> dict[Item, float]:
    """x of each item: a box that all arrows pass through stands at 0; the others, so that arrows are straightest."""
    xs: dict[Item, float] = {}
    first = 0
    for number, items in enumerate(order):
        passing = [item for item in items if not graph.is_end_of_lane(item)]
        if len(passing) == 1:
            xs[passing[0]] = 0.0
            if number > first:
                start = next(item for item in order[first] if item in xs)
                xs |= _straightened(graph, [[start], *order[first + 1 : number + 1]], {start, passing[0]})
            first = number
    return xs


def _straightened(graph: _Graph, order: Sequence[Sequence[Item]], ends: set[Item]) -> dict[Item, float]:
    """Minimize the sum of (strength * offset)^2 over all links between some ranks, if the ends stand at 0.

    Subject to a distance between neighbours, it is least-distance programming: with z = R x, minimize |z| subject to
    G R^-1 z >= h, which a non-negative least squares problem solves.

    Reference:
        Lawson & Hanson 1974, "Solving least squares problems", chapter 23.4.
    """
    from scipy.optimize import nnls  # type: ignore[import-untyped]

    items = [item for rank in order for item in rank if item not in ends]
    if not items:
        return {}
    column = {item: number for number, item in enumerate(items)}
    springs = [link for rank in order[:-1] for link in graph.links(rank[0][1])]
    spring_rows = np.zeros((len(springs), len(items)))
    for row, (above, below) in zip(spring_rows, springs, strict=True):
        for item, sign in ((above, 1.0), (below, -1.0)):
            if item in column:
                row[column[item]] += sign * graph.strength(above, below)
    neighbours = [pair for rank in order for pair in pairwise(rank)]
    apart = np.zeros((len(neighbours), len(items)))
    for row, pair in zip(apart, neighbours, strict=True):
        for item, sign in zip(pair, (-1.0, 1.0), strict=True):
            if item in column:
                row[column[item]] = sign
    distance = np.array([graph.extent(one)[1] + MARGIN + graph.extent(other)[0] for one, other in neighbours])
    _, factor = np.linalg.qr(spring_rows)
    constraints = np.linalg.solve(factor.T, apart.T)
    system = np.vstack([constraints, distance])
    target = np.zeros(len(system))
    target[-1] = 1
    solution, _ = nnls(system, target)
    residual = system @ solution - target
    found = np.linalg.solve(factor, -residual[:-1] / residual[-1])
    return {item: round(float(x), 4) + 0.0 for item, x in zip(items, found, strict=True)}


@dataclass
class _Route:
    """The path of one arrow: the x in which it passes each gap between ranks, and how it enters its target."""

    source: str
    target: str
    lane: list[float]
    entry: str
    port: float


def _routed(graph: _Graph, order: Sequence[Sequence[Item]], xs: Mapping[Item, float]) -> Layout:
    """The heights of ranks and of the gaps between them, and every arrow."""
    routes = [_route(graph, order, xs, source, name) for name, box in graph.boxes.items() for source in box.inputs]
    tracks = [_tracks(_bars(graph, routes, number)) for number in range(len(order) - 1)]
    tops, bottoms = [0.0], []
    for number, items in enumerate(order):
        heights = [graph.boxes[name].height for name, rank in items if rank == graph.rank[name]]
        bottoms.append(tops[-1] + max(heights))
        if number < len(tracks):
            count = max(tracks[number].values(), default=-1) + 1
            tops.append(bottoms[-1] + (STUB + TRACK * (count - 1) + HEAD if count else ARROW))

    def label_height(number: int) -> float:
        bars = number < len(tracks) and tracks[number]
        return bottoms[number] + (STUB if bars else ARROW) / 2

    layout = Layout(height=bottoms[-1])
    for name in graph.boxes:
        number = graph.rank[name]
        layout.boxes[name] = (xs[name, number], tops[number])
        layout.labels[name, ""] = (xs[name, number], label_height(number))
    for route in routes:
        number, end = graph.rank[route.source], graph.rank[route.target]
        box, (_, top) = graph.boxes[route.target], layout.boxes[route.target]
        points = [(route.lane[0], tops[number] + graph.boxes[route.source].height)]
        for gap, (before, after) in enumerate(pairwise(route.lane), number):
            if after != before:
                height = bottoms[gap] + STUB + TRACK * tracks[gap][route.source]
                points += [(before, height), (after, height)]
        if route.entry == "top":
            points.append((route.lane[-1], top))
        else:
            points += [(route.lane[-1], top + box.height / 2), (route.port, top + box.height / 2)]
        layout.arrows[route.source, route.target] = points
        last = max(graph.targets[route.source], key=graph.rank.__getitem__)
        if route.target == last and graph.is_aside(route.source, last):
            layout.labels[route.source, last] = (xs[route.source, end - 1], label_height(end - 1))
    layout.left = min(xs[item] - graph.extent(item)[0] for item in xs)
    layout.right = max(xs[item] + graph.extent(item)[1] for item in xs)
    return layout


def _route(
    graph: _Graph, order: Sequence[Sequence[Item]], xs: Mapping[Item, float], source: str, target: str
) -> _Route:
    """Straight down if that leads into the target, from the side if nothing is between, else from above."""
    number = graph.rank[target]
    lane = [xs[source, graph.rank[source]]]
    for rank in range(graph.rank[source] + 1, number):
        lane.append(lane[-1] if abs(xs[source, rank] - lane[-1]) < STRAIGHT else xs[source, rank])
    box, x = graph.boxes[target], xs[target, number]
    half = box.width / 2
    if abs(lane[-1] - x) < max(half * (0.25 if len(box.inputs) == 1 else 0.7), STRAIGHT):
        return _Route(source, target, [*lane, lane[-1]], "top", lane[-1])
    beside = xs.get((source, number), lane[-1])
    beside = lane[-1] if abs(beside - lane[-1]) < STRAIGHT else beside
    side = x + half if beside > x else x - half
    has_room = len(box.inputs) > 1 and abs(beside - x) > half + HEAD / 2
    if has_room and _is_free(graph, order, xs, (source, target, number), sorted((beside, side))):
        return _Route(source, target, [*lane, beside], "side", side)
    shift = 0.0 if len(box.inputs) == 1 else half / 2 if lane[-1] > x else -half / 2
    return _Route(source, target, [*lane, x + shift], "top", x + shift)


def _is_free(
    graph: _Graph,
    order: Sequence[Sequence[Item]],
    xs: Mapping[Item, float],
    ends: tuple[str, str, int],
    span: Sequence[float],
) -> bool:
    """Whether an arrow that enters from the side crosses no box and runs on no other lane."""
    source, target, number = ends
    low, high = span
    for item in order[number]:
        if item[0] not in (source, target):
            half = graph.extent(item)[0]
            if low - 0.05 < xs[item] + half and xs[item] - half < high + 0.05:
                return False
    return True


Bar: TypeAlias = tuple[float, list[float]]
"""A horizontal line between two ranks: x where its arrow comes from, and where it turns down again."""


def _bars(graph: _Graph, routes: Sequence[_Route], number: int) -> dict[str, Bar]:
    """The bars below a rank, one for each source."""
    bars: dict[str, Bar] = {}
    for route in routes:
        place = number - graph.rank[route.source]
        if 0 <= place < len(route.lane) - 1 and route.lane[place + 1] != route.lane[place]:
            bars.setdefault(route.source, (route.lane[place], []))[1].append(route.lane[place + 1])
    return bars


def _tracks(bars: Mapping[str, Bar]) -> dict[str, int]:
    """The height of each bar: those that overlap have different ones, chosen so that few lines cross."""

    def cost(names: Sequence[str]) -> int:
        crossings = 0
        for place, upper in enumerate(names):
            for lower in names[place + 1 :]:
                (start, ends), (other_start, other_ends) = bars[upper], bars[lower]
                crossings += min(start, *ends) <= other_start <= max(start, *ends)
                crossings += sum(min(other_start, *other_ends) <= x <= max(other_start, *other_ends) for x in ends)
                # An arrow that comes down where another one comes from would run into it.
                crossings += 100 * sum(abs(x - other_start) < MARGIN / 2 for x in ends)
        return crossings

    names: Sequence[str] = list(bars)
    if 1 < len(names) <= MAX_BARS_TO_PERMUTE:
        names = min(permutations(names), key=cost)
    found: dict[str, int] = {}
    for name in names:
        start, ends = bars[name]
        low, high = min(start, *ends), max(start, *ends)
        touching = [
            found[other] for other in found if min(bars[other][0], *bars[other][1]) <= high + STRAIGHT
            and low - STRAIGHT <= max(bars[other][0], *bars[other][1])
        ]  # fmt: skip
        found[name] = max(touching, default=-1) + 1
    return found
