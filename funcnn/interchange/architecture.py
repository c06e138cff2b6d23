"""A model's architecture as text: which functions make its layers, with which arguments, and nothing else.

The text is the recorded calls of the layers: names and plain values. A name means a layer of this library or one that
the reader passes, so that reading a file runs no code from it.
"""

from __future__ import annotations

import inspect
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np

from funcnn import checks, combinators, initializers, layers
from funcnn.aliases import Params
from funcnn.calls import explained
from funcnn.combinators.parameters import expanded
from funcnn.contract import OtherParameters
from funcnn.engine.children import check_children
from funcnn.interchange.renamed import RENAMES, VERSION, Renames
from funcnn.protocol import Layer, LayerLike, as_layer, declared, given_children, is_pair, named
from funcnn.recorded import VARIADIC, Recorded, is_default, made
from funcnn.signals import reraise_if_of_a_handler
from funcnn.tree import below, check_parameters
from funcnn.wording import shown, what

__all__ = ["from_json", "to_json"]

FORMAT = "funcnn model"
MAX_DEPTH = 40
"""Layers inside layers. Each takes several calls of Python, which has room for about a thousand."""
# What JSON cannot tell from a plain number is written as text with its type: {"float": "inf"}.
FLOATS = {"float": float, "float16": np.float16, "float32": np.float32, "float64": np.float64}


@explained
def to_json(model: LayerLike) -> str:
    """The architecture of a model as JSON, one line for each layer; the parameters are not in it.

    Only arguments that differ from their defaults are written, in the order of the signature, so that the same model
    always gives the same text and two models differ where their layers do.

    Args:
        model: a layer. Your own layers must come from a constructor decorated with ``@fn.layer``, or have their own
            kind, as ``elementwise(..., name="sine")`` does; pass them to ``from_json`` under that name.

    Returns:
        The text.

    Raises:
        ValueError: a layer is a bare pair, has the kind of another one, computes with another ``apply`` than its
            recorded call made, or was made with an argument that is neither a plain value, nor a layer, nor a function
            with a name. The message names the path.

    Example:
        >>> import funcnn as fn
        >>> print(to_json(fn.serial(fn.conv2d(8, 3, padding="same"), fn.relu, fn.named("head", fn.dense(10)))))
        {
          "format": "funcnn model",
          "version": 2,
          "model": {"layer": "serial", "arguments": {"layers": [
            {"layer": "conv2d", "arguments": {"filters": 8, "kernel": 3, "padding": "same"}},
            {"layer": "relu"},
            {"layer": "dense", "name": "head", "arguments": {"units": 10}}
          ]}}
        }
    """
    try:
        body = _text(_Writer().layer(as_layer(model), ""), "  ")
    except RecursionError as error:
        raise ValueError(
            f"to_json: the layers of the model are nested too deeply, more than {MAX_DEPTH} inside each other"
        ) from error
    return f'{{\n  "format": {json.dumps(FORMAT)},\n  "version": {VERSION},\n  "model": {body}\n}}'


@explained
def from_json(text: str, layers: Mapping[str, Layer | Callable[..., Any]] = {}) -> Layer:
    """The model whose architecture ``to_json`` wrote, with this version of funcnn or an older one.

    Args:
        text: what ``to_json`` returned.
        layers: your own constructors, layers and functions, by the names that the text has for them.

    Returns:
        The model. ``init`` gives it new parameters.

    Raises:
        TypeError: ``text`` is not a str, or ``layers`` is not a dict.
        ValueError: the text is something else, comes from a newer version, or has a name that is neither in this
            library nor in ``layers``; the message says where and what to do.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(8, 3), fn.relu, fn.flatten, fn.dense(10))
        >>> from_json(to_json(model))
        serial(conv2d(8, 3), relu, flatten, dense(10))
    """
    check_own(layers)
    if not isinstance(text, str):
        raise TypeError(f"from_json: expected the text that to_json returned, a str, got a {type(text).__name__}")
    try:
        content = json.loads(text, object_pairs_hook=_dict, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not an architecture, since it is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f'not an architecture: expected a JSON object with "format": "{FORMAT}", as to_json writes it')
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise ValueError(f"expected a version of the format, 1 to {VERSION}, got {shown(version)}")
    if version > VERSION:
        raise ValueError(f"format version {version} is newer than this funcnn, which reads {VERSION}; upgrade funcnn")
    _check_keys("the architecture", content, {"format", "version", "model"}, {"model"})
    try:
        node = content["model"]
        for renames in RENAMES[version - 1 :]:
            node = _with_new_names(node, renames)
        model = _Reader(layers).value(node, "")
    except RecursionError as error:
        raise ValueError(
            f"not an architecture: it is nested too deeply, with more than {MAX_DEPTH} layers inside each other"
        ) from error
    if not isinstance(model, Layer):
        raise ValueError(f"expected the model to be a layer, got {shown(content['model'])}")
    return model


