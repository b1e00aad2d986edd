"""The start of a fit: one at a time, and undone by an error until training has begun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from trimtab.training.history import History
from trimtab.training.plan import Plan
from trimtab.training.position import Position
from trimtab.training.protocol import TrainerState

_in_use: WeakSet[TrainerState] = WeakSet()


@contextmanager
def exclusive(trainer: TrainerState, function: str) -> Iterator[None]:
    """Let one function at a time change a trainer; raise a RuntimeError in the other one."""
    if trainer in _in_use:
        raise RuntimeError(f"{function}: trainer must not be in another fit, got a call within one")
    _in_use.add(trainer)
    try:
        yield
    finally:
        _in_use.discard(trainer)


class Start:
    """Whether training has begun: from then on an error leaves the trainer as it is."""

    begun = False


@contextmanager
def started(trainer: TrainerState, plan: Plan) -> Iterator[Start]:
    """Reset the trainer for a plan, or restore the saved training that the plan resumes.

    If an error occurs before ``begun`` is set, the trainer gets back what it had. So it does if an earlier
    fit has a history and this one fails before its first step.
    """
    before = trainer.history, trainer.metric_names, trainer.position, trainer.skipped
    rng, loss = trainer.rng.bit_generator.state, vars(trainer.loss).copy()
    learned = None
    if plan.saved is None:
        trainer.history, trainer.position = History(), Position()
    else:
        learned = plan.saved.load_into(trainer)
    trainer.position.settings, trainer.position.split_seed = plan.source.settings, plan.split_seed
    trainer.metric_names, trainer.skipped, trainer.stopping = plan.metric_names, 0, False
    start = Start()
    try:
        plan.source.fit_loss(trainer.loss)
        yield start
    except BaseException:
        replaces_history = before[0] and plan.saved is None and trainer.position.untrained
        if not start.begun or (replaces_history and not trainer.history):
            trainer.history, trainer.metric_names, trainer.position, trainer.skipped = before
            trainer.rng.bit_generator.state = rng
            vars(trainer.loss).update(loss)
            if learned is not None:
                learned.restore()
        raise
    finally:
        trainer.position.end_fit(trainer.model)
