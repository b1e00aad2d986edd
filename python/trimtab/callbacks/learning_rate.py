"""Records the learning rates of a training."""

from __future__ import annotations

from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike


class LearningRateLogger(Callback):
    """Adds the learning rate of the last update of each epoch to the history, and so to every log of it.

    Its name is ``lr``; if the optimizer has several groups, ``lr_<group>`` for each.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import Trainer, callbacks, losses, nn, optim
    >>> model = nn.Linear(2, 1)
    >>> sgd = optim.SGD(model, lr=optim.Step(0.5, every_steps=2, factor=0.5))
    >>> trainer = Trainer(model, losses.MSE(), sgd, [callbacks.LearningRateLogger()])
    >>> trainer.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=3, batch_size=8, progress=False)["lr"]
    [0.5, 0.5, 0.25]
    """

    def measure(self, trainer: TrainerLike) -> dict[str, float]:
        """Return the rates of the last update."""
        optimizer = trainer.optimizer
        last = max(optimizer.steps - 1, 0)
        several = len(optimizer.groups) > 1
        return {f"lr_{group.name}" if several else "lr": group.lr_at(last) for group in optimizer.groups}