def check_own(layers: Any) -> None:
    """Raise unless this is a dict of the user's own layers and functions by names that funcnn does not use."""
    if not isinstance(layers, Mapping) or not all(isinstance(name, str) for name in layers):
        raise TypeError(f"layers: expected a dict {{name: constructor}} of your own layers, got {shown(layers)}")
    shadowed = sorted(layers.keys() & _public().keys())
    if shadowed:
        raise ValueError(f"layers: {shadowed} are names of funcnn's own layers; give yours other names")


def _dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dict of a JSON object, whose keys differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"an object has a key twice, among {[key for key, _ in pairs]}")
    return found


def _no_constant(name: str) -> Any:
    """Raise about NaN and infinities, which Python reads, JSON does not have, and to_json writes as text."""
    raise ValueError(f"{name} is not a number of JSON")


def check_params(model: Layer, params: Params) -> None:
    """Raise an error about parameters of another model, as far as they can be checked without an input.

    All floats must have one dtype, those of different layers and of a user's layer too.
    """
    _check_layer_params(model, params, "")
    check_parameters(params)


def _check_layer_params(model: Layer, params: Params, path: str) -> None:
    """The same for a layer and those inside.

    A layer of this library checks names, shapes and dtypes of its parameters before it looks at the input, so it is
    called without one. A user's layer is not called: its ``apply`` may do anything. Whether the sizes of one layer fit
    those of the next shows only in a forward pass.
    """
    where = f"in layer {path}: " if path else ""
    if not isinstance(params, dict):
        raise ValueError(f"{where}expected a dict of parameters, got {type(params).__name__}")
    try:
        params = expanded(model, params)  # tied ones stand in the file once
        if model.children:
            check_children(params, model.children)
        elif declared(model.apply, "has_params") is False:
            if params:
                raise OtherParameters(f"{model.kind} has no parameters, got {sorted(params)}")
        elif not hasattr(model.apply, "unchecked"):
            _check_own(model, params)
    except OtherParameters as error:
        raise ValueError(f"{where}{error}; save and load the parameters with their own model") from error
    for name in model.children:
        # Where weights are computed, the part has the parameters that they are computed from.
        child = model[name] if declared(model.apply, "computes") else model.children[name]
        _check_layer_params(child, params.get(name, {}), below(path, name))


def _check_own(layer: Layer, params: Params) -> None:
    """Let a layer of this library check its own parameters."""
    try:
        layer.apply(params, None)  # type: ignore[arg-type]
    except OtherParameters:
        raise
    except (TypeError, ValueError, AttributeError):
        pass  # the parameters are right, and the input is missing


@contextmanager
def _inside(walker: Any) -> Iterator[None]:
    """One layer deeper: an error before Python's own would come, in the writer as in the reader."""
    walker.depth += 1
    if walker.depth > MAX_DEPTH:
        raise RecursionError
    yield
    walker.depth -= 1


