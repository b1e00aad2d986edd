"""Estimators for scikit-learn: nets with dropout, normalization and weight decay.

==============  ======================================================================
module          contents
==============  ======================================================================
``classifier``  `MLPClassifier`
``regressor``   `MLPRegressor`
``base``        what both share: parameters, `fit`, the fitted net
``data``        samples, dense or sparse, with targets and weights
``network``     the net, with initial weights like those of scikit-learn's
``objectives``  losses, and the predictions that go with them
``solvers``     the updates of scikit-learn's stochastic solvers, by the kernels
``learning``    epochs, batches, learning rates and when to stop
``hooks``       callbacks, our own and scikit-learn's
==============  ======================================================================
"""

from trimtab import extras

extras.load("sklearn", "sklearn")

from trimtab.estimators.classifier import MLPClassifier  # noqa: E402
from trimtab.estimators.regressor import MLPRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor"]
