"""What surrounds every forward and backward: the mode, the hooks, and what is kept from one to the other.

`Module` puts it around the two methods of every layer, the user's own included. What holds in a thread alone
is in context variables, so nothing of the model is written where it is only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from trimtab import _checks

if TYPE_CHECKING:
    from trimtab.nn.module import Module

Hook = Callable[["Module", tuple[Any, ...], Any], None]


class _View(NamedTuple):
    """How a module runs in a context, whatever its attributes say."""

    training: bool
    keeps: bool


_Views = Mapping[int, _View]  # by the id of the module
_views: ContextVar[_Views] = ContextVar("views", default=MappingProxyType({}))
_Hooked = tuple[frozenset[int], Hook]  # the ids of the modules that it sees
_hooks: ContextVar[tuple[_Hooked, ...]] = ContextVar("hooks", default=())


class _Pass:
    """One forward of the outermost module that runs, and whether that trains."""

    __slots__ = ("trains",)

    def __init__(self, trains: bool) -> None:
        self.trains = trains


_pass: ContextVar[_Pass | None] = ContextVar("pass", default=None)


@contextmanager
def _viewed(model: Module, view: Callable[[Module], _View]) -> Iterator[None]:
    modules = [module for _, module in model.modules()]  # alive while their ids count
    token = _views.set({**_views.get(), **{id(module): view(module) for module in modules}})
    try:
        yield
    finally:
        _views.reset(token)


@contextmanager
def evaluation(model: Module, *, strict: bool = False) -> Iterator[None]:
    """Let a model evaluate in this thread: nothing is kept, and no attribute of the model is written.

    Inside, a model in training runs as after `Module.eval`; one in evaluation runs in the modes that its
    layers have, such as those of ``eval(dropout=True)``.

    Parameters
    ----------
    model : Module
    strict : bool
        Whether every layer evaluates, whatever its mode.
    """
    as_set = not (strict or model.training)
    with _viewed(model, lambda module: _View(as_set and module.training, keeps=False)):
        yield


@contextmanager
def recording(model: Module) -> Iterator[None]:
    """Let layers in evaluation, too, keep what ``backward`` needs, in this thread.

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
    with _viewed(model, lambda module: _View(module.training, keeps=True)):
        yield


@contextmanager
def forward_hook(model: Module, hook: Hook) -> Iterator[None]:
    """Let a function see what each module of a model takes and returns, in this thread.

    Parameters
    ----------
    model : Module
        It and every module below it are seen.
    hook : callable
        ``hook(module, inputs, output)``, called after each ``forward``; inputs is the tuple of its positional
        arguments. It returns None.

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
    """Drop what forwards have kept whose backward will not come, as after a batch that was left out."""
    for _, module in model.modules():
        del module.saved


@contextmanager
def unchanged(model: Module) -> Iterator[None]:
    """Leave a model as it is: parameters, gradients, buffers, generators, and what its layers have saved."""
    modules = [module for _, module in model.modules()]
    arrays = [*model.buffers().values()]
    for parameter in model.parameters():
        arrays += [parameter.value, parameter.grad]
    copies = [array.copy() for array in arrays]
    kept = [module.__dict__.get("saved") for module in modules]
    rngs = [module.rng for module in modules]
    states = [rng.bit_generator.state for rng in rngs if rng is not None]
    try:
        yield
    finally:
        for array, copy in zip(arrays, copies, strict=True):
            array[...] = copy
        for module, saved in zip(modules, kept, strict=True):
            module.__dict__.pop("saved", None)
            if saved is not None:
                module.__dict__["saved"] = saved
        for module, rng in zip(modules, rngs, strict=True):
            module.rng = rng
        for rng, state in zip(filter(None, rngs), states, strict=True):
            rng.bit_generator.state = state


class Mode:
    """``module.training``: as it was set, or as the context has it."""

    def __get__(self, module: Module | None, owner: type) -> bool:
        views = _views.get()
        if module is None:
            return True
        if views and (view := views.get(id(module))):
            return view.training
        mode: bool = module.__dict__.get("training", True)
        return mode

    def __set__(self, module: Module, mode: bool) -> None:
        module.__dict__["training"] = _checks.flag(f"{type(module).__name__}: training", mode)


ONCE, AGAIN = "once", "again"  # how often a module has run in the pass in which it kept something


def keep(module: Module, value: Any) -> None:
    """Save a value from a forward in training for its backward; drop it in evaluation.

    A layer that has been put into evaluation by itself keeps it, too, while the model around it trains.

    The dict of the module has the value, the pass in which it was set, and how often it had run in that.
    """
    state = module.__dict__
    run, views = _pass.get(), _views.get()
    if views and (view := views.get(id(module))):
        if view.keeps:
            state["saved"] = (value, run, ONCE)
    elif state.get("training", True) or (run is not None and run.trains):
        state["saved"] = (value, run, ONCE)
    else:
        state.pop("saved", None)


class Saved:
    """``module.saved``: what `keep` has saved."""

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
        keep(module, value)

    def __delete__(self, module: Module) -> None:
        module.__dict__.pop("saved", None)


class NothingSaved(AttributeError, RuntimeError):
    """There is nothing that ``backward`` could use."""


_Method = Callable[..., Any]


def surround(module_class: type[Module]) -> None:
    """Put what is in this file around the two methods of a class."""
    for name, around in (("forward", _around_forward), ("backward", _around_backward)):
        method = getattr(module_class, name)
        if not hasattr(method, "surrounded"):
            surrounding = around(method)
            surrounding.surrounded = True  # type: ignore[attr-defined]
            setattr(module_class, name, surrounding)


def _around_forward(function: _Method) -> _Method:
    """Let the hooks see what runs, and note what one pass runs twice."""

    @wraps(function)
    def forward(self: Module, *inputs: Any, **options: Any) -> Any:
        if type(self).forward is not forward:  # reached through super()
            return function(self, *inputs, **options)
        run = _pass.get()
        if run is None:
            token = _pass.set(_Pass(self.training))
            try:
                output = function(self, *inputs, **options)
            finally:
                _pass.reset(token)
        else:
            state = self.__dict__
            before = state.get("saved")
            # the short form of a call takes half the time
            short = len(inputs) == 1 and not options
            output = function(self, inputs[0]) if short else function(self, *inputs, **options)
            if before is not None and before[1] is run:
                after = state.get("saved")
                if after is not None and after is not before:
                    state["saved"] = (*after[:2], AGAIN)
        if hooks := _hooks.get():
            _call(hooks, self, inputs, output)
        return output

    return forward


def _call(hooks: tuple[_Hooked, ...], module: Module, inputs: tuple[Any, ...], output: Any) -> None:
    for modules, hook in hooks:
        if id(module) in modules and hook(module, inputs, output) is not None:
            raise TypeError(f"forward_hook: hook must return None, got something from {hook!r}")


def _around_backward(function: _Method) -> _Method:
    """Take what was kept exactly once."""

    @wraps(function)
    def backward(self: Module, dy: Any, *others: Any, **options: Any) -> Any:
        if type(self).backward is not backward:
            return function(self, dy, *others, **options)
        state = self.__dict__
        kept = state.get("saved")
        if kept is not None and kept[2] is AGAIN:
            raise RuntimeError(
                f"{self!r}: forward must run once in a pass of its model, ran more often: "
                "backward knows the last alone; make a layer for each place"
            )
        gradient = function(self, dy, *others, **options) if others or options else function(self, dy)
        if kept is not None:
            state.pop("saved", None)
        return gradient

    return backward
