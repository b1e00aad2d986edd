"""Dropout layers: noise while training, nothing (or the mean of the noise) in evaluation.

Each draws from ``self.rng``, which `Module.use_rng` or a trainer sets; if it is not set, from the system's
entropy. ``model.eval(dropout=True)`` keeps the noise in evaluation: each forward pass is one of a net that is
sampled at random (Gal and Ghahramani 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import trimtab._core as kernels
from trimtab import _checks
from trimtab._typing import Array
from trimtab.distributed import part as parts
from trimtab.nn.arguments import as_gradient, as_input
from trimtab.nn.dtypes import compute_dtype
from trimtab.nn.module import Module
from trimtab.nn.options import Option, sizes


class Noise(Module):
    """Base of the dropout layers: ``drop`` and ``drop_backward`` in training, ``mean * x`` in evaluation.

    Parameters
    ----------
    p : float
        Probability of dropping an element. May be set at any time.
    """

    draws = True
    p = Option(_checks.number, 0, 1)

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    @property
    def mean(self) -> float:
        """Mean of the factor that training applies to an element."""
        return 1.0

    def drop(self, x: Array) -> tuple[Array, Any]:
        """Return y, and the mask or noise, for `drop_backward`."""
        raise NotImplementedError(f"{self!r}: drop is not defined")

    def drop_backward(self, dy: Array, drawn: Any) -> Array:
        """Return dx."""
        raise NotImplementedError(f"{self!r}: drop_backward is not defined")

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x."""
        x = as_input(self, x)
        if not self.training:
            self.saved = x.shape, None, None
            return self._expected(x)
        part = parts.current()
        rows = None if part is None else part.rows
        if rows is None:
            y, drawn = self.drop(x)
        else:  # as for the whole batch, so that it does not matter how it is cut
            whole, drawn = self.drop(rows.widened(x))
            y = rows.narrowed(whole, x)
        self.saved = x.shape, drawn, rows
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx, with the mask or noise of the last forward."""
        shape: tuple[int, ...]
        rows: parts.Rows | None
        shape, drawn, rows = self.saved
        dy = as_gradient(self, dy, shape)
        if drawn is None:
            return self._expected(dy)
        if rows is None:
            return self.drop_backward(dy, drawn)
        return rows.narrowed(self.drop_backward(rows.widened(dy), drawn), dy)

    def _expected(self, x: Array) -> Array:
        if self.mean == 1:
            return x
        return np.multiply(x, self.mean, dtype=compute_dtype(x)).astype(x.dtype, copy=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.p})"


class Dropout(Noise):
    """Dropout (Srivastava et al. 2014): each element is dropped, that is set to 0, with probability p.

    In training, kept elements are multiplied by ``1 / (1 - p)``; evaluation changes nothing. In the classical
    form training leaves them as they are, and evaluation multiplies by ``1 - p``.

    Parameters
    ----------
    p : float
        Probability of dropping, from 0 to 1.
    classical : bool
        Whether the scale is applied in evaluation rather than in training.
    shared_axes : int or sequence of int
        Axes along which elements share one decision: (2, 3) drops whole channels of (N, C, H, W) (Tompson et
        al. 2015).

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> layer = nn.Dropout(0.5).use_rng(0)
    >>> x = np.ones((1, 8), np.float32)
    >>> layer(x)
    array([[0., 2., 0., 2., 0., 2., 0., 2.]], dtype=float32)
    >>> layer.eval()(x)
    array([[1., 1., 1., 1., 1., 1., 1., 1.]], dtype=float32)
    """

    def __init__(
        self, p: float = 0.5, *, classical: bool = False, shared_axes: int | Sequence[int] = ()
    ) -> None:
        super().__init__(p)
        inverted = not _checks.flag("Dropout: classical", classical)
        axes = sizes("Dropout: shared_axes", shared_axes, _checks.whole)
        self.options: dict[str, Any] = {"inverted": inverted, "shared_axes": axes}

    @property
    def mean(self) -> float:
        """Mean of the factor that training applies to an element."""
        return 1.0 if self.options["inverted"] else 1 - self.p

    def drop(self, x: Array) -> tuple[Array, Any]:
        """Return y and the mask."""
        return kernels.dropout_forward(x, self.p, rng=self.rng, **self.options)

    def drop_backward(self, dy: Array, drawn: Any) -> Array:
        """Return dx, which is 0 at the elements that were dropped."""
        return kernels.dropout_backward(dy, drawn, self.p, **self.options)


class DropPath(Noise):
    """Stochastic depth (Huang et al. 2016): dropout of whole samples, for the branch of a `Residual`.

    Parameters
    ----------
    p : float
        Probability of dropping, from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> nn.DropPath(0.5).use_rng(0)(np.ones((4, 2), np.float32))
    array([[0., 0.],
           [2., 2.],
           [0., 0.],
           [2., 2.]], dtype=float32)
    """

    def drop(self, x: Array) -> tuple[Array, Any]:
        """Return y and the mask, a bit for each sample."""
        return kernels.drop_path_forward(x, self.p, rng=self.rng)

    def drop_backward(self, dy: Array, drawn: Any) -> Array:
        """Return dx, which is 0 in the samples that were dropped."""
        return kernels.drop_path_backward(dy, drawn, self.p)


class AlphaDropout(Noise):
    """Dropout for self-normalizing nets (Klambauer et al. 2017): keeps mean 0 and variance 1.

    Dropped elements become -1.7581, the limit of SELU; then all elements are scaled and shifted.

    Parameters
    ----------
    p : float
        Probability of dropping, ``0 <= p < 1``.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> y = nn.AlphaDropout(0.2).use_rng(0)(np.random.default_rng(0).standard_normal(100_000))
    >>> bool(abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02)
    True
    """

    p = Option(_checks.number, 0, below=1)

    def drop(self, x: Array) -> tuple[Array, Any]:
        """Return y and the mask."""
        return kernels.alpha_dropout_forward(x, self.p, rng=self.rng)

    def drop_backward(self, dy: Array, drawn: Any) -> Array:
        """Return dx, which is 0 at the elements that were dropped."""
        return kernels.alpha_dropout_backward(dy, drawn, self.p)


class GaussianDropout(Noise):
    """Multiplication by normal noise of mean 1 and variance ``p / (1 - p)`` (Srivastava et al. 2014).

    Parameters
    ----------
    p : float
        ``0 <= p < 1``; the noise has the mean and variance of the factors of dropout.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> y = nn.GaussianDropout(0.2).use_rng(0)(np.ones(100_000))
    >>> bool(abs(y.mean() - 1) < 0.01 and abs(y.var() - 0.25) < 0.01)
    True
    """

    p = Option(_checks.number, 0, below=1)

    def drop(self, x: Array) -> tuple[Array, Any]:
        """Return y and the noise."""
        return kernels.gaussian_dropout_forward(x, self.p, rng=self.rng)

    def drop_backward(self, dy: Array, drawn: Any) -> Array:
        """Return ``dx = dy * noise``."""
        return kernels.gaussian_dropout_backward(dy, drawn)
