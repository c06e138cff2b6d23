"""A model's architecture as text: which functions make its layers, with which arguments, and nothing else.

A layer remembers how it was made, so a model can be written down as JSON and made again. The text is names and plain
values; a name means a layer of this library or one that the reader hands in, so that reading runs nothing foreign.
"""

import inspect
import json
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from funcnn import combinators, initializers, layers
from funcnn.aliases import Params
from funcnn.combinators import check_children
from funcnn.initializers import Recipe
from funcnn.protocol import Layer, OtherParameters, as_layer, named, no_params

__all__ = ["from_json", "to_json"]

FORMAT, VERSION = "funcnn model", 1
# What JSON cannot tell from a plain number is written as text with its type: {"float": "inf"}.
FLOATS = {"float": float, "float16": np.float16, "float32": np.float32, "float64": np.float64}


def to_json(model: Any) -> str:
    """A model's architecture as JSON, one line for each layer; the weights are not in it.

    Only arguments that differ from their defaults are written, in the order of the signature, so that the same model
    always gives the same text and two models differ where their layers do.

    Args:
        model: a layer. Layers of your own must come from a constructor decorated with ``@fn.layer``, or have a kind
            of their own, as ``elementwise(..., name="sine")`` gives one; ``from_json`` then wants them by that name.

    Returns:
        The text.

    Raises:
        ValueError: a layer is a bare pair, has a name that stands for something else, or was made with an argument
            that is neither a plain value, nor a layer, nor a function with a name.

    Example:
        >>> import funcnn as fn
        >>> print(to_json(fn.serial(fn.conv2d(8, 3, padding="same"), fn.relu, fn.named("head", fn.dense(10)))))
        {
          "format": "funcnn model",
          "version": 1,
          "model": {"layer": "serial", "arguments": {"layers": [
            {"layer": "conv2d", "arguments": {"filters": 8, "kernel": 3, "padding": "same"}},
            {"layer": "relu"},
            {"layer": "dense", "name": "head", "arguments": {"units": 10}}
          ]}}
        }
    """
    body = _text(_Writer().layer(as_layer(model), ""), "  ")
    return f'{{\n  "format": {json.dumps(FORMAT)},\n  "version": {VERSION},\n  "model": {body}\n}}'


def from_json(text: str, layers: Mapping[str, Any] = {}) -> Layer:
    """The model whose architecture ``to_json`` wrote.

    Args:
        text: what ``to_json`` returned.
        layers: what the text names beyond this library: constructors, layers and functions of your own, by name.

    Returns:
        The model. ``init`` gives it new parameters.

    Raises:
        ValueError: the text is something else, comes from a newer version, or names what is neither in this library
            nor in ``layers``; the message says where and what to do.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(8, 3), fn.relu, fn.flatten, fn.dense(10))
        >>> from_json(to_json(model))
        serial(conv2d(8, 3), relu, flatten, dense(10))
    """
    shadowed = sorted(layers.keys() & _public().keys())
    if shadowed:
        raise ValueError(f"layers: {shadowed} are names of funcnn's own; give yours other names")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no architecture, since it is no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f'no architecture: expected a JSON object with "format": "{FORMAT}", as to_json writes it')
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise ValueError(f"expected a version of the format, 1 to {VERSION}, got {version!r}")
    if version > VERSION:
        raise ValueError(f"format version {version} is newer than this funcnn, which reads {VERSION}; upgrade funcnn")
    _check_keys("the architecture", content, {"format", "version", "model"}, {"model"})
    try:
        model = _Reader(layers).value(content["model"], "")
    except RecursionError as error:
        raise ValueError("no architecture: it is nested too deeply") from error
    if not isinstance(model, Layer):
        raise ValueError(f"expected the model to be a layer, got {content['model']!r}")
    return model


