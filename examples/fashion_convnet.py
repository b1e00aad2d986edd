"""A small convolutional net on Fashion-MNIST, with batch norm and light augmentation.

python examples/fashion_convnet.py FOLDER_OF_FASHION_MNIST

Channels are last, which is fastest for the convolutions. Writes the history to fashion_convnet.csv.
"""

import sys

import numpy as np
from trimtab import Trainer, augment, callbacks, datasets, losses, nn, optim

EPOCHS, BATCH = 30, 128
LEARNING_RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4


def network(widths: tuple[int, ...], rng: np.random.Generator) -> nn.Sequential:
    """Build blocks of convolution, pooling, batch norm and ReLU: 28 by 28 pixels become 3 by 3."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip((1, *widths), widths, strict=False):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False, axis=-1, rng=rng),
            nn.MaxPool2d(2, axis=-1),
            nn.BatchNorm(outputs, axis=-1),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(9 * widths[-1], 10, rng=rng))


def main(data: datasets.Dataset, epochs: int = EPOCHS, widths: tuple[int, ...] = (32, 64, 128)) -> float:
    """Train, and return the accuracy on the test images."""
    x_train, x_test = (x[..., None] for x in (data.x_train, data.x_test))
    rng = np.random.default_rng(0)
    model = network(widths, rng)
    schedule = optim.OneCycle(LEARNING_RATE, steps=epochs * -(-len(x_train) // BATCH))
    sgd = optim.SGD(model, schedule, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True)
    log = callbacks.CSVLogger("fashion_convnet.csv")
    trainer = Trainer(model, losses.CrossEntropy(label_smoothing=0.1), sgd, [log], rng=rng)
    trainer.fit(
        x_train,
        data.y_train,
        validation_data=(x_test, data.y_test),
        epochs=epochs,
        batch_size=BATCH,
        augment=augment.light(axis=-1),
    )
    accuracy = trainer.evaluate(x_test, data.y_test)["accuracy"]
    print(f"test accuracy {accuracy:.2%}, after {epochs} epochs")
    return accuracy


if __name__ == "__main__":
    main(datasets.load_fashion_mnist(*sys.argv[1:2]))
