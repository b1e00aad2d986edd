"""Trainings that the tests repeat in one process and on several ranks."""

import numpy as np
from trimtab import Trainer, callbacks, datasets, losses, metrics, nn, optim

SAMPLES, FEATURES, CLASSES = 45, 6, 3  # batches of 16, 16 and 13 samples: parts are uneven
ARGUMENTS = {"epochs": 2, "batch_size": 16, "validation_split": 0.2, "progress": False}


def data():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((SAMPLES, FEATURES))
    return x, np.argmax(x[:, :CLASSES] + 0.3 * rng.standard_normal((SAMPLES, CLASSES)), axis=1)


def jitter(batch, rng):
    """An augmentation with a draw for each value."""
    return batch + 0.1 * rng.standard_normal(batch.shape)


def with_nan():
    """The samples, one of which is NaN: a batch of every epoch is skipped."""
    x, _ = data()
    x[40] = np.nan
    return x


def skipping(parameters, **options):
    return optim.SGD(parameters, skip_nonfinite=True, momentum=0.9, **options)


class Folded(nn.Module):
    """A layer inside which the axis of samples has two rows for each sample."""

    def __init__(self, *layers):
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers.forward(x.reshape(2 * len(x), x.shape[1] // 2)).reshape(x.shape)

    def backward(self, dy):
        return self.layers.backward(dy.reshape(2 * len(dy), dy.shape[1] // 2)).reshape(dy.shape)


def model(dtype=np.float64, draws=True, norm=True):
    """A net with the layers that a batch is not simply cut for: batch norms, and layers that draw."""
    noise = [nn.Dropout(0.3), nn.GaussianDropout(0.2), Folded(nn.AlphaDropout(0.1))] if draws else []
    norms = [nn.BatchNorm(8, activation="relu", dtype=dtype)] if norm else []
    return nn.Sequential(
        nn.Linear(FEATURES, 8, rng=0, dtype=dtype),
        *norms,
        *noise,
        nn.Residual(nn.Linear(8, 8, rng=1, dtype=dtype), *[nn.DropPath(0.2)] * draws),
        nn.BatchNorm(8, momentum=None, dtype=dtype),
        nn.LayerNorm(8, dtype=dtype),
        nn.Linear(8, CLASSES, rng=2, dtype=dtype),
    )


def trainer(*called, dtype=np.float64, draws=True, optimizer=None, **options):
    net = model(dtype, draws)
    sgd = (optimizer or optim.SGD)(net, lr=0.1, weight_decay=1e-3, max_grad_norm=1.0)
    loss = losses.CrossEntropy(label_smoothing=0.1)
    loss.metrics["certain"] = metrics.Score(lambda outputs, targets: outputs.max())
    return Trainer(net, loss, sgd, called, **{"rng": 7, **options})


def arrays_of(trained):
    return trained.model.state_dict() | trained.optimizer.state_dict()


class Curve(callbacks.Callback):
    """The loss and the metrics of every batch."""

    def __init__(self):
        self.logs = []

    def on_batch_end(self, trainer, batch, logs):
        self.logs.append([*logs.values()])


def pictures(samples=600):
    """Noisy pictures of 28 x 28 pixels in 7 x 7 squares, of ten kinds."""
    rng = np.random.default_rng(2)
    kinds = rng.random((10, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    y = rng.integers(0, 10, samples)
    x = (kinds[y] + 0.3 * rng.standard_normal((samples, 28, 28))).astype(np.float32)
    return datasets.Dataset(x[100:], y[100:], x[:100], y[:100])


VARIANTS = {  # options of the trainer, arguments of fit
    "plain": ({"draws": False}, {}),
    "draws": ({}, {}),
    "augmented": ({}, {"augment": jitter}),
    "accumulated": ({}, {"accumulate": 2}),
    "weighted": ({}, {"sample_weight": np.arange(SAMPLES) % 3, "class_weight": "balanced"}),
    "adam": ({"optimizer": optim.AdamW}, {}),
    "in order": ({"draws": False}, {"shuffle": False}),
    "skipped": ({}, {"x": with_nan(), "nan": "skip", "augment": jitter}),
    "skipped by the optimizer": ({"optimizer": skipping, "draws": False}, {"x": with_nan()}),
    "tiny batches": ({"draws": False}, {"batch_size": 4}),  # the last of 36 samples
}


def trained(variant, **options):
    """Return a trainer after a variant of the training, with its curve."""
    of_trainer, of_fit = VARIANTS[variant]
    curve = Curve()
    made = trainer(curve, **of_trainer, **options)
    x, y = data()
    made.fit(**{"x": x, "y": y, **ARGUMENTS, **of_fit})
    return made, np.array(curve.logs)


def result(variant, **options):
    made, curve = trained(variant, **options)
    x, y = data()
    return {
        "arrays": arrays_of(made),
        "curve": curve,
        "history": dict(made.history),
        "skipped": made.skipped,
        "rng": made.rng.bit_generator.state,
        "evaluated": made.evaluate(x, y, batch_size=7),
        "predicted": made.predict(x, batch_size=7),
    }
