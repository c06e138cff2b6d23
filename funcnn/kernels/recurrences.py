"""The plain, gated and long short-term recurrences over a whole sequence, with their vjps.

Only what depends on the state before is computed step by step: the products of all inputs with the weights of a gate
are one product before the loop, and all gradients of weights are products of whole sequences behind the reverse loop.

Each gate of a step has memory of its own, (time, gates, batch, units) with the sigmoids first, so that what is done to
it is one run. The sigmoid is 0.5 tanh(x / 2) + 0.5, so that one tanh does all gates of a step. What takes part in
products of whole sequences is (gates, time, batch, units).

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
    """The gates of a recurrence.

    Args:
        order: which columns of the weights, in blocks, are which gate here; it is its own inverse.
        sigmoids: how many gates are sigmoids; they come first, and the others are tanh.
    """

    order: tuple[int, ...]
    sigmoids: int

    def blocks(self, a: Array) -> Array:
        """Columns of all gates, (rows, gates * units), as (gates, rows, units)."""
        rows, columns = a.shape
        return a.reshape(rows, len(self.order), columns // len(self.order)).swapaxes(0, 1)[list(self.order)]

    def columns(self, blocks: Array) -> Array:
        """The reverse of ``blocks``."""
        return blocks[list(self.order)].swapaxes(0, 1).reshape(blocks.shape[1], -1)

    def halved(self, blocks: Array) -> Array:
        """Half of what goes into a sigmoid, of which ``bend`` makes it; in place."""
        blocks[: self.sigmoids] *= 0.5
        return blocks

    def inputs(self, x: Array, weights: Weights) -> Array:
        """x w + b of all steps, halved, as (gates, time, batch, units)."""
        w, (steps, batch, width) = self.halved(self.blocks(weights["w"])), x.shape
        z = empty((len(w), steps * batch, w.shape[2]), x.dtype)
        np.matmul(x.reshape(steps * batch, width), w, out=z)
        if "b" in weights:
            z += self.halved(self.blocks(weights["b"][None]))
        return z.reshape(len(w), steps, batch, w.shape[2])

    def bend(self, gate: Array) -> None:
        """Overwrite what goes into the gates of a step, halved, with the gates."""
        np.tanh(gate, out=gate)
        gate = gate[: self.sigmoids]
        gate *= 0.5
        gate += 0.5

    def slopes(self, gate: Array, out: Array) -> None:
        """The derivatives of the gates of a step: s (1 - s) of sigmoids, and 1 - t^2 of a tanh."""
        end = self.sigmoids
        np.subtract(1, gate[:end], out=out[:end])
        out[:end] *= gate[:end]
        np.multiply(gate[end:], gate[end:], out=out[end:])
        np.subtract(1, out[end:], out=out[end:])

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
        dx = np.add.reduce(np.matmul(rows, self.blocks(weights["w"]).swapaxes(1, 2)), axis=0)
        return grads, dx.reshape(x.shape)


TANH, LSTM, GRU = _Gates((0,), 0), _Gates((0, 1, 3, 2), 3), _Gates((0, 1, 2), 2)


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
    (z,) = TANH.inputs(x, weights)
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
        return *TANH.gradients(x, weights, dz[None], {"w_h": _joined(h[:-1], dz[None])[0]}, input_grad), first

    return h, last, back


def lstm(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """i, f, o = sigmoid and g = tanh of x w + b + h w_h;  c = f c + i g;  h = o tanh(c), times w_p if there is one."""
    w_p, (first_h, first_c), steps = weights.get("w_p"), states, len(x)
    z, w_h = LSTM.inputs(x, weights), LSTM.blocks(weights["w_h"])
    halved = LSTM.halved(w_h.copy())
    h, c = _history(first_h, steps), _history(first_c, steps)
    bent = empty((steps, *first_c.shape), x.dtype)  # tanh(c)
    out = empty(bent.shape, x.dtype) if w_p is not None else h[1:]  # o tanh(c)
    gates, by_gate = _gates_of(z)
    i, f, o, g = gates.swapaxes(0, 1)

    def step(t: int, before: Array, cell: Array) -> States:
        gate = np.matmul(before, halved, out=gates[t])
        gate += z[:, t]
        LSTM.bend(gate)
        after = np.multiply(f[t], cell, out=c[t + 1])
        after += np.multiply(i[t], g[t], out=bent[t])
        np.multiply(o[t], np.tanh(after, out=bent[t]), out=out[t])
        if w_p is not None:
            np.matmul(out[t], w_p, out=h[t + 1])
        return h[t + 1], after

    last = scan(step, (h[0], c[0]), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        dgates, back_h = empty(by_gate, x.dtype), np.ascontiguousarray(w_h.swapaxes(1, 2))
        di, df, do, dg = dgates
        dh_of_out = empty(h[1:].shape, x.dtype) if w_p is not None else None
        part = empty(first_c.shape, x.dtype)
        dhs = empty((4, *first_h.shape), x.dtype)

        def pull(t: int, dh: Array, dc: Array) -> States:
            if dy is not None:
                dh = dh + dy[t]
            if dh_of_out is not None and w_p is not None:
                dh_of_out[t] = dh
                dh = np.matmul(dh, w_p.T)
            LSTM.slopes(gates[t], dgates[:, t])
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
    r, z, n = gates.swapaxes(0, 1)

    def step(t: int, before: Array) -> States:
        np.matmul(before, halved, out=gates[t])
        sigmoids, new = gates[t, :2], n[t]
        sigmoids += inputs[:2, t]
        GRU.bend(sigmoids)
        np.add(new, 0 if b_h is None else b_h, out=inner[t])
        np.multiply(r[t], inner[t], out=new)
        new += inputs[2, t]
        np.tanh(new, out=new)
        after = np.subtract(before, new, out=h[t + 1])
        after *= z[t]
        after += new
        return (after,)

    last = scan(step, (h[0],), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        dgates, back_h = empty(by_gate, x.dtype), np.ascontiguousarray(w_h.swapaxes(1, 2))
        recurrent = empty(by_gate, x.dtype)  # gradients of h w_h
        dr, dz, dn = dgates
        dhs, space = empty((3, *states[0].shape), x.dtype), empty(states[0].shape, x.dtype)

        def pull(t: int, dh: Array) -> States:
            if dy is not None:
                dh = dh + dy[t]
            GRU.slopes(gates[t], dgates[:, t])
            kept = dh * z[t]
            dz[t] *= np.subtract(h[t], n[t], out=space)
            dz[t] *= dh
            dn[t] *= np.subtract(dh, kept, out=space)
            dr[t] *= inner[t]
            dr[t] *= dn[t]
            recurrent[:2, t] = dgates[:2, t]
            np.multiply(dn[t], r[t], out=recurrent[2, t])
            kept += np.add.reduce(np.matmul(recurrent[:, t], back_h, out=dhs), axis=0)
            return (kept,)

        first = scan_back(pull, dstates, held)
        own = {"w_h": GRU.columns(_joined(h[:-1], recurrent))}
        if b_h is not None:
            own["b_h"] = _row_sums(recurrent[2].reshape(1, -1, recurrent.shape[3]))[0, 0]
        return *GRU.gradients(x, weights, dgates, own, input_grad), first

    return h, last, back


def gru_reset_before(x: Array, weights: Weights, states: States, held: Held) -> tuple[Array, States, Back]:
    """r, z = sigmoid of x w + b + h w_h;  n = tanh(x w + b + (r h) w_h);  h = n + z (h - n)."""
    steps = len(x)
    inputs, w_h = GRU.inputs(x, weights), GRU.blocks(weights["w_h"])
    w_rz, w_n = 0.5 * w_h[:2], w_h[2]
    h, reset = _history(states[0], steps), empty((steps, *states[0].shape), x.dtype)
    gates, by_gate = _gates_of(inputs)
    r, z, n = gates.swapaxes(0, 1)

    def step(t: int, before: Array) -> States:
        sigmoids = np.matmul(before, w_rz, out=gates[t, :2])
        sigmoids += inputs[:2, t]
        GRU.bend(sigmoids)
        new = np.matmul(np.multiply(r[t], before, out=reset[t]), w_n, out=n[t])
        new += inputs[2, t]
        np.tanh(new, out=new)
        after = np.subtract(before, new, out=h[t + 1])
        after *= z[t]
        after += new
        return (after,)

    last = scan(step, (h[0],), held)

    def back(dy: Array | None, dstates: States, input_grad: bool) -> tuple[Weights, Array | None, States]:
        dgates, back_h = empty(by_gate, x.dtype), np.ascontiguousarray(w_h.swapaxes(1, 2))
        dr, dz, dn = dgates

        def pull(t: int, dh: Array) -> States:
            if dy is not None:
                dh = dh + dy[t]
            GRU.slopes(gates[t], dgates[:, t])
            kept = dh * z[t]
            dz[t] *= h[t] - n[t]
            dz[t] *= dh
            dn[t] *= dh - kept
            dreset = np.matmul(dn[t], back_h[2])
            dr[t] *= h[t]
            dr[t] *= dreset
            kept += np.add.reduce(np.matmul(dgates[:2, t], back_h[:2]), axis=0)
            kept += np.multiply(dreset, r[t], out=dreset)
            return (kept,)

        first = scan_back(pull, dstates, held)
        parts = _joined(h[:-1], dgates[:2]), _joined(reset, dgates[2:])
        return *GRU.gradients(x, weights, dgates, {"w_h": GRU.columns(np.concatenate(parts))}, input_grad), first

    return h, last, back


def _gates_of(z: Array) -> tuple[Array, Shape]:
    """Memory for the gates, (time, gates, batch, units), and the shape (gates, time, batch, units) that z has."""
    gates, steps, *shape = z.shape
    return empty((steps, gates, *shape), z.dtype), z.shape


def _history(first: Array, steps: int) -> Array:
    """Memory for the state before the first step and behind each one."""
    found = empty((steps + 1, *first.shape), first.dtype)
    found[0] = first
    return found


def _joined(a: Array, b: Array) -> Array:
    """The sum over time of a_t^T b_gt for each gate g: one product of whole sequences."""
    joined: Array = np.matmul(a.reshape(-1, a.shape[-1]).T, b.reshape(len(b), -1, b.shape[-1]))
    return joined


def _row_sums(x: Array) -> Array:
    """The sums over the rows of matrices, (gates, 1, units), as products with ones."""
    total: Array = np.matmul(np.ones((1, x.shape[1]), x.dtype), x)
    return total
