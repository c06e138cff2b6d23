"""The classifier: labels are numbered for the loss, and outputs become probabilities and labels again.

The model has one output for each class or label; for two classes a single output is enough.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d, compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from funcnn.aliases import Array, Shape
from funcnn.calls import explained
from funcnn.kernels.softmax import sigmoid, softmax
from funcnn.losses import (
    Loss,
    binary_cross_entropy,
    categorical_cross_entropy,
    negative_log_likelihood,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
from funcnn.optim import OptimizerLike
from funcnn.sklearn.models import ModelLike
from funcnn.sklearn.network import Network, sample_weights
from funcnn.training import CallbackLike
from funcnn.wording import shown

__all__ = ["NetworkClassifier"]

PROBABILITIES = (binary_cross_entropy, categorical_cross_entropy)
"""The losses of outputs that are probabilities; those of ``negative_log_likelihood`` are their logarithms."""


class NetworkClassifier(ClassifierMixin, Network):  # type: ignore[misc]
    """A network that classifies: an estimator of scikit-learn around ``fit`` and ``predict``.

    The network sees X as it is. Scale columns of different scales first, as for ``MLPClassifier``:
    ``make_pipeline(StandardScaler(), NetworkClassifier())``. X of float32 is computed in float32, X of float64 in
    float64, and whole numbers as floats unless the model takes whole numbers only. In a worker of joblib or Dask a call
    has one thread, unless ``FUNCNN_NUM_THREADS`` is set.

    Args:
        model: a function of the shape of an example, ``(features,)`` for rows and ``(height, width, channels)`` for
            images, that returns a layer; if it takes a second argument, or one called ``outputs``, that is the number
            of classes. Or a layer that has an output for each class, or a single one, that of the second class, for two
            classes. By default ``fn.sklearn.mlp()``, a hidden layer of 100 units.
        loss: a loss of these outputs; by default ``softmax_cross_entropy``, and ``sigmoid_cross_entropy`` for a single
            output and for several labels. Labels are numbered in the order of ``classes_``. Outputs are logits, except
            for ``binary_cross_entropy``, ``categorical_cross_entropy`` and ``negative_log_likelihood``.
        optimizer: ``fn.adam(3e-3)`` by default, or a pair of your own.
        epochs: the number of passes of ``fit`` over the data.
        batch_size: the number of examples in a step.
        callbacks: as those of ``fn.fit``, ``[fn.callbacks.early_stopping("validation_loss", 5)]`` for example.
        validation_fraction: the fraction of the data that ``fit`` splits off for validation, stratified by class;
            0 for none.
        random_state: None, a whole number or a ``np.random.RandomState``; the same number gives the same results.
        warm_start: whether ``fit`` continues from the parameters of the previous fit, with a new optimizer state.
        class_weight: None, ``"balanced"``, or a dict with the weight of each label.
        verbose: whether to print a line for each epoch.

    Attributes:
        classes_: the labels, sorted.
        n_features_in_: the size of the first axis of an example; the number of columns.
        feature_names_in_: the names of the columns of a frame of pandas or polars.
        loss_curve_: the training loss after each epoch.
        history_: the records of the last call of ``fit`` or ``partial_fit``, for ``fn.plot.learning_curves``.
        model_, params_, opt_state_: the model, its parameters and the optimizer's state, for the functions of funcnn.
        n_iter_: the number of epochs made.
        n_outputs_: the number of classes, or of labels.

    Example:
        >>> import funcnn as fn
        >>> x, y = np.array([[0.0], [0.2], [0.8], [1.0]]), ["low", "low", "high", "high"]
        >>> classifier = NetworkClassifier(optimizer=fn.adam(0.1), epochs=20, random_state=0).fit(x, y)
        >>> classifier.predict([[0.1], [0.9]]).tolist(), classifier.classes_.tolist()
        (['low', 'high'], ['high', 'low'])
    """

    _y_is_numeric = False
    classes_: Array
    _several: bool

    @explained
    def __init__(
        self,
        model: ModelLike | None = None,
        *,
        loss: Loss | None = None,
        optimizer: OptimizerLike | None = None,
        epochs: int = 100,
        batch_size: int = 32,
        callbacks: Sequence[CallbackLike] = (),
        validation_fraction: float = 0.0,
        random_state: Any = None,
        warm_start: bool = False,
        class_weight: Any = None,
        verbose: bool | int = False,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.callbacks = callbacks
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network, or with ``warm_start`` the existing one.

        Args:
            X: examples of shape (n, ...), or a frame.
            y: labels of shape (n,), or for several labels zeros and ones of shape (n, labels).
            sample_weight: how much each example counts, of shape (n,).

        Returns:
            The estimator itself.

        Raises:
            ValueError: X or y contains NaN or has another shape, the model does not fit the classes, or an argument of
                the constructor is out of range.
            TypeError: an argument of the constructor is of another type.
        """
        return self._fit(X, y, sample_weight, self._same_classes, fresh=not self._goes_on())

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train the network for one more epoch, with these data alone, and with the optimizer's state.

        Args:
            X: examples of shape (n, ...), or a frame.
            y: their labels, as in ``fit``.
            classes: all labels of this and later calls; required in the first call, unless ``fit`` was called before.
            sample_weight: how much each example counts, of shape (n,).

        Returns:
            The estimator itself.

        Raises:
            ValueError: as ``fit``; or the classes are missing in the first call or differ in a later one, or y
                has a label that is not among them; or ``class_weight`` is "balanced", which needs all data at once.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"NetworkClassifier: class_weight={self.class_weight!r} needs all data at once and does not work with "
                "partial_fit; pass a dict, or the sample_weight"
            )
        chosen = functools.partial(self._all_classes, classes)
        return self._fit(X, y, sample_weight, chosen, fresh=not hasattr(self, "history_"), partial=True)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, chosen: Callable[[Array, bool, bool], Array], fresh: bool,
        partial: bool = False,
    ) -> Self:  # fmt: skip
        """Train; ``chosen(found, several, fresh)`` returns the classes, or raises if those in y do not fit them."""
        X, y = self._read(X, y, reset=fresh)
        found, y, several = _classes_of(y)
        classes = chosen(found, several, fresh)
        self.classes_, self._several, self.n_outputs_ = classes, several, len(classes)
        return self._train(X, *self._numbered(X, y, sample_weight), fresh, partial)

    def predict(self, X: Any) -> Array:
        """The most probable label of each example; of several labels those of a probability above 0.5.

        Args:
            X: examples of shape (n, ...), or a frame.

        Returns:
            Labels of shape (n,), or zeros and ones of shape (n, labels).

        Raises:
            NotFittedError: ``fit`` was not called.
            ValueError: X is not like that of ``fit``, or contains NaN.
        """
        p = self.predict_proba(X)
        found: Array = (p > 0.5).astype(np.int64) if self._several else self.classes_[p.argmax(1)]
        return found

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class: the softmax of the outputs, or the sigmoid of a single one or of each label.

        Args:
            X: examples of shape (n, ...), or a frame.

        Returns:
            Floats of shape (n, classes), in the order of ``classes_``; or of shape (n, labels).

        Raises:
            NotFittedError, ValueError: as ``predict``.
        """
        y = self._outputs(X)
        loss = self.loss.func if isinstance(self.loss, functools.partial) else self.loss
        if loss is negative_log_likelihood:
            p = np.exp(y)
        elif loss in PROBABILITIES:
            p = y
        else:
            p = sigmoid(y) if self._several or self._has_one_output else softmax(y)
        return np.concatenate([1 - p, p], axis=1) if self._has_one_output else p

    def _same_classes(self, found: Array, several: bool, fresh: bool) -> Array:
        """The classes of ``fit``: those in y, or an error if the previous fit had others."""
        if not fresh and not (np.array_equal(found, self.classes_) and several == self._several):
            raise ValueError(
                f"NetworkClassifier: with warm_start, y must have the same classes as before, {shown(self.classes_)}; "
                f"got {shown(found)}; set warm_start=False to train a new network"
            )
        return found

    def _all_classes(self, given: Any, found: Array, several: bool, fresh: bool) -> Array:
        """The classes of ``partial_fit``, or an error if y or the call has others; y may lack some."""
        if fresh and given is None and not several:
            raise ValueError("NetworkClassifier: classes must be passed on the first call to partial_fit")
        known: Array = self.classes_ if not fresh else found if several else np.unique(given)
        if not fresh and several != self._several:
            raise ValueError(f"NetworkClassifier: expected y of {self._target} as in the fit before, got another kind")
        if given is not None and not np.array_equal(np.unique(given), known):
            raise ValueError(f"NetworkClassifier: expected the classes {shown(known.tolist())}, got {shown(given)}")
        if unseen := sorted({*found.tolist()} - {*known.tolist()}):
            raise ValueError(
                f"NetworkClassifier: y has the labels {unseen}, which are not among the classes "
                f"{shown(known.tolist())}; pass all classes on the first call to partial_fit"
            )
        return known

    @property
    def _has_one_output(self) -> bool:
        """Whether the model has a single output for two classes, that of the second."""
        return not self._several and len(self.classes_) == 2 and self._out == (1,)

    @property
    def _target(self) -> str:
        """What the outputs stand for, for messages."""
        return f"{self.n_outputs_} {'labels' if self._several else 'classes'}"

    def _fits(self, out: Shape) -> bool:
        """Whether outputs of this shape stand for the classes."""
        return out == (self.n_outputs_,) or (out == (1,) and self.n_outputs_ == 2 and not self._several)

    def _numbered(self, X: Array, y: Array, sample_weight: Any) -> tuple[Array, Array | None]:
        """The numbers of the labels, and how much each example counts by its class and by itself."""
        weights = sample_weights(X, sample_weight)
        numbers = y if self._several else np.searchsorted(self.classes_, y)
        if self.class_weight is None:
            return numbers, weights
        if self._several:
            each = compute_sample_weight(self.class_weight, y)
        else:
            each = compute_class_weight(self.class_weight, classes=self.classes_, y=y)[numbers]
        return numbers, each if weights is None else weights * each

    def _loss_and_target(self, y: Array) -> tuple[Loss, Array]:
        """The loss, and the target in the form that it takes."""
        binary = self._several or self._has_one_output
        default = sigmoid_cross_entropy if binary else softmax_cross_entropy
        target = y.reshape(len(y), -1).astype(np.float32) if binary else y
        return default if self.loss is None else self.loss, target

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _classes_of(y: Array) -> tuple[Array, Array, bool]:
    """The classes; the labels, one column or one for each label; and whether there are several labels."""
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multilabel-indicator":
        return np.arange(y.shape[1]), y, True
    if kind == "multiclass-multioutput":
        raise ValueError(
            f"NetworkClassifier: y of shape {y.shape} has several columns of classes; fit one classifier for each "
            "column with sklearn.multioutput.MultiOutputClassifier"
        )
    y = column_or_1d(y, warn=True)
    return np.unique(y), y, False
