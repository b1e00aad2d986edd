"""Early stopping: a net that begins to overfit is stopped, and gets its best weights back.

python examples/early_stopping.py
"""

import numpy as np
from trimtab import Trainer, callbacks, datasets, losses, nn, optim

NOISY = 0.3  # fraction of the training labels that are wrong


def main(samples: int = 600, epochs: int = 200) -> tuple[float, float]:
    """Train without and with early stopping, and return both test accuracies."""
    digits = datasets.load_digits()
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(digits.x_train))[:samples]
    x, y = digits.x_train[chosen], digits.y_train[chosen]
    y = np.where(rng.random(samples) < NOISY, rng.integers(0, 10, samples), y)

    stopping = callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)
    accuracies = []
    for watching in ([], [stopping]):
        model = nn.Sequential(nn.Linear(64, 256, rng=0), nn.ReLU(), nn.Linear(256, 10, rng=1))
        sgd = optim.SGD(model, lr=0.05, momentum=0.9)
        trainer = Trainer(model, losses.CrossEntropy(), sgd, callbacks=watching, rng=0)
        history = trainer.fit(x, y, validation_split=0.25, epochs=epochs)
        accuracies.append(trainer.evaluate(digits.x_test, digits.y_test)["accuracy"])
        print(f"{history.epochs} epochs: test accuracy {accuracies[-1]:.1%}")
    print(f"stopped after epoch {stopping.stopped_epoch}, weights of epoch {stopping.best_epoch}")
    return accuracies[0], accuracies[1]


if __name__ == "__main__":
    main()
