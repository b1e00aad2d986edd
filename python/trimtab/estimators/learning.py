"""The course of a training: epochs, batches, learning rates and when to stop, as in scikit-learn's nets."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches, shuffle

from trimtab._typing import Array
from trimtab.estimators.data import Data
from trimtab.estimators.hooks import Hooks
from trimtab.estimators.solvers import Penalty
from trimtab.training.modes import without_dx

SMALLEST_RATE = 1e-6  # at which the adaptive learning rate ends the training


class Epochs:
    """Trains the net of an estimator, and records the course in its attributes.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        With its net, solver and objective made.
    data : Data
    validation : Data or None
        What early stopping scores.
    rng : numpy.random.RandomState
        Source of the order of the samples.
    task : mapping
        What callbacks of scikit-learn are told of the fit.
    incremental : bool
        Whether to train for one epoch, instead of until training converges or reaches `max_iter`.
    """

    def __init__(
        self,
        estimator: Any,
        data: Data,
        validation: Data | None,
        rng: np.random.RandomState,
        task: Mapping[str, Any],
        incremental: bool,
    ) -> None:
        self._estimator, self._data, self._validation, self._rng = estimator, data, validation, rng
        self._net, self._solver = estimator.network_, estimator._solver
        self._parameters = self._net.parameters()
        self._least_total = estimator._least_total(self._parameters[0].value.dtype)
        # with one sample left over, batch norm would have no variance: it joins the batch before it
        least = 2 if estimator.normalization == "batch" else 0
        self._order = np.arange(len(data))
        self._batches = list(gen_batches(len(data), self._batch_size(), min_batch_size=least))
        self._incremental = incremental
        epochs = 1 if incremental else estimator.max_iter
        self._hooks = Hooks(estimator, epochs, len(self._batches), rng, task)

    def _batch_size(self) -> int:
        size, samples = self._estimator.batch_size, len(self._data)
        if size == "auto":
            return min(200, samples)
        if size > samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=5,
            )
        return int(min(size, samples))

    def run(self) -> None:
        """Train until the end."""
        estimator = self._estimator
        estimator.n_iter_ = 0
        self._net.train()
        try:
            with without_dx(self._net), self._hooks.running():
                while not self._epoch() and not self._incremental:
                    if estimator.n_iter_ == estimator.max_iter:
                        warnings.warn(
                            f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) "
                            "reached and the optimization hasn't converged yet.",
                            ConvergenceWarning,
                            stacklevel=5,
                        )
                        break
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        finally:
            self._net.eval()
        if self._validation is not None:
            self._net.load_state_dict(estimator._best_state)

    def _epoch(self) -> bool:
        """Train for one epoch; return whether training is over."""
        estimator = self._estimator
        self._hooks.begin_epoch(estimator.n_iter_ + 1)
        estimator.loss_ = self._train_batches()
        estimator.n_iter_ += 1
        estimator.t_ += len(self._data)
        logs = {"loss": estimator.loss_, "learning_rate": self._solver.lr}
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        with self._hooks.trainer.validating():
            self._judge()
        if estimator.validation_scores_:
            logs["validation_score"] = estimator.validation_scores_[-1]
        for name, value in logs.items():
            estimator.history_.setdefault(name, []).append(value)
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            self._solver.lr = estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t
        over = estimator._no_improvement_count > estimator.n_iter_no_change and self._converged()
        return self._hooks.end_epoch(estimator.n_iter_, logs) or over

    def _train_batches(self) -> float:
        """Visit every sample once; return the mean of the losses, with the penalties."""
        samples, total = len(self._data), 0.0
        if self._estimator.shuffle:
            self._order = shuffle(self._order, random_state=self._rng)
        for number, batch in enumerate(self._batches):
            rows = self._order[batch] if self._estimator.shuffle else batch
            loss = self._hooks.batch(number, partial(self._train_batch, rows))
            total += loss * (batch.stop - batch.start)
        return total / samples

    def _train_batch(self, rows: slice | Array) -> float:
        estimator = self._estimator
        x, target, weight = self._data.batch(rows)
        divisor = len(x) if weight is None else float(weight.sum())
        if divisor < self._least_total:  # no sample counts, or too little to divide the penalties by
            return 0.0
        loss, gradient = estimator._objective(self._net.forward(x), target, weight)
        self._net.backward(gradient)
        l2, l1 = estimator.alpha / divisor, estimator.l1 / divisor
        penalty = Penalty(l2, l1, estimator.decoupled_weight_decay)
        return float(loss + self._solver.step(self._parameters, penalty))

    def _judge(self) -> None:
        """Count the epochs without an improvement by `tol`, of the validation score or of the loss."""
        estimator = self._estimator
        if self._validation is None:
            loss, best = estimator.loss_, estimator.best_loss_
            estimator._no_improvement_count = (
                estimator._no_improvement_count + 1 if loss > best - estimator.tol else 0
            )
            estimator.best_loss_ = min(best, loss)
            return
        score = estimator._validation_score(self._validation)
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        best = estimator.best_validation_score_
        estimator._no_improvement_count = (
            estimator._no_improvement_count + 1 if score < best + estimator.tol else 0
        )
        if score > best:
            estimator.best_validation_score_ = score
            estimator._best_state = self._net.state_dict()

    def _converged(self) -> bool:
        """Whether training is over, as it did not improve for a while; otherwise lower the learning rate."""
        estimator, solver = self._estimator, self._solver
        judged = "Training loss" if self._validation is None else "Validation score"
        reason = (
            f"{judged} did not improve more than tol={estimator.tol:f} "
            f"for {estimator.n_iter_no_change} consecutive epochs."
        )
        adaptive = estimator.solver == "sgd" and estimator.learning_rate == "adaptive"
        if adaptive and solver.lr > SMALLEST_RATE:
            solver.lr /= 5
            estimator._no_improvement_count = 0
            decision = f"Setting learning rate to {solver.lr:f}"
        else:
            decision = "Learning rate too small. Stopping." if adaptive else "Stopping."
        if estimator.verbose:
            print(reason, decision)
        return not decision.startswith("Setting")
