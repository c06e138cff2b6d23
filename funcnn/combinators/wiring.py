"""A combinator makes one layer of several: composing functions forward composes their vjps backward.

Every combinator is a *wiring*: a list of steps, each with the values that are its inputs. The forward pass takes the
steps in order. The backward pass takes them in reverse: the gradient of a step's output goes in, the gradient of each
input comes out, and where a value was used more than once its gradients add up. That is the chain rule, and all of it.
"""

# Annotations cost nothing where functions are defined at each call.
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np

from funcnn import contract
from funcnn.aliases import Array, Key, Params, Rng, Tree
from funcnn.calls import explained
from funcnn.combinators.pooled_relu import relu_after_pooling
from funcnn.contract import add_path, shape_of
from funcnn.engine.children import INPUT, check_children, initialized
from funcnn.engine.examples import added, split_like
from funcnn.engine.microbatch import Backward, Coroutine, coroutine_of, cut, in_microbatches, microbatched
from funcnn.protocol import Layer, Wiring, declared, is_per_position, per_position
from funcnn.rng import as_key
from funcnn.shapes import checked, probe

__all__ = ["Merge", "chain", "no_gradients", "wired"]

Merge: TypeAlias = Callable[[list[Any]], tuple[Any, Callable[[Any], list[Any]]]]
"""``merge(ys) -> (y, split)``; ``split(dy)``, its vjp, returns the gradients of all ys."""
Pull: TypeAlias = Callable[[Any, list[bool]], Coroutine[tuple[Params, list[Any]]]]
"""``pull(dy, needed) -> (grads, flow)``: which of the values at the start need a gradient, and the gradients of all."""


class Step(NamedTuple):
    """One step of a wiring, made ready once.

    Values are numbered: 0 is the combinator's input, then come the leaves of it that are used, then the outputs.

    Args:
        name: the child's; ``""`` for a merge.
        word: what is folded into the key.
        run: the child's forward pass, a coroutine or not; or the merge.
        is_coroutine: whether it is one.
        source: the number of its input, or the numbers of several by name, or a list of them for a merge.
        last_use: the values that no later step needs.
        learns: whether its parameters have gradients; frozen ones have not.
        working_set: as ``cut`` takes it, if a large batch is cut in front of the child.
    """

    name: str
    word: int
    run: Callable[..., Any]
    is_coroutine: bool
    source: Any
    last_use: tuple[int, ...]
    learns: bool
    working_set: Callable[[Any], int] | None

    def gather(self, values: Sequence[Any]) -> Any:
        """The input of the step: one value, a dict by name, or a list for a merge."""
        source = self.source
        if type(source) is int:
            return values[source]
        if isinstance(source, dict):
            return {name: values[number] for name, number in source.items()}
        return [values[number] for number in source]

    def sources(self) -> list[int]:
        """The numbers of its inputs."""
        source = self.source
        return [source] if type(source) is int else list(source.values() if isinstance(source, dict) else source)

    def spread(self, dx: Any) -> list[Any]:
        """The gradients of its inputs, in the order of ``sources``."""
        if type(self.source) is int or dx is None:
            return [dx] * len(self.sources())
        return [dx[name] for name in self.source] if isinstance(self.source, dict) else list(dx)


def wired(
    kind: str,
    children: Mapping[str, Layer],
    wiring: Wiring,
    merge: Merge | None = None,
    only: Collection[str] = (),
) -> Layer:
    """The layer of a wiring.

    Args:
        kind: the combinator's kind, for messages.
        children: the layers by name.
        wiring: (child, its inputs) in the order of computation; the last row is the output.
        merge: what the last row does, if its name is ``""``.
        only: the names that the input, a dict, must have; any input by default.

    Returns:
        A layer whose forward pass is one coroutine for all its children.
    """
    leaves = [path for path in dict.fromkeys(source for _, inputs in wiring for source in inputs) if "/" in path]
    steps = _steps(relu_after_pooling(children, wiring), wiring, leaves, merge)

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        check_children(params, children)
        if not children:  # they would check it
            contract.tree_of_arrays(kind, x)
        if only:
            _check_names(kind, x, only)
        values = [x, *[_leaf(kind, x, path) for path in leaves]]
        empty = blank(x) if leaves and keep else None
        y, pull = yield from _forward(steps, values, children, params, key, keep)

        def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
            grads, flow = yield from pull(dy, [input_grad] * (1 + len(leaves)))
            grads = {name: grads[name] for name in params if name in grads}
            if not input_grad:
                return grads, None
            return grads, _with_leaves(flow, leaves, empty) if leaves else flow[0]

        return y, backward

    init = _initializer(kind, children, steps, leaves, only)
    short = any(_has_short_products(child) for child in children.values())
    apply = microbatched(forward, kind, _working_set(steps), short_products=short)
    per_position(apply, all(map(is_per_position, children.values())))
    return Layer(init, apply, kind=kind, children=children, wiring=wiring)


