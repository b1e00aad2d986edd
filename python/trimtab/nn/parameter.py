"""`Parameter`: an array that is trained, with its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab._inputs import copy_into, real_array
from trimtab._typing import Array
from trimtab.nn.dtypes import as_float_dtype


class _Copied:
    """An array attribute that stays the same object: an assigned value is copied into it.

    Without ``__get__``, reading the attribute is reading the instance's dict.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:

        def __get__(self, parameter: Parameter, owner: type) -> Array: ...

    def __set__(self, parameter: Parameter, given: ArrayLike) -> None:
        array = vars(parameter)[self.name]
        if given is not array:  # after `parameter.value -= step` it is
            copy_into(array, f"{parameter!r}: {self.name}", given)
        if self.name == "value":
            parameter.assignments += 1


ATTRIBUTES = frozenset({"value", "grad", "decay", "assignments", "name"})
# Attributes of other libraries' parameters, and what takes their place here
FREEZING = ": what an optimizer is not given is not trained, optim.SGD([... for p in parameters])"
ADVICE = {"requires_grad": FREEZING, "trainable": FREEZING, "data": ": its array is its value"}


class Parameter:
    """A trainable array together with its gradient.

    Parameters
    ----------
    value : array_like of float
        Initial value; copied to a C-contiguous array.
    decay : bool
        Whether weight decay and L1 apply; False for biases and the parameters of norm layers.

    Attributes
    ----------
    value, grad : numpy.ndarray
        Same shape and dtype, allocated once, because optimizers hold them. An assigned array is copied in; it
        has the same shape, and any real dtype. ``backward`` overwrites ``grad``, the optimizer updates
        ``value`` in place.
    name : str
        Dotted path such as ``"0.weight"`` below the module that listed it last (see `Module.parameters`).
    assignments : int
        How often `Module.load_state_dict` or an assignment has replaced the value.

    Raises
    ------
    TypeError
        If the dtype is not floating.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> parameter = nn.Parameter(np.ones(3))
    >>> parameter.grad = [0.1, 0.2, 0.3]
    >>> parameter.value -= parameter.grad
    >>> parameter.value
    array([0.9, 0.8, 0.7])
    """

    value = _Copied()
    grad = _Copied()

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ATTRIBUTES:
            raise AttributeError(f"{self!r} has no attribute {name!r}{ADVICE.get(name, '')}")
        object.__setattr__(self, name, value)

    def __init__(self, value: ArrayLike, *, decay: bool = True) -> None:
        given = real_array("Parameter: value", value)
        array: Array = np.array(given, as_float_dtype(given.dtype, "Parameter"), order="C")
        vars(self).update(value=array, grad=np.zeros_like(array))
        self.decay = decay
        self.assignments = 0
        self.name = ""

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.value.shape}, dtype={self.value.dtype})"
