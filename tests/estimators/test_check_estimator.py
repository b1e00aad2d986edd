"""scikit-learn's own checks of estimators, with no expected failure."""

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks
from trimtab.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore")  # the checks fit for a few epochs, which do not converge


@parametrize_with_checks(
    [MLPClassifier(), MLPRegressor(), MLPRegressor(loss="poisson", learning_rate_init=0.01)]
)
def test_estimator_passes_the_checks(estimator, check):
    check(estimator)
