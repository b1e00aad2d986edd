"""The estimators beside scikit-learn's nets on MNIST: seconds to a test accuracy, and the final one.

    python bench/estimators_accuracy.py --data FOLDER

Each library has a small grid of settings, which is tried on 50,000 of the training digits and judged by the
other 10,000: the setting that reaches the goal first, and the one that ends best. These are trained on all
60,000 digits, in turns with several seeds, and judged by the test digits. The time is that of training alone.
"""

import argparse
import warnings
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import sklearn.neural_network
import trimtab.estimators
from sklearn.exceptions import ConvergenceWarning
from trimtab.datasets import load_mnist

GOAL = 0.975
VALIDATION = 10_000
Settings = dict[str, Any]
GRIDS: dict[str, tuple[Any, list[Settings]]] = {
    "scikit-learn": (
        sklearn.neural_network,
        [
            *(
                {"solver": "adam", "learning_rate_init": lr, "alpha": a}
                for lr in (1e-3, 3e-3)
                for a in (1e-4, 0.1)
            ),
            *({"solver": "sgd", "learning_rate_init": lr} for lr in (0.1, 0.3)),
        ],
    ),
    "trimtab": (
        trimtab.estimators,
        [
            *(
                {"solver": "adam", "learning_rate_init": lr, "dropout": p, "decoupled_weight_decay": 0.02}
                for lr in (2e-3, 4e-3)
                for p in (0.1, 0.3)
            ),
            *({"solver": "sgd", "learning_rate_init": lr, "dropout": 0.2} for lr in (0.1, 0.3)),
        ],
    ),
}
ALWAYS = {"scikit-learn": {}, "trimtab": {"normalization": "batch"}}


class Course(NamedTuple):
    """What a training reached."""

    seconds: float  # to the goal; infinite if it is missed
    accuracy: float  # in the end


def train(net: Any, data: tuple[Any, ...], epochs: int) -> Course:
    """Train, and look at the accuracy after each epoch."""
    x, y, x_test, y_test = data
    spent, reached = 0.0, np.inf
    for _ in range(epochs):
        start = perf_counter()
        net.partial_fit(x, y, classes=np.arange(10))
        spent += perf_counter() - start
        accuracy = net.score(x_test, y_test)
        if accuracy >= GOAL:
            reached = min(reached, spent)
    return Course(reached, accuracy)


def main() -> None:
    """Print a row for each setting of the grids, and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the four files of MNIST")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    mnist = load_mnist(options.data)
    x, x_test = (x.reshape(len(x), -1).astype(np.float32) for x in (mnist.x_train, mnist.x_test))
    y, y_test = mnist.y_train, mnist.y_test

    def course(library: str, settings: Settings, data: tuple[Any, ...], seed: int) -> Course:
        settings = settings | ALWAYS[library]
        module = GRIDS[library][0]
        net = module.MLPClassifier((options.hidden,), batch_size=200, random_state=seed, **settings)
        return train(net, data, options.epochs)

    print(f"784-{options.hidden}-10, float32, batches of 200, {options.epochs} epochs")
    print(f"\nseconds to {GOAL:.1%} and final accuracy on {VALIDATION} digits of the training set")
    tuned = x[:-VALIDATION], y[:-VALIDATION], x[-VALIDATION:], y[-VALIDATION:]
    chosen: dict[str, dict[str, Settings]] = {"first": {}, "best": {}}
    for library, (_, grid) in GRIDS.items():
        courses = []
        for settings in grid:
            courses.append(course(library, settings, tuned, seed=0))
            print(
                f"{library:12}  {courses[-1].seconds:6.1f}  {courses[-1].accuracy:.2%}  {settings}",
                flush=True,
            )
        chosen["first"][library] = grid[int(np.argmin([c.seconds for c in courses]))]
        chosen["best"][library] = grid[int(np.argmax([c.accuracy for c in courses]))]

    print(f"\nseconds to {GOAL:.1%} and final accuracy on the test digits, seeds 1 to {options.seeds}")
    for role, settings_of in chosen.items():
        runs: dict[str, list[Course]] = {library: [] for library in GRIDS}
        for seed in range(1, options.seeds + 1):
            for library, settings in settings_of.items():
                runs[library].append(course(library, settings, (x, y, x_test, y_test), seed))
        for library, courses in runs.items():
            seconds, accuracy = (np.array(values) for values in zip(*courses, strict=True))
            print(
                f"{role:5}  {library:12}  {np.median(seconds):6.1f}"
                f"  {accuracy.mean():.2%} (sd {accuracy.std(ddof=1):.2%})  {settings_of[library]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
