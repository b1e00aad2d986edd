"""The estimators beside scikit-learn's nets on MNIST: seconds to a test accuracy, and the best test accuracy.

    python bench/estimators_accuracy.py --data FOLDER

Each library has two small grids of settings, which are tried on 50,000 of the training digits and judged by
the other 10,000: by the time to the goal, and by the accuracy after all epochs. The settings that win are
trained on all 60,000 digits, in turns with several seeds, and judged by the test digits. The time is that of
training alone.
"""

import argparse
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import sklearn.neural_network
import trimtab.estimators
from sklearn.exceptions import ConvergenceWarning
from trimtab.callbacks import WeightAverage
from trimtab.datasets import load_mnist

GOAL = 0.975
VALIDATION = 10_000
Settings = dict[str, Any]
Data = tuple[Any, Any, Any, Any]  # x, y, x_test, y_test
LIBRARIES = {"scikit-learn": sklearn.neural_network, "trimtab": trimtab.estimators}


def grid(settings: Settings, **choices: tuple[Any, ...]) -> list[Settings]:
    """Return the settings with every combination of the choices."""
    return [settings | dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


REGULARIZED = {"solver": "adam", "normalization": "batch", "decoupled_weight_decay": 0.02}
FASTEST = {
    "scikit-learn": [
        *grid({"solver": "adam"}, learning_rate_init=(1e-3, 3e-3), alpha=(1e-4, 0.1)),
        *grid({"solver": "sgd"}, learning_rate_init=(0.1, 0.3)),
    ],
    "trimtab": [
        *grid(REGULARIZED, learning_rate_init=(2e-3, 4e-3), dropout=(0.1, 0.3)),
        *grid({"solver": "sgd", "normalization": "batch", "dropout": 0.2}, learning_rate_init=(0.1, 0.3)),
    ],
}
MOST_ACCURATE = {
    "scikit-learn": [
        *grid({"solver": "adam"}, learning_rate_init=(1e-3,), alpha=(1e-4, 0.1)),
        *grid(
            {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2},
            learning_rate_init=(0.1, 0.3),
        ),
    ],
    "trimtab": [
        one | {"callbacks": [WeightAverage(0.9995)]}
        for one in [
            *grid(REGULARIZED, learning_rate_init=(2e-3,), dropout=(0.4, 0.5), input_dropout=(0.1, 0.2)),
            REGULARIZED | {"learning_rate_init": 1e-3, "dropout": 0.5, "input_dropout": 0.2, "max_norm": 3.0},
        ]
    ],
}


class Course(NamedTuple):
    """What a training reached."""

    seconds: float  # to the goal, or of all epochs
    accuracy: float  # at the end


def until_goal(net: Any, data: Data, epochs: int) -> Course:
    """Train until the accuracy after an epoch is that of the goal; infinite seconds if it is missed."""
    x, y, x_test, y_test = data
    spent = 0.0
    for _ in range(epochs):
        start = perf_counter()
        net.partial_fit(x, y, classes=np.arange(10))
        spent += perf_counter() - start
        accuracy = net.score(x_test, y_test)
        if accuracy >= GOAL:
            return Course(spent, accuracy)
    return Course(np.inf, accuracy)


def all_epochs(net: Any, data: Data, epochs: int) -> Course:
    """Train for all epochs, or until the net itself sees no improvement of its training loss."""
    x, y, x_test, y_test = data
    start = perf_counter()
    net.set_params(max_iter=epochs).fit(x, y)
    return Course(perf_counter() - start, net.score(x_test, y_test))


class Question(NamedTuple):
    """What is compared."""

    text: str
    grids: dict[str, list[Settings]]
    train: Callable[[Any, Data, int], Course]
    best: Callable[[Course], float]  # the largest wins
    hidden: tuple[int, ...]
    epochs: int


QUESTIONS = {
    "time": Question(
        f"seconds to {GOAL:.1%}", FASTEST, until_goal, lambda course: -course.seconds, (256,), epochs=12
    ),
    "accuracy": Question(
        "accuracy after all epochs",
        MOST_ACCURATE,
        all_epochs,
        lambda course: course.accuracy,
        (512, 512),
        epochs=60,
    ),
}


def compare(
    question: Question, libraries: list[str], data: Data, hidden: tuple[int, ...], epochs: int, seeds: int
) -> None:
    """Print a row for each setting of the grids, and for the best of each library."""
    x, y, *test = data

    def course(library: str, settings: Settings, data: Data, seed: int) -> Course:
        net = LIBRARIES[library].MLPClassifier(hidden, batch_size=200, random_state=seed, **settings)
        return question.train(net, data, epochs)

    net = "-".join(map(str, (x.shape[1], *hidden, 10)))
    print(f"\n{question.text}: {net}, float32, batches of 200, at most {epochs} epochs")
    print(f"on {VALIDATION} digits of the training set:")
    tuned = x[:-VALIDATION], y[:-VALIDATION], x[-VALIDATION:], y[-VALIDATION:]
    chosen: dict[str, Settings] = {}
    for library in libraries:
        settings_of, courses = question.grids[library], []
        for settings in settings_of:
            courses.append(course(library, settings, tuned, seed=0))
            print(
                f"{library:12}  {courses[-1].seconds:6.1f} s  {courses[-1].accuracy:.2%}  {settings}",
                flush=True,
            )
        chosen[library] = settings_of[int(np.argmax([*map(question.best, courses)]))]

    print(f"on the test digits, median of seconds and mean of accuracies, seeds 1 to {seeds}:")
    runs: dict[str, list[Course]] = {library: [] for library in chosen}
    for seed in range(1, seeds + 1):
        for library, settings in chosen.items():
            runs[library].append(course(library, settings, (x, y, *test), seed))
    for library, settings in chosen.items():
        seconds, accuracy = (np.array(values) for values in zip(*runs[library], strict=True))
        spread = f"(sd {accuracy.std(ddof=1):.2%})" if seeds > 1 else ""
        print(
            f"{library:12}  {np.median(seconds):6.1f} s  {accuracy.mean():.2%} {spread}  {settings}",
            flush=True,
        )


def main() -> None:
    """Answer the questions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the four files of MNIST")
    parser.add_argument("--only", choices=QUESTIONS)
    parser.add_argument("--library", choices=LIBRARIES)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--hidden", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    mnist = load_mnist(options.data)
    x, x_test = (x.reshape(len(x), -1).astype(np.float32) for x in (mnist.x_train, mnist.x_test))
    data = x, mnist.y_train, x_test, mnist.y_test
    libraries = [options.library] if options.library else [*LIBRARIES]
    for name, question in QUESTIONS.items():
        if options.only in (None, name):
            hidden = tuple(options.hidden or question.hidden)
            compare(question, libraries, data, hidden, options.epochs or question.epochs, options.seeds)


if __name__ == "__main__":
    main()
