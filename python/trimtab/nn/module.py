"""The protocol that every layer and every model follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Set, ValuesView
from types import SimpleNamespace
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from trimtab._inputs import FLOATS, as_array, as_generator, copy_into, float_array, require_castable
from trimtab._typing import Array, Seed
from trimtab.nn.options import sizes
from trimtab.nn.parameter import FREEZING, Parameter, as_float_dtype
from trimtab.nn.passes import Mode, Saved, evaluation, forward_hook, keep, recording, surround, unchanged

__all__ = [
    "Module",
    "Parameter",
    "as_float_dtype",
    "as_gradient",
    "as_input",
    "copy_state",
    "evaluation",
    "forward_hook",
    "protect",
    "recording",
    "require_shape",
]


Members: TypeAlias = "dict[str, Module | Parameter]"

# Attributes of other libraries' layers that would do nothing here
ADVICE = {"requires_grad": FREEZING, "trainable": FREEZING}


class Module:
    """A layer, or a model made of layers.

    A layer is a class with two methods. ``forward(x)`` returns y and keeps in ``self.saved`` whatever
    ``backward`` will need; ``backward(dy)`` takes the gradient of the loss with respect to y, writes the
    gradients of the layer's own parameters into their ``grad``, and returns dx, the gradient with respect to
    x.

    - A `Parameter` assigned to an attribute is trained. Its ``grad`` is overwritten, never accumulated, so a
      module or parameter stands in one place of a model, which is checked, and runs once per step. An array
      that is assigned in its place is copied into its value.
    - A `Module` assigned to an attribute is part of the model. Both may also stand in lists, tuples and
      dicts, nested as you like: ``self.blocks = [...]`` has the names ``"blocks.0"`` and so on.
    - An array that belongs to the state but is not trained, such as a running mean, is an attribute whose
      name stands in the attribute ``buffer_names``; it is updated in place: what is assigned is copied in.
    - ``self.training`` tells `train` from `eval`. In a model in evaluation what is set as ``self.saved`` is
      dropped, so that it may run in several threads at once; ``backward`` follows a ``forward`` in training,
      or one within `recording`, and takes what that has saved: it is kept no longer.
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
    training = Mode()
    saved = Saved()
    # What copies and pickles leave out
    transient_names: ClassVar[frozenset[str]] = frozenset({"saved", "wants_dx"})
    wants_dx: bool = True
    rng: np.random.Generator | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        surround(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "saved":  # the only one that every forward sets: the descriptor takes twice the time
            keep(self, value)
            return
        held = self.__dict__.get(name)
        if type(held) is Parameter and not isinstance(value, Parameter | None):
            held.value = value
        elif type(held) is np.ndarray and value is not held and name in self.buffer_names:
            copy_into(held, f"{self!r}: {name}", value)
        else:
            if name in ADVICE and not hasattr(type(self), name):
                raise AttributeError(f"{self!r} has no attribute {name!r}{ADVICE[name]}")
            object.__setattr__(self, name, value)
            if type(value) is Parameter:
                value.name = value.name or name

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in list(vars(self).items()) if name not in self.transient_names}

    def forward(self, x: Array) -> Array:
        """Return y for the input x."""
        raise NotImplementedError(f"{self!r}: forward is not defined")

    def backward(self, dy: Array) -> Any:
        """Write the gradients of the parameters and return dx, an array of x's shape."""
        raise NotImplementedError(f"{self!r}: backward is not defined")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def children(self) -> dict[str, Module]:
        """The modules directly below this one, by name; those in lists, tuples and dicts, too."""
        return {name: member for name, member in self._members().items() if isinstance(member, Module)}

    def modules(self, path: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, each with its dotted path.

        Raises
        ------
        ValueError
            If a module stands in two places.
        TypeError
            If modules or parameters are in a container that is not searched, such as a set.
        """
        return iter([(place, module) for place, module, _ in self._walk(path)])

    def parameters(self) -> list[Parameter]:
        """List the parameters of this module and all below it, and name each by its dotted path.

        Raises
        ------
        ValueError, TypeError
            As `modules`; also if a parameter stands in two places.
        """
        places = _Places(self)
        found = []
        for path, _, members in self._walk():
            for name, member in members.items():
                if isinstance(member, Parameter):
                    place = _join(path, name)
                    places.take(member, place)
                    found.append((place, member))
        for place, parameter in found:
            parameter.name = place
        return [parameter for _, parameter in found]

    def _own_parameters(self) -> list[Parameter]:
        """The parameters of this module itself."""
        return [member for member in self._members().values() if isinstance(member, Parameter)]

    def _walk(self, path: str = "") -> list[tuple[str, Module, Members]]:
        """This module and all below it, each with its dotted path and its members."""
        places = _Places(self)
        found: list[tuple[str, Module, Members]] = []
        waiting = [(path, self)]
        while waiting:
            place, module = waiting.pop()
            places.take(module, place)
            members = module._members()
            found.append((place, module, members))
            waiting += [
                (_join(place, name), member)
                for name, member in reversed(members.items())
                if isinstance(member, Module)
            ]
        return found

    def _members(self) -> Members:
        """The modules and parameters directly below this one, by the path from it."""
        found: Members = {}
        for name, value in list(self.__dict__.items()):  # which another thread may be adding to
            role = _ROLES[type(value)]
            if role == "member":
                found[name] = value
            elif role and name not in self.transient_names:
                for place, member in _found(f"{type(self).__name__}: {name}", name, value, ()):
                    if place in found:
                        raise ValueError(
                            f"{type(self).__name__}: names must be of one member each, got {place} for two"
                        )
                    found[place] = member
        return found

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
        generator = as_generator("use_rng: rng", rng)
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
        input_shape : int or sequence of int
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
                count = sum(parameter.value.size for parameter in parameters)
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
        input_shape = sizes("summary: input_shape", input_shape)
        shapes: dict[Module, tuple[int, ...]] = {}

        def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            shapes[module] = np.shape(output)[1:]

        parameters = self.parameters()
        x = np.zeros((1, *input_shape), parameters[0].value.dtype if parameters else np.float32)
        with unchanged(self), evaluation(self, strict=True), forward_hook(self, note):
            self.forward(x)
        return shapes

    def _state(self) -> dict[str, Array]:
        return {parameter.name: parameter.value for parameter in self.parameters()} | self.buffers()


def copy_state(own: Mapping[str, Array], state: Mapping[str, ArrayLike], owner: str) -> None:
    """Copy `state` into the arrays of the same names that `owner` has; raise as `Module.load_state_dict`."""
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: state must be a mapping of arrays, got {type(state).__name__}")
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
        listing = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names)
        raise ValueError(f"load_state_dict: state must have the arrays of {owner}, got {listing}")
    for name, array in own.items():
        require_castable(f"load_state_dict: {name}", given[name], array)
    # All are converted before any is replaced: one may be another's array, and a conversion may fail
    converted = {name: given[name].astype(array.dtype) for name, array in own.items()}
    for name, array in own.items():
        array[...] = converted[name]


def protect(module: Module, output: Array) -> None:
    """Make an output read-only that its module has saved: changed in place, the gradient would be wrong."""
    if "saved" in vars(module):
        output.flags.writeable = False


def as_input(module: Module, x: ArrayLike) -> Array:
    """Return x as an array of one of the four dtypes; raise an error that names the layer otherwise."""
    if type(x) is np.ndarray and x.dtype.char in FLOATS:
        return x
    return float_array(f"{module!r}: x", x)


def as_gradient(
    module: Module, dy: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None
) -> Array:
    """Return dy as an array of that shape, and dtype if one is given; raise an error that names the layer."""
    if type(dy) is not np.ndarray or dy.dtype.char not in FLOATS:
        dy = float_array(f"{module!r}: dy", dy)
    if dy.shape != shape:
        require_shape(module, "dy", dy, shape)
    return dy if dtype is None or dy.dtype == dtype else dy.astype(dtype)


def require_shape(module: Module, argument: str, array: Array, shape: tuple[int, ...]) -> None:
    """Raise a ValueError that names the layer and both shapes unless `array` has `shape`."""
    if array.shape != shape:
        raise ValueError(f"{module!r}: {argument} must have shape {shape}, got {array.shape}")


class _Places:
    """Where the modules or parameters of a model stand."""

    def __init__(self, model: Module) -> None:
        self.model, self.paths = model, dict[int, str]()

    def take(self, member: Module | Parameter, path: str) -> None:
        """Note a place; raise a ValueError that names both if the member has one already."""
        first = self.paths.setdefault(id(member), path)
        if first is not path:
            kind = "module" if isinstance(member, Module) else "parameter"
            where = f"at {first or 'the top'} and at {path}"
            raise ValueError(
                f"{type(self.model).__name__}: each {kind} must stand in one place, got {member!r} {where}"
            )


class _Roles(dict[type, str]):
    """What values of a type are for a model, worked out once; empty where they hold no part of it."""

    def __missing__(self, kind: type) -> str:
        roles = {
            "member": (Module, Parameter),
            "searched": (list, tuple, dict),
            "refused": (Set, Mapping, MutableSequence, ValuesView, SimpleNamespace, np.ndarray),
        }
        return self.setdefault(kind, next((role for role in roles if issubclass(kind, roles[role])), ""))


_ROLES = _Roles()


def _found(
    owner: str, path: str, value: Any, containers: tuple[Any, ...]
) -> Iterator[tuple[str, Module | Parameter]]:
    """The modules and parameters that are a value, or stand in it."""
    role = _ROLES[type(value)]
    if role == "member":
        yield path, value
    elif role and not any(value is container for container in containers):
        inside = (*containers, value)
        for key, item in _opened(value):
            for place, member in _found(owner, _join(path, str(key)), item, inside):
                if role == "refused":
                    raise TypeError(
                        f"{owner} must hold modules and parameters in a list, tuple or dict, "
                        f"got {member!r} in a {type(value).__name__}"
                    )
                yield place, member


def _opened(container: Any) -> Iterable[tuple[Any, Any]]:
    """What is in a container, by key or number."""
    if isinstance(container, np.ndarray):
        return enumerate(container.flat if container.dtype.hasobject else ())
    if isinstance(container, SimpleNamespace):
        return list(vars(container).items())
    return list(container.items() if isinstance(container, Mapping) else enumerate(container))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
