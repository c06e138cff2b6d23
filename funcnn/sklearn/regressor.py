"""The regressor: the target has the shape of the outputs for the loss, and predictions that of the target.

Neither is scaled; scikit-learn's own transformers do that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from funcnn.aliases import Array, Shape
from funcnn.calls import explained
from funcnn.losses import Loss, mean_squared_error
from funcnn.optim import OptimizerLike
from funcnn.sklearn.models import ModelLike
from funcnn.sklearn.network import Network, sample_weights
from funcnn.training import CallbackLike

__all__ = ["NetworkRegressor"]


class NetworkRegressor(RegressorMixin, Network):  # type: ignore[misc]
    """A network that predicts numbers: an estimator of scikit-learn around ``fit`` and ``predict``.

    The network sees X and y as they are. Scale columns of different scales first, and a target whose mean is
    far from 0 or whose standard deviation is far from 1, as for ``MLPRegressor``: ``TransformedTargetRegressor(
    make_pipeline(StandardScaler(), NetworkRegressor()), transformer=StandardScaler())``.

    Args:
        model: as for ``NetworkClassifier``, with one output for each number of a target.
        loss: a loss of these outputs, of the shape (n, numbers).
        optimizer, epochs, batch_size, callbacks, validation_fraction, random_state, warm_start, verbose: as for
            ``NetworkClassifier``; the validation data are split off at random.

    Attributes:
        n_features_in_, feature_names_in_, loss_curve_, history_, model_, params_, opt_state_, n_iter_: as for
            ``NetworkClassifier``.
        n_outputs_: the number of numbers of a target.

    Example:
        >>> import funcnn as fn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> regressor = NetworkRegressor(optimizer=fn.adam(0.01), random_state=0).fit(x, x[:, 0] ** 2)
        >>> bool(abs(regressor.predict([[0.5]])[0] - 0.25) < 0.05)
        True
    """

    _y_is_numeric = True
    _y_shape: Shape

    @explained
    def __init__(
        self,
        model: ModelLike | None = None,
        *,
        loss: Loss = mean_squared_error,
        optimizer: OptimizerLike | None = None,
        epochs: int = 100,
        batch_size: int = 32,
        callbacks: Sequence[CallbackLike] = (),
        validation_fraction: float = 0.0,
        random_state: Any = None,
        warm_start: bool = False,
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
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network, or with ``warm_start`` the existing one.

        Args:
            X: examples of shape (n, ...), or a frame.
            y: numbers of shape (n,) or (n, outputs).
            sample_weight: how much each example counts, of shape (n,).

        Returns:
            The estimator itself.

        Raises:
            ValueError: X or y contains NaN or has another shape, the model has another number of outputs, or an
                argument of the constructor is out of range.
            TypeError: an argument of the constructor is of another type.
        """
        return self._fit(X, y, sample_weight, fresh=not self._goes_on())

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the network for one more epoch, with these data alone, and with the optimizer's state.

        Args:
            X, y, sample_weight: as for ``fit``.

        Returns:
            The estimator itself.

        Raises:
            ValueError, TypeError: as ``fit``.
        """
        return self._fit(X, y, sample_weight, fresh=not hasattr(self, "history_"), partial=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, fresh: bool, partial: bool = False) -> Self:
        X, y = self._read(X, y, reset=fresh)
        if not fresh and y.shape[1:] != self._y_shape:
            raise ValueError(
                f"NetworkRegressor: expected y of shape {('n', *self._y_shape)} as in the fit before, got {y.shape}"
            )
        self._y_shape, self.n_outputs_ = y.shape[1:], math.prod(y.shape[1:])
        return self._train(X, y, sample_weights(X, sample_weight), fresh, partial)

    def predict(self, X: Any) -> Array:
        """The numbers that the network predicts.

        Args:
            X: examples of shape (n, ...), or a frame.

        Returns:
            Floats of the shape that y had in ``fit``, (n,) or (n, outputs).

        Raises:
            NotFittedError: ``fit`` was not called.
            ValueError: X is not like that of ``fit``, or contains NaN.
        """
        y = self._outputs(X)
        return y.reshape(len(y), *self._y_shape)

    @property
    def _target(self) -> str:
        """What the outputs stand for, for messages."""
        return f"y of shape {('n', *self._y_shape)}"

    def _fits(self, out: Shape) -> bool:
        """Whether outputs of this shape have the size of a target."""
        return bool(math.prod(out) == self.n_outputs_)

    def _loss_and_target(self, y: Array) -> tuple[Loss, Array]:
        """The loss, and the target in the shape of the outputs."""
        return self.loss, y.reshape(len(y), *self._out).astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
