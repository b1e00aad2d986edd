"""Models for inference."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeGuard

import trimtab._core as kernels
from trimtab.nn.activation import ReLU
from trimtab.nn.batch_norm import BatchNorm
from trimtab.nn.conv import Conv2d
from trimtab.nn.linear import Linear
from trimtab.nn.module import Module, Parameter
from trimtab.nn.sequential import Sequential


def fold(model: Module) -> Module:
    """Return a copy of a model for inference, with equal outputs and fewer layers.

    In every `Sequential`, however deep, a batch norm that follows a linear or convolution layer becomes part
    of its weight and bias. The copy is in evaluation mode.

    Parameters
    ----------
    model : Module
        Left as it is.

    Returns
    -------
    Module
        With layers of its own; equal outputs up to the rounding of the new weights.

    See Also
    --------
    trimtab.fold_batch_norm : formula and source.

    Notes
    -----
    A batch norm of another axis than that of the outputs stays. After a linear layer, whose outputs are the
    last axis, ``axis=1`` is taken for it: arrays there are (N, C).
    """
    return _folded(deepcopy(model)).eval()


def _folded(module: Module) -> Module:
    if not isinstance(module, Sequential):
        for name, child in module.children().items():
            setattr(module, name, _folded(child))
        return module
    layers: list[Module] = []
    for layer in map(_folded, module.layers):
        before = layers[-1] if layers else None
        if isinstance(layer, BatchNorm) and _is_normalized_by(before, layer):
            _absorb(before, layer)
            layers += [ReLU()] if layer.activation else []
        else:
            layers.append(layer)
    module.layers = tuple(layers)
    return module


def _is_normalized_by(layer: Module | None, norm: BatchNorm) -> TypeGuard[Linear | Conv2d]:
    if isinstance(layer, Conv2d):
        return norm.axis % 4 == layer.windows.axis % 4
    return isinstance(layer, Linear) and norm.axis in (1, -1)


def _absorb(layer: Linear | Conv2d, norm: BatchNorm) -> None:
    bias = None if layer.bias is None else layer.bias.value
    folded = kernels.fold_batch_norm(layer.weight.value, bias, *norm.running_moments(), *norm.affine, eps=0.0)
    layer.weight = Parameter(folded.weight)
    layer.bias = Parameter(folded.bias, decay=False)
