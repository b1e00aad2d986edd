"""Hostile calls of every kernel: an error that names it and changes nothing, or the right result."""

import pytest
import trimtab as tt
from helpers.hostile_calls import check, examine, planned
from test_errors import FUNCTIONS, IN_PLACE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_kernel(function):
    updated = [name for name, kind in function.kinds.items() if kind in IN_PLACE]

    def call(plan):
        arguments = planned(function.valid, plan)
        check(getattr(tt, function.name), arguments, plan, f"{function.name}: ", updated)

    examine(function.kinds, call)
