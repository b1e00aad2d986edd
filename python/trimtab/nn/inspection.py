"""`gradcheck` and `gradient_norms`: whether the gradients of a model are right, and how large they are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from trimtab._typing import Array
from trimtab.gradients import gradcheck as check_function
from trimtab.nn.arguments import as_samples
from trimtab.nn.module import Module
from trimtab.nn.passes import recording, unchanged


def gradient_norms(model: Module) -> dict[str, float]:
    """Return the norm of the last gradient of each layer that has parameters, first layer first.

    If gradients vanish or explode, the norms fall or grow from layer to layer.

    Parameters
    ----------
    model : Module
        After a ``backward``.

    Returns
    -------
    dict of str to float
        Norms by dotted path: the root of the sum of squares over all parameters of the layer itself.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU(), nn.Linear(4, 2, rng=1))
    >>> _ = model.backward(np.ones_like(model(np.ones((5, 3), np.float32))))
    >>> list(nn.gradient_norms(model))
    ['0', '2']
    """
    norms: dict[str, float] = {}
    for parameter in model.parameters():
        layer = parameter.name.rpartition(".")[0]
        norms[layer] = math.hypot(norms.get(layer, 0.0), _norm(parameter.grad))
    return norms


def _norm(array: Array) -> float:
    """Euclidean norm in float64, scaled so that squares neither overflow nor underflow."""
    values = np.abs(array.astype(np.float64))
    largest = values.max(initial=0.0)
    if not 0 < largest < np.inf:
        return float(largest)
    return float(largest * np.sqrt(np.square(values / largest).sum()))


def gradcheck(model: Module, x: ArrayLike, *, tolerance: float = 1e-6, step: float = 1e-5) -> bool:
    """Compare the backward of a model with central differences: dx, and the gradient of every parameter.

    Layers that draw repeat their draws in each pass. The model is checked in its own mode, training or
    evaluation, and restored afterwards.

    Parameters
    ----------
    model : Module
        A small model of float64 parameters: each element of x and of the parameters takes two forward passes.
    x : array_like
        An input at which the model is differentiable: not at the kink of a ReLU. Ids stay as they are.
    tolerance, step : float
        As for `trimtab.gradcheck`.

    Returns
    -------
    bool
        True.

    Raises
    ------
    GradientError
        If a gradient is wrong, or not finite. Gradient 0 is dx, unless x are ids; the others follow in the
        order of ``model.parameters()``.
    TypeError
        If a parameter is not float64.
    ValueError
        If a module or parameter stands in two places.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> model = nn.Sequential(nn.Linear(4, 3, rng=0, dtype=np.float64), nn.Tanh())
    >>> nn.gradcheck(model, np.random.default_rng(0).standard_normal((5, 4)))
    True
    """
    parameters = model.parameters()
    for parameter in parameters:
        if parameter.value.dtype != np.float64:
            found = f"{parameter.name} of {parameter.value.dtype}"
            raise TypeError(f"gradcheck: model must have float64 parameters, got {found}")
    state = model.state_dict()

    given = as_samples(model, np.asarray(x))
    has_ids = given.dtype.kind in "iu"

    def forward(*inputs: Array) -> Array:
        x, values = (given, inputs) if has_ids else (inputs[0], inputs[1:])
        model.load_state_dict(state)
        for parameter, value in zip(parameters, values, strict=True):
            parameter.value[...] = value
        return model.use_rng(0).forward(x).copy()

    def backward(dy: Array, *inputs: Array) -> tuple[Array, ...]:
        forward(*inputs)
        dx = model.backward(dy)
        gradients = [parameter.grad.copy() for parameter in parameters]
        return tuple(gradients if has_ids else [dx, *gradients])

    inputs = [parameter.value.copy() for parameter in parameters]
    if not has_ids:
        inputs.insert(0, given.astype(np.float64))
    with unchanged(model), recording(model):
        return check_function(forward, backward, inputs, tolerance=tolerance, step=step)
