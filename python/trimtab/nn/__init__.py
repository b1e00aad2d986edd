"""Layers and models.

==============  =========================================================
module          contents
==============  =========================================================
``module``      `Module` and `Parameter`: the protocol of every layer
``sequential``  `Sequential`
``linear``      `Linear`
``activation``  `ReLU`
``norm``        `BatchNorm`, `LayerNorm`
==============  =========================================================
"""

from trimtab.nn.activation import ReLU
from trimtab.nn.linear import Linear
from trimtab.nn.module import Module, Parameter
from trimtab.nn.norm import BatchNorm, LayerNorm
from trimtab.nn.sequential import Sequential

__all__ = ["BatchNorm", "LayerNorm", "Linear", "Module", "Parameter", "ReLU", "Sequential"]
