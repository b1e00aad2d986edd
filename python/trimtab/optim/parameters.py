"""Reads the `parameters` argument of an optimizer: what is to be trained, as named parameters in groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from trimtab._checks import items, shown
from trimtab._inputs import DTYPES
from trimtab.nn.module import Module
from trimtab.nn.parameter import Parameter

Trainable: TypeAlias = Module | Parameter
Parameters: TypeAlias = Trainable | Iterable[Trainable] | Mapping[str, Trainable]
GroupMapping: TypeAlias = Mapping[str, Any]
Given: TypeAlias = Parameters | GroupMapping | Iterable[GroupMapping] | Mapping[str, GroupMapping]


class NamedParameter(NamedTuple):
    """A parameter and its path in the argument, which error messages quote."""

    path: str
    parameter: Parameter


class GroupRequest(NamedTuple):
    """The name of a group, its parameters, and the options that it sets for itself."""

    name: str
    parameters: list[NamedParameter]
    options: dict[str, Any]


class ParametersReader:
    """Reads the argument of one optimizer.

    Parameters
    ----------
    owner : str
        The class that messages of errors begin with.
    options : sequence of str
        The names that a group may set.
    """

    def __init__(self, owner: str, options: Sequence[str]) -> None:
        self._owner, self._options = owner, options

    def read(self, given: Given) -> list[GroupRequest]:
        """Return the groups of the argument; each parameter is in one of them.

        Raises
        ------
        TypeError
            If an item is neither a Parameter nor a Module, or a parameter has a dtype that cannot be trained.
        ValueError
            If a group has other keys, two have the same name, there is nothing to train, a parameter is
            listed twice or is read-only.
        """
        groups = self._groups(given)
        self._require_different_names(groups)
        self._require_each_once(groups)
        return groups

    def _groups(self, given: Any) -> list[GroupRequest]:
        if isinstance(given, Mapping) and "parameters" in given:
            given = [given]
        if isinstance(given, Mapping) and any(_is_group(item) for item in given.values()):
            return [self._group(str(name), str(name), f"[{name!r}]", item) for name, item in given.items()]
        if not isinstance(given, Module | Parameter | Mapping):
            given = self._listed("parameters", given)
            if any(isinstance(item, Mapping) for item in given):
                return [
                    self._group(str(place), f"parameters[{place}]", f"[{place}]", item)
                    for place, item in enumerate(given)
                ]
        return [GroupRequest("0", self._parameters("parameters", given), {})]

    def _group(self, name: str, path: str, place: str, group: Any) -> GroupRequest:
        keys = {"parameters", "name", *self._options}
        if not _is_group(group) or not keys >= {*group}:
            got = sorted(map(str, group)) if isinstance(group, Mapping) else type(group).__name__
            raise ValueError(
                f"{self._owner}: parameters must be groups of 'parameters' and {', '.join(self._options)}, "
                f"and 'name', got {got} in {place}"
            )
        options = dict(group)
        parameters = self._parameters(path, options.pop("parameters"))
        name = options.pop("name", name)
        if not isinstance(name, str) or not name:
            raise TypeError(f"{self._owner}: the name of a group must be text, got {shown(name)} in {place}")
        return GroupRequest(name, parameters, options)

    def _parameters(self, path: str, given: Any) -> list[NamedParameter]:
        if isinstance(given, Module | Parameter):
            return [*_named("" if path == "parameters" else path, given)]
        if not isinstance(given, Mapping):
            given = {f"{path}[{place}]": item for place, item in enumerate(self._listed(path, given))}
        if not given:
            raise ValueError(f"{self._owner}: {path} must not be empty, got none")
        for name, item in given.items():
            if not isinstance(item, Module | Parameter):
                raise TypeError(
                    f"{self._owner}: {name} must be a Parameter or a Module, got {_described(item)}"
                )
        return [named for name, item in given.items() for named in _named(str(name), item)]

    def _listed(self, path: str, given: Any) -> list[Any]:
        return items(f"{self._owner}: {path}", given, "be a Module, Parameters, Modules or groups of them")

    def _require_different_names(self, groups: list[GroupRequest]) -> None:
        names = [group.name for group in groups]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{self._owner}: names of groups must differ, got {name!r} twice")

    def _require_each_once(self, groups: list[GroupRequest]) -> None:
        """Raise an error unless each parameter can be trained and is listed once."""
        paths: dict[Parameter, str] = {}
        for path, parameter in (named for group in groups for named in group.parameters):
            if parameter in paths:
                raise ValueError(
                    f"{self._owner}: parameters must be given once each, "
                    f"got the same one as {paths[parameter]} and {path}"
                )
            paths[parameter] = path
            require_trainable(self._owner, path, parameter)
        if not paths:
            raise ValueError(f"{self._owner}: parameters must not be empty, got none")


def _is_group(item: Any) -> bool:
    return isinstance(item, Mapping) and "parameters" in item


def _named(path: str, item: Trainable) -> Iterator[NamedParameter]:
    if isinstance(item, Parameter):
        yield NamedParameter(path or "parameters", item)
    else:
        for parameter in item.parameters():
            yield NamedParameter(f"{path}.{parameter.name}" if path else parameter.name, parameter)


def _described(item: Any) -> str:
    """Return the text of an item if it is short, otherwise its type."""
    return shown(item) if isinstance(item, type | str | int | float | None) else type(item).__name__


def require_trainable(owner: str, path: str, parameter: Parameter) -> None:
    """Raise an error that names the parameter unless its arrays can be updated."""
    dtype = parameter.value.dtype
    if dtype.name not in DTYPES or not dtype.isnative:
        raise TypeError(f"{owner}: {path} must be float32, float64, float16 or bfloat16, got {dtype}")
    for name in ("value", "grad"):
        array = getattr(parameter, name)
        if not array.flags.writeable:
            raise ValueError(f"{owner}: {path} must be writeable, got a read-only {name}")
        if (array.shape, array.dtype) != (parameter.value.shape, dtype):
            raise ValueError(
                f"{owner}: {path} must have a grad like its value, {dtype} {parameter.value.shape}, "
                f"got {array.dtype} {array.shape}"
            )
