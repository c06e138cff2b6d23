"""Combinators around one layer that change what becomes of its parameters: shared, frozen, or computed again.

They are transparent: parameters, paths and children are those of the layer inside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import reduce
from typing import Any

import numpy as np

from funcnn import checks, contract, tree
from funcnn.aliases import Key, Params, Rng, Tree
from funcnn.combinators.wiring import blank
from funcnn.engine.children import is_probing
from funcnn.engine.examples import added
from funcnn.engine.microbatch import Backward, Coroutine, Forward, as_coroutine, microbatched
from funcnn.protocol import Layer, LayerLike, as_layer, declared, is_per_position, layer
from funcnn.tree import below, is_below
from funcnn.wording import shown

__all__ = ["frozen", "remat", "tied"]


@layer
def frozen(layer: LayerLike) -> Layer:
    """The layer as it predicts, in training too; its parameters are not learned.

    Dropout inside drops nothing, and batch norm uses what was measured. The gradients of its parameters are None, which
    optimizers leave alone, ``calibrate`` leaves it alone, and the backward pass stops before the first layer that is
    learned. So batch norm inside must have been measured before. A part of it, such as ``layer[:2]``, is frozen too.

    Args:
        layer: a layer or a pair.

    Returns:
        A layer with the same parameters.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> model = fn.serial(fn.named("encoder", fn.frozen(fn.dense(4))), fn.named("head", fn.dense(2)))
        >>> y, vjp_fn = model.apply(model.init((3,), rng=0), np.ones((5, 3), np.float32), rng=0)
        >>> grads, _ = vjp_fn(np.ones_like(y), input_grad=False)
        >>> grads["encoder"], grads["head"]["w"].shape
        ({'w': None, 'b': None}, (4, 2))
    """
    inner = as_layer(layer)
    run = as_coroutine(inner)

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        y, back = yield from run(params, x, key if is_probing() else None, keep)

        def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
            dx = (yield from back(dy, True))[1] if input_grad else None
            return blank(params), dx

        return y, backward

    return transparent(inner, forward, "frozen", lambda part, which: frozen(part), freezes=True)


@layer
def remat(layer: LayerLike) -> Layer:
    """The layer, whose forward pass runs again in the backward pass: less memory for more time.

    Only its input is kept. What it draws is drawn again from the same key, so outputs and gradients have the same bits.

    Args:
        layer: a layer or a pair, best one with much inside.

    Returns:
        A layer with the same parameters.

    Example:
        >>> import funcnn as fn, numpy as np
        >>> block = fn.serial(fn.dense(64), fn.relu, fn.dense(3))
        >>> params, x = block.init((3,), rng=0), np.ones((5, 3), np.float32)
        >>> np.array_equal(fn.remat(block).apply(params, x)[0], block.apply(params, x)[0])
        True

    Reference:
        Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv 1604.06174, section 4.
    """
    inner = as_layer(layer)
    run = as_coroutine(inner)

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        y, _ = yield from run(params, x, key, False)

        def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
            _, back = yield from run(params, x, key, True)
            return (yield from back(dy, input_grad))

        return y, backward

    return transparent(inner, forward, "remat", lambda part, which: remat(part), measure=inner.measure)


@layer
def tied(layer: LayerLike, ties: Mapping[str, str], transpose: bool = False) -> Layer:
    """The layer with some parameters shared: each target is its source, and has no entry of its own.

    In the backward pass the gradient of a target is added to that of its source.

    Args:
        layer: a layer or a pair.
        ties: ``{target: source}``, paths of parameters or of whole layers, such as ``"dense_0/w"`` or ``"decoder"``.
        transpose: whether a target is the transpose of its source, as the output layer of a language model is of its
            embedding; all of them must then be matrices.

    Returns:
        A layer whose parameters lack the targets.

    Raises:
        TypeError: ``ties`` is not a dict of paths, or ``transpose`` is not a bool.
        ValueError: a target is frozen and its source is not, or the other way round; from ``init``, a path does not
            exist, a source is tied itself, or the shapes differ; or, from ``apply``, the parameters have entries for
            targets.

    Example:
        >>> import funcnn as fn
        >>> autoencoder = fn.serial(fn.dense(2, bias=False), fn.dense(5, bias=False))
        >>> model = fn.tied(autoencoder, {"dense_1/w": "dense_0/w"}, transpose=True)
        >>> fn.tree.paths(model.init((5,), rng=0))
        ['dense_0/w']

    Reference:
        Press & Wolf 2017, "Using the output embedding to improve language models", arXiv 1608.05859, section 3.
    """
    inner, transpose = as_layer(layer), checks.flag("tied", "transpose", transpose)
    run = as_coroutine(inner)
    pairs = _checked_ties(inner, ties)

    def init(shape: Any, rng: Rng) -> Params:
        flat = tree.flatten(inner.init(shape, rng))
        for target, source in _leaf_ties(pairs, flat).items():
            wanted, found = np.shape(flat[target]), np.shape(flat[source])
            if wanted != (found[::-1] if transpose else found):
                raise ValueError(
                    f"tied: {target} has shape {wanted}, and {source} {'transposed ' * transpose}"
                    f"{found[::-1] if transpose else found}; they must be the same"
                )
            flat = {path: leaf for path, leaf in flat.items() if path != target}
        params: Params = tree.unflatten(flat)
        return params

    def expand(params: Params) -> Params:
        return _with_targets(params, pairs, transpose)

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        y, back = yield from run(expand(params), x, key, keep)

        def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
            grads, dx = yield from back(dy, input_grad)
            return in_order_of(params, _onto_sources(grads, pairs, transpose)), dx

        return y, backward

    def around(part: Layer, which: Any) -> Layer:
        kept = dict(_inside(pairs, which))
        return tied(part, kept, transpose) if kept else part

    return transparent(inner, forward, "tied", around, init=init, expand=expand, ties=pairs)


def _checked_ties(layer: Layer, ties: Any) -> dict[str, str]:
    """The ties, or an error for those that no layer, or not this one, can have."""
    if not isinstance(ties, Mapping) or not all(isinstance(path, str) for pair in ties.items() for path in pair):
        raise TypeError(f"tied: expected {{target: source}} of paths, got {shown(ties)}")
    pairs = dict(ties)
    if not pairs or chained(pairs):
        raise ValueError(f"tied: expected {{target: source}}, where no source is a target itself, got {shown(ties)}")
    for target, source in pairs.items():
        if frozen_below(layer, target) != frozen_below(layer, source):
            raise ValueError(f"tied: of {target!r} and {source!r} one is frozen where the other is not; freeze both")
    return pairs


def _with_targets(params: Params, ties: Mapping[str, str], transpose: bool) -> Params:
    """The parameters of the layer inside: those of the targets are their sources."""
    contract.params_dict("tied", params)
    flat = tree.flatten(params)
    if extra := [path for path in flat if _under(path, ties)]:
        raise contract.OtherParameters(f"tied: expected no parameters at {extra}, which are those of {ties}")
    missing = [source for source in ties.values() if not any(is_below(path, source) for path in flat)]
    if missing:
        raise contract.OtherParameters(f"tied: expected parameters at {missing}, got {list(flat)}")
    for target, source in ties.items():
        for path in [path for path in flat if is_below(path, source)]:
            leaf = flat[path]
            turned = transpose and isinstance(leaf, np.ndarray)
            flat[target + path.removeprefix(source)] = leaf.T if turned else leaf
    full: Params = tree.unflatten(flat)
    return full


def _onto_sources(grads: Params, ties: Mapping[str, str], transpose: bool) -> Params:
    """The gradients of the targets added to those of their sources."""
    flat = tree.flatten(grads)
    for target, source in ties.items():
        for path in [path for path in flat if is_below(path, target)]:
            gradient, own = flat.pop(path), source + path.removeprefix(target)
            flat[own] = added([flat[own], gradient if gradient is None or not transpose else gradient.T])
    total: Params = tree.unflatten(flat)
    return total


def _inside(ties: Mapping[str, str], which: str | Collection[str]) -> Iterator[tuple[str, str]]:
    """The ties within one child, with paths inside of that, or within some children."""
    for target, source in ties.items():
        if not isinstance(which, str):
            if {target.split("/")[0], source.split("/")[0]} <= {*which}:
                yield target, source
        elif target.startswith(f"{which}/") and source.startswith(f"{which}/"):
            yield target.removeprefix(f"{which}/"), source.removeprefix(f"{which}/")


def chained(ties: Mapping[str, str]) -> bool:
    """Whether a source lies under a target."""
    return any(is_below(source, target) or is_below(target, source) for source in ties.values() for target in ties)


def frozen_below(layer: Layer, path: str) -> set[str]:
    """The paths below this one whose parameters are frozen; ``""`` if all are."""
    for name in path.split("/"):
        if declared(layer.apply, "frozen"):
            return {""}
        if name not in layer.children:
            return set()
        layer = layer.children[name]
    return frozen_paths(layer)


def frozen_paths(layer: Layer, path: str = "") -> set[str]:
    """The paths of the frozen layers in a layer at this path, without those inside of others."""
    if declared(layer.apply, "frozen"):
        return {path}
    return {found for name, child in layer.children.items() for found in frozen_paths(child, below(path, name))}


def is_frozen(layer: Layer, path: str) -> bool:
    """Whether the parameter at a path has no gradient: its layer is frozen, or it is a constant of one around it."""
    *names, leaf = path.split("/")
    for name in [*names, ""]:
        if declared(layer.apply, "frozen") or leaf in (declared(layer.apply, "constants") or ()):
            return True
        if name not in layer.children:
            return False
        layer = layer.children[name]
    return False


def expanded(layer: Layer, params: Params) -> Params:
    """The parameters of the children: where some are tied, those of the targets too."""
    expand = declared(layer.apply, "expand")
    full: Params = params if expand is None else expand(params)
    return full


def _leaf_ties(ties: Mapping[str, str], flat: Mapping[str, Any]) -> dict[str, str]:
    """The same leaf by leaf, for paths of whole layers too."""
    found: dict[str, str] = {}
    for target, source in ties.items():
        leaves = [path for path in flat if is_below(path, target)]
        for path in (target, source):
            if not any(is_below(leaf, path) for leaf in flat):
                raise ValueError(f"tied: there are no parameters at {path!r}; there are {list(flat)}")
        found |= {path: source + path.removeprefix(target) for path in leaves}
        if lacking := [own for own in (found[path] for path in leaves) if own not in flat]:
            raise ValueError(f"tied: {target} has parameters that {source} lacks, {lacking}")
    return found


def _under(path: str, ties: Mapping[str, str]) -> bool:
    """Whether a path lies under a target."""
    return any(is_below(path, target) for target in ties)


def in_order_of(params: Tree, grads: Tree) -> Tree:
    """Gradients in the order of the parameters."""
    if not isinstance(params, dict):
        return grads
    return {name: in_order_of(own, grads[name]) for name, own in params.items() if name in grads}


def transparent(
    inner: Layer,
    forward: Forward,
    kind: str,
    around: Callable[[Layer, Any], Layer],
    *,
    init: Any = None,
    measure: Any = None,
    multiply_adds: Any = None,
    freezes: bool = False,
    expand: Callable[[Params], Params] | None = None,
    ties: Mapping[str, str] | None = None,
    constants: Collection[str] = (),
    computes: Callable[[Params], Params] | None = None,
) -> Layer:
    """A layer around another one, with its parameters and children, and with what that declares of itself.

    Args:
        inner: the layer inside.
        forward: the forward pass.
        kind: the combinator.
        around: the layer that a child or a slice becomes.
        init: another one than that of the layer inside.
        measure: that of the layer, if it has one.
        multiply_adds: another one than that of the layer inside.
        freezes: whether no parameter is learned.
        expand: makes the parameters of the layer inside of those that are stored, where some are tied.
        ties: ``{target: source}``.
        constants: names of parameters that have no gradient, at any depth.
        computes: makes the parameters of the layer inside of those that are stored, where weights are computed.
    """
    inside = inner.around
    working_set, short = declared(inner.apply, "working_set"), declared(inner.apply, "short_products")
    apply: Any = microbatched(forward, kind, working_set, short_products=bool(short))
    apply.around = around if inside is None else lambda part, which: around(inside(part, which), which)
    apply.frozen = freezes or declared(inner.apply, "frozen")
    apply.constants = {*constants, *(declared(inner.apply, "constants") or ())}
    apply.streams, apply.per_position = declared(inner.apply, "streams"), is_per_position(inner)
    apply.computes = bool(computes) or declared(inner.apply, "computes")
    apply.inner_params = expand or computes
    apply.ties = {**(ties or {}), **(declared(inner.apply, "ties") or {})}
    expansions = [one for one in (expand, declared(inner.apply, "expand")) if one is not None]
    apply.expand = (lambda params: reduce(lambda own, one: one(own), expansions, params)) if expansions else None
    return Layer(
        init or inner.init,
        apply,
        kind=kind,
        children=inner.children,
        wiring=inner.wiring,
        measure=measure,
        multiply_adds=multiply_adds or inner.multiply_adds,
        chain_of=inner.chain_of,
    )
