"""A combinator makes one layer of several: composing functions forward composes their vjps backward.

Every combinator is a *wiring*: a list of steps, each with the values that are its inputs. The forward pass takes the
steps in order. The backward pass takes them in reverse: the gradient of a step's output goes in, the gradient of each
input comes out, and where a value was used more than once its gradients add up. That is the chain rule, and all of it.
"""

# Annotations cost nothing where functions are defined at each call.
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np

from funcnn import checks
from funcnn.aliases import Array, Key, Params, Rng, Shape
from funcnn.engine.microbatch import Backward, Coroutine, coroutine_of, microbatched
from funcnn.layers.merge import Merged
from funcnn.layers.merge import add as add_all
from funcnn.layers.merge import concat as concat_all
from funcnn.protocol import Layer, add_path, as_layer, layer
from funcnn.rng import as_key, fold

__all__ = ["add", "concat", "graph", "repeat", "residual", "serial"]

INPUT = "input"
"""What the combinator's own input is called in a wiring."""


@layer
def serial(*layers: Any) -> Layer:
    """y = f_n(... f_2(f_1(x))): the children one after the other.

    Args:
        *layers: layers or pairs. A child is called by kind and count among its siblings of that kind, ``conv2d_0``,
            ``conv2d_1``, ``dense_0``, or by the name that ``named`` gave it; its parameters stand under that name.

    Returns:
        A layer. ``init`` learns every shape by running each child once on one example of zeros.

    Raises:
        TypeError: an argument is not a layer.
        ValueError: two children have one name; or, from ``apply``, the parameters are another model's.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.dense(4), fn.relu, fn.dense(2))
        >>> params = model.init((3,), rng=0)
        >>> fn.tree.paths(params)
        ['dense_0/b', 'dense_0/w', 'dense_1/b', 'dense_1/w']
        >>> y, vjp_fn = model.apply(params, np.ones((5, 3), np.float32))
        >>> grads, dx = vjp_fn(np.ones_like(y))
        >>> y.shape, dx.shape
        ((5, 2), (5, 3))
    """
    children = name_children(layers)
    return wired("serial", children, chain(children))


@layer
def residual(*layers: Any) -> Layer:
    """y = x + f(x): the children one after the other, and the input added to their output.

    Args:
        *layers: layers or pairs, as for ``serial``; together they keep the shape.

    Returns:
        A layer with the parameters of ``serial(*layers)``.

    Raises:
        ValueError: the children change the shape.

    Example:
        >>> import funcnn as fn
        >>> block = fn.residual(fn.dense(8), fn.relu, fn.dense(3))
        >>> y, _ = block.apply(block.init((3,), rng=0), np.ones((5, 3), np.float32))
        >>> y.shape
        (5, 3)

    Reference:
        He et al. 2016, "Deep residual learning for image recognition", arXiv 1512.03385, equation 1.
    """
    children = name_children(layers)

    def plus(xs: list[Array]) -> Merged:
        x, y = xs
        if y.shape != x.shape:
            raise ValueError(
                f"residual: the input {x.shape} is added to the output of the layers, "
                f"so they must keep its shape, got {y.shape}"
            )
        return x + y, lambda dy: [dy, dy]

    steps = chain(children)
    last = steps[-1][0] if steps else INPUT
    return wired("residual", children, (*steps, ("", (INPUT, last))), plus)


@layer
def add(*layers: Any) -> Layer:
    """y = f_1(x) + ... + f_n(x): branches over one input, summed;  dx = the sum of their dx.

    Args:
        *layers: one or more layers or pairs whose outputs have one shape.

    Returns:
        A layer.

    Raises:
        ValueError: the branches' shapes differ, or there are none.

    Example:
        >>> import funcnn as fn
        >>> model = fn.add(fn.identity, fn.relu)
        >>> y, _ = model.apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-1.,  4.]])
    """
    return _branches("add", layers, partial(add_all, "add"))


@layer
def concat(*layers: Any, axis: int = -1) -> Layer:
    """y = [f_1(x), ..., f_n(x)]: branches over one input, side by side;  dx = the sum of their dx.

    Args:
        *layers: one or more layers or pairs, whose outputs differ in size along ``axis`` only.
        axis: where they are joined, counted with the batch axis; the channels by default, never 0.

    Returns:
        A layer.

    Raises:
        ValueError: the outputs do not fit together, there are no branches, or ``axis`` is the batch axis.

    Example:
        >>> import funcnn as fn
        >>> model = fn.concat(fn.identity, fn.relu)
        >>> y, _ = model.apply({}, np.array([[-1.0, 2.0]]))
        >>> y
        array([[-1.,  2.,  0.,  2.]])
    """
    if axis == 0:
        raise ValueError("concat: axis 0 is the batch axis; examples are not joined, choose 1 or more, or -1")

    return _branches("concat", layers, partial(concat_all, "concat", axis=axis))


