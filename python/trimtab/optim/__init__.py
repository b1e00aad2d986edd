"""Optimizers, learning-rate schedules, and conversions of weight penalties from other conventions.

===================  =========================================================================
module               contents
===================  =========================================================================
``optimizer``        `Optimizer`: the step, clipping, and the state of every optimizer
``sgd``              `SGD`
``adam``             `Adam`, `AdamW`
``schedules``        `Constant`, `Step`, `Exponential`, `Polynomial`, `Cosine`, `Warmup`, `OneCycle`
``conventions``      weight penalties in the conventions of other libraries
``parameters``       the `parameters` argument: named parameters in groups
``groups``           `Groups` and `Group`: parameters that share options, updated at once
``options``          the options of a group; a subclass is the algorithm of an optimizer
``parameter_state``  the arrays that are kept for a parameter
``rates_state``      learning rates and schedules in the state of an optimizer
===================  =========================================================================
"""

from trimtab.optim import conventions
from trimtab.optim.adam import Adam, AdamW
from trimtab.optim.groups import Group, Groups
from trimtab.optim.optimizer import Optimizer
from trimtab.optim.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
    Warmup,
)
from trimtab.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Exponential",
    "Group",
    "Groups",
    "OneCycle",
    "Optimizer",
    "Polynomial",
    "Schedule",
    "Step",
    "Warmup",
    "conventions",
]
