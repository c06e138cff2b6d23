"""Calibration measures what layers predict with: the mean and variance of the input of each batch norm.

Each batch norm measures its input as the layers before it will predict. Examples in one batch take one forward pass, in
which each batch norm first measures, then predicts; in several batches they take a pass for each batch norm, since the
next one needs what the one before has measured on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Arrays, Key, Params, Tree
from funcnn.calls import explained
from funcnn.combinators.parameters import frozen_paths
from funcnn.engine.examples import join
from funcnn.engine.microbatch import AllReduce, Backward, Coroutine, Forward, output
from funcnn.inspect.traverse import all_ties, rebuild, untied, wrapped
from funcnn.protocol import Layer, LayerLike, as_layer, declared
from funcnn.tree import below, is_below
from funcnn.wording import cast

__all__ = ["calibrate"]


@explained
def calibrate(model: LayerLike, params: Params, x: Arrays, batch_size: int | None = None) -> Params:
    """Measure what the layers of a model predict with: the mean and variance of the input of each ``batch_norm``.

    Layer by layer; the input of each one is computed as the layers before it will predict.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (n, *shape), a thousand or a few thousand training examples; or a nested dict of such arrays.
        batch_size: the number of examples at a time, to save memory. By default all at once, in one pass; in several
            batches there is a pass for each layer that measures, and the same result to rounding.

    Returns:
        The parameters with ``mean`` and ``var`` measured; all others are the same arrays.

    Raises:
        TypeError: ``x`` is neither an array nor a nested dict of arrays.
        ValueError: ``x`` holds no example, its arrays differ in length, or ``batch_size`` is out of range.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.batch_norm())
        >>> params = model.init((1,), rng=0)
        >>> calibrate(model, params, np.array([[1.0], [3.0]], np.float32))["batch_norm_0"]["mean"]
        array([2.], dtype=float32)

    Reference:
        Ioffe & Szegedy 2015, arXiv 1502.03167, algorithm 2; Wu & Johnson 2021, arXiv 2105.07576, section 3.
    """
    n = _examples(x)
    size = n if batch_size is None else checks.size("calibrate", "batch_size", batch_size)
    return calibrated(
        model, params, lambda first: tree.map(lambda leaf: leaf[first : first + size], x), range(0, n, size)
    )


def calibrated(model: LayerLike, params: Params, batch: Callable[[int], Tree], starts: range) -> Params:
    """The same with ``batch(start)``, some of the examples, which need not all be in memory at once."""
    places: dict[str, dict[str, str]] = {}  # for each layer that has measured, where its parameters stand
    measured: dict[str, Array] = {}  # what stands there
    reached: list[_Measurement] = []  # the layer that measures in this pass
    paths: list[str] = []
    ties, frozen = all_ties(model), frozen_paths(as_layer(model))

    def finish(measurement: _Measurement, params: Params) -> None:
        path, new = measurement.path, measurement.result()
        new = {name: leaf for name, leaf in new.items() if leaf is not params.get(name)}
        places[path] = {name: untied(below(path, name), ties) for name in new}
        for name, place in places[path].items():
            # Layers that share statistics predict with those of the first of them.
            measured.setdefault(place, new[name])

    def statistics(path: str, measure: Callable[..., Params], params: Params, x: Any) -> Params:
        if path not in places:
            if not reached:
                reached.append(_Measurement(path, measure))
            reached[0].add(params, x)
            if len(starts) > 1:
                raise _Taken
            finish(reached.pop(), params)
        return {**params, **{name: measured[place] for name, place in places[path].items()}}

    def measuring(path: str, layer: Layer) -> Layer:
        measure = layer.measure
        if measure is None or any(is_below(path, above) for above in frozen):
            return layer
        paths.append(path)

        def around(inner: Forward) -> Forward:
            def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
                def on_all(parts: list[Any]) -> list[Params]:
                    return [statistics(path, measure, params, join(parts))] * len(parts)

                own = yield AllReduce(x, on_all)
                return (yield from inner(own, x, None, keep))

            return forward

        return wrapped(layer, around)

    rebuilt = rebuild(model, measuring)
    while len(places) < len(paths):
        for start in starts:
            with suppress(_Taken):
                output(rebuilt, params, batch(start))
        if not reached:
            break
        finish(reached[0], reached.pop().params)
    result: Params = tree.map_with_path(lambda path, leaf: measured.get(path, leaf), params)
    return result


def _examples(x: Tree) -> int:
    """The number of examples, at least 1."""
    lengths = set()
    for path, leaf in tree.flatten(x).items():
        if not isinstance(leaf, np.ndarray) or not leaf.ndim:
            got = f"{checks.what(leaf)}; use {cast(leaf)}"
            raise TypeError(f"calibrate: expected {below('x', path)} as an array of examples, got {got}")
        checks.plain("calibrate", leaf, below("x", path))
        lengths.add(len(leaf))
    if len(lengths) > 1:
        raise ValueError(f"calibrate: the arrays of x hold different numbers of examples, {sorted(lengths)}")
    n = next(iter(lengths), 0)
    if not n:
        raise ValueError("calibrate: expected some examples to measure, got none")
    return n


class _Taken(Exception):
    """Ends the forward pass of one of several batches where a layer has seen its input."""


class _Measurement:
    """What one layer measures on one batch after the other."""

    def __init__(self, path: str, measure: Callable[..., Params]) -> None:
        self.path, self.measure = path, measure
        # A measure that is a coroutine needs no more of a batch than what it brings to its all-reduce.
        self.forward = declared(measure, "forward")
        self.values: list[Any] = []

    def add(self, params: Params, x: Any) -> None:
        """One more batch of the layer's input."""
        self.params = params
        if self.forward is None:
            self.values.append(x)
        else:
            self.coroutine = self.forward(params, x)
            value, self.combine = next(self.coroutine)
            self.values.append(value)

    def result(self) -> Params:
        """The layer's parameters, measured on all batches."""
        if self.forward is None:
            return self.measure(self.params, join(self.values))
        try:
            self.coroutine.send(self.combine(self.values)[-1])
        except StopIteration as stop:
            params: Params = stop.value
            return params
        raise TypeError(f"calibrate: the measure of layer {self.path} may have one all-reduce only")
