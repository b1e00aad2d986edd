"""Dropout with max-norm on MNIST keeps a wide net from overfitting.

    python examples/dropout_max_norm.py FOLDER_OF_MNIST

The settings follow Srivastava et al. (2014): a fifth of the inputs and half of the hidden units are dropped,
the weights into a unit have at most the norm MAX_NORM, and a large learning rate with high momentum decays
to 0.
"""

import sys

import numpy as np
from trimtab import Trainer, datasets, losses, nn, optim

EPOCHS, BATCH = 100, 128
LEARNING_RATE, MOMENTUM, MAX_NORM = 0.05, 0.9, 2.0


def network(inputs: int, hidden: int, classes: int, rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(0.2),
        nn.Linear(inputs, hidden, rng=rng),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(hidden, hidden, rng=rng),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(hidden, classes, rng=rng),
    )


def main(data: datasets.Dataset, epochs: int = EPOCHS, hidden: int = 512) -> float:
    """Train, and return the test error."""
    x_train, x_test = (x.reshape(len(x), -1) for x in (data.x_train, data.x_test))
    rng = np.random.default_rng(0)
    model = network(x_train.shape[1], hidden, 10, rng)
    schedule = optim.Cosine(LEARNING_RATE, steps=epochs * -(-len(x_train) // BATCH))
    sgd = optim.SGD(model, schedule, momentum=MOMENTUM, max_norm=MAX_NORM)
    trainer = Trainer(model, losses.CrossEntropy(), sgd, rng=rng)
    trainer.fit(x_train, data.y_train, validation_data=(x_test, data.y_test), epochs=epochs, batch_size=BATCH)
    error = 1 - trainer.evaluate(x_test, data.y_test)["accuracy"]
    print(f"test error {error:.2%}, after {epochs} epochs")
    return error


if __name__ == "__main__":
    main(datasets.load_mnist(*sys.argv[1:2]))
