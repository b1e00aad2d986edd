"""What is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trimtab._checks import shown
from trimtab._inputs import DTYPES, copy_into, real_array
from trimtab._typing import Array

TYPES = "float32, float64, float16 or bfloat16"


def as_float_dtype(dtype: DTypeLike, owner: str = "") -> np.dtype[Any]:
    """Return `dtype` as a numpy dtype, or raise a TypeError unless it is one of those of the kernels."""
    name = f"{owner}: dtype" if owner else "dtype"
    try:
        result = np.dtype(dtype)
    except MemoryError:
        raise
    except Exception as error:  # NumPy looks into whatever it is given
        raise TypeError(f"{name} must be a floating type, got {shown(dtype)}") from error
    if dtype is None or result.name not in DTYPES:
        got = "None" if dtype is None else result
        raise TypeError(f"{name} must be a floating type, got {got} (not {TYPES})")
    return result


class _Copied:
    """An array attribute that stays the same object: what is assigned is copied into it.

    It has no ``__get__``, so that reading is reading the instance's dict.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:

        def __get__(self, parameter: Parameter, owner: type) -> Array: ...

    def __set__(self, parameter: Parameter, given: ArrayLike) -> None:
        array = vars(parameter)[self.name]
        if given is not array:  # as it is in `parameter.value -= step`
            copy_into(array, f"{parameter!r}: {self.name}", given)
        if self.name == "value":
            parameter.loads += 1


ATTRIBUTES = frozenset({"value", "grad", "decay", "loads", "name"})
FREEZING = ": what an optimizer is not given is not trained, optim.SGD([... for p in parameters])"
ADVICE = {"requires_grad": FREEZING, "trainable": FREEZING, "data": ": its array is its value"}


class Parameter:
    """A trainable array together with its gradient.

    Parameters
    ----------
    value : array_like of float
        Initial value; kept as a C-contiguous array of its own.
    decay : bool
        Whether weight decay and L1 apply. Biases and the parameters of norm layers say False.

    Attributes
    ----------
    value, grad : numpy.ndarray
        Same shape and dtype, allocated once: an optimizer holds them. What is assigned is copied in; it has
        the same shape, and any real dtype. ``backward`` overwrites ``grad``, the optimizer updates ``value``
        in place.
    name : str
        Dotted path such as ``"0.weight"`` below the module that listed it last (see `Module.parameters`).
    loads : int
        How often `Module.load_state_dict` or an assignment has replaced the value. What is derived from the
        value and kept, such as an optimizer's master, is refreshed where the count has changed.

    Raises
    ------
    TypeError
        If the value is not floating.
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
        self.loads = 0
        self.name = ""

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.value.shape}, dtype={self.value.dtype})"
