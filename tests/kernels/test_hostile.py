"""Hostile arguments of every kernel: an error that names it and changes nothing, or the right result."""

import pytest
import trimtab as tt
from helpers.functions import FUNCTIONS, IN_PLACE
from helpers.hostile_calls import check, examine, planned


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_hostile_arguments_of_a_kernel_are_refused_or_right(function):
    updated = [name for name, kind in function.kinds.items() if kind in IN_PLACE]

    def call(plan):
        arguments = planned(function.valid, plan)
        check(getattr(tt, function.name), arguments, plan, f"{function.name}: ", updated)

    examine(function.kinds, call)
