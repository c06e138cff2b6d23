"""scikit-learn's own checks of estimators, all of them, and none fails as expected."""

from typing import Any
from unittest import SkipTest

from sklearn.utils.estimator_checks import parametrize_with_checks

import funcnn as fn

# A check of the format of ``decision_function``, which the classifier has not, and one of arrays of other libraries,
# which scikit-learn runs only where SciPy was imported with SCIPY_ARRAY_API=1.
NOT_MEANT = {"check_classifiers_multilabel_output_format_decision_function", "check_array_api_input"}


def name_of(check: Any) -> str:
    """The name of a check, which may be a partial of a partial."""
    while hasattr(check, "func"):
        check = check.func
    return str(check.__name__)


@parametrize_with_checks([fn.sklearn.NetworkClassifier(), fn.sklearn.NetworkRegressor()])
def test_the_checks_of_scikit_learn_pass(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except SkipTest:
        assert name_of(check) in NOT_MEANT