class _Writer:
    """Writes recorded calls as JSON values."""

    def __init__(self) -> None:
        self.own: dict[str, Any] = {}
        self.depth = 0

    def layer(self, layer: Layer, path: str) -> dict[str, Any]:
        """A layer that is not nested too deeply to be read."""
        with _inside(self):
            return self.described(layer, path)

    def described(self, layer: Layer, path: str) -> dict[str, Any]:
        """``{"layer": kind, "name": ..., "arguments": {...}}``; the name and the arguments only if there are any."""
        call = layer.recorded_call(path)
        if call is None and layer.kind == "layer":
            raise ValueError(
                f"{_where(path)} is a bare pair (init, apply), which has no name; "
                "write a function that returns the pair, decorate it with @fn.layer, and build the model with that"
            )
        self.claim(layer.kind, layer.apply if call is None else call.constructor, path)
        node: dict[str, Any] = {"layer": layer.kind}
        if layer.name is not None:
            node["name"] = layer.name
        if call is not None:
            paths = {id(given): below(path, name) for name, given in reversed(given_children(layer))}
            arguments = self.arguments(call.constructor, call.arguments, path, paths)
            if arguments:
                node["arguments"] = arguments
        return node

    def function(self, function: Any, path: str) -> dict[str, Any]:
        """``{"function": name}``, or the recorded call of the function: ``{"function": name, "arguments": {...}}``."""
        for name, public in _public().items():
            if public is function:
                return {"function": name}
        if isinstance(function, Recorded) and function.call is not None:
            constructor = function.call.constructor
            qualified = (name for name, public in _public().items() if public is constructor)
            name = next(qualified, constructor.__name__)
            self.claim(name, constructor, path)
            return {"function": name, "arguments": self.arguments(constructor, function.call.arguments, path)}
        self.claim(function.__name__, function, path)
        return {"function": function.__name__}

    def arguments(
        self,
        constructor: Callable[..., Any],
        arguments: Mapping[str, Any],
        path: str,
        paths: Mapping[int, str] = {},
    ) -> dict[str, Any]:
        """The arguments of a recorded call that differ from the defaults; ``paths`` are those of children, by id."""
        return {
            name: self.value(arguments[name], f"{path or constructor.__name__}.{name}", paths)
            for name, parameter in inspect.signature(constructor).parameters.items()
            if name in arguments and not is_default(arguments[name], parameter)
        }

    def value(self, value: Any, path: str, paths: Mapping[int, str] = {}) -> Any:
        """One argument: a plain value as it is, any other as an object with its type."""
        if is_pair(value):
            return self.layer(as_layer(value), paths.get(id(value), path))
        if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
            return value
        if isinstance(value, np.integer | np.bool_):
            return value.item()
        if type(value) in FLOATS.values():
            return {type(value).__name__: repr(float(value))}
        if type(value) is tuple:
            return [self.value(item, path, paths) for item in value]
        if type(value) is list:
            return {"list": [self.value(item, path, paths) for item in value]}
        if type(value) is slice:
            return {"slice": [self.value(n, path) for n in (value.start, value.stop, value.step)]}
        if type(value) is dict and all(isinstance(key, str) for key in value):
            return {"dict": {key: self.value(item, path, paths) for key, item in value.items()}}
        if callable(value) and hasattr(value, "__name__"):
            return self.function(value, path)
        kind = "" if isinstance(value, np.ndarray) else f", {what(value)}"
        raise ValueError(
            f"{_where(path)} is {shown(value)}{kind}; an architecture holds numbers, strings, tuples, "
            "lists, dicts, slices, layers and functions with a name: let the constructor take one of these and make the"
            " rest"
        )

    def claim(self, name: str, thing: Any, path: str) -> None:
        """Raise an error about a name that means something else when the text is read, or two things."""
        public = _public().get(name)
        if public is not None and _maker(public) is not thing:
            raise ValueError(f"{_where(path)} is called {name!r} and is not funcnn's {name}; give yours another name")
        if name == "<lambda>":
            raise ValueError(f"{_where(path)} is a lambda, which has no name; define a function")
        if public is None and self.own.setdefault(name, thing) is not thing:
            raise ValueError(f"{_where(path)} is another {name!r} than one before; give them different names")


class _Reader:
    """Makes the calls that a ``_Writer`` wrote; ``own`` are the user's constructors, layers and functions."""

    def __init__(self, own: Mapping[str, Any]) -> None:
        self.own = own
        self.depth = 0

    def layer(self, node: dict[str, Any], path: str) -> Layer:
        """A layer that is not nested too deeply to be used."""
        with _inside(self):
            return self.found(node, path)

    def found(self, node: dict[str, Any], path: str) -> Layer:
        """The layer of a name, or the one that the constructor of this name makes."""
        _check_keys(_where(path), node, {"layer", "name", "arguments"}, {"layer"})
        found = self.find(node["layer"], path)
        if not isinstance(found, Layer):
            found = self.call(found, node.get("arguments", {}), path)
        elif "arguments" in node:
            raise ValueError(
                f"{_where(path)}: {node['layer']!r} is a layer and takes no arguments; "
                "if it is your own, pass the constructor"
            )
        if not isinstance(found, Layer):
            raise ValueError(
                f"{_where(path)}: {node['layer']!r} makes a {type(found).__name__}, not a layer; "
                "pass a constructor decorated with @fn.layer"
            )
        return named(node["name"], found) if "name" in node else found

    def function(self, node: dict[str, Any], path: str) -> Any:
        """The function of a name, or the one that the constructor of this name makes."""
        _check_keys(_where(path), node, {"function", "arguments"}, {"function"})
        found = self.find(node["function"], path)
        return self.call(found, node["arguments"], path) if "arguments" in node else found

    def call(self, constructor: Any, nodes: Any, path: str) -> Any:
        """Call a constructor with arguments that are still JSON values."""
        name = getattr(constructor, "__name__", repr(constructor))
        # A recorded function knows its call too, but calling an initializer would draw an array of any size.
        if not inspect.isfunction(constructor) or not checks.is_constructor(constructor):
            raise ValueError(f"{_where(path)}: {name} makes no layers; pass a constructor decorated with @fn.layer")
        if not isinstance(nodes, dict):
            raise ValueError(f"{_where(path)}: expected the arguments of {name} by name, got {shown(nodes)}")
        signature = inspect.signature(constructor)
        _check_keys(f"{_where(path)}: {name}", nodes, signature.parameters.keys())
        values: dict[str, Any] = {}
        for parameter in signature.parameters.values():
            if parameter.name in nodes:
                value = self.value(nodes[parameter.name], path)
                if parameter.kind in VARIADIC and not isinstance(value, tuple | dict):
                    raise ValueError(f"{_where(path)}: {name} takes several values for {parameter}, got {shown(value)}")
                values[parameter.name] = value
        try:
            return made(constructor, values)
        except Exception as error:
            reraise_if_of_a_handler(error)
            raise ValueError(f"{_where(path)}: {name} cannot be made: {error}") from error

    def value(self, node: Any, path: str) -> Any:
        """One argument, from its JSON value."""
        if isinstance(node, list):
            return tuple(self.value(item, below(path, label)) for item, label in zip(node, _labels(node), strict=True))
        if not isinstance(node, dict):
            return node
        if "layer" in node:
            return self.layer(node, path)
        if "function" in node:
            return self.function(node, path)
        tag, content = next(iter(node.items())) if len(node) == 1 else ("", None)
        if tag == "list" and isinstance(content, list):
            return [self.value(item, path) for item in content]
        if tag == "slice" and isinstance(content, list) and len(content) == 3:
            return slice(*[self.value(n, path) for n in content])
        if tag == "dict" and isinstance(content, dict):
            return {key: self.value(item, below(path, key)) for key, item in content.items()}
        with suppress(ValueError):
            if tag in FLOATS and isinstance(content, str):
                return FLOATS[tag](content)
        raise ValueError(f"{_where(path)}: {node!r} is not a value of an architecture")

    def find(self, name: Any, path: str) -> Any:
        """The thing of a name: in this library, or among the user's own."""
        for known in (_public(), self.own):
            if isinstance(name, str) and name in known:
                return known[name]
        raise ValueError(
            f"{_where(path)}: this funcnn has no {name!r}; if it is your own, pass it in: layers={{{name!r}: {name}}}"
        )


