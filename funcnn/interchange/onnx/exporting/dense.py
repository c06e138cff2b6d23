"""Layers that multiply by a matrix, or look rows up in one, as nodes of ONNX."""

from __future__ import annotations

from typing import Any

from funcnn.aliases import Tree
from funcnn.interchange.onnx.exporting.graph import Tensor
from funcnn.interchange.onnx.exporting.site import Converter, Site
from funcnn.layers import bilinear, dense, embedding, prelu, scale_and_shift

__all__ = ["CONVERTERS"]


def _dense(at: Site, x: Tensor, units: int, bias: bool, activation: Any, **_: Any) -> Tree:
    z = at.op("MatMul", x.name, at.param("w"))
    if bias:
        z = at.op("Add", z, at.param("b"))
    return at.activated(z, x, (*x.shape[:-1], int(units)), activation)


def _bilinear(at: Site, x: dict[str, Tensor], units: int, bias: bool, activation: Any, **_: Any) -> Tree:
    a, b = x["a"], x["b"]
    z = at.op("Einsum", a.name, b.name, at.param("w"), equation="...i,...j,iju->...u")
    if bias:
        z = at.op("Add", z, at.param("b"))
    return at.activated(z, a, (*a.shape[:-1], int(units)), activation)


def _embedding(at: Site, x: Tensor, **_: Any) -> Tree:
    return at.op("Gather", at.param("w"), x.name, axis=0)


def _prelu(at: Site, x: Tensor, **_: Any) -> Tree:
    return at.op("PRelu", x.name, at.param("slope"))


def _scale_and_shift(at: Site, x: Tensor, activation: Any) -> Tree:
    z = at.op("Add", at.op("Mul", x.name, at.param("scale")), at.param("shift"))
    return at.activated(z, x, x.shape, activation)


CONVERTERS: dict[Any, Converter] = {
    dense: _dense, bilinear: _bilinear, embedding: _embedding, prelu: _prelu, scale_and_shift: _scale_and_shift,
}  # fmt: skip
