"""`MLPRegressor`: a multi-layer perceptron that predicts values."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.validation import validate_data

from trimtab._typing import Array
from trimtab.estimators.base import BaseMLP
from trimtab.estimators.data import Data
from trimtab.estimators.objectives import Objective, Squared


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """Multi-layer perceptron regressor with dropout, normalization and weight decay.

    A replacement for `sklearn.neural_network.MLPRegressor`, as `MLPClassifier` is for the classifier. It
    minimizes half the squared error, of which early stopping scores R².

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, and the others
        As for `MLPClassifier`, but without `label_smoothing` and `class_weight`.

    Attributes
    ----------
    out_activation_ : str
        "identity"
    coefs_, intercepts_, network_, and the others
        As for `MLPClassifier`, but without `classes_`.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab.estimators import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> y = np.sin(3 * X[:, 0])
    >>> net = MLPRegressor(learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.99
    True
    """

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on the samples given.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def _read(
        self, X: Any, y: Any, *, reset: bool, incremental: bool, classes: Any = None
    ) -> tuple[Any, Array]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._outputs = 1 if y.ndim == 1 else y.shape[1]
        return X, y.reshape(len(y), -1).astype(X.dtype, copy=False)

    def _make_objective(self) -> tuple[Objective, int]:
        return Squared(), self._outputs

    def _validation_score(self, data: Data) -> float:
        return float(r2_score(data.target, self._output(data.x), sample_weight=data.weight))

    def predict(self, X: Any) -> Array:
        """Return the values predicted for samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        values = self._output_of(X)
        return values.ravel() if values.shape[1] == 1 else values
