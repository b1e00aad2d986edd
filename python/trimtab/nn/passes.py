"""Passes: what happens around every forward and backward, the user's own layers included.

- `Module` wraps ``forward`` and ``backward`` of each class as it is defined (`wrap_methods`). A hook in
  ``__call__`` would miss ``layer.forward(x)``, which is the same call.
- The outermost forward opens a pass, and closes it when it returns. ``self.saved = value`` stores the value
  together with the pass, or drops it where no backward can follow: in evaluation.
- A module that saves twice in one pass is marked, and its backward refuses: it would know the last run only.
- ``backward`` removes the saved value when it is done.
- `evaluation`, `sampling`, `recording` and `forward_hook` set context variables: they hold in the current
  thread, and write nothing to the model, so that several threads can evaluate one model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trimtab import _checks
from trimtab._typing import Array

if TYPE_CHECKING:
    from trimtab.nn.module import Module

Hook = Callable[["Module", tuple[Any, ...], Any], None]


class _Override(NamedTuple):
    """How a module runs in the current context, whatever its attributes say."""

    training: bool
    saves: bool
    rng: np.random.Generator | None = None


_Overrides = Mapping[int, _Override]  # by the id of the module
_overrides: ContextVar[_Overrides] = ContextVar("overrides", default=MappingProxyType({}))
_Hooked = tuple[frozenset[int], Hook]  # the ids of the modules whose calls the hook sees
_hooks: ContextVar[tuple[_Hooked, ...]] = ContextVar("hooks", default=())


class _Pass:
    """A run of the outermost module, and whether that trains."""

    __slots__ = ("trains",)

    def __init__(self, trains: bool) -> None:
        self.trains = trains


_pass: ContextVar[_Pass | None] = ContextVar("pass", default=None)


@contextmanager
def _overriding(model: Module, override: Callable[[Module], _Override]) -> Iterator[None]:
    modules = [module for _, module in model.modules()]  # kept alive, so that no id is reused
    token = _overrides.set({**_overrides.get(), **{id(module): override(module) for module in modules}})
    try:
        yield
    finally:
        _overrides.reset(token)


@contextmanager
def evaluation(model: Module, *, strict: bool = False) -> Iterator[None]:
    """Let a model evaluate in this thread: nothing is saved, and no attribute of the model is written.

    A model in training runs as after `Module.eval`. One in evaluation keeps the modes of its layers, such as
    those of ``eval(dropout=True)``.

    Parameters
    ----------
    model : Module
    strict : bool
        Whether every layer evaluates, whatever its mode.
    """
    own_modes = not (strict or model.training)
    with _overriding(model, lambda module: _Override(own_modes and module.training, saves=False)):
        yield


@contextmanager
def sampling(model: Module, rng: np.random.Generator) -> Iterator[None]:
    """Let a model evaluate as in `evaluation`, but let the layers that draw do so, from the generator."""
    with _overriding(model, lambda module: _Override(module.draws, saves=False, rng=rng)):
        yield


@contextmanager
def recording(model: Module) -> Iterator[None]:
    """Let layers in evaluation, too, save what ``backward`` needs, in this thread.

    Examples
    --------
    The gradient of an output with respect to the input, at inference:

    >>> import numpy as np
    >>> from trimtab import nn
    >>> model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.BatchNorm(2)).eval()
    >>> with nn.recording(model):
    ...     y = model(np.ones((1, 3), np.float32))
    ...     dx = model.backward(np.ones_like(y))
    >>> dx.shape
    (1, 3)
    """
    with _overriding(model, lambda module: _Override(module.training, saves=True)):
        yield


@contextmanager
def forward_hook(model: Module, hook: Hook) -> Iterator[None]:
    """Call a function after each forward of a model and of the modules below it, in this thread.

    Parameters
    ----------
    model : Module
    hook : callable
        ``hook(module, inputs, output)``; inputs is the tuple of the positional arguments of ``forward``. It
        returns None.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> with nn.forward_hook(model, lambda module, inputs, output: print(module, output.shape)):
    ...     y = model(np.ones((5, 3), np.float32))
    Linear(3, 2) (5, 2)
    ReLU() (5, 2)
    Sequential(Linear(3, 2), ReLU()) (5, 2)
    """
    modules = [module for _, module in model.modules()]
    token = _hooks.set((*_hooks.get(), (frozenset(map(id, modules)), hook)))
    try:
        yield
    finally:
        _hooks.reset(token)


def forget(model: Module) -> None:
    """Drop what forwards have saved, where no backward follows, as after a batch that is skipped."""
    for _, module in model.modules():
        del module.saved


@contextmanager
def unchanged(model: Module) -> Iterator[None]:
    """Restore a model afterwards: parameters, gradients, buffers, generators, and what its layers saved."""
    modules = [module for _, module in model.modules()]
    arrays = [*model.buffers().values()]
    for parameter in model.parameters():
        arrays += [parameter.value, parameter.grad]
    copies = [array.copy() for array in arrays]
    saved = [module.__dict__.get("saved") for module in modules]
    rngs = [module.rng for module in modules]
    states = [rng.bit_generator.state for rng in rngs if rng is not None]
    try:
        yield
    finally:
        for array, copy in zip(arrays, copies, strict=True):
            array[...] = copy
        for module, entry in zip(modules, saved, strict=True):
            module.__dict__.pop("saved", None)
            if entry is not None:
                module.__dict__["saved"] = entry
        for module, rng in zip(modules, rngs, strict=True):
            module.rng = rng
        for rng, state in zip(filter(None, rngs), states, strict=True):
            rng.bit_generator.state = state


class Mode:
    """``module.training``: as it was set, unless the context overrides it."""

    def __get__(self, module: Module | None, owner: type) -> bool:
        overrides = _overrides.get()
        if module is None:
            return True
        if overrides and (override := overrides.get(id(module))):
            return override.training
        mode: bool = module.__dict__.get("training", True)
        return mode

    def __set__(self, module: Module, mode: bool) -> None:
        module.__dict__["training"] = _checks.flag(f"{type(module).__name__}: training", mode)


class Rng:
    """``module.rng``: the generator that was set, None if none was, unless the context overrides it."""

    def __get__(self, module: Module | None, owner: type) -> np.random.Generator | None:
        if module is None:
            return None
        overrides = _overrides.get()
        if overrides and (override := overrides.get(id(module))) and override.rng is not None:
            return override.rng
        rng: np.random.Generator | None = module.__dict__.get("rng")
        return rng

    def __set__(self, module: Module, rng: np.random.Generator | None) -> None:
        module.__dict__["rng"] = rng


def save(module: Module, value: Any) -> None:
    """Save a value from a forward for its backward, or drop it where no backward can follow.

    A layer that is in evaluation by itself saves, too, while the model around it trains. The entry in the
    dict of the module is (value, pass, whether the module has saved before in that pass).
    """
    state = module.__dict__
    current, overrides = _pass.get(), _overrides.get()
    if overrides and (override := overrides.get(id(module))):
        if override.saves:
            state["saved"] = (value, current, False)
    elif state.get("training", True) or (current is not None and current.trains):
        state["saved"] = (value, current, False)
    else:
        state.pop("saved", None)


class Saved:
    """``module.saved``: the value of the last `save`; an AttributeError where there is none."""

    def __get__(self, module: Module | None, owner: type) -> Any:
        if module is None:
            return self
        try:
            return module.__dict__["saved"][0]
        except KeyError:
            raise NothingSaved(
                f"{module!r}: backward must come after forward in training; "
                "a forward in evaluation keeps nothing, unless within nn.recording(model)"
            ) from None

    def __set__(self, module: Module, value: Any) -> None:
        save(module, value)

    def __delete__(self, module: Module) -> None:
        module.__dict__.pop("saved", None)


def protect_if_saved(module: Module, output: Array) -> None:
    """Make an output read-only if its module has saved it: after a change in place, dx would be wrong."""
    if "saved" in module.__dict__:
        output.flags.writeable = False


class NothingSaved(AttributeError, RuntimeError):
    """A backward without its forward."""


_Method = Callable[..., Any]


def wrap_methods(module_class: type[Module]) -> None:
    """Wrap ``forward`` and ``backward`` of a class, unless they are inherited from a class with wrappers."""
    for name, wrap in (("forward", _in_a_pass), ("backward", _removing_what_is_saved)):
        method = getattr(module_class, name)
        if not hasattr(method, "is_wrapped"):
            wrapper = wrap(method)
            wrapper.is_wrapped = True  # type: ignore[attr-defined]
            setattr(module_class, name, wrapper)


def _in_a_pass(function: _Method) -> _Method:
    """Open a pass if none is open, mark a module that saves twice in one, and call the hooks."""

    @wraps(function)
    def forward(self: Module, *inputs: Any, **options: Any) -> Any:
        if type(self).forward is not forward:  # reached through super()
            return function(self, *inputs, **options)
        current = _pass.get()
        if current is None:
            token = _pass.set(_Pass(self.training))
            try:
                output = function(self, *inputs, **options)
            finally:
                _pass.reset(token)
        else:
            state = self.__dict__
            before = state.get("saved")
            # a call without * and ** takes half the time
            plain = len(inputs) == 1 and not options
            output = function(self, inputs[0]) if plain else function(self, *inputs, **options)
            if before is not None and before[1] is current:
                after = state.get("saved")
                if after is not None and after is not before:
                    state["saved"] = (*after[:2], True)
        if hooks := _hooks.get():
            _call(hooks, self, inputs, output)
        return output

    return forward


def _call(hooks: tuple[_Hooked, ...], module: Module, inputs: tuple[Any, ...], output: Any) -> None:
    for modules, hook in hooks:
        if id(module) in modules and hook(module, inputs, output) is not None:
            raise TypeError(f"forward_hook: hook must return None, got something from {hook!r}")


def _removing_what_is_saved(function: _Method) -> _Method:
    """Refuse a module that has saved twice in one pass, and remove what it saved when backward is done."""

    @wraps(function)
    def backward(self: Module, dy: Any, *others: Any, **options: Any) -> Any:
        if type(self).backward is not backward:  # reached through super()
            return function(self, dy, *others, **options)
        state = self.__dict__
        entry = state.get("saved")
        if entry is not None and entry[2]:
            raise RuntimeError(
                f"{self!r}: forward must run once in a pass of its model, ran more often: "
                "backward knows the last run only; make a layer for each place"
            )
        gradient = function(self, dy, *others, **options) if others or options else function(self, dy)
        if entry is not None:
            state.pop("saved", None)
        return gradient

    return backward
