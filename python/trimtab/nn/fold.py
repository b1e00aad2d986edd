"""Models for inference."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import TypeGuard

import numpy as np

import trimtab._core as kernels
from trimtab._typing import Array
from trimtab.nn import linear
from trimtab.nn.activation import ReLU
from trimtab.nn.batch_norm import BatchNorm
from trimtab.nn.conv import Conv2d
from trimtab.nn.module import Module
from trimtab.nn.parameter import Parameter
from trimtab.nn.sequential import Residual, Sequential


def fold(model: Module) -> Module:
    """Return a copy of a model for inference, with equal outputs and fewer layers.

    In every `Sequential` and `Residual`, however deep, a batch norm that follows a linear or convolution
    layer becomes part of its weight and bias. The copy is in evaluation mode.

    Parameters
    ----------
    model : Module
        Left as it is.

    Returns
    -------
    Module
        With layers of its own; equal outputs up to the rounding of the new weights.

    Raises
    ------
    ValueError
        If a module or parameter of the model stands in two places.

    See Also
    --------
    trimtab.fold_batch_norm : formula and source.

    Notes
    -----
    What may give other outputs stays as it is: a batch norm of another axis than that of the outputs, of
    other channels, or of a class of your own. A linear layer with a norm of ``axis=1``, which is that of its
    outputs in rows (N, C) only, is folded for rows; for arrays of more axes the copy computes both, one after
    the other.
    """
    model.parameters()  # each stands in one place
    copy = deepcopy(model).eval()
    for _, module in list(copy.modules()):
        if isinstance(module, Sequential) and type(module).forward in IN_ORDER:
            module.layers = tuple(_folded(module.layers))
    return copy.eval()


IN_ORDER = (Sequential.forward, Residual.forward)


class Linear(linear.Linear):
    """A linear layer with a batch norm of axis 1 in its weight, which is right for rows.

    Parameters
    ----------
    layer : trimtab.nn.Linear
    norm : BatchNorm
        Without activation.
    """

    def __init__(self, layer: linear.Linear, norm: BatchNorm) -> None:
        self.inputs, self.outputs = layer.inputs, layer.outputs
        self.weight, self.bias = _folded_parameters(layer, norm)
        self.unfolded = _Unfolded(layer, norm)

    def forward(self, x: Array) -> Array:
        """Return y of shape (..., outputs) for x of shape (..., inputs)."""
        if np.ndim(x) == 2:
            return super().forward(x)
        if any(parameter.assignments for parameter in self.parameters()):
            raise ValueError(
                f"{self!r}: x must have shape (N, {self.inputs}) since what is folded into the weight "
                f"has been changed, got {np.shape(x)}"
            )
        del self.saved
        return self.unfolded(x)


class _Unfolded:
    """A linear layer and its batch norm: no members of the model, since its weights are theirs already."""

    def __init__(self, layer: linear.Linear, norm: BatchNorm) -> None:
        self.layer, self.norm = layer, norm

    def __call__(self, x: Array) -> Array:
        return self.norm.forward(self.layer.forward(x))


def _folded(layers: Iterable[Module]) -> list[Module]:
    """The layers with every batch norm in the one before it, where that is right."""
    kept: list[Module] = []
    for layer in layers:
        before = kept[-1] if kept else None
        if type(layer) is BatchNorm and _is_normalized_by(before, layer):
            activation, layer.activation = layer.activation, None
            kept[-1] = _in_one(before, layer)
            kept += [ReLU()] if activation else []
        else:
            kept.append(layer)
    return kept


def _is_normalized_by(layer: Module | None, norm: BatchNorm) -> TypeGuard[linear.Linear | Conv2d]:
    """Whether a norm is of the outputs of a layer, for rows at least."""
    if type(layer) is Conv2d:
        same_axis = norm.axis % 4 == layer.windows.axis % 4
    elif type(layer) is linear.Linear:
        same_axis = norm.axis in (1, -1)
    else:
        return False
    return same_axis and len(norm.running_mean) == layer.outputs


def _in_one(layer: linear.Linear | Conv2d, norm: BatchNorm) -> linear.Linear | Conv2d:
    if isinstance(layer, linear.Linear) and norm.axis == 1:
        return Linear(layer, norm)
    layer.weight, layer.bias = _folded_parameters(layer, norm)
    return layer


def _folded_parameters(layer: linear.Linear | Conv2d, norm: BatchNorm) -> tuple[Parameter, Parameter]:
    bias = None if layer.bias is None else layer.bias.value
    folded = kernels.fold_batch_norm(layer.weight.value, bias, *norm.running_moments(), *norm.affine, eps=0.0)
    return Parameter(folded.weight), Parameter(folded.bias, decay=False)
