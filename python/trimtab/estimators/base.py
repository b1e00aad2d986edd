"""What `MLPClassifier` and `MLPRegressor` share: parameters, fitting, the net."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from trimtab import extras
from trimtab._typing import Array
from trimtab.estimators.data import Data, dense_parts
from trimtab.estimators.hooks import CallbackSupportMixin
from trimtab.estimators.learning import Epochs
from trimtab.estimators.network import ACTIVATIONS, NORMALIZATIONS, network
from trimtab.estimators.objectives import Objective
from trimtab.estimators.solvers import SGD, Adam, Solver
from trimtab.nn import Linear, Sequential
from trimtab.nn.passes import evaluation
from trimtab.training.history import History

NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
BELOW_1 = Interval(Real, 0, 1, closed="left")
AT_LEAST_1 = Interval(Integral, 1, None, closed="left")


class BaseMLP(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """The base of both estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", AT_LEAST_1],
        "activation": [StrOptions({*ACTIVATIONS})],
        "solver": [StrOptions({"adam", "sgd"})],
        "alpha": [NOT_NEGATIVE],
        "batch_size": [StrOptions({"auto"}), AT_LEAST_1],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [POSITIVE],
        "power_t": [NOT_NEGATIVE],
        "max_iter": [AT_LEAST_1],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [NOT_NEGATIVE],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [BELOW_1],
        "beta_1": [BELOW_1],
        "beta_2": [BELOW_1],
        "epsilon": [POSITIVE],
        "n_iter_no_change": [AT_LEAST_1, Options(Real, {np.inf})],
        "dropout": [BELOW_1],
        "input_dropout": [BELOW_1],
        "normalization": [StrOptions({*NORMALIZATIONS}), None],
        "l1": [NOT_NEGATIVE],
        "decoupled_weight_decay": [NOT_NEGATIVE],
        "max_norm": [POSITIVE, None],
        "max_grad_norm": [POSITIVE, None],
        "callbacks": ["array-like", None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any,
        activation: str,
        *,
        solver: str,
        alpha: float,
        batch_size: int | str,
        learning_rate: str,
        learning_rate_init: float,
        power_t: float,
        max_iter: int,
        shuffle: bool,
        random_state: Any,
        tol: float,
        verbose: bool,
        warm_start: bool,
        momentum: float,
        nesterovs_momentum: bool,
        early_stopping: bool,
        validation_fraction: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        n_iter_no_change: float,
        dropout: float,
        input_dropout: float,
        normalization: str | None,
        l1: float,
        decoupled_weight_decay: float,
        max_norm: float | None,
        max_grad_norm: float | None,
        callbacks: Any,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.normalization = normalization
        self.l1 = l1
        self.decoupled_weight_decay = decoupled_weight_decay
        self.max_norm = max_norm
        self.max_grad_norm = max_grad_norm
        self.callbacks = callbacks

    # attributes of a fit that continues
    network_: Sequential
    _solver: Solver

    # ---- what the estimators define ----

    def _read(
        self, X: Any, y: Any, *, reset: bool, incremental: bool, classes: Any = None
    ) -> tuple[Any, Array]:
        """Return validated samples, and targets in the form that the objective takes."""
        raise NotImplementedError

    def _make_objective(self) -> tuple[Objective, int]:
        """Return what training minimizes, and the number of outputs of the net."""
        raise NotImplementedError

    def _weigh(self, y: Any, weight: Array | None, incremental: bool) -> Array | None:
        """Return the weights of the samples, with those of their classes."""
        return weight

    def _validation_score(self, data: Data) -> float:
        """Return the score that early stopping monitors."""
        raise NotImplementedError

    # ---- fitting ----

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the net to samples X and targets y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float32 is trained in float32, everything else in float64. Sparse samples are made dense batch by
            batch.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes, a 0-1 matrix of labels, or values.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0 of the samples in the mean loss of a batch.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, classes: Any = None) -> Self:
        rng = check_random_state(self.random_state)
        with restored_on_error(self):
            read, data, validation = self._prepare(X, y, sample_weight, rng, incremental, classes)
            task = {"X": read, "y": y, "metadata": {"sample_weight": sample_weight}}
            epochs = Epochs(self, data, validation, rng, task, incremental)
        epochs.run()
        if not all(np.isfinite(parameter.value).all() for parameter in self.network_.parameters()):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and "
                "need to be preprocessed."
            )
        return self

    def _prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        rng: np.random.RandomState,
        incremental: bool,
        classes: Any,
    ) -> tuple[Any, Data, Data | None]:
        """Make net and solver; return the samples, and the data to train on and to validate with."""
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if isinstance(self.decoupled_weight_decay, bool):
            raise ValueError(f"decoupled_weight_decay must be a number, got {self.decoupled_weight_decay}")
        hidden = self._hidden_layer_sizes()
        first = not hasattr(self, "network_") or not (self.warm_start or incremental)
        X, target = self._read(X, y, reset=first, incremental=incremental, classes=classes)
        weight = None if sample_weight is None else _read_weight(sample_weight, X)
        weight = self._weigh(y, weight, incremental)
        if weight is not None:
            self._check_total(weight, incremental, X.dtype)
        data, validation = Data(X, target, weight), None
        self._objective, self.n_outputs_ = self._make_objective()
        architecture = self._architecture([X.shape[1], *hidden, self.n_outputs_])
        self._check_batch_norm(len(data))
        if first:
            self._begin(architecture, X.dtype, rng)
        else:
            self._continue(architecture)
        if not incremental or not hasattr(self, "_solver"):
            self._solver = self._make_solver()
        if self.early_stopping:
            data, validation = self._hold_out(data, rng)
            self._check_batch_norm(len(data))
        if self.dropout or self.input_dropout:
            self.network_.use_rng(int(rng.randint(2**31)))
        return X, data, validation

    def _least_total(self, dtype: Any) -> float:
        """Return the least sum of weights, so that it and the penalties, divided by it, are in range."""
        limits = np.finfo(dtype)
        return float(max(limits.tiny, max(self.alpha, self.l1) / limits.max))

    def _check_total(self, weight: Array, incremental: bool, dtype: Any) -> None:
        """Raise an error unless the samples count: one at least, except among a part of all samples."""
        if not incremental and not weight.any():
            raise ValueError("class_weight and sample_weight must not be 0 for all samples together")
        with np.errstate(over="ignore"):
            total = weight.sum()
        least = self._least_total(dtype)
        if not np.isfinite(total) or 0 < total < least:
            raise ValueError(
                "The sum of class_weight and sample_weight over all samples must be finite and at least "
                f"{least:.2g}, got {total:g}"
            )

    def _architecture(self, units: list[int]) -> dict[str, Any]:
        """Return what makes the net, by name."""
        return {
            "units": units,
            "activation": self.activation,
            "normalization": self.normalization,
            "dropout": self.dropout,
            "input_dropout": self.input_dropout,
        }

    def _check_batch_norm(self, samples: int) -> None:
        """Raise an error if batches have a single sample, of which batch norm knows no variance."""
        if self.normalization != "batch":
            return
        if samples < 2:
            raise ValueError(f"normalization='batch' needs at least two samples, got {samples}")
        if self.batch_size == 1:
            raise ValueError("normalization='batch' needs a batch_size of at least 2, got 1")

    def _hidden_layer_sizes(self) -> list[int]:
        """Return the numbers of units of the hidden layers."""
        given = self.hidden_layer_sizes
        sizes = [*given] if hasattr(given, "__iter__") else [given]
        if not all(isinstance(size, Integral) and not isinstance(size, bool) for size in sizes):
            raise TypeError(f"hidden_layer_sizes must be integers, got {given!r}")
        if not all(size > 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(size) for size in sizes]

    def _begin(self, architecture: dict[str, Any], dtype: Any, rng: np.random.RandomState) -> None:
        """Make the net, and empty the records of the training."""
        self._made, units = architecture, architecture["units"]
        self.n_layers_, self.out_activation_ = len(units), self._objective.activation
        self.network_ = network(**architecture, rng=rng, dtype=dtype)
        self.t_ = 0
        self.history_ = History()
        self._begin_judging()

    def _begin_judging(self) -> None:
        """Forget what the training was best at."""
        self.n_iter_ = self._no_improvement_count = 0
        self._best_state = self.network_.state_dict() if self.early_stopping else None
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _continue(self, architecture: dict[str, Any]) -> None:
        """Check that the net is the one asked for, and make it fit for more training."""
        if self._objective.activation != self.out_activation_:
            raise ValueError(
                f"warm_start and partial_fit continue with out_activation_={self.out_activation_!r}, "
                f"got a loss that goes with {self._objective.activation!r}"
            )
        for name, asked in architecture.items():
            made = self._made[name]
            if name == "units" and asked != made:
                raise ValueError(
                    f"warm_start and partial_fit continue with layers of {made} units, got {asked}"
                )
            if asked != made:
                raise ValueError(f"warm_start and partial_fit continue with {name}={made!r}, got {asked!r}")
        if not all(parameter.value.flags.writeable for parameter in self.network_.parameters()):
            self.network_ = deepcopy(self.network_)  # loaded by joblib as read-only maps of a file
            self._solver = deepcopy(self._solver)
        if (self.validation_scores_ is not None) != self.early_stopping:
            self._begin_judging()

    def _make_solver(self) -> Solver:
        parameters = self.network_.parameters()
        shared = self.learning_rate_init, self.max_norm, self.max_grad_norm
        if self.solver == "sgd":
            return SGD(parameters, *shared, momentum=self.momentum, nesterov=self.nesterovs_momentum)
        return Adam(parameters, *shared, betas=(self.beta_1, self.beta_2), epsilon=self.epsilon)

    def _hold_out(self, data: Data, rng: np.random.RandomState) -> tuple[Data, Data]:
        """Split data as scikit-learn's nets do: stratified for two classes, otherwise at random."""
        arrays = [data.x, data.target] if data.weight is None else [data.x, data.target, data.weight]
        parts = train_test_split(
            *arrays,
            random_state=rng,
            test_size=self.validation_fraction,
            stratify=data.target if is_classifier(self) and self.n_outputs_ == 1 else None,
        )
        kept, held = Data(*parts[::2]), Data(*parts[1::2])
        for name, part in {"training": kept, "validation": held}.items():
            if part.weight is not None and not part.weight.any():
                raise ValueError(f"early_stopping needs {name} samples whose weight is not 0, got none")
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return kept, held

    # ---- the fitted net ----

    def _output(self, X: Any) -> Array:
        """Return the output of the net for validated samples."""
        with evaluation(self.network_, strict=True):
            return np.concatenate([self.network_.forward(part) for part in dense_parts(X)])

    def _output_of(self, X: Any) -> Array:
        """Return the output of the net for samples, which are validated."""
        check_is_fitted(self)
        return self._output(
            validate_data(self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
        )

    def _linear_layers(self) -> list[Linear]:
        if "network_" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet: it has no coefficients")
        net: Sequential = self.network_
        return [layer for layer in net.layers if isinstance(layer, Linear)]

    @property
    def coefs_(self) -> list[Array]:
        """The weights of the linear layers, (inputs, outputs) each."""
        return [layer.weight.value.T for layer in self._linear_layers()]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of the linear layers."""
        return [layer.bias.value for layer in self._linear_layers() if layer.bias is not None]

    @property
    def loss_curve_(self) -> list[float]:
        """The loss of each epoch: the mean over the batches as they were trained on, with the penalties."""
        if "history_" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet: it has no loss curve")
        losses: list[float] = self.history_.get("loss", [])  # none if the first epoch was interrupted
        return losses

    def plot_loss_curve(self, ax: Any = None) -> Any:
        """Plot the loss over the epochs, and the validation scores of early stopping on an axis of their own.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            By default that of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
        """
        check_is_fitted(self)
        if ax is None:
            _, ax = extras.load("matplotlib.pyplot", "sklearn").subplots(layout="constrained")
        epochs = range(1, len(self.loss_curve_) + 1)
        lines = ax.plot(epochs, self.loss_curve_, label="training loss")
        ax.set(xlabel="epoch", ylabel="loss")
        ax.grid(alpha=0.3)
        if self.validation_scores_:
            scores = ax.twinx()
            judged = epochs[-len(self.validation_scores_) :]  # all, unless early stopping came later
            lines += scores.plot(judged, self.validation_scores_, "C1--", label="validation score")
            scores.set(ylabel="score")
        ax.legend(handles=lines)
        return ax

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@contextmanager
def restored_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Give an estimator the attributes back that it had, if an error is raised."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _read_weight(sample_weight: Any, X: Any) -> Array:
    """Return the weights of the samples in float64; raise scikit-learn's errors for those that are none."""
    weight: Array = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight
