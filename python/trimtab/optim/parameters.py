"""Reads the `parameters` argument of an optimizer: what is to be trained, as named parameters in groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from trimtab._checks import items, shown
from trimtab._inputs import DTYPES
from trimtab.nn.module import Module
from trimtab.nn.parameter import Parameter
from trimtab.optim.options import NAMES as OPTIONS

Trainable: TypeAlias = Module | Parameter
Parameters: TypeAlias = Trainable | Iterable[Trainable] | Mapping[str, Trainable]
GroupMapping: TypeAlias = Mapping[str, Any]


class NamedParameter(NamedTuple):
    """A parameter and its path in the argument, which error messages quote."""

    path: str
    parameter: Parameter


class GroupRequest(NamedTuple):
    """The parameters of a group, and the options that it sets for itself."""

    parameters: list[NamedParameter]
    options: dict[str, Any]


def read_groups(given: Parameters | GroupMapping | Iterable[GroupMapping]) -> list[GroupRequest]:
    """Return the groups of the argument; each parameter is in one of them.

    Raises
    ------
    TypeError
        If an item is neither a Parameter nor a Module, or a parameter has a dtype that cannot be trained.
    ValueError
        If a group has other keys, there is nothing to train, a parameter is listed twice or is read-only.
    """
    if isinstance(given, Mapping) and "parameters" in given:
        given = [given]
    if not isinstance(given, Module | Parameter | Mapping):
        given = _listed("parameters", given)
        if any(isinstance(item, Mapping) for item in given):
            return _require_each_once([_read_group(number, group) for number, group in enumerate(given)])
    return _require_each_once([GroupRequest(_read_parameters("parameters", given), {})])


def _read_group(number: int, group: Any) -> GroupRequest:
    keys = {"parameters", *OPTIONS}
    if not isinstance(group, Mapping) or "parameters" not in group or not keys >= {*group}:
        got = sorted(map(str, group)) if isinstance(group, Mapping) else type(group).__name__
        raise ValueError(
            f"SGD: parameters must be groups of 'parameters' and {', '.join(OPTIONS)}, "
            f"got {got} in [{number}]"
        )
    options = {name: value for name, value in group.items() if name != "parameters"}
    return GroupRequest(_read_parameters(f"parameters[{number}]", group["parameters"]), options)


def _read_parameters(place: str, given: Any) -> list[NamedParameter]:
    if isinstance(given, Module | Parameter):
        return [*_named("" if place == "parameters" else place, given)]
    if not isinstance(given, Mapping):
        given = {f"{place}[{number}]": item for number, item in enumerate(_listed(place, given))}
    if not given:
        raise ValueError(f"SGD: {place} must not be empty, got none")
    for path, item in given.items():
        if not isinstance(item, Module | Parameter):
            raise TypeError(f"SGD: {path} must be a Parameter or a Module, got {_described(item)}")
    return [named for path, item in given.items() for named in _named(str(path), item)]


def _named(path: str, item: Trainable) -> Iterator[NamedParameter]:
    if isinstance(item, Parameter):
        yield NamedParameter(path or "parameters", item)
    else:
        for parameter in item.parameters():
            yield NamedParameter(f"{path}.{parameter.name}" if path else parameter.name, parameter)


def _listed(place: str, given: Any) -> list[Any]:
    return items(f"SGD: {place}", given, "be a Module, Parameters, Modules or groups of them")


def _described(item: Any) -> str:
    """Return the text of an item if it is short, otherwise its type."""
    return shown(item) if isinstance(item, type | str | int | float | None) else type(item).__name__


def _require_each_once(groups: list[GroupRequest]) -> list[GroupRequest]:
    """Return the groups; raise an error unless each parameter can be trained and is listed once."""
    paths: dict[Parameter, str] = {}
    for path, parameter in (named for group in groups for named in group.parameters):
        if parameter in paths:
            raise ValueError(
                f"SGD: parameters must be given once each, got the same one as {paths[parameter]} and {path}"
            )
        paths[parameter] = path
        require_trainable(path, parameter)
    if not paths:
        raise ValueError("SGD: parameters must not be empty, got none")
    return groups


def require_trainable(path: str, parameter: Parameter) -> None:
    """Raise an error that names the parameter unless its arrays can be updated."""
    dtype = parameter.value.dtype
    if dtype.name not in DTYPES or not dtype.isnative:
        raise TypeError(f"SGD: {path} must be float32, float64, float16 or bfloat16, got {dtype}")
    for name in ("value", "grad"):
        array = getattr(parameter, name)
        if not array.flags.writeable:
            raise ValueError(f"SGD: {path} must be writeable, got a read-only {name}")
        if (array.shape, array.dtype) != (parameter.value.shape, dtype):
            raise ValueError(
                f"SGD: {path} must have a grad like its value, {dtype} {parameter.value.shape}, "
                f"got {array.dtype} {array.shape}"
            )
