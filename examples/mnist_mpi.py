"""A net for MNIST that several processes train together, with the same bits on any number of them.

    mpirun -n 4 python examples/mnist_mpi.py FOLDER_OF_MNIST

Each batch is cut into 8 shards, so that 1, 2, 4 or 8 processes write the same checkpoint, byte for byte.
"""

import sys
import zlib
from pathlib import Path

import numpy as np
from trimtab import Trainer, augment, datasets, distributed, losses, nn, optim

EPOCHS, BATCH, SHARDS = 10, 256, 8
LEARNING_RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-4
CHECKPOINT = Path("mnist_mpi.safetensors")


def network(hidden: int, rng: np.random.Generator) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (28 * 28, hidden):
        linear = nn.Linear(inputs, hidden, bias=False, rng=rng)
        layers += [linear, nn.BatchNorm(hidden), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(hidden, 10, rng=rng))


def main(data: datasets.Dataset, epochs: int = EPOCHS, hidden: int = 512) -> float:
    """Train on all processes, write a checkpoint, and return the accuracy on the test images."""
    comm = distributed.world()
    model = network(hidden, np.random.default_rng(0))
    schedule = optim.Cosine(LEARNING_RATE, steps=epochs * -(-len(data.x_train) // BATCH))
    sgd = optim.SGD(model, schedule, momentum=MOMENTUM, weight_decay=DECAY)
    trainer = Trainer(model, losses.CrossEntropy(), sgd, rng=0, comm=comm, shards=SHARDS)
    trainer.fit(
        data.x_train,
        data.y_train,
        validation_data=(data.x_test, data.y_test),
        epochs=epochs,
        batch_size=BATCH,
        augment=augment.Shift(0.07),
    )
    trainer.save(CHECKPOINT)
    accuracy = trainer.evaluate(data.x_test, data.y_test)["accuracy"]
    if comm.rank == 0:
        checksum = zlib.crc32(CHECKPOINT.read_bytes())
        print(f"test accuracy {accuracy:.2%}, checkpoint {checksum:08x}, {comm.size} processes")
    return accuracy


if __name__ == "__main__":
    main(datasets.load_mnist(*sys.argv[1:2]))
