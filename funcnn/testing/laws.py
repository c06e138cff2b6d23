"""The laws of the contract, one function each: it runs a layer on one case and returns findings.

One random direction tells a wrong derivative from a right one: for a tangent v and a cotangent dy the two numbers
``<dy, J v>`` (measured by two evaluations) and ``<vjp_fn(dy), v>`` must agree, whatever the size of the layer. Inputs
and outputs are arrays or trees of arrays; integers and booleans have no gradient, and neither have frozen parameters.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Params, Rng, Tree
from funcnn.combinators import serial
from funcnn.combinators.parameters import is_frozen
from funcnn.engine.examples import join
from funcnn.engine.microbatch import microbatches, output
from funcnn.protocol import Layer, Vjp, declared, is_per_position, named
from funcnn.rng import fold, generator
from funcnn.testing.compare import differing, distance, dtype_of, floats, read_only, unlike
from funcnn.testing.report import Finding, about, must_return
from funcnn.training.batching import take

__all__ = [
    "Case", "adjoint", "batches", "float32_is_close", "gradients_fit", "laws", "one_function", "params_are_plain",
    "smallest_error",
]  # fmt: skip

STEPS = (1e-6, 1e-5)
"""Step sizes of the central difference: a kink within one of them spoils that one, a wrong derivative spoils both."""

MIN_GRADIENT = 1e-3
"""Gradients smaller than this fraction of ``dy`` are judged on its scale: below it differences are rounding noise."""

FLOAT32_TOLERANCE = 1e-3
"""What float32 may differ from float64, relative to the largest element: 2**-23 times a few thousand terms."""


class Case(NamedTuple):
    """A layer with parameters and an input, in one mode."""

    layer: Layer
    params: Params
    x: Tree
    rng: Rng | None
    mode: str

    def run(self) -> tuple[Tree, Vjp]:
        """Its output and vjp."""
        return self.layer.apply(self.params, self.x, self.rng)

    def gradients(self) -> dict[str, Any]:
        """What gradients must be like, by path: None at integers, booleans and frozen parameters."""

        def wanted(path: str, leaf: Any) -> Any:
            stopped = path.startswith("params/") and is_frozen(self.layer, path.removeprefix("params/"))
            return None if stopped or np.asarray(leaf).dtype.kind != "f" else leaf

        return {path: wanted(path, leaf) for path, leaf in tree.flatten(_point(self.params, self.x)).items()}


def gradients_fit(case: Case) -> list[Finding]:
    """Law 4, in words where it is broken: ``vjp_fn`` returns ``(dparams, dx)``, each leaf like that of params and x.

    The other laws compare gradients with arrays of these shapes, so it comes first.
    """
    with must_return("shape", case.mode):
        y, vjp_fn = case.run()
        dparams, dx = vjp_fn(_cotangent(y, generator(fold(0, "dy"))))
    wrong = []
    if isinstance(dx, dict) and isinstance(case.x, np.ndarray):
        wrong = ["expected (dparams, dx) from vjp_fn, got (dx, dparams)"]
    else:
        expected, got = case.gradients(), tree.flatten(_point(dparams, dx))
        for path in {**expected, **got}:
            wanted, found = (_form(gradients, path) for gradients in (expected, got))
            if wanted != found:
                wrong.append(f"{path}: expected {wanted}, got {found}")
    broken = [Finding("shape", about(case.mode, what), math.inf, 0.0) for what in wrong]
    return broken or [Finding("shape", case.mode, 0.0, 0.0)]


def _form(gradients: dict[str, Any], path: str) -> str:
    """What there is at a path, for a message."""
    if path not in gradients:
        return "no gradient"
    return "None" if gradients[path] is None else f"the shape {np.shape(gradients[path])}"


def adjoint(case: Case, tolerance: float) -> list[Finding]:
    """Law 1, for each parameter and each leaf of the input: the worst error of three random pairs (dy, v)."""
    random = generator(fold(0, "directions"))
    leaves = {path: leaf for path, leaf in case.gradients().items() if leaf is not None}
    worst = dict.fromkeys(leaves, 0.0)
    for _ in range(3):
        y, vjp_fn = case.run()
        dy = _cotangent(y, random)
        gradients = tree.flatten(_point(*vjp_fn(dy)))
        for subject, leaf in leaves.items():
            gradient, tangent = gradients[subject], random.standard_normal(np.shape(leaf))
            error = smallest_error(partial(_adjoint_error, case, subject, gradient, tangent, dy), tolerance)
            worst[subject] = max(worst[subject], error)
    suffix = f" {case.mode}" if case.mode else ""
    return [Finding("adjoint", f"{subject}{suffix}", error, tolerance) for subject, error in worst.items()]


def smallest_error(error_of: Callable[[float], float], tolerance: float) -> float:
    """The error with the first of ``STEPS`` whose error is tolerated, or else the smaller one; NaN is infinite."""
    error = math.inf
    for step in STEPS:
        error = min(error, error_of(step))
        if error <= tolerance:
            break
    return error


def _adjoint_error(case: Case, subject: str, gradient: Array, tangent: Array, dy: Tree, step: float) -> float:
    """|<dy, J v> - <vjp_fn(dy), v>|, relative to the size of the gradient."""

    def moved(by: Array) -> Tree:
        point = tree.map_with_path(
            lambda path, leaf: leaf + by if path == subject else leaf, _point(case.params, case.x)
        )
        return case.layer.apply(point["params"], point["x"], case.rng)[0]

    ahead, behind = moved(step * tangent), moved(-step * tangent)
    claimed = float(np.vdot(gradient, tangent))
    measured = sum(float(np.vdot(d, (a - b) / (2 * step))) for d, a, b in floats(dy, ahead, behind))
    length = math.sqrt(sum(float(np.vdot(d, d)) for (d,) in floats(dy)))
    size = max(float(np.linalg.norm(gradient)), abs(measured), MIN_GRADIENT * length)
    return abs(measured - claimed) / size if size else 0.0


def laws(case: Case) -> list[Finding]:
    """Laws 2, 3 and 5, memory order and ``input_grad``: each error is a count of what is wrong, or a difference."""
    case = case._replace(params=tree.map(read_only, case.params), x=tree.map(read_only, case.x))
    layer, params, x, rng, mode = case
    before = tree.map(np.copy, _point(params, x))
    with must_return("pure", mode):
        y, vjp_fn = case.run()
        dy = tree.map(read_only, _cotangent(y, generator(fold(0, "dy"))))
        first = tree.map(np.copy, _point(*vjp_fn(dy)))
        again, again_vjp = case.run()
    with must_return("reentrant", mode), ThreadPoolExecutor(1) as pool:
        elsewhere = _point(*pool.submit(vjp_fn, dy).result())
        here = _point(*vjp_fn(dy))
    with must_return("input_grad", mode):
        without, nothing = vjp_fn(dy, input_grad=False)
    with must_return("order", mode):
        # The same elements, the last axis outermost in memory and backwards.
        y_strided, strided_vjp = layer.apply(
            params, tree.map(lambda leaf: np.asfortranarray(leaf[..., ::-1])[..., ::-1], x), rng
        )
        _, dx_strided = strided_vjp(dy)
    dtypes = {np.asarray(leaf).dtype for leaf in tree.leaves(x) if np.asarray(leaf).dtype.kind == "f"}
    other_dtypes = sum(leaf.dtype not in dtypes for (leaf,) in floats(y)) if dtypes else 0
    close = 1e-12 if np.dtype(np.float64) in dtypes else 1e-5
    expected = case.gradients()

    def finding(law: str, *errors: float, tolerance: float = 0.0) -> Finding:
        return Finding(law, mode, max(errors), tolerance)

    return [
        finding("pure", differing(before, _point(params, x)), differing({"y": y}, {"y": again})),
        finding("pure", differing(first, _point(*again_vjp(dy)))),
        finding("reentrant", differing(first, here), differing(first, elsewhere)),
        finding("dtype", unlike(expected, first, dtype_of), float(other_dtypes)),
        finding("input_grad", float(nothing is not None), differing(first["params"], without)),
        finding("order", distance(y, y_strided), distance(first["x"], dx_strided), tolerance=close),
    ]


def batches(case: Case, key: Rng) -> list[Finding]:
    """Law 6, in inference, since a layer that trains may look across the batch; and that any batch size works."""
    layer, params, x, _, _ = case
    with must_return("batch", "one by one"):
        n = len(tree.leaves(x)[0])
        singles = join([layer.apply(params, take(x, slice(i, i + 1)))[0] for i in range(n)])
    findings = [Finding("batch", "equals singles", distance(layer.apply(params, x)[0], singles), 1e-12)]
    for size in (0, 1):
        for mode, rng in (("training", key), ("predicting", None)):
            own = Case(layer, params, take(x, slice(size)), rng, mode)
            with must_return("batch", f"of {size} {mode}"):
                y, vjp_fn = own.run()
                ones = tree.map(lambda leaf: np.ones_like(leaf) if leaf.dtype.kind == "f" else None, y)
                wrong = unlike(own.gradients(), _point(*vjp_fn(ones)), np.shape)
                wrong += sum(len(leaf) != size for leaf in tree.leaves(y))
            findings.append(Finding("batch", f"of {size} {mode}", wrong, 0.0))
    return findings


def one_function(layer: Layer, params: Params, x: Tree, key: Rng) -> list[Finding]:
    """Law 8: the same values alone, in a combinator, cut into microbatches, predicting; and any claim per_example."""
    inside, own = serial(named("a", layer)), {"a": params} if params else {}
    findings = []
    for mode, rng, inner in (("training", key, fold(key, "a")), ("predicting", None, None)):
        with must_return("one", mode), microbatches(None):
            y, vjp_fn = layer.apply(params, x, inner)
            dy = _cotangent(y, generator(fold(0, "dy")))
            alone = {"y": y, **_point(*vjp_fn(dy))}
            y, vjp_fn = inside.apply(own, x, rng)
            findings.append(Finding("one", f"{mode} in serial", differing(alone, _joint(y, *vjp_fn(dy))), 0.0))
        if rng is None:
            with microbatches(None):
                error = differing({"y": alone["y"]}, {"y": output(inside, own, x)})
            findings.append(Finding("one", "predict is apply", error, 0.0))
        elif _draws(layer, params, x, key):
            continue  # what is drawn follows the cut
        for examples in (1, 2):
            with must_return("one", f"{mode} in microbatches of {examples}"), microbatches(examples):
                y, vjp_fn = inside.apply(own, x, rng)
                cut = _joint(y, *vjp_fn(dy))
            findings.append(Finding("one", f"{mode} in microbatches of {examples}", distance(alone, cut), 1e-10))
    if declared(layer.apply, "per_example"):
        findings += [_others_do_not_matter(layer, params, x, rng) for rng in (key, None)]
    if is_per_position(layer) and isinstance(x, np.ndarray) and x.ndim > (2 if x.dtype.kind == "f" else 1):
        findings.append(_positions_do_not_matter(layer, params, x))
    return findings


def _joint(y: Tree, grads: Params, dx: Tree) -> Tree:
    """The output and the gradients of a layer that stands under the name ``a``."""
    return {"y": y, **_point(grads.get("a", {}), dx)}


def _draws(layer: Layer, params: Params, x: Tree, key: Rng) -> bool:
    """Whether the layer draws random numbers."""
    one, other = (layer.apply(params, x, fold(key, word))[0] for word in ("a", "b"))
    return bool(differing({"y": one}, {"y": other}))


def _others_do_not_matter(layer: Layer, params: Params, x: Tree, rng: Rng | None) -> Finding:
    """A layer that claims per_example: what other examples are changes neither the output nor the gradient of one."""

    def others_changed(leaf: Array) -> Array:
        changed = leaf.copy()
        changed[1:] = 1 - 2 * changed[1:] if leaf.dtype.kind == "f" else np.roll(changed[1:], 1, -1)
        return changed

    cases = [Case(layer, params, batch, rng, "") for batch in (x, tree.map(others_changed, x))]
    found = []
    for case in cases:
        y, vjp_fn = case.run()
        dy = tree.map(lambda leaf: np.ones_like(leaf) if leaf.dtype.kind == "f" else None, y)
        _, dx = vjp_fn(dy if case is cases[0] else tree.map(others_changed, dy))
        found.append(take({"y": y, "dx": dx}, slice(1)))
    mode = "predicting" if rng is None else "training"
    return Finding("one", f"per_example {mode}", distance(*found), 1e-12)


def _positions_do_not_matter(layer: Layer, params: Params, x: Array) -> Finding:
    """A layer that claims per_position: one time step after the other gives what all at once give."""
    with must_return("one", "per_position"):
        steps = [layer.apply(params, x[:, t : t + 1])[0] for t in range(x.shape[1])]
        whole, joined = layer.apply(params, x)[0], tree.map(lambda *parts: np.concatenate(parts, 1), *steps)
    has_time = all(leaf.shape[:2] == x.shape[:2] for leaf in tree.leaves(whole))
    error = distance(whole, joined) if has_time else math.inf
    return Finding("one", "per_position", error, 1e-12)


def float32_is_close(case: Case, case32: Case) -> Finding:
    """The output and the gradients in float32, against float64."""
    exact = case._replace(x=tree.cast(case32.x, np.float64))
    (y, vjp_fn), (y32, vjp32) = exact.run(), case32.run()
    dy = tree.cast(_cotangent(y, generator(fold(0, "dy"))), np.float32)
    one, other = ({"y": y, **_point(*vjp_fn(tree.cast(dy, np.float64)))}, {"y": y32, **_point(*vjp32(dy))})
    return Finding("dtype", f"float32 is close, {case.mode}", distance(one, other), FLOAT32_TOLERANCE)


def params_are_plain(params: Any) -> Finding:
    """Law 7: nested dicts, no empty ones inside, with float32 arrays as leaves."""
    return Finding("params", "nested dicts of float32 arrays", float(_wrong_nodes(params, root=True)), 0.0)


def _wrong_nodes(node: Any, root: bool = False) -> int:
    """How many nodes of a tree are neither dicts that hold something nor float32 arrays."""
    if isinstance(node, dict):
        return sum(_wrong_nodes(child) for child in node.values()) + (not node and not root)
    return not (isinstance(node, np.ndarray) and node.dtype == np.float32)


def _point(params: Tree, x: Tree) -> Tree:
    """Parameters and input, or their gradients, as one tree."""
    return {"params": params, "x": x if x is None or isinstance(x, dict) else np.asarray(x)}


def _cotangent(y: Tree, random: np.random.Generator) -> Tree:
    """A random ``dy``: like y, with None where there is no gradient."""
    return tree.map(
        lambda leaf: random.standard_normal(leaf.shape).astype(leaf.dtype) if leaf.dtype.kind == "f" else None, y
    )
