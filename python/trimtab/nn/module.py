"""The protocol that every layer and every model follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trimtab._typing import Array, Seed


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
        Same shape and dtype, allocated once. ``backward`` overwrites ``grad``, the optimizer updates
        ``value`` in place.
    name : str
        Dotted path such as ``"0.weight"`` below the module that listed it last (see `Module.parameters`).
    loads : int
        How often `Module.load_state_dict` has replaced the value. What is derived from the value and kept,
        such as an optimizer's master, is refreshed where the count has changed.
    """

    __slots__ = ("decay", "grad", "loads", "name", "value")

    def __init__(self, value: ArrayLike, *, decay: bool = True) -> None:
        self.value: Array = np.array(value, order="C")
        self.grad: Array = np.zeros_like(self.value)
        self.decay = decay
        self.loads = 0
        self.name = ""

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.value.shape}, dtype={self.value.dtype})"


class Module:
    """A layer, or a model made of layers.

    A layer is a class with two methods. ``forward(x)`` returns y and keeps in ``self.saved`` whatever
    ``backward`` will need; ``backward(dy)`` takes the gradient of the loss with respect to y, writes the
    gradients of the layer's own parameters into their ``grad``, and returns dx, the gradient with respect to
    x.

    - A `Parameter` assigned to an attribute is trained. Its ``grad`` is overwritten, never accumulated, so a
      module stands in one place of a model and runs once per step.
    - A `Module` assigned to an attribute is part of the model.
    - An array that belongs to the state but is not trained, such as a running mean, is an attribute whose
      name stands in the attribute ``buffer_names``; it is updated in place.
    - ``self.training`` tells `train` from `eval`. ``backward`` follows the last ``forward`` in either mode.
    - ``self.rng`` is the generator for a layer that draws in ``forward``; a trainer gives all layers its own.
      Such a layer has the class attribute ``draws = True``.
    - ``self.wants_dx`` is False where nobody reads the dx of this layer; ``backward`` may then return None.

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

    buffer_names: tuple[str, ...] = ()
    draws: ClassVar[bool] = False
    wants_dx: bool = True
    rng: np.random.Generator | None = None

    @property
    def training(self) -> bool:
        """Whether this module trains, here and now."""
        own: bool = vars(self).get("_training", True)
        return _modes.get().get(id(self), own)

    @training.setter
    def training(self, mode: bool) -> None:
        vars(self)["_training"] = mode

    def forward(self, x: Array) -> Array:
        """Return y for the input x."""
        raise NotImplementedError(f"{self!r}: forward is not defined")

    def backward(self, dy: Array) -> Any:
        """Write the gradients of the parameters and return dx, an array of x's shape."""
        raise NotImplementedError(f"{self!r}: backward is not defined")

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @cached_property
    def saved(self) -> Any:
        """What the last ``forward`` kept for ``backward``."""
        raise RuntimeError(f"{self!r}: backward must come after forward")

    def children(self) -> dict[str, Module]:
        """The modules directly below this one, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Module)}

    def modules(self, path: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, each with its dotted path."""
        yield path, self
        for name, child in self.children().items():
            yield from child.modules(_join(path, name))

    def parameters(self) -> list[Parameter]:
        """List the parameters of this module and all below it, and name each by its dotted path."""
        found = []
        for path, module in self.modules():
            for name, parameter in module._own_parameters():
                parameter.name = _join(path, name)
                found.append(parameter)
        return found

    def _own_parameters(self) -> list[tuple[str, Parameter]]:
        """The parameters of this module itself."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Parameter)]

    def buffers(self) -> dict[str, Array]:
        """Return the untrained arrays of the state, by dotted path."""
        return {
            _join(path, name): getattr(module, name)
            for path, module in self.modules()
            for name in module.buffer_names
        }

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below it to training (``mode=False``: to evaluation); return it."""
        for _, module in self.modules():
            module.training = mode
        return self

    def eval(self, *, dropout: bool = False) -> Self:
        """Switch this module and all below it to evaluation; return it.

        With ``dropout=True`` the layers that draw go on as in training, so that each forward pass is that of
        another sampled net, while batch norms use their running statistics.
        """
        for _, module in self.modules():
            module.training = dropout and module.draws
        return self

    def use_rng(self, rng: Seed) -> Self:
        """Let this module and all below it draw from one generator; return the module."""
        generator = np.random.default_rng(rng)
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
            If arrays are missing, extra or misshapen; the message lists them all and nothing has been
            changed.
        TypeError
            If an array is not real; nothing has been changed.
        """
        copy_state(self._state(), state, "the model")
        for parameter in self.parameters():
            parameter.loads += 1

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """Return a table of the layers: the shape of their output for one sample, their parameters.

        Parameters
        ----------
        input_shape : tuple of int
            Of one sample, without the axis of the samples. A forward pass in evaluation finds out the rest.

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
        shapes = self._output_shapes(input_shape)
        rows = [("layer", "description", "output", "parameters")]
        total = 0
        for path, module in self.modules():
            parameters = module._own_parameters()
            if parameters or not module.children():
                count = sum(parameter.value.size for _, parameter in parameters)
                rows.append((path, repr(module), str(shapes.get(module, "")), f"{count:,}"))
                total += count
        rows.append(("total", "", "", f"{total:,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for *texts, number in rows:
            cells = map(str.ljust, texts, widths)
            lines.append("  ".join([*cells, number.rjust(widths[-1])]))
        return "\n".join(lines)

    def _output_shapes(self, input_shape: tuple[int, ...]) -> dict[Module, tuple[int, ...]]:
        """Map each module that runs to the shape of what it returns for one sample of zeros."""
        shapes: dict[Module, tuple[int, ...]] = {}

        def watched(module: Module) -> Callable[[Array], Array]:
            def forward(x: Array) -> Array:
                y = type(module).forward(module, x)
                shapes[module] = y.shape[1:]
                return y

            return forward

        modes = [(module, module.training) for _, module in self.modules()]
        parameters = self.parameters()
        x = np.zeros((1, *input_shape), parameters[0].value.dtype if parameters else np.float32)
        self.eval()
        try:
            for module, _ in modes:
                vars(module)["forward"] = watched(module)
            self.forward(x)
        finally:
            for module, mode in modes:
                del vars(module)["forward"]
                module.training = mode
        return shapes

    def _state(self) -> dict[str, Array]:
        return {parameter.name: parameter.value for parameter in self.parameters()} | self.buffers()


_modes: ContextVar[Mapping[int, bool]] = ContextVar("modes", default=MappingProxyType({}))


@contextmanager
def evaluation(model: Module, *, strict: bool = False) -> Iterator[None]:
    """Let a model evaluate in this thread, without writing to it: see the layers' modes if it evaluates."""
    as_set = not (strict or model.training)
    modes = {id(module): as_set and module.training for _, module in model.modules()}
    token = _modes.set(modes)
    try:
        yield
    finally:
        _modes.reset(token)


def copy_state(own: Mapping[str, Array], state: Mapping[str, ArrayLike], owner: str) -> None:
    """Copy `state` into the arrays of the same names that `owner` has; raise as `Module.load_state_dict`."""
    given = {name: np.asarray(array) for name, array in state.items()}
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
        listing = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names)
        raise ValueError(f"load_state_dict: state must have the arrays of {owner}, got {listing}")
    for name, array in own.items():
        if not np.can_cast(given[name].dtype, array.dtype, "same_kind"):
            raise TypeError(f"load_state_dict: {name} must be a real array, got dtype {given[name].dtype}")
    for name, array in own.items():
        np.copyto(array, given[name], casting="same_kind")


def require_shape(module: Module, argument: str, array: Array, shape: tuple[int, ...]) -> None:
    """Raise a ValueError that names the layer and both shapes unless `array` has `shape`."""
    if array.shape != shape:
        raise ValueError(f"{module!r}: {argument} must have shape {shape}, got {array.shape}")


def as_float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return `dtype` as a numpy dtype, or raise a TypeError unless it is a real floating type."""
    result = np.dtype(dtype)
    if not np.issubdtype(result, np.floating):
        raise TypeError(f"dtype must be a floating type, got {result}")
    return result


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
