"""Losses and their gradients agree with PyTorch over their options, reductions and weights.

Where PyTorch has the option, it is PyTorch's. Where it has not, such as weights of examples, it is what the option
means, written with tensors around PyTorch's loss of one label.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array
from tests.with_torch.agreement import agree_as_loss, few, normal

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")]

CLASSES = 4
SHAPES = st.sampled_from([(5,), (1,), (2, 3), (2, 1, 3)])
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


class Case(NamedTuple):
    """Our ``(value, dy)``, the output y that they are of, and PyTorch's function of y."""

    ours: tuple[Any, Any]
    y: Any
    theirs: Callable[[Any], Any]


class Draw(NamedTuple):
    """What every case is drawn from: the shape of the rows, a seed, a reduction, and whether there are weights."""

    rows: tuple[int, ...]
    seed: int
    reduction: Any
    weighted: bool

    def weights(self) -> Array | None:
        """Weights of the examples, one of them 0; or None."""
        if not self.weighted:
            return None
        w = np.random.default_rng(self.seed + 1).uniform(0.1, 3, self.rows[0])
        w[1:2] = 0
        return w


DRAWS = st.builds(Draw, SHAPES, st.integers(0, 99), REDUCTIONS, st.booleans())


def combined(losses: Any, draw: Draw, used: Any = 1.0) -> Any:
    """Losses of examples, weighted and reduced; a mean is divided by their weights times those of their classes."""
    import torch

    w = draw.weights()
    each = torch.ones(()).double() if w is None else torch.from_numpy(w).reshape(-1, *[1] * (losses.ndim - 1))
    total = each * losses
    if draw.reduction == "none":
        return total
    return total.sum() if draw.reduction == "sum" else total.sum() / (each * used * torch.ones_like(losses)).sum()


def of_numbers(
    loss: Any, theirs: Callable[..., Any], draw: Draw, y: Array | None = None, target: Array | None = None
) -> Case:
    """A loss of elements, whose function of PyTorch is ``theirs(y, t, reduction)``."""
    import torch

    y = 2 * normal(draw.seed, *draw.rows, CLASSES) if y is None else y
    target = normal(draw.seed + 7, *draw.rows, CLASSES) if target is None else target
    t = torch.from_numpy(np.array(target))

    def function(y: Any) -> Any:
        if not draw.weighted:
            return theirs(y, t, draw.reduction)
        return combined(theirs(y, t, "none"), draw)

    return Case(loss(y, target, weights=draw.weights(), reduction=draw.reduction), y, function)


def uniform(draw: Draw, low: float, high: float, more: int = 0) -> Array:
    return np.random.default_rng(draw.seed + more).uniform(low, high, (*draw.rows, CLASSES))


def rows_of(draw: Draw, more: int = 0) -> Array:
    return np.random.default_rng(draw.seed + more).dirichlet(np.ones(CLASSES), draw.rows)


def functional(name: str, **options: Any) -> Callable[..., Any]:
    def theirs(y: Any, t: Any, reduction: str) -> Any:
        import torch

        return getattr(torch.nn.functional, name)(y, t, reduction=reduction, **options)

    return theirs


