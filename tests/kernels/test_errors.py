"""Bad input to every function, one argument at a time: a clear error, and nothing is changed.

A new function is a new row in helpers/functions.py, a new kind of argument a new row in helpers/faults.py.
"""

import inspect

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.faults import FAULTS, Function, assert_call_refused, memory_of
from helpers.functions import FUNCTIONS, IN_PLACE, every_array
from helpers.strategies import LAYOUTS


def cases():
    """(function, what differs from its valid arguments, error, text)"""
    for function in FUNCTIONS:
        for argument, kind in function.kinds.items():
            for number_of_fault, fault in enumerate(FAULTS[kind](function.valid()[argument])):
                label = f"{function.name}-{argument}-{number_of_fault}-{fault.error.__name__}"
                text = argument + (fault.text if fault.text[0] in "[." else f" {fault.text}")
                yield pytest.param(function, {argument: fault.value}, fault.error, text, id=label)
        for number_of_fault, fault in enumerate(function.own_faults):
            yield pytest.param(function, *fault, id=f"{function.name}-own-{number_of_fault}")


@pytest.mark.parametrize(("function", "changes", "error", "text"), [*cases()])
def test_a_bad_argument_is_refused_by_name(function, changes, error, text):
    assert_call_refused(function, error, text, **function.valid() | changes)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_a_bad_call_is_refused(function):
    valid = function.valid()
    signature = inspect.signature(getattr(tt, function.name)).parameters
    positional = [
        name for name, parameter in signature.items() if parameter.kind is not parameter.KEYWORD_ONLY
    ]
    first = positional[0]
    assert_call_refused(function, TypeError, "got an unexpected keyword argument 'foo'", **valid, foo=1)
    assert_call_refused(function, TypeError, "got an unexpected keyword argument 'γ'", **valid, γ=1)
    assert_call_refused(
        function, TypeError, f"got multiple values for argument '{first}'", valid[first], **valid
    )
    too_many = [valid[name] for name in positional] + [None]
    text = f"takes at most {len(positional)} positional arguments, got {len(too_many)}"
    assert_call_refused(function, TypeError, text, *too_many)
    assert_call_refused(function, TypeError, f"missing required argument '{first}'")
    for name, parameter in signature.items():
        if parameter.default is parameter.empty:
            others = {other: value for other, value in valid.items() if other != name}
            assert_call_refused(function, TypeError, f"missing required argument '{name}'", **others)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_every_argument_is_in_the_table(function):
    assert list(function.kinds) == list(inspect.signature(getattr(tt, function.name)).parameters)
    assert list(function.kinds) == list(function.valid())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("function", "argument"),
    [
        pytest.param(function, argument, id=f"{function.name}-{argument}")
        for function in FUNCTIONS
        for argument in every_array(function)
        if function.kinds[argument] not in IN_PLACE
    ],
)
def test_any_memory_of_an_argument_gives_the_right_result(function, argument, layout):
    """Strided, misaligned, byte-swapped, read-only and broadcast arguments, which do not change."""
    arguments = function.valid()
    arguments[argument] = LAYOUTS[layout](arguments[argument])
    if layout == "broadcast" and argument == "rstd" and "mean" in arguments:
        arguments["mean"] = np.zeros_like(arguments["mean"])  # any pair of statistics is right
    before = {
        name: memory_of(arguments[name]) for name in every_array(function) if function.kinds[name] != "out"
    }
    without_out = {name: value for name, value in arguments.items() if name != "out"}
    copies = {name: np.copy(v) if isinstance(v, np.ndarray) else v for name, v in without_out.items()}
    specification = function.specification or getattr(reference, function.name)
    expected = specification(**copies)
    result = getattr(tt, function.name)(**arguments)
    for got, value in zip(*(r if isinstance(r, tuple) else [r] for r in (result, expected)), strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-4)
    for name, memory in before.items():
        assert function.kinds[name] == "running" or memory_of(arguments[name]) == memory, (
            f"{name} has been changed"
        )


@pytest.mark.parametrize(
    ("setter", "argument", "least"), [("set_num_threads", "n", 1), ("set_memory_cap", "bytes", 0)]
)
def test_bad_settings_are_refused_by_name(setter, argument, least):
    function = Function(setter, {}, dict)
    for value in (least - 1, -(2**40), -(2**80), 2**80):
        assert_call_refused(function, ValueError, f"{argument} must ... got {value}", value)
    for value in (1.0, "2", None, True, [2], np.ones(2)):
        assert_call_refused(function, TypeError, f"{argument} must ... got ...", value)
    assert_call_refused(function, TypeError, f"missing required argument '{argument}'")
    assert_call_refused(function, TypeError, "takes at most 1 positional arguments, got 2", 1, 2)
