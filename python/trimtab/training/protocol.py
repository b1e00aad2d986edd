"""What the modules of this package see of a trainer."""

from __future__ import annotations

from typing import Protocol

from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike
from trimtab.distributed.ranks import Alone
from trimtab.nn.parameter import Parameter
from trimtab.optim import Optimizer


class TrainerState(TrainerLike, Protocol):
    """The state of `trimtab.Trainer`: what callbacks see of it, and the rest.

    Attributes
    ----------
    callbacks : list of Callback
    stopping : bool
        Whether the fit ends after the current batch.
    untrained : tuple of Optimizer and list of Parameter
        The parameters that an optimizer left out when the trainer first had it: they are not trained on
        purpose, unlike those of a layer that is added later.
    """

    callbacks: list[Callback]
    stopping: bool
    untrained: tuple[Optimizer, list[Parameter]]
    ranks: Alone
    shards: int | None