@cache
def _public() -> dict[str, Any]:
    """The layers, combinators and initializers of this library, by name; by module and name where a layer has it."""
    public: dict[str, Any] = {}
    for module in (layers, combinators, initializers):
        area = module.__name__.removeprefix("funcnn.")
        named_things = {f"{area}.{name}" if name in public else name: getattr(module, name) for name in module.__all__}
        # Constructors that record their call, and layers and functions: not ``repeat``, which makes a ``serial``.
        public |= {
            name: thing
            for name, thing in named_things.items()
            if isinstance(thing, Layer | Recorded) or checks.is_constructor(thing)
        }
    return public


def _maker(thing: Any) -> Any:
    """The identity of a layer is its ``apply``, since ``named`` makes a new ``Layer``; of others, they themselves."""
    return thing.apply if isinstance(thing, Layer) else thing


def _with_new_names(node: Any, renames: Renames) -> Any:
    """The JSON value of an older version with the names of the next one; what is malformed stays, for the reader."""
    if isinstance(node, list):
        items = [_with_new_names(item, renames) for item in node]
        # Where parameters stand is part of the old file: a layer whose default name changes gets the old one.
        return [
            {**item, "name": old} if old != new else item
            for item, old, new in zip(items, _labels(node), _labels(items), strict=True)
        ]
    if not isinstance(node, dict):
        return node
    for tag in ("layer", "function"):
        kind = node.get(tag)
        if isinstance(kind, str):
            changed = {**node, tag: renames.kinds.get(kind, kind)}
            arguments, new = node.get("arguments"), renames.arguments.get(kind, {})
            if isinstance(arguments, dict):
                changed["arguments"] = {
                    new.get(name, name): _with_new_names(value, renames) for name, value in arguments.items()
                }
            return changed
    return {
        tag: {key: _with_new_names(value, renames) for key, value in content.items()}
        if isinstance(content, dict)
        else _with_new_names(content, renames)
        for tag, content in node.items()
    }


def _labels(nodes: list[Any]) -> Iterator[str]:
    """The names of layers that are the children of a combinator; empty if an item is not a layer."""
    counts: Counter[str] = Counter()
    siblings = all(isinstance(node, dict) and "layer" in node for node in nodes)
    for node in nodes:
        if not siblings:
            yield ""
            continue
        kind = str(node["layer"])
        yield str(node.get("name", f"{kind}_{counts[kind]}"))
        counts[kind] += 1


def _where(path: str) -> str:
    """The place of a layer, in words."""
    return f"layer {path}" if path else "the model"


def _check_keys(where: str, node: dict[str, Any], allowed: Collection[str], required: Collection[str] = ()) -> None:
    """Raise an error about unknown keys and about missing ones."""
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
