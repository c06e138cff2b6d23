"""A user's own layer at each step of a sequence: with a state that is carried along, or with none at all.

``scan`` runs the cell once for each step and keeps its vjps; backpropagation through time calls them from the last step
to the first, and adds up the gradients of the parameters, which all steps share.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from typing import Any

import numpy as np

from funcnn import checks, contract, tree
from funcnn.aliases import Array, Key, Params, Rng, Shapes, Tree
from funcnn.engine.children import Children, check_children, initialized, name_children, probing
from funcnn.engine.examples import added
from funcnn.engine.microbatch import Backward, Coroutine, microbatched
from funcnn.kernels.over_time import last_step, under_mask
from funcnn.kernels.scan import held_at, scan_back
from funcnn.kernels.scan import scan as scan_states
from funcnn.layers.sequences import has_time, sequence, state_of, value_of, with_gradients, with_outputs
from funcnn.protocol import Layer, LayerLike, Vjp, as_layer, declared, layer, per_position
from funcnn.rng import as_key, fold
from funcnn.shapes import checked, probe, specs

__all__ = ["scan", "time_distributed"]


@layer
def scan(cell: LayerLike, state: Shapes | None = None, return_sequences: bool = True) -> Layer:
    """y_t, s_t = f(x_t, s_(t-1)): a cell of your own at each step, which carries a state along.

    Args:
        cell: a layer or a pair; ``apply(params, {"x": x_t, "state": s})`` returns ``({"x": y_t, "state": s}, vjp_fn)``.
            The state is an array or a dict of arrays whose shapes and dtypes stay.
        state: the shape of one example's state, or a dict of shapes, for a state that starts as zeros if the input
            brings none.
        return_sequences: whether the output is y_t for all steps, or that of the last one that is there.

    Returns:
        A layer from (batch, time, ...), or from a tree {"x", "mask" or "lengths", "state"}, to the outputs of the cell;
        from a tree comes the tree with ``x`` and ``state`` replaced. Its parameters are those of the cell.

    Raises:
        TypeError: the cell is not a layer.
        ValueError: there is no state to start with; or the cell returns no such dict, or a state of another shape.

    Example:
        >>> def apply(params, tree):
        ...     total = tree["x"] + tree["state"]
        ...     def vjp_fn(dy):
        ...         d = dy["x"] + dy["state"]
        ...         return {}, {"x": d, "state": d}
        ...     return {"x": total, "state": total}, vjp_fn
        >>> sums = scan((lambda shape, rng: {}, apply), state=(1,))
        >>> sums.apply({}, np.array([[[1.0], [2.0], [3.0]]]))[0].tolist()
        [[[1.0], [3.0], [6.0]]]
    """
    inner, return_sequences = as_layer(cell), checks.flag("scan", "return_sequences", return_sequences)
    sizes = None if state is None else checked("scan", state)
    run = declared(inner.apply, "inside") or inner.apply

    def init(shape: Tree, rng: Rng) -> Params:
        x, _, first = _started(probe(checked("scan", shape)), sizes)
        params = inner.init(specs({"x": x[:, 0], "state": first}), rng)
        with probing():
            apply(params, {"x": x[:, :1], "state": first}, as_key(rng))
        return params

    def apply(params: Params, given: Tree, rng: Rng | None = None) -> tuple[Tree, Vjp]:
        x, mask, first = _started(given, sizes)
        key = None if rng is None else as_key(rng)
        xs = under_mask(x, mask) if x.dtype.kind == "f" else x
        held, like_state, pulls, outs = held_at(mask, x.shape[1]), contract.form(first), [], []

        def step(t: int, *states: Array) -> tuple[Array, ...]:
            one = {"x": xs[:, t], "state": _unflat(first, states)}
            out, pull = run(params, one, None if key is None else fold(key, t))
            _check_output(out, first, like_state)
            outs.append(out["x"])
            pulls.append(pull)
            new = _flat(first, out["state"])
            return new if held[t] is None else tuple(leaf.copy() for leaf in new)

        final = scan_states(step, _flat(first, first), held)
        y = under_mask(np.stack(outs, 1), mask)
        returned, pull_y = (y, lambda dy: under_mask(dy, mask)) if return_sequences else last_step(y, mask)
        out = with_outputs(given, returned, _unflat(first, final))
        like = contract.form(out)

        def vjp_fn(dout: Tree, input_grad: bool = True) -> tuple[Params, Tree]:
            contract.gradient("scan", dout, like)
            dy = value_of(dout)
            dys = np.zeros_like(y) if dy is None else pull_y(dy)
            total: list[Params] = [{}]
            dx = np.zeros_like(xs) if xs.dtype.kind == "f" else None

            def pull(t: int, *gradients: Array) -> tuple[Array, ...]:
                grads, d = pulls[t]({"x": dys[:, t], "state": _unflat(first, gradients)}, True)
                total[0] = added([total[0] or None, grads]) or {}
                if dx is not None:
                    dx[:, t] = d["x"]
                return _flat(first, d["state"])

            ends = _zeros_for_none(state_of(dout), first)
            starts = _unflat(first, scan_back(pull, _flat(first, ends), held))
            grads = {name: total[0][name] for name in params}
            if not input_grad:
                return grads, None
            brought = state_of(given)
            dstates = {} if isinstance(brought, dict) and not brought else starts
            return grads, with_gradients(given, None if dx is None else under_mask(dx, mask), dstates)

        return out, vjp_fn

    apply.per_example = bool(declared(inner.apply, "per_example"))  # type: ignore[attr-defined]
    return Layer(init, apply, children=inner.children)


def _started(given: Tree, sizes: Tree | None) -> tuple[Array, Array | None, Tree]:
    """The sequence of an input, its mask, and the state to start with: zeros of these sizes if it brings none."""
    x, mask, first = sequence("scan", given, lambda x: has_time("scan", x))
    if not isinstance(given, dict) or "state" not in given or (isinstance(first, dict) and not first and sizes):
        if sizes is None:
            raise ValueError("scan: there is no state to start with; write scan(cell, state=shape), or give 'state'")
        dtype = x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.dtype(np.float32)
        first = tree.map(lambda leaf: np.zeros((len(x), *leaf.shape[1:]), dtype), probe(sizes))
    return x, mask, first


def _check_output(out: Tree, state: Tree, like: Any) -> None:
    """Raise unless the output of a cell is a dict with a state like the one that it got."""
    if not isinstance(out, dict) or out.keys() != {"x", "state"} or contract.form(out["state"]) != like:
        raise ValueError(
            "scan: the cell must return a dict of 'x' and 'state', with a state of shape "
            f"{contract.shape_of(state)} and the dtype of the one that it got, got {contract.shape_of(out)}"
        )


@layer
def time_distributed(layer: LayerLike) -> Layer:
    """y_t = f(x_t): a layer at each step of a sequence, with the same parameters.

    All steps go through the layer as one batch. Those that are masked do not go through it, and their output is zero.
    A state in the tree passes, for a recurrent layer that follows.

    Args:
        layer: a layer or a pair, from (batch, ...) to (batch, ...).

    Returns:
        A layer from (batch, time, ...), or from a tree {"x", "mask" or "lengths"}, to the same with y in place of x.
        The parameters stand under the layer's name.

    Raises:
        TypeError: ``layer`` is not a layer.
        ValueError: the input has no axis of time, or the mask or the lengths do not fit.

    Example:
        >>> import funcnn as fn
        >>> model = time_distributed(fn.conv2d(4, 3))
        >>> y, _ = model.apply(model.init((7, 8, 8, 1), rng=0), np.ones((2, 7, 8, 8, 1), np.float32))
        >>> y.shape
        (2, 7, 6, 6, 4)
    """
    children = name_children([layer])
    ((name, child),) = children.items()
    inside = Children(children)

    def init(shape: Tree, rng: Rng) -> Params:
        x, _, _ = sequence("time_distributed", probe(checked("init", shape)), lambda x: has_time("time_distributed", x))
        params, _ = initialized(name, child, x[:, 0], as_key(rng))
        return {name: params} if params else {}

    def forward(params: Params, given: Tree, key: Key | None, keep: bool) -> Coroutine[tuple[Tree, Backward]]:
        check_children(params, children)
        x, mask, _ = sequence("time_distributed", given, lambda x: has_time("time_distributed", x))
        there = np.ones(x.shape[:2], bool) if mask is None else mask
        steps = x.reshape(there.size, *x.shape[2:]) if mask is None else x[there]
        y, back = yield from inside.forward(name, params, steps, key, keep)

        def backward(dout: Tree, input_grad: bool) -> Coroutine[tuple[Params, Tree]]:
            dy = dout["x"] if isinstance(dout, dict) else dout
            dsteps = np.zeros_like(y) if dy is None else dy[there]
            grads, dx = yield from back(dsteps, input_grad)
            if not input_grad:
                return ({name: grads} if grads else {}), None
            dgiven = with_gradients(given, None if dx is None else _placed(dx, there), state_of(dout))
            return ({name: grads} if grads else {}), dgiven

        return with_outputs(given, _placed(y, there), state_of(given)), backward

    apply = per_position(microbatched(forward, "time_distributed"))
    return Layer(init, apply, children=children)


def _placed(rows: Array, there: Array) -> Array:
    """Rows at the places of a mask, and zeros elsewhere."""
    found = np.zeros((*there.shape, *rows.shape[1:]), rows.dtype)
    found[there] = rows
    return found


def _flat(like: Tree, state: Tree) -> tuple[Any, ...]:
    """The leaves of a state, in the order of another one."""
    if not isinstance(like, dict):
        return (state,)
    return tuple(leaf for name, inner in like.items() for leaf in _flat(inner, state[name]))


def _unflat(like: Tree, leaves: tuple[Array, ...]) -> Tree:
    """The state with these leaves."""
    rest = iter(leaves)
    return tree.map(lambda _: next(rest), like)


def _zeros_for_none(dstate: Tree, state: Tree) -> Tree:
    """Zeros where None stands for the gradient of a part of the state."""
    if isinstance(state, dict):
        return {name: _zeros_for_none(None if dstate is None else dstate[name], leaf) for name, leaf in state.items()}
    return np.zeros_like(state) if dstate is None else dstate