@layer
def graph(nodes: Mapping[str, Any], output: str) -> Layer:
    """Any acyclic model: each node is a layer and the names of its inputs.

    ``serial``, ``residual``, ``add`` and ``concat`` are graphs that are used often.

    Args:
        nodes: ``{name: (layer, inputs)}``, in any order. ``inputs`` is the name of a node, ``"input"`` for the graph's
            own input, or a tuple of names; a layer with several inputs gets a dict of arrays, by these names.
        output: the node whose output is the graph's.

    Returns:
        A layer. The parameters of a node stand under its name.

    Raises:
        TypeError: a node is no pair of a layer and its inputs.
        ValueError: a name is unknown or no part of a path, there is a cycle, or the output does not depend on a node.

    Example:
        >>> import funcnn as fn
        >>> product = fn.merge("multiply")
        >>> model = fn.graph({"a": (fn.relu, "input"), "b": (fn.tanh, "a"), "y": (product, ("a", "b"))}, output="y")
        >>> y, _ = model.apply({}, np.array([[-1.0, 1.0]]))
        >>> y.round(4)
        array([[0.    , 0.7616]])
    """
    if not isinstance(nodes, Mapping) or not nodes:
        raise TypeError(f"graph: expected nodes as a dict {{name: (layer, inputs)}}, got {nodes!r}")
    inputs: dict[str, tuple[str, ...]] = {}
    children: dict[str, Layer] = {}
    for name, node in nodes.items():
        if not isinstance(node, tuple) or len(node) != 2:
            raise TypeError(f"graph: node {name!r} must be a pair (layer, inputs), got {node!r}")
        if not isinstance(name, str) or not name or "/" in name or name == INPUT:
            raise ValueError(f"graph: a node's name is a string without '/' and not {INPUT!r}, got {name!r}")
        children[name] = as_layer(node[0])
        inputs[name] = (node[1],) if isinstance(node[1], str) else tuple(node[1])
        if len(set(inputs[name])) < len(inputs[name]):
            raise ValueError(f"graph: node {name!r} names an input twice, {inputs[name]}; put an identity between")
    wiring = tuple((name, inputs[name]) for name in _in_order(inputs, output))
    return wired("graph", children, wiring)


def repeat(layer: Any, times: int) -> Layer:
    """``serial`` of one layer several times, each with parameters of its own.

    Args:
        layer: a layer or a pair.
        times: how often, ``>= 1``.

    Returns:
        A ``serial`` layer.

    Raises:
        ValueError: ``times`` is not a whole number ``>= 1``, or the layer has a name of its own.

    Example:
        >>> import funcnn as fn
        >>> fn.repeat(fn.dense(4, activation=fn.relu), 3)
        serial(dense(4, activation=relu), dense(4, activation=relu), dense(4, activation=relu))
    """
    return serial(*[layer] * checks.size("repeat", "times", times))


Merge: TypeAlias = Callable[[list[Array]], Merged]


class Step(NamedTuple):
    """One step of a wiring, made ready once.

    Values are numbered: 0 is the combinator's input, i the output of the i-th step.

    Args:
        name: the child's; ``""`` for a merge.
        word: what is folded into the key.
        run: the child's forward pass, a coroutine or not; or the merge.
        is_coroutine: whether it is one.
        source: the number of its input, or the numbers of several by name, or a list of them for a merge.
        last_use: the values that no later step needs.
    """

    name: str
    word: int
    run: Callable[..., Any]
    is_coroutine: bool
    source: Any
    last_use: tuple[int, ...]

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
    wiring: tuple[tuple[str, tuple[str, ...]], ...],
    merge: Merge | None = None,
) -> Layer:
    """The layer of a wiring.

    Args:
        kind: the combinator's kind, for messages.
        children: the layers by name.
        wiring: (child, its inputs) in the order of computation; the last row is the output.
        merge: ``merge(ys) -> (y, split)`` of the last row, if its name is ``""``; ``split(dy)`` is its vjp.

    Returns:
        A layer whose forward pass is one coroutine for all its children.
    """
    steps = _steps(children, wiring, merge)

    def init(shape: Shape, rng: Rng) -> Params:
        key, params = as_key(rng), {}
        values: list[Any] = [probe(shape)]
        for step in steps:
            x = step.gather(values)
            own: Params = {}
            try:
                if step.name:
                    child = children[step.name]
                    own = child.init(example_shape(x), fold(key, step.name))
                    values.append(child.apply(own, x, key)[0])
                else:
                    values.append(step.run(x)[0])
            except Exception as error:
                _locate(error, step.name, x)
                raise
            if own:
                params[step.name] = own
        return params

    def forward(params: Params, x: Any, key: Key | None, keep: bool) -> Coroutine[tuple[Any, Backward]]:
        check_children(params, children)
        values, backs = [x], []
        for step in steps:
            name, word, run, is_coroutine, source, last_use = step
            x = values[source] if type(source) is int else step.gather(values)
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
            x = y = back = None
        return values[-1], _backward(steps, backs, params)

    return Layer(init, microbatched(forward, kind), kind=kind, children=children, wiring=wiring)