def reduced(each: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A formula of elements that PyTorch has no function for."""

    def theirs(y: Any, t: Any, reduction: str) -> Any:
        losses = each(y, t)
        return losses if reduction == "none" else getattr(losses, reduction)()

    return theirs


def log_cosh(draw: Draw) -> Case:
    return of_numbers(fn.log_cosh, reduced(lambda y, t: (y - t).cosh().log()), draw)


def mean_squared_log_error(draw: Draw) -> Case:
    def each(y: Any, t: Any) -> Any:
        return (y.log1p() - t.log1p()) ** 2

    y, t = uniform(draw, -0.5, 9), uniform(draw, 0, 9, 1)
    return of_numbers(fn.mean_squared_log_error, reduced(each), draw, y, t)


def quantile(draw: Draw, q: float) -> Case:
    return of_numbers(fn.quantile(q), reduced(lambda y, t: ((t - y) * q).maximum((t - y) * (q - 1))), draw)


def poisson(draw: Draw, log_input: bool, full: bool, eps: float) -> Case:
    y = normal(draw.seed, *draw.rows, CLASSES) if log_input else uniform(draw, 0.1, 5)
    t = np.random.default_rng(draw.seed).poisson(2.0, y.shape).astype(float)
    theirs = functional("poisson_nll_loss", log_input=log_input, full=full, eps=eps)
    return of_numbers(fn.poisson_nll(log_input, full, eps), theirs, draw, y, t)


def gaussian(draw: Draw, full: bool, eps: float, shared: bool) -> Case:
    import torch

    var = uniform(draw, 0, 1)
    y = {"mean": normal(draw.seed, *var.shape), "var": var[..., :1] if shared else var}
    t = normal(draw.seed + 7, *var.shape)

    def theirs(y: Any) -> Any:
        losses = torch.nn.functional.gaussian_nll_loss(
            y["mean"], torch.from_numpy(t), y["var"], full, eps, "none" if draw.weighted else draw.reduction
        )
        return combined(losses, draw) if draw.weighted else losses

    return Case(fn.gaussian_nll(full, eps)(y, t, weights=draw.weights(), reduction=draw.reduction), y, theirs)


def divergence(draw: Draw, log_target: bool) -> Case:
    y, t = np.log(rows_of(draw)), rows_of(draw, 1)
    if not log_target:
        t[..., 0] = 0
    theirs = functional("kl_div", log_target=log_target)
    return of_numbers(fn.kl_divergence(log_target), theirs, draw, y, np.log(t) if log_target else t)


class Options(NamedTuple):
    """The options of losses that classify."""

    class_weighted: bool
    ignore: bool
    smoothing: float
    soft: bool

    def keywords(self, per_class: Array) -> dict[str, Any]:
        """As we take them."""
        return {
            "class_weights": per_class if self.class_weighted else None, "ignore_index": -1 if self.ignore else None,
            "label_smoothing": self.smoothing,
        }  # fmt: skip


OPTIONS = st.builds(Options, st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1, 1.0]), st.booleans())


def with_ignored(target: Array, options: Options) -> Array:
    """Some labels are -1, but not the first, so that something counts."""
    if options.ignore:
        target = target.copy()
        target.reshape(-1)[1::3] = -1
    return target


def of_outcomes(
    loss: Any, for_yes: Callable[[Any], Any], for_no: Callable[[Any], Any], draw: Draw, options: Options,
    y: Array | None = None, signed: bool = False,
) -> Case:  # fmt: skip
    """A loss of yes and no, from PyTorch's losses of each."""
    import torch

    y = 2 * normal(draw.seed, *draw.rows, CLASSES) if y is None else y
    target = uniform(draw, 0, 1, 5) if options.soft else (uniform(draw, 0, 1, 5) > 0.5) * 1.0
    target = with_ignored(target, options)
    per_outcome = np.random.default_rng(draw.seed + 3).uniform(0.5, 2, 2)
    no, yes = per_outcome if options.class_weighted else (1.0, 1.0)
    t = torch.from_numpy(target).clamp(min=0)
    keep = torch.from_numpy(target >= 0)
    smooth = t * (1 - options.smoothing) + options.smoothing / 2

    def theirs(y: Any) -> Any:
        losses = keep * (yes * smooth * for_yes(y) + no * (1 - smooth) * for_no(y))
        return combined(losses, draw, keep * (yes * t + no * (1 - t)))

    given = np.where(target == 0, -1, target) if signed and not options.soft and not options.ignore else target
    keywords = options.keywords(per_outcome) | {"weights": draw.weights(), "reduction": draw.reduction}
    return Case(loss(y, given, **keywords), y, theirs)


def binary_cross_entropy(draw: Draw, options: Options) -> Case:
    import torch

    def each(outcome: float) -> Callable[[Any], Any]:
        return lambda p: torch.nn.functional.binary_cross_entropy(p, torch.full_like(p, outcome), reduction="none")

    return of_outcomes(fn.binary_cross_entropy, each(1), each(0), draw, options, uniform(draw, 0.01, 0.99))


def logistic(loss: Any, signed: bool) -> Callable[[Draw, Options], Case]:
    def case(draw: Draw, options: Options) -> Case:
        import torch.nn.functional as F

        return of_outcomes(loss, lambda y: F.softplus(-y), F.softplus, draw, options, signed=signed)

    return case


def hinge(loss: Any, power: int) -> Callable[[Draw, Options], Case]:
    def case(draw: Draw, options: Options) -> Case:
        def each(sign: int) -> Callable[[Any], Any]:
            return lambda y: (1 - sign * y).clamp(min=0) ** power

        return of_outcomes(loss, each(1), each(-1), draw, options, signed=True)

    return case


def focal(draw: Draw, options: Options, gamma: float, alpha: float | None) -> Case:
    """The function of torchvision, ``sigmoid_focal_loss``, of each outcome."""
    import torch.nn.functional as F

    def each(outcome: float) -> Callable[[Any], Any]:
        def loss(y: Any) -> Any:
            t = y.detach() * 0 + outcome
            p, cross_entropy = y.sigmoid(), F.binary_cross_entropy_with_logits(y, t, reduction="none")
            p_t = p * t + (1 - p) * (1 - t)
            losses = cross_entropy * (1 - p_t) ** gamma
            return losses if alpha is None else (alpha * t + (1 - alpha) * (1 - t)) * losses

        return loss

    return of_outcomes(fn.focal(gamma, alpha), each(1.0), each(0.0), draw, options)


def by_hand(name: str, ours: Any, target: Callable[[Draw], Array], y: Callable[[Draw], Array] | None = None) -> Any:
    """Without options it is PyTorch's function itself."""

    def case(draw: Draw) -> Case:
        return of_numbers(ours, functional(name), draw, None if y is None else y(draw), target(draw))

    return case


def signs(draw: Draw) -> Array:
    return np.where(uniform(draw, 0, 1, 5) > 0.5, 1.0, -1.0)


def multilabel_soft_margin(draw: Draw, options: Options) -> Case:
    import torch

    per_label = np.random.default_rng(draw.seed + 3).uniform(0.5, 2, CLASSES)
    y, target = 2 * normal(draw.seed, *draw.rows, CLASSES), uniform(draw, 0, 1, 5)
    if not options.soft:
        target = target.round()
    t = torch.from_numpy(target) * (1 - options.smoothing) + options.smoothing / 2
    w = torch.from_numpy(per_label) if options.class_weighted else None

    def theirs(y: Any) -> Any:
        losses = torch.nn.functional.multilabel_soft_margin_loss(
            y, t, w, reduction="none" if draw.weighted else draw.reduction
        )
        return combined(losses, draw) if draw.weighted else losses

    keywords = options._replace(ignore=False).keywords(per_label)
    return Case(
        fn.multilabel_soft_margin(y, target, weights=draw.weights(), reduction=draw.reduction, **keywords), y, theirs
    )


def multilabel_margin(draw: Draw) -> Case:
    import torch

    y = 2 * normal(draw.seed, *draw.rows, CLASSES)
    target = np.random.default_rng(draw.seed).integers(-1, CLASSES, y.shape)
    t = torch.from_numpy(target).reshape(-1, CLASSES)

    def theirs(y: Any) -> Any:
        losses = torch.nn.functional.multilabel_margin_loss(y.reshape(-1, CLASSES), t, reduction="none")
        return combined(losses.reshape(draw.rows), draw)

    return Case(fn.multilabel_margin(y, target, weights=draw.weights(), reduction=draw.reduction), y, theirs)


def of_classes(
    loss: Any, each: Callable[[Any, Any], Any], draw: Draw, options: Options, y: Array | None = None,
    over_used: bool = True,
) -> Case:  # fmt: skip
    """A loss of classes, from PyTorch's loss of one label, ``each(y, label)``, for rows (n, classes)."""
    import torch

    y = 2 * normal(draw.seed, *draw.rows, CLASSES) if y is None else y
    per_class = np.random.default_rng(draw.seed + 3).uniform(0.5, 2, CLASSES)
    labels = with_ignored(np.random.default_rng(draw.seed + 4).integers(0, CLASSES, draw.rows), options)
    soft = options.soft and not options.ignore
    target = rows_of(draw, 5) if soft else labels
    w = torch.from_numpy(per_class if options.class_weighted else np.ones(CLASSES))
    keep = torch.from_numpy(labels >= 0) if options.ignore else torch.ones(draw.rows, dtype=torch.bool)
    known = torch.from_numpy(labels).clamp(min=0)
    rows = torch.from_numpy(target) if soft else torch.nn.functional.one_hot(known, CLASSES).double()
    q = (rows * (1 - options.smoothing) + options.smoothing / CLASSES) * w
    used = keep * (1.0 if soft or not over_used else w[known])

    def theirs(y: Any) -> Any:
        flat = y.reshape(-1, CLASSES)
        losses = [each(flat, torch.full((len(flat),), c)).reshape(draw.rows) for c in range(CLASSES)]
        return combined(keep * (q * torch.stack(losses, -1)).sum(-1), draw, used)

    keywords = options.keywords(per_class) | {"weights": draw.weights(), "reduction": draw.reduction}
    return Case(loss(y, target, **keywords), y, theirs)


def softmax_cross_entropy(draw: Draw, options: Options) -> Case:
    """Without weights of examples, all options are those of PyTorch."""
    import torch
    import torch.nn.functional as F

    if draw.weighted:
        return of_classes(fn.softmax_cross_entropy, lambda y, t: F.cross_entropy(y, t, reduction="none"), draw, options)
    y, per_class = 2 * normal(draw.seed, *draw.rows, CLASSES), np.array([0.5, 2.0, 0.25, 1.0])
    labels = with_ignored(np.random.default_rng(draw.seed + 4).integers(0, CLASSES, draw.rows), options)
    soft = options.soft and not options.ignore
    target = rows_of(draw, 5) if soft else labels
    t = torch.from_numpy(target).movedim(-1, 1) if soft and target.ndim > 1 else torch.from_numpy(target)
    w = torch.from_numpy(per_class) if options.class_weighted else None

    def theirs(y: Any) -> Any:
        return F.cross_entropy(
            y.movedim(-1, 1), t, w, ignore_index=-1 if options.ignore else -100, reduction=draw.reduction,
            label_smoothing=options.smoothing,
        )  # fmt: skip

    keywords = options.keywords(per_class)
    return Case(fn.softmax_cross_entropy(y, target, reduction=draw.reduction, **keywords), y, theirs)


def negative_log_likelihood(loss: Any, logarithms: bool) -> Callable[[Draw, Options], Case]:
    def case(draw: Draw, options: Options) -> Case:
        import torch.nn.functional as F

        def each(y: Any, t: Any) -> Any:
            return F.nll_loss(y if logarithms else y.log(), t, reduction="none")

        p = 0.9 * rows_of(draw, 6) + 0.1 / CLASSES
        return of_classes(loss, each, draw, options, np.log(p) if logarithms else p)

    return case


def softmax_focal(draw: Draw, options: Options, gamma: float) -> Case:
    import torch.nn.functional as F

    def each(y: Any, t: Any) -> Any:
        cross_entropy = F.cross_entropy(y, t, reduction="none")
        return (1 - (-cross_entropy).exp()) ** gamma * cross_entropy

    return of_classes(fn.softmax_focal(gamma), each, draw, options)


def categorical_hinge(draw: Draw, options: Options) -> Case:
    """The formula of Keras: ``max(0, 1 + max((1 - t) y) - sum(t y))`` with one-hot t."""
    import torch

    def each(y: Any, t: Any) -> Any:
        rows = torch.nn.functional.one_hot(t, CLASSES)
        return (1 + ((1 - rows) * y).amax(-1) - (rows * y).sum(-1)).clamp(min=0)

    return of_classes(fn.categorical_hinge, each, draw, options)


def multi_margin(draw: Draw, options: Options, p: int, margin: float) -> Case:
    import torch.nn.functional as F

    def each(y: Any, t: Any) -> Any:
        return F.multi_margin_loss(y, t, p, margin, reduction="none")

    return of_classes(fn.multi_margin(p, margin), each, draw, options, over_used=False)


def multi_margin_by_name(draw: Draw, class_weighted: bool, p: int) -> Case:
    """All options are those of PyTorch."""
    import torch

    y, labels = 2 * normal(draw.seed, 5, CLASSES), np.random.default_rng(draw.seed).integers(0, CLASSES, 5)
    per_class = np.array([0.5, 2.0, 0.25, 1.0]) if class_weighted else None
    w = None if per_class is None else torch.from_numpy(per_class)

    def theirs(y: Any) -> Any:
        return torch.nn.functional.multi_margin_loss(y, torch.from_numpy(labels), p, weight=w, reduction=draw.reduction)

    return Case(fn.multi_margin(p)(y, labels, class_weights=per_class, reduction=draw.reduction), y, theirs)


def overlap(loss: Any, alpha: float, beta: float, smooth: float) -> Callable[[Draw, Options], Case]:
    """The formula of ``tversky``, with tensors."""

    def case(draw: Draw, options: Options) -> Case:
        import torch

        shape = (*draw.rows, 2, CLASSES)
        y = np.random.default_rng(draw.seed).uniform(0.01, 0.99, shape)
        per_class = np.random.default_rng(draw.seed + 3).uniform(0.5, 2, CLASSES)
        labels = with_ignored(np.random.default_rng(draw.seed + 4).integers(0, CLASSES, shape[:-1]), options)
        masks = options.soft and not options.ignore
        target = np.random.default_rng(draw.seed + 5).uniform(0, 1, shape) if masks else labels
        keep = torch.from_numpy(labels >= 0)[..., None]
        known = torch.nn.functional.one_hot(torch.from_numpy(labels).clamp(min=0), CLASSES).double()
        t = (torch.from_numpy(target) if masks else known) * (1 - options.smoothing) + options.smoothing / CLASSES
        w = torch.from_numpy(per_class) if options.class_weighted else torch.ones(CLASSES).double()

        def theirs(y: Any) -> Any:
            def total(x: Any) -> Any:
                return (keep * x).reshape(len(y), -1, CLASSES).sum(1)

            both = total(y * t) + smooth
            losses = 1 - both / (both + alpha * total(y * (1 - t)) + beta * total((1 - y) * t))
            return combined(w * losses, draw, w)

        keywords = options.keywords(per_class) | {"weights": draw.weights(), "reduction": draw.reduction}
        return Case(loss(y, target, **keywords), y, theirs)

    return case


GAMMAS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.7])
CASES: dict[str, st.SearchStrategy[Case]] = {
    "mean_squared_error": st.builds(lambda d: of_numbers(fn.mean_squared_error, functional("mse_loss"), d), DRAWS),
    "mean_absolute_error": st.builds(lambda d: of_numbers(fn.mean_absolute_error, functional("l1_loss"), d), DRAWS),
    "huber": st.builds(
        lambda d, delta: of_numbers(fn.huber(delta), functional("huber_loss", delta=delta), d),
        DRAWS, st.floats(0.01, 5),
    ),
    "smooth_l1": st.builds(
        lambda d, beta: of_numbers(fn.smooth_l1(beta), functional("smooth_l1_loss", beta=beta), d),
        DRAWS, st.just(0.0) | st.floats(0.01, 5),
    ),
    "log_cosh": st.builds(log_cosh, DRAWS),
    "mean_squared_log_error": st.builds(mean_squared_log_error, DRAWS),
    "quantile": st.builds(quantile, DRAWS, st.floats(0.01, 0.99)),
    "poisson_nll": st.builds(poisson, DRAWS, st.booleans(), st.booleans(), st.sampled_from([1e-8, 0.1])),
    "gaussian_nll": st.builds(gaussian, DRAWS, st.booleans(), st.sampled_from([1e-6, 0.3]), st.booleans()),
    "kl_divergence": st.builds(divergence, DRAWS, st.booleans()),
    "binary_cross_entropy": st.builds(binary_cross_entropy, DRAWS, OPTIONS),
    "binary_cross_entropy, by name": st.builds(
        by_hand("binary_cross_entropy", fn.binary_cross_entropy, lambda d: uniform(d, 0, 1, 5),
                lambda d: uniform(d, 0.01, 0.99)), DRAWS,
    ),
    "sigmoid_cross_entropy": st.builds(logistic(fn.sigmoid_cross_entropy, False), DRAWS, OPTIONS),
    "sigmoid_cross_entropy, by name": st.builds(
        by_hand("binary_cross_entropy_with_logits", fn.sigmoid_cross_entropy, lambda d: uniform(d, 0, 1, 5)), DRAWS
    ),
    "soft_margin": st.builds(logistic(fn.soft_margin, True), DRAWS, OPTIONS),
    "soft_margin, by name": st.builds(by_hand("soft_margin_loss", fn.soft_margin, signs), DRAWS),
    "hinge": st.builds(hinge(fn.hinge, 1), DRAWS, OPTIONS),
    "squared_hinge": st.builds(hinge(fn.squared_hinge, 2), DRAWS, OPTIONS),
    "focal": st.builds(focal, DRAWS, OPTIONS, GAMMAS, st.none() | st.floats(0, 1)),
    "multilabel_soft_margin": st.builds(multilabel_soft_margin, DRAWS, OPTIONS),
    "multilabel_margin": st.builds(multilabel_margin, DRAWS),
    "softmax_cross_entropy": st.builds(softmax_cross_entropy, DRAWS, OPTIONS),
    "negative_log_likelihood": st.builds(negative_log_likelihood(fn.negative_log_likelihood, True), DRAWS, OPTIONS),
    "categorical_cross_entropy": st.builds(
        negative_log_likelihood(fn.categorical_cross_entropy, False), DRAWS, OPTIONS
    ),
    "softmax_focal": st.builds(softmax_focal, DRAWS, OPTIONS, GAMMAS),
    "categorical_hinge": st.builds(categorical_hinge, DRAWS, OPTIONS),
    "multi_margin": st.builds(multi_margin, DRAWS, OPTIONS, st.sampled_from([1, 2]), st.floats(-1, 2)),
    "multi_margin, by name": st.builds(multi_margin_by_name, DRAWS, st.booleans(), st.sampled_from([1, 2])),
    "dice": st.builds(overlap(fn.dice, 0.5, 0.5, 1e-5), DRAWS, OPTIONS),
    "tversky": st.builds(overlap(fn.tversky(0.3, 0.7, 1.0), 0.3, 0.7, 1.0), DRAWS, OPTIONS),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_losses(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    agree_as_loss("losses", case.ours, case.y, case.theirs)
