"""What a ``Layer`` puts around an ``apply``: the checks of a user's function, and the threads of BLAS of a lone call.

A user's ``apply`` may leave out ``rng`` and its ``vjp_fn`` ``input_grad``; what they return is checked, so that a wrong
gradient is reported where it arises.
"""

# A vjp_fn is defined at each call of apply; like this its annotations cost nothing there.
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import numpy as np

from funcnn import checks, contract
from funcnn.aliases import LayerApply, LayerVjp, Params, Rng, Vjp
from funcnn.cores import blas_threads, is_small, with_blas_threads
from funcnn.rng import check_rng

__all__ = ["checked", "declaring", "with_own_blas_threads"]


def checked(apply: Callable[..., Any]) -> LayerApply:
    """A user's ``apply`` with ``rng`` and ``input_grad``, whose outputs and gradients are checked.

    The same function without the checks is its ``unchecked``, for the checker, which reports all that is wrong.
    """
    run, takes_rng = _with_rng(apply)

    def full(params: Params, x: Any, rng: Rng | None = None) -> tuple[Any, LayerVjp]:
        check_rng(rng)
        y, pull = checks.returned_pair("apply", run(params, x, rng), "(y, vjp_fn), an output and a function")
        if not checks.is_function(pull):
            raise TypeError(f"apply must return (y, vjp_fn), an output and a function, got {checks.what(pull)}")
        checks.plain("apply", y, "the output")
        if not isinstance(y, np.ndarray | dict):
            raise TypeError(f"apply must return y as an array or as a nested dict of arrays, got {checks.what(y)}")
        takes_input_grad = _takes_input_grad(pull)

        def vjp_fn(dy: Any, input_grad: bool = True) -> tuple[Params, Any]:
            pulled = pull(dy, input_grad=input_grad) if takes_input_grad else pull(dy)
            dparams, dx = checks.returned_pair("a vjp_fn", pulled, "(dparams, dx)")
            return dparams, dx if input_grad or takes_input_grad else None

        return y, vjp_fn

    def wrapped(params: Params, x: Any, rng: Rng | None = None) -> tuple[Any, LayerVjp]:
        y, pull = full(params, x, rng)

        def vjp_fn(dy: Any, input_grad: bool = True) -> tuple[Params, Any]:
            dparams, dx = pull(dy, input_grad)
            contract.gradients_like("dparams", "params", dparams, params)
            if not input_grad:
                return dparams, None
            contract.gradients_like("dx", "x", dx, x)
            return dparams, dx

        return y, vjp_fn

    wrapped.__name__, wrapped.__doc__ = getattr(apply, "__name__", "apply"), apply.__doc__
    wrapped.unchecked, wrapped.written, wrapped.per_example = full, apply, False  # type: ignore[attr-defined]
    wrapped.takes_rng = takes_rng  # type: ignore[attr-defined]
    return wrapped


def with_own_blas_threads(apply: LayerApply) -> LayerApply:
    """An ``apply`` for calls from outside of a model: BLAS has a number of threads that the input alone decides.

    A combinator calls the function ``inside``, and knows better: it cuts the batch, so that its microbatches use the
    cores. A convolution alone is not cut, and is up to 1.5 times faster with the threads of BLAS.
    """

    def alone(params: Params, x: Any, rng: Rng | None = None) -> tuple[Any, LayerVjp]:
        one_thread = is_small(x)
        y, pull = with_blas_threads(blas_threads(one_thread), apply, params, x, rng)

        def vjp_fn(dy: Any, input_grad: bool = True) -> tuple[Params, Any]:
            dparams, dx = with_blas_threads(blas_threads(one_thread), pull, dy, input_grad)
            return dparams, contract.in_order_of(x, dx)

        return contract.in_order_of(x, y), vjp_fn

    alone.__name__, alone.__doc__ = getattr(apply, "__name__", "apply"), apply.__doc__
    alone.__dict__.update(vars(apply), inside=apply)
    return alone


def declaring(apply: LayerApply, declarations: Mapping[str, Any]) -> LayerApply:
    """The function of a ``Layer`` with further declarations, as one of its own: the layer may be in use elsewhere."""
    assert isinstance(apply, FunctionType)
    own = FunctionType(apply.__code__, apply.__globals__, apply.__name__, apply.__defaults__, apply.__closure__)
    own.__kwdefaults__, own.__doc__ = apply.__kwdefaults__, apply.__doc__
    own.__dict__.update(vars(apply), **declarations)
    return own


def _with_rng(apply: Callable[..., Any]) -> tuple[Callable[..., Any], bool]:
    """A user's ``apply`` with three arguments, and whether it takes an ``rng``.

    A third argument of its own is ``rng``, unless its default is not None.
    """
    signature = None if isinstance(apply, np.ufunc) else checks.signature_of(apply)
    parameters = signature.parameters if signature else {}
    rng = parameters.get("rng")
    if rng is not None and rng.kind is inspect.Parameter.KEYWORD_ONLY:
        return lambda params, x, rng: apply(params, x, rng=rng), True
    if parameters and checks.accepts(apply, ("params", "x", "rng")):
        third = [*parameters.values()][min(2, len(parameters) - 1)]
        if third.default is None or third.default is inspect.Parameter.empty:
            return apply, True
    checks.function("a layer", "apply", apply, "params, x")
    return lambda params, x, rng: apply(params, x), False


def _takes_input_grad(vjp_fn: Vjp) -> bool:
    """Whether a ``vjp_fn`` knows the keyword; read off the code object, since this is asked at each step."""
    code = getattr(vjp_fn, "__code__", None)
    if code is None:
        return "input_grad" in inspect.signature(vjp_fn).parameters
    return "input_grad" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
