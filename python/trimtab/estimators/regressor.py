"""`MLPRegressor`: a multi-layer perceptron that predicts values."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import validate_data

from trimtab._typing import Array
from trimtab.estimators.base import BaseMLP
from trimtab.estimators.data import Data
from trimtab.estimators.objectives import Objective, Poisson, Squared

LOSSES: dict[str, type[Objective]] = {"squared_error": Squared, "poisson": Poisson}


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """Multi-layer perceptron regressor with dropout, normalization and weight decay.

    A replacement for `sklearn.neural_network.MLPRegressor`, as `MLPClassifier` is for the classifier. Early
    stopping scores R².

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, and the others
        As for `MLPClassifier`, but without `label_smoothing` and `class_weight`.
    loss : {"squared_error", "poisson"}
        Half the squared error; or half the deviance of Poisson, of targets >= 0, where the predictions are
        exponentials of the outputs of the net. By name only.

    Attributes
    ----------
    out_activation_ : str
        "identity", or "exp" for "poisson".
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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({*LOSSES})],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        loss: str = "squared_error",
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        normalization: str | None = None,
        l1: float = 0.0,
        decoupled_weight_decay: float = 0.0,
        max_norm: float | None = None,
        max_grad_norm: float | None = None,
        callbacks: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            dropout=dropout,
            input_dropout=input_dropout,
            normalization=normalization,
            l1=l1,
            decoupled_weight_decay=decoupled_weight_decay,
            max_norm=max_norm,
            max_grad_norm=max_grad_norm,
            callbacks=callbacks,
        )
        self.loss = loss

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
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(f"loss='poisson' requires y >= 0, got {y.min()}")
        self._outputs = 1 if y.ndim == 1 else y.shape[1]
        return X, y.reshape(len(y), -1).astype(X.dtype, copy=False)

    def _make_objective(self) -> tuple[Objective, int]:
        return LOSSES[self.loss](), self._outputs

    def _validation_score(self, data: Data) -> float:
        values = self._objective.predictions(self._output(data.x))
        if not np.isfinite(values).all():
            return np.nan
        return float(r2_score(data.target, values, sample_weight=data.weight))

    def predict(self, X: Any) -> Array:
        """Return the values predicted for samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        output = self._output_of(X)
        values = self._objective.predictions(output)
        return values.ravel() if values.shape[1] == 1 else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags
