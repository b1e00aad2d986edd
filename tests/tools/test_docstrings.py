"""The examples in the docstrings of functions."""

import doctest

import pytest
import trimtab as tt

FUNCTIONS = [name for name in tt.__all__ if name.islower() and callable(getattr(tt, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_an_example_that_runs(name):
    examples = doctest.DocTestParser().get_doctest(getattr(tt, name).__doc__, {}, name, None, None)
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0
