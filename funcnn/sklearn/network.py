"""What the estimators share: getting and setting parameters, reading X, training with ``fit``, and the outputs.

An estimator keeps what a model does not: its parameters, the state of its optimizer, how far it was trained.
"""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import Any, Self

import joblib
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from funcnn import checks, shapes, tree
from funcnn.aliases import Array, Params, Shape, Tree
from funcnn.cores import num_threads, use_threads
from funcnn.optim import adam, as_optimizer
from funcnn.protocol import Layer
from funcnn.rng import fold
from funcnn.sklearn.models import made_for, mlp
from funcnn.sklearn.parameters import nested, with_argument
from funcnn.training import Record, fit, predict

__all__ = ["Network", "sample_weights"]

DEFAULTS = {"model": mlp(), "optimizer": adam(3e-3)}
"""What stands for None."""


class Network(BaseEstimator):  # type: ignore[misc]
    """What both estimators have in common: getting and setting parameters, reading X, training and predicting."""

    history_: list[Record]
    loss_curve_: list[float]
    model_: Layer
    n_iter_: int
    n_outputs_: int
    opt_state_: Tree
    params_: Params
    _dtype: np.dtype[Any]
    _out: Shape
    _shape: Shape

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor; with ``deep``, also those of the calls that made these arguments.

        Args:
            deep: whether to return ``optimizer__rate`` for an optimizer ``adam(1e-3)``, and the same for all arguments
                that record the call that made them: layers, optimizers, schedules, losses, callbacks, and what
                functions decorated with ``fn.recorded.recorded`` return.

        Returns:
            The arguments by name.
        """
        found: dict[str, Any] = super().get_params(deep)
        if deep:
            for name in super().get_params(deep=False):
                found.update(nested(name, self._given(name)))
        return found

    def set_params(self, **params: Any) -> Self:
        """Set arguments of the constructor, and arguments of the calls that made them: ``optimizer__rate=1e-2``.

        Args:
            **params: the new values by the names that ``get_params`` returns.

        Returns:
            The estimator itself.

        Raises:
            ValueError: there is no argument of such a name.
        """
        own = super().get_params(deep=False)
        recorded = {name for name in own if not hasattr(params.get(name, self._given(name)), "get_params")}
        inner = [key for key in params if "__" in key and key.partition("__")[0] in recorded]
        super().set_params(**{key: value for key, value in params.items() if key not in inner})
        for key in inner:
            name, _, argument = key.partition("__")
            setattr(self, name, with_argument(name, self._given(name), argument, params[key]))
        return self

    def _given(self, name: str) -> Any:
        """An argument of the constructor, or the default that None stands for."""
        value = getattr(self, name)
        return DEFAULTS.get(name) if value is None else value

    def _goes_on(self) -> bool:
        """Whether ``fit`` starts from the parameters of the previous fit."""
        return checks.flag(type(self).__name__, "warm_start", self.warm_start) and hasattr(self, "history_")

    def _read(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        """X and y as plain arrays of the same number of examples, checked as scikit-learn does."""
        y = y.toarray() if hasattr(y, "toarray") else y  # several labels may come as a sparse matrix
        X, y = validate_data(
            self, X, y, reset=reset, dtype="numeric", allow_nd=True, multi_output=True, y_numeric=self._y_is_numeric
        )
        return (X if reset else self._of_known_shape(X)), y

    def _of_known_shape(self, X: Array) -> Array:
        """X, or an error if its examples have another shape than those of the first fit."""
        if X.shape[1:] != self._shape:
            name = type(self).__name__
            raise ValueError(f"X has examples of shape {X.shape[1:]}, but {name} is expecting {self._shape} as input")
        return X

    def _train(self, X: Array, y: Array, weights: Array | None, fresh: bool, partial: bool = False) -> Self:
        """Train a new network or the existing one; if ``partial``, for one epoch with the optimizer's state."""
        name, verbose = type(self).__name__, self.verbose
        optimizer = as_optimizer(self._given("optimizer"), f"{name}: expected an optimizer such as adam(1e-3)")
        if not isinstance(verbose, bool | np.bool_):  # a level, as scikit-learn has them
            verbose = checks.size(name, "verbose", verbose, 0) > 0
        if validation := checks.real(name, "validation_fraction", self.validation_fraction):
            checks.proper_fraction(name, "validation_fraction", validation)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        with use_threads(_threads()):
            if fresh:
                self.__dict__.pop("history_", None)  # without it, the estimator is not fitted
                self._make(X, seed)
                self.n_iter_, self.loss_curve_ = 0, []
            elif partial:
                optimizer = replace(optimizer, init=functools.partial(_known, self.opt_state_))
            loss, target = self._loss_and_target(y)
            data: Any = (self._cast(X), target) if weights is None else (self._cast(X), target, weights)
            result = fit(
                self.model_, self.params_, optimizer, data, loss, 1 if partial else self.epochs, self.batch_size,
                (seed, self.n_iter_), validation_split=0.0 if partial else validation, verbose=bool(verbose),
                callbacks=self.callbacks,
            )  # fmt: skip
        self.params_, self.opt_state_, self.history_ = result
        self.n_iter_ += int(self.history_[-1]["epoch"])
        self.loss_curve_ = [*self.loss_curve_, *(record["train_loss"] for record in self.history_[1:])]
        return self

    def _make(self, X: Array, seed: int) -> None:
        """Make the model and its parameters for examples like those of X, and check its output for one."""
        name, shape, key = type(self).__name__, X.shape[1:], fold(seed, "init")
        layer = made_for(name, self._given("model"), shape, self.n_outputs_)
        dtype = np.dtype(np.float64) if X.dtype.itemsize > 8 else np.result_type(X.dtype, np.float32)
        try:
            params = tree.cast(layer.init(shape, key), dtype)
        except TypeError:
            if X.dtype.kind not in "iu":
                raise
            # It takes whole numbers only, such as the tokens of an embedding.
            params, dtype = layer.init(shapes.spec(shape, np.int64), key), np.dtype(np.int64)
        y, _ = layer.apply(params, X[:1].astype(dtype), key)
        out = getattr(y, "shape", (0,))[1:]
        if not self._fits(out):
            raise ValueError(
                f"{name}: for {self._target} the model must return {self.n_outputs_} numbers for an example, and it "
                f"returns {checks.what(y) if isinstance(y, dict) else f'an array of shape {out}'}; let its last layer "
                f"be dense({self.n_outputs_}), or pass a function of (shape, outputs)"
            )
        self.model_, self.params_, self._dtype, self._shape, self._out = layer, params, dtype, shape, out

    def _outputs(self, X: Any) -> Array:
        """What the network returns for examples."""
        check_is_fitted(self, "history_")
        X = self._of_known_shape(validate_data(self, X, reset=False, dtype="numeric", allow_nd=True))
        with use_threads(_threads()):
            y: Array = predict(self.model_, self.params_, self._cast(X))
        return y

    def _cast(self, X: Array) -> Array:
        """X in the dtype that the model computes with, or an error if it takes whole numbers and X has others."""
        if self._dtype.kind == "i" and X.dtype.kind not in "iu":
            raise ValueError(f"{type(self).__name__}: expected X of whole numbers as in the first fit, got {X.dtype}")
        return X.astype(self._dtype, copy=False)


def sample_weights(X: Array, sample_weight: Any) -> Array | None:
    """How much each example counts, checked as scikit-learn does; None if all count the same."""
    if sample_weight is None:
        return None
    found: Array = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    return found


def _known(state: Any, params: Params) -> Any:
    """The ``init`` of an optimizer that goes on: its state, whatever the parameters."""
    return state


def _threads() -> int:
    """The threads of a call: one in a worker of joblib or Dask, since the other workers have the other cores."""
    if "FUNCNN_NUM_THREADS" in os.environ:  # chosen by the user, for each process
        return num_threads()
    if joblib.parallel.get_active_backend()[0].nesting_level:
        return 1
    given = os.environ.get("OMP_NUM_THREADS", "")  # Dask sets it in the processes that it starts
    return min(num_threads(), max(int(given), 1)) if given.isdecimal() else num_threads()
