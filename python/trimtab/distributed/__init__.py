"""Training on several processes, with MPI.

====================  ===========================================================
module                contents
====================  ===========================================================
``ranks``             the processes: `Ranks` of MPI, or one that is `Alone`
``part``              the part of a batch that the current pass computes
``shards``            several parts in one process, which meet as processes do
``tree``              sums over shards in one fixed order, whatever process has them
``threads``           the share of a process in the CPUs
``agreement``         what must be the same on all ranks
``buckets``           sums of many arrays over the ranks
``npy_batches``       `NpyBatches`: batches from a folder of files, a part for each rank
``conversion``        `convert_sync_batchnorm`: a model whose batch norms see all ranks
====================  ===========================================================

``Trainer(..., comm=comm)`` and ``nn.BatchNorm(..., comm=comm)`` use it; ``docs/distributed.md`` explains it.
MPI and mpi4py are in the extra ``mpi`` and are imported when they are used.
"""

from trimtab.distributed.conversion import convert_sync_batchnorm
from trimtab.distributed.npy_batches import NpyBatches
from trimtab.distributed.ranks import world

__all__ = ["NpyBatches", "convert_sync_batchnorm", "world"]
