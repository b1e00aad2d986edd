"""Layers and models.

==========================  =================================================================================
module                      contents
==========================  =================================================================================
``module``                  `Module`: the protocol of every layer
``parameter``               `Parameter`: an array that is trained, with its gradient
``tree``                    where the modules and parameters of a model are found
``state``                   copying a saved state into arrays
``passes``                  what happens around every forward and backward: `recording`, `forward_hook`
``summary``                 the table of layers
``arguments``               arguments of forward and backward, checked
``options``                 options of layers, checked whenever they are set
``dtypes``                  dtypes of parameters, and of arithmetic in NumPy
``sequential``              `Sequential`, `Residual`
``linear``                  `Linear`
``init``                    initial weights by name
``embedding``               `Embedding`
``conv``                    `Conv2d`
``pool``                    `MaxPool2d`, `AvgPool2d`, `Flatten`
``windows``                 kernel sizes, strides and padding of convolution and pooling
``activation``              `ReLU`, `LeakyReLU`, `GELU`, `SiLU`, `Sigmoid`, `Tanh`, `Softmax`
``norm``                    `LayerNorm`, `RMSNorm`, `GroupNorm`, `InstanceNorm`
``batch_norm``              `BatchNorm`, with its variants
``batch_statistics``        the statistics that a pass of `BatchNorm` uses
``synchronized_statistics`` those of a batch whose parts are on several ranks
``whitening``               `Whitening`
``dropout``                 `Dropout`, `DropPath`, `AlphaDropout`, `GaussianDropout`
``inspection``              `gradcheck`, `gradient_norms`
``population_statistics``   `update_batch_norm`
``fold``                    `fold`: a model for inference
==========================  =================================================================================
"""

from trimtab.nn.activation import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from trimtab.nn.batch_norm import BatchNorm, Ramp
from trimtab.nn.conv import Conv2d
from trimtab.nn.dropout import AlphaDropout, Dropout, DropPath, GaussianDropout
from trimtab.nn.embedding import Embedding
from trimtab.nn.fold import fold
from trimtab.nn.inspection import gradcheck, gradient_norms
from trimtab.nn.linear import Linear
from trimtab.nn.module import Module
from trimtab.nn.norm import GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from trimtab.nn.parameter import Parameter
from trimtab.nn.passes import forward_hook, recording
from trimtab.nn.pool import AvgPool2d, Flatten, MaxPool2d
from trimtab.nn.population_statistics import update_batch_norm
from trimtab.nn.sequential import Residual, Sequential
from trimtab.nn.whitening import Whitening

__all__ = [
    "GELU",
    "AlphaDropout",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "DropPath",
    "Dropout",
    "Embedding",
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
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Whitening",
    "fold",
    "forward_hook",
    "gradcheck",
    "gradient_norms",
    "recording",
    "update_batch_norm",
]