def check_params(model: Layer, params: Params, path: str = "") -> None:
    """Refuse parameters that are another model's, as far as can be told without an input.

    Each layer must know the names of its parameters, have all it needs, and find the sizes it was made for; whether
    the sizes of one layer fit those of the next shows only when an input runs through.
    """
    where = f"in layer {path}: " if path else ""
    if not isinstance(params, dict):
        raise ValueError(f"{where}expected a dict of parameters, got {type(params).__name__}")
    try:
        if model.children:
            check_children(params, model.children)
        elif model.init is not no_params:
            _try(model, params)
        elif params:
            raise OtherParameters(f"{model.kind} has no parameters, got {sorted(params)}")
    except OtherParameters as error:
        raise ValueError(f"{where}{error}; save and load the parameters with their own model") from error
    for name, child in model.children.items():
        check_params(child, params.get(name, {}), _below(path, name))


def _try(layer: Layer, params: Params) -> None:
    """Let a layer look at its parameters, which it does before it looks at the input."""
    try:
        layer.apply(params, np.zeros((1, 1), np.float32))
    except OtherParameters:
        raise
    except Exception:
        pass  # it did not like this input, which is no matter


class _Writer:
    """Writes layers and their arguments as what JSON knows."""

    def __init__(self) -> None:
        self.own: dict[str, Any] = {}

    def layer(self, layer: Layer, path: str) -> dict[str, Any]:
        """``{"layer": kind, "name": ..., "arguments": {...}}``, without what says nothing."""
        if layer.constructor is None and layer.kind == "layer":
            raise ValueError(
                f"{_where(path)} is a bare pair (init, apply), which no name stands for; "
                "write a function that returns the pair, decorate it with @fn.layer, and build the model with that"
            )
        self.claim(layer.kind, layer.constructor or layer.apply, path)
        node: dict[str, Any] = {"layer": layer.kind}
        if layer.name is not None:
            node["name"] = layer.name
        arguments = {}
        if layer.constructor is not None:
            arguments = self.arguments(layer.constructor, layer.arguments, path, layer.children)
        return node | ({"arguments": arguments} if arguments else {})

    def function(self, function: Any, path: str) -> dict[str, Any]:
        """``{"function": name}``, and the arguments if it was made by one that has a name."""
        for name, public in _public().items():
            if public is function:
                return {"function": name}
        if isinstance(function, Recipe):
            name = function.constructor.__name__
            self.claim(name, function.constructor, path)
            return {"function": name, "arguments": self.arguments(function.constructor, function.arguments, path)}
        self.claim(function.__name__, function, path)
        return {"function": function.__name__}

    def arguments(
        self,
        constructor: Callable[..., Any],
        arguments: Mapping[str, Any],
        path: str,
        children: Mapping[str, Layer] = {},
    ) -> dict[str, Any]:
        """What a constructor was called with, as far as it differs from the defaults."""
        nodes: dict[str, Any] = {}
        for name, parameter in inspect.signature(constructor).parameters.items():
            if name not in arguments or _is_default(arguments[name], parameter):
                continue
            value = arguments[name]
            variadic = parameter.kind is parameter.VAR_POSITIONAL
            if variadic and len(children) == len(value) and all(_is_layer(item) for item in value):
                # ``rebuild`` may have put other children in place of those that the constructor was called with.
                nodes[name] = [self.layer(child, _below(path, own)) for own, child in children.items()]
            else:
                nodes[name] = self.value(value, f"{path or constructor.__name__}.{name}")
        return nodes

    def value(self, value: Any, path: str) -> Any:
        """One argument: a plain value as it is, all else as an object that says what it is."""
        if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
            return value
        if isinstance(value, np.integer | np.bool_):
            return value.item()
        if type(value) in FLOATS.values():
            return {type(value).__name__: repr(float(value))}
        if type(value) is tuple:
            return [self.value(item, path) for item in value]
        if type(value) is list:
            return {"list": [self.value(item, path) for item in value]}
        if type(value) is dict and all(isinstance(key, str) for key in value):
            return {"dict": {key: self.value(item, path) for key, item in value.items()}}
        if isinstance(value, Layer):
            return self.layer(value, path)
        if callable(value) and (isinstance(value, Recipe) or hasattr(value, "__name__")):
            return self.function(value, path)
        raise ValueError(
            f"{_where(path)} is {value!r}, a {type(value).__name__}; an architecture holds numbers, strings, tuples, "
            "lists, dicts, layers and functions with a name: let the constructor take one of these and make the rest"
        )

    def claim(self, name: str, thing: Any, path: str) -> None:
        """Refuse a name that would stand for something else when the text is read, or for two things."""
        public = _public().get(name)
        if public is not None and _maker(public) is not thing:
            raise ValueError(f"{_where(path)} is called {name!r} and is not funcnn's {name}; give yours another name")
        if name == "<lambda>":
            raise ValueError(f"{_where(path)} is a lambda, which no name stands for; define a function")
        if public is None and self.own.setdefault(name, thing) is not thing:
            raise ValueError(f"{_where(path)} is another {name!r} than one before; give each a name of its own")


