"""A small trainer, its whole state, and callbacks and augmentations that several tests use."""

import json

import numpy as np
from trimtab import losses, nn
from trimtab.callbacks import Callback
from trimtab.optim import SGD
from trimtab.trainer import Trainer


def two_classes(rng):
    """40 samples of 3 features, and the class of each."""
    x = rng.standard_normal((40, 3)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int)


def small_trainer(*callbacks, loss=None, outputs=2, layers=(), inputs=3):
    """A trainer for samples of 3 features; `layers` come before the last layer."""
    model = nn.Sequential(nn.Linear(inputs, 8, rng=0), nn.BatchNorm(8), *layers, nn.Linear(8, outputs, rng=1))
    return Trainer(model, loss or losses.CrossEntropy(), SGD(model, 0.1, momentum=0.9), callbacks, rng=0)


def state_of(trainer):
    """Weights, optimizer, generator, history and modes, comparable bit by bit."""
    arrays = trainer.model.state_dict() | trainer.optimizer.state_dict()
    notes = [trainer.rng.bit_generator.state, trainer.history]
    modes = [module.training for _, module in trainer.model.modules()]
    bits = {name: (array.dtype, array.tobytes()) for name, array in arrays.items()}
    return bits, json.dumps(notes, default=np.ndarray.tolist), modes


def jitter(batch, rng):
    """An augmentation for samples of any shape."""
    return batch + rng.normal(scale=0.01, size=batch.shape).astype(np.float32)


class Script(Callback):
    """Replaces a metric of each epoch by a given value; comes before the callback that is tested."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name

    def on_epoch_end(self, trainer, epoch, logs):
        logs[self.name] = self.values[epoch - 1]


class WeightedSquares(losses.Loss):
    """``sum(w d²) / sum(w)`` over samples (N, 1) in NumPy; targets (N,), of class 1 where above 0."""

    def __call__(self, output, target, sample_weight=None):
        weight = np.ones(len(output)) if sample_weight is None else np.asarray(sample_weight)
        difference = output[:, 0] - target
        total = weight.sum()
        share = weight / total if total else weight
        return (share * difference**2).sum(), (2 * share * difference)[:, None], total

    def class_labels(self, targets, output):
        return losses.ClassLabels((targets > 0).astype(int), 2)


def linear_trainer(loss=None, lr=0.1, **options):
    """A linear model of 3 features in float64, so that a step has a formula."""
    model = nn.Sequential(nn.Linear(3, 1, rng=0, dtype=np.float64))
    return Trainer(model, loss or WeightedSquares(), SGD(model, lr, **options), rng=0)
