"""Digits: a grid search over dropout and weight decay, drawn as a heat map.

    python examples/sklearn_grid_search.py

Writes sklearn_grid_search.png.
"""

import warnings
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from trimtab.estimators import MLPClassifier

DROPOUT = (0.0, 0.2, 0.4, 0.6)
DECAY = (0.0, 0.01, 0.1, 0.3)


def main(dropout: Sequence[float] = DROPOUT, decay: Sequence[float] = DECAY, epochs: int = 20) -> np.ndarray:
    """Return the accuracies over 3 folds, a row for each dropout and a column for each decay."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y = load_digits(return_X_y=True)
    net = MLPClassifier(
        (128,), learning_rate_init=0.01, batch_size=64, max_iter=epochs, tol=0, random_state=0
    )
    grid = {"dropout": dropout, "decoupled_weight_decay": decay}
    search = GridSearchCV(net, grid, cv=3, n_jobs=2).fit(x / 16, y)
    # the names of the grid are in alphabetical order, and the last one changes fastest
    scores = search.cv_results_["mean_test_score"].reshape(len(decay), len(dropout)).T
    print(f"best: {search.best_params_}, accuracy {search.best_score_:.2%}")

    figure, axes = plt.subplots(layout="constrained")
    image = axes.imshow(100 * scores, cmap="viridis", origin="lower")
    axes.set(xlabel="decoupled weight decay", ylabel="dropout", title="accuracy over 3 folds, %")
    axes.set_xticks(range(len(decay)), decay)
    axes.set_yticks(range(len(dropout)), dropout)
    for (row, column), score in np.ndenumerate(scores):
        axes.text(column, row, f"{100 * score:.1f}", ha="center", va="center", color="white")
    figure.colorbar(image)
    figure.savefig("sklearn_grid_search.png")
    plt.close(figure)
    return scores


if __name__ == "__main__":
    main()
