"""The plain, gated and long short-term recurrences over a whole sequence, with their vjps.

Only what depends on the state before is computed step by step: the product of the input with the weights of all gates
is one product before the loop, and all gradients of weights are products of whole sequences behind the reverse loop.
The sigmoid is 0.5 tanh(x / 2) + 0.5, so that one tanh of a whole row of memory does all gates.

Every recurrence is ``run(x, weights, states, held) -> (history, states, back)``. Everything is (time, batch, units):
``history`` has the output of each step, before it the initial one, and ``back(dy, dstates, input_grad)``, with dy that
of the outputs or None, returns ``(dweights, dx, dstates)``, the weights in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array
from funcnn.engine.memory import empty
from funcnn.kernels.products import product, row_sum
from funcnn.kernels.scan import Held, States, scan, scan_back

__all__ = ["Recurrence", "Weights", "gru", "gru_reset_before", "lstm", "rnn_relu", "rnn_tanh"]

Weights: TypeAlias = dict[str, Array]
Back: TypeAlias = Callable[[Array | None, States, bool], tuple[Weights, Array | None, States]]
Recurrence: TypeAlias = Callable[[Array, Weights, States, Held], tuple[Array, States, Back]]


def rnn_tanh(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """h_t = tanh(x_t w + b + h_(t-1) w_h)."""
    return _rnn(x, weights, states, held, lambda z: np.tanh(z, out=z), lambda h: 1 - h * h)


def rnn_relu(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """h_t = max(x_t w + b + h_(t-1) w_h, 0)."""
    return _rnn(x, weights, states, held, lambda z: np.maximum(z, 0, out=z), lambda h: (h > 0).astype(h.dtype))


def _rnn(
    x: Array, weights: Weights, states: States, held: Held,
    function: Callable[[Array], Array], derivative: Callable[[Array], Array],
) -> tuple[Array, States, Back]:  # fmt: skip
    w_h = weights["w_h"]
    z = product(x, weights["w"], weights.get("b"))
    h = _history(states[0], len(x))

    def step(t: int, before: Array) -> States:
        after = np.matmul(before, w_h, out=h[t + 1])
        after += z[t]
        function(after)
        return (after,)

    last = scan(step, (h[0],), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        dz = derivative(h[1:])

        def pull(t: int, dh: Array) -> States:
            dz[t] *= dh if dy is None else dh + dy[t]
            return (np.matmul(dz[t], w_h.T),)

        first = scan_back(pull, dstates, held)
        return *_gradients(x, weights, dz, {"w_h": _joined(h[:-1], dz)}, input_grad), first

    return h, last, back


def lstm(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """i, f, o = sigmoid and g = tanh of x w + b + h w_h;  c = f c + i g;  h = o tanh(c), times w_p if there is one."""
    w_h, w_p, (first_h, first_c) = weights["w_h"], weights.get("w_p"), states
    units, steps = first_c.shape[1], len(x)
    scale, shift = _sigmoids(units, (True, True, False, True), x.dtype)
    gates = product(x, weights["w"] * scale, weights["b"] * scale if "b" in weights else None)
    scaled = w_h * scale
    h, c = _history(first_h, steps), _history(first_c, steps)
    bent = empty((steps, *first_c.shape), x.dtype)  # tanh(c)
    out = empty(bent.shape, x.dtype) if w_p is not None else h[1:]  # o tanh(c)
    i, f, g, o = (gates[..., place * units : (place + 1) * units] for place in range(4))
    space = empty(gates.shape[1:], x.dtype)

    def step(t: int, before: Array, cell: Array) -> States:
        gate = gates[t]
        gate += np.matmul(before, scaled, out=space)
        np.tanh(gate, out=gate)
        gate *= scale
        gate += shift
        after = np.multiply(f[t], cell, out=c[t + 1])
        after += np.multiply(i[t], g[t], out=bent[t])
        np.multiply(o[t], np.tanh(after, out=bent[t]), out=out[t])
        if w_p is not None:
            np.matmul(out[t], w_p, out=h[t + 1])
        return h[t + 1], after

    last = scan(step, (h[0], c[0]), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        dgates, back_h = empty(gates.shape, x.dtype), np.ascontiguousarray(w_h.T)
        di, df, dg, do = (dgates[..., place * units : (place + 1) * units] for place in range(4))
        dh_of_out = empty(h[1:].shape, x.dtype) if w_p is not None else None
        part = empty(first_c.shape, x.dtype)

        def pull(t: int, dh: Array, dc: Array) -> States:
            if dy is not None:
                dh = dh + dy[t]
            if dh_of_out is not None and w_p is not None:
                dh_of_out[t] = dh
                dh = np.matmul(dh, w_p.T)
            _slopes(gates[t], scale, shift, dgates[t])
            # Through h = o tanh(c) to o and c, and from c to the other three.
            np.multiply(bent[t], dh, out=part)
            do[t] *= part
            np.multiply(bent[t], part, out=part)
            np.subtract(dh, part, out=part)
            np.multiply(part, o[t], out=part)
            dc = dc + part
            di[t] *= np.multiply(g[t], dc, out=part)
            df[t] *= np.multiply(c[t], dc, out=part)
            dg[t] *= np.multiply(i[t], dc, out=part)
            dc *= f[t]
            return np.matmul(dgates[t], back_h), dc

        first = scan_back(pull, dstates, held)
        own = {"w_h": _joined(h[:-1], dgates)}
        if dh_of_out is not None:
            own["w_p"] = _joined(out, dh_of_out)
        return *_gradients(x, weights, dgates, own, input_grad), first

    return h, last, back


def gru(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """r, z = sigmoid of x w + b + h w_h;  n = tanh(x w + b + r (h w_h + b_h));  h = n + z (h - n)."""
    w_h, b_h, units, steps = weights["w_h"], weights.get("b_h"), states[0].shape[1], len(x)
    scale, shift = _sigmoids(units, (True, True, False), x.dtype)
    gates = product(x, weights["w"] * scale, weights["b"] * scale if "b" in weights else None)
    scaled = w_h * scale
    h = _history(states[0], steps)
    products = empty(gates.shape, x.dtype)  # h w_h
    r, z, n = (gates[..., place * units : (place + 1) * units] for place in range(3))
    rz, inner = gates[..., : 2 * units], products[..., 2 * units :]
    half, space = x.dtype.type(0.5), empty(states[0].shape, x.dtype)

    def step(t: int, before: Array) -> States:
        np.matmul(before, scaled, out=products[t])
        both = rz[t]
        both += products[t, :, : 2 * units]
        np.tanh(both, out=both)
        both *= half
        both += half
        if b_h is not None:
            inner[t] += b_h
        new = n[t]
        new += np.multiply(r[t], inner[t], out=space)
        np.tanh(new, out=new)
        after = np.subtract(before, new, out=h[t + 1])
        after *= z[t]
        after += new
        return (after,)

    last = scan(step, (h[0],), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        dgates, back_h = empty(gates.shape, x.dtype), np.ascontiguousarray(w_h.T)
        recurrent = empty(gates.shape, x.dtype)  # gradients of h w_h
        dr, dz, dn = (dgates[..., place * units : (place + 1) * units] for place in range(3))

        def pull(t: int, dh: Array) -> States:
            if dy is not None:
                dh = dh + dy[t]
            _slopes(gates[t], scale, shift, dgates[t])
            kept = dh * z[t]
            dz[t] *= h[t] - n[t]
            dz[t] *= dh
            dn[t] *= dh - kept
            dr[t] *= inner[t]
            dr[t] *= dn[t]
            recurrent[t, :, : 2 * units] = dgates[t, :, : 2 * units]
            np.multiply(dn[t], r[t], out=recurrent[t, :, 2 * units :])
            kept += np.matmul(recurrent[t], back_h)
            return (kept,)

        first = scan_back(pull, dstates, held)
        own = {"w_h": _joined(h[:-1], recurrent)}
        if b_h is not None:
            own["b_h"] = row_sum(recurrent[..., 2 * units :].reshape(-1, units))
        return *_gradients(x, weights, dgates, own, input_grad), first

    return h, last, back


def gru_reset_before(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """r, z = sigmoid of x w + b + h w_h;  n = tanh(x w + b + (r h) w_h);  h = n + z (h - n)."""
    w_h, units, steps = weights["w_h"], states[0].shape[1], len(x)
    w_rz, w_n = np.ascontiguousarray(w_h[:, : 2 * units]), np.ascontiguousarray(w_h[:, 2 * units :])
    scale, shift = _sigmoids(units, (True, True, False), x.dtype)
    gates = product(x, weights["w"], weights.get("b"))
    h, reset = _history(states[0], steps), empty((steps, *states[0].shape), x.dtype)
    r, z, n = (gates[..., place * units : (place + 1) * units] for place in range(3))
    rz, half = gates[..., : 2 * units], x.dtype.type(0.5)

    def step(t: int, before: Array) -> States:
        both = rz[t]
        both += np.matmul(before, w_rz)
        both *= half
        np.tanh(both, out=both)
        both *= half
        both += half
        new = n[t]
        new += np.matmul(np.multiply(r[t], before, out=reset[t]), w_n)
        np.tanh(new, out=new)
        after = np.subtract(before, new, out=h[t + 1])
        after *= z[t]
        after += new
        return (after,)

    last = scan(step, (h[0],), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        dgates = empty(gates.shape, x.dtype)
        dr, dz, dn = (dgates[..., place * units : (place + 1) * units] for place in range(3))

        def pull(t: int, dh: Array) -> States:
            if dy is not None:
                dh = dh + dy[t]
            _slopes(gates[t], scale, shift, dgates[t])
            kept = dh * z[t]
            dz[t] *= h[t] - n[t]
            dz[t] *= dh
            dn[t] *= dh - kept
            dreset = np.matmul(dn[t], w_n.T)
            dr[t] *= h[t]
            dr[t] *= dreset
            kept += np.matmul(dgates[t, :, : 2 * units], w_rz.T)
            kept += np.multiply(dreset, r[t], out=dreset)
            return (kept,)

        first = scan_back(pull, dstates, held)
        parts = _joined(h[:-1], dgates[..., : 2 * units]), _joined(reset, dn)
        return *_gradients(x, weights, dgates, {"w_h": np.concatenate(parts, 1)}, input_grad), first

    return h, last, back


def _history(first: Array, steps: int) -> Array:
    """Memory for the state before the first step and behind each one."""
    found = empty((steps + 1, *first.shape), first.dtype)
    found[0] = first
    return found


def _sigmoids(units: int, which: tuple[bool, ...], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """The scale and the shift that make sigmoids of some gates and leave the others a tanh, for all columns."""
    scale = np.repeat([0.5 if one else 1.0 for one in which], units).astype(dtype)
    return scale, 1 - scale


def _slopes(gate: Array, scale: Array, shift: Array, out: Array) -> None:
    """The derivatives of gates by what they are functions of: s (1 - s) = 1/4 - (s - 1/2)^2, and 1 - t^2 for a tanh."""
    np.subtract(gate, shift, out=out)
    np.multiply(out, out, out=out)
    np.subtract(scale * scale, out, out=out)


def _joined(a: Array, b: Array) -> Array:
    """The sum over time of a_t^T b_t: one product of whole sequences."""
    return product(a.reshape(-1, a.shape[-1]).T, b.reshape(-1, b.shape[-1]))


def _gradients(x: Array, weights: Weights, dz: Array, own: Weights, input_grad: bool) -> tuple[Weights, Array | None]:
    """The gradients of all weights, in their order, and of the input; dz is that of x w + b."""
    found = {"w": _joined(x, dz), **own}
    if "b" in weights:
        found["b"] = row_sum(dz.reshape(-1, dz.shape[-1]))
    return {name: found[name] for name in weights}, product(dz, weights["w"].T) if input_grad else None
