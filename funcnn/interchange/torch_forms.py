"""How PyTorch keeps the parameters of each kind of layer: the names of its tensors, and the order of their axes.

Most are a row of a table: a weight has its outputs first and then its inputs, where ours has them last. Recurrent
layers and attention put several of our parameters into one tensor, or one into two.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from funcnn.aliases import Array
from funcnn.interchange.forms import Arrays, Form, Module
from funcnn.interchange.units import GATES, Pattern, Unit

__all__ = ["as_it_is", "forms"]

WEIGHT = {"w": "weight", "b": "bias"}
AFFINE = {"scale": "weight", "shift": "bias"}
LEAVES: dict[str, dict[str, str]] = {
    "dense": WEIGHT,
    "bilinear": WEIGHT,
    "embedding": WEIGHT,
    "embedding_bag": WEIGHT,
    "positions": WEIGHT,
    "prelu": {"slope": "weight"},
    "scale_and_shift": AFFINE,
    "layer_norm": AFFINE,
    "rms_norm": AFFINE,
    "group_norm": AFFINE,
    "instance_norm": AFFINE,
    **{
        f"{kind}{rank}d": WEIGHT
        for kind in ("conv", "conv_transpose", "depthwise_conv")
        for rank in (1, 2, 3)
    },
}  # fmt: skip
AS_THEY_ARE = {"embedding", "embedding_bag", "positions"}
"""Layers whose weight has its axes in the same order."""

MOVED = {kind for kind, names in LEAVES.items() if names is WEIGHT} - AS_THEY_ARE | {*GATES, "multi_head_attention"}
"""Layers whose weights have the outputs last here and first there."""

WEIGHT_NORM = (("parametrizations.weight.original0", "parametrizations.weight.original1"), ("weight_g", "weight_v"))
"""The names of length and direction, from the parametrization and from the older function."""


def forms(unit: Unit) -> list[Form]:
    """The ways in which PyTorch keeps the parameters of a unit, or an error if it has no such layer."""
    if unit.wrapped == "spectral_norm":
        raise ValueError(
            f"{unit.named}: PyTorch's spectral_norm divides by another estimate of the singular value, so there is no "
            "module with the same output; compute the weight there, and load it into the layer without spectral_norm"
        )
    if unit.wrapped and (unit.kind in AS_THEY_ARE or "w" not in LEAVES.get(unit.kind, {})):
        raise ValueError(f"{unit.named}: PyTorch's weight_norm of such a module has other axes; load it without")
    if unit.kind in GATES:
        return [_recurrent(unit)]
    if unit.kind == "multi_head_attention":
        return _attention(unit)
    if unit.kind == "batch_norm":
        return [_batch_norm(unit)]
    if unit.kind not in LEAVES:
        leaves = [*unit.shapes] or ["each parameter"]
        raise ValueError(
            f"{unit.named}: it is not known what PyTorch calls its parameters {leaves}; say names={{"
            f'"{unit.path}/{leaves[0]}": "full name of the tensor", ...}}'
            + ("" if unit.shapes else ", and pass the shape of an example if it has no parameters")
        )
    names = {ours: theirs for ours, theirs in LEAVES[unit.kind].items() if ours in unit.shapes}
    moved = _moved(unit, names)
    return [_with_weight_norm(unit, moved, *pair) for pair in WEIGHT_NORM] if unit.wrapped else [moved]


def as_it_is(unit: Unit, module: Module) -> Form:
    """The form of a unit whose parameters are single tensors with the names of ours."""
    shapes = unit.shapes or {leaf: array.shape for leaf, array in module.arrays.items()}
    return _moved(Unit(unit.path, unit.kind, unit.arguments, shapes), {leaf: leaf for leaf in shapes})


def _axes(kind: str, rank: int) -> tuple[int, ...]:
    """The axes of a parameter of ours in PyTorch's order: outputs, inputs, window."""
    if rank < 2 or kind not in MOVED:
        return tuple(range(rank))
    return (2, 0, 1) if kind == "bilinear" else (rank - 1, rank - 2, *range(rank - 2))


def _moved(unit: Unit, names: Mapping[str, str]) -> Form:
    """The form in which each parameter is one tensor, with its axes in another order."""
    orders = {name: _axes(unit.kind, len(unit.shapes[name])) for name in names}
    return Form(
        {theirs: tuple(unit.shapes[ours][axis] for axis in orders[ours]) for ours, theirs in names.items()},
        lambda arrays: {ours: arrays[theirs].transpose(np.argsort(orders[ours])) for ours, theirs in names.items()},
        lambda own: {theirs: own[ours].transpose(orders[ours]) for ours, theirs in names.items()},
        ours={theirs: unit.shapes[ours] for ours, theirs in names.items() if len(orders[ours]) > 1},
    )


