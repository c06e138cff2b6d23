"""A relu in front of a max pooling can as well come after it: the largest relu(x) is relu of the largest x.

A pooled image has a quarter of the pixels or fewer, so the relu and its gradient take a quarter of the time. Values and
gradients keep their bits: where the largest is not positive no pixel has a gradient, elsewhere the same one wins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from funcnn.aliases import Array, Params, Rng
from funcnn.layers.activation import identity, relu
from funcnn.protocol import Layer, Vjp, Wiring, declared, per_example
from funcnn.recorded import made

__all__ = ["relu_after_pooling"]


def relu_after_pooling(children: Mapping[str, Layer], wiring: Wiring) -> dict[str, Layer]:
    """The layers that a wiring runs in place of its children, with the same parameters.

    Example:
        >>> import funcnn as fn
        >>> children = {"conv": fn.conv2d(2, 3, activation="relu"), "pool": fn.max_pool2d(2)}
        >>> relu_after_pooling(children, (("conv", ("input",)), ("pool", ("conv",))))
        {'conv': conv2d(2, 3), 'pool': max_pool2d}
    """
    runs = dict(children)
    uses = Counter(source for _, inputs in wiring for source in inputs)
    for pool, (source, *_) in wiring:
        alone = source in children and uses[source] == 1
        if pool and alone and declared(children[pool].apply, "picks_the_largest"):
            bare = _without_relu(children[source])
            if bare is not None:
                runs[source], runs[pool] = bare, _then_relu(children[pool])
    return runs


def _without_relu(layer: Layer) -> Layer | None:
    """The layer that computes the same but for a relu at the end; None if there is no relu at its end."""
    if layer.apply is relu.apply:
        return identity
    call = layer.call
    if call is None or layer.changed() or not call.constructor.__module__.startswith("funcnn.layers."):
        return None
    if call.arguments.get("activation") not in ("relu", relu):
        return None
    bare: Layer = made(call.constructor, {**call.arguments, "activation": None}, call.keywords)
    return bare


def _then_relu(pool: Layer) -> Layer:
    """A pooling and a relu of what it returns."""
    apply_pool, apply_relu = declared(pool.apply, "inside"), declared(relu.apply, "inside")

    @per_example
    def apply(params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Vjp]:
        largest, pull = apply_pool(params, x, rng)
        y, pull_relu = apply_relu({}, largest)

        def vjp_fn(dy: Array, input_grad: bool = True) -> tuple[Params, Array | None]:
            return pull(pull_relu(dy)[1], input_grad)  # type: ignore[no-any-return]

        return y, vjp_fn

    apply.working_set = declared(pool.apply, "working_set")  # type: ignore[attr-defined]
    return Layer(pool.init, apply, kind=pool.kind)
