"""From scikit-learn's net to this library's by changing one import line.

    python examples/sklearn_one_line.py

With the same parameters and `random_state` both take the same steps: the predictions agree. Then come
parameters that scikit-learn's net lacks.
"""

import warnings

import numpy as np
import sklearn.neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from trimtab.estimators import MLPClassifier  # before: from sklearn.neural_network import MLPClassifier


def main(epochs: int = 50) -> tuple[float, float, float]:
    """Return the largest difference of probabilities, and the accuracies without and with regularization."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.5, random_state=0)
    settings = {"hidden_layer_sizes": (128,), "max_iter": epochs, "tol": 0}

    before = sklearn.neural_network.MLPClassifier(**settings, random_state=0).fit(x_train, y_train)
    after = MLPClassifier(**settings, random_state=0).fit(x_train, y_train)
    difference = np.abs(after.predict_proba(x_test) - before.predict_proba(x_test)).max()
    print(f"largest difference of the probabilities: {difference:.1e}")

    regularized = MLPClassifier(**settings, random_state=0, dropout=0.4, normalization="batch")
    scores = after.score(x_test, y_test), regularized.fit(x_train, y_train).score(x_test, y_test)
    print(f"test accuracy {scores[0]:.1%}; with dropout and batch norm {scores[1]:.1%}")
    return difference, *scores


if __name__ == "__main__":
    main()