def _with_weight_norm(unit: Unit, plain: Form, length: str, direction: str) -> Form:
    """The form with length and direction in place of the weight; the length has as many axes, all but one of size 1."""
    weight = plain.shapes["weight"]
    ones = (1,) * (len(weight) - 1)
    rest = {name: size for name, size in plain.shapes.items() if name != "weight"}

    def read(arrays: Arrays) -> dict[str, Array]:
        own = plain.read({**arrays, "weight": arrays[direction]})
        v = own.pop("w")
        return {**own, "g": arrays[length].reshape(-1), "v": v}

    def write(own: Arrays) -> dict[str, Array]:
        made = plain.write({**own, "w": own["v"]})
        v = made.pop("weight")
        return {**made, length: own["g"].reshape(-1, *ones), direction: v}

    return Form({**rest, length: (weight[0], *ones), direction: weight}, read, write)


def _batch_norm(unit: Unit) -> Form:
    """Batch norm: one without ``affine`` has no weight and bias, which are then 1 and 0."""
    names = {"scale": "weight", "shift": "bias", "mean": "running_mean", "var": "running_var"}

    def read(arrays: Arrays) -> dict[str, Array]:
        one = np.ones_like(arrays["running_mean"])
        full = {"weight": one, "bias": 0 * one, **arrays}
        return {ours: full[theirs] for ours, theirs in names.items()}

    def write(own: Arrays) -> dict[str, Array]:
        return {theirs: own[ours] for ours, theirs in names.items()}

    shapes = {theirs: unit.shapes[ours] for ours, theirs in names.items()} | {"num_batches_tracked": ()}
    return Form(shapes, read, write, frozenset({"weight", "bias", "num_batches_tracked"}))


def _recurrent(unit: Unit) -> Form:
    """One layer of a recurrent module in one direction: two biases, which are added, so that one of ours is enough.

    The reset gate of a GRU stands between the two products of its last third, whose biases therefore stay two.
    """
    if unit.kind == "gru" and not unit.arguments.get("reset_after", True):
        raise ValueError(
            f"{unit.named}: the reset gate of PyTorch's GRU is applied after the product; use reset_after=True"
        )
    names = {"w": "weight_ih", "w_h": "weight_hh", "w_p": "weight_hr"}
    names = {ours: theirs for ours, theirs in names.items() if ours in unit.shapes}
    weights, bias = _moved(unit, names), unit.shapes.get("b")
    last = -unit.arguments["units"]

    def read(arrays: Arrays) -> dict[str, Array]:
        own = weights.read(arrays)
        if bias is not None:
            own["b"] = arrays["bias_ih"] + arrays["bias_hh"]
        if "b_h" in unit.shapes:
            own["b"][last:] = arrays["bias_ih"][last:]
            own["b_h"] = arrays["bias_hh"][last:]
        return own

    def write(own: Arrays) -> dict[str, Array]:
        made = weights.write(own)
        if bias is not None:
            made["bias_ih"], made["bias_hh"] = own["b"], np.zeros_like(own["b"])
        if "b_h" in unit.shapes:
            made["bias_hh"][last:] = own["b_h"]
        return made

    biases: dict[str, Pattern] = {} if bias is None else {"bias_ih": bias, "bias_hh": bias}
    return Form({**weights.shapes, **biases}, read, write, ours=weights.ours)


def _attention(unit: Unit) -> list[Form]:
    """Attention: three projections in one tensor, or in three if keys and values have other features than queries."""
    shapes = unit.shapes
    query, key, value = (shapes[f"{name}_w"] for name in ("query", "key", "value"))
    if unit.arguments["key_heads"] not in (None, unit.arguments["heads"]):
        raise ValueError(f"{unit.named}: PyTorch's MultiheadAttention has as many heads of keys as of queries")
    separate = {f"{name}_w": f"{name[0]}_proj_weight" for name in ("query", "key", "value")}
    out = {"output_w": "out_proj.weight", "output_b": "out_proj.bias"}
    out = {ours: theirs for ours, theirs in out.items() if ours in shapes}
    three, last = _moved(unit, separate), _moved(unit, out)
    joined = None if query[1] is None else 3 * query[1]
    biases: dict[str, Pattern] = {"in_proj_bias": (joined,)} if "query_b" in shapes else {}

    def read(arrays: Arrays) -> dict[str, Array]:
        own = last.read(arrays)
        if "in_proj_weight" in arrays:
            parts = np.split(arrays["in_proj_weight"], 3)
            own |= {name: part.T for name, part in zip(separate, parts, strict=True)}
        else:
            own |= three.read(arrays)
        if biases:
            parts = np.split(arrays["in_proj_bias"], 3)
            own |= {f"{name}_b": part for name, part in zip(("query", "key", "value"), parts, strict=True)}
        return own

    def write(own: Arrays) -> dict[str, Array]:
        made = last.write(own) | three.write(own)
        if len({own[name].shape for name in separate}) == 1:
            made["in_proj_weight"] = np.concatenate([own[name].T for name in separate])
        if biases:
            made["in_proj_bias"] = np.concatenate([own[f"{name}_b"] for name in ("query", "key", "value")])
        return made

    fused = Form({"in_proj_weight": (joined, query[0]), **biases, **last.shapes}, read, write, ours=last.ours)
    apart = Form({**three.shapes, **biases, **last.shapes}, read, write, ours={**three.ours, **last.ours})
    same = query == key == value or None in (*query, *key, *value)
    return [fused, apart] if same else [apart]