def _initializer(
    kind: str, children: Mapping[str, Layer], steps: Sequence[Step], leaves: Sequence[str], only: Collection[str]
) -> Callable[[Any, Rng], Params]:
    """The ``init`` of a wiring: each child runs once on one example, so that the next one learns its shape."""

    @explained
    def init(shape: Any, rng: Rng) -> Params:
        key, params = as_key(rng), {}
        x = probe(checked("init", shape))
        _check_names(kind, x, only)
        values = [x, *(_leaf(kind, x, path) for path in leaves)]
        for step in steps:
            x = step.gather(values)
            if not step.name:
                values.append(step.run(x)[0])
                continue
            own, y = initialized(step.name, children[step.name], x, key)
            values.append(y)
            if own:
                params[step.name] = own
        return params

    return init


def _forward(
    steps: Sequence[Step], values: list[Any], children: Mapping[str, Layer], params: Params, key: Key | None, keep: bool
) -> Coroutine[tuple[Any, Pull]]:
    """Take the steps in order, from values that are there; a large batch is cut in front of the first one worth it."""
    inputs, backs = len(values), list[Any]()
    parts: Any = None
    for step in steps:
        name, word, run, is_coroutine, source, last_use, _, working_set = step
        x = values[source] if type(source) is int else step.gather(values)
        if working_set is not None and len(parts := cut(x, working_set)) > 1:
            done = len(values) - inputs
            y, rest = _forward_cut(steps[done:], values, parts, children, params, key, keep)
            return y, _backward(steps[:done], backs, rest, children, params)
        try:
            if not name:
                y, back = run(x)
            else:
                own, own_key = params.get(name, {}), None if key is None else (*key, word)
                y, back = (yield from run(own, x, own_key, keep)) if is_coroutine else run(own, x, own_key)
        except Exception as error:
            _locate(error, name, x)
            raise
        values.append(y)
        if keep:
            backs.append(back)
        for number in last_use:
            values[number] = None
        x = y = back = parts = None  # what is used up must not stay alive while the next child runs
    return values[-1], _backward(steps, backs, None, children, params)


