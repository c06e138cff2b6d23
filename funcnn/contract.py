"""What goes into a layer and what comes out of it: parameters, inputs and gradients, checked against each other.

A layer that has parameters checks their names, shapes and dtypes, and the input beside them, in one cheap call. A
gradient is like the value that it is of. Errors are put together slowly, once something is known not to fit.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from funcnn import checks, tree
from funcnn.aliases import Array, Params, Tree
from funcnn.wording import cast, not_parameters

__all__ = [
    "OtherDtypes", "OtherParameters", "add_hint_about_keys", "add_path", "form", "gradient", "gradients_like",
    "in_order_of", "input_like", "no_params", "one_float_dtype", "parameters", "parameters_only", "params_dict",
    "plain_parameter", "shape_of", "tree_of_arrays",
]  # fmt: skip


PATH_NOTE = "in layer "

OTHER_MODEL = "are these parameters of another model?"
"""What to ask where parameters do not fit a layer."""


class OtherParameters(ValueError):
    """The parameters are not those of this layer or model, whatever the input may be."""


class OtherDtypes(OtherParameters, TypeError):
    """The parameters have dtypes that no input fits."""


def parameters(
    kind: str, axes: str, groups: int = 1, multiplier: int = 1, **shapes: tuple[int | None, ...]
) -> Callable[[Params, Array], list[Array]]:
    """Make the one check of a layer's parameters and input: names, shapes, dtypes and the channels of the input.

    Args:
        kind: the layer's kind, for messages.
        axes: the input's axes in words, ``"batch, height, width, channels"``; ``"batch, ..., inputs"`` allows any rank.
        groups: the number of channels of the input, divided by that of the parameters.
        multiplier: the number of channels of the parameters, divided by that of the input.
        **shapes: the shape of each parameter, with None where the number of channels stands; with several None, that of
            that many last axes of the input.

    Returns:
        ``read(params, x)``, the parameters in this order, or an error that says what does not fit.
    """
    rank = axes.count(",") + 1
    fixed = "..." not in axes
    patterns = [(name, shape.count(None), *_around_none(shape)) for name, shape in shapes.items()]

    def read(params: Params, x: Array) -> list[Array]:
        found = []
        try:
            channels, rest = divmod(x.shape[-1] * multiplier, groups)
            char = x.dtype.char  # "f" or "d", whatever the byte order
            fits = len(params) == len(patterns) and char in "fd" and channels and not rest and type(x) in checks.PLAIN
            fits = fits and (x.ndim == rank if fixed else x.ndim >= 2)
            for name, last, before, after in patterns:
                leaf = params[name]
                shape = x.shape[-last:] if last > 1 else before if after is None else (*before, channels, *after)
                fits = fits and leaf.shape == shape and leaf.dtype.char == char and type(leaf) in checks.PLAIN
                found.append(leaf)
        except (AttributeError, KeyError, TypeError, IndexError):
            fits = False
        if not fits:
            _explain(kind, axes, groups, multiplier, shapes, params, x)
        return found

    return read


def parameters_only(kind: str, **shapes: tuple[int | str, ...]) -> Callable[[Params], list[Array]]:
    """Make the check of parameters of which the input says nothing: names, shapes and dtypes.

    Args:
        kind: the layer's kind, for messages.
        **shapes: the shape of each parameter; a name in it stands for any size, the same wherever the name stands.

    Returns:
        ``read(params)``, the parameters in this order, or an error that says what does not fit.

    Example:
        >>> read = parameters_only("attention", w=("features", 2), b=(2,))
        >>> [leaf.shape for leaf in read({"w": np.ones((3, 2)), "b": np.ones(2)})]
        [(3, 2), (2,)]
    """

    def read(params: Params) -> list[Array]:
        found: list[Array] = []
        sizes: dict[str, int] = {}
        try:
            fits = len(params) == len(shapes)
            for name, shape in shapes.items():
                leaf = params[name]
                found.append(leaf)
                char = leaf.dtype.char
                fits = fits and char in "fd" and char == found[0].dtype.char and type(leaf) in checks.PLAIN
                if leaf.shape != shape:
                    fits = fits and leaf.ndim == len(shape)
                    for n, size in zip(shape, leaf.shape, strict=False):
                        fits = fits and size == (sizes.setdefault(n, size) if type(n) is str else n)
        except (AttributeError, KeyError, TypeError):
            fits = False
        if not fits:
            _explain_parameters(kind, shapes, params)
        return found

    return read


def _around_none(shape: tuple[int | None, ...]) -> tuple[tuple[int | None, ...], tuple[int | None, ...] | None]:
    """What stands before and after the number of channels in a shape; (shape, None) if it is not in it."""
    if None not in shape:
        return shape, None
    place = shape.index(None)
    return shape[:place], shape[place + 1 :]


def _explain(
    kind: str, axes: str, groups: int, multiplier: int, shapes: Mapping[str, tuple[int | None, ...]], params: Params,
    x: Any,
) -> None:  # fmt: skip
    """Raise the error that names what does not fit; it is slow, and nothing is right when it is called."""
    _explain_parameters(kind, shapes, params)
    with_channels = {name: shape for name, shape in shapes.items() if None in shape}
    sizes = {
        name: params[name].shape if shape.count(None) > 1 else params[name].shape[shape.index(None)]
        for name, shape in with_channels.items()
    }
    if len(set(sizes.values())) > 1:
        raise OtherParameters(f"{kind}: the parameters have different numbers of channels, {sizes}; {OTHER_MODEL}")
    checks.float_array(kind, x)
    if (x.ndim < 2) if "..." in axes else (x.ndim != axes.count(",") + 1):
        one = "; of one example, use x[None]" if x.ndim == (1 if "..." in axes else axes.count(",")) else ""
        raise ValueError(f"{kind}: expected an input of axes ({axes}), got shape {x.shape}{one}")
    if not x.shape[-1]:
        raise ValueError(f"{kind}: expected at least 1 channel on the last axis, got an input of shape {x.shape}")
    first = next(iter(sizes.values()), None)
    if isinstance(first, tuple):
        if x.shape[-len(first) :] != first:
            raise ValueError(
                f"{kind}: expected {first} as the last axes (the parameters have that shape), got an input of shape "
                f"{x.shape}"
            )
    elif first is not None and first % multiplier:
        raise OtherParameters(
            f"{kind}: expected parameters with a multiple of {multiplier} channels, got {sizes}; {OTHER_MODEL}"
        )
    channels = x.shape[-1] if first is None or isinstance(first, tuple) else first * groups // multiplier
    input_like(kind, x, channels, next(iter(params.values())).dtype)


def _explain_parameters(kind: str, shapes: Mapping[str, tuple[int | str | None, ...]], params: Params) -> None:
    """Raise the error that names the parameter that does not fit, if there is one whatever the input may be."""
    params_dict(kind, params)
    if not shapes:
        no_params(kind, params)
    sizes: dict[Any, Any] = {None: "any"}
    for name, shape in shapes.items():
        if name not in params:
            raise OtherParameters(f"{kind}: expected a parameter {name!r}, got {sorted(params)}; {OTHER_MODEL}")
        leaf = params[name]
        plain_parameter(kind, name, leaf)
        wanted = tuple(sizes.get(n, n) for n in shape)
        if leaf.ndim != len(shape) or any(type(n) is int and n != m for n, m in zip(wanted, leaf.shape, strict=True)):
            raise OtherParameters(
                f"{kind}: expected parameter {name!r} of shape {wanted}, got {leaf.shape}; {OTHER_MODEL}"
            )
        sizes |= {n: m for n, m in zip(shape, leaf.shape, strict=True) if isinstance(n, str)}
    if extra := sorted(params.keys() - shapes.keys()):
        raise OtherParameters(f"{kind}: expected the parameters {sorted(shapes)}, got also {extra}; {OTHER_MODEL}")
    one_float_dtype(kind, {name: params[name] for name in shapes})


def input_like(kind: str, x: Array, channels: int, dtype: np.dtype[Any]) -> None:
    """Raise if an input has another number of channels than its parameters, or another dtype."""
    if x.shape[-1] != channels:
        raise ValueError(
            f"{kind}: expected {channels} channels on the last axis (the parameters have that many), "
            f"got {x.shape[-1]} in an input of shape {x.shape}"
        )
    if x.dtype.char != dtype.char:
        raise TypeError(
            f"{kind}: input is {x.dtype}, parameters are {dtype.name}; "
            f"use x.astype(np.{dtype.name}) or tree.cast(params, np.{x.dtype.name})"
        )


def plain_parameter(kind: str, name: str, leaf: Any) -> None:
    """Raise if a parameter is not a plain array."""
    if type(leaf) not in checks.PLAIN:
        plain = "a plain" if isinstance(leaf, np.ndarray) else "an"
        raise OtherDtypes(
            f"{kind}: expected parameter {name!r} as {plain} array, got {type(leaf).__name__}; "
            f"use {cast(leaf, name, '')}"
        )


def one_float_dtype(kind: str, leaves: Mapping[str, Array]) -> None:
    """Raise if parameters differ in dtype, or if that is not float32 or float64."""
    dtypes = {name: leaf.dtype.name for name, leaf in leaves.items()}
    if len(set(dtypes.values())) > 1:
        raise OtherDtypes(f"{kind}: the parameters have different dtypes, {dtypes}; use tree.cast(params, np.float32)")
    if not {*dtypes.values()} <= {"float32", "float64"}:
        raise OtherDtypes(
            f"{kind}: expected parameters of float32 or float64, got {dtypes}; use tree.cast(params, np.float32)"
        )


def params_dict(kind: str, params: Any) -> None:
    """Raise if parameters are not a dict."""
    if not isinstance(params, dict):
        hint = not_parameters(params, "apply(params, x)")
        raise OtherParameters(f"{checks.prefix(kind)}expected a dict of parameters, got {type(params).__name__}{hint}")


def no_params(kind: str, params: Any) -> None:
    """Raise if a layer without parameters gets some."""
    if type(params) is not dict or params:
        params_dict(kind, params)
        if params:
            raise OtherParameters(f"{kind} has no parameters, got {sorted(map(str, params))}")


def tree_of_arrays(kind: str, x: Any) -> None:
    """Raise if x is not a batch of numbers or booleans, or a nested dict of such batches."""
    if isinstance(x, dict):
        for name, leaf in x.items():
            tree_of_arrays(f"{kind}, input {name!r}", leaf)
    elif type(x) not in checks.PLAIN or x.dtype.kind not in "iub":
        checks.float_array(kind, x)
    elif not x.ndim:
        raise ValueError(f"{kind}: expected an array with a batch axis, got a single number")


def in_order_of(x: Tree, found: Tree) -> Tree:
    """An output or a gradient in the byte order of an input of foreign order, as a file may hold it.

    Example:
        >>> in_order_of(np.ones(2, ">f4"), np.ones(2, np.float32)).dtype.str
        '>f4'
    """
    if type(x) is not np.ndarray or x.dtype.isnative or x.dtype.kind != "f":
        return found
    return tree.map(lambda leaf: leaf.astype(leaf.dtype.newbyteorder(x.dtype.byteorder), copy=False), found)


def form(y: Tree) -> Any:
    """The shape and the dtype of an output, or those of a tree: what its gradient is like, without keeping it alive.

    Example:
        >>> form(np.zeros((2, 3)))
        ((2, 3), dtype('float64'))
    """
    return {name: form(leaf) for name, leaf in y.items()} if isinstance(y, dict) else (y.shape, y.dtype)


def gradient(kind: str, dy: Any, like: Any) -> None:
    """Raise if ``dy`` has not this ``form``: broadcasting would hide the mistake. In a tree, None stands for zero."""
    if type(like) is dict:
        if not isinstance(dy, dict) or dy.keys() != like.keys():
            got = sorted(dy) if isinstance(dy, dict) else checks.what(dy)
            raise ValueError(f"{kind}: vjp_fn expects dy like y, a dict of {sorted(like)}, got {got}")
        for name, inner in like.items():
            if dy[name] is not None:
                gradient(f"{kind}, output {name!r}", dy[name], inner)
        return
    shape, wanted = like
    if type(dy) is np.ndarray and dy.shape == shape and dy.dtype == wanted:
        return
    if wanted.kind != "f":
        if dy is None:
            return
        raise TypeError(f"{kind}: an output of {wanted} has no gradient; vjp_fn expects None for it")
    if type(dy) not in checks.PLAIN:
        checks.plain(f"{kind}: vjp_fn", dy, "dy")
        if isinstance(dy, list | tuple) or (hasattr(dy, "__array__") and not isinstance(dy, np.generic)):
            write = f"use {cast(dy, 'dy', f'np.{wanted.name}')}"
            if isinstance(dy, tuple) and len(dy) == 2:  # what a loss returned
                write = "a loss returns a pair: value, dy = loss(y, target)"
            raise TypeError(f"{kind}: vjp_fn expects dy like y, an array, got {checks.what(dy)}; {write}")
    if np.shape(dy) != shape:
        raise ValueError(f"{kind}: vjp_fn expects dy like y, of shape {shape}, got {np.shape(dy)}")
    dtype = np.asarray(dy).dtype
    if dtype.char != wanted.char:
        raise TypeError(f"{kind}: vjp_fn expects dy like y, of dtype {wanted}, got {dtype}")


def gradients_like(of: str, like: str, found: Tree, value: Tree, path: str = "") -> None:
    """Raise if gradients are not like their parameters or input; None stands for integers, booleans and zero."""
    where = f"{of} at {path}" if path else of
    if isinstance(value, dict):
        if not isinstance(found, dict) or found.keys() != value.keys():
            got = sorted(found) if isinstance(found, dict) else checks.what(found)
            raise ValueError(f"a vjp_fn must return {where} like {like}, with {sorted(value)}, got {got}")
        for name, leaf in value.items():
            gradients_like(of, like, found[name], leaf, f"{path}/{name}" if path else name)
    elif found is None:
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            raise TypeError(f"a vjp_fn must return (dparams, dx), got None for {where}")
    elif isinstance(value, np.ndarray):
        checks.plain("a vjp_fn", found, where)
        if isinstance(found, list | tuple | str):
            raise TypeError(f"a vjp_fn must return {where} like {like}, an array, got {checks.what(found)}")
        if np.shape(found) != value.shape:
            raise ValueError(f"a vjp_fn must return {where} like {like}, of shape {value.shape}, got {np.shape(found)}")
        if value.dtype.kind == "f" and np.asarray(found).dtype.char != value.dtype.char:
            dtype = np.asarray(found).dtype
            raise TypeError(f"a vjp_fn must return {where} like {like}, of dtype {value.dtype}, got {dtype}")


def add_hint_about_keys(error: Exception) -> None:
    """Say what to write instead if a user's ``init`` or ``apply`` took the key ``rng`` for a generator."""
    of_key = isinstance(error, AttributeError) and isinstance(error.obj, int | tuple)
    name = getattr(error, "name", None) or ""
    if of_key and hasattr(np.random.Generator, name):
        error.add_note(f"rng is a key, not a generator; write fn.rng.generator(rng).{name}(...)")


def add_path(error: Exception, name: str, x: Any) -> None:
    """Put a child's name before the path that a passing error carries, or start that path."""
    notes = getattr(error, "__notes__", [])
    if not notes:
        add_hint_about_keys(error)
        notes = getattr(error, "__notes__", [])
    if notes and notes[-1].startswith(PATH_NOTE):
        notes[-1] = f"{PATH_NOTE}{name}/{notes[-1].removeprefix(PATH_NOTE)}"
    else:
        error.add_note(f"{PATH_NOTE}{name}, with an input of shape {shape_of(x)}")


def shape_of(x: Any) -> Any:
    """The shape of an array, or the shapes of a tree of arrays; for messages, which also tell of ragged lists."""
    if isinstance(x, dict):
        return {name: shape_of(leaf) for name, leaf in x.items()}
    try:
        return tuple(np.shape(x))
    except ValueError:
        return checks.what(x)
