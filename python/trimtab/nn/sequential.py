"""`Sequential`: layers applied in sequence; `Residual`: the same with a shortcut."""

from __future__ import annotations

from typing import Any

from trimtab._checks import shown
from trimtab._typing import Array
from trimtab.nn.arguments import as_input, require_shape
from trimtab.nn.module import Module
from trimtab.nn.tree import Members


class Sequential(Module):
    """Layers applied in sequence: ``y = layer_n(...layer_1(x))``.

    Parameters
    ----------
    *layers : Module
        In the order of application. Each is a child named by its position; the weight of the first one is
        ``"0.weight"``.

    Examples
    --------
    >>> from trimtab import nn
    >>> model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm(32), nn.ReLU(), nn.Linear(32, 10))
    """

    def __init__(self, *layers: Module) -> None:
        for layer in layers:
            if not isinstance(layer, Module):
                raise TypeError(f"{type(self).__name__}: layers must be modules, got {shown(layer)}")
        self.layers = layers
        self.parameters()  # raises if one has two places

    def forward(self, x: Array) -> Array:
        """Return the output of the last layer."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy: Array) -> Any:
        """Pass the gradient through the layers in reverse order, and return dx of the first."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def _members(self) -> Members:
        """The layers, named by position, and the members in other attributes."""
        return {name.removeprefix("layers."): member for name, member in super()._members().items()}

    @property
    def wants_dx(self) -> bool:
        """Whether the layers that take x return dx."""
        return all(layer.wants_dx for layer in self._inlets())

    @wants_dx.setter
    def wants_dx(self, wanted: bool) -> None:
        for layer in self._inlets():
            layer.wants_dx = wanted

    def _inlets(self) -> tuple[Module, ...]:
        """The layers that take x."""
        return self.layers[:1]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Module:
        return self.layers[position]


class Residual(Sequential):
    """Layers with a shortcut (He et al. 2016): ``y = shortcut(x) + layer_n(...layer_1(x))``.

    Parameters
    ----------
    *layers : Module
        In the order of application; the output of the last has the shape of the shortcut's. A `DropPath` at
        the end makes the depth stochastic.
    shortcut : Module, optional
        Gives x the shape of the output, such as a convolution of size 1; by default the shortcut is x itself.
        Its parameters are ``"shortcut.weight"`` and so on.

    Examples
    --------
    >>> from trimtab import nn
    >>> block = nn.Residual(nn.LayerNorm(64), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    >>> wider = nn.Residual(nn.Linear(64, 96), nn.ReLU(), shortcut=nn.Linear(64, 96, bias=False))
    """

    def __init__(self, *layers: Module, shortcut: Module | None = None) -> None:
        if not isinstance(shortcut, Module | None):
            raise TypeError(
                f"{type(self).__name__}: shortcut must be a module or None, got {shown(shortcut)}"
            )
        self.shortcut = shortcut
        super().__init__(*layers)

    def forward(self, x: Array) -> Array:
        """Return the sum of the shortcut and the output of the last layer."""
        x = as_input(self, x)
        branch = super().forward(x)
        kept = x if self.shortcut is None else self.shortcut.forward(x)
        require_shape(self, "output of the last layer", branch, kept.shape)
        return kept + branch

    def backward(self, dy: Array) -> Any:
        """Return the sum of the dx of the shortcut and that of the first layer."""
        dx = super().backward(dy)
        kept = dy if self.shortcut is None else self.shortcut.backward(dy)
        return None if dx is None or kept is None else kept + dx

    def _inlets(self) -> tuple[Module, ...]:
        """The layers that take x."""
        return super()._inlets() + (() if self.shortcut is None else (self.shortcut,))

    def __repr__(self) -> str:
        shortcut = [] if self.shortcut is None else [f"shortcut={self.shortcut!r}"]
        return f"{type(self).__name__}({', '.join([*map(repr, self.layers), *shortcut])})"
