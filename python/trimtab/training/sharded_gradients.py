"""The gradients of a batch in a fixed number of shards: their bits do not depend on the number of ranks."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from trimtab._batches import Batch, Data
from trimtab._typing import Array
from trimtab.distributed.part import computing, part_edges
from trimtab.distributed.shards import Shard, run
from trimtab.distributed.tree import ShardSum, shards_of
from trimtab.nn.dtypes import compute_dtype
from trimtab.nn.module import Module
from trimtab.nn.parameter import Parameter
from trimtab.training.gradients import Gradients, Outcome, by_dtype
from trimtab.training.protocol import TrainerState
from trimtab.training.shared_gradients import draw_key, random_bits

if TYPE_CHECKING:
    from trimtab.training.plan import Plan


class Replica:
    """A copy of a model that shares parameters and buffers with it, and has gradients of its own.

    Attributes
    ----------
    gradients : list of numpy.ndarray
        Those of parameters of one dtype, as a vector for each dtype.
    """

    def __init__(self, model: Module, trained: list[int]) -> None:
        shared = [item.value for item in model.parameters()] + [*model.buffers().values()]
        self.model: Module = deepcopy(model, {id(array): array for array in shared})
        self.model.wants_dx = False
        self.rng = np.random.Generator(random_bits(0, 0))
        self.model.use_rng(self.rng)
        parameters = self.model.parameters()
        self.gradients = []
        for members in by_dtype([parameters[number] for number in trained]):
            vector: Array = np.zeros(sum(item.grad.size for item in members), members[0].grad.dtype)
            for item, place in zip(members, split_like(vector, members), strict=True):
                vars(item)["grad"] = place
            self.gradients.append(vector)


class ShardedGradients(Gradients):
    """Of a batch cut into shards: the bits do not depend on the number of ranks that compute them."""

    def __init__(self, trainer: TrainerState, plan: Plan) -> None:
        super().__init__(trainer, plan)
        self._shards = trainer.shards or 1
        self._numbers = shards_of(trainer.ranks.rank, trainer.ranks.size, self._shards)
        self._replicas: list[Replica] = []
        self._members = by_dtype(trainer.optimizer.parameters)
        self._sums = [
            ShardSum(
                trainer.ranks,
                self._shards,
                sum(item.grad.size for item in members),
                compute_dtype(members[0].grad),
            )
            for members in self._members
        ]

    def begin_epoch(self) -> None:
        """Copy the model, with what callbacks have changed in it."""
        places = {id(item): number for number, item in enumerate(self._trainer.model.parameters())}
        trained = [places[id(item)] for item in self._trainer.optimizer.parameters]
        self._replicas = [Replica(self._trainer.model, trained) for _ in self._numbers]

    def of(self, data: Data, place: str) -> Outcome:
        """Differentiate the loss of a batch; errors name the `place`."""
        key = draw_key(self._trainer.rng)
        batches = []
        for number, replica in zip(self._numbers, self._replicas, strict=True):
            replica.rng.bit_generator.state = random_bits(key, number).state
            batches.append(self._prepared(self._shard_of(data, number), replica.rng))
        tasks = [
            partial(self._pass_shard, replica.model, batch, Shard(updates=number == 0))
            for number, (replica, batch) in enumerate(zip(self._replicas, batches, strict=True))
        ]
        outcome = run(tasks, self._trainer.ranks)[0]
        if not outcome.fault:
            self._add_gradients()
        return self._checked(outcome, place, batches)

    def _shard_of(self, data: Data, number: int) -> Batch:
        if self._plan.source.is_own_part:
            return data.take(slice(*part_edges(data.samples, number - self._numbers[0], len(self._numbers))))
        return data.take(slice(*part_edges(data.samples, number, self._shards)))

    def _pass_shard(self, model: Module, batch: Batch, shard: Shard) -> Outcome:
        with computing(shard):
            return self._passed(model, batch, shard)

    def _add_gradients(self) -> None:
        """Write the sums over all shards into the gradients of the model."""
        vectors = zip(*(replica.gradients for replica in self._replicas), strict=True)
        for members, shard_sum, of_shards in zip(self._members, self._sums, vectors, strict=True):
            wide = (vector.astype(compute_dtype(vector), copy=False) for vector in of_shards)
            total = shard_sum.of(wide)
            for item, place in zip(members, split_like(total, members), strict=True):
                item.grad[...] = place


def split_like(vector: Array, parameters: list[Parameter]) -> list[Array]:
    """Return views of a vector in the shapes of parameters."""
    ends = np.cumsum([item.grad.size for item in parameters])[:-1]
    return [
        place.reshape(item.grad.shape) for place, item in zip(np.split(vector, ends), parameters, strict=True)
    ]
