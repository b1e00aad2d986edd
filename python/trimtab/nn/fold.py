"""`fold`: a copy of a model for inference, with batch norms merged into the layers before them."""

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
    layer is merged into its weight and bias. The copy is in evaluation.

    Parameters
    ----------
    model : Module
        It is not changed.

    Returns
    -------
    Module
        A copy; its outputs are equal up to the rounding of the new weights.

    Raises
    ------
    ValueError
        If a module or parameter of the model stands in two places.

    See Also
    --------
    trimtab.fold_batch_norm : formula and source.

    Notes
    -----
    A batch norm is not merged where outputs could differ: if its axis is not that of the outputs, if it has
    another number of channels, or is of a class of your own. The outputs of a linear layer are along
    ``axis=1`` only in rows (N, C): with a norm of this axis the merged layer is for rows, and arrays of more
    axes go through both layers.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.BatchNorm(3), nn.ReLU()).eval()
    >>> nn.fold(model)
    Sequential(Linear(4, 3), ReLU())
    """
    model.parameters()  # raises if one has two places
    copy = deepcopy(model).eval()
    for _, module in list(copy.modules()):
        if isinstance(module, Sequential) and type(module).forward in IN_ORDER:
            module.layers = tuple(_folded(module.layers))
    return copy.eval()


IN_ORDER = (Sequential.forward, Residual.forward)


class Linear(linear.Linear):
    """A linear layer with a batch norm of axis 1 merged into its weight, which is right for rows (N, C).

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
                f"{self!r}: x must have shape (N, {self.inputs}) because the folded weight has been changed, "
                f"got {np.shape(x)}"
            )
        del self.saved
        return self.unfolded(x)


class _Unfolded:
    """The linear layer and the batch norm; not members of the model, because their weights are merged."""

    def __init__(self, layer: linear.Linear, norm: BatchNorm) -> None:
        self.layer, self.norm = layer, norm

    def __call__(self, x: Array) -> Array:
        return self.norm.forward(self.layer.forward(x))


def _folded(layers: Iterable[Module]) -> list[Module]:
    """The layers, each batch norm merged into the layer before it where outputs are equal."""
    kept: list[Module] = []
    for layer in layers:
        before = kept[-1] if kept else None
        if type(layer) is BatchNorm and _is_normalized_by(before, layer):
            activation, layer.activation = layer.activation, None
            kept[-1] = _merged(before, layer)
            kept += [ReLU()] if activation else []
        else:
            kept.append(layer)
    return kept


def _is_normalized_by(layer: Module | None, norm: BatchNorm) -> TypeGuard[linear.Linear | Conv2d]:
    """Whether a norm is along the outputs of a layer, at least for rows (N, C)."""
    if type(layer) is Conv2d:
        same_axis = norm.axis % 4 == layer.windows.axis % 4
    elif type(layer) is linear.Linear:
        same_axis = norm.axis in (1, -1)
    else:
        return False
    return same_axis and len(norm.running_mean) == layer.outputs


def _merged(layer: linear.Linear | Conv2d, norm: BatchNorm) -> linear.Linear | Conv2d:
    if isinstance(layer, linear.Linear) and norm.axis == 1:
        return Linear(layer, norm)
    layer.weight, layer.bias = _folded_parameters(layer, norm)
    return layer


def _folded_parameters(layer: linear.Linear | Conv2d, norm: BatchNorm) -> tuple[Parameter, Parameter]:
    bias = None if layer.bias is None else layer.bias.value
    folded = kernels.fold_batch_norm(layer.weight.value, bias, *norm.running_moments(), *norm.affine, eps=0.0)
    return Parameter(folded.weight), Parameter(folded.bias, decay=False)
