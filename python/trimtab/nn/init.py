"""Initial weights by name.

A weight of shape (outputs, inputs, ...) has ``fan_in = inputs * ...`` values that go into each output and
``fan_out = outputs * ...`` that go out from each input.

==============  ============================================  ===============  ====================
name            values                                        default gain     source
==============  ============================================  ===============  ====================
``he``          normal, sd ``gain / sqrt(fan_in)``            sqrt(2)          He et al. 2015
``xavier``      normal, sd ``gain * sqrt(2 / (fan_in +        1                Glorot and Bengio
                fan_out))``                                                    2010
``orthogonal``  ``gain`` times orthonormal rows, or columns   1                Saxe, McClelland and
                if there are fewer columns than rows                           Ganguli 2014
``normal``      normal, sd ``gain``                           0.01
==============  ============================================  ===============  ====================

A gain of sqrt(2) keeps the scale of activations through layers of ReLU, 1 through linear ones.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Any, Literal, TypeAlias

import numpy as np

from trimtab import _checks
from trimtab._inputs import as_generator
from trimtab._typing import Array, Seed
from trimtab.nn.options import require_addressable

Init: TypeAlias = Literal["he", "xavier", "orthogonal", "normal"]

DEFAULT_GAINS: dict[str, float] = {"he": sqrt(2), "xavier": 1.0, "orthogonal": 1.0, "normal": 0.01}


def initial_weight(
    layer: str, shape: tuple[int, ...], init: str, gain: float | None, rng: Seed, dtype: np.dtype[Any]
) -> Array:
    """Draw the weight of a layer.

    Parameters
    ----------
    layer : str
        The class of the layer, for error messages.
    shape : tuple of int
        (outputs, inputs, ...)
    init : str
        A name of the table above.
    gain : float or None
        None: the default of `init`.
    rng : int, numpy.random.Generator or None
        Source of the values.
    dtype : numpy.dtype
        Of the result; values are drawn in float64.
    """
    if not isinstance(init, str) or init not in DEFAULT_GAINS:
        raise ValueError(
            f"{layer}: init must be one of {', '.join(DEFAULT_GAINS)}, got {_checks.shown(init)}"
        )
    require_addressable(layer, shape)
    scale = DEFAULT_GAINS[init] if gain is None else _checks.number(f"{layer}: gain", gain)
    fan_in, fan_out = prod(shape[1:]), shape[0] * prod(shape[2:])
    draws = as_generator(f"{layer}: rng", rng).standard_normal((shape[0], fan_in))
    if init == "he":
        draws *= scale / np.sqrt(fan_in)
    elif init == "xavier":
        draws *= scale * np.sqrt(2 / (fan_in + fan_out))
    elif init == "normal":
        draws *= scale
    else:
        draws = scale * _orthonormal(draws)
    return draws.reshape(shape).astype(dtype)


def _orthonormal(draws: Array) -> Array:
    """Uniformly distributed orthonormal rows or columns, from independent normal numbers (Mezzadri 2007)."""
    tall = draws if len(draws) >= draws.shape[1] else draws.T
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diagonal(r) < 0, -1, 1)
    return q if tall is draws else q.T
