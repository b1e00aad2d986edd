"""`MLPClassifier`: a multi-layer perceptron that classifies."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import validate_data

from trimtab._typing import Array
from trimtab.estimators.base import BELOW_1, BaseMLP
from trimtab.estimators.data import Data, dense
from trimtab.estimators.objectives import Logistic, Objective, Softmax


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """Multi-layer perceptron classifier with dropout, normalization and weight decay.

    A replacement for `sklearn.neural_network.MLPClassifier`: parameters and attributes of the same name mean
    the same, and have the same defaults. While the parameters that are new keep theirs, a fit with the same
    `random_state` takes the same steps up to rounding, in float64, and reports the same losses (which
    scikit-learn limits where a probability is below the machine epsilon).

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer.
    activation : {"relu", "tanh", "logistic", "identity"}
        Of the hidden layers.
    solver : {"adam", "sgd"}
        Adam (Kingma and Ba 2015), or stochastic gradient descent. There is no "lbfgs".
    alpha : float
        Strength of the penalty ``alpha / (2 n) * sum(w**2)`` of all weights but the biases, n being the size
        of the batch or the sum of its weights; >= 0.
    batch_size : int or "auto"
        "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}
        How the rate of "sgd" changes: not at all; to ``learning_rate_init / (t_ + 1)**power_t`` after each
        epoch; or divided by 5 whenever training does not improve by `tol` for `n_iter_no_change` epochs.
    learning_rate_init : float
        Learning rate, > 0.
    power_t : float
        Exponent of "invscaling", >= 0.
    max_iter : int
        Largest number of epochs.
    shuffle : bool
        Whether each epoch visits the samples in another order.
    random_state : int, RandomState or None
        Source of initial weights, order of samples, validation data and dropout.
    tol : float
        Improvement of the loss, or of the validation score, that counts.
    verbose : bool
        Whether to print each epoch.
    warm_start : bool
        Whether `fit` continues with the net of the fit before. The layers, their dropout and the classes must
        then be the same, as in `partial_fit`.
    momentum : float
        Of "sgd", from 0 to 1.
    nesterovs_momentum : bool
        Whether the momentum of "sgd" has Nesterov's form.
    early_stopping : bool
        Whether to hold out `validation_fraction` of the samples, to stop when the score on them does not
        improve by `tol` for `n_iter_no_change` epochs, and to restore the net with the best score.
    validation_fraction : float
        At least 0, below 1.
    beta_1, beta_2, epsilon : float
        Of "adam": decay of the averages of gradients and of their squares, and the term that keeps the
        denominator from 0.
    n_iter_no_change : int or inf
        Number of epochs without an improvement after which training ends.
    dropout : float
        Probability of dropping the output of a hidden unit in training (Srivastava et al. 2014); at least 0,
        below 1.
    input_dropout : float
        The same for the features.
    normalization : {"batch", "layer", "rms", "group"} or None
        Norm between the linear map and the activation of each hidden layer. Groups are as many as possible
        with 16 units or more. With "batch", a batch has at least two samples, and sample weights have no
        effect on its statistics.
    l1 : float
        Strength of the penalty ``l1 / n * sum(|w|)``, n as for `alpha`; >= 0.
    decoupled_weight_decay : float
        c in ``w -= lr * c * w``, taken besides the step (Loshchilov and Hutter 2019); >= 0.
    max_norm : float or None
        Bound of the norm of the weights into each unit; > 0.
    max_grad_norm : float or None
        Bound of the global norm of the gradients of the loss without its penalties; > 0.
    label_smoothing : float
        Share of the target that is spread evenly over the classes; at least 0, below 1.
    class_weight : "balanced", dict, list of dict or None
        Factors >= 0 of the sample weights by class, not 0 for all samples; as for
        `sklearn.utils.class_weight.compute_sample_weight`.
    callbacks : list of trimtab.callbacks.Callback or None
        Their hooks see ``trainer.model``, ``history``, ``metric_names`` and ``stop()``. Callbacks of
        scikit-learn 1.9 or later are set by `set_callbacks`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coefs_, intercepts_ : list of ndarray
        Weights (inputs, outputs) and biases (outputs,) of the linear layers: views, through which they can be
        changed.
    network_ : trimtab.nn.Sequential
        The net, norms included.
    loss_, best_loss_ : float
        Loss of the last epoch and the lowest; `best_loss_` is None with early stopping.
    loss_curve_ : list of float
        Loss of each epoch, with the penalties.
    validation_scores_, best_validation_score_
        Scores of each epoch, and the best; None without early stopping.
    history_ : trimtab.History
        Loss and learning rate of each epoch, and the score if there is one.
    n_iter_, t_ : int
        Number of epochs, and of samples visited.
    n_features_in_, n_layers_, n_outputs_ : int
        Layers include that of the features. Two classes have one output.
    feature_names_in_ : ndarray of shape (features,)
        Only if the features have names.
    out_activation_ : str
        "softmax", or "logistic" for two classes and for labels.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from trimtab.estimators import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> net = MLPClassifier(dropout=0.2, normalization="batch", max_iter=20, tol=0, random_state=0)
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):  # 20 epochs do not converge
    ...     _ = net.fit(X_train, y_train)
    >>> net.score(X_test, y_test) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "label_smoothing": [BELOW_1],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
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
        label_smoothing: float = 0.0,
        class_weight: Any = None,
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
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on the samples given.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like of shape (n_classes,), optional
            All classes of all calls; needed in the first one, where y may lack some.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def _read(
        self, X: Any, y: Any, *, reset: bool, incremental: bool, classes: Any = None
    ) -> tuple[Any, Array]:
        if incremental and _check_partial_fit_first_call(self, classes):
            self._multilabel = type_of_target(y).startswith("multilabel")
            if not self._multilabel:
                check_classification_targets(classes)
                self.classes_ = _at_least_two(np.unique(classes))
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        multilabel = type_of_target(y).startswith("multilabel")
        classes = unique_labels(y)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self.classes_ = classes if multilabel else _at_least_two(classes)
            self._multilabel = multilabel
        elif multilabel != self._multilabel:
            kinds = {True: "a matrix of labels", False: "classes"}
            raise ValueError(
                "warm_start and partial_fit continue with `y` of the same kind: "
                f"{kinds[self._multilabel]}, got {kinds[multilabel]}"
            )
        elif not incremental and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        if self._multilabel:
            return X, dense(y).astype(X.dtype)
        ids = np.searchsorted(self.classes_, y)
        return X, ids if len(self.classes_) > 2 else ids[:, None].astype(X.dtype)

    def _make_objective(self) -> tuple[Objective, int]:
        classes = len(self.classes_)
        if self._multilabel or classes == 2:
            return Logistic(self.label_smoothing), classes if self._multilabel else 1
        return Softmax(self.label_smoothing), classes

    def _weigh(self, y: Any, weight: Array | None, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return weight
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' "
                "weights, use compute_class_weight('balanced', classes=classes, y=y) and pass the resulting "
                "weights as the class_weight parameter."
            )
        if isinstance(self.class_weight, dict):
            unknown = [label for label in self.class_weight if label not in {*self.classes_.tolist()}]
            if unknown:
                raise ValueError(f"The classes, {unknown}, are not in y, but in class_weight")
        factors = np.asarray(compute_sample_weight(self.class_weight, y))
        if not np.isfinite(factors).all() or (factors < 0).any():
            raise ValueError(f"class_weight must be finite factors >= 0, got {self.class_weight!r}")
        if weight is not None:
            factors *= weight
        return factors

    def _validation_score(self, data: Data) -> float:
        guesses = self._guesses(self._objective.predictions(self._output(data.x)))
        return float(accuracy_score(data.target, guesses, sample_weight=data.weight))

    def _guesses(self, probabilities: Array) -> Array:
        """Return the guesses in the form of the targets."""
        multiclass = self.out_activation_ == "softmax"
        guesses: Array = probabilities.argmax(axis=1) if multiclass else (probabilities > 0.5).astype(int)
        return guesses

    def predict(self, X: Any) -> Array:
        """Return the classes of samples, or a 0-1 matrix of their labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        output = self._output_of(X)
        guesses = self._guesses(self._objective.predictions(output))
        labels: Array = guesses if self._multilabel else self.classes_[guesses.ravel()]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes, in the order of ``classes_``, or of the labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        output = self._output_by_class(X)
        return self._objective.predictions(output)

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of the probabilities, accurate where these are near 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        output = self._output_by_class(X)
        return self._objective.log_predictions(output)

    def _output_by_class(self, X: Any) -> Array:
        """Return the output of the net for samples; of two classes, which share one output, for both."""
        output = self._output_of(X)
        return output if self._multilabel or self.n_outputs_ > 1 else np.hstack([-output, output])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _at_least_two(classes: Array) -> Array:
    """Return the classes; raise an error unless there are two."""
    if len(classes) < 2:
        raise ValueError(f"The number of classes has to be greater than one; got {len(classes)} class")
    return classes
