"""Layers and models.

==============  =========================================================
module          contents
==============  =========================================================
``module``      `Module`: the protocol of every layer
``parameter``   `Parameter`: what is trained
``passes``      `recording`, `forward_hook`: what surrounds every pass
``options``     options of layers, checked whenever they are set
``widths``      float32 or wider, whatever the storage
``sequential``  `Sequential`, `Residual`
``linear``      `Linear`
``init``        initial weights by name
``conv``        `Conv2d`
``pool``        `MaxPool2d`, `AvgPool2d`, `Flatten`
``activation``  `ReLU`, `LeakyReLU`, `Sigmoid`, `Tanh`
``norm``        `LayerNorm`, `RMSNorm`, `GroupNorm`, `InstanceNorm`
``batch_norm``  `BatchNorm`, with its variants
``whitening``   `Whitening`
``dropout``     `Dropout`, `DropPath`, `AlphaDropout`, `GaussianDropout`
``inspection``  `gradcheck`, `gradient_norms`
``fold``        `fold`: a model for inference
==============  =========================================================
"""

from trimtab.nn.activation import LeakyReLU, ReLU, Sigmoid, Tanh
from trimtab.nn.batch_norm import BatchNorm, Ramp
from trimtab.nn.conv import Conv2d
from trimtab.nn.dropout import AlphaDropout, Dropout, DropPath, GaussianDropout
from trimtab.nn.fold import fold
from trimtab.nn.inspection import gradcheck, gradient_norms
from trimtab.nn.linear import Linear
from trimtab.nn.module import Module, Parameter
from trimtab.nn.norm import GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from trimtab.nn.passes import forward_hook, recording
from trimtab.nn.pool import AvgPool2d, Flatten, MaxPool2d
from trimtab.nn.sequential import Residual, Sequential
from trimtab.nn.whitening import Whitening

__all__ = [
    "AlphaDropout",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "DropPath",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "RMSNorm",
    "Ramp",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "Whitening",
    "fold",
    "forward_hook",
    "gradcheck",
    "gradient_norms",
    "recording",
]