def _forward_cut(
    steps: Sequence[Step], values: list[Any], parts: list[Any], children: Mapping[str, Layer], params: Params,
    key: Key | None, keep: bool,
) -> tuple[Any, Callable[[Any, list[bool]], tuple[Params, list[Any]]]]:  # fmt: skip
    """Take steps for one microbatch beside the other; the values are cut as ``parts``, the input of the first, is."""
    count = len(values)

    def forward(params: Params, part: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        y, pull = yield from _forward(steps, [part.get(place) for place in range(count)], children, params, key, keep)

        def backward(dy: Any, needed: Any) -> Coroutine[tuple[Params, Any]]:
            grads, flow = yield from pull(dy, needed)
            return grads, dict(enumerate(flow))

        return y, backward

    live = split_like({place: value for place, value in enumerate(values) if value is not None}, parts)
    y, pull = in_microbatches(forward, params, live, key, keep)

    def rest(dy: Any, needed: list[bool]) -> tuple[Params, list[Any]]:
        grads, flow = pull(dy, needed)
        return grads, list(flow.values())

    return y, rest


def _backward(
    steps: Sequence[Step], backs: list[Any], rest: Any, children: Mapping[str, Layer], params: Params
) -> Pull:
    """The chain rule: the steps in reverse, gradients of a value that was used more than once added up.

    The steps that microbatches took are ``rest``, or None.
    """

    def pull(dy: Any, needed: list[bool]) -> Coroutine[tuple[Params, list[Any]]]:
        # Only what leads back to learned parameters, or to an input whose gradient is wanted, needs a gradient.
        inputs, needed, wanted = len(needed), needed[:], []
        for step in steps:
            source = step.source
            wanted.append(needed[source] if type(source) is int else any(needed[number] for number in step.sources()))
            needed.append(wanted[-1] or (step.learns and step.name in params))
        grads: Params = {}
        flow: list[Any] = [None] * (len(needed) - 1) + [dy]
        if rest is not None:
            grads, flow = rest(dy, needed)
        for number in range(len(steps) - 1, -1, -1):
            step, gradient, wants = steps[number], flow.pop(), wanted[number]
            if gradient is None or not needed[number + inputs]:
                if step.name in params:
                    own = params[step.name]
                    grads[step.name] = no_gradients(children[step.name], own) if gradient is None else blank(own)
                continue
            try:
                if not step.name:
                    own, dx = {}, backs[number](gradient)
                elif step.is_coroutine:
                    own, dx = yield from backs[number](gradient, wants)
                else:
                    own, dx = backs[number](gradient, wants)
            except Exception as error:
                _locate(error, step.name, gradient)
                raise
            if own:
                grads[step.name] = own
            if wants and type(step.source) is int and flow[step.source] is None:
                flow[step.source] = dx
            elif wants:
                for source, part in zip(step.sources(), step.spread(dx), strict=True):
                    flow[source] = added([flow[source], part])
        return grads, flow

    return pull


def _with_leaves(flow: list[Any], leaves: Sequence[str], empty: Tree) -> Tree:
    """The gradient of an input of which single leaves are used: that of the whole, and those of the leaves."""
    whole, *parts = flow
    dx = _copied(added([empty, whole]))
    for path, part in zip(leaves, parts, strict=True):
        *branches, name = path.split("/")[1:]
        node = dx
        for branch in branches:
            node = node[branch]
        node[name] = added([node[name], part])
    return dx


def no_gradients(layer: Layer, params: Params, constants: Collection[str] = ()) -> Tree:
    """Gradients of a layer that the loss does not depend on: zeros, and None where the parameters have no gradient."""
    if declared(layer.apply, "frozen"):
        return blank(params)
    constants = {*constants, *(declared(layer.apply, "constants") or ())}
    if isinstance(params, dict):
        return {
            name: None if name in constants else no_gradients(layer.children.get(name, layer), own, constants)
            for name, own in params.items()
        }
    return np.zeros_like(params) if params.dtype.kind == "f" else None


def chain(children: Mapping[str, Layer]) -> Wiring:
    """The wiring of one child after the other."""
    names = list(children)
    return tuple((name, (before,)) for name, before in zip(names, [INPUT, *names], strict=False))


def _steps(children: Mapping[str, Layer], wiring: Wiring, leaves: Sequence[str], merge: Merge | None) -> list[Step]:
    """The steps of a wiring: names looked up once, and for each step the values that no later one uses."""
    place = {name: number for number, name in enumerate([INPUT, *leaves, *(name for name, _ in wiring)])}
    last = {place[source]: number for number, (_, inputs) in enumerate(wiring) for source in inputs}
    steps = []
    for number, (name, inputs) in enumerate(wiring):
        sources = [place[source] for source in inputs]
        source: Any = sources
        if name:
            source = sources[0] if len(inputs) == 1 else dict(zip(inputs, sources, strict=True))
        run, is_coroutine = coroutine_of(children[name]) if name else (merge, False)
        last_use = tuple({source for source in sources if last[source] == number})
        learns = bool(name) and learned(children[name])
        working_set = declared(children[name].apply, "working_set") if name else None
        steps.append(Step(name, crc32(name.encode()), run, is_coroutine, source, last_use, learns, working_set))  # type: ignore[arg-type]
    return steps


def _working_set(steps: Sequence[Step]) -> Callable[[Any], int] | None:
    """The working set of a wiring, that of the children that see its whole input; None if they declare none."""
    found = [step.working_set for step in steps if step.source == 0 and step.working_set is not None]
    if len(found) < 2:
        return found[0] if found else None
    return lambda x: max(working_set(x) for working_set in found)


def _has_short_products(layer: Layer) -> bool:
    """Whether a layer, or one inside it, works on windows of images or on each channel."""
    return bool(declared(layer.apply, "working_set") or declared(layer.apply, "short_products"))


def learned(layer: Layer) -> bool:
    """Whether a layer has parameters that may be learned: not if it is frozen, or all its children are."""
    if declared(layer.apply, "frozen"):
        return False
    return not layer.children or any(learned(child) for child in layer.children.values())


def _check_names(kind: str, x: Any, only: Collection[str]) -> None:
    """Raise if an input does not have exactly these names."""
    if only and (not isinstance(x, dict) or x.keys() != set(only)):
        raise ValueError(f"{kind}: expected a dict of the inputs {[*only]}, got {shape_of(x)}")


def _leaf(kind: str, x: Any, path: str) -> Array:
    """One leaf of the input."""
    for name in path.split("/")[1:]:
        if not isinstance(x, dict) or name not in x:
            raise ValueError(f"{kind}: expected an input with {path!r}, got {shape_of(x)}")
        x = x[name]
    found: Array = x
    return found


def blank(tree: Tree) -> Tree:
    """None at every leaf."""
    return {name: blank(leaf) for name, leaf in tree.items()} if isinstance(tree, dict) else None


def _copied(tree: Tree) -> Tree:
    """The same leaves in new dicts."""
    return {name: _copied(leaf) for name, leaf in tree.items()} if isinstance(tree, dict) else tree


def _locate(error: Exception, name: str, x: Any) -> None:
    """Errors that pass carry the name of the child they come from; a merge belongs to the combinator."""
    if name:
        add_path(error, name, x)
