"""The plain, gated and long short-term recurrences over a whole sequence, with their vjps.

Only what depends on the state before is computed step by step: the products of all inputs with the weights of a gate
are one product before the loop, and all gradients of weights are products of whole sequences after the reverse loop.

Each gate of a step has memory of its own, (time, gates, batch, units) with the tanh first, so that what is done to it
is one run. The sigmoid is 0.5 tanh(x / 2) + 0.5, so that one tanh does all gates of a step. In the vjp the local
derivatives of all steps come before the reverse loop, as (gates, time, batch, units); a step multiplies them by dh.

Every recurrence is ``run(x, weights, states, held) -> (history, states, back)``. Everything else is (time, batch,
units): ``history`` has the output of each step, before it the initial one, and ``back(dy, dstates, input_grad)``, with
dy that of the outputs or None, returns ``(dweights, dx, dstates)``, the weights in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from funcnn.aliases import Array, Shape
from funcnn.engine.memory import empty
from funcnn.kernels.scan import Held, States, scan, scan_back

__all__ = ["Recurrence", "Weights", "gru", "gru_reset_before", "lstm", "rnn_relu", "rnn_tanh"]

Weights: TypeAlias = dict[str, Array]
Back: TypeAlias = Callable[[Array | None, States, bool], tuple[Weights, Array | None, States]]
Recurrence: TypeAlias = Callable[[Array, Weights, States, Held], tuple[Array, States, Back]]


class _Gates(NamedTuple):
    """The gates of a recurrence, of which the first is a tanh and the others are sigmoids.

    Args:
        order: which columns of the weights, in blocks, are which gate here; it is its own inverse.
    """

    order: tuple[int, ...]

    def blocks(self, a: Array) -> Array:
        """Columns of all gates, (rows, gates * units), as (gates, rows, units)."""
        rows, columns = a.shape
        return a.reshape(rows, len(self.order), columns // len(self.order)).swapaxes(0, 1)[list(self.order)]

    def columns(self, blocks: Array) -> Array:
        """The reverse of ``blocks``."""
        return blocks[list(self.order)].swapaxes(0, 1).reshape(blocks.shape[1], -1)

    def halved(self, blocks: Array) -> Array:
        """Half of what goes into a sigmoid, as ``_to_sigmoids`` expects; in place."""
        blocks[1:] *= 0.5
        return blocks

    def inputs(self, x: Array, weights: Weights) -> Array:
        """x w + b of all steps, halved, as (gates, time, batch, units)."""
        w, (steps, batch, width) = self.halved(self.blocks(weights["w"])), x.shape
        z = _products(x.reshape(steps * batch, width), w)
        if "b" in weights:
            z += self.halved(self.blocks(weights["b"][None]))
        return z.reshape(len(w), steps, batch, w.shape[2])

    def gradients(
        self, x: Array, weights: Weights, dz: Array, own: Weights, input_grad: bool
    ) -> tuple[Weights, Array | None]:
        """The gradients of all weights, in their order, and of the input; dz is that of x w + b."""
        found = {"w": self.columns(_joined(x, dz)), **own}
        rows = dz.reshape(len(dz), dz.shape[1] * dz.shape[2], dz.shape[3])
        if "b" in weights:
            found["b"] = self.columns(_row_sums(rows))[0]
        grads = {name: found[name] for name in weights}
        if not input_grad:
            return grads, None
        dx = np.add.reduce(_products(rows, self.blocks(weights["w"]).swapaxes(1, 2)), axis=0)
        return grads, dx.reshape(x.shape)


RNN, LSTM, GRU = _Gates((0,)), _Gates((2, 1, 0, 3)), _Gates((2, 1, 0))


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
    (z,) = RNN.inputs(x, weights)
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
        return *RNN.gradients(x, weights, dz[None], {"w_h": _joined(h[:-1], dz[None])[0]}, input_grad), first

    return h, last, back


def lstm(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """i, f, o = sigmoid and g = tanh of x w + b + h w_h;  c = f c + i g;  h = o tanh(c), times w_p if there is one."""
    w_p, (first_h, first_c), steps = weights.get("w_p"), states, len(x)
    inputs, w_h = LSTM.inputs(x, weights), LSTM.blocks(weights["w_h"])
    halved = LSTM.halved(w_h.copy())
    h, c = _history(first_h, steps), _history(first_c, steps)
    tanh_c = empty((steps, *first_c.shape), x.dtype)
    out = empty(tanh_c.shape, x.dtype) if w_p is not None else h[1:]  # o tanh(c)
    gates, by_gate = _gates_of(inputs)
    g, f, i, o = gates.swapaxes(0, 1)

    def step(t: int, before: Array, cell: Array) -> States:
        gate = np.matmul(before, halved, out=gates[t])
        gate += inputs[:, t]
        np.tanh(gate, out=gate)
        _to_sigmoids(gate[1:])
        after = np.multiply(f[t], cell, out=c[t + 1])
        after += np.multiply(i[t], g[t], out=tanh_c[t])
        np.multiply(o[t], np.tanh(after, out=tanh_c[t]), out=out[t])
        if w_p is not None:
            np.matmul(out[t], w_p, out=h[t + 1])
        return h[t + 1], after

    last = scan(step, (h[0], c[0]), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        back_h = np.ascontiguousarray(w_h.swapaxes(1, 2))
        dgates, dh_dc = empty(by_gate, x.dtype), empty(tanh_c.shape, x.dtype)
        _gate_derivatives(gates, dgates)
        # The derivatives of c by the inputs of g, f and i, of h by that of o, and of h by c.
        for derivatives, factor in zip(dgates, (i, c[:-1], g, tanh_c), strict=True):
            derivatives *= factor
        _one_minus_square(tanh_c, dh_dc)
        dh_dc *= o
        dh_of_out = empty(h[1:].shape, x.dtype) if w_p is not None else None
        part, dhs = empty(first_c.shape, x.dtype), empty((4, *first_h.shape), x.dtype)

        def pull(t: int, dh: Array, dc: Array) -> States:
            if dy is not None:
                dh = dh + dy[t]
            if dh_of_out is not None and w_p is not None:
                dh_of_out[t] = dh
                dh = np.matmul(dh, w_p.T)
            dgates[3, t] *= dh
            dc = dc + np.multiply(dh_dc[t], dh, out=part)
            dgates[:3, t] *= dc
            dc *= f[t]
            return np.add.reduce(np.matmul(dgates[:, t], back_h, out=dhs), axis=0), dc

        first = scan_back(pull, dstates, held)
        own = {"w_h": LSTM.columns(_joined(h[:-1], dgates))}
        if dh_of_out is not None:
            own["w_p"] = _joined(out, dh_of_out[None])[0]
        return *LSTM.gradients(x, weights, dgates, own, input_grad), first

    return h, last, back


def gru(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """r, z = sigmoid of x w + b + h w_h;  n = tanh(x w + b + r (h w_h + b_h));  h = n + z (h - n)."""
    b_h, steps = weights.get("b_h"), len(x)
    inputs, w_h = GRU.inputs(x, weights), GRU.blocks(weights["w_h"])
    halved = GRU.halved(w_h.copy())
    h, inner = _history(states[0], steps), empty((steps, *states[0].shape), x.dtype)  # h w_h + b_h of n
    gates, by_gate = _gates_of(inputs)
    n, z, r = gates.swapaxes(0, 1)

    def step(t: int, before: Array) -> States:
        np.matmul(before, halved, out=gates[t])
        new, sigmoids = n[t], gates[t, 1:]
        sigmoids += inputs[1:, t]
        _to_sigmoids(np.tanh(sigmoids, out=sigmoids))
        np.add(new, 0 if b_h is None else b_h, out=inner[t])
        np.multiply(r[t], inner[t], out=new)
        new += inputs[0, t]
        np.tanh(new, out=new)
        return (_mixed(before, new, z[t], h[t + 1]),)

    last = scan(step, (h[0],), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        # The gradients of n, z and r, and that of h w_h in n: the first three are those of x w + b.
        dall = empty((4, *by_gate[1:]), x.dtype)
        dn, _, dr, dinner = dall
        _mixing_derivatives(gates, h[:-1], dall)
        dr *= inner
        back_h = np.ascontiguousarray(w_h[[1, 2, 0]].swapaxes(1, 2))
        dhs = empty((3, *states[0].shape), x.dtype)

        def pull(t: int, dh: Array) -> States:
            if dy is not None:
                dh = dh + dy[t]
            dall[:2, t] *= dh
            dr[t] *= dn[t]
            np.multiply(dn[t], r[t], out=dinner[t])
            kept = dh * z[t]
            kept += np.add.reduce(np.matmul(dall[1:, t], back_h, out=dhs), axis=0)
            return (kept,)

        first = scan_back(pull, dstates, held)
        own = {"w_h": GRU.columns(_joined(h[:-1], dall[1:])[[2, 0, 1]])}
        if b_h is not None:
            own["b_h"] = _row_sums(dinner.reshape(1, -1, dinner.shape[2]))[0, 0]
        return *GRU.gradients(x, weights, dall[:3], own, input_grad), first

    return h, last, back


def gru_reset_before(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """r, z = sigmoid of x w + b + h w_h;  n = tanh(x w + b + (r h) w_h);  h = n + z (h - n)."""
    steps = len(x)
    inputs, w_h = GRU.inputs(x, weights), GRU.blocks(weights["w_h"])
    w_n, w_zr = w_h[0], 0.5 * w_h[1:]
    h, reset = _history(states[0], steps), empty((steps, *states[0].shape), x.dtype)
    gates, by_gate = _gates_of(inputs)
    n, z, r = gates.swapaxes(0, 1)

    def step(t: int, before: Array) -> States:
        sigmoids = np.matmul(before, w_zr, out=gates[t, 1:])
        sigmoids += inputs[1:, t]
        _to_sigmoids(np.tanh(sigmoids, out=sigmoids))
        new = np.matmul(np.multiply(r[t], before, out=reset[t]), w_n, out=n[t])
        new += inputs[0, t]
        np.tanh(new, out=new)
        return (_mixed(before, new, z[t], h[t + 1]),)

    last = scan(step, (h[0],), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        dgates, back_h = empty(by_gate, x.dtype), np.ascontiguousarray(w_h.swapaxes(1, 2))
        dn, _, dr = dgates
        _mixing_derivatives(gates, h[:-1], dgates)
        dr *= h[:-1]

        def pull(t: int, dh: Array) -> States:
            if dy is not None:
                dh = dh + dy[t]
            dgates[:2, t] *= dh
            dreset = np.matmul(dn[t], back_h[0])
            dr[t] *= dreset
            kept = dh * z[t]
            kept += np.add.reduce(np.matmul(dgates[1:, t], back_h[1:]), axis=0)
            kept += np.multiply(dreset, r[t], out=dreset)
            return (kept,)

        first = scan_back(pull, dstates, held)
        parts = _joined(reset, dgates[:1]), _joined(h[:-1], dgates[1:])
        return *GRU.gradients(x, weights, dgates, {"w_h": GRU.columns(np.concatenate(parts))}, input_grad), first

    return h, last, back


def _mixed(before: Array, new: Array, z: Array, out: Array) -> Array:
    """h = n + z (h - n)."""
    np.subtract(before, new, out=out)
    out *= z
    out += new
    return out


def _mixing_derivatives(gates: Array, before: Array, out: Array) -> None:
    """The derivatives of h by what goes into n and z, and that of r, for all steps of (time, gates, batch, units)."""
    _gate_derivatives(gates, out)
    n, z, _ = gates.swapaxes(0, 1)
    out[0] *= 1 - z
    out[1] *= before - n


def _to_sigmoids(gate: Array) -> None:
    """Overwrite tanh(x / 2) with the sigmoid of x."""
    gate *= 0.5
    gate += 0.5


def _gate_derivatives(gates: Array, out: Array) -> None:
    """The derivatives of gates (time, gates, batch, units): 1 - t^2 of the first, and s (1 - s) of the others."""
    tanh, *sigmoids = gates.swapaxes(0, 1)
    _one_minus_square(tanh, out[0])
    for s, derivative in zip(sigmoids, out[1:], strict=False):
        np.subtract(1, s, out=derivative)
        derivative *= s


def _one_minus_square(t: Array, out: Array) -> None:
    np.multiply(t, t, out=out)
    np.subtract(1, out, out=out)


def _gates_of(z: Array) -> tuple[Array, Shape]:
    """Memory for the gates, (time, gates, batch, units), and the shape (gates, time, batch, units) that z has."""
    gates, steps, *shape = z.shape
    return empty((steps, gates, *shape), z.dtype), z.shape


def _history(first: Array, steps: int) -> Array:
    """Memory for the state before the first step and after each step."""
    found = empty((steps + 1, *first.shape), first.dtype)
    found[0] = first
    return found


def _products(a: Array, b: Array) -> Array:
    """A product for each gate, in memory of ours, which BLAS fills faster."""
    return np.matmul(a, b, out=empty((len(b), a.shape[-2], b.shape[2]), a.dtype))


def _joined(a: Array, b: Array) -> Array:
    """The sum over time of a_t^T b_gt for each gate g: one product of whole sequences."""
    return _products(a.reshape(-1, a.shape[-1]).T, b.reshape(len(b), -1, b.shape[-1]))


def _row_sums(x: Array) -> Array:
    """The sums over the rows of matrices, (gates, 1, units), as products with ones."""
    total: Array = np.matmul(np.ones((1, x.shape[1]), x.dtype), x)
    return total
