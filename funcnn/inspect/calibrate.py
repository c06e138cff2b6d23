"""Calibration measures what layers predict with: the mean and variance of the input of each batch norm.

It is one forward pass, in which each batch norm first measures its input, then predicts with the measured statistics.
"""

from __future__ import annotations

from typing import Any

from funcnn import tree
from funcnn.aliases import Array, Key, Params, Tree
from funcnn.combinators.parameters import frozen_paths
from funcnn.engine.microbatch import AllReduce, Backward, Coroutine, Forward, join, output
from funcnn.inspect.traverse import all_ties, rebuild, untied, wrapped
from funcnn.protocol import Layer, as_layer
from funcnn.tree import below, is_below

__all__ = ["calibrate"]


def calibrate(model: Any, params: Params, x: Tree) -> Params:
    """Measure what the layers of a model predict with: the mean and variance of the input of each ``batch_norm``.

    Layer by layer; the input of each one is computed as the layers before it will predict.

    Args:
        model: a layer or a pair.
        params: its parameters.
        x: (batch, *shape), a thousand or a few thousand training examples.

    Returns:
        The parameters with ``mean`` and ``var`` measured; all others are the same arrays.

    Raises:
        ValueError: ``x`` holds no example.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.batch_norm())
        >>> params = model.init((1,), rng=0)
        >>> calibrate(model, params, np.array([[1.0], [3.0]], np.float32))["batch_norm_0"]["mean"]
        array([2.], dtype=float32)

    Reference:
        Ioffe & Szegedy 2015, arXiv 1502.03167, algorithm 2; Wu & Johnson 2021, arXiv 2105.07576, section 3.
    """
    leaves = tree.leaves(x)
    if not leaves or not len(leaves[0]):
        raise ValueError("calibrate: expected some examples to measure, got none")
    measured: dict[str, Array] = {}
    paths: list[str] = []
    ties = all_ties(model)
    frozen = frozen_paths(as_layer(model))

    def measuring(path: str, layer: Layer) -> Layer:
        measure = layer.measure
        if measure is None or any(is_below(path, above) for above in frozen):
            return layer
        paths.append(path)

        def around(inner: Forward) -> Forward:
            def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
                own = yield AllReduce(x, lambda parts: [statistics(params, join(parts))] * len(parts))
                return (yield from inner(own, x, None, keep))

            return forward

        def statistics(params: Params, x: Any) -> Params:
            new = {name: leaf for name, leaf in measure(params, x).items() if leaf is not params.get(name)}
            # Layers that share statistics predict with those of the first of them.
            return {**params, **{name: measured.setdefault(untied(below(path, name), ties), new[name]) for name in new}}

        return wrapped(layer, around)

    rebuilt = rebuild(model, measuring)
    if not paths:
        return params
    output(rebuilt, params, x)
    calibrated: Params = tree.map_with_path(lambda path, leaf: measured.get(path, leaf), params)
    return calibrated
