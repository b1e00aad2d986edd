"""With batch norm, a net of sigmoids trains faster and reaches a higher accuracy.

    python examples/batch_norm_or_none.py FOLDER_OF_MNIST

The experiment of Ioffe and Szegedy (2015, section 4.1): binary images of MNIST, three layers of 100 sigmoids,
50,000 steps of 60 images. Writes the two curves of the test accuracy to batch_norm_or_none.png.
"""

import sys

import numpy as np
from trimtab import Trainer, callbacks, datasets, losses, nn, optim

STEPS, BATCH, LEARNING_RATE, SPREAD = 50_000, 60, 0.1, 0.1
MEASUREMENTS = 50


def network(inputs: int, normalized: bool, rng: np.random.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in (inputs, 100, 100):
        layers.append(nn.Linear(size, 100, bias=not normalized, init="normal", gain=SPREAD, rng=rng))
        layers += [nn.BatchNorm(100)] * normalized
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers, nn.Linear(100, 10, init="normal", gain=SPREAD, rng=rng))


class Measure(callbacks.Callback):
    """Evaluates every `every` steps, also in the middle of an epoch."""

    def __init__(self, x: np.ndarray, y: np.ndarray, every: int) -> None:
        self.x, self.y, self.every = x, y, every
        self.curve: list[tuple[int, float]] = []

    def on_batch_end(self, trainer, batch, logs) -> None:
        if trainer.optimizer.steps % self.every == 0:
            self.curve.append((trainer.optimizer.steps, trainer.evaluate(self.x, self.y)["accuracy"]))


def main(data: datasets.Dataset, steps: int = STEPS) -> dict[str, list[tuple[int, float]]]:
    """Train both nets, and return the curves of (step, test accuracy)."""
    x_train, x_test = ((x.reshape(len(x), -1) > 0.5).astype(np.float32) for x in (data.x_train, data.x_test))
    curves = {}
    for name, normalized in (("with batch norm", True), ("without", False)):
        model = network(x_train.shape[1], normalized, np.random.default_rng(0))
        measure = Measure(x_test, data.y_test, every=max(1, steps // MEASUREMENTS))
        sgd = optim.SGD(model, LEARNING_RATE)
        trainer = Trainer(model, losses.CrossEntropy(), sgd, callbacks=[measure], rng=0)
        epochs = -(-steps * BATCH // len(x_train))
        trainer.fit(x_train, data.y_train, epochs=epochs, batch_size=BATCH)
        curves[name] = measure.curve
        first = next((f"from step {step}" for step, accuracy in measure.curve if accuracy >= 0.9), "never")
        print(f"{name}: test accuracy {measure.curve[-1][1]:.2%}, 90 % {first}")
    return curves


if __name__ == "__main__":
    from matplotlib import pyplot

    for name, curve in main(datasets.load_mnist(*sys.argv[1:2])).items():
        pyplot.plot(*zip(*curve, strict=True), label=name)
    pyplot.xlabel("step")
    pyplot.ylabel("test accuracy")
    pyplot.legend()
    pyplot.savefig("batch_norm_or_none.png")
