"""MNIST to 98.6 % with ten lines: dropout, batch norm and decay; then a few epochs at a lower rate.

python examples/sklearn_mnist.py --data FOLDER_OF_MNIST
"""

import argparse
import warnings

from sklearn.exceptions import ConvergenceWarning
from trimtab.datasets import Dataset, load_mnist
from trimtab.estimators import MLPClassifier


def main(data: Dataset, epochs: int = 15, hidden: tuple[int, ...] = (512, 512)) -> float:
    """Train, and return the test accuracy."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    x_train, x_test = (x.reshape(len(x), -1).astype("float32") for x in (data.x_train, data.x_test))
    net = MLPClassifier(
        hidden, normalization="batch", dropout=0.4, input_dropout=0.1, batch_size=256, max_iter=epochs,
        learning_rate_init=0.002, decoupled_weight_decay=0.02, tol=0, verbose=True, random_state=0,
    )  # fmt: skip
    net.fit(x_train, data.y_train)
    net.set_params(warm_start=True, learning_rate_init=0.0002, max_iter=max(1, epochs // 3))
    net.fit(x_train, data.y_train)
    accuracy = net.score(x_test, data.y_test)
    print(f"test accuracy {accuracy:.2%}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the files of MNIST")
    main(load_mnist(parser.parse_args().data))
