"""Every layer by name: a function of its dtype that makes it, and the shape of a batch for it."""

import numpy as np
from trimtab import nn

f64 = np.float64

LAYERS = {
    "Linear": (lambda dtype=f64: nn.Linear(4, 4, rng=0, dtype=dtype), (6, 4)),
    "Conv2d": (lambda dtype=f64: nn.Conv2d(4, 2, 2, rng=0, dtype=dtype), (6, 4, 3, 3)),
    "MaxPool2d": (lambda dtype=f64: nn.MaxPool2d(2), (6, 4, 4, 4)),
    "AvgPool2d": (lambda dtype=f64: nn.AvgPool2d(2, 1, 1), (6, 4, 4, 4)),
    "Flatten": (lambda dtype=f64: nn.Flatten(), (6, 4, 2)),
    "ReLU": (lambda dtype=f64: nn.ReLU(), (6, 4)),
    "LeakyReLU": (lambda dtype=f64: nn.LeakyReLU(), (6, 4)),
    "Sigmoid": (lambda dtype=f64: nn.Sigmoid(), (6, 4)),
    "Tanh": (lambda dtype=f64: nn.Tanh(), (6, 4)),
    "SiLU": (lambda dtype=f64: nn.SiLU(), (6, 4)),
    "GELU": (lambda dtype=f64: nn.GELU(), (6, 4)),
    "approximate GELU": (lambda dtype=f64: nn.GELU(approximate=True), (6, 4)),
    "Softmax": (lambda dtype=f64: nn.Softmax(), (6, 4)),
    "Softmax of channels": (lambda dtype=f64: nn.Softmax(axis=1), (2, 3, 4)),
    "BatchNorm": (lambda dtype=f64: nn.BatchNorm(4, activation="relu", dtype=dtype), (6, 4)),
    "renorm": (lambda dtype=f64: nn.BatchNorm(4, renorm=True, dtype=dtype), (6, 4)),
    "LayerNorm": (lambda dtype=f64: nn.LayerNorm(4, dtype=dtype), (6, 4)),
    "RMSNorm": (lambda dtype=f64: nn.RMSNorm(4, dtype=dtype), (6, 4)),
    "GroupNorm": (lambda dtype=f64: nn.GroupNorm(2, 4, dtype=dtype), (6, 4, 3)),
    "InstanceNorm": (lambda dtype=f64: nn.InstanceNorm(4, dtype=dtype), (6, 4, 3)),
    "Whitening": (lambda dtype=f64: nn.Whitening(4, eps=0.1, dtype=dtype), (9, 4)),
    "Dropout": (lambda dtype=f64: nn.Dropout(), (6, 4)),
    "DropPath": (lambda dtype=f64: nn.DropPath(), (6, 4)),
    "AlphaDropout": (lambda dtype=f64: nn.AlphaDropout(), (6, 4)),
    "GaussianDropout": (lambda dtype=f64: nn.GaussianDropout(), (6, 4)),
    "Sequential": (
        lambda dtype=f64: nn.Sequential(nn.Dropout(), nn.Linear(4, 4, rng=0, dtype=dtype)),
        (6, 4),
    ),
    "Residual": (
        lambda dtype=f64: nn.Residual(nn.Linear(4, 4, rng=0, dtype=dtype), nn.DropPath()),
        (6, 4),
    ),
}


def trained(layer, *batches):
    """The layer after some batches of training, with parameters other than the initial ones."""
    rng = np.random.default_rng(5)
    for parameter in layer.parameters():
        parameter.value[...] = rng.uniform(0.5, 2, parameter.value.shape)
    for batch in batches:
        layer.train()(batch)
    return layer
