"""The tree of modules and parameters below a module: where they are found, and their dotted paths.

A member of a module is a `Module` or `Parameter` in one of its attributes, or in a list, tuple or dict there,
nested to any depth. Its name is the path to it: ``self.blocks = [...]`` has ``"blocks.0"`` and so on. Members
in other containers would be missed, so these are refused. Each member has one place in a model, because its
``grad``, or what it saves for ``backward``, holds one pass only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Set, ValuesView
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeGuard

import numpy as np

from trimtab._typing import Array
from trimtab.nn.parameter import Parameter

if TYPE_CHECKING:
    from trimtab.nn.module import Module

Members: TypeAlias = "dict[str, Module | Parameter]"


class Tree:
    """The base of `Module` that finds the modules, parameters and buffers below it."""

    buffer_names: tuple[str, ...] = ()
    transient_names: ClassVar[frozenset[str]] = frozenset()

    def children(self) -> dict[str, Module]:
        """The modules directly below this one, by name; those in lists, tuples and dicts, too."""
        return {name: member for name, member in self._members().items() if _is_module(member)}

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
                    places.add(member, place)
                    found.append((place, member))
        for place, parameter in found:
            parameter.name = place
        return [parameter for _, parameter in found]

    def buffers(self) -> dict[str, Array]:
        """Return the untrained arrays of the state, by dotted path."""
        return {
            _join(path, name): getattr(module, name)
            for path, module in self.modules()
            for name in module.buffer_names
        }

    def _own_parameters(self) -> list[Parameter]:
        """The parameters of this module itself."""
        return [member for member in self._members().values() if isinstance(member, Parameter)]

    def _walk(self, path: str = "") -> list[tuple[str, Module, Members]]:
        """This module and all below it, depth first, each with its dotted path and its members."""
        places = _Places(self)
        found: list[tuple[str, Module, Members]] = []
        waiting: list[tuple[str, Any]] = [(path, self)]
        while waiting:
            place, module = waiting.pop()
            places.add(module, place)
            members = module._members()
            found.append((place, module, members))
            waiting += [
                (_join(place, name), member)
                for name, member in reversed(members.items())
                if _is_module(member)
            ]
        return found

    def _members(self) -> Members:
        """The modules and parameters directly below this one, by the path from it."""
        found: Members = {}
        for name, value in list(self.__dict__.items()):  # a copy: another thread may add attributes
            role = _ROLES[type(value)]
            if role == "member":
                found[name] = value
            elif role and name not in self.transient_names:
                for place, member in _members_in(f"{type(self).__name__}: {name}", name, value, ()):
                    if place in found:
                        raise ValueError(
                            f"{type(self).__name__}: names must be of one member each, got {place} for two"
                        )
                    found[place] = member
        return found


def _is_module(value: Any) -> TypeGuard[Module]:
    return isinstance(value, Tree)  # Module is its one subclass


class _Places:
    """The paths of the modules or parameters of a model."""

    def __init__(self, model: Tree) -> None:
        self.model, self.paths = model, dict[int, str]()

    def add(self, member: Module | Parameter, path: str) -> None:
        """Add a path; raise a ValueError with both if the member has one already."""
        first = self.paths.setdefault(id(member), path)
        if first is not path:
            kind = "parameter" if isinstance(member, Parameter) else "module"
            places = f"at {first or 'the top'} and at {path}"
            raise ValueError(
                f"{type(self.model).__name__}: each {kind} must stand in one place, got {member!r} {places}"
            )


class _Roles(dict[type, str]):
    """What values of a type are to a model, cached by type: a member, searched, refused, or ""."""

    def __missing__(self, kind: type) -> str:
        roles = {
            "member": (Tree, Parameter),
            "searched": (list, tuple, dict),
            "refused": (Set, Mapping, MutableSequence, ValuesView, SimpleNamespace, np.ndarray),
        }
        return self.setdefault(kind, next((role for role in roles if issubclass(kind, roles[role])), ""))


_ROLES = _Roles()


def _members_in(
    owner: str, path: str, value: Any, containers: tuple[Any, ...]
) -> Iterator[tuple[str, Module | Parameter]]:
    """The value if it is a member, and all members in it, with their paths; `containers` are around it."""
    role = _ROLES[type(value)]
    if role == "member":
        yield path, value
    elif role and not any(value is container for container in containers):
        inside = (*containers, value)
        for key, item in _items(value):
            for place, member in _members_in(owner, _join(path, str(key)), item, inside):
                if role == "refused":
                    raise TypeError(
                        f"{owner} must hold modules and parameters in a list, tuple or dict, "
                        f"got {member!r} in a {type(value).__name__}"
                    )
                yield place, member


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    """The items of a container, with their keys or numbers."""
    if isinstance(container, np.ndarray):
        return enumerate(container.flat if container.dtype.hasobject else ())
    if isinstance(container, SimpleNamespace):
        return list(vars(container).items())
    return list(container.items() if isinstance(container, Mapping) else enumerate(container))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