class _Reader:
    """Makes again what a ``_Writer`` wrote; ``own`` is what the reader handed in."""

    def __init__(self, own: Mapping[str, Any]) -> None:
        self.own = own

    def layer(self, node: dict[str, Any], path: str) -> Layer:
        """The layer that a name stands for, or that its constructor makes."""
        _check_keys(_where(path), node, {"layer", "name", "arguments"}, {"layer"})
        found = self.find(node["layer"], path)
        if not isinstance(found, Layer):
            found = self.call(found, node.get("arguments", {}), path)
        elif "arguments" in node:
            raise ValueError(
                f"{_where(path)}: {node['layer']!r} is a ready layer and takes no arguments; "
                "if it is your own, hand in the constructor"
            )
        if not isinstance(found, Layer):
            raise ValueError(
                f"{_where(path)}: {node['layer']!r} made a {type(found).__name__} and no layer; "
                "hand in a constructor decorated with @fn.layer"
            )
        return named(node["name"], found) if "name" in node else found

    def function(self, node: dict[str, Any], path: str) -> Any:
        """The function that a name stands for, or that its constructor makes."""
        _check_keys(_where(path), node, {"function", "arguments"}, {"function"})
        found = self.find(node["function"], path)
        return self.call(found, node["arguments"], path) if "arguments" in node else found

    def call(self, constructor: Any, nodes: Any, path: str) -> Any:
        """What a constructor makes of arguments that are yet to be read."""
        name = getattr(constructor, "__name__", repr(constructor))
        if not hasattr(constructor, "__wrapped__"):
            raise ValueError(f"{_where(path)}: {name} makes no layers; hand in a constructor decorated with @fn.layer")
        if not isinstance(nodes, dict):
            raise ValueError(f"{_where(path)}: expected the arguments of {name} by name, got {nodes!r}")
        signature = inspect.signature(constructor)
        _check_keys(f"{_where(path)}: {name}", nodes, signature.parameters.keys())
        values: dict[str, Any] = {}
        for parameter in signature.parameters.values():
            if parameter.name in nodes:
                value = self.value(nodes[parameter.name], path)
                variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
                if variadic and not isinstance(value, tuple | dict):
                    raise ValueError(f"{_where(path)}: {name} takes several values for {parameter}, got {value!r}")
                values[parameter.name] = value
        bound = inspect.BoundArguments(signature, OrderedDict(values))
        bound.apply_defaults()
        try:
            return constructor(*bound.args, **bound.kwargs)
        except Exception as error:
            raise ValueError(f"{_where(path)}: {name} cannot be made: {error}") from error

    def value(self, node: Any, path: str) -> Any:
        """One argument, from what JSON knows."""
        if isinstance(node, list):
            return tuple(self.value(item, _below(path, label)) for item, label in zip(node, _labels(node), strict=True))
        if not isinstance(node, dict):
            return node
        if "layer" in node:
            return self.layer(node, path)
        if "function" in node:
            return self.function(node, path)
        tag, content = next(iter(node.items())) if len(node) == 1 else ("", None)
        if tag == "list" and isinstance(content, list):
            return [self.value(item, path) for item in content]
        if tag == "dict" and isinstance(content, dict):
            return {key: self.value(item, path) for key, item in content.items()}
        with suppress(ValueError):
            if tag in FLOATS and isinstance(content, str):
                return FLOATS[tag](content)
        raise ValueError(f"{_where(path)}: {node!r} is nothing that an architecture holds")

    def find(self, name: Any, path: str) -> Any:
        """What a name stands for: in this library, or else in what was handed in."""
        for known in (_public(), self.own):
            if isinstance(name, str) and name in known:
                return known[name]
        raise ValueError(
            f"{_where(path)}: this funcnn has no {name!r}; if it is your own, pass it in: layers={{{name!r}: {name}}}"
        )


