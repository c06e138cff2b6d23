"""Recurrent layers one after the other, or side by side on the sequence and on the sequence backwards.

Each child has a state of its own, which stands under its name in the state of the whole, as its parameters do in the
parameters. A child is any layer that reads a sequence, ``{"x", "mask", "state"}``, and returns it with ``x`` and
``state`` replaced.
"""

# Annotations cost nothing where functions are defined at each call.
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from funcnn import checks
from funcnn.aliases import Key, Params, Rng, Tree
from funcnn.engine.children import Children, check_children, initialized, name_children
from funcnn.engine.microbatch import Backward, Coroutine, microbatched
from funcnn.layers.dropout import dropout as dropout_layer
from funcnn.layers.sequences import has_time, sequence, state_of, value_of, with_gradients, with_outputs
from funcnn.protocol import Layer, LayerLike, as_layer, layer, named
from funcnn.rng import as_key, fold
from funcnn.shapes import checked, probe

__all__ = ["bidirectional", "stacked"]

Run = Callable[[str, Tree], Coroutine[tuple[Tree, Any]]]


@layer
def stacked(*layers: LayerLike, dropout: float = 0.0) -> Layer:
    """y = f_n(... f_2(f_1(x))): recurrent layers one after the other, each with its own state.

    ``lstm(units, layers=2)`` is ``stacked(lstm(units), lstm(units))``; layers of two directions are
    ``stacked(bidirectional(lstm(units)), bidirectional(lstm(units)))``, as in PyTorch.

    Args:
        *layers: recurrent layers; all but the last return sequences.
        dropout: the rate at which outputs are dropped between layers in training, in [0, 1).

    Returns:
        A layer of sequences. Parameters and states stand under the children's names, ``lstm_0``, ``lstm_1`` ...

    Raises:
        TypeError: an argument is not a layer.
        ValueError: there are no layers, the rate is out of range, or the state has other names, or not all of them.

    Example:
        >>> import funcnn as fn
        >>> model = stacked(fn.lstm(3), fn.gru(2))
        >>> params = model.init((7, 4), rng=0)
        >>> y, _ = model.apply(params, {"x": np.ones((5, 7, 4), np.float32), "state": {}})
        >>> y["x"].shape, sorted(y["state"]), y["state"]["gru_0"]["h"].shape
        ((5, 7, 2), ['gru_0', 'lstm_0'], (5, 2))
    """
    children = name_children(layers)
    if not children:
        raise ValueError("stacked: expected at least one layer")
    drop = dropout_layer(checks.drop_rate("stacked", dropout, "dropout"))
    names = [*children]

    def forward(tree: Tree, key: Key | None, run: Run) -> Coroutine[tuple[Tree, Any]]:
        outs: dict[str, Tree] = {}
        drops, backs, x = [], {}, tree
        for number, name in enumerate(names):
            if number:
                y, pull = drop.apply({}, value_of(x), None if key is None else fold(key, f"dropout_{number}"))
                drops.append(pull)
                x = with_value(x, y)
            outs[name], backs[name] = yield from run(name, with_state(x, tree, name))
            x = outs[name]
        out = with_outputs(tree, value_of(x), {name: state_of(own) for name, own in outs.items()})

        def backward(dout: Tree, input_grad: bool) -> Coroutine[tuple[Params, Tree]]:
            dy, dstate = value_of(dout), state_of(dout)
            grads: Params = {}
            dstates: Tree = {}
            for number in range(len(names) - 1, -1, -1):
                name = names[number]
                own = _cotangent(outs[name], dy, None if dstate is None else dstate[name])
                grads[name], dx = yield from backs[name](own, input_grad or number > 0)
                dy, dstates[name] = (None, None) if dx is None else (value_of(dx), state_of(dx))
                if number and dy is not None:
                    dy = drops[number - 1](dy)[1]
            return grads, with_gradients(tree, dy, _given(tree, dstates)) if input_grad else None

        return out, backward

    before: dict[str, str | None] = dict(zip(names, [None, *names], strict=False))
    return _recurrent_combinator("stacked", children, forward, before)


@layer
def bidirectional(layer: LayerLike) -> Layer:
    """y_t = [f(x)_t, g(x)_t]: a recurrent layer and one that reads the sequence backwards, side by side.

    Masked steps are passed over in both directions, so a sequence that is padded after its end is read backwards from
    its end.

    Args:
        layer: a recurrent layer, made twice, with parameters and states under ``forward`` and ``backward``.

    Returns:
        A layer from (batch, time, inputs), or from a tree {"x", "mask" or "lengths", "state"}, to twice the outputs of
        ``layer``. Without sequences, the output is what both have at their ends.

    Raises:
        TypeError: ``layer`` is not a layer.
        ValueError: the state has other names than ``forward`` and ``backward``, or only one of them.

    Example:
        >>> import funcnn as fn
        >>> model = bidirectional(fn.gru(3))
        >>> y, _ = model.apply(model.init((7, 2), rng=0), np.ones((5, 7, 2), np.float32))
        >>> y.shape
        (5, 7, 6)

    Reference:
        Schuster & Paliwal 1997, "Bidirectional recurrent neural networks".
    """
    own = as_layer(layer)
    return _both(named("forward", own), named("backward", own))


