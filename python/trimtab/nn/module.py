"""`Module`: the protocol of every layer and every model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from trimtab._inputs import as_generator, copy_into
from trimtab._typing import Array, Seed
from trimtab.nn.parameter import FREEZING, Parameter
from trimtab.nn.passes import Mode, Rng, Saved, save, wrap_methods
from trimtab.nn.state import copy_state
from trimtab.nn.summary import summary
from trimtab.nn.tree import Tree

__all__ = ["Module", "Parameter"]

# Attributes of other libraries' layers that would have no effect here
SPREADS = {"running_var", "running_std"}  # buffers that are never negative
ADVICE = {"requires_grad": FREEZING, "trainable": FREEZING}


class Module(Tree):
    """A layer, or a model made of layers.

    A layer is a class with two methods. ``forward(x)`` returns y and saves what ``backward`` needs as
    ``self.saved``. ``backward(dy)`` takes the gradient of the loss with respect to y, writes the gradients of
    the layer's own parameters into their ``grad``, and returns dx, the gradient with respect to x.

    - A `Parameter` in an attribute is trained. Its ``grad`` is overwritten, never accumulated, so each module
      and parameter has one place in a model, which is checked, and runs once per step. An array that is
      assigned to the attribute is copied into the value of the parameter.
    - A `Module` in an attribute is part of the model. Lists, tuples and dicts may hold modules and
      parameters, nested to any depth: ``self.blocks = [...]`` has the names ``"blocks.0"`` and so on.
    - An array that belongs to the state but is not trained, such as a running mean, is a buffer: an attribute
      whose name is in the attribute ``buffer_names``. It is updated in place; an assigned array is copied in.
    - ``self.training`` is True in training and False in evaluation. A model in evaluation saves nothing, so
      that several threads can run it; a layer in evaluation inside a model that trains does. ``backward``
      follows a ``forward`` in training, or one within `recording`, and removes what that has saved.
    - ``self.rng`` is the generator of a layer that draws in ``forward``; a trainer sets it in all layers.
      Such a layer has the class attribute ``draws = True``.
    - A layer whose input is integer ids has the class attribute ``takes_ids = True``.
    - ``self.wants_dx`` is False where the dx of this layer is not used; ``backward`` may then return None.

    Examples
    --------
    A layer that multiplies each of its features by a learned factor:

    >>> import numpy as np
    >>> from trimtab import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self, features):
    ...         self.factor = nn.Parameter(np.ones(features, np.float32))
    ...
    ...     def forward(self, x):
    ...         self.saved = x
    ...         return x * self.factor.value
    ...
    ...     def backward(self, dy):
    ...         x = self.saved
    ...         np.sum(dy * x, axis=0, out=self.factor.grad)
    ...         return dy * self.factor.value
    >>> model = nn.Sequential(nn.Linear(4, 3), Scale(3))
    >>> [parameter.name for parameter in model.parameters()]
    ['0.weight', '0.bias', '1.factor']
    """

    draws: ClassVar[bool] = False
    takes_ids: ClassVar[bool] = False
    training = Mode()
    rng = Rng()
    saved = Saved()
    # left out of copies and pickles
    transient_names: ClassVar[frozenset[str]] = frozenset({"saved", "wants_dx"})
    wants_dx: bool = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        wrap_methods(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "saved":  # every forward sets it; through the descriptor it takes twice the time
            save(self, value)
            return
        current = self.__dict__.get(name)
        if type(current) is Parameter and not isinstance(value, Parameter | None):
            current.value = value
        elif type(current) is np.ndarray and value is not current and name in self.buffer_names:
            copy_into(current, f"{self!r}: {name}", value)
        else:
            if name in ADVICE and not hasattr(type(self), name):
                raise AttributeError(f"{self!r} has no attribute {name!r}{ADVICE[name]}")
            object.__setattr__(self, name, value)
            if type(value) is Parameter:
                value.name = value.name or name

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in list(vars(self).items()) if name not in self.transient_names}

    def forward(self, x: Array) -> Array:
        """Return y for the input x."""
        raise NotImplementedError(f"{self!r}: forward is not defined")

    def backward(self, dy: Array) -> Any:
        """Write the gradients of the parameters and return dx, an array of x's shape."""
        raise NotImplementedError(f"{self!r}: backward is not defined")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below it to training (``mode=False``: to evaluation); return it."""
        for _, module in self.modules():
            module.training = mode
        return self

    def eval(self, *, dropout: bool = False) -> Self:
        """Switch this module and all below it to evaluation; return it.

        With ``dropout=True`` the layers that draw stay in training: each forward samples another net, while
        batch norms use their running statistics.
        """
        for _, module in self.modules():
            module.training = dropout and module.draws
        return self

    def use_rng(self, rng: Seed) -> Self:
        """Let this module and all below it draw from one generator; return the module."""
        generator = as_generator("use_rng: rng", rng)
        for _, module in self.modules():
            module.rng = generator
        return self

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers, by dotted path."""
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Copy the arrays of `state` into the parameters and buffers.

        Parameters
        ----------
        state : mapping of str to array_like
            The names and shapes of `state_dict`. Other float dtypes are converted.

        Raises
        ------
        ValueError
            If arrays are missing, extra or misshapen, the message lists all of them. If a running variance or
            standard deviation is negative. Nothing is changed.
        TypeError
            If an array is not real; nothing is changed.
        """
        own = self._state()
        spreads = [name for name in own if name.rpartition(".")[2] in SPREADS]
        copy_state(own, state, "the model", not_negative=spreads)
        for parameter in self.parameters():
            parameter.assignments += 1

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """Return a table of the layers: the shape of their output for one sample, their parameters.

        Parameters
        ----------
        input_shape : int or sequence of int
            Shape of one sample, without the axis of the samples. The other shapes come from a forward pass in
            evaluation.

        Examples
        --------
        >>> from trimtab import nn
        >>> print(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).summary((4,)))
        layer  description   output  parameters
        0      Linear(4, 8)  (8,)            40
        1      ReLU()        (8,)             0
        2      Linear(8, 3)  (3,)            27
        total                                67
        """
        return summary(self, input_shape)

    def _state(self) -> dict[str, Array]:
        return {parameter.name: parameter.value for parameter in self.parameters()} | self.buffers()
