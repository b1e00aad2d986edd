"""Layers and models.

==============  =========================================================
module          contents
==============  =========================================================
``module``      `Module` and `Parameter`: the protocol of every layer
``sequential``  `Sequential`
``linear``      `Linear`
``init``        initial weights by name
``activation``  `ReLU`, `LeakyReLU`, `Sigmoid`, `Tanh`
``norm``        `BatchNorm`, `LayerNorm`
``dropout``     `Dropout`, `DropPath`, `AlphaDropout`, `GaussianDropout`
==============  =========================================================
"""

from trimtab.nn.activation import LeakyReLU, ReLU, Sigmoid, Tanh
from trimtab.nn.dropout import AlphaDropout, Dropout, DropPath, GaussianDropout
from trimtab.nn.linear import Linear
from trimtab.nn.module import Module, Parameter
from trimtab.nn.norm import BatchNorm, LayerNorm
from trimtab.nn.sequential import Sequential

__all__ = [
    "AlphaDropout",
    "BatchNorm",
    "DropPath",
    "Dropout",
    "GaussianDropout",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
]
