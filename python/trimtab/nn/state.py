"""Copying a saved state into arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from numpy.typing import ArrayLike

from trimtab._inputs import as_array, require_castable, require_state
from trimtab._typing import Array


def copy_state(
    own: Mapping[str, Array], state: Mapping[str, ArrayLike], owner: str, not_negative: Collection[str] = ()
) -> None:
    """Copy the arrays of `state` into those of the same names in `own`; raise as `Module.load_state_dict`.

    Everything is checked before the first array is written. `owner` is for the message. A negative value in
    an array whose name is in `not_negative` is an error: roots are taken of such arrays.
    """
    require_state(state)
    given = {name: as_array(f"load_state_dict: {name}", array) for name, array in state.items()}
    shared = own.keys() & given.keys()
    faults = {
        "missing": [name for name in own if name not in given],
        "extra": [name for name in given if name not in own],
        "misshapen": [
            f"{name} {given[name].shape} instead of {array.shape}"
            for name, array in own.items()
            if name in shared and given[name].shape != array.shape
        ],
    }
    if any(faults.values()):
        listing = "; ".join(
            f"{kind}: {', '.join(map(str, names))}" for kind, names in faults.items() if names
        )
        raise ValueError(f"load_state_dict: state must have the arrays of {owner}, got {listing}")
    for name, array in own.items():
        require_castable(f"load_state_dict: {name}", given[name], array)
    # All are converted before any is replaced: one may be the array of another, and a conversion may fail
    converted = {name: given[name].astype(array.dtype) for name, array in own.items()}
    for name in not_negative:
        negative = converted[name][converted[name] < 0]
        if negative.size:
            raise ValueError(f"load_state_dict: {name} must be >= 0, got {negative[0]}")
    for name, array in own.items():
        array[...] = converted[name]
