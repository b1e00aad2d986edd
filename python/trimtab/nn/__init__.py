"""Layers and models.

==============  =========================================================
module          contents
==============  =========================================================
``module``      `Module` and `Parameter`: the protocol of every layer
``sequential``  `Sequential`
``linear``      `Linear`
``init``        initial weights by name
``activation``  `ReLU`, `LeakyReLU`, `Sigmoid`, `Tanh`
``norm``        `LayerNorm`, `GroupNorm`, `InstanceNorm`
``batch_norm``  `BatchNorm`, with its variants
``whitening``   `Whitening`
``dropout``     `Dropout`, `DropPath`, `AlphaDropout`, `GaussianDropout`
``fold``        `fold`: a model for inference
==============  =========================================================
"""

from trimtab.nn.activation import LeakyReLU, ReLU, Sigmoid, Tanh
from trimtab.nn.batch_norm import BatchNorm, Ramp
from trimtab.nn.dropout import AlphaDropout, Dropout, DropPath, GaussianDropout
from trimtab.nn.fold import fold
from trimtab.nn.linear import Linear
from trimtab.nn.module import Module, Parameter
from trimtab.nn.norm import GroupNorm, InstanceNorm, LayerNorm
from trimtab.nn.sequential import Sequential
from trimtab.nn.whitening import Whitening

__all__ = [
    "AlphaDropout",
    "BatchNorm",
    "DropPath",
    "Dropout",
    "GaussianDropout",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Module",
    "Parameter",
    "Ramp",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "Whitening",
    "fold",
]
