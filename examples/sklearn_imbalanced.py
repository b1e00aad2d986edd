"""Rare classes: class weights, and sample weights for what a mistake costs.

    python examples/sklearn_imbalanced.py

One sample in 50 is of the rare class, and to miss it costs 100 or 5 times as much as a false alarm, depending
on a feature. Class weights find most rare samples; sample weights make the mistakes cheap.
"""

import warnings

import numpy as np
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from trimtab.estimators import MLPClassifier

SETTINGS = {"hidden_layer_sizes": (64,), "dropout": 0.3, "max_iter": 60, "tol": 0.0, "random_state": 0}


def main(samples: int = 6000) -> dict[str, tuple[float, float]]:
    """Return the share of rare samples found, and the cost of the mistakes, by the weights in training."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y = make_classification(
        samples, 20, n_informative=8, weights=[0.98], class_sep=0.7, flip_y=0.0, random_state=0
    )
    cost = np.where(y == 1, np.where(x[:, 0] > 0, 100.0, 5.0), 1.0)
    x_train, x_test, y_train, y_test, cost_train, cost_test = train_test_split(
        x, y, cost, stratify=y, random_state=0
    )
    fits = {
        "no weights": MLPClassifier(**SETTINGS).fit(x_train, y_train),
        "class weights": MLPClassifier(**SETTINGS, class_weight="balanced").fit(x_train, y_train),
        "sample weights": MLPClassifier(**SETTINGS).fit(x_train, y_train, sample_weight=cost_train),
    }
    results = {}
    for name, net in fits.items():
        guesses = net.predict(x_test)
        found, alarms = guesses[y_test == 1].mean(), guesses[y_test == 0].mean()
        results[name] = found, cost_test[guesses != y_test].sum()
        print(f"{name:14}  rare found {found:.0%}, false alarms {alarms:.1%}, cost {results[name][1]:.0f}")
    return results


if __name__ == "__main__":
    main()
