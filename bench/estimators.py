"""The estimators beside scikit-learn's nets: seconds per epoch on MNIST.

    python bench/estimators.py --data FOLDER

Both train the same net with the same settings, in turns; a row has the medians and their ratio.
"""

import argparse
import warnings
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import sklearn.neural_network
import trimtab.estimators
from trimtab.datasets import load_mnist

BATCH_SIZES = (32, 128, 200, 512)
ROUNDS = 3


def seconds(module, x, y, **options) -> float:
    """Return the time of one epoch."""
    net = module.MLPClassifier(max_iter=1, random_state=0, **options)
    start = perf_counter()
    net.fit(x, y)
    return perf_counter() - start


def main() -> None:
    """Print a row for each solver and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the four files of MNIST")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    mnist = load_mnist(options.data)
    x = mnist.x_train[: options.samples].reshape(options.samples, -1).astype(options.dtype)
    y = np.asarray(mnist.y_train[: options.samples])
    print(f"{options.samples} digits, 784-{options.hidden}-10, {options.dtype}, seconds per epoch")
    print("solver  batch  scikit-learn  trimtab  ratio")
    for solver in ("adam", "sgd"):
        for batch_size in BATCH_SIZES:
            settings = {"hidden_layer_sizes": (options.hidden,), "solver": solver, "batch_size": batch_size}
            rounds = [
                [seconds(module, x, y, **settings) for module in (sklearn.neural_network, trimtab.estimators)]
                for _ in range(ROUNDS)
            ]
            theirs, ours = (median(times) for times in zip(*rounds, strict=True))
            print(f"{solver:6}  {batch_size:5}  {theirs:12.2f}  {ours:7.2f}  {theirs / ours:5.2f}")


if __name__ == "__main__":
    main()