@cache
def _public() -> dict[str, Any]:
    """What this library makes models of, by name: layers, combinators and initializers."""
    public: dict[str, Any] = {}
    for module in (layers, combinators, initializers):
        named_things = {name: getattr(module, name) for name in module.__all__}
        # What ``@layer`` and its like decorated, and what is ready to use: not ``repeat``, which makes a ``serial``.
        public |= {
            name: thing
            for name, thing in named_things.items()
            if isinstance(thing, Layer | Recipe)
            or hasattr(thing, "__wrapped__")
            or (module is initializers and inspect.isfunction(thing))
        }
    return public


def _maker(thing: Any) -> Any:
    """What tells a layer from another: its ``apply``, since ``named`` makes a new ``Layer``."""
    return thing.apply if isinstance(thing, Layer) else thing


def _is_layer(value: Any) -> bool:
    """Whether a combinator would take it for a child."""
    return isinstance(value, Layer) or (isinstance(value, tuple) and all(callable(part) for part in value))


def _is_default(value: Any, parameter: inspect.Parameter) -> bool:
    """Whether leaving an argument out says the same."""
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return not value
    default = parameter.default
    # By their spelling, which tells 1 from True and 0.0 from -0.0.
    plain = isinstance(value, bool | int | float | str | tuple) and type(value) is type(default)
    return value is default or (plain and repr(value) == repr(default))


def _labels(nodes: list[Any]) -> Iterator[str]:
    """What the layers in a list will be called in a model; what is no layer needs no name."""
    counts: Counter[str] = Counter()
    for node in nodes:
        if not isinstance(node, dict) or "layer" not in node:
            yield ""
            continue
        kind = str(node["layer"])
        yield str(node.get("name", f"{kind}_{counts[kind]}"))
        counts[kind] += 1


def _below(path: str, name: str) -> str:
    """The path of a child."""
    return "/".join(part for part in (path, name) if part)


def _where(path: str) -> str:
    """The place of a layer, in words."""
    return f"layer {path}" if path else "the model"


def _check_keys(where: str, node: dict[str, Any], allowed: Collection[str], required: Collection[str] = ()) -> None:
    """Refuse what is not known, and what is missing."""
    unknown = [key for key in node if key not in allowed]
    if unknown:
        raise ValueError(f"{where} takes no {unknown}, it takes {[*allowed]}")
    missing = [key for key in required if key not in node]
    if missing:
        raise ValueError(f"{where} lacks {missing}")


def _text(node: Any, indent: str) -> str:
    """JSON with a line for each layer in a list of layers."""
    if isinstance(node, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_text(value, indent)}" for key, value in node.items()) + "}"
    if isinstance(node, list) and any(isinstance(item, dict) and "layer" in item for item in node):
        inner = indent + "  "
        return "[\n" + ",\n".join(inner + _text(item, inner) for item in node) + f"\n{indent}]"
    return json.dumps(node)
