"""One operator of the file while it is read: its inputs, known or not, its attributes, and the graph it is added to.

A converter is a function of an ``Operator`` that returns the operands of its outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from funcnn.aliases import Array, Params
from funcnn.interchange.extras import package
from funcnn.interchange.onnx.importing.builder import Builder
from funcnn.interchange.onnx.importing.values import Operand, Unsupported, Value
from funcnn.protocol import Layer

__all__ = ["Converter", "Operator", "shortest"]


WITHOUT_EFFECT = {
    **dict.fromkeys(("Add", "Div", "Gemm", "Mul", "Pow", "Sub"), ("broadcast",)),
    "Attention": ("softmax_precision", "qk_matmul_output_mode"),
    "BatchNormalization": ("momentum", "is_test"),
    "Cast": ("saturate", "round_mode"),
    "Conv": ("kernel_shape",),
    "ConvTranspose": ("kernel_shape",),
    "Dropout": ("ratio", "seed", "is_test"),
    "LayerNormalization": ("stash_type",),
    "MaxPool": ("storage_order",),
    "Resize": ("cubic_coeff_a", "extrapolation_value", "nearest_mode"),
    "ZipMap": ("classlabels_int64s", "classlabels_strings"),
}
"""Attributes that say nothing of what a prediction is: those of training, of outputs that are not taken, of how
precise sums are, of other modes than the one that a node has, and of what is a matter of course since opset 7."""


@dataclass(frozen=True)
class Operator:
    """A node of the file.

    Args:
        builder: the graph of layers.
        kind: the operator.
        inputs: its operands; None for one that is left out.
        attributes: by name.
        opset: the version of the operators.
        used: for each output whether anything uses it.
        alone: for each input whether nothing else uses it.
        fixed: the batch size that the file has in its shapes, or 0 if it is open there.
        captured: the values that graphs inside of the node read from around it, by name.
        inside: ``inside(graph, builder, given)``, which reads a graph inside of the node into another builder, with the
            operands of its inputs and of what it captures; the operands of its outputs, None after a failure.
    """

    builder: Builder
    kind: str
    inputs: Sequence[Operand | None]
    attributes: Mapping[str, Any]
    opset: int
    used: Sequence[bool]
    alone: Sequence[bool]
    fixed: int
    captured: Mapping[str, Value]
    inside: Callable[[Any, Builder, Mapping[str, Operand]], list[Operand | None]]

    asked: set[str] = field(default_factory=set)
    """The attributes that the converter has asked for."""

    def operand(self, number: int) -> Operand | None:
        """An input, or None."""
        return self.inputs[number] if number < len(self.inputs) else None

    def value(self, number: int = 0) -> Value:
        """An input that depends on that of the model."""
        found = self.operand(number)
        if not isinstance(found, Value):
            raise Unsupported(f"a constant as input {number}")
        return found

    def constant(self, number: int, default: Any = None) -> Array:
        """An input that is known."""
        found = self.operand(number)
        if isinstance(found, Value):
            raise Unsupported(f"an input {number} that is no constant")
        if found is None and default is None:
            raise Unsupported(f"no input {number}")
        return np.asarray(default if found is None else found)

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        self.asked.add(name)
        return self.attributes.get(name, default)

    def number(self, name: str, usual: float) -> float:
        """An attribute that is a float32, as one would write it."""
        return shortest(float(np.float32(self.attribute(name, usual))))

    def ints(self, name: str, number: int, default: Sequence[int] | None = None) -> list[int] | None:
        """Whole numbers that are an attribute in old versions of an operator, and an input in new ones."""
        found = self.attribute(name)
        if found is not None:
            return [int(n) for n in found]
        if self.operand(number) is None:
            return None if default is None else [*default]
        return [int(n) for n in self.constant(number).ravel()]

    def check_attributes(self) -> None:
        """Raise for attributes that no one has asked for and that change what is computed."""
        others = self.attributes.keys() - self.asked - {*WITHOUT_EFFECT.get(self.kind, ())}
        if unknown := {name: self.attributes[name] for name in sorted(others) if not self.is_usual(name)}:
            raise Unsupported("the attributes " + ", ".join(f"{name}={value}" for name, value in unknown.items()))

    def is_usual(self, name: str) -> bool:
        """Whether an attribute has the value that it would have if it were left out."""
        onnx = package("onnx", "onnx", "import_onnx")
        schema = onnx.defs.get_schema(self.kind, self.opset) if onnx.defs.has(self.kind) else None
        known = schema.attributes.get(name) if schema else None
        usual = known and known.default_value
        return bool(usual and usual.name and onnx.helper.get_attribute_value(usual) == self.attributes[name])

    def elementwise(self, layer: Layer, params: Params | None = None) -> Value:
        """A layer of single elements on the first input."""
        return self.builder.elementwise(layer, self.value(), params)


def shortest(c: float) -> float:
    """A float32 as one would write it.

    Example:
        >>> shortest(float(np.float32(0.1)))
        0.1
    """
    return float(np.format_float_positional(np.float32(c), trim="-")) if np.isfinite(c) and np.float32(c) == c else c


Converter: TypeAlias = Callable[[Operator], Operand | list[Operand | None]]
"""``converter(operator) -> output``, or a list of several; None for one that nothing uses."""
