"""Elementwise nonlinearities: each forward and backward is one call of a kernel."""

from __future__ import annotations

import trimtab._core as kernels
from trimtab import _checks
from trimtab._typing import Array
from trimtab.nn.arguments import as_gradient, as_input
from trimtab.nn.module import Module
from trimtab.nn.options import Option
from trimtab.nn.passes import protect_if_saved


class ReLU(Module):
    """Rectifier, ``y = max(x, 0)`` (Nair and Hinton 2010); its gradient is 0 where y is 0. NaN stays NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> x = np.array([[-1.0, 0.0, 2.0]])
    >>> nn.ReLU()(x)
    array([[0., 0., 2.]])
    """

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x."""
        self.saved = y = kernels.relu(x)
        protect_if_saved(self, y)
        return y

    def backward(self, dy: Array) -> Array:
        """Return ``dx = dy * [y > 0]``."""
        y = self.saved
        return kernels.relu_backward(as_gradient(self, dy, y.shape), y)


class LeakyReLU(Module):
    """Leaky rectifier, ``y = x`` where x > 0, else ``negative_slope * x`` (Maas, Hannun and Ng 2013).

    Parameters
    ----------
    negative_slope : float
        Finite.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> x = np.array([[-1.0, 0.0, 2.0]])
    >>> nn.LeakyReLU(0.1)(x)
    array([[-0.1,  0. ,  2. ]])
    """

    negative_slope = Option(_checks.number)

    def __init__(self, negative_slope: float = 0.05) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x."""
        self.saved = x = as_input(self, x)
        return kernels.leaky_relu(x, self.negative_slope)

    def backward(self, dy: Array) -> Array:
        """Return ``dx = dy`` where x > 0, else ``negative_slope * dy``."""
        x = self.saved
        return kernels.leaky_relu_backward(as_gradient(self, dy, x.shape), x, self.negative_slope)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.negative_slope})"


class Sigmoid(Module):
    """Logistic function, ``y = 1 / (1 + exp(-x))``.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> x = np.array([[-1.0, 0.0, 2.0]])
    >>> nn.Sigmoid()(x).round(4)
    array([[0.2689, 0.5   , 0.8808]])
    """

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x."""
        self.saved = y = kernels.sigmoid(x)
        protect_if_saved(self, y)
        return y

    def backward(self, dy: Array) -> Array:
        """Return ``dx = dy * y * (1 - y)``."""
        y = self.saved
        return kernels.sigmoid_backward(as_gradient(self, dy, y.shape), y)


class Tanh(Module):
    """Hyperbolic tangent.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> x = np.array([[-1.0, 0.0, 2.0]])
    >>> nn.Tanh()(x).round(4)
    array([[-0.7616,  0.    ,  0.964 ]])
    """

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x."""
        self.saved = y = kernels.tanh(x)
        protect_if_saved(self, y)
        return y

    def backward(self, dy: Array) -> Array:
        """Return ``dx = dy * (1 - y**2)``."""
        y = self.saved
        return kernels.tanh_backward(as_gradient(self, dy, y.shape), y)


class SiLU(Module):
    """Sigmoid linear unit, ``y = x / (1 + exp(-x))`` (Elfwing, Uchibe and Doya 2018), also called swish.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> x = np.array([[-1.0, 0.0, 2.0]])
    >>> nn.SiLU()(x).round(4)
    array([[-0.2689,  0.    ,  1.7616]])
    """

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x."""
        self.saved = x = as_input(self, x)
        return kernels.silu(x)

    def backward(self, dy: Array) -> Array:
        """Return ``dx = dy * (p + x * p * (1 - p))`` with ``p = 1 / (1 + exp(-x))``."""
        x = self.saved
        return kernels.silu_backward(as_gradient(self, dy, x.shape), x)


class GELU(Module):
    """Gaussian error linear unit, ``y = x P(x)`` with the normal distribution P (Hendrycks and Gimpel 2016).

    Parameters
    ----------
    approximate : bool
        Whether P is approximated by a logistic function, in the form that others write with tanh.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> x = np.array([[-1.0, 0.0, 2.0]])
    >>> nn.GELU()(x).round(4)
    array([[-0.1587,  0.    ,  1.9545]])
    """

    approximate = Option(_checks.flag)

    def __init__(self, approximate: bool = False) -> None:
        self.approximate = approximate

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x."""
        self.saved = x = as_input(self, x)
        return kernels.gelu(x, self.approximate)

    def backward(self, dy: Array) -> Array:
        """Return ``dx = dy * (P(x) + x * P'(x))``."""
        x = self.saved
        return kernels.gelu_backward(as_gradient(self, dy, x.shape), x, self.approximate)

    def __repr__(self) -> str:
        return f"GELU(approximate={self.approximate})"


class Softmax(Module):
    """Softmax along an axis, ``y = exp(x) / sum(exp(x))``. `losses.CrossEntropy` takes logits without it.

    Parameters
    ----------
    axis : int
        The axis that the sum goes over.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> x = np.array([[-1.0, 0.0, 2.0]])
    >>> nn.Softmax()(x).round(4)
    array([[0.042 , 0.1142, 0.8438]])
    """

    axis = Option(_checks.whole)

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x."""
        self.saved = y = kernels.softmax(x, axis=self.axis)
        protect_if_saved(self, y)
        return y

    def backward(self, dy: Array) -> Array:
        """Return ``dx = y * (dy - sum(dy * y))``."""
        y = self.saved
        return kernels.softmax_backward(as_gradient(self, dy, y.shape), y, axis=self.axis)

    def __repr__(self) -> str:
        return f"Softmax(axis={self.axis})"
