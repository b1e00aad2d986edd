"""The estimators beside scikit-learn's nets on MNIST: seconds to a test accuracy, and the final one.

    python bench/estimators_accuracy.py --data FOLDER

The time is that of the training alone. For scikit-learn's nets, the settings are the best of a small grid.
"""

import argparse
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import sklearn.neural_network
import trimtab.estimators
from trimtab.datasets import load_mnist

GOAL = 0.975
THEIRS = {
    "scikit-learn, adam": {"solver": "adam", "learning_rate_init": 0.001},
    "scikit-learn, sgd": {"solver": "sgd", "learning_rate_init": 0.1},
}
OURS = {
    "trimtab, adam": {
        "solver": "adam",
        "learning_rate_init": 0.002,
        "normalization": "batch",
        "dropout": 0.2,
        "decoupled_weight_decay": 0.02,
    },
}


def train(net: Any, data: Any, epochs: int) -> tuple[float, float]:
    """Return the seconds to the goal, infinite if it is missed, and the accuracy in the end."""
    x_train, y_train, x_test, y_test = data
    spent, reached = 0.0, np.inf
    for _ in range(epochs):
        start = perf_counter()
        net.partial_fit(x_train, y_train, classes=np.arange(10))
        spent += perf_counter() - start
        accuracy = net.score(x_test, y_test)
        if accuracy >= GOAL:
            reached = min(reached, spent)
    return reached, accuracy


def main() -> None:
    """Print a row for each estimator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the four files of MNIST")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()
    mnist = load_mnist(options.data)
    x_train, x_test = (x.reshape(len(x), -1).astype(np.float32) for x in (mnist.x_train, mnist.x_test))
    data = x_train, mnist.y_train, x_test, mnist.y_test
    print(f"784-{options.hidden}-10, float32, batches of 200, {options.epochs} epochs")
    print(f"estimator            seconds to {GOAL:.1%}  final accuracy")
    for names, module in ((THEIRS, sklearn.neural_network), (OURS, trimtab.estimators)):
        for name, settings in names.items():
            net = module.MLPClassifier((options.hidden,), batch_size=200, random_state=0, **settings)
            seconds, accuracy = train(net, data, options.epochs)
            print(f"{name:19}  {seconds:16.1f}  {accuracy:14.2%}", flush=True)


if __name__ == "__main__":
    main()
