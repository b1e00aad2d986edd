"""What an optimizer may be given to train, as named parameters in groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from trimtab._checks import items, shown
from trimtab.nn.module import Module, Parameter
from trimtab.optim.options import NAMES

Trained: TypeAlias = Module | Parameter
Parameters: TypeAlias = Trained | Iterable[Trained] | Mapping[str, Trained]
GroupMapping: TypeAlias = Mapping[str, Any]

FLOATS = {np.dtype(name) for name in ("float32", "float64", "float16")}


class Named(NamedTuple):
    """A parameter and the path to it from what was given."""

    path: str
    parameter: Parameter


class Request(NamedTuple):
    """The parameters of a group, and the options that it has for itself."""

    parameters: list[Named]
    options: dict[str, Any]


def read_groups(given: Parameters | GroupMapping | Iterable[GroupMapping]) -> list[Request]:
    """Return the groups that are meant, each parameter in one of them.

    Raises
    ------
    TypeError
        If something is neither Parameter nor Module, or a parameter has a dtype that is not trained.
    ValueError
        If a group has other keys, there is nothing to train, a parameter stands twice or is read-only.
    """
    if isinstance(given, Mapping) and "parameters" in given:
        given = [given]
    if not isinstance(given, Module | Parameter | Mapping):
        given = _listed("parameters", given)
        if any(isinstance(item, Mapping) for item in given):
            return _apart([_read_group(number, group) for number, group in enumerate(given)])
    return _apart([Request(_read_parameters("parameters", given), {})])


def _read_group(number: int, group: Any) -> Request:
    if not isinstance(group, Mapping) or "parameters" not in group or not {"parameters", *NAMES} >= {*group}:
        got = sorted(map(str, group)) if isinstance(group, Mapping) else type(group).__name__
        raise ValueError(
            f"SGD: parameters must be groups of 'parameters' and {', '.join(NAMES)}, got {got} in [{number}]"
        )
    options = {name: value for name, value in group.items() if name != "parameters"}
    return Request(_read_parameters(f"parameters[{number}]", group["parameters"]), options)


def _read_parameters(where: str, given: Any) -> list[Named]:
    if isinstance(given, Module | Parameter):
        return [*_named("" if where == "parameters" else where, given)]
    if not isinstance(given, Mapping):
        given = {f"{where}[{number}]": item for number, item in enumerate(_listed(where, given))}
    if not given:
        raise ValueError(f"SGD: {where} must not be empty, got none")
    for path, item in given.items():
        if not isinstance(item, Module | Parameter):
            raise TypeError(f"SGD: {path} must be a Parameter or a Module, got {_described(item)}")
    return [named for path, item in given.items() for named in _named(str(path), item)]


def _named(path: str, item: Trained) -> Iterator[Named]:
    if isinstance(item, Parameter):
        yield Named(path or "parameters", item)
    else:
        for parameter in item.parameters():
            yield Named(f"{path}.{parameter.name}" if path else parameter.name, parameter)


def _listed(where: str, given: Any) -> list[Any]:
    return items(f"SGD: {where}", given, "be a Module, Parameters, Modules or groups of them")


def _described(item: Any) -> str:
    """The item itself where its text is short, else its type."""
    return shown(item) if isinstance(item, type | str | int | float | None) else type(item).__name__


def _apart(groups: list[Request]) -> list[Request]:
    """Return the groups, if what is in them can be trained and stands once."""
    paths: dict[Parameter, str] = {}
    for path, parameter in (named for group in groups for named in group.parameters):
        if parameter in paths:
            raise ValueError(
                f"SGD: parameters must be given once each, got {paths[parameter]} and {path}, which are one"
            )
        paths[parameter] = path
        require_trainable(path, parameter)
    if not paths:
        raise ValueError("SGD: parameters must not be empty, got none")
    return groups


def require_trainable(path: str, parameter: Parameter) -> None:
    """Raise an error that names the parameter unless its arrays can be updated."""
    dtype = parameter.value.dtype
    if dtype not in FLOATS and dtype.name != "bfloat16":
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
