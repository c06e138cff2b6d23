"""Recurrent layers read a sequence step by step and carry a state: the plain, the gated and the long short-term memory.

The state goes in and comes out as an array, so a text of any length is read chunk by chunk, and a layer keeps nothing
between two calls. The recurrences themselves are in ``kernels/recurrences``; here are their parameters and trees.

A sequence is (batch, time, inputs), or a tree ``{"x": this, "mask": (batch, time) of bool, "state": {"h": ..., "c":
...}}``, all but ``x`` optional, with ``"lengths": (batch,)`` in place of the mask if that is what there is. A tree
returns as the same tree, with ``x`` replaced by the output and ``state`` by the final state. The initial state is
whole, or ``{}``, which starts as zeros. At a step that is masked the state stays, the output is zero, and the input has
no influence.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import Array, Key, Params, Rng, Size, Tree
from funcnn.initializers import Initializer, InitializerLike, as_initializer, glorot_uniform, orthogonal, zeros
from funcnn.kernels import recurrences
from funcnn.kernels.over_time import under_mask
from funcnn.kernels.recurrences import Recurrence
from funcnn.kernels.scan import held_at, time_first
from funcnn.layers.sequences import Sequence, sequence, state_of, value_of, with_gradients, with_outputs
from funcnn.layers.stacked import stacked
from funcnn.protocol import Layer, Vjp, layer, per_example, probed
from funcnn.rng import check_rng, fold
from funcnn.wording import shown

__all__ = ["gru", "lstm", "rnn"]

ORTHOGONAL = orthogonal()


@layer
def rnn(
    units: Size,
    activation: Literal["tanh", "relu"] = "tanh",
    layers: Size = 1,
    dropout: float = 0.0,
    return_sequences: bool = True,
    bias: bool = True,
    w_init: InitializerLike = glorot_uniform,
    h_init: InitializerLike = ORTHOGONAL,
) -> Layer:
    """h_t = tanh(x_t w + b + h_(t-1) w_h);  y_t = h_t.

    Args:
        units: the number of outputs, ``>= 1``.
        activation: ``"tanh"`` or ``"relu"``.
        layers: how many are stacked, each with parameters and a state of its own under ``rnn_0``, ``rnn_1`` ...
        dropout: the rate at which outputs are dropped between layers in training, in [0, 1).
        return_sequences: whether the output is y_t for all steps, or h after the last one.
        bias: whether to add ``b``.
        w_init: the initializer of ``w``, of shape (inputs, units).
        h_init: the initializer of ``w_h``, of shape (units, units).

    Returns:
        A layer from (batch, time, inputs) to (batch, time, units), or to (batch, units) without ``return_sequences``;
        or from a tree {"x", "mask" or "lengths", "state": {"h": (batch, units)}}, all but x optional, to such a tree.
        A state of ``{}`` starts as zeros. PyTorch's ``weight_ih`` and ``weight_hh`` are ``w`` and ``w_h`` transposed,
        and ``b`` is the sum of its two biases; Keras's ``kernel``, ``recurrent_kernel`` and ``bias`` are ours.

    Raises:
        TypeError: the arrays are not of one dtype, float32 or float64, or a mask is not boolean.
        ValueError: an argument is out of range; or the shapes of input, mask, lengths or state do not fit.

    Example:
        >>> init, apply = rnn(1, bias=False)
        >>> params = {"w": np.array([[1.0]]), "w_h": np.array([[2.0]])}
        >>> y, vjp_fn = apply(params, np.array([[[0.0], [1.0], [0.0]]]))
        >>> y.round(3).tolist()
        [[[0.0], [0.762], [0.909]]]

    Reference:
        Elman 1990, "Finding structure in time".
    """
    if not isinstance(activation, str) or activation not in ("tanh", "relu"):
        raise ValueError(f"rnn: activation must be 'tanh' or 'relu', got {shown(activation)}")
    run = recurrences.rnn_tanh if activation == "tanh" else recurrences.rnn_relu
    units = checks.size("rnn", "units", units)
    one = partial(rnn, units, activation, bias=bias, w_init=w_init, h_init=h_init)
    several = _several("rnn", one, layers, dropout, return_sequences)
    return several or _recurrent("rnn", run, 1, units, units, return_sequences, bias, w_init, h_init)


@layer
def gru(
    units: Size,
    reset_after: bool = True,
    layers: Size = 1,
    dropout: float = 0.0,
    return_sequences: bool = True,
    bias: bool = True,
    w_init: InitializerLike = glorot_uniform,
    h_init: InitializerLike = ORTHOGONAL,
) -> Layer:
    """h_t = (1 - z) n + z h_(t-1): a gate z says how much of the old state stays;  y_t = h_t.

    With x = x_t and h = h_(t-1), gate by gate::

        r = sigmoid(x w_r + b_r + h w_hr)      z = sigmoid(x w_z + b_z + h w_hz)
        n = tanh(x w_n + b_n + r (h w_hn + b_h))           with reset_after
        n = tanh(x w_n + b_n + (r h) w_hn)                 without

    Args:
        units: the number of outputs, ``>= 1``.
        reset_after: whether the reset gate r is applied after the product, as in PyTorch, or before it, as in the
            paper.
        layers: how many are stacked, each with parameters and a state of its own under ``gru_0``, ``gru_1`` ...
        dropout: the rate at which outputs are dropped between layers in training, in [0, 1).
        return_sequences: whether the output is y_t for all steps, or h after the last one.
        bias: whether to add ``b`` and, with ``reset_after``, ``b_h``.
        w_init: the initializer of ``w``, of shape (inputs, 3 units), gate by gate.
        h_init: the initializer of ``w_h``, of shape (units, 3 units), gate by gate.

    Returns:
        A layer from (batch, time, inputs) to (batch, time, units), or to (batch, units) without ``return_sequences``;
        or from a tree {"x", "mask" or "lengths", "state": {"h": (batch, units)}}, all but x optional, to such a tree.
        A state of ``{}`` starts as zeros. The columns of ``w``, ``w_h`` and ``b`` are the gates r, z, n. PyTorch's
        ``weight_ih`` and ``weight_hh`` are ``w`` and ``w_h`` transposed; ``b`` is the sum of its two biases at r and z
        and ``bias_ih`` at n, where ``bias_hh`` is ``b_h``. Keras has the order z, r, n.

    Raises:
        TypeError: the arrays are not of one dtype, float32 or float64, or a mask is not boolean.
        ValueError: an argument is out of range; or the shapes of input, mask, lengths or state do not fit.

    Example:
        >>> model = gru(3)
        >>> params = model.init((7, 2), rng=0)
        >>> {name: leaf.shape for name, leaf in params.items()}
        {'w': (2, 9), 'w_h': (3, 9), 'b': (9,), 'b_h': (3,)}
        >>> y, _ = model.apply(params, {"x": np.ones((4, 7, 2), np.float32), "state": {}})
        >>> y["x"].shape, y["state"]["h"].shape
        ((4, 7, 3), (4, 3))

    Reference:
        Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", arXiv 1406.1078, equations 5 to 8.
    """
    units, after = checks.size("gru", "units", units), checks.flag("gru", "reset_after", reset_after)
    run = recurrences.gru if after else recurrences.gru_reset_before
    one = partial(gru, units, after, bias=bias, w_init=w_init, h_init=h_init)
    several = _several("gru", one, layers, dropout, return_sequences)
    return several or _recurrent("gru", run, 3, units, units, return_sequences, bias, w_init, h_init, inner_bias=after)


@layer
def lstm(
    units: Size,
    projection: Size | None = None,
    layers: Size = 1,
    dropout: float = 0.0,
    return_sequences: bool = True,
    bias: bool = True,
    w_init: InitializerLike = glorot_uniform,
    h_init: InitializerLike = ORTHOGONAL,
) -> Layer:
    """c_t = f c_(t-1) + i g, a memory that gates write to and erase;  y_t = h_t = o tanh(c_t).

    With z = x_t w + b + h_(t-1) w_h, cut into four::

        i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)

    Args:
        units: the number of elements of c, ``>= 1``.
        projection: if not None, h_t = (o tanh(c_t)) w_p, of that many elements.
        layers: how many are stacked, each with parameters and a state of its own under ``lstm_0``, ``lstm_1`` ...
        dropout: the rate at which outputs are dropped between layers in training, in [0, 1).
        return_sequences: whether the output is y_t for all steps, or h after the last one.
        bias: whether to add ``b``, which starts as 0, and as 1 for the gate f.
        w_init: the initializer of ``w``, of shape (inputs, 4 units), gate by gate, and of ``w_p``, (units, projection).
        h_init: the initializer of ``w_h``, of shape (outputs, 4 units), gate by gate.

    Returns:
        A layer from (batch, time, inputs) to (batch, time, outputs), or to (batch, outputs) without
        ``return_sequences``, where outputs are the units or the projection; or from a tree {"x", "mask" or "lengths",
        "state": {"h": (batch, outputs), "c": (batch, units)}}, all but x optional, to such a tree. A state of ``{}``
        starts as zeros. The columns of ``w``, ``w_h`` and ``b`` are the gates i, f, g, o. PyTorch's ``weight_ih``,
        ``weight_hh`` and ``weight_hr`` are ``w``, ``w_h`` and ``w_p`` transposed, and ``b`` is the sum of its two
        biases; Keras's ``kernel``, ``recurrent_kernel`` and ``bias`` are ours.

    Raises:
        TypeError: the arrays are not of one dtype, float32 or float64, or a mask is not boolean.
        ValueError: an argument is out of range; or the shapes of input, mask, lengths or state do not fit.

    Example:
        >>> model = lstm(3)
        >>> params = model.init((7, 2), rng=0)
        >>> x = np.ones((4, 7, 2), np.float32)
        >>> whole, _ = model.apply(params, {"x": x, "state": {}})
        >>> start, _ = model.apply(params, {"x": x[:, :5], "state": {}})
        >>> end, _ = model.apply(params, {"x": x[:, 5:], "state": start["state"]})
        >>> bool(np.allclose(end["state"]["c"], whole["state"]["c"]))
        True

    Reference:
        Hochreiter & Schmidhuber 1997, "Long short-term memory"; Gers, Schmidhuber & Cummins 2000 for the gate f;
        Sak, Senior & Beaufays 2014, arXiv 1402.1128, for the projection.
    """
    units = checks.size("lstm", "units", units)
    outputs = units if projection is None else checks.size("lstm", "projection", projection)
    one = partial(lstm, units, projection, bias=bias, w_init=w_init, h_init=h_init)
    several = _several("lstm", one, layers, dropout, return_sequences)
    return several or _recurrent(
        "lstm", recurrences.lstm, 4, units, outputs, return_sequences, bias, w_init, h_init,
        projected=projection is not None,
    )  # fmt: skip


def _several(
    kind: str, one: Callable[..., Layer], layers: Size, dropout: float, return_sequences: bool
) -> Layer | None:
    """Several layers, each made by ``one(return_sequences=...)``; None if it is only one."""
    count, rate = checks.size(kind, "layers", layers), checks.drop_rate(kind, dropout, "dropout")
    if count == 1:
        return None
    return stacked(*[one()] * (count - 1), one(return_sequences=return_sequences), dropout=rate)


def _recurrent(
    kind: str,
    run: Recurrence,
    gates: int,
    units: int,
    outputs: int,
    return_sequences: bool,
    bias: bool,
    w_init: InitializerLike,
    h_init: InitializerLike,
    inner_bias: bool = False,
    projected: bool = False,
) -> Layer:
    """The one maker of recurrent layers.

    Args:
        kind: the layer's kind.
        run: the recurrence.
        gates: the number of blocks of columns of the weights.
        units: the columns of a block.
        outputs: the elements of h.
        return_sequences: whether the output is that of all steps.
        bias: whether there is ``b``.
        w_init: the initializer of ``w``.
        h_init: the initializer of ``w_h``.
        inner_bias: whether there is ``b_h`` with ``b``.
        projected: whether there is ``w_p``.
    """
    bias, return_sequences = (
        checks.flag(kind, name, value) for name, value in (("bias", bias), ("return_sequences", return_sequences))
    )
    w_init, h_init = as_initializer(kind, "w_init", w_init), as_initializer(kind, "h_init", h_init)
    sizes: dict[str, tuple[int | None, ...]] = {"w": (None, gates * units), "w_h": (outputs, gates * units)}
    sizes |= {"b": (gates * units,)} if bias else {}
    sizes |= {"b_h": (units,)} if bias and inner_bias else {}
    sizes |= {"w_p": (units, outputs)} if projected else {}
    read = contract.parameters(kind, "batch, time, inputs", **sizes)  # type: ignore[arg-type]
    states = {"h": outputs, "c": units} if kind == "lstm" else {"h": outputs}

    def init(shape: Tree, rng: Rng) -> Params:
        own = shape["x"] if isinstance(shape, dict) and "x" in shape else shape
        checks.axes(kind, checks.example_shape(kind, own), "time, inputs")
        inputs = checks.channels(kind, own, "inputs")

        params = {
            "w": _gate_by_gate(w_init, inputs, units, gates, fold(rng, "w")),
            "w_h": _gate_by_gate(h_init, outputs, units, gates, fold(rng, "w_h")),
        }
        for name in [name for name in ("b", "b_h") if name in sizes]:
            params[name] = zeros(sizes[name], rng, inputs, units)  # type: ignore[arg-type]
        if kind == "lstm" and bias:
            params["b"][units : 2 * units] = 1
        return params | ({"w_p": w_init((units, outputs), fold(rng, "w_p"), units, outputs)} if projected else {})

    @per_example
    def apply(params: Params, tree: Tree, rng: Rng | None = None) -> tuple[Tree, Vjp]:
        seen = sequence(kind, tree, lambda x: read(params, x))
        check_rng(rng)
        x, mask, _ = seen
        steps = x.shape[1]
        weights, first = {name: params[name] for name in sizes}, _initial(kind, seen, states)
        history, final, back = run(time_first(x, mask), weights, first, held_at(mask, steps))
        y = np.ascontiguousarray(history[1:].swapaxes(0, 1)) if return_sequences else final[0].copy()
        y = under_mask(y, mask) if return_sequences else y
        out = with_outputs(tree, y, dict(zip(states, [state.copy() for state in final], strict=True)))
        like = contract.form(out)

        def vjp_fn(dout: Tree, input_grad: bool = True) -> tuple[Params, Tree]:
            contract.gradient(kind, dout, like)
            dy = value_of(dout)
            dfinal = _final_gradients(states, final, state_of(dout), None if return_sequences else dy)
            dys = time_first(dy, mask) if return_sequences and dy is not None else None
            grads, dx, dfirst = back(dys, dfinal, input_grad)
            grads = {name: grads[name] for name in params}
            if not input_grad:
                return grads, None
            assert dx is not None
            given = {name: d for name, d in zip(states, dfirst, strict=True) if name in (seen.state or {})}
            return grads, with_gradients(tree, dx.swapaxes(0, 1), given)

        return out, vjp_fn

    def multiply_adds(params: Params, tree: Tree, y: Tree) -> int:
        x = tree["x"] if isinstance(tree, dict) else tree
        return int(x.shape[0] * x.shape[1] * sum(leaf.size for leaf in params.values() if leaf.ndim > 1))

    return Layer(probed(init, apply), apply, multiply_adds=multiply_adds)


def _gate_by_gate(initialize: Initializer, rows: int, units: int, gates: int, key: Key) -> Array:
    """Weights of all gates side by side, each drawn as if it were alone."""
    return np.concatenate([initialize((rows, units), fold(key, gate), rows, units) for gate in range(gates)], 1)


def _final_gradients(
    names: Iterable[str], final: tuple[Array, ...], dstate: Tree, dh: Array | None
) -> tuple[Array, ...]:
    """The gradients of the final states: as states of the output, and of h as the output itself, ``dh``."""
    found = [np.zeros_like(state) for state in final]
    for name, gradient in zip(names, found, strict=True):
        if dstate is not None and dstate[name] is not None:
            gradient += dstate[name]
    if dh is not None:
        found[0] += dh
    return tuple(found)


def _initial(kind: str, seen: Sequence, sizes: dict[str, int]) -> tuple[Array, ...]:
    """The initial states: all of them, or zeros if none was given."""
    x, _, state = seen
    state = {} if state is None else state
    if not isinstance(state, dict) or state.keys() not in (set(), sizes.keys()):
        got = sorted(map(str, state)) if isinstance(state, dict) else checks.what(state)
        raise ValueError(f"{kind}: expected 'state' as a dict with {[*sizes]}, or {{}} for zeros, got {got}")
    shapes = {name: (len(x), units) for name, units in sizes.items()}
    if not state:
        return tuple(np.zeros(shape, x.dtype.newbyteorder("=")) for shape in shapes.values())
    return tuple(checks.state(kind, name, state[name], shape, x.dtype) for name, shape in shapes.items())
