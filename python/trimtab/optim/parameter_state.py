"""What an optimizer keeps for one parameter."""

from __future__ import annotations

import numpy as np

import trimtab._core as kernels
from trimtab._typing import Array
from trimtab.optim.options import Options
from trimtab.optim.parameters import NamedParameter, require_trainable


class ParameterState:
    """A parameter and the arrays that the optimizer keeps for it.

    `master` is the float32 original of a 16-bit value, or None if the options do not ask for it; `buffers`
    are the arrays of the algorithm by name. `rounded_bits` are the bits of the value as last rounded from the
    master.
    """

    def __init__(self, named: NamedParameter, options: Options) -> None:
        self.path, self.parameter = named
        self.decays = self.parameter.decay or options.decay_all
        value = self.parameter.value
        self.shape, self.dtype = value.shape, value.dtype
        has_master = options.masters and value.itemsize == 2
        self.master = value.astype(np.float32) if has_master else None
        self.rounded_bits = _bits(value).copy() if has_master else None
        self.buffers = {name: np.zeros_like(self.weight) for name in options.buffers}

    @property
    def weight(self) -> Array:
        """The array that is updated: the master, or the value itself."""
        return self.parameter.value if self.master is None else self.master

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays that are kept, by name."""
        return self.buffers if self.master is None else self.buffers | {"master": self.master}

    def require_unchanged_form(self, owner: str) -> None:
        """Raise an error that names the parameter unless it is trainable, of the shape and dtype it had."""
        require_trainable(owner, self.path, self.parameter)
        value = self.parameter.value
        if (value.shape, value.dtype) != (self.shape, self.dtype):
            raise ValueError(
                f"{owner}: {self.path} must stay {self.dtype} of shape {self.shape}, "
                f"got {value.dtype} of {value.shape}"
            )

    def refresh_master(self) -> None:
        """Copy into the master what has been written into the value since it was rounded from the master.

        Elements of the master that round to what was written stay: they have been loaded beside the value.
        """
        if self.master is None or self.rounded_bits is None:
            return
        value = self.parameter.value
        if np.array_equal(self.rounded_bits, _bits(value)):
            return
        with np.errstate(over="ignore"):  # a master that was not loaded may be infinite in 16 bits
            rounded = self.master.astype(value.dtype)
        np.copyto(self.master, value, where=_bits(rounded) != _bits(value))
        self.remember_rounded()

    def remember_rounded(self) -> None:
        """Remember the value as rounded from the master."""
        if self.rounded_bits is not None:
            np.copyto(self.rounded_bits, _bits(self.parameter.value))

    def bound_norms(self, limit: float) -> None:
        """Project the weights into each unit onto the ball of radius `limit`."""
        into_a_unit = tuple(range(1, self.weight.ndim))
        kernels.max_norm(self.weight, limit, axis=into_a_unit, out=self.weight)
        if self.master is not None:
            self.parameter.value[...] = self.master


def _bits(array: Array) -> Array:
    """View a 16-bit array as the integers of its bits."""
    return array.view(np.uint16)