@layer
def _both(forward: LayerLike, backward: LayerLike) -> Layer:
    """The two children of ``bidirectional``, each as one argument, so that either can be replaced."""
    children = {"forward": as_layer(forward), "backward": as_layer(backward)}
    turns = returns_sequences(children["backward"])

    def turned(y: Any) -> Any:
        return y[:, ::-1] if turns and y is not None else y

    def run_both(tree: Tree, key: Key | None, run: Run) -> Coroutine[tuple[Tree, Any]]:
        x, mask, _ = sequence("bidirectional", tree, lambda x: has_time("bidirectional", x, 0))
        reversed_tree: Tree = x[:, ::-1]
        if isinstance(tree, dict):
            reversed_tree = {"x": reversed_tree, **({} if mask is None else {"mask": mask[:, ::-1]})}
        ahead, pull_ahead = yield from run("forward", with_state(tree, tree, "forward"))
        back, pull_back = yield from run("backward", with_state(reversed_tree, tree, "backward"))
        first, second = value_of(ahead), turned(value_of(back))
        units = first.shape[-1]
        y = np.concatenate([first, second], -1)
        out = with_outputs(tree, y, {"forward": state_of(ahead), "backward": state_of(back)})

        def pull(dout: Tree, input_grad: bool) -> Coroutine[tuple[Params, Tree]]:
            dy, dstate = value_of(dout), state_of(dout) or {"forward": None, "backward": None}
            first, second = (None, None) if dy is None else (dy[..., :units], turned(dy[..., units:]))
            grads, dx = {}, {}
            for name, out, d, own_pull in (
                ("forward", ahead, first, pull_ahead), ("backward", back, second, pull_back),
            ):  # fmt: skip
                grads[name], dx[name] = yield from own_pull(_cotangent(out, d, dstate[name]), input_grad)
            if not input_grad:
                return grads, None
            one, other = value_of(dx["forward"]), value_of(dx["backward"])
            total = None if one is None else one + other[:, ::-1]
            return grads, with_gradients(tree, total, _given(tree, {name: state_of(d) for name, d in dx.items()}))

        return out, pull

    return _recurrent_combinator("bidirectional", children, run_both, dict.fromkeys(children))


def returns_sequences(layer: Layer) -> bool:
    """Whether the output of a recurrent layer has the time of its input."""
    own = layer.arguments.get("return_sequences")
    if own is None and layer.children:
        return returns_sequences([*layer.children.values()][-1])
    return own is None or bool(own)


def with_value(tree: Tree, x: Any) -> Tree:
    """The tree with another ``x``."""
    return {**tree, "x": x} if isinstance(tree, dict) else x


def with_state(own: Tree, tree: Tree, name: str) -> Tree:
    """The input of a child: its own sequence with its part of the state, if a state was given."""
    if not isinstance(own, dict) or "state" not in tree:
        return own
    return {**own, "state": tree["state"].get(name, {})}


def _cotangent(out: Tree, dy: Any, dstate: Any) -> Tree:
    """The gradient of a child's output."""
    if not isinstance(out, dict):
        return dy
    given = dict.fromkeys(out) | {"x": dy}
    return given | {"state": dstate} if "state" in out else given


def _check_state(kind: str, state: Any, children: Mapping[str, Layer]) -> None:
    """Raise if there is a state, but neither ``{}`` nor one of each layer."""
    if state is None or (isinstance(state, dict) and state.keys() in (set(), children.keys())):
        return
    got = sorted(map(str, state)) if isinstance(state, dict) else checks.what(state)
    missing = [name for name in children if name not in state] if isinstance(state, dict) else []
    part = isinstance(state, dict) and state.keys() < children.keys()
    fix = f"; {missing} is missing, write {missing[0]!r}: {{}} for a layer that starts as zeros" if part else ""
    raise ValueError(f"{kind}: expected 'state' as a dict with {[*children]}, or {{}} for zeros, got {got}{fix}")


def _given(tree: Tree, dstates: Mapping[str, Any]) -> Any:
    """The gradients of the states that were given."""
    state = state_of(tree)
    return None if state is None else {name: dstates[name] for name in state}


def _recurrent_combinator(
    kind: str,
    children: Mapping[str, Layer],
    forward: Callable[[Tree, Key | None, Run], Coroutine[tuple[Tree, Any]]],
    follows: Mapping[str, str | None],
) -> Layer:
    """The layer of several recurrent ones.

    Args:
        kind: the combinator's kind.
        children: by name.
        forward: ``forward(tree, key, run) -> (out, backward)``, a coroutine that runs children by name.
        follows: for each child the one whose output it reads; None for the input.
    """
    inside = Children(children)

    def full(params: Params, tree: Tree, key: Key | None, keep: bool) -> Coroutine[tuple[Tree, Backward]]:
        check_children(params, children)
        _check_state(kind, state_of(tree), children)

        def run(name: str, x: Tree) -> Coroutine[tuple[Tree, Any]]:
            return inside.forward(name, params, x, key, keep)

        out, pull = yield from forward(tree, key, run)

        def backward(dout: Tree, input_grad: bool) -> Coroutine[tuple[Params, Tree]]:
            grads, dx = yield from pull(dout, input_grad)
            return {name: grads[name] for name in params}, dx

        return out, backward

    def init(shape: Tree, rng: Rng) -> Params:
        key, params = as_key(rng), dict[str, Params]()
        x, outs = probe(checked("init", shape)), dict[str, Tree]()
        _check_state(kind, state_of(x), children)
        for name, child in children.items():
            before = follows[name]
            own = x if before is None else with_value(x, value_of(outs[before]))
            own = with_state(own, x, name) if isinstance(x, dict) else own
            found, outs[name] = initialized(name, child, own, key)
            params |= {name: found} if found else {}
        return params

    return Layer(init, microbatched(full, kind), kind=kind, children=children)
