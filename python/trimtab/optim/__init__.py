"""Optimizers, schedules of the learning rate, and the conventions in which the strength of decay is stated.

===============  ========================================================
module           contents
===============  ========================================================
``sgd``          `SGD`
``schedules``    `Constant`, `Step`, `Cosine`, `Warmup`, `OneCycle`
``conventions``  strengths of penalties as others state them, in ours
``options``      the options of a group, checked
``parameters``   what is given to be trained, as named parameters
``groups``       what is kept for each parameter, and the update
===============  ========================================================
"""

from trimtab.optim import conventions
from trimtab.optim.schedules import Constant, Cosine, OneCycle, Schedule, Step, Warmup
from trimtab.optim.sgd import SGD

__all__ = ["SGD", "Constant", "Cosine", "OneCycle", "Schedule", "Step", "Warmup", "conventions"]
