"""The gradients of a batch that several ranks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trimtab._batches import Batch, Data
from trimtab.distributed.buckets import Buckets
from trimtab.distributed.part import Part, Rows, computing, part_edges
from trimtab.training.gradients import EVERYTHING, Gradients, Outcome
from trimtab.training.protocol import TrainerState

if TYPE_CHECKING:
    from trimtab.training.plan import Plan


class _RankPart:
    """The part of a batch that a rank has."""

    updates = True

    def __init__(self, ranks: Part, rows: Rows) -> None:
        self.gather = ranks.gather
        self.rows: Rows | None = rows


class SharedGradients(Gradients):
    """Of a batch whose samples the ranks share. Random numbers are drawn as in one process."""

    def __init__(self, trainer: TrainerState, plan: Plan) -> None:
        super().__init__(trainer, plan)
        self._buckets = Buckets(trainer.ranks, [item.grad for item in trainer.optimizer.parameters])

    def of(self, data: Data, place: str) -> Outcome:
        """Differentiate the loss of a batch; errors name the `place`."""
        trainer = self._trainer
        rows, batch = self._own_part(data)
        part = _RankPart(trainer.ranks, rows)
        with computing(part):
            outcome = self._passed(trainer.model, batch, part)
        if not outcome.fault:
            self._buckets.add()
        return self._checked(outcome, place, [batch])

    def _own_part(self, data: Data) -> tuple[Rows, Batch]:
        """Return the samples of this rank, and where they are in the batch."""
        ranks = self._trainer.ranks
        if self._plan.source.is_own_part:
            ends = np.cumsum(ranks.gather(np.array(data.samples)))
            end = int(ends[ranks.rank])
            rows = Rows(end - data.samples, end, int(ends[-1]))
            return rows, self._prepared(data.take(EVERYTHING), self._rng_of_rank())
        begin, end = part_edges(data.samples, ranks.rank, ranks.size)
        rows, own = Rows(begin, end, data.samples), slice(begin, end)
        if self._plan.augment is None:
            return rows, self._prepared(data.take(own), self._trainer.rng)
        x, y, weight = self._prepared(data.take(EVERYTHING), self._trainer.rng)
        return rows, Batch(x[own], y[own], None if weight is None else weight[own])

    def _rng_of_rank(self) -> np.random.Generator:
        """Return the generator for the augmentation of samples that no other rank has."""
        if self._plan.augment is None:
            return self._trainer.rng
        return np.random.Generator(random_bits(draw_key(self._trainer.rng), self._trainer.ranks.rank))


def draw_key(rng: np.random.Generator) -> int:
    """Draw the key of the random numbers of a batch."""
    return int(rng.integers(2**64, dtype=np.uint64))


def random_bits(key: int, number: int) -> np.random.Philox:
    """Return the random bits of a part of a batch."""
    return np.random.Philox(key=np.array([key, number], np.uint64))