def _backward(steps: Sequence[Step], backs: list[Any], params: Params) -> Backward:
    """The chain rule: the steps in reverse, gradients of a value that was used more than once added up."""

    def backward(dy: Any, input_grad: bool) -> Coroutine[tuple[Params, Any]]:
        # Only what leads back to learned parameters, or to an input whose gradient is wanted, needs a gradient.
        needed, wanted = [input_grad], []
        for step in steps:
            source = step.source
            wanted.append(needed[source] if type(source) is int else any(needed[number] for number in step.sources()))
            needed.append(wanted[-1] or step.name in params)
        grads: Params = {}
        flow: list[Any] = [None] * len(steps) + [dy]
        for number in range(len(steps) - 1, -1, -1):
            step, gradient, wants = steps[number], flow.pop(), wanted[number]
            if not needed[number + 1]:
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
                    flow[source] = (
                        part if flow[source] is None else flow[source] if part is None else flow[source] + part
                    )
        return {name: grads[name] for name in params if name in grads}, flow[0]

    return backward


def _steps(
    children: Mapping[str, Layer], wiring: Sequence[tuple[str, tuple[str, ...]]], merge: Merge | None
) -> list[Step]:
    """The steps of a wiring: names looked up once, and for each step the values that no later one uses."""
    place = {INPUT: 0} | {name: number for number, (name, _) in enumerate(wiring, 1)}
    last = {place[source]: number for number, (_, inputs) in enumerate(wiring) for source in inputs}
    steps = []
    for number, (name, inputs) in enumerate(wiring):
        sources = [place[source] for source in inputs]
        source: Any = (
            sources if not name else sources[0] if len(inputs) == 1 else dict(zip(inputs, sources, strict=True))
        )
        run, is_coroutine = coroutine_of(children[name]) if name else (merge, False)
        last_use = tuple({source for source in sources if last[source] == number})
        steps.append(Step(name, crc32(name.encode()), run, is_coroutine, source, last_use))  # type: ignore[arg-type]
    return steps


def _branches(kind: str, layers: tuple[Any, ...], merge: Merge) -> Layer:
    """Several layers over one input, merged."""
    children = name_children(layers)
    if not children:
        raise ValueError(f"{kind}: expected at least one layer")
    wiring = tuple((name, (INPUT,)) for name in children)
    return wired(kind, children, (*wiring, ("", tuple(children))), merge)


def chain(children: Mapping[str, Layer]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The wiring of one child after the other."""
    names = list(children)
    return tuple((name, (before,)) for name, before in zip(names, [INPUT, *names], strict=False))


def name_children(layers: tuple[Any, ...]) -> dict[str, Layer]:
    """Name each layer by kind and count among its siblings of that kind, unless it has a name of its own."""
    children: dict[str, Layer] = {}
    counts: dict[str, int] = {}
    for child in (as_layer(pair) for pair in layers):
        number = counts.get(child.kind, 0)
        counts[child.kind] = number + 1
        name = child.name or f"{child.kind}_{number}"
        if name == INPUT:
            raise ValueError(f"a layer may not be called {INPUT!r}: that is the combinator's own input")
        if name in children:
            raise ValueError(f"two layers are called {name!r}; give one of them another name with named(...)")
        children[name] = child
    return children


def probe(shape: Any) -> Any:
    """One example of zeros: running it through a layer tells the layer's output shape."""
    return np.zeros((1, *checks.example_shape("init", shape)), np.float32)


def example_shape(x: Any) -> Any:
    """The shape of one example of a batch, or the tree of shapes."""
    return {name: example_shape(leaf) for name, leaf in x.items()} if isinstance(x, dict) else x.shape[1:]


def check_children(params: Params, children: Mapping[str, Layer]) -> None:
    """Refuse parameters under a name that no child has: they are another model's."""
    unknown = [name for name in params if name not in children]
    if unknown:
        raise checks.OtherParameters(
            f"parameters of another model: no layer is called {unknown}, there are {[*children]}"
        )


def _locate(error: Exception, name: str, x: Any) -> None:
    """Errors that pass carry the name of the child they come from; a merge belongs to the combinator."""
    if name:
        add_path(error, name, x)


def _in_order(inputs: Mapping[str, tuple[str, ...]], output: str) -> list[str]:
    """The nodes of a graph in an order of computation that ends with its output."""
    for name, sources in inputs.items():
        if unknown := [source for source in sources if source != INPUT and source not in inputs]:
            raise ValueError(f"graph: node {name!r} has unknown inputs {unknown}; there are {[INPUT, *inputs]}")
        if not sources:
            raise ValueError(f"graph: node {name!r} has no inputs; {INPUT!r} is the graph's own")
    if output not in inputs:
        raise ValueError(f"graph: the output {output!r} is no node; there are {list(inputs)}")
    before = {name: [source for source in sources if source != INPUT] for name, sources in inputs.items()}
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        raise ValueError(f"graph: there is a cycle through {error.args[1]}") from None
    used, waiting = {output}, [output]
    while waiting:
        new = set(before[waiting.pop()]) - used
        used |= new
        waiting += new
    if unused := [name for name in inputs if name not in used]:
        raise ValueError(f"graph: the output {output!r} does not depend on {unused}")
    return order
