"""Optimizers, learning-rate schedules, and conversions of weight penalties from other conventions.

===============  =============================================================
module           contents
===============  =============================================================
``sgd``          `SGD`
``options``      the options that each group may have for itself
``parameters``   the `parameters` argument: named parameters in groups
``groups``       the state of each parameter, and the update of a group
``schedules``    `Constant`, `Step`, `Cosine`, `Warmup`, `OneCycle`
``conventions``  weight penalties in the conventions of other libraries
===============  =============================================================
"""

from trimtab.optim import conventions
from trimtab.optim.schedules import Constant, Cosine, OneCycle, Schedule, Step, Warmup
from trimtab.optim.sgd import SGD

__all__ = ["SGD", "Constant", "Cosine", "OneCycle", "Schedule", "Step", "Warmup", "conventions"]
