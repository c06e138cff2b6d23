"""Networks as scikit-learn estimators: ``NetworkClassifier`` and ``NetworkRegressor``, which train with ``fit``.

They work in all that scikit-learn has for estimators: ``Pipeline``, ``GridSearchCV``, ``CalibratedClassifierCV``.
``fn.sklearn`` imports this package when it is first used; it needs the extra ``sklearn``. ``network`` has what both
estimators share, on top of ``fn.fit`` and ``fn.predict``; ``parameters`` the nested names of ``set_params``;
``models`` their default model.
"""

try:
    from sklearn.utils.validation import validate_data as validate_data  # new in scikit-learn 1.6
except ImportError as error:
    needed = 'fn.sklearn needs scikit-learn 1.6 or newer: pip install "funcnn[sklearn]"'
    raise ModuleNotFoundError(needed, name="sklearn") from error

from funcnn.sklearn.classifier import NetworkClassifier
from funcnn.sklearn.models import ModelLike, mlp
from funcnn.sklearn.regressor import NetworkRegressor

__all__ = ["ModelLike", "NetworkClassifier", "NetworkRegressor", "mlp"]
