"""Elementwise nonlinearities."""

from __future__ import annotations

import numpy as np

from trimtab._typing import Array
from trimtab.nn.module import Module, require_shape


class ReLU(Module):
    """Rectifier, ``y = max(x, 0)``; its gradient is 0 where y is 0. NaN stays NaN."""

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x."""
        y: Array = np.maximum(x, 0)
        self.saved = y
        return y

    def backward(self, dy: Array) -> Array:
        """Return ``dx = dy * [y > 0]``."""
        y = self.saved
        require_shape(self, "dy", dy, y.shape)
        dx: Array = dy * (y > 0)
        return dx
